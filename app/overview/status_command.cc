#include "app/overview/status_command.hh"

#include "app/config/selection.hh"
#include "app/host/rights.hh"
#include "app/records/run_lock.hh"
#include "app/survey/nested_subvolumes.hh"
#include "app/survey/observer.hh"
#include "app/survey/retired.hh"
#include "app/text/human_units.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"
#include "engine/told_command.hh"
#include "planner/keys.hh"

#include <nlohmann/json.hpp>

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;
using nlohmann::ordered_json;
using planner::timestamp;

// A run has half a slot to begin and end before what is due is called late.
constexpr std::chrono::hours late_after{12};
// Monitoring waits for its plugins for a minute or so. For a store that does not answer, in all.
constexpr std::chrono::milliseconds patience_max{30'000};

int rank(health state) {
  switch (state) {
    case health::ok:
      return 0;
    case health::warning:
      return 1;
    case health::unknown:
      return 2;
    case health::critical:
      return 3;
  }
  return 3;
}

const char* word_of(health state) {
  switch (state) {
    case health::ok:
      return "ok";
    case health::warning:
      return "warning";
    case health::critical:
      return "critical";
    case health::unknown:
      return "unknown";
  }
  return "";
}

std::string in_capitals(std::string text) {
  for (char& c : text) {
    c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return text;
}

// Whether the bucket holds no backup of it that could be restored.
bool nothing_to_restore(const planner::observation& seen) {
  return !seen.pointer_exists || !seen.last || !seen.chain_problem.empty() ||
         !seen.chunk_problem.empty() || !seen.refused_problem.empty();
}

std::string unfinished_text(const journalled_backup& one, const planner::time_zone& zone) {
  return std::string(planner::to_string(one.kind)) + " backup begun " +
         planner::local_text(one.began, zone) + ", " + format_bytes(one.uploaded_bytes) +
         " uploaded";
}

// Collects problems; the subvolume is as bad as the worst.
class verdict {
 public:
  explicit verdict(subvolume_health& into) : _into(into) {}
  void add(health state, std::string problem) {
    const bool worse = rank(state) > rank(_into.state);
    _into.problems.insert(worse ? _into.problems.begin() : _into.problems.end(),
                          std::move(problem));
    _into.state = worse ? state : _into.state;
  }

 private:
  subvolume_health& _into;
};

void judge_age(const status_facts& facts, const status_rules& rules, verdict& found) {
  if (!facts.standing.last_backup) {
    return;
  }
  const std::chrono::seconds age = rules.now.when() - facts.standing.last_backup->when();
  if (age > rules.max_age) {
    found.add(health::critical, "the last backup is " + format_age(age) + " old, and " +
                                    format_age(rules.max_age) + " are allowed");
  }
}

// How to have it looked at again: what only reading finds, only reading refutes.
std::string again_text(const verification_summary::damage& one, const std::string& name) {
  if (one.kind == verification_kind::received) {
    return "; the next backup is a full one, which replaces it (`" +
           engine::told_command("backup --full", {{"--subvolume", name}}) + "`)";
  }
  return "; `" +
         engine::told_command(one.kind == verification_kind::quick ? "verify" : "verify --deep",
                              {{"--subvolume", name}}) +
         "` looks again";
}

std::string found_text(const verification_summary::damage& one, const planner::time_zone& zone) {
  if (one.kind == verification_kind::received) {
    return one.key + ": " + one.problem + " (a restore, " + planner::local_text(one.at, zone) + ")";
  }
  return one.key + (one.problem.empty() ? "" : ": " + one.problem) + " (" +
         std::string(to_string(one.kind)) + " verification of " +
         planner::local_text(one.at, zone) + ")";
}

// What verify has found and nothing has refuted since. Critical where the last backup needs it.
void judge_verification(const status_facts& facts, const planner::time_zone& zone, verdict& found) {
  if (!facts.verified_problem.empty()) {
    found.add(health::warning, facts.verified_problem);
  }
  if (!facts.gone.empty()) {
    const std::size_t more = facts.gone.size() - 1;
    found.add(
        health::warning,
        "a backup that was there is gone, and prune did not delete it: " + facts.gone.front() +
            (more == 0 ? "" : ", and " + std::to_string(more) + " more") + "; `" +
            engine::told_command("verify", {{"--subvolume", facts.name}}) + "` tells");
  }
  if (!facts.verified) {
    return;
  }
  const verification_summary::damage* older = nullptr;
  std::size_t others = 0;
  for (const verification_summary::damage& one : facts.verified->damaged) {
    if (facts.chain.contains(one.key)) {
      found.add(health::critical, "the last backup rests on a damaged one: " +
                                      found_text(one, zone) + again_text(one, facts.name));
    } else {
      others += older == nullptr ? 0 : 1;
      older = older == nullptr ? &one : older;
    }
  }
  if (older != nullptr) {
    found.add(health::warning,
              "an older backup is damaged: " + found_text(*older, zone) +
                  (others == 0 ? "" : ", and " + std::to_string(others) + " more") +
                  again_text(*older, facts.name));
  }
  if (!facts.verified->elsewhere.empty()) {
    found.add(health::warning, "verify found damage: " + facts.verified->elsewhere);
  }
}

}  // namespace

subvolume_health judge_health(status_facts facts, const status_rules& rules,
                              const planner::time_zone& zone) {
  subvolume_health made;
  verdict found(made);
  if (!facts.error.empty()) {
    found.add(health::unknown, facts.error);
    made.facts = std::move(facts);
    return made;
  }
  if (!facts.elsewhere) {
    made.due = next_due(facts.standing, rules.when_due, zone);
  }
  if (nothing_to_restore(facts.seen) || facts.plan.what == planner::action::stop) {
    found.add(health::critical, facts.plan.sentence);
  } else if (facts.seen.parent != planner::parent_state::present) {
    found.add(health::warning, "the next backup will be a full one: " + facts.seen.parent_problem);
  }
  judge_age(facts, rules, found);
  judge_verification(facts, zone, found);
  for (const planner::notice& warning : facts.plan.warnings) {
    found.add(health::warning, warning.sentence);
  }
  const bool late = made.due && rules.now.when() - made.due->when() > late_after;
  if (late && rules.running.empty()) {
    found.add(health::warning,
              "a backup has been due since " + planner::local_text(*made.due, zone));
  }
  if (facts.unfinished && rules.running.empty()) {
    found.add(health::warning, "interrupted: " + unfinished_text(*facts.unfinished, zone) +
                                   "; the next run goes on with it");
  }
  if (!facts.journal_problem.empty()) {
    found.add(health::warning, facts.journal_problem);
  }
  if (facts.given_up > 0) {
    found.add(health::warning, "remains of " + std::to_string(facts.given_up) +
                                   " given up could not be removed yet; each run tries again");
  }
  made.facts = std::move(facts);
  return made;
}

health status_report::worst() const {
  health state = error.empty() ? health::ok : health::unknown;
  for (const subvolume_health& one : subvolumes) {
    state = rank(one.state) > rank(state) ? one.state : state;
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
    text += std::to_string(count) + (count == 1 ? " subvolume" : " subvolumes");
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
  return more == 0 ? text
                   : text + " (and " + std::to_string(more) + " more " +
                         (more == 1 ? "problem)" : "problems)");
}

namespace {

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
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string status_of_nothing(const error& failure, bool json, const engine::clock& clock) {
  status_report report;
  report.rules.now = timestamp(std::chrono::floor<std::chrono::seconds>(clock.now()));
  report.error = failure.text();
  return json ? status_as_json(report) : status_summary(report) + "\n";
}

namespace {

journalled_backup summary_of(const journal_record& record) {
  journalled_backup made;
  made.kind = record.intent.kind;
  made.began = record.intent.when;
  for (const auto& [index, chunk] : record.chunks) {
    (void)index;
    for (const auto& [number, part] : chunk.parts) {
      (void)number;
      made.uploaded_bytes += part.size;
    }
    if (chunk.parts.empty() && chunk.stored) {
      made.uploaded_bytes += chunk.size.value_or(0);
    }
  }
  return made;
}

void look_at_journals(const services& with, status_facts& facts) {
  auto record = read_journal(journal_path(with.settings.state_path, facts.name, false));
  if (!record) {
    facts.journal_problem = record.error().text();
  } else if (*record) {
    facts.unfinished = summary_of(**record);
  }
  auto paths = list_journals(with.settings.state_path);
  if (!paths) {
    facts.journal_problem = paths.error().text();
    return;
  }
  for (const std::string& path : *paths) {
    if (!is_set_aside(path)) {
      continue;
    }
    auto aside = read_journal(path);
    facts.given_up += aside && *aside && (*aside)->intent.subvolume == facts.name ? 1 : 0;
  }
}

// What verify would miss.
void look_for_gone(const services& with, const result<verify_record>& record,
                   const subvolume_view& view, status_facts& facts) {
  const verified_subvolume* const known =
      record ? record->find(facts.name, place_of(with, facts.name)) : nullptr;
  if (known != nullptr) {
    facts.gone = known->missing_from(view.objects);
  }
  const std::string& last = view.seen.remembered_manifest;
  const std::string root = planner::key_layout(with.settings.prefix, facts.name).root();
  if (last.starts_with(root) && !view.objects.contains(last) &&
      (known == nullptr || (!known->links.contains(last) && !known->pruned.contains(last)))) {
    facts.gone.push_back(last);
  }
}

void look_at_verifications(const services& with, const result<verify_record>& record,
                           status_facts& facts) {
  if (!record) {
    facts.verified_problem = record.error().text();
  } else if (const auto* known = record->find(facts.name, place_of(with, facts.name))) {
    facts.verified = summary_of(*known);
  }
}

status_facts facts_of(const services& with, observed one, const result<verify_record>& verified,
                      const status_rules& rules, const planner::time_zone& zone) {
  status_facts facts;
  facts.name = one.which.name;
  look_at_verifications(with, verified, facts);
  if (!one.view) {
    facts.error = one.view.error().text();
    return facts;
  }
  subvolume_view& view = *one.view;
  facts.elsewhere = view.which.path.empty();
  if (facts.elsewhere) {
    // As the host that makes them, and has the parent, would see it.
    view.seen.own_host_id = view.seen.last ? view.seen.last->host_id : "";
    view.seen.parent = planner::parent_state::present;
  }
  planner::policy by;
  by.when_due = rules.when_due;
  facts.plan = planner::decide(view.seen, by, rules.now, zone);
  if (!view.chain.empty()) {
    facts.standing.last_backup = view.chain.back().when;
    facts.standing.last_full = view.chain.front().when;
    facts.standing.links = view.chain.size();
    facts.standing.last_bytes = view.chain.back().bytes;
    for (const link_summary& link : view.chain) {
      facts.chain.insert(link.key);
    }
  } else if (view.seen.last) {
    facts.standing.last_backup = planner::time_of(*view.seen.last, view.seen.last_key);
    facts.standing.last_bytes = view.seen.last->total_bytes;
  }
  look_for_gone(with, verified, view, facts);
  if (facts.verified) {
    // What has been deleted since, damages nothing any more.
    std::erase_if(facts.verified->damaged, [&](const verification_summary::damage& damaged) {
      return !view.objects.contains(damaged.key);
    });
  }
  facts.seen = std::move(view.seen);
  if (!facts.elsewhere) {
    look_at_journals(with, facts);
  }
  return facts;
}

// What this host's runs have left. With --from nothing: they are of other backups.
result<run_state> state_of_runs(const services& with, status_report& report) {
  auto state = state_store(with.settings.state_path, with.clock, with.log).peek();
  if (!state) {
    return state;
  }
  auto running = run_lock::holder(with.settings.lock_path);
  // It is for those who make backups: whoever may only look learns the rest.
  if (!running && running.error().status != EACCES) {
    return std::move(running.error());
  }
  report.rules.running = running ? running->value_or("") : "";
  return state;
}

task<result<void>> look(const services& with, store_connection& connection,
                        std::vector<subvolume_config> chosen, bool elsewhere,
                        status_report& report) {
  auto state = elsewhere ? result<run_state>(run_state()) : state_of_runs(with, report);
  if (!state) {
    co_return std::move(state.error());
  }
  const system_time_zone zone;
  observer looking(with, &connection, *state, this_host());
  auto observing = looking.observe_all(std::move(chosen));
  std::vector<observed> views = co_await std::move(observing);
  const auto verified = read_verify_record(with.settings.state_path);
  for (observed& one : views) {
    status_facts facts = facts_of(with, std::move(one), verified, report.rules, zone);
    report.subvolumes.push_back(judge_health(std::move(facts), report.rules, zone));
  }
  co_return engine::ok();
}

task<result<void>> look_with(const services& with, const status_command& command,
                             status_report& report) {
  auto chosen = command.from.empty() ? select_subvolumes(with.settings, command.subvolumes)
                                     : select_also_retired(with.settings, command.subvolumes);
  if (!chosen) {
    co_return std::move(chosen.error());
  }
  auto connection = store_connection::open(with, persistence::of_the_command);
  if (!connection) {
    co_return std::move(connection.error());
  }
  result<void> looked = engine::ok();
  const bool elsewhere = !command.from.empty();
  if (elsewhere) {
    auto finding = chosen_in_bucket(with, (*connection)->store(), std::move(*chosen));
    chosen = co_await std::move(finding);
  }
  if (chosen) {
    auto looking = look(with, **connection, std::move(*chosen), elsewhere, report);
    looked = co_await std::move(looking);
  } else {
    looked = std::move(chosen.error());
  }
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return looked;
}

// Without --max-age: a day more than the schedule has between backups, or twice as much again.
std::chrono::seconds backup_age_max(const config& settings) {
  return settings.incremental_every.count() > 0
             ? std::chrono::ceil<std::chrono::seconds>(3 * settings.incremental_every)
             : std::chrono::seconds(std::chrono::days(settings.incremental_every_days + 1));
}

}  // namespace

task<result<exit_status>> run_status(const services& with, status_command command) {
  config settings = with.settings;
  settings.retry_for = std::min(settings.retry_for, patience_max);
  services here{with.loop, with.log, with.clock, settings, with.environment, with.stop};
  here.tuning = with.tuning;
  status_report report;
  report.rules.now = timestamp(std::chrono::floor<std::chrono::seconds>(with.clock.now()));
  report.rules.when_due = policy_of(settings, false, false).when_due;
  report.rules.max_age = command.max_age.value_or(backup_age_max(settings));
  auto looking = look_with(here, command, report);
  auto looked = co_await std::move(looking);
  if (auto retired = retired_snapshots(here); retired && command.from.empty()) {
    for (const btrfs::snapshot& one : *retired) {
      report.retired_snapshots.push_back(one.path);
    }
  }
  if (with.stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  if (!looked) {
    report.error = for_user(looked.error(), ::geteuid()).text();
  }
  if (command.json) {
    print_json(status_as_json(report));
  } else {
    print_text(status_as_text(report, system_time_zone(), terminal_columns(STDOUT_FILENO)));
  }
  co_return static_cast<exit_status>(report.worst());
}

}  // namespace bts3::app
