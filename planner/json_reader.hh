// Reading JSON objects field by field, with errors that name the field. Internal to the codecs.
#pragma once

#include "planner/error.hh"

#include <simdjson.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::planner::detail {

// C0 and DEL; simdjson has seen to it that it is UTF-8.
inline bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto code = static_cast<unsigned char>(c);
    return code < 0x20 || code == 0x7f;
  });
}

using json_object = simdjson::dom::object;

// Of any string in a document, but for those that say otherwise.
inline constexpr std::size_t text_bytes_max = 4096;

// Collects the first error; after one, everything reads as empty.
class json_reader {
 public:
  explicit json_reader(std::string where = {}) : _where(std::move(where)) {}

  [[nodiscard]] const std::optional<document_error>& failure() const { return _failure; }
  void fail(const std::string& field, std::string what, std::string remedy = {}) {
    if (!_failure) {
      _failure = document_error{_where.empty() ? field : _where + "." + field, std::move(what),
                                std::move(remedy)};
    }
  }

  // Null counts as absent.
  std::optional<std::string> optional_text(json_object from, const char* field,
                                           std::size_t most = text_bytes_max) {
    simdjson::dom::element value;
    if (from.at_key(field).get(value) != simdjson::SUCCESS || value.is_null()) {
      return std::nullopt;
    }
    std::string_view text;
    if (value.get_string().get(text) != simdjson::SUCCESS) {
      fail(field, "must be a string");
      return std::nullopt;
    }
    if (text.size() > most) {
      fail(field, "has more than " + std::to_string(most) + " bytes");
      return std::nullopt;
    }
    return std::string(text);
  }
  std::string text(json_object from, const char* field) {
    auto value = optional_text(from, field);
    if (!value) {
      fail(field, "is missing");
    }
    return value.value_or("");
  }
  std::optional<std::uint64_t> optional_number(json_object from, const char* field) {
    simdjson::dom::element value;
    if (from.at_key(field).get(value) != simdjson::SUCCESS || value.is_null()) {
      return std::nullopt;
    }
    std::uint64_t number = 0;
    if (value.get_uint64().get(number) != simdjson::SUCCESS) {
      fail(field, "must be a whole number, not negative");
      return std::nullopt;
    }
    return number;
  }
  std::uint64_t number(json_object from, const char* field) {
    auto value = optional_number(from, field);
    if (!value) {
      fail(field, "is missing");
    }
    return value.value_or(0);
  }
  bool flag(json_object from, const char* field) {
    bool value = false;
    return from.at_key(field).get_bool().get(value) == simdjson::SUCCESS && value;
  }
  std::optional<json_object> optional_object(json_object from, const char* field) {
    json_object value;
    if (from.at_key(field).get_object().get(value) != simdjson::SUCCESS) {
      return std::nullopt;
    }
    return value;
  }

 private:
  std::string _where;
  std::optional<document_error> _failure;
};

}  // namespace bts3::planner::detail
