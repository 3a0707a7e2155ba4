// Reads of one file that fail with EIO, as on a broken disk.
#pragma once

#include <string>

namespace bts3::testing {

// While one lives, read() of the file at `path` fails in this process, after `before` reads of it
// went through. One at a time.
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
