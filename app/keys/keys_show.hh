// Which keys these are: the recipient of each, and its fingerprint.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"

namespace bts3::app {

// Prints nothing secret. Needs no configuration, and asks no store; a terminal for what is sealed
// with a passphrase.
engine::task<engine::result<exit_status>> run_keys_show(const services& with,
                                                        keys_show_command command);

}  // namespace bts3::app
