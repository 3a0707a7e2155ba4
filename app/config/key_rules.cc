#include "app/config/key_rules.hh"

#include <algorithm>
#include <cctype>
#include <iterator>

namespace bts3::app {

const std::vector<key_rule>& rules() {
  static const std::vector<key_rule> all = [] {
    std::vector<key_rule> made;
    for (auto* const of_table :
         {rules_of_global, rules_of_schedule, rules_of_s3, rules_of_restore, rules_of_reporting}) {
      for (key_rule& one : of_table()) {
        made.push_back(std::move(one));
      }
    }
    return made;
  }();
  return all;
}

const std::vector<former_key>& former_keys() {
  static const std::vector<former_key> all = {
      {"restore", "wait_for_restore", "thaw.wait"},
      {"restore", "restore_timeout_seconds", "thaw.timeout_seconds"},
      {"restore", "restore_tier", "thaw.tier"},
      {"restore", "thaw_days", "thaw.days"},
  };
  return all;
}

const former_key* former_of(std::string_view name) {
  const auto found = std::find_if(former_keys().begin(), former_keys().end(),
                                  [&](const former_key& one) { return one.now == name; });
  return found == former_keys().end() ? nullptr : &*found;
}

std::string variable_of(std::string_view key) {
  std::string variable = "BTRFS_TO_S3_" + std::string(key);
  std::transform(variable.begin(), variable.end(), variable.begin(), [](unsigned char c) {
    return c == '.' ? '_' : static_cast<char>(std::toupper(c));
  });
  return variable;
}

}  // namespace bts3::app
