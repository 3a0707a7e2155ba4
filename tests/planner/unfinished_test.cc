#include "planner/unfinished.hh"
#include "planner/retention.hh"

#include <boost/test/unit_test.hpp>

using namespace bts3::planner;
using std::chrono::hours;

namespace {

timestamp at(const char* text) {
  return timestamp::parse(text).value();
}

unfinished_backup resumable() {
  unfinished_backup seen;
  seen.began = at("20260120T020000Z");
  seen.pointer_unmoved = true;
  return seen;
}

std::string verdict_on(const unfinished_backup& seen, const char* now = "20260121T020000Z") {
  const unfinished_verdict verdict = decide_unfinished(seen, at(now), hours(24 * 7), "the limit");
  BOOST_TEST(!verdict.sentence.empty());
  return std::string(to_string(verdict.what)) + " " + verdict.reason;
}

local_snapshot snapshot(const char* name, std::uint64_t made_in, bool published = true,
                        bool needed = false) {
  return local_snapshot{name, made_in, published, needed};
}

using names = std::vector<std::string>;

}  // namespace

BOOST_AUTO_TEST_SUITE(unfinished_suite)

BOOST_AUTO_TEST_CASE(the_questions_are_asked_in_their_order) {
  unfinished_backup seen = resumable();
  BOOST_TEST(verdict_on(seen) == "resume resumable");
  seen.parent_problem = "p";
  BOOST_TEST(verdict_on(seen) == "abandon parent_unusable");
  seen.snapshot_problem = "s";
  BOOST_TEST(verdict_on(seen) == "abandon snapshot_unusable");
  BOOST_TEST(verdict_on(seen, "20260127T020001Z") == "abandon expired");
  seen.settings_problem = "f";
  BOOST_TEST(verdict_on(seen) == "abandon settings_changed");
  seen.place_problem = "b";
  BOOST_TEST(verdict_on(seen) == "abandon place_changed");
  seen.configured = false;
  BOOST_TEST(verdict_on(seen) == "abandon not_configured");
  // Whatever else has changed: what is complete is published.
  seen.manifest_is_there = true;
  BOOST_TEST(verdict_on(seen) == "publish manifest_written");
  seen.pointer_unmoved = false;
  BOOST_TEST(verdict_on(seen) == "release superseded");
  seen.manifest_is_there = false;
  BOOST_TEST(verdict_on(seen) == "abandon pointer_moved");
  seen.pointer_names_it = true;
  BOOST_TEST(verdict_on(seen) == "record published");
  seen.set_aside = true;
  BOOST_TEST(verdict_on(seen) == "release published");
  seen.local_only = true;
  BOOST_TEST(verdict_on(seen) == "abandon local_only");
}

// Given up by a run that may not have seen its place.
BOOST_AUTO_TEST_CASE(what_was_set_aside_is_undone_unless_its_manifest_is_there) {
  unfinished_backup seen = resumable();
  seen.set_aside = true;
  BOOST_TEST(verdict_on(seen) == "abandon given_up");
  seen.manifest_is_there = true;
  BOOST_TEST(verdict_on(seen) == "release published");
  seen.pointer_unmoved = false;
  BOOST_TEST(verdict_on(seen) == "release published");
  seen.manifest_is_there = false;
  BOOST_TEST(verdict_on(seen) == "abandon given_up");
}

// Neither "moved" nor "absent": nothing is concluded from what cannot be read.
BOOST_AUTO_TEST_CASE(what_is_not_understood_is_left_as_it_is) {
  for (const bool set_aside : {false, true}) {
    unfinished_backup seen = resumable();
    seen.set_aside = set_aside;
    seen.manifest_problem = "it is a page";
    BOOST_TEST(verdict_on(seen) == "leave not_understood");
    seen.pointer_unmoved = false;
    BOOST_TEST(verdict_on(seen) == "leave not_understood");
    seen.manifest_problem.clear();
    seen.pointer_problem = "it was cut";
    BOOST_TEST(verdict_on(seen) == "leave not_understood");
    // The same damaged pointer as before the backup: nobody moved it.
    seen.pointer_unmoved = true;
    BOOST_TEST(verdict_on(seen) == (set_aside ? "abandon given_up" : "resume resumable"));
    // Whatever else is understood counts.
    seen.pointer_unmoved = false;
    seen.manifest_is_there = true;
    BOOST_TEST(verdict_on(seen) == (set_aside ? "release published" : "release superseded"));
  }
}

BOOST_AUTO_TEST_CASE(a_backup_whose_keys_another_has_is_not_gone_on_with) {
  unfinished_backup seen = resumable();
  seen.manifest_is_anothers = true;
  BOOST_TEST(verdict_on(seen) == "abandon second_writer");
  seen.pointer_unmoved = false;
  BOOST_TEST(verdict_on(seen) == "abandon pointer_moved");
}

BOOST_AUTO_TEST_CASE(an_upload_expires_after_resume_for_and_not_by_a_clock_set_back) {
  BOOST_TEST(verdict_on(resumable(), "20260127T020000Z") == "resume resumable");
  BOOST_TEST(verdict_on(resumable(), "20260127T020001Z") == "abandon expired");
  BOOST_TEST(verdict_on(resumable(), "20250101T000000Z") == "resume resumable");
}

// A first full that takes weeks of nights; and a clock that was wrong when it began.
BOOST_AUTO_TEST_CASE(an_upload_expires_by_its_last_progress_and_not_by_its_beginning) {
  unfinished_backup seen = resumable();
  seen.last_progress = at("20260210T050000Z");
  BOOST_TEST(verdict_on(seen, "20260217T050000Z") == "resume resumable");
  BOOST_TEST(verdict_on(seen, "20260217T050001Z") == "abandon expired");
  seen.began = at("19700101T000100Z");
  BOOST_TEST(verdict_on(seen, "20260217T050000Z") == "resume resumable");
  seen.began = at("20990101T000000Z");
  BOOST_TEST(verdict_on(seen, "20260217T050001Z") == "abandon expired");
}

BOOST_AUTO_TEST_CASE(the_newest_snapshots_stay_whatever_their_names_say) {
  // The clock was wrong when the second was made.
  const std::vector<local_snapshot> all = {
      snapshot("d__20260101T000000Z__full", 10), snapshot("d__20990101T000000Z__inc", 20),
      snapshot("d__20260103T000000Z__inc", 30), snapshot("d__20260104T000000Z__inc", 40)};
  BOOST_TEST(judge_snapshots(all, 1).remove ==
                 names({"d__20260101T000000Z__full", "d__20990101T000000Z__inc",
                        "d__20260103T000000Z__inc"}),
             boost::test_tools::per_element());
  BOOST_TEST(judge_snapshots(all, 3).remove == names({"d__20260101T000000Z__full"}),
             boost::test_tools::per_element());
  BOOST_TEST(judge_snapshots(all, 4).remove.empty());
}

BOOST_AUTO_TEST_CASE(what_is_needed_stays_and_what_nobody_knows_is_reported) {
  const std::vector<local_snapshot> all = {
      snapshot("old_parent", 10, true, true), snapshot("stray", 20, false), snapshot("second", 30),
      snapshot("newest", 40), snapshot("in_flight", 50, false, true)};
  const snapshot_verdict verdict = judge_snapshots(all, 1);
  BOOST_TEST(verdict.remove == names({"second"}), boost::test_tools::per_element());
  BOOST_TEST(verdict.unexplained == names({"stray"}), boost::test_tools::per_element());
  BOOST_TEST(judge_snapshots({}, 2).remove.empty());
}

BOOST_AUTO_TEST_SUITE_END()
