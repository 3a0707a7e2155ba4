// A sentence that speaks of settings, for what helps against an error: what is to be said, and not
// yet how this process names the settings in it.
//
//   failure.remedy = "lower " + wording(setting::part_size) + " or " + setting::concurrency;
//
// It becomes text where an error is made of it, by name_of(), so that tables may hold such
// sentences and be older than set_setting_names().
#pragma once

#include "engine/setting.hh"

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bts3::engine {

class wording {
 public:
  wording() = default;
  wording(std::string text);
  wording(std::string_view text) : wording(std::string(text)) {}
  wording(const char* text) : wording(std::string(text)) {}
  wording(setting which) : _pieces{which} {}

  wording& operator+=(const wording& more);

  [[nodiscard]] std::string text() const;
  operator std::string() const { return text(); }

 private:
  std::vector<std::variant<std::string, setting>> _pieces;
};

[[nodiscard]] wording operator+(wording first, const wording& second);

}  // namespace bts3::engine
