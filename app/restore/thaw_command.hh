// The thaw command: requests the archived objects of a backup and of the chain behind it, of one
// subvolume or of all, and tells whether they can be read.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/store/services.hh"

#include <string>
#include <vector>

namespace bts3::app {

// Holds the run lock, unless it is a dry run or there is no configuration (--from). Prints results
// to standard output: exit status `done` when everything can be read, `not_thawed` while it cannot.
// With --all, one that fails does not stop the others.
engine::task<engine::result<exit_status>> run_thaw(const services& with, thaw_command command);

// The same for the named subvolumes of a store. References must outlive it.
engine::task<engine::result<exit_status>> thaw_subvolumes(const services& with,
                                                          s3::object_store& store,
                                                          thaw_command command,
                                                          std::vector<std::string> names);

}  // namespace bts3::app
