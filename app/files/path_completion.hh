// What a shell may offer for a path in a backup: from what is kept on this host alone, never from
// the network, so that nobody waits and nothing is paid for a key press.
#pragma once

#include "app/cli/cli.hh"
#include "engine/environment.hh"

#include <string>

namespace bts3::app {

// In the form of completed(): names in the directory that is typed so far, directories with a "/"
// behind them. Nothing where the chain was never looked at, or something goes wrong.
std::string completed_paths(const complete_command& command, const common_options& common,
                            const engine::environment_lookup& environment);

}  // namespace bts3::app
