#include "s3/http/one_line.hh"

#include "engine/plain_text.hh"

#include <algorithm>

namespace bts3::s3 {

std::string one_line(std::string_view text, std::size_t bytes_max) {
  const bool cut = text.size() > bytes_max;
  std::string line(text.substr(0, bytes_max));
  while (cut && !line.empty() && (static_cast<unsigned char>(line.back()) & 0xc0) == 0x80) {
    line.pop_back();  // no half a character at the end
  }
  if (cut && !line.empty() && static_cast<unsigned char>(line.back()) >= 0x80) {
    line.pop_back();
  }
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return engine::printable(line) + (cut ? "..." : "");
}

}  // namespace bts3::s3
