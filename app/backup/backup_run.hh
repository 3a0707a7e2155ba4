// What the backup command says where it does not come to a run.
#pragma once

#include "engine/clock.hh"
#include "engine/error.hh"

#include <string>

namespace bts3::app {

// For `--json` when there was no run at all: a document with nothing but exit status and error.
std::string report_of_no_run(const engine::error& failure, const engine::clock& clock);

}  // namespace bts3::app
