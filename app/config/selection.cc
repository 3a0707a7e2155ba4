#include "app/config/selection.hh"

#include <algorithm>
#include <chrono>

namespace bts3::app {

using engine::result;

result<std::vector<subvolume_config>> select_subvolumes(const config& settings,
                                                        const std::vector<std::string>& names) {
  if (names.empty()) {
    return settings.subvolumes;
  }
  std::vector<subvolume_config> chosen;
  std::string known;
  for (const subvolume_config& one : settings.subvolumes) {
    known += (known.empty() ? "" : ", ") + one.name;
    if (std::find(names.begin(), names.end(), one.name) != names.end()) {
      chosen.push_back(one);
    }
  }
  for (const std::string& name : names) {
    if (std::none_of(chosen.begin(), chosen.end(),
                     [&](const subvolume_config& one) { return one.name == name; })) {
      return engine::configuration_error("--subvolume " + name + " is not in the configuration",
                                         "it has: " + known);
    }
  }
  return chosen;
}

planner::policy policy_of(const config& settings, bool regardless_of_due, bool adopt) {
  planner::policy made;
  made.when_due.full_every_days = static_cast<int>(settings.schedule.full_every_days.count());
  made.when_due.incremental_every_days =
      static_cast<int>(settings.schedule.incremental_every_days.count());
  made.when_due.incremental_every =
      settings.schedule.incremental_every.value_or(std::chrono::minutes(0));
  made.when_due.run_at = settings.schedule.run_at;
  made.regardless_of_due = regardless_of_due;
  made.adopt = adopt;
  made.own_prefix = "an s3.prefix";
  return made;
}

}  // namespace bts3::app
