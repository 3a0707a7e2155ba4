// The status command, for monitoring: whether each subvolume's last backup can be restored and is
// young enough, by what the bucket says now; what is due when; what is under way; what was verified
// when, by the local record. Changes nothing and takes no lock.
//
// Exit status and first line are those of a monitoring plugin: 0 OK, 1 WARNING, 2 CRITICAL,
// 3 UNKNOWN.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/overview/status_report.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"

namespace bts3::app {

// The health as an exit status.
engine::task<engine::result<exit_status>> run_status(const services& with, status_command command);

}  // namespace bts3::app
