#include "app/backup/backup_job.hh"

#include "app/backup/backup_beginning.hh"
#include "app/backup/subvolume_backup.hh"
#include "app/backup/surplus_snapshots.hh"
#include "app/config/selection.hh"
#include "app/host/run_figures.hh"
#include "app/survey/nested_subvolumes.hh"
#include "app/text/progress.hh"
#include "btrfs/host.hh"
#include "engine/assert.hh"
#include "engine/for_each_at_most.hh"

#include <map>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

// What was seen of the bucket longer ago is looked at again before anything rests on it.
constexpr std::chrono::seconds observation_lifetime{60};

}  // namespace

backup_job::backup_job(const services& with, const backup_command& command,
                       std::vector<subvolume_config> chosen, backup_events& events)
    : _with(with),
      _no_s3(command.no_s3),
      _chosen(std::move(chosen)),
      _policy(policy_of(with.settings, command.once || command.no_s3, command.adopt)),
      _common(with, events),
      _settling(_common) {
  _policy.full = command.full;
}

task<result<exit_status>> backup_job::run() {
  if (!_no_s3) {
    if (auto loaded = _common.memory.load(); !loaded) {
      co_return std::move(loaded.error());
    }
  }
  _common.events.begun(_chosen, _common.memory.known());
  if (!_no_s3) {
    auto signer = signer_of(_with.settings);
    if (!signer) {
      co_return std::move(signer.error());
    }
    _common.signer = std::move(*signer);
  }
  auto detecting = _with.host.detect(_with.loop);
  auto host = co_await std::move(detecting);
  if (!host) {
    co_return std::move(host.error());
  }
  _common.host = *host;
  if (!_no_s3) {
    auto sealing = backup_sealing::of(_with.settings);
    if (!sealing) {
      co_return std::move(sealing.error());
    }
    _common.sealing = std::move(*sealing);
    auto connection = store_connection::open(_with);
    if (!connection) {
      co_return std::move(connection.error());
    }
    _common.connection = std::move(*connection);
  }
  auto running = run_open();
  auto status = co_await std::move(running);
  if (_common.uploads()) {
    auto closing = _common.connection->close();
    co_await std::move(closing);
  }
  co_return status;
}

task<result<exit_status>> backup_job::run_open() {
  auto budget = upload_budget::create(_with);
  if (!budget) {
    co_return std::move(budget.error());
  }
  _common.budget = std::move(*budget);
  if (_common.uploads()) {
    _common.connection->on_throttled([this] { _common.budget->throttled(); });
  }
  const auto began = std::chrono::steady_clock::now();
  auto running = run_all();
  auto status = co_await std::move(running);
  tell_totals(began);
  co_return status;
}

// What concurrent subvolumes report to.
struct backup_job::run_share {
  std::size_t done = 0;
  std::map<std::string, error> failures;  // by subvolume
};

task<result<exit_status>> backup_job::run_all() {
  if (_with.line != nullptr) {
    _with.line->announce("looking at the bucket");
  }
  observer looking(_with, _common.connection.get(), _common.memory.known(), _common.identity);
  auto observing = looking.observe_all(_chosen);
  std::vector<observed> views = co_await std::move(observing);
  run_share share;
  // Only one line can be live at a time: of several streams, that of their sum.
  const bool together = _common.parallel() && _common.uploads() && _with.line != nullptr;
  progress_cadence cadence;
  cadence.ticks_per_log_line = 0;  // each stream writes its own
  progress sum(_with.loop, _with.log, _with.line, "backup", "backing up", {}, cadence);
  if (together) {
    sum.follow([this] { return _common.connection->bytes_sent(); });
    sum.start();
  }
  auto running = engine::for_each_at_most(
      _with.loop, _with.settings.global.parallel_subvolumes, views.size(),
      [this, &views, &share](std::size_t index) { return run_into(views[index], share); },
      _with.stop);
  auto ran = co_await std::move(running);
  if (together) {
    auto stopping = sum.stop();
    co_await std::move(stopping);
  }
  if (!ran) {
    co_return engine::cancelled_error();  // nothing else ends it
  }
  auto settling = _settling.of_others();
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

// Fails when it is stopped; what fails one subvolume goes into its share.
task<result<void>> backup_job::run_into(observed& one, run_share& share) {
  auto backing_up = run_one(one);
  auto outcome = co_await std::move(backing_up);
  if (outcome) {
    ++share.done;
    _common.events.ended(one.which.name, nullptr);
    co_return engine::ok();
  }
  error failure = std::move(outcome.error());
  if (failure.why == reason::integrity) {
    // Exit status 4 is for data that was stored; here nothing was.
    failure.why = reason::child_process;
  }
  _common.events.ended(one.which.name, &failure);
  if (failure.what_now == disposition::cancelled) {
    co_return failure;
  }
  share.failures.emplace(one.which.name, std::move(failure));
  co_return engine::ok();
}

task<result<subvolume_view>> backup_job::observe(const subvolume_config& which) {
  observer looking(_with, _common.connection.get(), _common.memory.known(), _common.identity);
  auto observing = looking.observe(which);
  co_return co_await std::move(observing);
}

// A place for its snapshots.
result<void> backup_job::prepare(const subvolume_config& which) {
  if (auto usable = _with.host.snapshots().check(_with.settings.snapshots.base_dir, which.path);
      !usable) {
    return usable;
  }
  auto made = _with.host.snapshots().make_base(_with.settings.snapshots.base_dir, which.path);
  if (!made) {
    return std::move(made.error());
  }
  if (*made) {
    _with.log.write(log_level::info, "backup", "directory_made",
                    {{"path", _with.settings.snapshots.base_dir}, {"key", "snapshots.base_dir"}});
  }
  return engine::ok();
}

task<result<void>> backup_job::run_one(observed& one) {
  const subvolume_config which = one.which;
  if (auto prepared = prepare(which); !prepared) {
    co_return prepared;
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
  auto settling = _settling.of_subvolume(*view);
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

planner::plan backup_job::decide(subvolume_view& view) const {
  const auto& refused = _common.refused_incrementals;
  if (const auto found = refused.find(view.which.name); found != refused.end()) {
    view.seen.unproven_problem = found->second;
  }
  return planner::decide(view.seen, _policy, _common.clock.now(), _zone);
}

task<result<void>> backup_job::back_up(subvolume_view view) {
  planner::plan plan = decide(view);
  _common.clock.correct_by(plan.clock_correction);
  _common.events.seen(view);
  _common.events.planned(view, plan);
  if (plan.what == planner::action::stop) {
    error failure;
    failure.message = plan.sentence;
    co_return failure;
  }
  if (_common.uploads()) {
    auto adopting = _common.memory.adopt(view);
    co_await std::move(adopting);
  }
  if (plan.what == planner::action::skip) {
    if (!plan.clock_suspect) {
      // What a resumed backup, or a lower snapshots.retain, has made superfluous.
      auto removing = remove_surplus_snapshots(_common, view, view.parent ? view.parent->name : "");
      co_await std::move(removing);
    }
    co_return engine::ok();
  }
  tell_nested(view.which);
  auto making = make(std::move(view), std::move(plan));
  co_return co_await std::move(making);
}

void backup_job::tell_nested(const subvolume_config& which) {
  auto nested = nested_left_out(_with, which);
  if (!nested) {
    _with.log.write(log_level::warning, "backup", "nested_subvolumes_unknown",
                    {{"subvolume", which.name}, {"error", nested.error().text()}});
    return;
  }
  _common.events.nested_left_out(which, *nested);
}

task<result<void>> backup_job::make(subvolume_view view, planner::plan plan) {
  backup_beginning beginning(_common, view, plan);
  for (int attempt = 1;;) {
    auto starting = beginning.begin();
    auto begun = co_await std::move(starting);
    if (!begun) {
      co_return std::move(begun.error());
    }
    const std::string snapshot = begun->intent.snapshot_name;
    subvolume_backup backup(_common, view, std::move(*begun));
    auto running = backup.run();
    auto ended = co_await std::move(running);
    if (!ended) {
      co_return std::move(ended.error());
    }
    if (*ended == subvolume_backup::ending::done) {
      if (_common.uploads() && !plan.clock_suspect) {
        auto removing = remove_surplus_snapshots(_common, view, snapshot);
        co_await std::move(removing);
      }
      if (!beginning.hooks_after()) {
        error failure = beginning.hooks_after().error();
        co_return std::move(failure).within("the backup is complete, but");
      }
      co_return engine::ok();
    }
    if (*ended == subvolume_backup::ending::refused) {
      plan = decide(view);
      BTS3_ASSERT(plan.what == planner::action::full);  // of which there is no proof
      _common.events.planned(view, plan);
      continue;
    }
    if (++attempt > 2) {
      error failure;
      failure.message = "the stream of " + view.which.path + " differs each time it is sent";
      co_return failure;
    }
  }
}

// The run in figures, for whoever measures it.
void backup_job::tell_totals(std::chrono::steady_clock::time_point began) {
  run_totals& totals = _common.totals;
  totals.retries = _common.uploads() ? _common.connection->retries() : 0;
  totals.sent_bytes = _common.uploads() ? _common.connection->bytes_sent() : 0;
  totals.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const process_figures used = figures_of_process();
  totals.cpu_seconds = used.cpu_seconds;
  totals.peak_rss_bytes = used.peak_rss_bytes;
  _common.events.totals(totals);
}

}  // namespace bts3::app
