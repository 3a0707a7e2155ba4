#include "btrfs/child_failure.hh"

#include <string>

namespace bts3::btrfs {

engine::error child_failure(std::string_view what, const engine::child_exit& end) {
  engine::error failure;
  failure.why = engine::reason::child_process;
  failure.status = end.exit_code;
  failure.message = std::string(what) + " " + end.describe();
  std::string quoted = end.stderr_tail;
  // Before btrfs-progs 6.11 `receive -C` said this in every case.
  if (quoted.starts_with("Chroot to ")) {
    const std::size_t line_end = quoted.find('\n');
    quoted.erase(0, line_end == std::string::npos ? line_end : line_end + 1);
  }
  if (!quoted.empty()) {
    for (char& c : quoted) {
      c = c == '\n' ? '|' : c;
    }
    failure.message += ": " + quoted;
  }
  return failure;
}

}  // namespace bts3::btrfs
