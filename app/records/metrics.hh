// Runs in Prometheus' text format, for the textfile collector of a monitoring agent.
#pragma once

#include "app/records/run_report.hh"
#include "app/records/verify_record.hh"
#include "engine/result.hh"

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::app {

// Every metric has a HELP and a TYPE line; what is not known has no sample. Deterministic.
std::string metrics_of(const run_report& report);

// The same of what was verified, by subvolume; nullopt: nothing of it is known. Metrics of its own,
// in a file of its own, so that neither `backup` nor `verify` has to know what the other found.
std::string verify_metrics_of(
    const std::map<std::string, std::optional<verification_summary>>& subvolumes);
// Beside metrics.textfile: "backup.prom" gives "backup_verify.prom".
std::string verify_metrics_path(const std::string& textfile);

// Replaces the file at `path` in one step, readable for everybody: the collector is another user,
// and reads at any time.
engine::result<void> write_metrics(const std::string& path, std::string_view text);

}  // namespace bts3::app
