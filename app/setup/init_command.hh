// init: asks what a first configuration needs, or takes it as options; checks each answer where it
// is given, on this host and in the bucket; writes the file; and ends in doctor's report and the
// first plan.
//
// Nothing is written before all is answered: a stop until then leaves nothing behind. Without a
// terminal, or with --yes, nothing is asked: what is missing is one error, which names all of it.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"

namespace bts3::app {

// Of `with`, the settings count for nothing: there are none yet. Status: that of doctor and plan, 0
// where both find all as it should be. Errors: an answer that cannot stand and nobody to ask again,
// a file that is there already (configuration), what the store or the disk refuses.
engine::task<engine::result<exit_status>> run_init(const services& with, init_command command);

}  // namespace bts3::app
