#include "app/overview/plan_job.hh"

#include "app/config/selection.hh"
#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "app/secrets/recipients.hh"
#include "app/store/commands.hh"
#include "app/survey/nested_subvolumes.hh"
#include "app/text/human_units.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"
#include "btrfs/host.hh"
#include "planner/json_text.hh"
#include "planner/keys.hh"

#include <nlohmann/json.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

void add_notes(text_table& table, const planned_subvolume& one) {
  if (!one.error.empty()) {
    table.note(printable(one.error));
    return;
  }
  if (one.unfinished) {
    table.note(printable("first: " + std::string(planner::to_string(one.unfinished->what)) +
                         " an unfinished backup (" + one.unfinished->reason +
                         "): " + one.unfinished->sentence));
  }
  table.note(printable(one.plan.sentence));
  if (one.plan.makes_backup()) {
    const std::string& parent = one.plan.parent_snapshot;
    table.note(
        printable("from " + one.path + (parent.empty() ? "" : ", as changed since " + parent)));
    table.note(printable("to " + one.destination));
  }
  for (const planner::notice& warning : one.plan.warnings) {
    table.note(printable("warning: " + warning.sentence));
  }
}

// The reason, a word of the log and of JSON, has a sentence below the row to say the same.
text_table table_of(const std::vector<planned_subvolume>& all, const planner::time_zone& zone,
                    bool with_reason) {
  using align = text_table::align;
  std::vector<text_table::column> columns = {{"SUBVOLUME", align::left}, {"ACTION", align::left}};
  if (with_reason) {
    columns.push_back({"REASON", align::left});
  }
  columns.insert(columns.end(),
                 {{"ESTIMATE", align::right}, {"LAST BACKUP", align::left}, {"DUE", align::left}});
  text_table table(std::move(columns));
  for (const planned_subvolume& one : all) {
    const bool known = one.error.empty();
    const bool makes = known && one.plan.makes_backup();
    std::vector<std::string> cells = {
        printable(one.name), known ? std::string(planner::to_string(one.plan.what)) : "error"};
    if (with_reason) {
      cells.push_back(known ? one.plan.reason : "-");
    }
    cells.push_back(!makes ? "-"
                    : one.estimate
                        ? (one.estimate->at_least ? ">=" : "~") + format_bytes(one.estimate->bytes)
                        : "unknown");
    cells.push_back(!known            ? "-"
                    : one.last_backup ? planner::local_text(*one.last_backup, zone)
                                      : "never");
    cells.push_back(makes                   ? "now"
                    : known && one.plan.due ? planner::local_text(*one.plan.due, zone)
                                            : "-");
    table.add(std::move(cells));
    add_notes(table, one);
  }
  return table;
}

}  // namespace

std::string plan_as_text(const std::vector<planned_subvolume>& all, const planner::time_zone& zone,
                         std::size_t columns) {
  const text_table wide = table_of(all, zone, true);
  const bool fits = columns == 0 || wide.width() <= columns;
  return (fits ? wide : table_of(all, zone, false)).text(0, columns);
}

std::string plan_as_json(const std::vector<planned_subvolume>& all) {
  nlohmann::ordered_json out;
  out["version"] = 1;
  out["subvolumes"] = nlohmann::ordered_json::array();
  for (const planned_subvolume& one : all) {
    nlohmann::ordered_json entry;
    entry["subvolume"] = one.name;
    entry["path"] = one.path;
    if (!one.error.empty()) {
      entry["error"] = one.error;
      out["subvolumes"].push_back(std::move(entry));
      continue;
    }
    if (one.unfinished) {
      entry["unfinished"] = {{"action", planner::to_string(one.unfinished->what)},
                             {"reason", one.unfinished->reason},
                             {"because", one.unfinished->sentence}};
    }
    entry["action"] = planner::to_string(one.plan.what);
    entry["reason"] = one.plan.reason;
    entry["because"] = one.plan.sentence;
    if (one.plan.makes_backup()) {
      entry["destination"] = one.destination;
      entry["estimated_bytes"] =
          one.estimate ? nlohmann::ordered_json(one.estimate->bytes) : nlohmann::ordered_json();
      if (one.estimate) {
        entry["estimated_at_least"] = one.estimate->at_least;
      }
    }
    if (!one.plan.parent_snapshot.empty()) {
      entry["parent_snapshot"] = one.plan.parent_snapshot;
      entry["parent_manifest_key"] = one.plan.parent_manifest;
    }
    entry["links"] = one.links;
    entry["last_backup_at"] = one.last_backup ? nlohmann::ordered_json(one.last_backup->rfc3339())
                                              : nlohmann::ordered_json();
    if (one.plan.due) {
      entry["due_at"] = one.plan.due->rfc3339();
    }
    if (!one.nested_left_out.empty()) {
      entry["nested_left_out"] = one.nested_left_out;
    }
    entry["warnings"] = nlohmann::ordered_json::array();
    for (const planner::notice& warning : one.plan.warnings) {
      entry["warnings"].push_back({{"event", warning.event}, {"because", warning.sentence}});
    }
    out["subvolumes"].push_back(std::move(entry));
  }
  return planner::json_document(out);
}

plan_job::plan_job(const services& with, plan_command command)
    : _with(with),
      _command(std::move(command)),
      _policy(policy_of(with.settings, _command.once, _command.adopt)) {
  _policy.full = _command.full;
}

task<result<exit_status>> plan_job::run() {
  auto looking = look();
  auto status = co_await std::move(looking);
  if (!status) {
    co_return status;
  }
  if (_command.json) {
    print_json(plan_as_json(_planned));
  } else {
    print_text(plan_as_text(_planned, _zone, terminal_columns(STDOUT_FILENO)));
  }
  co_return status;
}

task<result<exit_status>> plan_job::look() {
  auto chosen = select_subvolumes(_with.settings, _command.subvolumes);
  if (!chosen) {
    co_return std::move(chosen.error());
  }
  auto state = state_store(_with.settings.global.state_path, _with.clock, _with.log).peek();
  if (!state) {
    co_return std::move(state.error());
  }
  _state = std::move(*state);
  auto detecting = _with.host.detect(_with.loop);
  auto host = co_await std::move(detecting);
  if (!host) {
    co_return std::move(host.error());
  }
  _stream = stream_settings_of(_with.settings, *host);
  auto recipients = read_recipients(_with.settings.encryption.recipients, "encryption.recipients",
                                    _with.settings.encryption.recipients_file);
  if (!recipients) {
    co_return std::move(recipients.error());
  }
  auto sealed_for = fingerprints_of(std::move(*recipients));
  if (!sealed_for) {
    co_return std::move(sealed_for.error());
  }
  _stream.sealed_for = std::move(*sealed_for);
  auto connection = store_connection::open(_with, persistence::of_a_question);
  if (!connection) {
    co_return std::move(connection.error());
  }
  _connection = std::move(*connection);
  auto running = run_connected(std::move(*chosen));
  auto status = co_await std::move(running);
  auto closing = _connection->close();
  co_await std::move(closing);
  co_return status;
}

task<planned_subvolume> plan_job::plan_one(observed one) {
  planned_subvolume planned;
  planned.name = one.which.name;
  planned.path = one.which.path;
  if (auto usable = _with.host.snapshots().check(_with.settings.snapshots.base_dir, one.which.path);
      !usable) {
    planned.error = usable.error().text();
    co_return planned;
  }
  if (!one.view) {
    planned.error = one.view.error().text();
    co_return planned;
  }
  const subvolume_view& view = *one.view;
  const planner::timestamp now(std::chrono::floor<std::chrono::seconds>(_with.clock.now()));
  auto record = read_journal(journal_path(_with.settings.global.state_path, planned.name, false));
  if (!record) {
    planned.error = record.error().text();
    co_return planned;
  }
  if (*record) {
    unfinished_finding found;
    found.facts.place_problem = place_problem(_with, **record);
    if (found.facts.place_problem.empty()) {
      auto examining = examine_unfinished(_with, *_connection, **record, &view, _stream);
      auto examined = co_await std::move(examining);
      if (!examined) {
        planned.error = examined.error().text();
        co_return planned;
      }
      found = std::move(*examined);
    } else {
      found.facts.pointer_unmoved = true;  // that place is looked at when it is cleaned up
    }
    const auto store_time = _connection->store_time();
    planned.unfinished = planner::decide_unfinished(
        found.facts,
        store_time ? planner::timestamp(std::chrono::floor<std::chrono::seconds>(*store_time))
                   : now,
        std::chrono::duration_cast<std::chrono::seconds>(_with.settings.s3.resume_for),
        "s3.resume_for");
  }
  planned.plan = planner::decide(view.seen, _policy, now, _zone);
  planned.links = view.chain.size();
  if (auto nested = nested_left_out(_with, one.which)) {
    planned.nested_left_out = std::move(*nested);
  }
  if (!view.chain.empty()) {
    planned.last_backup = view.chain.back().when;
  }
  const planner::key_layout keys(_with.settings.s3.prefix, planned.name);
  planned.destination = "s3://" + _with.settings.s3.bucket + "/" + keys.root() +
                        std::string(planner::to_string(planned.plan.what)) + "/";
  if (planned.plan.makes_backup()) {
    btrfs::estimate_request what{planned.path, {}, _stream.compressed_data};
    if (planned.plan.what == planner::action::incremental) {
      what.parent = view.parent->info;
    }
    auto estimating = _with.host.sending().estimate(_with.loop, std::move(what), _with.stop);
    auto estimate = co_await std::move(estimating);
    if (estimate) {
      planned.estimate = *estimate;
    } else {
      _with.log.write(log_level::warning, "plan", "size_unknown",
                      {{"subvolume", planned.name}, {"error", estimate.error().text()}});
    }
  }
  co_return planned;
}

task<result<exit_status>> plan_job::run_connected(std::vector<subvolume_config> chosen) {
  observer looking(_with, _connection.get(), _state, this_host());
  auto observing = looking.observe_all(std::move(chosen));
  std::vector<observed> views = co_await std::move(observing);
  std::vector<planned_subvolume>& all = _planned;
  std::size_t failed = 0;
  std::optional<error> first_failure;
  for (observed& one : views) {
    if (_with.stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    if (!one.view && !first_failure) {
      first_failure = one.view.error();
    }
    auto planning = plan_one(std::move(one));
    planned_subvolume planned = co_await std::move(planning);
    const bool bad = !planned.error.empty() || planned.plan.what == planner::action::stop;
    failed += bad ? 1 : 0;
    all.push_back(std::move(planned));
  }
  if (failed == 0) {
    co_return exit_status::done;
  }
  if (failed < all.size()) {
    co_return exit_status::partly;
  }
  co_return first_failure ? status_of(*first_failure) : exit_status::failed;
}

task<result<exit_status>> run_command(const services& with, plan_command command) {
  plan_job job(with, std::move(command));
  auto running = job.run();
  co_return co_await std::move(running);
}

}  // namespace bts3::app
