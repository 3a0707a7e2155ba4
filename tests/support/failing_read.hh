// Reads of a file that fail with EIO, as on a broken disk.
//
// read() and pread() of the whole binary are its own: a disk that fails at the nth reading of a
// file takes root and a device of its own, and these tests shall run without. An executable's
// definitions come before libc's, with link-time optimization too.
#pragma once

#include <string>

namespace bts3::testing {

// While one lives, read() and pread() of the file at `path` fail in this process, after `before`
// reads of it went through; with a star in front of it, of all files whose path ends so. One at a
// time.
class failing_read {
 public:
  explicit failing_read(const std::string& path, int before = 0);
  ~failing_read();
  failing_read(const failing_read&) = delete;
  failing_read& operator=(const failing_read&) = delete;
  // Whether it has failed: a test of a failure that never happened proves nothing.
  [[nodiscard]] bool happened() const;
};

}  // namespace bts3::testing
