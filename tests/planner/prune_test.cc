// What prune may delete: each rule alone.
#include "planner/prune.hh"

#include "tests/planner/built_bucket.hh"

#include <boost/test/unit_test.hpp>

#include <set>
#include <string>
#include <vector>

using namespace bts3::planner;
using namespace bts3::planner::testing;
using bucket = bts3::planner::testing::built_bucket;

namespace {

// Three generations of a full and two incrementals each, 200, 100 and 20 days old.
struct three_generations : bucket {
  three_generations() {
    for (const int age : {200, 100, 20}) {
      const std::string full = add(backup_kind::full, ago(days(age)), {}, 2);
      const std::string first = add(backup_kind::incremental, ago(days(age - 7)), full);
      seen.current = add(backup_kind::incremental, ago(days(age - 14)), first);
      object(keys.pointer(), 5, ago(days(age - 14)));
      seen.verified.insert(full);
      fulls.push_back(full);
    }
  }
  std::vector<std::string> fulls;  // oldest first
};

std::vector<std::string> reasons(const prune_plan& plan) {
  std::vector<std::string> words;
  for (const judged_generation& one : plan.generations) {
    words.push_back(one.reason);
  }
  return words;
}

std::set<std::string> removed(const prune_plan& plan) {
  std::set<std::string> all;
  for (const removal& one : plan.removals) {
    all.insert(one.key);
  }
  return all;
}

using words = std::vector<std::string>;

void check_words(const prune_plan& plan, const words& expected) {
  const words got = reasons(plan);
  BOOST_TEST(got == expected, boost::test_tools::per_element());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(prune_suite)

BOOST_AUTO_TEST_CASE(the_newest_generations_stay) {
  const three_generations made;
  const prune_plan two = made.judge(2);
  BOOST_TEST(two.held_back == "");
  check_words(two, {"current", "retained", "superseded"});
  // Children before parents, manifests before chunks.
  BOOST_REQUIRE(two.removals.size() == 7U);
  BOOST_TEST(two.removals[0].key == keys.manifest(backup_kind::incremental, ago(days(186))));
  BOOST_TEST(two.removals[1].key == keys.manifest(backup_kind::incremental, ago(days(193))));
  BOOST_TEST(two.removals[2].key == made.fulls[0]);
  BOOST_TEST(two.removals[3].key == keys.chunk(backup_kind::full, ago(days(200)), 0));
  for (const removal& one : two.removals) {
    BOOST_TEST(one.generation == made.fulls[0]);
  }
  BOOST_TEST(two.bytes() == 430U);

  check_words(made.judge(1), {"current", "superseded", "superseded"});
  BOOST_TEST(made.judge(1).removals.size() == 14U);
  BOOST_TEST(made.judge(3).removals.empty());
  BOOST_TEST(made.judge(9).removals.empty());
}

BOOST_AUTO_TEST_CASE(nothing_goes_by_default) {
  three_generations made;
  made.object(keys.chunk(backup_kind::full, ago(days(400)), 0), 1, ago(days(400)));
  made.seen.uploads.push_back(
      {keys.chunk(backup_kind::full, ago(days(400)), 1), "u", ago(days(400))});
  const prune_plan plan = made.judge(0);
  BOOST_TEST(plan.held_back.find("the number of generations to keep is 0") != std::string::npos);
  BOOST_TEST(plan.removals.empty());
  BOOST_TEST(plan.uploads.empty());
  BOOST_TEST(plan.orphans_kept == 1U);
}

BOOST_AUTO_TEST_CASE(an_unverified_full_holds_everything_back) {
  three_generations made;
  made.seen.verified.erase(made.fulls[2]);
  const prune_plan plan = made.judge(1);
  BOOST_TEST(plan.held_back.find(made.fulls[2]) != std::string::npos);
  BOOST_TEST(plan.held_back.find("verify") != std::string::npos);
  BOOST_TEST(plan.removals.empty());
  check_words(plan, {"current", "held", "held"});
}

BOOST_AUTO_TEST_CASE(a_pointer_that_leads_nowhere_holds_everything_back) {
  three_generations made;
  made.seen.current.clear();
  made.seen.pointer_problem = "it is missing";
  BOOST_TEST(made.judge(1).removals.empty());
  BOOST_TEST(made.judge(1).held_back.find("it is missing") != std::string::npos);

  three_generations unresolved;
  unresolved.erase(unresolved.fulls[2]);
  BOOST_TEST(unresolved.judge(1).removals.empty());
  BOOST_TEST(unresolved.judge(1).held_back.find("does not resolve") != std::string::npos);

  three_generations damaged;
  damaged.erase(keys.chunk(backup_kind::full, ago(days(20)), 1));
  BOOST_TEST(damaged.judge(1).removals.empty());
  BOOST_TEST(damaged.judge(1).held_back.find("not restorable") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(another_hosts_backups_are_its_own_to_prune) {
  three_generations made;
  made.seen.own_host_id = "11";
  made.seen.all.manifests.at(made.seen.current).host_id = "22";
  made.seen.all.manifests.at(made.seen.current).host_name = "beta";
  const prune_plan plan = made.judge(1);
  BOOST_TEST(plan.removals.empty());
  BOOST_TEST(plan.held_back.find("of host beta") != std::string::npos);
  // Taking over stops the host that is there: only for one that is gone.
  BOOST_TEST(plan.held_back.find("run prune on that host, with a key that may delete; only if that "
                                 "host is gone and this one replaces it, take over with "
                                 "`btrfs_to_s3 backup --adopt`") != std::string::npos,
             plan.held_back);
}

BOOST_AUTO_TEST_CASE(one_step_backwards_of_a_clock_does_not_hold_prune_for_ever) {
  // Dual boot: an incremental is dated hours before its parent.
  three_generations made;
  made.add(backup_kind::incremental, ago(days(101)), made.fulls[1]);
  made.object(keys.manifest(backup_kind::incremental, ago(days(101))), 10, ago(days(99)));
  const prune_plan plan = made.judge(2);
  BOOST_TEST(plan.held_back == "");
  BOOST_TEST(plan.wrong_clock.find("before its parent") != std::string::npos, plan.wrong_clock);
  check_words(plan, {"current", "retained", "superseded"});
  BOOST_TEST(plan.removals.size() == 7U);
  BOOST_TEST(three_generations().judge(2).wrong_clock == "");
}

BOOST_AUTO_TEST_CASE(what_either_the_dates_or_the_stores_times_keep_stays) {
  // A full by a clock that was a year ahead, the newest but one by the store's time.
  three_generations made;
  const timestamp ahead(now.when() + days(300));
  const std::string wrong = made.add(backup_kind::full, ahead);
  made.seen.verified.insert(wrong);
  made.object(wrong, 10, ago(days(60)));
  const prune_plan plan = made.judge(2);
  BOOST_TEST(plan.held_back == "");
  BOOST_TEST(plan.wrong_clock.find("after the store got it") != std::string::npos);
  // By dates it is newer than the current one, and the middle one the second; by the store's times
  // it is the second itself.
  check_words(plan, {"newer", "current", "retained", "superseded"});
  // Behind the current one by both, once its year has passed.
  made.object(wrong, 10, ago(days(150)));
  check_words(made.judge(1), {"newer", "current", "superseded", "superseded"});
  // By a clock that was behind: the store got it last but one, and keeps it.
  three_generations behind;
  const std::string old = behind.add(backup_kind::full, ago(days(9000)));
  behind.seen.verified.insert(old);
  behind.object(old, 10, ago(days(50)));
  behind.add(backup_kind::incremental, ago(days(9001)), old);
  check_words(behind.judge(2), {"current", "retained", "superseded", "retained"});
}

BOOST_AUTO_TEST_CASE(of_a_backup_only_its_own_chunks_go) {
  three_generations made;
  const std::string newer = keys.root() + "full/chunk-20260101T000000Z-zst-0.bin";
  const std::string notes = keys.root() + "full/notes.txt";
  const std::string orphan = keys.chunk(backup_kind::full, ago(days(3)), 0);
  const std::string other_writer = keys.chunk(backup_kind::full, ago(days(200)), 0, "0123abcd");
  const std::string other_kind = keys.chunk(backup_kind::incremental, ago(days(200)), 0);
  for (const std::string& key : {newer, notes, orphan, other_writer, other_kind}) {
    made.object(key, 100, ago(days(3)));
  }
  manifest& planted = made.seen.all.manifests.at(made.fulls[0]);
  for (const std::string& key : {newer, notes, orphan, other_writer, other_kind, keys.pointer(),
                                 made.fulls[1], keys.chunk(backup_kind::full, ago(days(100)), 0)}) {
    chunk_record chunk;
    chunk.key = key;
    chunk.size = made.seen.all.objects.at(key).size;
    planted.chunks.push_back(chunk);
  }
  const prune_plan plan = made.judge(1);
  BOOST_TEST(plan.held_back == "");
  const std::set<std::string> gone = removed(plan);
  for (const std::string& key : {newer, notes, orphan, other_writer, other_kind, keys.pointer()}) {
    BOOST_TEST(!gone.contains(key), key);
  }
  BOOST_TEST(gone.contains(keys.chunk(backup_kind::full, ago(days(200)), 1)));
  BOOST_TEST(gone.size() == 14U);
  // What names others' chunks counts for nothing, whole or not.
  check_words(made.judge(3), {"current", "retained", "names what is not its own"});
  three_generations middle;
  middle.seen.all.manifests.at(middle.fulls[1])
      .chunks.push_back(middle.seen.all.manifests.at(middle.fulls[0]).chunks[0]);
  check_words(middle.judge(2), {"current", "names what is not its own", "retained"});
}

BOOST_AUTO_TEST_CASE(a_generation_that_was_never_verified_pushes_none_out) {
  three_generations made;
  const std::string planted = made.add(backup_kind::full, ago(days(50)));
  check_words(made.judge(2), {"current", "not verified", "retained", "superseded"});
  made.seen.verified.insert(planted);
  check_words(made.judge(2), {"current", "retained", "superseded", "superseded"});
}

BOOST_AUTO_TEST_CASE(generations_of_other_hosts_push_none_out) {
  three_generations made;
  made.seen.own_host_id = "11";
  for (auto& [key, what] : made.seen.all.manifests) {
    what.host_id = "11";
  }
  made.seen.all.manifests.at(made.fulls[1]).host_id = "22";
  made.seen.all.manifests.at(made.fulls[1]).host_name = "beta";
  check_words(made.judge(2), {"current", "of host beta", "retained"});
  // Nor does one that does not tell, nor one with a single link of another host.
  made.seen.all.manifests.at(made.fulls[1]).host_id = "";
  check_words(made.judge(2), {"current", "of an unknown host", "retained"});
  made.seen.all.manifests.at(made.fulls[1]).host_id = "11";
  check_words(made.judge(2), {"current", "retained", "superseded"});
  made.seen.all.manifests.at(keys.manifest(backup_kind::incremental, ago(days(93)))).host_id = "22";
  check_words(made.judge(2), {"current", "of host 22", "retained"});
}

// Whoever replaces a manifest by one that names less has not made the rest of it orphans.
BOOST_AUTO_TEST_CASE(chunks_beside_a_manifest_of_their_time_are_no_orphans) {
  three_generations made;
  made.seen.all.manifests.at(made.fulls[1]).chunks.clear();
  const prune_plan plan = made.judge(2);
  BOOST_TEST(!removed(plan).contains(keys.chunk(backup_kind::full, ago(days(100)), 0)));
  BOOST_TEST(plan.orphans_kept == 2U);
}

BOOST_AUTO_TEST_CASE(damaged_generations_do_not_count) {
  three_generations made;
  made.erase(keys.chunk(backup_kind::full, ago(days(100)), 1));
  // The middle one is damaged: the oldest is the second that can be restored.
  check_words(made.judge(2), {"current", "damaged", "retained"});
  BOOST_TEST(made.judge(2).removals.empty());
  check_words(made.judge(1), {"current", "superseded", "superseded"});

  three_generations oldest;
  oldest.seen.all.objects[keys.chunk(backup_kind::full, ago(days(200)), 0)].size = 99;
  check_words(oldest.judge(2), {"current", "retained", "superseded"});
}

BOOST_AUTO_TEST_CASE(lost_links_and_what_they_name_stay) {
  three_generations made;
  const std::string lost = made.add(backup_kind::incremental, ago(days(150)), "no/such/manifest");
  const prune_plan plan = made.judge(1);
  BOOST_REQUIRE(plan.lost.size() == 1U);
  BOOST_TEST(plan.lost[0].key == lost);
  BOOST_TEST(plan.lost[0].problem.find("such/manifest") != std::string::npos);
  BOOST_TEST(!removed(plan).contains(lost));
  BOOST_TEST(!removed(plan).contains(keys.chunk(backup_kind::incremental, ago(days(150)), 0)));

  three_generations circle;
  const std::string a = keys.manifest(backup_kind::incremental, ago(days(151)));
  const std::string b = circle.add(backup_kind::incremental, ago(days(150)), a);
  circle.add(backup_kind::incremental, ago(days(151)), b);
  BOOST_TEST(circle.judge(1).lost.size() == 2U);
  BOOST_TEST(circle.judge(1).lost[0].problem.find("circle") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(orphans_go_when_they_are_old) {
  three_generations made;
  const auto orphan = [&](int age, std::uint32_t index) {
    const std::string key = keys.chunk(backup_kind::incremental, ago(days(age)), index);
    made.object(key, 7, ago(days(age)));
    return key;
  };
  const std::string old = orphan(8, 0);
  const std::string young = orphan(5, 0);
  const std::string being_made = orphan(9, 0);
  made.seen.in_the_making.insert(ago(days(9)));
  const prune_plan plan = made.judge(3);
  BOOST_TEST(removed(plan) == std::set<std::string>{old}, boost::test_tools::per_element());
  BOOST_TEST(plan.orphans_kept == 2U);

  // One unreadable manifest may name any of them.
  made.seen.all.unreadable["hosts/alpha/subvol/data/full/manifest-20200101T000000Z.json"] = "cut";
  BOOST_TEST(made.judge(3).removals.empty());
  BOOST_TEST(made.judge(3).orphans_kept == 3U);
}

BOOST_AUTO_TEST_CASE(open_uploads_go_when_they_are_old_and_ours) {
  three_generations made;
  const auto upload = [&](const std::string& key, int age) {
    made.seen.uploads.push_back({key, "id" + std::to_string(age), ago(days(age))});
  };
  upload(keys.chunk(backup_kind::full, ago(days(8)), 0), 8);
  upload(keys.chunk(backup_kind::full, ago(days(6)), 0), 6);
  upload(keys.chunk(backup_kind::full, ago(days(9)), 0), 9);
  upload(keys.root() + "somebody-elses.bin", 10);
  upload(keys.probe(ago(days(11))), 11);
  made.seen.in_the_making.insert(ago(days(9)));
  const prune_plan plan = made.judge(1);
  BOOST_REQUIRE(plan.uploads.size() == 2U);
  BOOST_TEST(plan.uploads[0].upload_id == "id8");
  BOOST_TEST(plan.uploads[1].upload_id == "id11");
}

BOOST_AUTO_TEST_CASE(what_is_not_ours_stays_and_is_reported) {
  three_generations made;
  for (const char* name :
       {"notes.txt", "full/chunk-1.bin", "full/chunk-20250101T000000Z-01.bin",
        "full/chunk-20250101T000000Z-0.bin.bak", "full/chunk-20250101T000000Z-.bin",
        "incremental/manifest-x.json", "full/sub/chunk-20250101T000000Z-0.bin"}) {
    made.object(keys.root() + name, 1, ago(days(300)));
  }
  const prune_plan plan = made.judge(1);
  BOOST_TEST(plan.foreign.size() == 7U);
  for (const std::string& key : plan.foreign) {
    BOOST_TEST(!removed(plan).contains(key));
  }
}

BOOST_AUTO_TEST_CASE(a_copied_bucket_is_pruned_where_it_lies) {
  // Manifests that record another prefix; the objects lie beside them.
  three_generations made;
  for (auto& [key, what] : made.seen.all.manifests) {
    const auto elsewhere = [](const std::string& text) { return "old/place/" + text; };
    for (chunk_record& chunk : what.chunks) {
      chunk.key = elsewhere(chunk.key);
    }
    if (what.parent_manifest) {
      what.parent_manifest = elsewhere(*what.parent_manifest);
    }
  }
  const prune_plan plan = made.judge(2);
  check_words(plan, {"current", "retained", "superseded"});
  BOOST_TEST(plan.removals.size() == 7U);
  for (const removal& one : plan.removals) {
    BOOST_TEST(one.key.starts_with(keys.root()));
  }
}

BOOST_AUTO_TEST_CASE(early_deletion_is_counted) {
  bucket made;
  made.add(backup_kind::full, ago(days(60)), {}, 2, "DEEP_ARCHIVE");
  made.seen.current = made.add(backup_kind::full, ago(days(10)), {}, 1, "DEEP_ARCHIVE");
  made.seen.verified.insert(made.seen.current);
  const prune_plan plan = made.judge(1);
  BOOST_REQUIRE(plan.early.contains("DEEP_ARCHIVE"));
  BOOST_TEST(plan.early.size() == 1U);
  BOOST_TEST(plan.early.at("DEEP_ARCHIVE").objects == 2U);
  // Two chunks of 100 bytes with 120 days left.
  BOOST_TEST(plan.early.at("DEEP_ARCHIVE").byte_days == 24'000.0,
             boost::test_tools::tolerance(1e-9));
  // Another store charges for other times.
  made.by.minimum_days["DEEP_ARCHIVE"] = days(61);
  BOOST_TEST(made.judge(1).early.at("DEEP_ARCHIVE").byte_days == 200.0,
             boost::test_tools::tolerance(1e-9));
  made.by.minimum_days["DEEP_ARCHIVE"] = days(0);
  BOOST_TEST(made.judge(1).early.empty());
}

BOOST_AUTO_TEST_SUITE_END()
