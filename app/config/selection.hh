// What the configuration and the options of a command choose: which subvolumes, by which schedule.
#pragma once

#include "app/config/config.hh"
#include "engine/result.hh"
#include "planner/plan.hh"

#include <string>
#include <vector>

namespace bts3::app {

// The configured subvolumes that `names` names, all when it is empty; an unknown name is an error.
engine::result<std::vector<subvolume_config>> select_subvolumes(
    const config& settings, const std::vector<std::string>& names);

// The schedule of the configuration and the options of the command.
planner::policy policy_of(const config& settings, bool regardless_of_due, bool adopt);

}  // namespace bts3::app
