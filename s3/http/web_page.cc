#include "s3/http/web_page.hh"

#include "s3/http/ascii_text.hh"

#include <cstddef>

namespace bts3::s3 {

namespace {

bool starts_with_word(std::string_view text, std::string_view word) {
  return lower_case(text.substr(0, word.size())) == word;
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
