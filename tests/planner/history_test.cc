// Ten thousand seeded histories of one subvolume: nightly runs that succeed, fail or are killed at
// any step, meddling users, wrong clocks, changed configurations. The world is a model; what is
// decided in it is decided by the planner, in the order of steps that backup_job keeps.
#include "planner/plan.hh"
#include "planner/retention.hh"
#include "planner/unfinished.hh"

#include "tests/planner/zones.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>

using namespace bts3::planner;
using bts3::testing::central_europe;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;

namespace {

constexpr int histories = 10'000;
constexpr int nights = 40;

struct stored_manifest {
  backup_kind kind = backup_kind::full;
  std::string parent;  // key; empty for a full
  std::string snapshot;
  int snapshot_id = 0;
  timestamp when;
};

struct kept_snapshot {
  int id = 0;  // as a UUID: never used twice
  std::uint64_t made_in = 0;
  bool changed = false;  // flipped writable by somebody
};

// One bucket and prefix.
struct place {
  std::map<std::string, stored_manifest> manifests;
  std::set<std::string> chunks;   // by the manifest key that they are of
  std::set<std::string> uploads;  // likewise
  std::string pointer;            // key; empty: none
};

struct written_journal {
  std::string key;
  std::string snapshot;
  int snapshot_id = 0;  // 0: its identity was not recorded
  std::string parent;
  std::string parent_snapshot;
  std::string pointer_before;
  backup_kind kind = backup_kind::full;
  timestamp when;
  int where = 0;     // index of the place
  int settings = 0;  // part sizes and so on
};

struct killed {};         // power is gone
struct store_failure {};  // the run ends with exit status 1, in an orderly way

struct world {
  explicit world(std::uint64_t seed) : random(seed) {}

  int pick(int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); }
  bool chance(int percent) { return pick(100) < percent; }

  std::mt19937_64 random;
  sys_seconds now = sys_days(std::chrono::year(2026) / 1 / 5);
  seconds clock_error{0};
  sys_seconds clock_changed = now;  // when the error last changed
  place places[2];
  int where = 0;
  int settings = 0;
  policy by;
  int retain = 2;
  std::map<std::string, kept_snapshot> snapshots;
  std::uint64_t transaction = 1;
  int next_id = 1;
  std::optional<written_journal> journal;
  std::string remembered;  // the state file
  std::optional<timestamp> last_run;
  // Of one run: when it is interrupted.
  int steps_left = -1;
  bool by_kill = false;
  // What users destroyed; such loss is not the program's.
  std::set<std::string> meddled;
  // When the pointer of the present place last moved, by true time.
  std::optional<sys_seconds> published_at;
  std::optional<sys_seconds> full_published_at;
  // The first backup published with the right clock, since the clock changed.
  std::optional<sys_seconds> sane_since;

  [[nodiscard]] timestamp clock() const { return timestamp(now + clock_error); }
  place& here() { return places[where]; }

  // One instruction of the program that changes something.
  void step() {
    if (steps_left > 0 && --steps_left == 0) {
      if (by_kill) {
        throw killed();
      }
      throw store_failure();
    }
  }
};

const central_europe zone;

std::string snapshot_called(timestamp when, backup_kind kind) {
  return "data__" + when.compact() + (kind == backup_kind::full ? "__full" : "__inc");
}

// From the full to `key`; empty when it does not resolve.
std::vector<std::string> chain_of(const place& at, std::string key) {
  std::vector<std::string> chain;
  while (true) {
    const auto found = at.manifests.find(key);
    if (found == at.manifests.end() || std::find(chain.begin(), chain.end(), key) != chain.end()) {
      return {};
    }
    chain.insert(chain.begin(), key);
    if (found->second.parent.empty()) {
      return chain;
    }
    key = found->second.parent;
  }
}

// As app/survey/observer.cc sees it.
observation observe(world& w) {
  observation seen;
  seen.subvolume = "data";
  seen.own_host_id = "here";
  seen.remembered_manifest = w.remembered;
  seen.last_run = w.last_run;
  const place& at = w.here();
  if (at.pointer.empty()) {
    return seen;
  }
  seen.pointer_exists = true;
  seen.last_key = at.pointer;
  const auto found = at.manifests.find(at.pointer);
  if (found == at.manifests.end()) {
    seen.pointer_problem = "missing";
    return seen;
  }
  seen.last.emplace();
  seen.last->host_id = "here";
  const std::vector<std::string> chain = chain_of(at, at.pointer);
  if (chain.empty()) {
    seen.chain_problem = "broken";
  }
  for (const std::string& link : chain) {
    seen.chain_times.push_back(at.manifests.at(link).when);
    if (!at.chunks.contains(link)) {
      seen.chunk_problem = "missing";
    }
  }
  const auto snapshot = w.snapshots.find(found->second.snapshot);
  if (snapshot != w.snapshots.end()) {
    const bool same = snapshot->second.id == found->second.snapshot_id;
    seen.parent = same && !snapshot->second.changed ? parent_state::present : parent_state::changed;
    seen.parent_snapshot = snapshot->first;
  }
  return seen;
}

void move_pointer(world& w, const written_journal& of) {
  place& at = w.places[of.where];
  // No fork: an incremental continues what the pointer named, and nothing else does.
  BOOST_REQUIRE(at.pointer == of.pointer_before);
  BOOST_REQUIRE(of.kind == backup_kind::full || of.parent == at.pointer);
  for (const auto& [key, other] : at.manifests) {
    BOOST_REQUIRE(key == of.key || of.parent.empty() || other.parent != of.parent);
  }
  at.pointer = of.key;
  w.published_at = w.now;
  if (of.kind == backup_kind::full) {
    w.full_published_at = w.now;
  }
  if (!w.sane_since && w.clock_error == seconds(0)) {
    w.sane_since = w.now;
  }
  // What was just published can be restored.
  for (const std::string& link : chain_of(at, of.key)) {
    BOOST_REQUIRE(at.chunks.contains(link) || w.meddled.contains(link));
  }
  BOOST_REQUIRE(!chain_of(at, of.key).empty() || !w.meddled.empty());
}

void remember(world& w, const written_journal& of) {
  w.remembered = of.key;
  w.last_run = w.clock();
}

// From uploads to the removal of the journal.
void send_and_publish(world& w) {
  const written_journal of = *w.journal;
  place& at = w.places[of.where];
  // What is sent is what the manifest will describe, onto what the parent's manifest describes.
  const auto sent = w.snapshots.find(of.snapshot);
  BOOST_REQUIRE(sent != w.snapshots.end());
  BOOST_REQUIRE(sent->second.id == of.snapshot_id);
  BOOST_REQUIRE(!sent->second.changed);
  if (!of.parent.empty()) {
    const auto parent = w.snapshots.find(of.parent_snapshot);
    BOOST_REQUIRE(parent != w.snapshots.end());
    BOOST_REQUIRE(!parent->second.changed);
    BOOST_REQUIRE(parent->second.id == at.manifests.at(of.parent).snapshot_id);
  }
  if (!at.chunks.contains(of.key)) {
    at.uploads.insert(of.key);
    w.step();
    w.step();  // a part
    at.uploads.erase(of.key);
    at.chunks.insert(of.key);
    w.step();
  }
  at.manifests[of.key] = stored_manifest{of.kind, of.parent, of.snapshot, of.snapshot_id, of.when};
  w.step();
  move_pointer(w, of);
  w.step();
  remember(w, of);
  w.step();
  w.journal.reset();
  w.step();
}

void abandon(world& w) {
  const written_journal of = *w.journal;
  place& at = w.places[of.where];
  BOOST_REQUIRE(!at.manifests.contains(of.key));
  at.uploads.erase(of.key);
  w.step();
  at.chunks.erase(of.key);
  w.step();
  const auto snapshot = w.snapshots.find(of.snapshot);
  if (snapshot != w.snapshots.end() &&
      (of.snapshot_id == 0 || snapshot->second.id == of.snapshot_id)) {
    w.snapshots.erase(snapshot);
  }
  w.step();
  w.journal.reset();
  w.step();
}

void settle(world& w) {
  if (!w.journal) {
    return;
  }
  const written_journal of = *w.journal;
  place& at = w.places[of.where];
  unfinished_backup seen;
  seen.began = of.when;
  const std::vector<std::string> chain = chain_of(at, at.pointer);
  seen.pointer_names_it =
      at.pointer == of.key || std::find(chain.begin(), chain.end(), of.key) != chain.end();
  seen.pointer_unmoved = at.pointer == of.pointer_before;
  seen.manifest_is_there = at.manifests.contains(of.key);
  seen.place_problem = of.where == w.where ? "" : "elsewhere";
  seen.settings_problem = of.settings == w.settings ? "" : "changed";
  const auto snapshot = w.snapshots.find(of.snapshot);
  if (of.snapshot_id == 0 || snapshot == w.snapshots.end() ||
      snapshot->second.id != of.snapshot_id || snapshot->second.changed) {
    seen.snapshot_problem = "gone";
  }
  if (!of.parent.empty()) {
    const observation now = observe(w);
    if (now.last_key != of.parent || now.parent != parent_state::present ||
        !now.chain_problem.empty() || !now.chunk_problem.empty()) {
      seen.parent_problem = "gone";
    }
  }
  switch (decide_unfinished(seen, w.clock(), hours(24 * 7), "the limit").what) {
    case unfinished_action::record:
      remember(w, of);
      w.step();
      w.journal.reset();
      break;
    case unfinished_action::publish:
      move_pointer(w, of);
      w.step();
      remember(w, of);
      w.step();
      w.journal.reset();
      break;
    case unfinished_action::release:
      w.journal.reset();
      break;
    case unfinished_action::leave:
      BOOST_FAIL("everything is understood here");
      break;
    case unfinished_action::resume:
      send_and_publish(w);
      break;
    case unfinished_action::abandon:
      abandon(w);
      break;
  }
  w.step();
}

void prune(world& w) {
  std::vector<local_snapshot> all;
  const place& at = w.here();
  std::string needed;
  if (const auto last = at.manifests.find(at.pointer); last != at.manifests.end()) {
    needed = last->second.snapshot;
  }
  for (const auto& [name, one] : w.snapshots) {
    local_snapshot entry;
    entry.name = name;
    entry.made_in = one.made_in;
    entry.needed = name == needed;
    for (const auto& [key, manifest] : at.manifests) {
      entry.published = entry.published || manifest.snapshot == name;
    }
    all.push_back(entry);
  }
  for (const std::string& name : judge_snapshots(all, static_cast<std::size_t>(w.retain)).remove) {
    // As many newer ones as are to be kept are there, by the order in which they were made.
    const auto made_in = w.snapshots.at(name).made_in;
    const auto newer = std::count_if(all.begin(), all.end(), [&](const local_snapshot& one) {
      return one.published && one.made_in > made_in;
    });
    BOOST_REQUIRE(newer >= w.retain);
    w.snapshots.erase(name);
    w.step();
  }
}

void make(world& w, const plan& decided) {
  const auto taken = [&](timestamp when) {
    for (const auto kind : {backup_kind::full, backup_kind::incremental}) {
      const std::string name = snapshot_called(when, kind);
      if (w.snapshots.contains(name) || w.here().chunks.contains(name) ||
          w.here().manifests.contains(name)) {
        return true;
      }
    }
    return false;
  };
  while (taken(w.clock())) {
    w.now += seconds(1);
  }
  written_journal of;
  of.kind = decided.what == action::full ? backup_kind::full : backup_kind::incremental;
  of.when = w.clock();
  of.snapshot = snapshot_called(of.when, of.kind);
  of.key = of.snapshot;  // keys carry the same time and kind
  of.parent = decided.parent_manifest;
  of.parent_snapshot = decided.parent_snapshot;
  of.pointer_before = w.here().pointer;
  of.where = w.where;
  of.settings = w.settings;
  w.journal = of;
  w.step();
  w.snapshots[of.snapshot] = kept_snapshot{w.next_id++, w.transaction++, false};
  w.step();
  w.journal->snapshot_id = w.snapshots.at(of.snapshot).id;
  w.step();
  send_and_publish(w);
}

enum class ended { well, killed, failed };

ended run(world& w) {
  const std::string parent_before = w.here().manifests.contains(w.here().pointer)
                                        ? w.here().manifests.at(w.here().pointer).snapshot
                                        : "";
  const bool parent_was_there = w.snapshots.contains(parent_before);
  const std::string pointer_before = w.here().pointer;
  // A backup that only had to be published may have lost its snapshot to a user.
  const std::string lost_before =
      w.journal && !w.snapshots.contains(w.journal->snapshot) ? w.journal->snapshot : "";
  ended how = ended::well;
  try {
    settle(w);
    const plan decided = decide(observe(w), w.by, w.clock(), zone);
    BOOST_REQUIRE(decided.what != action::stop);
    const observation seen = observe(w);
    if (seen.parent == parent_state::present && seen.chain_problem.empty()) {
      w.remembered = seen.last_key;  // adopted into the state
    }
    if (decided.makes_backup()) {
      make(w, decided);
    }
    if (!decided.clock_suspect) {
      prune(w);
    }
  } catch (const killed&) {
    how = ended::killed;
  } catch (const store_failure&) {
    how = ended::failed;
  }
  // The snapshot that the pointer's backup was made from is never pruned, whatever happened.
  if (w.here().pointer == pointer_before) {
    BOOST_REQUIRE(w.snapshots.contains(parent_before) == parent_was_there);
  } else {
    const std::string& of_pointer = w.here().manifests.at(w.here().pointer).snapshot;
    BOOST_REQUIRE(w.snapshots.contains(of_pointer) || of_pointer == lost_before);
  }
  return how;
}

void check_after_success(world& w, bool just_published) {
  place& at = w.here();
  // The chain resolves and is complete.
  const std::vector<std::string> chain = chain_of(at, at.pointer);
  BOOST_REQUIRE(!chain.empty());
  for (const std::string& link : chain) {
    BOOST_REQUIRE(at.chunks.contains(link));
  }
  // Nothing is leaked: no journal, no upload anywhere, no chunk that no manifest is of, no snapshot
  // that no manifest is of.
  BOOST_REQUIRE(!w.journal.has_value());
  for (const place& one : w.places) {
    BOOST_REQUIRE(one.uploads.empty());
    for (const std::string& chunk : one.chunks) {
      BOOST_REQUIRE(one.manifests.contains(chunk) || w.meddled.contains(chunk));
    }
  }
  for (const auto& [name, snapshot] : w.snapshots) {
    BOOST_REQUIRE(w.places[0].manifests.contains(name) || w.places[1].manifests.contains(name) ||
                  w.meddled.contains(name));
  }
  // Nothing that was due by true time is left undone, if the clock was right all along.
  const bool clock_was_right =
      w.clock_error == seconds(0) && w.published_at && w.clock_changed <= *w.published_at;
  if (clock_was_right && !just_published) {
    const auto age = slot_of(timestamp(w.now), w.by.when_due.run_at, zone) -
                     slot_of(timestamp(*w.published_at), w.by.when_due.run_at, zone);
    BOOST_REQUIRE(age <= days(w.by.when_due.incremental_every_days + 1));
  }
  if (w.clock_error == seconds(0) && w.full_published_at && w.sane_since) {
    // A wrong clock may have dated the last full: then fulls count from the first sane backup.
    const sys_seconds since = w.clock_changed <= *w.full_published_at
                                  ? *w.full_published_at
                                  : std::max(*w.full_published_at, *w.sane_since);
    const auto age = slot_of(timestamp(w.now), w.by.when_due.run_at, zone) -
                     slot_of(timestamp(since), w.by.when_due.run_at, zone);
    BOOST_REQUIRE(age <= days(w.by.when_due.full_every_days + 1));
  }
}

template <typename Map>
auto any_of(world& w, Map& from) {
  auto chosen = from.begin();
  std::advance(chosen, w.pick(static_cast<int>(from.size())));
  return chosen;
}

void meddle(world& w) {
  place& at = w.here();
  switch (w.pick(13)) {
    case 0:
      if (!w.snapshots.empty()) {
        w.snapshots.erase(any_of(w, w.snapshots));
      }
      break;
    case 1:
      if (!w.snapshots.empty()) {
        any_of(w, w.snapshots)->second.changed = true;
      }
      break;
    case 2:  // another subvolume under the same name
      if (!w.snapshots.empty()) {
        const auto chosen = any_of(w, w.snapshots);
        chosen->second = kept_snapshot{w.next_id++, w.transaction++, false};
        w.meddled.insert(chosen->first);
      }
      break;
    case 3:
      if (!at.manifests.empty()) {
        const auto chosen = any_of(w, at.manifests);
        w.meddled.insert(chosen->first);
        at.manifests.erase(chosen);
      }
      break;
    case 4:
      if (!at.chunks.empty()) {
        const auto chosen = any_of(w, at.chunks);
        w.meddled.insert(*chosen);
        at.chunks.erase(chosen);
      }
      break;
    case 5:  // an upload dropped by the store
      at.uploads.clear();
      break;
    case 6:  // the clock
      w.clock_error = w.chance(50) ? seconds(0) : hours(24) * (w.pick(1000) - 500);
      w.clock_changed = w.now;
      w.sane_since.reset();
      break;
    case 7:
      w.by.when_due.incremental_every_days = 1 + w.pick(7);
      w.by.when_due.full_every_days = 1 + w.pick(20);
      w.published_at.reset();
      w.full_published_at.reset();
      break;
    case 8:
      w.by.when_due.run_at = std::chrono::minutes(w.pick(1440));
      w.published_at.reset();
      w.full_published_at.reset();
      break;
    case 9:
      w.retain = 1 + w.pick(4);
      w.settings = w.pick(2);
      break;
    case 10:
      w.where = w.pick(2);
      w.published_at.reset();
      w.full_published_at.reset();
      break;
    case 11:  // somebody turns the pointer back
      if (!at.manifests.empty()) {
        at.pointer = any_of(w, at.manifests)->first;
        for (auto& [key, other] : at.manifests) {
          if (other.parent == at.pointer && !(w.journal && w.journal->key == key)) {
            other.parent = key;  // what came behind it is no part of any chain now
          }
        }
        w.published_at.reset();
        w.full_published_at.reset();
      }
      break;
    default:
      w.remembered.clear();  // the state file is gone
      break;
  }
}

void live(std::uint64_t seed) {
  world w(seed);
  w.by.when_due.incremental_every_days = 1 + w.pick(4);
  w.by.when_due.full_every_days = 5 + w.pick(15);
  w.now += days(w.pick(360));
  for (int night = 0; night < nights; ++night) {
    // At run_at by the true local time, some seconds late, or at any time of the day.
    const sys_days date = std::chrono::floor<days>(w.now) + days(1);
    w.now = slot_begin(date, w.by.when_due.run_at, zone).when() + seconds(w.pick(60));
    w.now += w.chance(10) ? seconds(w.pick(80'000)) : seconds(0);
    if (w.chance(25)) {
      meddle(w);
    }
    if (w.chance(5)) {
      continue;  // the machine is off
    }
    w.by.regardless_of_due = w.chance(5);
    // Dated by a clock that is a few days fast, one may put off the next full by as many.
    w.by.full = w.clock_error == seconds(0) && w.chance(2);
    w.steps_left = w.chance(35) ? 1 + w.pick(16) : -1;
    w.by_kill = w.chance(70);
    ended how = run(w);
    if (how != ended::well && w.chance(50)) {
      continue;
    }
    if (how != ended::well) {
      w.steps_left = -1;
      how = run(w);
      BOOST_REQUIRE((how == ended::well));
    }
    check_after_success(w, w.published_at == w.now);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(history_suite)

BOOST_AUTO_TEST_CASE(ten_thousand_histories_keep_the_promises) {
  for (int seed = 0; seed < histories; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      live(static_cast<std::uint64_t>(seed));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
