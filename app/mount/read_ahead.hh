// What of a file will be wanted next, as far as one reader's reads so far tell it. Decides only.
//
// A read from the file's beginning, and one that goes on where the last ended, are those of a
// reader who goes forwards; the kernel's own readahead may swap neighbours, so "where it ended" is
// within a MiB. What is read ahead grows with what was read, from 512 KiB, so that a look at a
// file's head costs little and a long file is read by several requests at once.
#pragma once

#include <algorithm>
#include <cstdint>

namespace bts3::app {

struct byte_range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  [[nodiscard]] bool empty() const { return begin >= end; }
  bool operator==(const byte_range&) const = default;
};

class read_ahead {
 public:
  // A request's worth: less is not begun, unless it is the file's rest.
  static constexpr std::uint64_t step_bytes = std::uint64_t{4} << 20;
  static constexpr std::uint64_t first_bytes = std::uint64_t{512} << 10;
  static constexpr std::uint64_t slack_bytes = std::uint64_t{1} << 20;

  // [offset, offset + size) of a file of `file_bytes` is read now. What should be fetched ahead of
  // it, at most `window_max` beyond its end; empty: nothing more than is under way already.
  byte_range read(std::uint64_t offset, std::uint64_t size, std::uint64_t file_bytes,
                  std::uint64_t window_max);
  // Of what read() told, everything from `from` on was not begun, and may be told again.
  void given_up(std::uint64_t from) { _ahead = std::min(_ahead, from); }

 private:
  std::uint64_t _next = 0;   // where the furthest read ended
  std::uint64_t _run = 0;    // read in a row
  std::uint64_t _ahead = 0;  // until where something was begun
};

}  // namespace bts3::app
