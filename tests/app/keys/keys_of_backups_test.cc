// Which backups an identity opens, and their keys for others: over a memory store.
#include "app/keys/keys_report.hh"
#include "app/keys/sealed_backups.hh"
#include "engine/age/sealed_file.hh"
#include "tests/app/keys/bucket_of_sealed_backups.hh"
#include "tests/planner/zones.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_sealed_backups;
using bts3::testing::check_golden;
using bts3::testing::error_text;
using bts3::testing::fingerprint;
using bts3::testing::memory_store;
using bts3::testing::new_identity;
using outcome = keys_outcome;

namespace {

struct scene : bucket_of_sealed_backups {
  scene() {
    tuning.store = &store;
    with.tuning = &tuning;
  }

  // A full for `mine`, an incremental for both, one for `other`; and a plain one elsewhere.
  void add_chain() {
    made.push_back(add_sealed(5, {&mine}));
    made.push_back(add_sealed(4, {&mine, &other}, made[0].manifest_key));
    made.push_back(add_sealed(3, {&other}, made[1].manifest_key));
  }

  sealed_backups found() {
    auto all = loop->run(find_sealed_backups(with, store, ""));
    BOOST_REQUIRE_MESSAGE(all.has_value(), error_text(all));
    return std::move(*all);
  }
  sealed_backups checked(const age::x25519_identity& by) {
    sealed_backups all = found();
    const auto done = loop->run(check_keys(with, store, std::span(&by, 1), all));
    BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
    return all;
  }
  rewrap_wish wish_for(const std::vector<const age::x25519_identity*>& to) {
    rewrap_wish wish;
    for (const age::x25519_identity* one : to) {
      wish.to.emplace_back(one->recipient(), fingerprint(*one));
    }
    return wish;
  }
  engine::result<void> rewrap(sealed_backups& all, const age::x25519_identity& by,
                              const rewrap_wish& wish) {
    auto connection = store_connection::open(with);
    BOOST_REQUIRE(connection.has_value());
    auto done = loop->run(rewrap_keys(with, **connection, std::span(&by, 1), wish, all));
    loop->run((*connection)->close());
    return done;
  }
  sealed_backups rewrapped(const age::x25519_identity& by, const rewrap_wish& wish) {
    sealed_backups all = found();
    const auto done = rewrap(all, by, wish);
    BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
    return all;
  }
  static std::vector<outcome> outcomes(const sealed_backups& all) {
    std::vector<outcome> is;
    for (const sealed_backup& one : all.all) {
      is.push_back(one.is);
    }
    return is;
  }

  store_tuning tuning;
  age::x25519_identity mine = new_identity();
  age::x25519_identity other = new_identity();
  age::x25519_identity fresh = new_identity();
  std::vector<made_backup> made;
};

// Random keys have other fingerprints at each run.
std::string with_names(std::string text,
                       const std::vector<std::pair<std::string, std::string>>& of) {
  for (const auto& [from, to] : of) {
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
      text.replace(at, from.size(), to);
    }
  }
  return text;
}

const testing::fixed_zone zone(std::chrono::hours(1));

}  // namespace

namespace bts3::app {
// For messages of failed comparisons.
static std::ostream& operator<<(std::ostream& out, keys_outcome one) {
  return out << words_of(one).name;
}
}  // namespace bts3::app

BOOST_FIXTURE_TEST_SUITE(keys_of_backups_suite, scene)

BOOST_AUTO_TEST_CASE(an_identity_opens_what_was_sealed_for_it_and_of_the_rest_it_is_told_for_whom) {
  add_chain();
  add(planner::backup_kind::full, 9);
  const auto all = checked(mine);
  BOOST_TEST(
      outcomes(all) == (std::vector<outcome>{outcome::opens, outcome::opens, outcome::closed}),
      boost::test_tools::per_element());
  BOOST_TEST(all.plain == 1U);
  BOOST_TEST(all.all[2].recipients == std::vector<std::string>{fingerprint(other)},
             boost::test_tools::per_element());
  BOOST_TEST((status_of_check(all) == exit_status::verification));
  BOOST_TEST((status_of_check(checked(other)) == exit_status::verification));
  BOOST_TEST(store.count("PutObject") == 0U);
}

BOOST_AUTO_TEST_CASE(all_opened_is_what_ends_with_zero) {
  made.push_back(add_sealed(2, {&mine}));
  BOOST_TEST((status_of_check(checked(mine)) == exit_status::done));
  BOOST_TEST((status_of_check(checked(other)) == exit_status::verification));
}

BOOST_AUTO_TEST_CASE(what_keeps_a_keys_object_closed_is_told_apart) {
  add_chain();
  store.erase(made[0].keys_key);
  auto broken = *store.find(made[1].keys_key);
  broken.body.back() = static_cast<char>(broken.body.back() ^ 1);
  store.put(made[1].keys_key, broken.body);
  store.put(made[2].keys_key, store.find(made[2].keys_key)->body, "GLACIER");
  store.judge_by([&](const memory_store::recorded_call& call) {
    engine::error archived;
    archived.why = engine::reason::not_thawed;
    archived.message = "archived";
    return call.verb == "GetObject" && call.key == made[2].keys_key ? std::optional(archived)
                                                                    : std::nullopt;
  });
  const auto all = checked(mine);
  BOOST_TEST(outcomes(all) ==
                 (std::vector<outcome>{outcome::missing, outcome::unusable, outcome::archived}),
             boost::test_tools::per_element());
  for (std::size_t index = 0; index < 3; ++index) {
    BOOST_TEST(all.all[index].problem.find(made[index].keys_key) != std::string::npos,
               all.all[index].problem);
  }
}

BOOST_AUTO_TEST_CASE(archived_ones_alone_are_not_known_and_no_difference) {
  made.push_back(add_sealed(2, {&mine}));
  made.push_back(add_sealed(1, {&mine}, made[0].manifest_key));
  store.judge_by([&](const memory_store::recorded_call& call) {
    engine::error archived;
    archived.why = engine::reason::not_thawed;
    return call.verb == "GetObject" && call.key == made[1].keys_key ? std::optional(archived)
                                                                    : std::nullopt;
  });
  BOOST_TEST((status_of_check(checked(mine)) == exit_status::not_thawed));
  const auto all = rewrapped(mine, wish_for({&fresh}));
  BOOST_TEST((status_of_rewrap(all) == exit_status::not_thawed));
  BOOST_TEST(opens(made[0], fresh));
  BOOST_TEST(opens(made[1], mine));
}

BOOST_AUTO_TEST_CASE(a_key_of_somebody_elses_under_the_backups_id_does_not_count_as_its_own) {
  made.push_back(add_sealed(2, {&mine}));
  // Whoever may write to the bucket knows id and recipients.
  const std::string name = "# btrfs_to_s3 backup " + made[0].keys.id.text() + "\n";
  const auto key = new_identity();
  const auto object = age::seal_file(testing::bytes_of(name + std::string(key.text().view())),
                                     std::array{mine.recipient()}, age::system_random());
  store.put(made[0].keys_key, text_of(*object));
  BOOST_TEST(outcomes(checked(mine)) == std::vector<outcome>{outcome::unusable},
             boost::test_tools::per_element());
  // And it is not sealed anew as if it were.
  const auto all = rewrapped(mine, wish_for({&fresh}));
  BOOST_TEST(outcomes(all) == std::vector<outcome>{outcome::unusable},
             boost::test_tools::per_element());
  BOOST_TEST(store.count("PutObject") == 0U);
}

BOOST_AUTO_TEST_CASE(rewrapping_gives_what_it_opens_to_others_and_touches_nothing_else) {
  add_chain();
  const auto before = store.objects();
  store.forget_calls();
  const auto all = rewrapped(mine, wish_for({&fresh}));
  BOOST_TEST(outcomes(all) ==
                 (std::vector<outcome>{outcome::rewritten, outcome::rewritten, outcome::closed}),
             boost::test_tools::per_element());
  BOOST_TEST((status_of_rewrap(all) == exit_status::partly));
  for (const std::size_t index : {0U, 1U}) {
    BOOST_TEST(opens(made[index], fresh));
    BOOST_TEST(!opens(made[index], mine));
    BOOST_TEST(!opens(made[index], other));
    BOOST_TEST(store.find(made[index].keys_key)->options.stored_as.str() == "STANDARD_IA");
  }
  for (const auto& [key, object] : before) {
    const bool meant = key == made[0].keys_key || key == made[1].keys_key;
    BOOST_TEST((store.find(key)->body == object.body) != meant, key);
  }
  // Each keys object is read and written once; no chunk is asked for.
  BOOST_TEST(store.count("PutObject") == 2U);
  for (const auto& call : store.calls()) {
    BOOST_TEST(call.key.find("/chunk-") == std::string::npos, call.key);
    BOOST_TEST(
        (call.verb == "PutObject" || call.verb == "GetObject" || call.verb == "ListObjectsV2"),
        call.verb);
  }
}

BOOST_AUTO_TEST_CASE(repeating_it_changes_nothing_and_says_so) {
  add_chain();
  rewrapped(mine, wish_for({&fresh, &other}));
  store.forget_calls();
  const auto again = rewrapped(mine, wish_for({&other, &fresh}));
  BOOST_TEST(outcomes(again) ==
                 (std::vector<outcome>{outcome::already, outcome::already, outcome::closed}),
             boost::test_tools::per_element());
  BOOST_TEST(store.count("PutObject") == 0U);
  // What was made for just these is theirs already.
  const auto as_made = rewrapped(mine, wish_for({&other}));
  BOOST_TEST((as_made.all[2].is == outcome::already));
  // And who is told by the check for whom they are is told the truth.
  auto all = checked(mine);
  std::sort(all.all[0].recipients.begin(), all.all[0].recipients.end());
  std::vector<std::string> both = {fingerprint(fresh), fingerprint(other)};
  std::sort(both.begin(), both.end());
  BOOST_TEST(all.all[0].recipients == both, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_dry_run_writes_nothing_and_tells_what_would_be) {
  add_chain();
  auto wish = wish_for({&fresh});
  wish.dry_run = true;
  const auto all = rewrapped(mine, wish);
  BOOST_TEST(outcomes(all) == (std::vector<outcome>{outcome::would_rewrite, outcome::would_rewrite,
                                                    outcome::closed}),
             boost::test_tools::per_element());
  BOOST_TEST(store.count("PutObject") == 0U);
}

BOOST_AUTO_TEST_CASE(wherever_it_is_killed_every_backup_can_be_opened_and_the_next_run_ends_it) {
  for (const auto when : {memory_store::performed::no, memory_store::performed::yes}) {
    bool reached_the_end = false;
    for (std::size_t step = 1; !reached_the_end; ++step) {
      BOOST_REQUIRE(step < 100);
      scene here;
      for (int days = 12; days > 0; --days) {
        here.made.push_back(here.add_sealed(
            days, {&here.mine}, here.made.empty() ? "" : here.made.back().manifest_key));
      }
      sealed_backups all = here.found();
      here.store.forget_calls();
      here.store.fail_at(step, memory_store::lost_connection(), when);
      reached_the_end = here.rewrap(all, here.mine, here.wish_for({&here.fresh})).has_value();
      here.store.never_fail();
      for (const auto& one : here.made) {
        BOOST_TEST(here.opens(one, here.mine) != here.opens(one, here.fresh), step);
      }
      const auto again = here.rewrapped(here.mine, here.wish_for({&here.fresh}));
      BOOST_TEST((status_of_rewrap(again) == exit_status::done), step);
      for (const auto& one : here.made) {
        BOOST_TEST(here.opens(one, here.fresh), step);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_somebody_else_has_written_meanwhile_is_not_written_over) {
  made.push_back(add_sealed(2, {&mine}));
  bool once = true;
  store.judge_by([&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    if (call.verb == "PutObject" && std::exchange(once, false)) {
      store.put(made[0].keys_key, "another's");
    }
    return std::nullopt;
  });
  const auto all = rewrapped(mine, wish_for({&fresh}));
  BOOST_TEST(outcomes(all) == std::vector<outcome>{outcome::refused},
             boost::test_tools::per_element());
  BOOST_TEST(store.find(made[0].keys_key)->body == "another's");
  BOOST_TEST(all.all[0].problem.find("meanwhile") != std::string::npos, all.all[0].problem);
  BOOST_TEST((status_of_rewrap(all) == exit_status::failed));
}

BOOST_AUTO_TEST_CASE(what_was_pruned_meanwhile_does_not_come_back) {
  made.push_back(add_sealed(2, {&mine}));
  store.judge_by([&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    if (call.verb == "PutObject") {
      store.erase(made[0].keys_key);
    }
    return std::nullopt;
  });
  const auto all = rewrapped(mine, wish_for({&fresh}));
  BOOST_TEST((all.all[0].is == outcome::refused));
  BOOST_TEST(store.find(made[0].keys_key) == nullptr);
}

namespace {

// Says `failure` to the first `times` writes.
memory_store::judgement says_to_writes(engine::error failure, int times) {
  return [failure, times](const memory_store::recorded_call& call) mutable {
    return call.verb == "PutObject" && times-- > 0 ? std::optional(failure) : std::nullopt;
  };
}

engine::error said(engine::reason why, int status) {
  engine::error failure;
  failure.why = why;
  failure.status = status;
  failure.message = "no";
  return failure;
}

}  // namespace

BOOST_AUTO_TEST_CASE(stores_that_compare_badly_are_met_with_a_look) {
  for (const int status : {412, 409}) {
    scene here;
    here.made.push_back(here.add_sealed(2, {&here.mine}));
    here.store.judge_by(says_to_writes(said(engine::reason::precondition, status), 2));
    const auto all = here.rewrapped(here.mine, here.wish_for({&here.fresh}));
    BOOST_TEST((all.all[0].is == outcome::rewritten), status);
    BOOST_TEST(here.opens(here.made[0], here.fresh));
    // The manifest, the keys object, and that again before the second and the third attempt.
    BOOST_TEST(here.store.count("GetObject") == 4U);
  }
}

BOOST_AUTO_TEST_CASE(where_the_store_knows_no_condition_it_is_looked_at_right_before) {
  for (const bool changes : {false, true}) {
    scene here;
    here.made.push_back(here.add_sealed(2, {&here.mine}));
    const std::string& key = here.made[0].keys_key;
    int reads = 0;
    here.store.judge_by(
        [&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
          if (call.verb == "GetObject" && call.key == key && ++reads == 2 && changes) {
            here.store.put(key, "another's");
          }
          return std::nullopt;
        });
    sealed_backups all = here.found();
    auto connection = store_connection::open(here.with);
    BOOST_REQUIRE(connection.has_value());
    (*connection)->features().switch_off(s3::feature::match_condition);
    const rewrap_wish wish = here.wish_for({&here.fresh});
    const auto done =
        here.loop->run(rewrap_keys(here.with, **connection, std::span(&here.mine, 1), wish, all));
    here.loop->run((*connection)->close());
    BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
    BOOST_TEST(reads == 2);
    BOOST_TEST((all.all[0].is == (changes ? outcome::refused : outcome::rewritten)));
    BOOST_TEST((here.store.find(key)->body == "another's") == changes);
  }
}

BOOST_AUTO_TEST_CASE(
    a_store_that_allows_no_overwriting_is_told_with_the_object_and_all_is_as_before) {
  add_chain();
  store.judge_by(says_to_writes(memory_store::denied("k"), 100));
  const auto all = rewrapped(mine, wish_for({&fresh}));
  BOOST_TEST((all.all[0].is == outcome::refused));
  BOOST_TEST(all.all[0].problem.find(made[0].keys_key) != std::string::npos, all.all[0].problem);
  BOOST_TEST(all.all[0].problem.find("lock") != std::string::npos, all.all[0].problem);
  BOOST_TEST(opens(made[0], mine));
  BOOST_TEST((status_of_rewrap(all) == exit_status::failed));
}

BOOST_AUTO_TEST_CASE(a_bucket_without_backups_and_manifests_that_cannot_be_read_are_told) {
  BOOST_TEST(!loop->run(find_sealed_backups(with, store, "")).has_value());
  made.push_back(add_sealed(2, {&mine}));
  store.put("p/subvol/data/full/manifest-20260101T000000Z.json", "no manifest");
  const auto all = checked(mine);
  BOOST_TEST(all.unread.size() == 1U);
  BOOST_TEST((status_of_check(all) == exit_status::verification));
  BOOST_TEST(check_as_text(all, {}, zone).find("manifest-20260101T000000Z.json cannot be read") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_people_and_machines_read) {
  // One recipient each: the order of several is that of random keys.
  made.push_back(add_sealed(5, {&mine}));
  made.push_back(add_sealed(4, {&mine}, made[0].manifest_key));
  made.push_back(add_sealed(3, {&other}, made[1].manifest_key));
  made.push_back(add_sealed(1, {&other}, {}, "root"));
  made.push_back(add_sealed(0, {&mine}, made.back().manifest_key, "root"));
  add(planner::backup_kind::full, 9);
  const std::vector<std::pair<std::string, std::string>> names = {
      {fingerprint(mine), "SHA256:MINE"},
      {fingerprint(other), "SHA256:OTHER"},
      {fingerprint(fresh), "SHA256:FRESH"}};
  keys_context about;
  about.place = "s3://b/p";
  about.columns = 80;
  auto all = checked(mine);
  check_golden("keys-check.txt", with_names(check_as_text(all, about, zone), names));
  check_golden("keys-check.json", with_names(keys_as_json(all, about), names));
  store.erase(made[3].keys_key);
  about.recipients = {fingerprint(fresh)};
  auto wish = wish_for({&fresh});
  wish.dry_run = about.dry_run = true;
  all = rewrapped(mine, wish);
  check_golden("keys-rewrap-dry.txt", with_names(rewrap_as_text(all, about, zone), names));
  about.dry_run = wish.dry_run = false;
  all = rewrapped(mine, wish);
  check_golden("keys-rewrap.txt", with_names(rewrap_as_text(all, about, zone), names));
  check_golden("keys-rewrap.json", with_names(keys_as_json(all, about), names));
}

BOOST_AUTO_TEST_SUITE_END()
