// The doctor command: whether this host, with this configuration, is ready to back up and to
// restore. All checks are made, whatever one of them finds, unless that leaves another without
// sense. Takes no lock, and changes nothing but what doctor_store.hh says of the write check.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/doctor/doctor_report.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"

namespace bts3::app {

// Every check, printing nothing; an error when `command` names an unknown subvolume, and when it is
// stopped.
engine::task<engine::result<doctor_report>> examine(const services& with, doctor_command command);

}  // namespace bts3::app
