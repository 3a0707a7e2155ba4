#include "app/backup/report_builder.hh"

#include "app/config/selection.hh"

#include <algorithm>
#include <utility>

namespace bts3::app {

report_builder::report_builder(const config& settings, run_report& report)
    : _settings(settings), _report(report), _when(policy_of(settings, false, false).when_due) {}

void report_builder::begun(const std::vector<subvolume_config>& chosen, const run_state& known) {
  for (const subvolume_config& which : _settings.subvolumes) {
    subvolume_report one;
    one.name = which.name;
    if (const auto found = known.subvolumes.find(which.name); found != known.subvolumes.end()) {
      const subvolume_state& entry = found->second;
      one.standing.last_backup = planner::timestamp::parse(entry.last_backup_at);
      one.standing.last_full = planner::timestamp::parse(entry.last_full_at);
      one.standing.links = entry.chain_links;
      one.standing.last_bytes = entry.last_bytes;
      if (entry.last_milliseconds) {
        one.standing.last_seconds = static_cast<double>(*entry.last_milliseconds) / 1000;
      }
    }
    one.due = next_due(one.standing, _when, _zone);
    const bool selected =
        std::any_of(chosen.begin(), chosen.end(),
                    [&](const subvolume_config& other) { return other.name == which.name; });
    (selected ? _report.subvolumes : _report.others).push_back(std::move(one));
  }
}

subvolume_report* report_builder::entry_of(const std::string& subvolume) {
  for (subvolume_report& one : _report.subvolumes) {
    if (one.name == subvolume) {
      return &one;
    }
  }
  return nullptr;
}

void report_builder::seen(const subvolume_view& view) {
  subvolume_report* const entry = entry_of(view.which.name);
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

void report_builder::planned(const subvolume_view& view, const planner::plan& plan) {
  if (subvolume_report* const entry = entry_of(view.which.name)) {
    entry->action = planner::to_string(plan.what);
    entry->reason = plan.reason;
    entry->because = plan.sentence;
    entry->due = plan.due;
  }
}

void report_builder::nested_left_out(const subvolume_config& which,
                                     const std::vector<std::string>& nested) {
  if (subvolume_report* const entry = entry_of(which.name)) {
    entry->nested_left_out = nested;
  }
}

void report_builder::cannot_be_received(const std::string& subvolume,
                                        const std::vector<std::string>& paths,
                                        const std::vector<std::string>& /*lines*/) {
  if (subvolume_report* const entry = entry_of(subvolume)) {
    entry->cannot_be_received.insert(entry->cannot_be_received.end(), paths.begin(), paths.end());
  }
}

void report_builder::made(const made_backup& backup) {
  subvolume_report* const entry = entry_of(backup.intent.subvolume);
  if (entry == nullptr) {
    return;
  }
  finished_backup done;
  done.how = backup.resumed ? "resumed" : "made";
  done.kind = backup.intent.kind;
  done.when = backup.intent.when;
  done.manifest_key = backup.intent.local_only ? "" : backup.intent.manifest_key;
  done.bytes = backup.bytes;
  done.resumed_bytes = backup.resumed_bytes;
  done.chunks = backup.chunks.size();
  done.seconds = backup.seconds;
  done.proven = backup.proven;
  entry->backups.push_back(std::move(done));
  if (!backup.intent.local_only) {
    entry->standing = backup.standing;
    entry->due = next_due(entry->standing, _when, _zone);
  }
}

void report_builder::published(const published_backup& backup) {
  subvolume_report* const entry = entry_of(backup.intent.subvolume);
  if (entry == nullptr) {
    return;
  }
  finished_backup done;
  done.how = "published";
  done.kind = backup.intent.kind;
  done.when = backup.intent.when;
  done.manifest_key = backup.intent.manifest_key;
  done.bytes = backup.bytes;
  done.resumed_bytes = backup.bytes;
  done.chunks = backup.chunks;
  entry->backups.push_back(std::move(done));
}

void report_builder::hook_ended(const hook_report& hook) {
  _report.hooks.push_back(hook);
}

void report_builder::ended(const std::string& subvolume, const engine::error* failure) {
  subvolume_report* const entry = entry_of(subvolume);
  if (entry == nullptr) {
    return;
  }
  if (failure == nullptr) {
    entry->status = subvolume_status::done;
  } else if (failure->what_now == engine::disposition::cancelled) {
    entry->status = subvolume_status::cancelled;
  } else {
    entry->status = subvolume_status::failed;
    entry->error = failure->text();
  }
}

void report_builder::totals(const run_totals& figures) {
  _report.totals = figures;
}

}  // namespace bts3::app
