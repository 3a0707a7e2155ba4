#include "planner/plan.hh"

#include "tests/planner/zones.hh"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>

using namespace bts3::planner;
using bts3::testing::fixed_zone;

namespace {

timestamp at(const char* text) {
  return timestamp::parse(text).value();
}

const timestamp today = at("20260121T020003Z");

// A full of 1 January and an incremental of a week ago, all of it usable.
observation usual() {
  observation seen;
  seen.subvolume = "data";
  seen.own_host_id = "here";
  seen.remembered_manifest = "p/manifest-2.json";
  seen.last_run = at("20260120T020003Z");
  seen.pointer_exists = true;
  seen.last.emplace();
  seen.last->host_id = "here";
  seen.last->host_name = "alpha";
  seen.last_key = "p/manifest-2.json";
  seen.chain_times = {at("20260101T020003Z"), at("20260114T020005Z")};
  seen.parent = parent_state::present;
  seen.parent_snapshot = "/s/data__20260114T020005Z__inc";
  return seen;
}

plan decided(const observation& seen, const policy& by = {}, timestamp now = today) {
  return decide(seen, by, now, fixed_zone());
}

// One line a fact, for the golden file.
std::string rendered(const std::string& name, const plan& decided) {
  std::string text = "== " + name + "\n";
  text += std::string(to_string(decided.what)) + " " + decided.reason + "\n";
  text += decided.sentence + "\n";
  if (!decided.parent_snapshot.empty()) {
    text += "parent " + decided.parent_snapshot + " " + decided.parent_manifest + "\n";
  }
  text += "due " + (decided.due ? decided.due->rfc3339() : "-") + "\n";
  for (const notice& warning : decided.warnings) {
    text += "warning " + warning.event + ": " + warning.sentence + "\n";
  }
  return text;
}

struct scenario {
  const char* name;
  std::function<void(observation&, policy&, timestamp&)> change;
};

const std::vector<scenario>& scenarios() {
  static const std::vector<scenario> all = {
      {"first_backup",
       [](auto& seen, auto&, auto&) {
         seen = observation();
         seen.subvolume = "data";
       }},
      {"pointer_missing",
       [](auto& seen, auto&, auto&) {
         seen.pointer_exists = false;
         seen.last.reset();
         seen.chain_times.clear();
       }},
      {"manifest_unusable",
       [](auto& seen, auto&, auto&) {
         seen.last.reset();
         seen.chain_times.clear();
         seen.pointer_problem = "manifest p/manifest-2.json: not a JSON object";
       }},
      {"chain_broken",
       [](auto& seen, auto&, auto&) {
         seen.chain_times.clear();
         seen.chain_problem = "manifest 2 needs its parent 1, which is missing";
       }},
      {"chunk_missing",
       [](auto& seen, auto&, auto&) {
         seen.chunk_problem = "chunk p/chunk-1-0.bin is missing from the bucket";
       }},
      {"receive_refused",
       [](auto& seen, auto&, auto&) { seen.refused_problem = "m2: refused: rename a -> b"; }},
      {"proof_refused",
       [](auto& seen, auto&, auto&) { seen.unproven_problem = "command 3 (unlink a): no a"; }},
      {"foreign_host",
       [](auto& seen, auto&, auto&) {
         seen.last->host_id = "elsewhere";
         seen.parent = parent_state::missing;
       }},
      {"adopted",
       [](auto& seen, auto& by, auto&) {
         seen.last->host_id = "elsewhere";
         seen.parent = parent_state::missing;
         by.adopt = true;
       }},
      {"full_due", [](auto&, auto& by, auto&) { by.when_due.full_every_days = 20; }},
      {"full_requested",
       [](auto&, auto& by, auto& now) {
         by.full = true;
         now = at("20260121T015959Z");
       }},
      {"parent_missing",
       [](auto& seen, auto&, auto&) {
         seen.parent = parent_state::missing;
         seen.parent_problem = "no snapshot in /s has its UUID";
       }},
      {"parent_changed",
       [](auto& seen, auto&, auto&) {
         seen.parent = parent_state::changed;
         seen.parent_problem = "/s/x: it is writable";
       }},
      {"source_changed",
       [](auto& seen, auto&, auto&) {
         seen.source_problem = "/srv/data is another subvolume than that of the last backup";
       }},
      {"incremental_due", [](auto&, auto&, auto&) {}},
      {"requested",
       [](auto&, auto& by, auto& now) {
         by.regardless_of_due = true;
         now = at("20260115T020003Z");
       }},
      {"not_due", [](auto&, auto&, auto& now) { now = at("20260121T015959Z"); }},
      {"incremental_due, dated in the future",
       [](auto& seen, auto&, auto&) { seen.chain_times.back() = at("20990101T020000Z"); }},
      {"incremental_due, clock set back a year",
       [](auto&, auto&, auto& now) { now = at("20250121T020003Z"); }},
      {"not_due, clock a year ahead of the store's",
       [](auto& seen, auto&, auto& now) {
         now = at("20270115T020003Z");
         seen.store_ahead = std::chrono::days(-365);
         seen.last_run = at("20260114T020005Z");
       }},
  };
  return all;
}

plan plan_of(const scenario& one) {
  observation seen = usual();
  policy by;
  timestamp now = today;
  one.change(seen, by, now);
  return decided(seen, by, now);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(plan_suite)

// After a change that is meant, BTS3_UPDATE_GOLDEN=1 writes the file anew; review its diff.
BOOST_AUTO_TEST_CASE(each_reason_has_its_golden_plan) {
  std::string text;
  for (const scenario& one : scenarios()) {
    const plan made = plan_of(one);
    const std::string name = one.name;
    BOOST_TEST(made.reason == name.substr(0, name.find(',')));
    text += rendered(name, made);
  }
  const std::string path = BTS3_TEST_DATA "/plans/golden.txt";
  if (std::getenv("BTS3_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path) << text;
  }
  std::ifstream file(path);
  std::stringstream golden;
  golden << file.rdbuf();
  BOOST_TEST(text == golden.str());
}

BOOST_AUTO_TEST_CASE(a_run_seconds_early_is_not_late) {
  // The last one was at 02:00:05, this one is at 02:00:03 a week later.
  BOOST_TEST(decided(usual()).reason == "incremental_due");
  const plan skip = decided(usual(), {}, at("20260121T015959Z"));
  BOOST_TEST(skip.reason == "not_due");
  BOOST_TEST((skip.due == at("20260121T020000Z")));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_restored_is_replaced_before_it_is_due) {
  for (const char* name : {"pointer_missing", "manifest_unusable", "chain_broken", "chunk_missing",
                           "receive_refused", "proof_refused"}) {
    for (const scenario& one : scenarios()) {
      if (std::string(one.name) == name) {
        observation seen = usual();
        policy by;
        timestamp now = today;
        one.change(seen, by, now);
        BOOST_TEST(decided(seen, by, at("20260114T030000Z")).reason == name);
        BOOST_TEST(decided(seen, by, at("20260114T030000Z")).is_fallback());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_lost_parent_waits_for_the_next_due_backup) {
  observation seen = usual();
  seen.parent = parent_state::missing;
  BOOST_TEST(decided(seen, {}, at("20260115T030000Z")).reason == "not_due");
  BOOST_TEST(decided(seen).reason == "parent_missing");
  policy once;
  once.regardless_of_due = true;
  BOOST_TEST(decided(seen, once, at("20260115T030000Z")).reason == "parent_missing");
}

BOOST_AUTO_TEST_CASE(a_full_that_was_asked_for_is_no_fallback_and_overrules_no_other_host) {
  policy by;
  by.full = true;
  for (const timestamp now : {today, at("20260115T030000Z")}) {
    const plan made = decided(usual(), by, now);
    BOOST_TEST(made.reason == "full_requested");
    BOOST_TEST((made.what == action::full && !made.is_fallback() && made.due == now));
    BOOST_TEST(made.parent_snapshot.empty());
  }
  observation seen = usual();
  seen.chunk_problem = "chunk p/chunk-1-0.bin is missing from the bucket";
  BOOST_TEST(decided(seen, by).reason == "chunk_missing");
  seen = usual();
  seen.last->host_id = "elsewhere";
  seen.parent = parent_state::missing;
  BOOST_TEST(decided(seen, by).reason == "foreign_host");
}

BOOST_AUTO_TEST_CASE(a_full_is_due_before_an_incremental) {
  policy by;
  by.when_due.full_every_days = 20;
  BOOST_TEST(decided(usual(), by).reason == "full_due");
  by.when_due.full_every_days = 21;
  BOOST_TEST(decided(usual(), by).reason == "incremental_due");
  // Also when only the full is.
  by.when_due.full_every_days = 14;
  by.when_due.incremental_every_days = 30;
  BOOST_TEST(decided(usual(), by).reason == "full_due");
  BOOST_TEST((decided(usual(), by, at("20260114T030000Z")).due == at("20260115T020000Z")));
}

BOOST_AUTO_TEST_CASE(an_interval_of_hours_makes_several_incrementals_a_day) {
  observation seen = usual();
  seen.chain_times.back() = at("20260121T020500Z");  // in the turn that begins at 02:00
  policy by;
  by.when_due.incremental_every = std::chrono::hours(6);
  const plan skip = decided(seen, by, at("20260121T075959Z"));
  BOOST_TEST(skip.reason == "not_due");
  BOOST_TEST(skip.sentence.find("is not 6 hours old yet") != std::string::npos, skip.sentence);
  BOOST_TEST((skip.due == at("20260121T080000Z")));
  BOOST_TEST(decided(seen, by, at("20260121T080000Z")).reason == "incremental_due");
  // The slot ends, and with it the turn.
  seen.chain_times.back() = at("20260121T200500Z");
  BOOST_TEST(decided(seen, by, at("20260122T015959Z")).reason == "not_due");
  BOOST_TEST(decided(seen, by, at("20260122T020000Z")).reason == "incremental_due");
  // A full that is due comes first, and is told when it comes next.
  by.when_due.full_every_days = 20;
  BOOST_TEST(decided(seen, by, at("20260121T210000Z")).reason == "full_due");
  by.when_due.full_every_days = 22;
  seen.chain_times.back() = at("20260122T220500Z");
  BOOST_TEST((decided(seen, by, at("20260122T221000Z")).due == at("20260123T020000Z")));
}

BOOST_AUTO_TEST_CASE(one_slot_ahead_is_no_broken_clock) {
  observation seen = usual();
  seen.chain_times.back() = at("20260122T020000Z");
  const plan skip = decided(seen);
  BOOST_TEST(skip.reason == "not_due");
  BOOST_TEST(skip.warnings.empty());
  seen.chain_times.back() = at("20260123T020000Z");
  const plan due = decided(seen);
  BOOST_TEST(due.reason == "incremental_due");
  BOOST_TEST(due.clock_suspect);
  BOOST_REQUIRE(due.warnings.size() == 1U);
  BOOST_TEST(due.warnings.front().event == "backup_from_the_future");
}

BOOST_AUTO_TEST_CASE(a_full_from_the_future_neither_rules_fulls_out_nor_costs_one) {
  observation seen = usual();
  seen.chain_times = {at("20990101T020000Z"), at("20260101T020000Z"), at("20260114T020000Z")};
  policy by;
  by.when_due.full_every_days = 20;
  BOOST_TEST(decided(seen, by).reason == "full_due");  // counted from the first sane link
  by.when_due.full_every_days = 21;
  BOOST_TEST(decided(seen, by).reason == "incremental_due");
}

BOOST_AUTO_TEST_CASE(a_run_from_the_future_is_reported) {
  observation seen = usual();
  seen.last_run = at("20270101T020000Z");
  const plan made = decided(seen);
  BOOST_TEST(made.reason == "incremental_due");
  BOOST_REQUIRE(made.warnings.size() == 1U);
  BOOST_TEST(made.warnings.front().event == "clock_went_back");
  BOOST_TEST(made.clock_suspect);
}

BOOST_AUTO_TEST_CASE(a_source_that_is_another_subvolume_is_said_and_makes_a_full_when_one_is_due) {
  observation seen = usual();
  seen.source_problem = "/srv/data is another subvolume";
  seen.last_run = at("20260114T020005Z");
  const plan full = decided(seen);
  BOOST_TEST((full.what == action::full));
  BOOST_TEST(full.reason == "source_changed");
  BOOST_TEST(full.is_fallback());
  BOOST_TEST(full.warnings.empty());
  const plan skip = decided(seen, {}, at("20260115T030000Z"));
  BOOST_TEST(skip.reason == "not_due");
  BOOST_REQUIRE(skip.warnings.size() == 1U);
  BOOST_TEST(skip.warnings.front().event == "source_changed");
  // That is no matter of clocks: what retention says is removed is.
  BOOST_TEST(!skip.clock_suspect);
  // Said as well where the full has another cause.
  policy by;
  by.full = true;
  BOOST_TEST(decided(seen, by).warnings.size() == 1U);
  by.full = false;
  by.when_due.full_every_days = 20;
  BOOST_TEST(decided(seen, by).reason == "full_due");
  BOOST_TEST(decided(seen, by).warnings.size() == 1U);
}

BOOST_AUTO_TEST_CASE(clocks_that_differ_by_a_day_or_less_change_nothing) {
  for (const auto ahead : {std::chrono::hours(24), std::chrono::hours(-24)}) {
    observation seen = usual();
    seen.store_ahead = ahead;
    const plan made = decided(seen);
    BOOST_TEST(made.reason == "incremental_due");
    BOOST_TEST(made.warnings.empty());
    BOOST_TEST((made.clock_correction == std::chrono::seconds(0)));
  }
}

// A clock that is a year ahead makes a full without it, and one that is behind makes none.
BOOST_AUTO_TEST_CASE(the_stores_time_counts_where_this_machines_is_far_from_it) {
  observation seen = usual();
  seen.store_ahead = -std::chrono::days(365);
  const plan made = decided(seen, {}, at("20270121T020003Z"));
  BOOST_TEST(made.reason == "incremental_due");
  BOOST_TEST((made.due == today));
  BOOST_TEST((made.clock_correction == -std::chrono::days(365)));
  BOOST_REQUIRE(made.warnings.size() == 1U);
  BOOST_TEST(made.warnings.front().event == "clocks_differ");
  BOOST_TEST(made.clock_suspect);
  // Behind: by its own time the last backup would be from the future.
  seen.store_ahead = std::chrono::days(365);
  const plan behind = decided(seen, {}, at("20250121T020003Z"));
  BOOST_TEST(behind.reason == "incremental_due");
  BOOST_TEST((behind.due == today));
  BOOST_TEST(behind.warnings.size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_store_whose_time_is_before_what_has_happened_is_not_believed) {
  observation seen = usual();
  seen.store_ahead = -std::chrono::days(365);
  const plan made = decided(seen);
  BOOST_TEST(made.reason == "incremental_due");
  BOOST_TEST((made.due == today));
  BOOST_TEST((made.clock_correction == std::chrono::seconds(0)));
  BOOST_REQUIRE(made.warnings.size() == 1U);
  BOOST_TEST(made.warnings.front().sentence.find("this machine's counts") != std::string::npos);
  BOOST_TEST(made.clock_suspect);
  // Where both are before it, what happened is what was dated wrongly.
  seen.chain_times.back() = at("20990101T020000Z");
  BOOST_TEST((decided(seen).clock_correction == -std::chrono::days(365)));
  // Without history the store's counts.
  observation first;
  first.subvolume = "data";
  first.store_ahead = std::chrono::days(30);
  const plan full = decided(first);
  BOOST_TEST(full.reason == "first_backup");
  BOOST_TEST((full.due == at("20260220T020003Z")));
}

BOOST_AUTO_TEST_CASE(a_foreign_chain_whose_snapshot_is_here_goes_on) {
  observation seen = usual();
  seen.last->host_id = "elsewhere";
  BOOST_TEST(decided(seen).reason == "incremental_due");
  // Hosts that are not recorded, as by the earlier tool, are nobody's.
  seen.parent = parent_state::missing;
  seen.last->host_id.clear();
  BOOST_TEST(decided(seen).reason == "parent_missing");
  // Also when nothing is due: somebody else writes here.
  seen.last->host_id = "elsewhere";
  BOOST_TEST((decided(seen, {}, at("20260115T030000Z")).what == action::stop));
}

BOOST_AUTO_TEST_CASE(only_incrementals_have_parents) {
  for (const scenario& one : scenarios()) {
    const plan made = plan_of(one);
    BOOST_TEST((made.what == action::incremental) == !made.parent_manifest.empty());
    BOOST_TEST(made.parent_manifest.empty() == made.parent_snapshot.empty());
    BOOST_TEST(!made.sentence.empty());
  }
}

BOOST_AUTO_TEST_CASE(a_backup_is_as_old_as_its_snapshot) {
  manifest backup;
  backup.created_at = at("20260102T093000Z");
  BOOST_TEST((time_of(backup) == backup.created_at));
  backup.snapshot.name = "my__data__20260101T020000Z__full";
  BOOST_TEST((time_of(backup) == at("20260101T020000Z")));
  for (const char* other : {"data", "data__full", "data__yesterday__full", "__", "____"}) {
    backup.snapshot.name = other;
    BOOST_TEST((time_of(backup) == backup.created_at));
  }
}

// A manifest can be rewritten in its place, by anybody who may write to the bucket.
BOOST_AUTO_TEST_CASE(the_earliest_of_what_tells_a_backups_date_counts) {
  manifest backup;
  backup.snapshot.name = "data__20260120T020005Z__inc";  // rewritten
  backup.created_at = at("20260120T020005Z");
  const std::string key = "p/subvol/data/incremental/manifest-20260114T020005Z.json";
  BOOST_TEST(time_of(backup, key).compact() == "20260114T020005Z");
  const backup_date by_key = date_of(backup, key, {});
  BOOST_TEST(by_key.problem.find("2026-01-14T02:00:05Z by its key") != std::string::npos,
             by_key.problem);
  BOOST_TEST(by_key.problem.find("2026-01-20T02:00:05Z by its manifest") != std::string::npos,
             by_key.problem);
  // Put under a new key as well, it is told by what this host knows.
  const backup_date by_state =
      date_of(backup, "p/subvol/data/incremental/manifest-20260120T020005Z.json",
              {{"the state file", at("20260114T020005Z")}, {"its snapshot here", std::nullopt}});
  BOOST_TEST(by_state.when.compact() == "20260114T020005Z");
  BOOST_TEST(by_state.problem.find("by the state file") != std::string::npos, by_state.problem);
  // The earlier tool wrote manifests seconds after its snapshots.
  backup.snapshot.name = "data__20260114T015958Z__inc";
  BOOST_TEST(date_of(backup, key, {}).problem == "");
  BOOST_TEST(time_of(backup, key).compact() == "20260114T015958Z");
  // A name without a time, and a key that is none of ours: what the manifest says of itself.
  backup.snapshot.name = "snapshot";
  BOOST_TEST(time_of(backup, "p/manifest-2.json").compact() == "20260120T020005Z");
  BOOST_TEST(time_of(backup, key).compact() == "20260114T020005Z");
}

BOOST_AUTO_TEST_CASE(dates_that_contradict_are_warned_of) {
  observation seen = usual();
  seen.date_problems = {"the backup is of two dates"};
  const plan made = decided(seen);
  BOOST_REQUIRE(made.warnings.size() == 1U);
  BOOST_TEST(made.warnings[0].event == "backup_date_contradicts");
  BOOST_TEST(made.clock_suspect);
}

BOOST_AUTO_TEST_SUITE_END()
