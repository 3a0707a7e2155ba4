#include "app/config/key_rules.hh"

namespace bts3::app {

namespace {

constexpr std::chrono::hours decade{24 * 3650};

bool is_within_a_day(std::chrono::milliseconds time) {
  return time >= std::chrono::minutes(15) && time < std::chrono::hours(24) &&
         time % std::chrono::minutes(1) == std::chrono::milliseconds(0);
}

}  // namespace

std::vector<key_rule> rules_of_schedule() {
  return {
      {"schedule", "full_every_days", number_value{&schedule_settings::full_every_days, 1, 36'500}},
      {"schedule", "incremental_every_days",
       number_value{&schedule_settings::incremental_every_days, 1, 36'500}},
      {"schedule", "incremental_every",
       duration_value{&schedule_settings::incremental_every, decade, is_within_a_day,
                      "whole minutes, from \"15m\" to less than a day; for longer there is "
                      "schedule.incremental_every_days"}},
      {"schedule", "run_at", time_of_day_value{&schedule_settings::run_at}},
      {"snapshots", "base_dir", path_value{&snapshot_settings::base_dir}},
      {"snapshots", "retain", number_value{&snapshot_settings::retain, 1, 10'000}},
  };
}

}  // namespace bts3::app
