// run_backup(): the backup command around its job: the run lock, what runs before and after it, and
// the report.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"

namespace bts3::app {

engine::task<engine::result<exit_status>> run_backup(const services& with, backup_command command);

// For `--json` when there was no run at all: a document with nothing but exit status and error.
std::string report_of_no_run(const engine::error& failure, const engine::clock& clock);

}  // namespace bts3::app
