#include "s3/http/web_page.hh"

#include <algorithm>
#include <cstddef>

namespace bts3::s3 {

namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool starts_with_word(std::string_view text, std::string_view word) {
  return text.size() >= word.size() &&
         std::equal(word.begin(), word.end(), text.begin(),
                    [](char wanted, char c) { return wanted == lower(c); });
}

}  // namespace

bool says_html(const http_response& answer) {
  const std::string_view type = answer.header("content-type").value_or("");
  return starts_with_word(type, "text/html") || starts_with_word(type, "application/xhtml");
}

bool is_html(const http_response& answer) {
  const std::string_view body = body_text(answer);
  return says_html(answer) || starts_with_word(body, "<!doctype html") ||
         starts_with_word(body, "<html");
}

std::string_view body_text(const http_response& answer) {
  std::string_view text = answer.body;
  if (text.starts_with("\xef\xbb\xbf")) {
    text.remove_prefix(3);
  }
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

}  // namespace bts3::s3
