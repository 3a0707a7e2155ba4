#include "app/config/key_rules.hh"

namespace bts3::app {

std::vector<key_rule> rules_of_reporting() {
  return {
      {"metrics", "textfile", path_value{&config::textfile, true}},
      {"hooks", "before", command_value{&config::hook_before}},
      {"hooks", "after", command_value{&config::hook_after}},
      {"hooks", "before_snapshot", command_value{&config::hook_before_snapshot}},
      {"hooks", "after_snapshot", command_value{&config::hook_after_snapshot}},
      {"hooks", "on_failure", command_value{&config::hook_on_failure}},
      {"hooks", "timeout", duration_value{&config::hook_timeout, std::chrono::hours(24 * 365)}},
  };
}

}  // namespace bts3::app
