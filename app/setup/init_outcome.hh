// What init ends with: what doctor and plan say of the configuration that was written, and which
// commands are next.
#pragma once

#include "app/cli/exit_status.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <string>

namespace bts3::app {

struct written_configuration {
  std::string path;
  bool with_credentials = false;           // the units' file was written too
  engine::environment_lookup environment;  // to examine it in
  bool keys_hidden = false;  // this shell's environment has keys that count before what was typed
  bool json = false;
};

// Prints to standard output. Status: plan's; `failed` where a check of doctor failed.
engine::task<engine::result<exit_status>> show_what_follows(const services& with,
                                                            written_configuration written);

}  // namespace bts3::app
