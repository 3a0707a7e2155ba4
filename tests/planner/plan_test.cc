#include "planner/plan.hh"

#include <boost/test/unit_test.hpp>

using namespace bts3::planner;

namespace {

observation usual() {
  observation seen;
  seen.subvolume = "data";
  seen.pointer_exists = true;
  seen.last.emplace();
  seen.last->host_id = "here";
  seen.last->host_name = "alpha";
  seen.last_key = "k";
  seen.parent_snapshot = "/s/old";
  seen.own_host_id = "here";
  return seen;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(plan_suite)

BOOST_AUTO_TEST_CASE(a_usable_parent_gives_an_incremental) {
  const plan decided = decide(usual());
  BOOST_TEST((decided.what == action::incremental));
  BOOST_TEST(decided.reason == "parent_present");
  BOOST_TEST(*decided.parent_snapshot == "/s/old");
  BOOST_TEST(*decided.parent_manifest == "k");
}

BOOST_AUTO_TEST_CASE(each_obstacle_gives_a_full_with_its_own_reason) {
  observation first;
  first.subvolume = "data";
  BOOST_TEST(decide(first).reason == "first_backup");
  observation unreadable = usual();
  unreadable.last.reset();
  unreadable.pointer_problem = "no JSON";
  BOOST_TEST(decide(unreadable).reason == "manifest_unusable");
  BOOST_TEST(decide(unreadable).sentence.find("no JSON") != std::string::npos);
  observation broken = usual();
  broken.chain_problem = "parent gone";
  BOOST_TEST(decide(broken).reason == "chain_broken");
  observation lost = usual();
  lost.chunk_problem = "chunk gone";
  BOOST_TEST(decide(lost).reason == "chunk_missing");
  observation orphan = usual();
  orphan.parent_snapshot.reset();
  orphan.parent_problem = "was changed";
  BOOST_TEST(decide(orphan).reason == "parent_missing");
  BOOST_TEST(decide(orphan).sentence.find("was changed") != std::string::npos);
  for (const observation& seen : {first, unreadable, broken, lost, orphan}) {
    BOOST_TEST((decide(seen).what == action::full));
    BOOST_TEST(!decide(seen).parent_manifest.has_value());
  }
}

BOOST_AUTO_TEST_CASE(another_hosts_chain_stops_the_backup_unless_its_snapshot_is_here) {
  observation foreign = usual();
  foreign.own_host_id = "elsewhere";
  BOOST_TEST((decide(foreign).what == action::incremental));
  foreign.parent_snapshot.reset();
  BOOST_TEST((decide(foreign).what == action::stop));
  BOOST_TEST(decide(foreign).reason == "foreign_host");
  BOOST_TEST(decide(foreign).sentence.find("alpha") != std::string::npos);
  foreign.last->host_id.clear();
  BOOST_TEST((decide(foreign).what == action::full));
}

BOOST_AUTO_TEST_SUITE_END()
