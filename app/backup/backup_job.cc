#include "app/backup/backup_job.hh"

#include "app/backup/hooks.hh"
#include "app/config/selection.hh"
#include "app/host/disk_call.hh"
#include "app/host/run_figures.hh"
#include "app/host/signals.hh"
#include "app/records/harness_manifest.hh"
#include "app/records/journal_shelf.hh"
#include "app/store/publication.hh"
#include "app/store/second_look.hh"
#include "app/survey/nested_subvolumes.hh"
#include "app/text/human_units.hh"
#include "app/text/output.hh"
#include "app/text/progress.hh"
#include "app/text/text_table.hh"
#include "app/transfer/send_failure.hh"
#include "app/transfer/sent_stream.hh"
#include "btrfs/size_estimate.hh"
#include "engine/assert.hh"
#include "engine/files.hh"
#include "engine/stop_after.hh"
#include "planner/keys.hh"
#include "planner/retention.hh"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <random>
#include <set>
#include <utility>

#ifndef BTS3_VERSION
#define BTS3_VERSION "unknown"
#endif

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

// Cleaning up after a failure gives up after this long, so that a stop ends within 10 s also when
// the network is gone; what is left then is the next run's.
constexpr std::chrono::seconds clean_up_limit{6};
// A bucket that is not configured any more is tried for this long.
constexpr std::chrono::seconds elsewhere_limit{30};
// What was seen of the bucket longer ago is looked at again before anything rests on it.
constexpr std::chrono::seconds observation_lifetime{60};

// The sender exited with status 0, and its stream ended in an END command.
task<result<void>> prove_whole(btrfs::send_process& send,
                               const btrfs::stream_inspector& inspector) {
  auto finishing = send.finish();
  auto finished = co_await std::move(finishing);
  if (!finished) {
    co_return finished;
  }
  co_return inspector.finish();
}

error broken_each_time(const error& broken) {
  error failure = broken;
  failure.message += "; it was sent " + std::to_string(stream_attempts::breaks_max) +
                     " times, and broke each time";
  failure.remedy =
      "run the backup again: what has arrived is kept; if the stream breaks each time, nothing "
      "may stop and continue `btrfs send` (suspend, a paused machine, a frozen cgroup, Ctrl-Z), "
      "and memory and kernel are worth a test";
  return failure;
}

// What is told of chunks once their manifest is written: without the records of their parts, of
// which a large backup has tens of thousands.
std::vector<planner::chunk_record> without_parts(const std::vector<planner::chunk_record>& chunks) {
  std::vector<planner::chunk_record> made;
  for (const planner::chunk_record& chunk : chunks) {
    planner::chunk_record one;
    one.key = chunk.key;
    one.size = chunk.size;
    one.sha256 = chunk.sha256;
    made.push_back(std::move(one));
  }
  return made;
}

}  // namespace

void begin_report(run_report& report, const config& settings,
                  const std::vector<subvolume_config>& chosen, const run_state& state) {
  const planner::schedule when = policy_of(settings, false, false).when_due;
  const system_time_zone zone;
  for (const subvolume_config& which : settings.subvolumes) {
    subvolume_report one;
    one.name = which.name;
    if (const auto known = state.subvolumes.find(which.name); known != state.subvolumes.end()) {
      const subvolume_state& entry = known->second;
      one.standing.last_backup = planner::timestamp::parse(entry.last_backup_at);
      one.standing.last_full = planner::timestamp::parse(entry.last_full_at);
      one.standing.links = entry.chain_links;
      one.standing.last_bytes = entry.last_bytes;
      if (entry.last_milliseconds) {
        one.standing.last_seconds = static_cast<double>(*entry.last_milliseconds) / 1000;
      }
    }
    one.due = next_due(one.standing, when, zone);
    const bool selected =
        std::any_of(chosen.begin(), chosen.end(),
                    [&](const subvolume_config& other) { return other.name == which.name; });
    (selected ? report.subvolumes : report.others).push_back(std::move(one));
  }
}

// A backup from its snapshot to its pointer.
struct backup_job::made_backup {
  made_backup(const subvolume_view& of, backup_intent meant, std::string_view prefix)
      : view(of), intent(std::move(meant)), keys(prefix, intent.subvolume) {}
  const subvolume_view& view;
  backup_intent intent;
  planner::key_layout keys;
  btrfs::snapshot snapshot;
  std::unique_ptr<backup_journal> record;
  std::map<std::uint32_t, journalled_chunk> before;  // what an earlier attempt uploaded
  bool had_before = false;                           // that was something, and went to `upload`
  std::unique_ptr<upload_stream> upload;
  std::vector<planner::chunk_record> chunks;
  std::uint64_t commands = 0;
  std::string last_path;          // of the last whole command that was sent
  std::uint64_t sound_bytes = 0;  // of the last stream, as far as every command was right
  double seconds = 0;             // of streaming
  bool resumed = false;           // an earlier run had begun it
  publication_trace trace;
  bool worthless = false;    // nothing of it can be used by a later run
  bool start_again = false;  // and a new backup should be made at once
  bool published = false;
};

backup_job::backup_job(const services& with, backup_command command,
                       std::vector<subvolume_config> chosen, run_report& report)
    : _with(with),
      _command(std::move(command)),
      _chosen(std::move(chosen)),
      _report(report),
      _snapshots(with.settings.base_dir),
      _identity(this_host()),
      _between_hooks(with.loop, 1),
      _policy(policy_of(with.settings, _command.once || _command.no_s3, _command.adopt)),
      _saving(with.loop, 1) {
  _policy.full = _command.full;
}

backup_job::~backup_job() = default;

planner::timestamp backup_job::now() const {
  return planner::timestamp(std::chrono::floor<std::chrono::seconds>(_with.clock.now()));
}

task<result<exit_status>> backup_job::run() {
  _states = std::make_unique<state_store>(_with.settings.state_path, _with.clock, _with.log);
  if (!_command.no_s3) {
    auto state = _states->load();
    if (!state) {
      co_return std::move(state.error());
    }
    _state = std::move(*state);
  }
  begin_report(_report, _with.settings, _chosen, _state);
  auto detecting = btrfs::detect_capabilities(_with.loop);
  auto host = co_await std::move(detecting);
  if (!host) {
    co_return std::move(host.error());
  }
  _host = *host;
  if (!_command.no_s3) {
    auto connection = store_connection::open(_with);
    if (!connection) {
      co_return std::move(connection.error());
    }
    _connection = std::move(*connection);
  }
  auto budget = upload_budget::create(_with);
  result<exit_status> status = exit_status::failed;
  if (!budget) {
    status = std::move(budget.error());
  } else {
    _budget = std::move(*budget);
    if (_connection) {
      _connection->on_throttled([this] { _budget->throttled(); });
    }
    const auto began = std::chrono::steady_clock::now();
    auto running = run_all();
    status = co_await std::move(running);
    report_totals(began);
  }
  if (_connection) {
    auto closing = _connection->close();
    co_await std::move(closing);
  }
  co_return status;
}

// What concurrent subvolumes report to.
struct backup_job::run_share {
  explicit run_share(engine::reactor& loop, std::size_t at_once)
      : turns(loop, at_once, "the turn of a subvolume") {}
  engine::semaphore turns;
  std::size_t done = 0;
  bool cancelled = false;
  std::map<std::string, error> failures;  // by subvolume
};

task<result<exit_status>> backup_job::run_all() {
  if (_with.line != nullptr) {
    _with.line->announce("looking at the bucket");
  }
  observer looking(_with, _connection.get(), _state, _identity);
  auto observing = looking.observe_all(_chosen);
  std::vector<observed> views = co_await std::move(observing);
  run_share share(_with.loop, static_cast<std::size_t>(_with.settings.parallel_subvolumes));
  engine::async_scope scope(_with.loop);
  for (observed& one : views) {
    scope.spawn(run_into(one, share));
  }
  // Only one line can be live at a time: of several streams, that of their sum.
  const bool together = parallel() && _connection && _with.line != nullptr;
  progress_cadence cadence;
  cadence.ticks_per_log_line = 0;  // each stream writes its own
  progress sum(_with.loop, _with.log, _with.line, "backup", "backing up", {}, cadence);
  if (together) {
    sum.follow([this] { return sent_bytes(); });
    sum.start();
  }
  auto joining = scope.join();
  co_await std::move(joining);
  if (together) {
    auto stopping = sum.stop();
    co_await std::move(stopping);
  }
  if (share.cancelled) {
    co_return engine::cancelled_error();
  }
  auto settling = settle_others();
  co_await std::move(settling);
  co_return outcome_of(share);
}

result<exit_status> backup_job::outcome_of(const run_share& share) const {
  if (share.failures.empty()) {
    return exit_status::done;
  }
  if (share.done > 0) {
    return exit_status::partly;
  }
  // In the order of the configuration.
  for (const subvolume_config& which : _chosen) {
    if (const auto failed = share.failures.find(which.name); failed != share.failures.end()) {
      return status_of(failed->second);
    }
  }
  return exit_status::failed;
}

subvolume_report* backup_job::report_of(const std::string& name) {
  for (subvolume_report& one : _report.subvolumes) {
    if (one.name == name) {
      return &one;
    }
  }
  return nullptr;
}

void backup_job::print(const std::string& line) const {
  if (_command.json) {
    return;
  }
  if (_with.line != nullptr) {
    _with.line->clear();  // of other subvolumes, still under way
  }
  print_text(wrapped(printable(line), 0, terminal_columns(STDOUT_FILENO)));
}

// What the bucket says counts more than the state file.
void backup_job::report_standing(const subvolume_view& view) {
  subvolume_report* const entry = report_of(view.which.name);
  if (entry == nullptr || view.chain.empty()) {
    return;
  }
  subvolume_standing& standing = entry->standing;
  if (standing.last_backup != view.chain.back().when) {
    standing.last_seconds.reset();
  }
  standing.last_backup = view.chain.back().when;
  standing.last_full = view.chain.front().when;
  standing.links = view.chain.size();
  standing.last_bytes = view.chain.back().bytes;
}

// Only what came to its end counts; what was uploaded besides is among the bytes sent.
void backup_job::count_finished(const finished_backup& done) {
  run_totals& totals = _report.totals;
  ++totals.backups;
  totals.bytes += done.bytes;
  totals.resumed_bytes += done.resumed_bytes;
}

// A backup of this run has been published, or with --no-s3 thrown away again.
void backup_job::report_finished(const made_backup& backup) {
  finished_backup done;
  done.how = backup.resumed ? "resumed" : "made";
  done.kind = backup.intent.kind;
  done.when = backup.intent.when;
  done.manifest_key = _command.no_s3 ? "" : backup.intent.manifest_key;
  done.bytes = backup.upload->total_bytes();
  done.resumed_bytes = backup.upload->resumed_bytes();
  done.chunks = backup.chunks.size();
  done.seconds = backup.seconds;
  count_finished(done);
  subvolume_report* const entry = report_of(backup.intent.subvolume);
  if (entry == nullptr) {
    return;
  }
  entry->backups.push_back(std::move(done));
  if (!_command.no_s3) {
    tell_harness(backup);
    entry->standing = standing_after(backup);
    entry->due = next_due(entry->standing, _policy.when_due, _zone);
  }
}

// The harness wants to know of the first selected subvolume; nobody else is told.
void backup_job::tell_harness(const made_backup& backup) {
  const auto directory = _with.environment(harness_run_directory);
  if (!directory || directory->empty() || backup.intent.subvolume != _chosen.front().name) {
    return;
  }
  const std::string path = *directory + "/manifest.json";
  const std::string text = harness_manifest(backup.intent.kind, backup.chunks);
  if (auto written = engine::write_durably(path, text); !written) {
    _with.log.write(log_level::warning, "backup", "harness_manifest_not_written",
                    {{"path", path}, {"error", written.error().text()}});
  }
}

// What is known of the subvolume once this backup has been published.
subvolume_standing backup_job::standing_after(const made_backup& backup) {
  subvolume_standing standing;
  const bool full = backup.intent.kind == planner::backup_kind::full;
  standing.last_backup = backup.intent.when;
  standing.last_bytes = backup.upload->total_bytes();
  standing.last_seconds = backup.seconds;
  if (full) {
    standing.last_full = backup.intent.when;
    standing.links = 1;
  } else if (!backup.view.chain.empty()) {
    standing.last_full = backup.view.chain.front().when;
    standing.links = backup.view.chain.size() + 1;
  }
  return standing;
}

task<void> backup_job::run_into(observed& one, run_share& share) {
  auto acquiring = share.turns.acquire(_with.stop);
  auto turn = co_await std::move(acquiring);
  if (!turn) {
    share.cancelled = true;
    co_return;
  }
  auto backing_up = run_one(one);
  auto outcome = co_await std::move(backing_up);
  subvolume_report& entry = *report_of(one.which.name);
  if (outcome) {
    ++share.done;
    entry.status = subvolume_status::done;
    co_return;
  }
  error failure = std::move(outcome.error());
  if (failure.what_now == disposition::cancelled) {
    share.cancelled = true;
    entry.status = subvolume_status::cancelled;
    co_return;
  }
  if (failure.why == reason::integrity) {
    // Exit status 4 is for data that was stored; here nothing was.
    failure.why = reason::child_process;
  }
  _with.log.write(log_level::error, "backup", "subvolume_failed",
                  {{"subvolume", one.which.name}, {"error", failure.text()}});
  entry.status = subvolume_status::failed;
  entry.error = failure.text();
  share.failures.emplace(one.which.name, std::move(failure));
}

task<result<subvolume_view>> backup_job::observe(const subvolume_config& which) {
  observer looking(_with, _connection.get(), _state, _identity);
  auto observing = looking.observe(which);
  co_return co_await std::move(observing);
}

task<result<void>> backup_job::run_one(observed& one) {
  const subvolume_config which = one.which;
  if (auto usable = _snapshots.check(which.path); !usable) {
    co_return std::move(usable.error());
  }
  auto made = _snapshots.make_base(which.path);
  if (!made) {
    co_return std::move(made.error());
  }
  if (*made) {
    _with.log.write(log_level::info, "backup", "directory_made",
                    {{"path", _with.settings.base_dir}, {"key", "snapshots.base_dir"}});
  }
  result<subvolume_view> view = std::move(one.view);
  if (view && std::chrono::steady_clock::now() - one.when > observation_lifetime) {
    // The subvolumes before this one took their time.
    auto observing = observe(which);
    view = co_await std::move(observing);
  }
  if (!view) {
    co_return std::move(view.error());
  }
  auto settling = settle(*view);
  auto settled = co_await std::move(settling);
  if (!settled) {
    co_return std::move(settled.error());
  }
  if (*settled) {
    auto again = observe(which);
    view = co_await std::move(again);
    if (!view) {
      co_return std::move(view.error());
    }
  }
  auto backing_up = back_up(std::move(*view));
  co_return co_await std::move(backing_up);
}

// What an earlier run left of this subvolume. True when something was changed and the subvolume
// must be looked at again.
task<result<bool>> backup_job::settle(subvolume_view& view) {
  bool changed = false;
  for (const bool local : {true, false}) {
    if (_command.no_s3 && !local) {
      continue;  // without the store nothing can be said of it
    }
    const std::string path = journal_path(_with.settings.state_path, view.which.name, local);
    if (owner_of_journal(_with.settings.state_path, path, {view.which.name}) ==
        journal_owner::another_state_file) {
      error failure;
      failure.why = reason::configuration;
      failure.message = "journal " + path + " is of another configuration's backup";
      failure.remedy = "name a file in a directory of its own in global.state_path";
      co_return failure;
    }
    auto loading = load_journal(path);
    auto record = co_await std::move(loading);
    if (!record) {
      co_return std::move(record.error());
    }
    if (!*record) {
      continue;
    }
    auto settling = settle_one(path, std::move(**record), &view);
    auto settled = co_await std::move(settling);
    if (!settled) {
      co_return std::move(settled.error()).within("an unfinished backup of an earlier run");
    }
    changed = true;
  }
  co_return changed;
}

// Whether that journal is this configuration's, before anything is done about it. One that cannot
// be read, and whose name does not tell, is left alone.
bool backup_job::is_ours(const std::string& path) const {
  std::set<std::string> names;
  for (const subvolume_config& one : _with.settings.subvolumes) {
    names.insert(one.name);
  }
  if (owner_of_journal(_with.settings.state_path, path, names) == journal_owner::this_state_file) {
    return true;
  }
  if (auto record = read_journal(path); !record) {  // an empty one is of no backup yet
    _with.log.write(log_level::warning, "backup", "journal_left_alone",
                    {{"error", record.error().text()},
                     {"reason", "it may be another configuration's"},
                     {"remedy", "run that one's backup; delete the file if there is none"}});
  }
  return false;
}

// Journals of subvolumes that are not configured any more, and those that were set aside.
task<void> backup_job::settle_others() {
  auto paths = list_journals(_with.settings.state_path);
  if (!paths) {
    _with.log.write(log_level::warning, "backup", "journals_not_listed",
                    {{"error", paths.error().text()}});
    co_return;
  }
  for (const std::string& path : *paths) {
    if (!is_ours(path)) {
      continue;
    }
    auto loading = load_journal(path);
    auto record = co_await std::move(loading);
    if (record && !*record) {
      continue;
    }
    const auto configured = [&](const subvolume_config& one) {
      return one.name == (*record)->intent.subvolume;
    };
    const auto& all = _with.settings.subvolumes;
    const bool others =
        is_set_aside(path) || !record || std::none_of(all.begin(), all.end(), configured);
    if (!others || (record && _command.no_s3 && !(*record)->intent.local_only)) {
      continue;
    }
    result<void> settled;
    if (record) {
      auto settling = settle_one(path, std::move(**record), nullptr);
      settled = co_await std::move(settling);
    } else {
      settled = std::move(record.error());
    }
    if (!settled) {
      _with.log.write(log_level::warning, "backup", "unfinished_backup_left",
                      {{"journal", path}, {"error", settled.error().text()}});
    }
  }
}

// Nullopt when there is none, or none that can be used: then it is moved aside and reported.
task<result<std::optional<journal_record>>> backup_job::load_journal(std::string path) {
  auto record = read_journal(path);
  if (!record && record.error().why == reason::protocol && record.error().remedy.empty()) {
    std::function<result<std::string>()> call = [path, when = now()] {
      return set_damaged_journal_aside(path, when);
    };
    auto moving = disk_call(_with.loop, std::move(call));
    auto aside = co_await std::move(moving);
    if (!aside) {
      co_return std::move(aside.error());
    }
    _with.log.write(log_level::warning, "backup", "journal_damaged",
                    {{"error", record.error().text()},
                     {"moved_to", *aside},
                     {"consequence", "what that backup left is reported, not removed"}});
    co_return std::optional<journal_record>();
  }
  if (record && !*record && std::filesystem::exists(path)) {
    // Its writer died before the intent was there, and so before anything was done.
    auto removing = remove_journal_at(path);
    auto removed = co_await std::move(removing);
    if (!removed) {
      co_return std::move(removed.error());
    }
  }
  co_return record;
}

task<result<void>> backup_job::settle_one(std::string path, journal_record record,
                                          subvolume_view* view) {
  const std::string elsewhere = record.intent.local_only ? "" : place_problem(_with, record);
  if (elsewhere.empty()) {
    auto settling = settle_at(_with, _connection.get(), std::move(path), std::move(record), view);
    co_return co_await std::move(settling);
  }
  // The bucket of before, with a patience that suits a place that may be gone for good.
  config settings = _with.settings;
  settings.bucket = record.intent.bucket;
  settings.region = record.intent.region;
  settings.endpoint_url = record.intent.endpoint_url;
  settings.retry_for = std::min<std::chrono::milliseconds>(settings.retry_for, elsewhere_limit);
  const environment_lookup environment = [&](std::string_view name) {
    return name == "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" ? std::optional<std::string>("true")
                                                         : _with.environment(name);
  };
  const services there{_with.loop, _with.log, _with.clock, settings, environment, _with.stop};
  auto connection = store_connection::open(there);
  if (!connection) {
    auto leaving = leave_to_later(path, record.intent, connection.error().text());
    co_return co_await std::move(leaving);
  }
  auto settling = settle_at(there, connection->get(), std::move(path), std::move(record), view);
  auto settled = co_await std::move(settling);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return settled;
}

task<result<void>> backup_job::settle_at(const services& there, store_connection* connection,
                                         std::string path, journal_record record,
                                         subvolume_view* view) {
  const bool elsewhere = &there != &_with;
  unfinished_finding found;
  if (record.intent.local_only) {
    found.facts.local_only = true;
  } else {
    auto examining = examine_unfinished(there, *connection, record, view,
                                        stream_settings_of(_with.settings, _host));
    auto examined = co_await std::move(examining);
    if (!examined && elsewhere && examined.error().what_now != disposition::cancelled) {
      // Perhaps it is published there: nothing of it is touched before that is known.
      auto leaving = leave_to_later(path, record.intent, examined.error().text());
      co_return co_await std::move(leaving);
    }
    if (!examined) {
      co_return std::move(examined.error());
    }
    found = std::move(*examined);
    found.facts.place_problem = place_problem(_with, record);
  }
  found.facts.set_aside = is_set_aside(path);
  const auto store_time = connection != nullptr ? connection->store_time() : std::nullopt;
  const planner::unfinished_verdict verdict = planner::decide_unfinished(
      found.facts,
      store_time ? planner::timestamp(std::chrono::floor<std::chrono::seconds>(*store_time))
                 : now(),
      std::chrono::duration_cast<std::chrono::seconds>(_with.settings.resume_for));
  const bool given_up = verdict.what == planner::unfinished_action::abandon ||
                        verdict.what == planner::unfinished_action::release ||
                        verdict.what == planner::unfinished_action::leave;
  _with.log.write(given_up ? log_level::warning : log_level::info, "backup", "unfinished_backup",
                  {{"subvolume", record.intent.subvolume},
                   {"snapshot", record.intent.snapshot_name},
                   {"action", std::string(planner::to_string(verdict.what))},
                   {"reason", verdict.reason},
                   {"because", verdict.sentence}});
  switch (verdict.what) {
    case planner::unfinished_action::record: {
      auto recording = record_published(path, record, found);
      co_return co_await std::move(recording);
    }
    case planner::unfinished_action::publish: {
      auto publishing = publish_unfinished(there, *connection, path, record, found);
      co_return co_await std::move(publishing);
    }
    case planner::unfinished_action::release: {
      auto removing = remove_journal_at(path);
      co_return co_await std::move(removing);
    }
    case planner::unfinished_action::leave: {
      auto leaving = leave_to_later(path, record.intent, verdict.sentence);
      co_return co_await std::move(leaving);
    }
    case planner::unfinished_action::resume: {
      auto resuming = resume(path, std::move(record), found, *view);
      co_return co_await std::move(resuming);
    }
    case planner::unfinished_action::abandon:
      break;
  }
  auto abandoning = abandon(there, connection, std::move(path), std::move(record),
                            found.facts.manifest_is_anothers);
  co_return co_await std::move(abandoning);
}

// The pointer names it already: only this host's memory of it is missing.
task<result<void>> backup_job::record_published(std::string path, const journal_record& record,
                                                const unfinished_finding& found) {
  snapshot_identity identity = record.snapshot.value_or(snapshot_identity());
  if (!record.snapshot && found.manifest) {
    identity.uuid = found.manifest->snapshot.uuid.value_or("");
    identity.ctransid = found.manifest->snapshot.ctransid.value_or(0);
  }
  if (found.pointer && found.pointer->value.manifest_key == record.intent.manifest_key) {
    auto remembering = remember(record.intent, identity, {});
    auto remembered = co_await std::move(remembering);
    if (!remembered) {
      co_return remembered;
    }
  }
  auto removing = remove_journal_at(path);
  co_return co_await std::move(removing);
}

task<result<void>> backup_job::publish_unfinished(const services& there,
                                                  store_connection& connection, std::string path,
                                                  const journal_record& record,
                                                  const unfinished_finding& found) {
  planner::pointer value;
  value.manifest_key = record.intent.manifest_key;
  value.kind = record.intent.kind;
  value.created_at = record.intent.when;
  publication_trace trace;
  auto moving = move_pointer(there, connection, record.intent.keys_root + "current.json",
                             std::move(value), found.pointer, trace);
  auto moved = co_await std::move(moving);
  if (!moved) {
    co_return std::move(moved.error())
        .within("moving the pointer to " + record.intent.manifest_key);
  }
  unfinished_finding published = found;
  published.pointer.emplace();
  published.pointer->value.manifest_key = record.intent.manifest_key;
  auto recording = record_published(path, record, published);
  auto recorded = co_await std::move(recording);
  if (recorded) {
    print(record.intent.subvolume + ": finished publishing the backup of " +
          record.intent.when.rfc3339() + ", " + record.intent.manifest_key);
    if (subvolume_report* const entry = report_of(record.intent.subvolume)) {
      finished_backup done;
      done.how = "published";
      done.kind = record.intent.kind;
      done.when = record.intent.when;
      done.manifest_key = record.intent.manifest_key;
      done.bytes = found.manifest ? found.manifest->total_bytes : 0;
      done.resumed_bytes = done.bytes;
      done.chunks = found.manifest ? found.manifest->chunks.size() : 0;
      count_finished(done);
      entry->backups.push_back(std::move(done));
    }
  }
  co_return recorded;
}

task<result<void>> backup_job::resume(std::string path, journal_record record,
                                      const unfinished_finding& found, subvolume_view& view) {
  made_backup backup(view, std::move(record.intent), _with.settings.prefix);
  backup.resumed = true;
  backup.before = std::move(record.chunks);
  backup.snapshot = *found.snapshot;
  auto reopened = journal_file::reopen(_with.loop, _with.log, path);
  if (!reopened) {
    co_return std::move(reopened.error());
  }
  backup.record = std::make_unique<backup_journal>(std::move(*reopened));
  auto finishing = finish(backup);
  auto finished = co_await std::move(finishing);
  if (!finished) {
    co_return std::move(finished.error());
  }
  co_return engine::ok();
}

// Undoes everything of a backup that its place, to which `connection` leads, does not know. What
// cannot be removed, because deleting is denied or its place goes away, is left to later runs.
task<result<void>> backup_job::abandon(const services& there, store_connection* connection,
                                       std::string path, journal_record record,
                                       bool second_writer) {
  result<void> removed;
  if (!record.intent.local_only) {
    auto removing = remove_unfinished_objects(there, *connection, record, second_writer);
    removed = co_await std::move(removing);
    const bool elsewhere = &there != &_with;
    const bool for_good = elsewhere || (!removed && removed.error().why == reason::access);
    if (!removed && (!for_good || removed.error().what_now == disposition::cancelled)) {
      co_return removed;
    }
  }
  std::string left;
  if (!removed) {
    left = removed.error().text();
  }
  auto removing = remove_unfinished_snapshot(_with, record);
  auto gone = co_await std::move(removing);
  if (!gone) {
    left += (left.empty() ? "" : "; ") + gone.error().text();
  }
  if (left.empty()) {
    auto removing = remove_journal_at(path);
    co_return co_await std::move(removing);
  }
  auto leaving = leave_to_later(path, record.intent, left);
  co_return co_await std::move(leaving);
}

// What could not be removed, or not even looked at, is kept in the journal under another name,
// which makes way for the next backup's, and said.
task<result<void>> backup_job::leave_to_later(std::string path, const backup_intent& intent,
                                              std::string why) {
  result<std::string> aside = path;
  if (!is_set_aside(path)) {
    std::function<result<std::string>()> call = [path, when = now()] {
      return set_journal_aside(path, when);
    };
    auto moving = disk_call(_with.loop, std::move(call));
    aside = co_await std::move(moving);
  }
  if (!aside) {
    co_return std::move(aside.error());
  }
  _with.log.write(log_level::warning, "backup", "unfinished_backup_left",
                  {{"subvolume", intent.subvolume},
                   {"error", why},
                   {"bucket", intent.bucket},
                   {"keys", intent.keys_root},
                   {"snapshot", intent.snapshot_path},
                   {"journal", *aside},
                   {"consequence", "the next run tries again"},
                   {"remedy", "delete the journal if that can never succeed"}});
  co_return engine::ok();
}

// Says what was decided, and why.
void backup_job::report(const planner::plan& plan, const subvolume_view& view) {
  for (const planner::notice& warning : plan.warnings) {
    _with.log.write(log_level::warning, "backup", warning.event,
                    {{"subvolume", view.which.name},
                     {"because", warning.sentence},
                     {"consequence", plan.clock_suspect ? "no snapshot is removed in this run"
                                                        : "the next backup is a full one"}});
  }
  _with.log.write(plan.is_fallback() ? log_level::warning : log_level::info, "backup", "planned",
                  {{"subvolume", view.which.name},
                   {"kind", std::string(planner::to_string(plan.what))},
                   {"reason", plan.reason},
                   {"because", plan.sentence}});
  if (subvolume_report* const entry = report_of(view.which.name)) {
    entry->action = planner::to_string(plan.what);
    entry->reason = plan.reason;
    entry->because = plan.sentence;
    entry->due = plan.due;
  }
}

task<result<void>> backup_job::back_up(subvolume_view view) {
  planner::plan plan = planner::decide(view.seen, _policy, now(), _zone);
  _clock_correction = plan.clock_correction;
  report_standing(view);
  report(plan, view);
  if (plan.what == planner::action::stop) {
    error failure;
    failure.message = plan.sentence;
    co_return failure;
  }
  auto adopting = adopt_into_state(view);
  co_await std::move(adopting);
  if (plan.what == planner::action::skip) {
    print(view.which.name + ": nothing due until " + planner::local_text(*plan.due, _zone));
    if (!plan.clock_suspect) {
      // What a resumed backup, or a lower snapshots.retain, has made superfluous.
      auto removing = remove_surplus(view, view.parent ? view.parent->name : "");
      co_await std::move(removing);
    }
    co_return engine::ok();
  }
  report_nested(view.which);
  auto making = make(std::move(view), std::move(plan));
  co_return co_await std::move(making);
}

void backup_job::report_nested(const subvolume_config& which) {
  auto nested = nested_left_out(_with.settings, which);
  if (!nested) {
    _with.log.write(log_level::warning, "backup", "nested_subvolumes_unknown",
                    {{"subvolume", which.name}, {"error", nested.error().text()}});
    return;
  }
  if (!nested->empty()) {
    _with.log.write(log_level::warning, "backup", "nested_subvolumes_left_out",
                    {{"subvolume", which.name},
                     {"count", std::to_string(nested->size())},
                     {"nested", examples_of(*nested)},
                     {"remedy", nested_remedy}});
  }
  if (subvolume_report* const entry = report_of(which.name)) {
    entry->nested_left_out = std::move(*nested);
  }
}

// A time that no key and no snapshot carries yet, nor one that was given up since `view` was seen:
// those of an earlier backup must not be written again. Waits for the next second where this one is
// taken.
task<result<std::string>> backup_job::free_time(const subvolume_view& view, std::string given_up) {
  for (;;) {
    std::string time = planner::timestamp(now().when() + _clock_correction).compact();
    if (time != given_up && !view.time_is_taken(time)) {
      co_return time;
    }
    auto waiting = _with.loop.sleep_for(std::chrono::milliseconds(200), _with.stop);
    auto waited = co_await std::move(waiting);
    if (!waited) {
      co_return std::move(waited.error());
    }
  }
}

backup_intent backup_job::intent_for(const subvolume_view& view, const planner::plan& plan,
                                     const std::string& time) const {
  const planner::key_layout keys(_with.settings.prefix, view.which.name);
  const bool full = plan.what == planner::action::full;
  const stream_settings stream = stream_settings_of(_with.settings, _host);
  backup_intent intent;
  intent.subvolume = view.which.name;
  intent.source = view.which.path;
  intent.kind = full ? planner::backup_kind::full : planner::backup_kind::incremental;
  intent.when = planner::timestamp::parse(time).value();
  intent.snapshot_name = btrfs::snapshot_name(view.which.name, time, full);
  intent.snapshot_path = _snapshots.path_of(intent.snapshot_name);
  intent.manifest_key = keys.manifest(intent.kind, intent.when);
  intent.keys_root = keys.root();
  intent.chunk_tag = fmt::format("{:08x}", std::random_device()());
  if (!full) {
    intent.parent_manifest = plan.parent_manifest;
    intent.parent_snapshot = plan.parent_snapshot;
  }
  if (view.pointer) {
    intent.pointer_before = view.pointer->text;
  }
  intent.endpoint_url = configured_endpoint(_with);
  intent.region = _with.settings.region;
  intent.bucket = _with.settings.bucket;
  intent.protocol = stream.protocol;
  intent.compressed_data = stream.compressed_data;
  intent.part_size = _with.settings.part_size_bytes;
  intent.chunk_size = _with.settings.chunk_limit_bytes();
  intent.local_only = _command.no_s3;
  return intent;
}

// On a thread of its own: the dirty data of the whole filesystem has to reach the disk first, and
// other subvolumes' uploads go on meanwhile.
task<result<btrfs::snapshot>> backup_job::create_snapshot(const subvolume_view& view,
                                                          std::string time, bool full) {
  std::function<result<btrfs::snapshot>()> call = [snapshots = _snapshots, which = view.which, time,
                                                   full] {
    return snapshots.create(which.path, which.name, time, full);
  };
  auto creating = engine::offload(_with.loop, std::move(call));
  auto made = co_await std::move(creating);
  if (!made || !view.source || made->info.parent_uuid == *view.source) {
    co_return made;
  }
  error failure;
  failure.message = view.which.path + " became another subvolume while its backup was planned";
  failure.remedy = "run the backup again";
  auto removing = remove_snapshot(_with, made->path);
  auto removed = co_await std::move(removing);
  if (!removed) {
    failure.message += "; " + removed.error().text();
  }
  co_return failure;
}

// A journal and a snapshot that it knows of. Its time is chosen here, after whatever was waited
// for.
task<result<std::unique_ptr<backup_job::made_backup>>> backup_job::begin_backup(
    subvolume_view& view, const planner::plan& plan, std::string& given_up) {
  auto choosing = free_time(view, given_up);
  auto time = co_await std::move(choosing);
  if (!time) {
    co_return std::move(time.error());
  }
  given_up = *time;
  auto backup =
      std::make_unique<made_backup>(view, intent_for(view, plan, *time), _with.settings.prefix);
  auto journalling = begin_journal(backup->intent);
  auto record = co_await std::move(journalling);
  if (!record) {
    co_return std::move(record.error());
  }
  backup->record = std::make_unique<backup_journal>(std::move(*record));
  auto creating = create_snapshot(view, *time, plan.what == planner::action::full);
  auto snapshot = co_await std::move(creating);
  if (!snapshot) {
    // The journal stays when even its removal fails: the next run then finds nothing to undo.
    auto removing = remove_record(*backup->record);
    auto removed = co_await std::move(removing);
    if (!removed) {
      _with.log.write(log_level::warning, "backup", "journal_left",
                      {{"error", removed.error().text()}});
    }
    co_return std::move(snapshot.error());
  }
  backup->snapshot = std::move(*snapshot);
  snapshot_identity identity;
  identity.uuid = backup->snapshot.info.own_uuid.text();
  identity.ctransid = backup->snapshot.info.ctransid;
  auto noting = backup->record->note_snapshot(std::move(identity));
  co_await std::move(noting);
  co_return std::move(backup);
}

// What "before_snapshot" has stopped is started again whatever became of the snapshot, also after a
// signal. Why it could not be goes to `hooks_after`: the backup is made all the same.
task<result<std::unique_ptr<backup_job::made_backup>>> backup_job::begin_between_hooks(
    subvolume_view& view, const planner::plan& plan, std::string& given_up,
    result<void>& hooks_after) {
  const std::vector<std::string>& before = _with.settings.hook_before_snapshot;
  const std::vector<std::string>& after = _with.settings.hook_after_snapshot;
  if (before.empty() && after.empty()) {
    auto beginning = begin_backup(view, plan, given_up);
    co_return co_await std::move(beginning);
  }
  // One at a time: what one subvolume's hook has stopped, another's must not start.
  auto waiting = _between_hooks.acquire(_with.stop);
  auto turn = co_await std::move(waiting);
  if (!turn) {
    co_return std::move(turn.error());
  }
  auto told = snapshot_hook_environment("before_snapshot", _with.config_path, view.which, nullptr);
  auto stopping =
      run_configured_hook(_with, "before_snapshot", before, std::move(told), _report, _with.stop);
  auto stopped = co_await std::move(stopping);
  if (!stopped) {
    co_return std::move(stopped.error());
  }
  auto beginning = begin_backup(view, plan, given_up);
  auto begun = co_await std::move(beginning);
  const std::string path = begun ? (*begun)->snapshot.path : "";
  told = snapshot_hook_environment("after_snapshot", _with.config_path, view.which, &path);
  auto starting = run_configured_hook(_with, "after_snapshot", after, std::move(told), _report, {});
  auto started = co_await std::move(starting);
  if (!started) {
    _with.log.write(log_level::error, "backup", "hook_failed",
                    {{"hook", "after_snapshot"},
                     {"subvolume", view.which.name},
                     {"error", started.error().text()}});
    hooks_after = std::move(started.error());
  }
  co_return begun;
}

task<result<void>> backup_job::make(subvolume_view view, planner::plan plan) {
  std::string given_up;
  result<void> hooks_after = engine::ok();
  for (int attempt = 1;; ++attempt) {
    auto beginning = begin_between_hooks(view, plan, given_up, hooks_after);
    auto begun = co_await std::move(beginning);
    if (!begun) {
      co_return std::move(begun.error());
    }
    made_backup& backup = **begun;
    auto finishing = finish(backup);
    auto finished = co_await std::move(finishing);
    if (!finished) {
      co_return std::move(finished.error());
    }
    if (*finished == made::done) {
      if (!_command.no_s3 && !plan.clock_suspect) {
        auto removing = remove_surplus(view, backup.intent.snapshot_name);
        co_await std::move(removing);
      }
      if (!hooks_after) {
        co_return std::move(hooks_after.error()).within("the backup is complete, but");
      }
      co_return engine::ok();
    }
    if (attempt == 2) {
      error failure;
      failure.message = "the stream of " + view.which.path + " differs each time it is sent";
      co_return failure;
    }
  }
}

// From a snapshot that is journalled to a published backup, or to what has to stay of it.
task<result<backup_job::made>> backup_job::finish(made_backup& backup) {
  auto streaming = stream_and_publish(backup);
  auto outcome = co_await std::move(streaming);
  const bool nothing_gained =
      backup.record->parts_noted() == 0 && backup.before.empty() && !backup.had_before;
  if (backup.published) {
    // What failed after the commit point does not undo it.
  } else if (_command.no_s3 || backup.worthless || nothing_gained) {
    auto undoing = undo(backup);
    co_await std::move(undoing);
  } else if (!outcome) {
    _with.log.write(log_level::warning, "backup", "kept_for_the_next_run",
                    {{"subvolume", backup.intent.subvolume},
                     {"snapshot", backup.intent.snapshot_path},
                     {"journal", backup.record->path()},
                     {"remedy", "run the backup again: it goes on where this one stopped"}});
  }
  if (backup.published || (outcome && _command.no_s3)) {
    report_finished(backup);
  }
  if (!outcome) {
    if (backup.start_again) {
      co_return made::start_again;
    }
    co_return std::move(outcome.error());
  }
  const std::string kind(planner::to_string(backup.intent.kind));
  std::string resumed;
  if (backup.upload->resumed_bytes() > 0) {
    resumed = " (" + format_bytes(backup.upload->resumed_bytes()) + " of it uploaded before)";
  }
  const std::size_t chunks = backup.chunks.size();
  print(backup.intent.subvolume + ": " + kind + " backup, " +
        format_bytes(backup.upload->total_bytes()) + " in " + std::to_string(chunks) + " chunk" +
        (chunks == 1 ? "" : "s") + resumed +
        (_command.no_s3 ? ", nothing uploaded (--no-s3)" : ", " + backup.intent.manifest_key));
  co_return made::done;
}

task<result<void>> backup_job::stream_and_publish(made_backup& backup) {
  auto streaming = stream(backup);
  auto streamed = co_await std::move(streaming);
  if (!streamed || _command.no_s3) {
    co_return streamed;
  }
  auto publishing = publish(backup);
  auto published = co_await std::move(publishing);
  if (!published) {
    backup.worthless = backup.trace.second_writer;
    co_return published;
  }
  snapshot_identity identity;
  identity.uuid = backup.snapshot.info.own_uuid.text();
  identity.ctransid = backup.snapshot.info.ctransid;
  auto remembering = remember(backup.intent, identity, standing_after(backup));
  auto remembered = co_await std::move(remembering);
  if (!remembered) {
    // The backup is complete and the bucket says so; the journal makes the next run catch up.
    co_return std::move(remembered.error()).within("the backup is complete, but");
  }
  auto removing = remove_record(*backup.record);
  auto removed = co_await std::move(removing);
  if (!removed) {
    co_return std::move(removed.error()).within("the backup is complete, but");
  }
  co_return engine::ok();
}

// Sends the stream, again where a repeated one differs from what was uploaded before.
task<result<void>> backup_job::stream(made_backup& backup) {
  const auto started = std::chrono::steady_clock::now();
  stream_attempts attempts;
  for (;;) {
    auto streaming = stream_once(backup);
    auto streamed = co_await std::move(streaming);
    if (!streamed) {
      co_return std::move(streamed.error());
    }
    stream_outcome outcome = std::move(*streamed);
    if (outcome.is_whole()) {
      auto completing = backup.upload->complete();
      outcome = co_await std::move(completing);
    }
    const after_stream next = attempts.judge(outcome, _with.stop.stop_requested());
    if (next == after_stream::go_on) {
      backup.chunks = outcome.as<stream_outcome::whole>()->chunks;
      break;
    }
    auto preparing = prepare_again(backup, outcome, next);
    auto prepared = co_await std::move(preparing);
    if (!prepared) {
      co_return prepared;
    }
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - started);
  backup.seconds = static_cast<double>(took.count()) / 1000;
  _report.totals.parts += backup.upload->parts();
  _with.log.write(log_level::info, "backup", "stream_uploaded",
                  {{"subvolume", backup.intent.subvolume},
                   {"bytes", std::to_string(backup.upload->total_bytes())},
                   {"resumed_bytes", std::to_string(backup.upload->resumed_bytes())},
                   {"milliseconds", std::to_string(took.count())},
                   {"chunks", std::to_string(backup.chunks.size())},
                   {"retries", std::to_string(_connection ? _connection->retries() : 0)}});
  co_return engine::ok();
}

// Before the stream is sent again; an error where it is not.
task<result<void>> backup_job::prepare_again(made_backup& backup, const stream_outcome& outcome,
                                             after_stream next) {
  const error& why = *outcome.failure();
  if (next == after_stream::explain) {
    auto explaining = explain_send_failure(_with, why, backup.intent.snapshot_path,
                                           backup.intent.source, backup.last_path);
    send_failure told = co_await std::move(explaining);
    // A new snapshot would have the same trouble, or is the way out of it.
    backup.worthless = told.judged && !told.in_source;
    backup.start_again = told.found && !told.in_source;
    co_return std::move(told.failure);
  }
  if (next == after_stream::keep) {
    co_return why;
  }
  if (next == after_stream::keep_broken) {
    co_return broken_each_time(why);
  }
  tell_why_again(backup, outcome, next);
  if (next == after_stream::begin_anew) {
    backup.worthless = true;
    backup.start_again = true;
    co_return why;
  }
  if (next == after_stream::upload_again) {
    auto discarding = backup.upload->discard_from(*outcome.chunk());
    auto discarded = co_await std::move(discarding);
    if (!discarded) {
      co_return discarded;
    }
  }
  if (_command.no_s3) {
    co_return engine::ok();
  }
  auto kept = read_journal(backup.record->path());
  if (!kept) {
    co_return std::move(kept.error());
  }
  backup.before = *kept ? std::move((*kept)->chunks) : std::map<std::uint32_t, journalled_chunk>();
  co_return engine::ok();
}

void backup_job::tell_why_again(const made_backup& backup, const stream_outcome& outcome,
                                after_stream next) const {
  if (next == after_stream::send_again) {
    // The kernel begins anew in the middle when a sender is stopped and continued, as a laptop's
    // that is suspended.
    _with.log.write(log_level::warning, "backup", "stream_broken",
                    {{"subvolume", backup.intent.subvolume},
                     {"error", outcome.failure()->text()},
                     {"sound_bytes", std::to_string(backup.sound_bytes)},
                     {"consequence", "the same snapshot is sent again; what has arrived is kept"}});
    return;
  }
  const bool dropped = outcome.as<stream_outcome::upload_gone>() != nullptr;
  _with.log.write(log_level::warning, "backup", dropped ? "upload_gone" : "stream_differs",
                  {{"subvolume", backup.intent.subvolume},
                   {"chunk", std::to_string(*outcome.chunk())},
                   {"reason", dropped ? "the store has not got all of the open upload any more"
                                      : "the same snapshot sends other bytes than before, as "
                                        "after a defragmentation or under another kernel"},
                   {"consequence", next == after_stream::begin_anew
                                       ? "the backup begins anew, with a new snapshot"
                                       : "that chunk is uploaded anew"}});
}

task<result<stream_outcome>> backup_job::stream_once(made_backup& backup) {
  btrfs::send_options options;
  options.snapshot = backup.intent.snapshot_path;
  if (backup.intent.parent_manifest) {
    options.parent = backup.intent.parent_snapshot;
  }
  options.protocol = backup.intent.protocol;
  options.compressed_data = backup.intent.compressed_data;
  // What an earlier sending of it found out is not asked again, whatever comes of this one.
  backup.upload.reset();
  auto send = btrfs::send_process::start(_with.loop, options);
  if (!send) {
    co_return std::move(send.error());
  }
  btrfs::stream_inspector inspector;
  inspector.note_beyond(limits_of_receivers(backup.snapshot.name));
  upload_stream::layout where(backup.keys, backup.intent.kind, backup.intent.when,
                              backup.intent.chunk_tag);
  backup.had_before = !backup.before.empty();
  backup.upload =
      std::make_unique<upload_stream>(_with, *_budget, _connection.get(), std::move(where),
                                      *backup.record, std::exchange(backup.before, {}));
  bool waited_for = false;
  const upload_stream::proof prove = [&] {
    waited_for = true;
    return prove_whole(*send, inspector);
  };
  // Only one line can be live at a time.
  live_line* const line = parallel() ? nullptr : _with.line;
  const upload_stream& upload = *backup.upload;
  const std::uint64_t sent_before = _connection ? sent_bytes() : 0;
  progress shown(_with.loop, _with.log, line, "backup", "backing up " + backup.intent.subvolume,
                 [&] { return more_progress(upload); });
  shown.follow([&] {
    // What is on its way counts too: on a slow uplink a part takes minutes.
    return parallel() ? upload.acknowledged_bytes()
                      : upload.resumed_bytes() + (sent_bytes() - sent_before);
  });
  engine::stop_source estimate_end;
  engine::async_scope estimate(_with.loop);
  if (_connection) {
    shown.start();
    if (line != nullptr && line->on_terminal()) {  // it costs reading; a timer's run needs none
      estimate.spawn(estimate_into(backup, shown, estimate_end.token()));
    }
  }
  auto running = backup.upload->run(send->fd(), inspector, prove);
  auto ran = co_await std::move(running);
  estimate_end.request_stop();
  auto estimated = estimate.join();
  co_await std::move(estimated);
  if (_connection) {
    auto stopping = shown.stop();
    co_await std::move(stopping);
  }
  if (!waited_for) {
    auto aborting = send->abort();
    co_await std::move(aborting);
  }
  backup.commands = inspector.commands();
  backup.sound_bytes = inspector.sound_bytes();
  backup.last_path = inspector.last_path();
  if (ran.is_whole()) {
    if (auto taken = take_sent(backup, inspector); !taken) {
      co_return std::move(taken.error());
    }
  }
  co_return std::move(ran);
}

// What a whole stream said of itself.
result<void> backup_job::take_sent(made_backup& backup, const btrfs::stream_inspector& inspector) {
  btrfs::subvolume_info& info = backup.snapshot.info;
  if (auto same = check_sent(inspector, info, backup.intent.snapshot_path); !same) {
    backup.worthless = true;
    return same;
  }
  // As it was sent, should it have been touched since it was made (deduplication does that).
  info.ctransid = inspector.identity()->ctransid;
  std::vector<std::string> told =
      tell_what_cannot_be_received(_with.log, backup.intent.subvolume, inspector);
  for (const std::string& line : told) {
    print(line);
  }
  if (subvolume_report* const entry = report_of(backup.intent.subvolume)) {
    for (const btrfs::oversized& one : inspector.beyond()) {
      entry->cannot_be_received.push_back(one.path);
    }
  }
  return engine::ok();
}

std::uint64_t backup_job::sent_bytes() const {
  return _connection->bytes_sent();
}

std::string backup_job::more_progress(const upload_stream& upload) const {
  std::string text = std::to_string(upload.parts_in_flight()) + " parts in flight";
  if (upload.resumed_bytes() > 0) {
    text += ", " + format_bytes(upload.resumed_bytes()) + " were there";
  }
  const std::uint64_t retries = _connection->retries();
  if (retries > 0) {
    text += ", " + std::to_string(retries) + (retries == 1 ? " retry" : " retries");
  }
  return text;
}

// For whoever watches: how large the stream will be, roughly, once that is known.
task<void> backup_job::estimate_into(const made_backup& backup, progress& shown,
                                     engine::stop_token stop) {
  btrfs::estimate_request what{backup.intent.snapshot_path, {}, backup.intent.compressed_data};
  const bool onto_parent = backup.intent.parent_manifest && backup.view.parent;
  what.parent = onto_parent ? std::optional(backup.view.parent->info) : std::nullopt;
  auto estimating = btrfs::estimate_stream(_with.loop, std::move(what), stop);
  if (auto estimate = co_await std::move(estimating)) {
    shown.set_total(estimate->bytes, estimate->at_least);
  }
}

// The run in figures, for whoever measures it.
void backup_job::report_totals(std::chrono::steady_clock::time_point began) {
  run_totals& totals = _report.totals;
  totals.retries = _connection ? _connection->retries() : 0;
  totals.sent_bytes = _connection ? sent_bytes() : 0;
  totals.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const process_figures used = figures_of_process();
  totals.cpu_seconds = used.cpu_seconds;
  totals.peak_rss_bytes = used.peak_rss_bytes;
  _with.log.write(log_level::info, "backup", "run_finished",
                  {{"backups", std::to_string(totals.backups)},
                   {"bytes", std::to_string(totals.bytes)},
                   {"resumed_bytes", std::to_string(totals.resumed_bytes)},
                   {"parts", std::to_string(totals.parts)},
                   {"retries", std::to_string(totals.retries)},
                   {"seconds", fmt::format("{:.3f}", totals.seconds)},
                   {"bytes_per_second", fmt::format("{:.0f}", totals.bytes_per_second())},
                   {"cpu_seconds", fmt::format("{:.3f}", totals.cpu_seconds)},
                   {"peak_rss_bytes", std::to_string(totals.peak_rss_bytes)}});
}

// The records of its parts go there, and are not kept beside.
planner::manifest backup_job::describe(made_backup& backup) const {
  const btrfs::subvolume_info& info = backup.snapshot.info;
  planner::manifest value;
  value.subvolume = backup.intent.subvolume;
  value.kind = backup.intent.kind;
  value.created_at = backup.intent.when;
  value.snapshot.name = backup.snapshot.name;
  value.snapshot.path = backup.snapshot.path;
  value.snapshot.uuid = info.own_uuid.text();
  if (!info.parent_uuid.is_null()) {
    value.snapshot.parent_uuid = info.parent_uuid.text();
  }
  if (!info.received_uuid.is_null()) {
    value.snapshot.received_uuid = info.received_uuid.text();
  }
  value.snapshot.ctransid = info.ctransid;
  value.parent_manifest = backup.intent.parent_manifest;
  value.chunks = std::exchange(backup.chunks, without_parts(backup.chunks));
  value.total_bytes = backup.upload->total_bytes();
  value.chunk_size = backup.intent.chunk_size;
  value.storage_class = backup.upload->stored_as().value_or(_with.settings.storage_class_chunks);
  planner::stream_record stream;
  stream.protocol = backup.intent.protocol;
  stream.compressed_data = backup.intent.compressed_data;
  stream.commands = backup.commands;
  value.stream = stream;
  value.tool_name = "btrfs_to_s3";
  value.tool_version = BTS3_VERSION;
  value.host_id = _identity.id;
  value.host_name = _identity.name;
  return value;
}

// Whether the pointer that was found instead names a backup that was there when this one was
// planned. Then no second writer moved it: what planning read of it was no answer of the store.
static bool was_there(const subvolume_view& view, const std::optional<stored_pointer>& found) {
  return found && (view.objects.contains(found->value.manifest_key) ||
                   view.seen.remembered_manifest == found->value.manifest_key);
}

task<result<void>> backup_job::publish(made_backup& backup) {
  auto putting =
      put_manifest(_with, *_connection, backup.intent.manifest_key, describe(backup), backup.trace);
  auto put = co_await std::move(putting);
  if (!put) {
    co_return std::move(put.error()).within("writing manifest " + backup.intent.manifest_key);
  }
  planner::pointer value;
  value.manifest_key = backup.intent.manifest_key;
  value.kind = backup.intent.kind;
  value.created_at = backup.intent.when;
  auto moving = move_pointer(_with, *_connection, backup.keys.pointer(), value, backup.view.pointer,
                             backup.trace);
  auto moved = co_await std::move(moving);
  if (!moved && was_there(backup.view, backup.trace.found)) {
    backup.trace.second_writer = false;
    if (backup.intent.kind == planner::backup_kind::full) {
      auto again = move_pointer(_with, *_connection, backup.keys.pointer(), std::move(value),
                                backup.trace.found, backup.trace);
      moved = co_await std::move(again);
    }
  }
  if (!moved) {
    co_return std::move(moved.error()).within("moving " + backup.keys.pointer());
  }
  backup.published = true;
  co_return engine::ok();
}

// Leaves the world as it was before, unless the pointer may name this backup. Where that cannot be
// done now, the journal stays and the next run does it.
task<void> backup_job::undo(made_backup& backup) {
  engine::stop_source limit;
  const hastened by_signal(_with.signals, limit);
  engine::stop_source finished;
  engine::async_scope timer(_with.loop);
  timer.spawn(engine::stop_after(_with.loop, clean_up_limit, limit, finished.token()));

  bool keep = false;
  if (backup.trace.pointer_may_have_moved) {
    auto looking = look_at_pointer(_with, _connection->store(), backup.keys.pointer(),
                                   absence::asked_for_twice, limit.token());
    auto sight = co_await std::move(looking);
    keep = !sight || !sight->understood() ||
           (sight->there && sight->there->value.manifest_key == backup.intent.manifest_key);
  }
  bool clean = !keep;
  if (!keep && backup.trace.manifest_may_exist) {
    auto deleting = _connection->store().delete_object(s3::object_key(backup.intent.manifest_key),
                                                       limit.token());
    auto deleted = co_await std::move(deleting);
    if (!deleted) {
      clean = false;
      _with.log.write(log_level::warning, "backup", "object_left",
                      {{"key", backup.intent.manifest_key}, {"error", deleted.error().text()}});
    }
  }
  // Chunks of an older version's journal have keys that the other writer's may have too.
  const bool shared = backup.trace.manifest_is_anothers && backup.intent.chunk_tag.empty();
  if (!keep && !shared && backup.upload) {
    auto abandoning = backup.upload->abandon(limit.token());
    const bool abandoned = co_await std::move(abandoning);
    clean = clean && abandoned;
  }
  finished.request_stop();
  auto joining = timer.join();
  co_await std::move(joining);
  if (!keep) {
    auto removing = remove_snapshot(_with, backup.intent.snapshot_path);
    auto removed = co_await std::move(removing);
    if (!removed) {
      clean = false;
      _with.log.write(log_level::warning, "backup", "snapshot_left",
                      {{"path", backup.intent.snapshot_path}, {"error", removed.error().text()}});
    }
  }
  if (clean) {
    auto removing = remove_record(*backup.record);
    auto removed = co_await std::move(removing);
    if (!removed) {
      _with.log.write(log_level::warning, "backup", "journal_left",
                      {{"error", removed.error().text()}});
    }
    co_return;
  }
  if (backup.start_again && !keep) {
    // The next backup is made at once, and needs the journal's place.
    auto leaving =
        leave_to_later(backup.record->path(), backup.intent, "not all of it could be removed");
    auto aside = co_await std::move(leaving);
    if (!aside) {
      _with.log.write(log_level::warning, "backup", "journal_left",
                      {{"error", aside.error().text()}});
    }
    co_return;
  }
  _with.log.write(log_level::warning, "backup", "clean_up_left_to_the_next_run",
                  {{"subvolume", backup.intent.subvolume}, {"journal", backup.record->path()}});
}

task<result<std::unique_ptr<journal_file>>> backup_job::begin_journal(const backup_intent& intent) {
  std::function<result<std::unique_ptr<journal_file>>()> call = [this, &intent] {
    return journal_file::begin(
        _with.loop, _with.log,
        journal_path(_with.settings.state_path, intent.subvolume, _command.no_s3), intent);
  };
  auto beginning = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(beginning);
}

task<result<void>> backup_job::remove_record(backup_journal& record) {
  std::function<result<void>()> call = [&record] { return record.remove(); };
  auto removing = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(removing);
}

task<result<void>> backup_job::remove_journal_at(std::string path) {
  std::function<result<void>()> call = [path] { return remove_journal(path); };
  auto removing = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(removing);
}

// One at a time, each with all that is known by then: none puts back what a later one has written.
task<result<void>> backup_job::save_state() {
  auto waiting = _saving.acquire();
  auto turn = co_await std::move(waiting);
  if (!turn) {
    co_return std::move(turn.error());
  }
  std::function<result<void>()> call = [states = &*_states, known = _state] {
    return states->save(known);
  };
  auto saving = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(saving);
}

task<result<void>> backup_job::remember(const backup_intent& intent, snapshot_identity identity,
                                        subvolume_standing standing) {
  subvolume_state& entry = _state.subvolumes[intent.subvolume];
  entry.last_snapshot = intent.snapshot_path;
  entry.last_manifest = intent.manifest_key;
  entry.last_backup_at = intent.when.rfc3339();
  if (intent.kind == planner::backup_kind::full) {
    entry.last_full_at = intent.when.rfc3339();
  }
  entry.snapshot_uuid = identity.uuid;
  entry.snapshot_ctransid = identity.ctransid;
  entry.last_bytes = standing.last_bytes;
  entry.chain_links = standing.links;
  entry.last_milliseconds.reset();
  if (standing.last_seconds) {
    entry.last_milliseconds =
        static_cast<std::uint64_t>(std::llround(*standing.last_seconds * 1000));
  }
  _state.last_run_at = planner::timestamp(now().when() + _clock_correction).rfc3339();
  auto saving = save_state();
  co_return co_await std::move(saving);
}

// The bucket knows a newer backup than the state file, and its snapshot is here.
task<void> backup_job::adopt_into_state(const subvolume_view& view) {
  if (_command.no_s3 || view.chain.empty() || !view.parent) {
    co_return;
  }
  subvolume_state& entry = _state.subvolumes[view.which.name];
  // The earlier tool's state and manifest know no UUID: from now on this one does.
  if (view.seen.remembered_manifest == view.seen.last_key && entry.snapshot_uuid) {
    co_return;
  }
  entry.last_snapshot = view.parent->path;
  entry.last_manifest = view.seen.last_key;
  entry.last_backup_at = view.chain.back().when.rfc3339();
  entry.last_full_at = view.chain.front().when.rfc3339();
  entry.snapshot_uuid = view.parent->info.own_uuid.text();
  entry.snapshot_ctransid = view.parent->info.ctransid;
  entry.last_bytes = view.chain.back().bytes;
  entry.chain_links = view.chain.size();
  entry.last_milliseconds.reset();
  _with.log.write(log_level::info, "backup", "state_rebuilt",
                  {{"subvolume", view.which.name},
                   {"manifest", entry.last_manifest},
                   {"snapshot", entry.last_snapshot}});
  auto saving = save_state();
  auto saved = co_await std::move(saving);
  if (!saved) {
    // It is a cache: this run knows, and the next one finds out again.
    _with.log.write(log_level::warning, "backup", "state_not_written",
                    {{"error", saved.error().text()}});
  }
}

// Keeps the newest `retain` snapshots that a manifest describes, and `newest`, which is the next
// backup's parent. What no backup explains is reported.
task<void> backup_job::remove_surplus(const subvolume_view& view, std::string newest) {
  auto snapshots = _snapshots.list(view.which.name);
  if (!snapshots) {
    _with.log.write(log_level::warning, "backup", "snapshots_not_listed",
                    {{"error", snapshots.error().text()}});
    co_return;
  }
  const planner::key_layout keys(_with.settings.prefix, view.which.name);
  std::set<std::string> of_chain;
  for (const link_summary& link : view.chain) {
    of_chain.insert(link.snapshot_name);
  }
  const std::vector<std::string>& of_pruned = _state.subvolumes[view.which.name].pruned_snapshots;
  const auto pruned = [&of_pruned](const btrfs::snapshot& one) {
    return std::any_of(of_pruned.begin(), of_pruned.end(), [&](const std::string& known) {
      return known == one.info.own_uuid.text() || known == one.name;
    });
  };
  std::vector<planner::local_snapshot> all;
  for (const btrfs::snapshot& one : *snapshots) {
    planner::local_snapshot entry;
    entry.name = one.name;
    entry.made_in = one.info.made_in;
    const auto kind = one.full ? planner::backup_kind::full : planner::backup_kind::incremental;
    const auto when = planner::timestamp::parse(one.time);
    entry.needed = one.name == newest;
    entry.published = entry.needed || of_chain.contains(one.name) || pruned(one) ||
                      (when && view.objects.contains(keys.manifest(kind, *when))) ||
                      view.left_by_earlier_tool(one);
    all.push_back(std::move(entry));
  }
  const planner::snapshot_verdict verdict =
      planner::judge_snapshots(std::move(all), static_cast<std::size_t>(_with.settings.retain));
  for (const std::string& name : verdict.unexplained) {
    _with.log.write(
        log_level::warning, "backup", "snapshot_without_backup",
        {{"path", _snapshots.path_of(name)}, {"remedy", "delete it if nobody needs it"}});
  }
  for (const std::string& name : verdict.remove) {
    std::function<result<void>()> call = [manager = _snapshots, name] {
      return manager.remove(name);
    };
    auto removing = engine::offload(_with.loop, std::move(call));
    auto removed = co_await std::move(removing);
    if (removed) {
      _with.log.write(log_level::info, "backup", "snapshot_removed",
                      {{"path", _snapshots.path_of(name)}});
    } else {
      _with.log.write(log_level::warning, "backup", "snapshot_left",
                      {{"path", _snapshots.path_of(name)}, {"error", removed.error().text()}});
    }
  }
}

}  // namespace bts3::app
