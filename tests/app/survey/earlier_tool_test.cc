#include "app/survey/observer.hh"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <string>

using namespace bts3;
using namespace bts3::app;

namespace {

btrfs::uuid id_of(const std::string& two_digits) {
  return *btrfs::uuid::parse("00000000-0000-0000-0000-0000000000" + two_digits);
}

planner::timestamp at(const std::string& compact) {
  return *planner::timestamp::parse(compact);
}

link_summary link(const std::string& when, bool of_earlier_tool) {
  link_summary made;
  made.when = at(when);
  made.of_earlier_tool = of_earlier_tool;
  return made;
}

// Made of the source, `late` seconds behind the time in its name.
btrfs::snapshot snapshot(const std::string& time, std::int64_t late = 0) {
  btrfs::snapshot made;
  made.time = time;
  made.info.parent_uuid = id_of("01");
  made.info.made_at = at(time).when().time_since_epoch().count() + late;
  return made;
}

// A chain of two links of the earlier tool.
subvolume_view view_of_its_chain() {
  subvolume_view view;
  view.source = id_of("01");
  view.chain = {link("20260101T000000Z", true), link("20260102T000000Z", true)};
  return view;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(earlier_tool_suite)

BOOST_AUTO_TEST_CASE(what_failed_runs_of_the_earlier_tool_left_is_known_by_what_the_kernel_says) {
  const subvolume_view view = view_of_its_chain();
  for (const std::int64_t late : {0, 1, 60}) {
    BOOST_TEST(view.left_by_earlier_tool(snapshot("20260101T120000Z", late)));
  }
  // Before its first backup, and after its last.
  BOOST_TEST(view.left_by_earlier_tool(snapshot("20251231T000000Z")));
  BOOST_TEST(view.left_by_earlier_tool(snapshot("20260301T000000Z")));
}

BOOST_AUTO_TEST_CASE(nothing_else_is_taken_for_it) {
  const subvolume_view view = view_of_its_chain();
  // A name that does not tell when it was made: somebody gave it.
  for (const std::int64_t late : {-3600, -1, 61, 86'400}) {
    BOOST_TEST(!view.left_by_earlier_tool(snapshot("20260101T120000Z", late)));
  }
  btrfs::snapshot foreign = snapshot("20260101T120000Z");
  foreign.info.parent_uuid = id_of("02");
  BOOST_TEST(!view.left_by_earlier_tool(foreign));
  btrfs::snapshot nameless = snapshot("20260101T120000Z");
  nameless.time = "yesterday";
  BOOST_TEST(!view.left_by_earlier_tool(nameless));
  subvolume_view sourceless = view;
  sourceless.source.reset();
  BOOST_TEST(!sourceless.left_by_earlier_tool(snapshot("20260101T120000Z")));
  subvolume_view unreadable = view;
  unreadable.chain.clear();
  BOOST_TEST(!unreadable.left_by_earlier_tool(snapshot("20260101T120000Z")));
}

// This program leaves no snapshot without a journal: what is there besides is somebody else's.
BOOST_AUTO_TEST_CASE(from_the_first_backup_of_this_program_on_nothing_is_its) {
  subvolume_view view = view_of_its_chain();
  view.chain.push_back(link("20260103T000000Z", false));
  BOOST_TEST(view.left_by_earlier_tool(snapshot("20260102T235959Z")));
  BOOST_TEST(!view.left_by_earlier_tool(snapshot("20260103T000000Z")));
  BOOST_TEST(!view.left_by_earlier_tool(snapshot("20260104T000000Z")));
  view.chain = {link("20260201T000000Z", false)};
  BOOST_TEST(!view.left_by_earlier_tool(snapshot("20260101T120000Z")));
}

BOOST_AUTO_TEST_SUITE_END()
