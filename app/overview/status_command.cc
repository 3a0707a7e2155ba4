// The status command, for monitoring: whether each subvolume's last backup can be restored and is
// young enough, by what the bucket says now; what is due when; what is under way; what was verified
// when, by the local record. Changes nothing and takes no lock.
//
// Exit status and first line are those of a monitoring plugin: 0 OK, 1 WARNING, 2 CRITICAL,
// 3 UNKNOWN.
#include "app/config/selection.hh"
#include "app/host/rights.hh"
#include "app/overview/status_report.hh"
#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "app/records/run_lock.hh"
#include "app/records/verify_record.hh"
#include "app/store/commands.hh"
#include "app/survey/observer.hh"
#include "app/survey/retired.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"
#include "planner/keys.hh"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;
using planner::timestamp;

// Monitoring waits for its plugins for a minute or so. For a store that does not answer, in all.
constexpr std::chrono::milliseconds patience_max{30'000};

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
  auto record = read_journal(journal_path(with.settings.global.state_path, facts.name, false));
  if (!record) {
    facts.journal_problem = record.error().text();
  } else if (*record) {
    facts.unfinished = summary_of(**record);
  }
  auto paths = list_journals(with.settings.global.state_path);
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
  const std::string root = planner::key_layout(with.settings.s3.prefix, facts.name).root();
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
  by.own_prefix = "an s3.prefix";
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
  auto state = state_store(with.settings.global.state_path, with.clock, with.log).peek();
  if (!state) {
    return state;
  }
  auto running = run_lock::holder(with.settings.global.lock_path);
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
  const auto verified = read_verify_record(with.settings.global.state_path);
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
  if (settings.schedule.incremental_every) {
    return 3 * *settings.schedule.incremental_every;
  }
  return settings.schedule.incremental_every_days + std::chrono::days(1);
}

}  // namespace

task<result<exit_status>> run_command(const services& with, status_command command) {
  config settings = with.settings;
  settings.s3.retry_for = std::min(settings.s3.retry_for, patience_max);
  services here{with.loop, with.log, with.clock, settings, with.host, with.environment, with.stop};
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
