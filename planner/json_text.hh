// JSON as text: every document and every line is written by one of these. What is no UTF-8 is
// replaced: it cannot come from a configuration or from JSON, and a mark in a document beats none.
#pragma once

#include <string>

namespace bts3::planner {

// On one line, without its end.
template <typename Json>
[[nodiscard]] std::string json_line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Indented by two, with a line feed at its end.
template <typename Json>
[[nodiscard]] std::string json_document(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace bts3::planner
