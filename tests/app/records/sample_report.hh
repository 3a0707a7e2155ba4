// A run for tests of what is told of one.
#pragma once

#include "app/records/run_report.hh"

#include <cstddef>

namespace bts3::testing {

inline planner::timestamp at(const char* text) {
  return planner::timestamp::parse(text).value();
}

// Half an hour with a failure in it, of so many subvolumes: the first is backed up, the others are
// blank.
inline app::run_report sample_run(std::size_t subvolumes) {
  app::run_report report;
  report.began = at("20260121T010003Z");
  report.ended = at("20260121T013003Z");
  report.exit_status = 6;
  report.totals.bytes = 3'000'000'000;
  report.totals.resumed_bytes = 1'000'000;
  report.totals.sent_bytes = 3'100'000'000;
  report.totals.parts = 24;
  report.totals.retries = 3;
  report.totals.cpu_seconds = 7.25;
  report.totals.peak_rss_bytes = 73'400'320;
  report.subvolumes.resize(subvolumes);
  app::subvolume_report& data = report.subvolumes.at(0);
  data.name = "data";
  data.status = app::subvolume_status::done;
  data.nested_left_out = {"var/lib/docker/btrfs"};
  data.cannot_be_received = {"data: a/b: its path is too long"};
  data.standing.last_backup = at("20260121T010004Z");
  data.standing.last_full = at("20260101T010004Z");
  data.due = at("20260128T010000Z");
  return report;
}

}  // namespace bts3::testing
