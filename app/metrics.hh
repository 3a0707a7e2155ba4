// A run in Prometheus' text format, for the textfile collector of a monitoring agent.
#pragma once

#include "app/run_report.hh"
#include "engine/result.hh"

#include <string>
#include <string_view>

namespace bts3::app {

// Every metric has a HELP and a TYPE line; what is not known has no sample. Deterministic.
std::string metrics_of(const run_report& report);

// Replaces the file at `path` in one step, readable for everybody: the collector is another user,
// and reads at any time.
engine::result<void> write_metrics(const std::string& path, std::string_view text);

}  // namespace bts3::app
