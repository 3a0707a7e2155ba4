#include "planner/plan.hh"

#include "planner/keys.hh"

#include <algorithm>

namespace bts3::planner {

namespace {

using std::chrono::days;
using std::chrono::seconds;
using std::chrono::sys_days;

// What right clocks never differ by, whatever a store's proxy makes of its answers.
constexpr seconds clocks_differ_max = days(1);

plan made(action what, std::string reason, std::string sentence) {
  plan decided;
  decided.what = what;
  decided.reason = std::move(reason);
  decided.sentence = std::move(sentence);
  return decided;
}

plan full_because(std::string reason, std::string sentence) {
  return made(action::full, std::move(reason), std::move(sentence));
}

std::string in_days(int count) {
  return count == 1 ? "1 day" : std::to_string(count) + " days";
}

// The schedule applied to one chain.
class cadence {
 public:
  cadence(const std::vector<timestamp>& chain, const schedule& when, timestamp now,
          const time_zone& zone)
      : _when(when),
        _zone(zone),
        _now(now),
        _last_backup(chain.back()),
        _today(slot_of(now, when.run_at, zone)) {
    _last = slot(chain.back());
    // Fulls count from the first link that the clock does not contradict: one from the future must
    // neither put off the next full for ever nor cost a full at once.
    for (const timestamp link : chain) {
      if (!in_future(slot(link))) {
        _full_due = slot(link) + days(when.full_every_days);
        break;
      }
    }
  }

  [[nodiscard]] bool last_in_future() const { return in_future(_last); }
  [[nodiscard]] bool full_due() const { return _today >= _full_due; }
  [[nodiscard]] bool incremental_due() const {
    if (_when.incremental_every.count() > 0) {
      return last_in_future() ||
             turn_begin(_now, _when, _zone) > turn_begin(_last_backup, _when, _zone);
    }
    return last_in_future() || _today - _last >= days(_when.incremental_every_days);
  }
  [[nodiscard]] timestamp next() const {
    const timestamp incremental = incremental_due_after(_last_backup, _when, _zone);
    return _full_due == sys_days::max()
               ? incremental
               : std::min(incremental, slot_begin(_full_due, _when.run_at, _zone));
  }

 private:
  [[nodiscard]] sys_days slot(timestamp when) const { return slot_of(when, _when.run_at, _zone); }
  // More than one slot ahead.
  [[nodiscard]] bool in_future(sys_days date) const { return date > _today + days(1); }

  const schedule& _when;
  const time_zone& _zone;
  timestamp _now;
  timestamp _last_backup;
  sys_days _today;
  sys_days _last;
  // Never, where no link counts.
  sys_days _full_due = sys_days::max();
};

// What is to be added to `here`, this machine's time; a warning where the clocks differ.
seconds judge_clocks(const observation& seen, timestamp here, std::vector<notice>& warnings) {
  const seconds ahead = seen.store_ahead.value_or(seconds(0));
  if (std::chrono::abs(ahead) <= clocks_differ_max) {
    return seconds(0);
  }
  std::optional<timestamp> latest = seen.last_run;
  if (!seen.chain_times.empty() && (!latest || *latest < seen.chain_times.back())) {
    latest = seen.chain_times.back();
  }
  const timestamp store(here.when() + ahead);
  const auto before_what_was = [&](timestamp time) {
    return latest && time.when() + clocks_differ_max < latest->when();
  };
  const bool believed = !before_what_was(store) || before_what_was(here);
  warnings.push_back({"clocks_differ",
                      "this machine's clock says " + here.rfc3339() + ", and the store's " +
                          store.rfc3339() + "; " +
                          (believed ? "the store's counts"
                                    : "the last backup or run, of " + latest->rfc3339() +
                                          ", is later than the store's, so this machine's counts") +
                          "; set the one that is wrong (NTP)"});
  return believed ? ahead : seconds(0);
}

// Fulls for which dates do not matter: there is no backup, or none that could be restored.
std::optional<plan> urgent(const observation& seen, const policy& by) {
  if (!seen.pointer_exists) {
    if (!seen.remembered_manifest.empty()) {
      return full_because("pointer_missing", "the bucket has no current.json of " + seen.subvolume +
                                                 " any more; this host's last backup was " +
                                                 seen.remembered_manifest);
    }
    return full_because("first_backup", "there is no backup of " + seen.subvolume + " yet");
  }
  if (!seen.last) {
    return full_because("manifest_unusable",
                        "the last backup's manifest cannot be used: " + seen.pointer_problem);
  }
  const bool foreign = !seen.last->host_id.empty() && !seen.own_host_id.empty() &&
                       seen.last->host_id != seen.own_host_id;
  if (foreign && seen.parent != parent_state::present) {
    const std::string whose = "the last backup under this prefix was made by host " +
                              seen.last->host_name + " (" + seen.last->host_id + ")";
    if (by.adopt) {
      return full_because("adopted", whose + "; this host takes the prefix over (--adopt)");
    }
    return made(action::stop, "foreign_host",
                whose +
                    ", and its snapshot is not here; two hosts must not share a prefix: give this "
                    "one " +
                    by.own_prefix + " of its own, or take this one over with --adopt");
  }
  if (!seen.chain_problem.empty()) {
    return full_because("chain_broken",
                        "the last backup cannot be restored: " + seen.chain_problem);
  }
  if (!seen.chunk_problem.empty()) {
    return full_because("chunk_missing",
                        "the last backup cannot be restored: " + seen.chunk_problem);
  }
  if (!seen.refused_problem.empty()) {
    return full_because("receive_refused",
                        "the last backup cannot be restored: " + seen.refused_problem);
  }
  if (!seen.unproven_problem.empty()) {
    return full_because("proof_refused",
                        "an incremental could not be received: " + seen.unproven_problem);
  }
  return std::nullopt;
}

plan decide_by_date(const observation& seen, const policy& by, const cadence& dates) {
  if (by.full) {
    return full_because("full_requested", "a full backup was asked for (--full)");
  }
  if (dates.full_due()) {
    return full_because("full_due", "the last full backup is " +
                                        in_days(by.when_due.full_every_days) + " old or older");
  }
  const bool due = dates.incremental_due();
  if (!due && !by.regardless_of_due) {
    return made(action::skip, "not_due",
                "the last backup is not " + incremental_interval(by.when_due) + " old yet");
  }
  if (seen.parent != parent_state::present) {
    return full_because(
        seen.parent == parent_state::changed ? "parent_changed" : "parent_missing",
        "the snapshot of the last backup cannot be its parent: " + seen.parent_problem);
  }
  if (!seen.source_problem.empty()) {
    return full_because("source_changed", seen.source_problem);
  }
  plan incremental =
      due ? made(action::incremental, "incremental_due",
                 dates.last_in_future()
                     ? "the last backup is dated in the future"
                     : "the last backup is " + incremental_interval(by.when_due) + " old or older")
          : made(action::incremental, "requested", "it was asked for and the parent is here");
  incremental.parent_snapshot = seen.parent_snapshot;
  incremental.parent_manifest = seen.last_key;
  return incremental;
}

}  // namespace

std::string_view to_string(action what) {
  switch (what) {
    case action::full:
      return "full";
    case action::incremental:
      return "incremental";
    case action::skip:
      return "skip";
    case action::stop:
      return "stop";
  }
  return "";
}

bool plan::is_fallback() const {
  return what == action::full && reason != "first_backup" && reason != "full_due" &&
         reason != "full_requested";
}

plan decide(const observation& seen, const policy& by, timestamp here, const time_zone& zone) {
  std::vector<notice> warnings;
  const seconds correction = judge_clocks(seen, here, warnings);
  const timestamp now(here.when() + correction);
  const std::string clock =
      (correction == seconds(0) ? "this machine's clock says " : "the store's clock says ") +
      now.rfc3339();
  if (seen.last_run && slot_of(*seen.last_run, by.when_due.run_at, zone) >
                           slot_of(now, by.when_due.run_at, zone) + days(1)) {
    warnings.push_back(
        {"clock_went_back", "the last run was at " + seen.last_run->rfc3339() + ", and " + clock});
  }
  std::optional<plan> decided = urgent(seen, by);
  std::optional<cadence> dates;
  if (!seen.chain_times.empty()) {
    dates.emplace(seen.chain_times, by.when_due, now, zone);
    if (dates->last_in_future()) {
      warnings.push_back(
          {"backup_from_the_future", "the last backup is dated " +
                                         seen.chain_times.back().rfc3339() + ", and " + clock +
                                         "; set the clock (NTP), if it is that which is "
                                         "wrong"});
    }
  }
  for (const std::string& problem : seen.date_problems) {
    warnings.push_back({"backup_date_contradicts", problem + "; the earliest counts"});
  }
  if (!decided) {
    // `urgent` has covered every chain that does not resolve, so there are dates (or value()
    // throws).
    decided = decide_by_date(seen, by, dates.value());
    if (decided->what == action::skip) {
      decided->due = dates->next();
    }
  }
  if (decided->makes_backup()) {
    decided->due = now;
  }
  decided->clock_suspect = !warnings.empty();
  decided->clock_correction = correction;
  if (!seen.source_problem.empty() && decided->reason != "source_changed") {
    warnings.push_back({"source_changed", seen.source_problem});
  }
  decided->warnings = std::move(warnings);
  return std::move(*decided);
}

timestamp time_of(const manifest& backup) {
  const std::string& name = backup.snapshot.name;
  const std::size_t kind = name.rfind("__");
  if (kind != std::string::npos && kind > 0) {
    const std::size_t time = name.rfind("__", kind - 1);
    if (time != std::string::npos) {
      if (const auto when = timestamp::parse(name.substr(time + 2, kind - time - 2))) {
        return *when;
      }
    }
  }
  return backup.created_at;
}

timestamp time_of(const manifest& backup, std::string_view key) {
  return date_of(backup, key, {}).when;
}

backup_date date_of(const manifest& backup, std::string_view key,
                    const std::vector<date_witness>& others) {
  constexpr std::chrono::hours tolerance{1};
  std::vector<date_witness> all = {{"its manifest", time_of(backup)},
                                   {"its key", time_in_key(key)}};
  all.insert(all.end(), others.begin(), others.end());
  std::erase_if(all, [](const date_witness& one) { return !one.when; });
  const auto [first, last] = std::minmax_element(
      all.begin(), all.end(),
      [](const date_witness& a, const date_witness& b) { return *a.when < *b.when; });
  backup_date made;
  made.when = *first->when;
  if (last->when->when() - first->when->when() > tolerance) {
    made.problem = "the backup " + std::string(key) + " is of " + first->when->rfc3339() + " by " +
                   first->who + ", and of " + last->when->rfc3339() + " by " + last->who;
  }
  return made;
}

}  // namespace bts3::planner
