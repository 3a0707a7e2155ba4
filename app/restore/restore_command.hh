// The restore command: one subvolume, or with --all each.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"

namespace bts3::app {

// Connects, and restores one subvolume or with --all each; one that fails does not stop the others
// (exit status 6 when some succeeded). Prints results to standard output.
engine::task<engine::result<exit_status>> run_restore(const services& with,
                                                      restore_command command);

}  // namespace bts3::app
