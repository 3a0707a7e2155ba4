#include "app/overview/status_report.hh"

#include "app/survey/nested_subvolumes.hh"
#include "app/text/human_units.hh"
#include "app/text/text_table.hh"
#include "engine/plain_text.hh"
#include "engine/told_command.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <charconv>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using nlohmann::ordered_json;
using planner::timestamp;

std::string in_capitals(std::string text) {
  for (char& c : text) {
    c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return text;
}

// "6 d quick", "2026-01-20 sample 38%". A round that is never quite done is never 100%.
std::string run_text(const verification_summary& verified, verification_kind kind,
                     std::string when) {
  when += " " + std::string(to_string(kind));
  if (kind != verification_kind::sample || verified.sample_parts == 0) {
    return when;
  }
  return when + " " +
         std::to_string(static_cast<unsigned>(static_cast<double>(verified.sample_done) /
                                              static_cast<double>(verified.sample_parts) * 100)) +
         "%";
}

// Narrow: the age of the last one alone. Wide: the date of it, and of stronger ones before.
std::string verified_text(const subvolume_health& one, timestamp now,
                          const planner::time_zone& zone, bool wide) {
  if (!one.facts.verified || one.facts.verified->runs.empty()) {
    return one.facts.error.empty() && one.facts.verified_problem.empty() ? "never" : "-";
  }
  const verification_summary& verified = *one.facts.verified;
  std::string text;
  for (const auto& [kind, when] : verified.telling()) {
    if (!wide) {
      return run_text(verified, kind, format_age(now.when() - when.when()));
    }
    text += (text.empty() ? "" : ", ") + run_text(verified, kind, planner::local_date(when, zone));
  }
  return text;
}

text_table table_of(const status_report& report, const planner::time_zone& zone, bool wide) {
  using align = text_table::align;
  std::vector<text_table::column> columns = {{"SUBVOLUME", align::left},
                                             {"STATE", align::left},
                                             {"LAST BACKUP", align::left},
                                             {"AGE", align::right}};
  if (wide) {
    columns.push_back({"LAST FULL", align::left});
  }
  columns.push_back({"NEXT DUE", align::left});
  if (wide) {
    columns.push_back({"LINKS", align::right});
    columns.push_back({"SIZE", align::right});
  }
  columns.push_back({"VERIFIED", align::left});
  text_table table(std::move(columns));
  for (const subvolume_health& one : report.subvolumes) {
    const subvolume_standing& standing = one.facts.standing;
    const bool makes =
        one.facts.error.empty() && !one.facts.elsewhere && one.facts.plan.makes_backup();
    std::vector<std::string> cells = {
        printable(one.facts.name), word_of(one.state),
        standing.last_backup ? planner::local_text(*standing.last_backup, zone) : "-",
        standing.last_backup ? format_age(report.rules.now.when() - standing.last_backup->when())
                             : "-"};
    if (wide) {
      cells.push_back(standing.last_full ? planner::local_date(*standing.last_full, zone) : "-");
    }
    cells.push_back(makes ? "now" : one.due ? planner::local_text(*one.due, zone) : "-");
    if (wide) {
      cells.push_back(standing.links ? std::to_string(*standing.links) : "-");
      cells.push_back(standing.last_bytes ? format_bytes(*standing.last_bytes) : "-");
    }
    cells.push_back(verified_text(one, report.rules.now, zone, wide));
    table.add(std::move(cells));
    for (const std::string& problem : one.problems) {
      table.note(printable(problem));
    }
    if (one.facts.unfinished && !report.rules.running.empty()) {
      table.note("under way (PID " + report.rules.running +
                 "): " + unfinished_text(*one.facts.unfinished, zone));
    }
  }
  return table;
}

ordered_json time_or_null(const std::optional<timestamp>& when) {
  return when ? ordered_json(when->rfc3339()) : ordered_json();
}

// A number, unless whoever wrote the lock wrote something else.
ordered_json pid_of(const std::string& text) {
  std::int64_t pid = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), pid);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() ? ordered_json(pid)
                                                                         : ordered_json();
}

ordered_json json_of(const verification_summary& verified) {
  ordered_json out;
  const auto told = verified.telling();
  out["verified_at"] = told.empty() ? ordered_json() : ordered_json(told.front().second.rfc3339());
  out["kind"] = told.empty() ? ordered_json() : ordered_json(to_string(told.front().first));
  out["runs"] = ordered_json::object();
  for (const auto& [kind, when] : verified.runs) {
    out["runs"][std::string(to_string(kind))] = when.rfc3339();
  }
  out["sample"] = ordered_json();
  if (verified.sample_parts > 0) {
    out["sample"] = {{"parts_done", verified.sample_done}, {"parts", verified.sample_parts}};
  }
  out["damaged"] = ordered_json::array();
  for (const verification_summary::damage& one : verified.damaged) {
    out["damaged"].push_back({{"manifest_key", one.key},
                              {"kind", to_string(one.kind)},
                              {"verified_at", one.at.rfc3339()},
                              {"problem", one.problem}});
  }
  out["elsewhere"] = verified.elsewhere.empty() ? ordered_json() : ordered_json(verified.elsewhere);
  return out;
}

ordered_json json_of(const subvolume_health& one, timestamp now) {
  const subvolume_standing& standing = one.facts.standing;
  ordered_json out;
  out["subvolume"] = one.facts.name;
  out["status"] = word_of(one.state);
  out["problems"] = one.problems;
  out["last_backup_at"] = time_or_null(standing.last_backup);
  out["age_seconds"] = standing.last_backup
                           ? ordered_json((now.when() - standing.last_backup->when()).count())
                           : ordered_json();
  out["last_full_at"] = time_or_null(standing.last_full);
  out["links"] = standing.links ? ordered_json(*standing.links) : ordered_json();
  out["last_bytes"] = standing.last_bytes ? ordered_json(*standing.last_bytes) : ordered_json();
  out["due_at"] = time_or_null(one.due);
  if (one.facts.error.empty() && !one.facts.elsewhere) {
    out["next_action"] = planner::to_string(one.facts.plan.what);
    out["next_reason"] = one.facts.plan.reason;
  }
  out["verified"] = one.facts.verified ? json_of(*one.facts.verified) : ordered_json();
  out["gone"] = one.facts.gone;
  out["unfinished"] = ordered_json();
  if (one.facts.unfinished) {
    out["unfinished"] = {{"kind", planner::to_string(one.facts.unfinished->kind)},
                         {"began_at", one.facts.unfinished->began.rfc3339()},
                         {"uploaded_bytes", one.facts.unfinished->uploaded_bytes}};
  }
  return out;
}

}  // namespace

health status_report::worst() const {
  health state = error.empty() ? health::ok : health::unknown;
  for (const subvolume_health& one : subvolumes) {
    state = is_worse(one.state, state) ? one.state : state;
  }
  return state;
}

std::string status_summary(const status_report& report) {
  const health state = report.worst();
  std::string text = in_capitals(word_of(state)) + ": ";
  if (!report.error.empty()) {
    return text + printable(report.error);
  }
  if (state == health::ok) {
    std::optional<timestamp> oldest;
    for (const subvolume_health& one : report.subvolumes) {
      const auto& last = one.facts.standing.last_backup;
      oldest = last && (!oldest || *last < *oldest) ? last : oldest;
    }
    const std::size_t count = report.subvolumes.size();
    text += engine::counted(count, "subvolume");
    return oldest ? text + ", the oldest last backup is " +
                        format_age(report.rules.now.when() - oldest->when()) + " old"
                  : text;
  }
  std::string first;
  std::size_t more = 0;
  for (const subvolume_health& one : report.subvolumes) {
    if (one.state == state && first.empty()) {
      first = one.facts.name + ": " + one.problems.front();
      more += one.problems.size() - 1;
    } else {
      more += one.problems.size();
    }
  }
  text += printable(first);
  return more == 0 ? text : text + " (and " + engine::counted(more, "more problem") + ")";
}

std::string status_as_text(const status_report& report, const planner::time_zone& zone,
                           std::size_t columns) {
  std::string text = wrapped(status_summary(report), 0, columns);
  if (report.subvolumes.empty()) {
    return text;
  }
  const text_table wide = table_of(report, zone, true);
  const bool fits = columns == 0 || wide.width() <= columns;
  text += (fits ? wide : table_of(report, zone, false)).text(0, columns);
  if (!report.retired_snapshots.empty()) {
    text += wrapped(examples_of(report.retired_snapshots) +
                        " hold space for subvolumes that are not configured any more; "
                        "`" +
                        engine::told_command("prune --yes") + "` removes them",
                    0, columns);
  }
  return text;
}

std::string status_as_json(const status_report& report) {
  ordered_json out;
  out["version"] = 1;
  out["status"] = word_of(report.worst());
  out["exit_status"] = static_cast<int>(report.worst());
  out["summary"] = status_summary(report);
  if (!report.error.empty()) {
    out["error"] = report.error;
  }
  out["now"] = report.rules.now.rfc3339();
  out["max_age_seconds"] = report.rules.max_age.count();
  out["running_pid"] = report.rules.running.empty() ? ordered_json() : pid_of(report.rules.running);
  out["subvolumes"] = ordered_json::array();
  for (const subvolume_health& one : report.subvolumes) {
    out["subvolumes"].push_back(json_of(one, report.rules.now));
  }
  out["retired_snapshots"] = ordered_json::array();
  for (const std::string& path : report.retired_snapshots) {
    out["retired_snapshots"].push_back({{"path", path}});
  }
  return planner::json_document(out);
}

std::string status_of_nothing(const error& failure, bool json, const engine::clock& clock) {
  status_report report;
  report.rules.now = timestamp(std::chrono::floor<std::chrono::seconds>(clock.now()));
  report.error = failure.text();
  return json ? status_as_json(report) : status_summary(report) + "\n";
}

}  // namespace bts3::app
