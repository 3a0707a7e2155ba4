#include "app/config/key_rules.hh"

namespace bts3::app {

std::vector<key_rule> rules_of_schedule() {
  return {
      {"schedule", "full_every_days", number_value{&schedule_settings::full_every_days, 1, 36'500}},
      {"schedule", "incremental_every_days",
       number_value{&schedule_settings::incremental_every_days, 1, 36'500}},
      {"schedule", "incremental_every", duration_value{&schedule_settings::incremental_every}},
      {"schedule", "run_at", text_value{&schedule_settings::run_at}},
      {"snapshots", "base_dir", path_value{&snapshot_settings::base_dir}},
      {"snapshots", "retain", number_value{&snapshot_settings::retain, 1, 10'000}},
  };
}

}  // namespace bts3::app
