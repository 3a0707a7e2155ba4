// A text line by line.
#pragma once

#include <cstddef>
#include <string_view>

namespace bts3::engine {

// The next line of `text`, which gets shorter, without its line end: LF or CRLF.
[[nodiscard]] inline std::string_view next_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
  }
  return line;
}

}  // namespace bts3::engine
