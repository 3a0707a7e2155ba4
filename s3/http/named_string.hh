// Strings that must not be taken for one another.
#pragma once

#include <compare>
#include <string>
#include <utility>

namespace bts3::s3 {

// A string that means one thing.
template <typename Tag>
class named_string {
 public:
  named_string() = default;
  explicit named_string(std::string text) : _text(std::move(text)) {}
  [[nodiscard]] const std::string& str() const { return _text; }
  [[nodiscard]] bool empty() const { return _text.empty(); }
  auto operator<=>(const named_string&) const = default;

 private:
  std::string _text;
};

}  // namespace bts3::s3
