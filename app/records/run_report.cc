#include "app/records/run_report.hh"

#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace bts3::app {

namespace {

using nlohmann::ordered_json;

const char* word_of(subvolume_status status) {
  switch (status) {
    case subvolume_status::not_reached:
      return "not_reached";
    case subvolume_status::done:
      return "done";
    case subvolume_status::failed:
      return "failed";
    case subvolume_status::cancelled:
      return "cancelled";
  }
  return "";
}

ordered_json time_or_null(const std::optional<planner::timestamp>& when) {
  return when ? ordered_json(when->rfc3339()) : ordered_json();
}

ordered_json json_of(const finished_backup& backup) {
  ordered_json out;
  out["how"] = backup.how;
  out["kind"] = planner::to_string(backup.kind);
  out["created_at"] = backup.when.rfc3339();
  out["manifest_key"] =
      backup.manifest_key.empty() ? ordered_json() : ordered_json(backup.manifest_key);
  out["bytes"] = backup.bytes;
  out["resumed_bytes"] = backup.resumed_bytes;
  out["objects"] = backup.chunks;
  out["seconds"] = backup.seconds;
  out["proven"] = backup.proven ? ordered_json(*backup.proven) : ordered_json();
  return out;
}

ordered_json json_of(const subvolume_report& one) {
  ordered_json out;
  out["subvolume"] = one.name;
  out["status"] = word_of(one.status);
  out["action"] = one.action.empty() ? ordered_json() : ordered_json(one.action);
  if (!one.action.empty()) {
    out["reason"] = one.reason;
    out["because"] = one.because;
  }
  if (!one.error.empty()) {
    out["error"] = one.error;
  }
  if (!one.nested_left_out.empty()) {
    out["nested_left_out"] = one.nested_left_out;
  }
  if (!one.cannot_be_received.empty()) {
    out["cannot_be_received"] = one.cannot_be_received;
  }
  out["last_backup_at"] = time_or_null(one.standing.last_backup);
  out["last_full_at"] = time_or_null(one.standing.last_full);
  out["due_at"] = time_or_null(one.due);
  out["backups"] = ordered_json::array();
  for (const finished_backup& backup : one.backups) {
    out["backups"].push_back(json_of(backup));
  }
  return out;
}

ordered_json json_of(const run_totals& totals) {
  ordered_json out;
  out["backup_count"] = totals.backups;
  out["bytes"] = totals.bytes;
  out["resumed_bytes"] = totals.resumed_bytes;
  out["sent_bytes"] = totals.sent_bytes;
  out["parts"] = totals.parts;
  out["retries"] = totals.retries;
  out["seconds"] = totals.seconds;
  out["bytes_per_second"] = totals.bytes_per_second();
  out["cpu_seconds"] = totals.cpu_seconds;
  out["peak_rss_bytes"] = totals.peak_rss_bytes;
  return out;
}

}  // namespace

std::optional<planner::timestamp> next_due(const subvolume_standing& standing,
                                           const planner::schedule& when,
                                           const planner::time_zone& zone) {
  using std::chrono::days;
  if (!standing.last_backup) {
    return std::nullopt;
  }
  planner::timestamp due = planner::incremental_due_after(*standing.last_backup, when, zone);
  if (standing.last_full) {
    const auto full =
        planner::slot_of(*standing.last_full, when.run_at, zone) + days(when.full_every_days);
    due = std::min(due, planner::slot_begin(full, when.run_at, zone));
  }
  return due;
}

std::string report_as_json(const run_report& report) {
  ordered_json out;
  out["version"] = 1;
  out["command"] = "backup";
  out["began_at"] = report.began.rfc3339();
  out["ended_at"] = report.ended.rfc3339();
  out["exit_status"] = report.exit_status;
  if (!report.error.empty()) {
    out["error"] = report.error;
  }
  out["no_s3"] = report.no_s3;
  out["totals"] = json_of(report.totals);
  out["subvolumes"] = ordered_json::array();
  for (const subvolume_report& one : report.subvolumes) {
    out["subvolumes"].push_back(json_of(one));
  }
  out["hooks"] = ordered_json::array();
  for (const hook_report& hook : report.hooks) {
    ordered_json entry;
    entry["hook"] = hook.name;
    entry["status"] = hook.error.empty() ? "done" : "failed";
    if (!hook.error.empty()) {
      entry["error"] = hook.error;
    }
    out["hooks"].push_back(std::move(entry));
  }
  return planner::json_document(out);
}

}  // namespace bts3::app
