// Makes an identity, with which backups that are sealed for its recipient are read.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"

namespace bts3::app {

// Writes it to a file that must not exist, mode 0600, and prints its recipient; the identity itself
// is never printed. Needs no configuration, and asks no store.
engine::task<engine::result<exit_status>> run_keys_generate(const services& with,
                                                            keys_generate_command command);

}  // namespace bts3::app
