#include "s3/foreign_answer.hh"

#include "s3/xml.hh"

#include <algorithm>
#include <cstddef>

namespace bts3::s3 {

namespace {

// As much of what somebody else said as fits into a message.
constexpr std::size_t quoted_bytes_max = 60;

constexpr std::string_view store_headers[] = {
    "x-amz-", "x-amzn-", "x-goog-", "x-guploader", "x-trans-id", "x-openstack-", "x-minio-"};

bool has_store_header(const http_response& answer) {
  return std::any_of(answer.headers.begin(), answer.headers.end(), [](const auto& header) {
    return std::any_of(std::begin(store_headers), std::end(store_headers),
                       [&](std::string_view prefix) { return header.first.starts_with(prefix); });
  });
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool starts_with_word(std::string_view text, std::string_view word) {
  return text.size() >= word.size() &&
         std::equal(word.begin(), word.end(), text.begin(),
                    [](char wanted, char c) { return wanted == lower(c); });
}

std::string_view without_leading_blanks(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) {
    text.remove_prefix(3);
  }
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

bool is_html(const http_response& answer) {
  const std::string_view body = without_leading_blanks(answer.body);
  return says_html(answer) || starts_with_word(body, "<!doctype html") ||
         starts_with_word(body, "<html");
}

bool has_tag(const http_response& answer) {
  return !answer.header("etag").value_or("").empty();
}

bool can_be_success(const http_response& answer, answer_kind kind) {
  if (is_html(answer)) {
    return false;
  }
  switch (kind) {
    case answer_kind::object:
      return has_tag(answer);
    case answer_kind::document:
      return without_leading_blanks(answer.body).starts_with('<');
    case answer_kind::nothing:
      break;
  }
  return true;
}

bool can_be_refusal(const http_response& answer, std::string_view method) {
  const bool repeated_anyway = answer.status >= 500 || answer.status == 408 || answer.status == 429;
  if (repeated_anyway || answer.status / 100 == 3) {
    return true;
  }
  if (method == "HEAD") {
    return !is_html(answer);
  }
  const auto document = parse_error(answer.body);
  return document && !document->code.empty();
}

std::string description(const http_response& answer) {
  std::string text = one_line(answer.header("server").value_or(""), quoted_bytes_max);
  text = (text.empty() ? "somebody unnamed" : text) + " with " + std::to_string(answer.status);
  if (const auto type = answer.header("content-type"); type && !type->empty()) {
    text += ", " + one_line(*type, quoted_bytes_max);
  }
  const std::string said = one_line(without_leading_blanks(answer.body), quoted_bytes_max);
  return said.empty() ? text : text + ": \"" + said + "\"";
}

}  // namespace

bool says_html(const http_response& answer) {
  const std::string_view type = answer.header("content-type").value_or("");
  return starts_with_word(type, "text/html") || starts_with_word(type, "application/xhtml");
}

std::optional<std::string> foreign_answer(const http_response& answer, std::string_view method,
                                          answer_kind kind) {
  const bool is_status = answer.status >= 100 && answer.status <= 599;
  if (is_status && has_store_header(answer)) {
    return std::nullopt;
  }
  const bool possible = is_status && (answer.status / 100 == 2 ? can_be_success(answer, kind)
                                                               : can_be_refusal(answer, method));
  return possible ? std::nullopt : std::optional(description(answer));
}

}  // namespace bts3::s3
