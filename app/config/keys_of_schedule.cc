#include "app/config/key_rules.hh"

namespace bts3::app {

std::vector<key_rule> rules_of_schedule() {
  return {
      {"schedule", "full_every_days", number_value{&config::full_every_days, 1, 36'500}},
      {"schedule", "incremental_every_days",
       number_value{&config::incremental_every_days, 1, 36'500}},
      {"schedule", "incremental_every", duration_value{&config::incremental_every}},
      {"schedule", "run_at", text_value{&config::run_at}},
      {"snapshots", "base_dir", path_value{&config::base_dir}},
      {"snapshots", "retain", number_value{&config::retain, 1, 10'000}},
  };
}

}  // namespace bts3::app
