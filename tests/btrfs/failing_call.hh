// System calls that fail on request, as with a broken disk or another kernel.
//
// ioctl(), fstatfs(), syncfs() and readdir() of the whole binary are its own: which call of a run a
// broken disk or an older kernel refuses cannot be chosen by real means. An executable's
// definitions come before libc's, with link-time optimization too.
#pragma once

namespace bts3::btrfs::testing {

enum class call { ioctl, fstatfs, syncfs, readdir };

// While one of these lives, the first call of its kind fails with `error` in this process, after
// `before` of them went through; all others are the kernel's. For ioctl only `request` counts.
class failing_call {
 public:
  failing_call(call which, int error, unsigned long request = 0, int before = 0);
  ~failing_call();
  failing_call(const failing_call&) = delete;
  failing_call& operator=(const failing_call&) = delete;
  // Whether it has failed: a test of a failure that never happened proves nothing.
  [[nodiscard]] bool happened() const;
};

}  // namespace bts3::btrfs::testing
