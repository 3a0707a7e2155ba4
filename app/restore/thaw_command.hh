// The thaw command: requests the archived objects of a backup and of the chain behind it, of one
// subvolume or of all, and tells whether they can be read.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/store/services.hh"

#include <string>
#include <vector>

namespace bts3::app {

// What it does, for the named subvolumes of a store. References must outlive it.
engine::task<engine::result<exit_status>> thaw_subvolumes(const services& with,
                                                          s3::object_store& store,
                                                          thaw_command command,
                                                          std::vector<std::string> names);

}  // namespace bts3::app
