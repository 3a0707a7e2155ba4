#include "app/config/key_rules.hh"

namespace bts3::app {

namespace {

bool is_a_second(std::chrono::milliseconds time) {
  return time >= std::chrono::seconds(1);
}

}  // namespace

std::vector<key_rule> rules_of_reporting() {
  return {
      {"metrics", "textfile", path_value{&metrics_settings::textfile, true}},
      {"hooks", "before", command_value{&hook_settings::before}},
      {"hooks", "after", command_value{&hook_settings::after}},
      {"hooks", "before_snapshot", command_value{&hook_settings::before_snapshot}},
      {"hooks", "after_snapshot", command_value{&hook_settings::after_snapshot}},
      {"hooks", "on_failure", command_value{&hook_settings::on_failure}},
      {"hooks", "timeout",
       duration_value{&hook_settings::timeout, std::chrono::hours(24 * 365), is_a_second,
                      "at least a second"}},
  };
}

}  // namespace bts3::app
