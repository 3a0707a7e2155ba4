#include "planner/schedule.hh"

#include "tests/planner/zones.hh"

#include <boost/test/unit_test.hpp>

using namespace bts3::planner;
using bts3::testing::central_europe;
using bts3::testing::fixed_zone;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_days;

namespace {

timestamp at(const char* text) {
  return timestamp::parse(text).value();
}

sys_days date(const char* text) {
  return std::chrono::floor<days>(at(text).when());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(schedule_suite)

BOOST_AUTO_TEST_CASE(a_time_of_day_has_one_or_two_digits_and_two) {
  BOOST_TEST((time_of_day::parse("00:00") == minutes(0)));
  BOOST_TEST((time_of_day::parse("02:05") == minutes(125)));
  BOOST_TEST((time_of_day::parse("2:05") == minutes(125)));
  BOOST_TEST((time_of_day::parse("23:59") == minutes(1439)));
  for (const char* bad :
       {"", ":", ":00", "2:0", "24:00", "02:60", "02.00", "02:0x", "02:00 ", "-1:00", "-:00",
        "0x:00", "02:-1", "002:00", "02:000", "9:99", "\xff:00"}) {
    BOOST_TEST(!time_of_day::parse(bad).has_value(), bad);
  }
}

BOOST_AUTO_TEST_CASE(a_slot_begins_at_run_at_and_lasts_until_the_next) {
  const fixed_zone utc;
  BOOST_TEST((slot_of(at("20260110T020000Z"), minutes(120), utc) == date("20260110T000000Z")));
  BOOST_TEST((slot_of(at("20260110T015959Z"), minutes(120), utc) == date("20260109T000000Z")));
  BOOST_TEST((slot_of(at("20260110T235959Z"), minutes(120), utc) == date("20260110T000000Z")));
  BOOST_TEST((slot_of(at("20260110T000000Z"), minutes(0), utc) == date("20260110T000000Z")));
  BOOST_TEST((slot_begin(date("20260110T000000Z"), minutes(120), utc) == at("20260110T020000Z")));
}

BOOST_AUTO_TEST_CASE(an_interval_of_less_than_a_day_cuts_slots_into_turns) {
  const fixed_zone utc;
  schedule by;
  by.run_at = minutes(120);
  by.incremental_every = hours(6);
  BOOST_TEST((turn_begin(at("20260110T020000Z"), by, utc) == at("20260110T020000Z")));
  BOOST_TEST((turn_begin(at("20260110T075959Z"), by, utc) == at("20260110T020000Z")));
  BOOST_TEST((turn_begin(at("20260110T080000Z"), by, utc) == at("20260110T080000Z")));
  BOOST_TEST((turn_begin(at("20260110T015959Z"), by, utc) == at("20260109T200000Z")));
  BOOST_TEST((next_turn_begin(at("20260110T081500Z"), by, utc) == at("20260110T140000Z")));
  BOOST_TEST((incremental_due_after(at("20260110T200001Z"), by, utc) == at("20260111T020000Z")));
  // One that does not divide the day: each slot begins anew.
  by.incremental_every = hours(7);
  BOOST_TEST((turn_begin(at("20260111T000000Z"), by, utc) == at("20260110T230000Z")));
  BOOST_TEST((next_turn_begin(at("20260111T000000Z"), by, utc) == at("20260111T020000Z")));
  BOOST_TEST(incremental_interval(by) == "7 hours");
  by.incremental_every = minutes(90);
  BOOST_TEST(incremental_interval(by) == "90 minutes");
  by.incremental_every = minutes(0);
  BOOST_TEST((incremental_due_after(at("20260110T030000Z"), by, utc) == at("20260117T020000Z")));
  BOOST_TEST(incremental_interval(by) == "7 days");
}

BOOST_AUTO_TEST_CASE(turns_never_go_back_where_the_clock_does) {
  const central_europe zone;  // 25 October 2026: 03:00 becomes 02:00, at 01:00 UTC
  for (const auto run_at : {minutes(0), minutes(120), minutes(150), minutes(179), minutes(1410)}) {
    for (const auto every : {minutes(15), minutes(60), minutes(420), minutes(1439)}) {
      schedule by;
      by.run_at = run_at;
      by.incremental_every = every;
      timestamp before = turn_begin(at("20261024T000000Z"), by, zone);
      for (const char* start : {"20261024T000000Z", "20260328T000000Z"}) {
        before = turn_begin(at(start), by, zone);
        for (auto when = at(start).when(); when < at(start).when() + days(3); when += minutes(25)) {
          const timestamp turn = turn_begin(timestamp(when), by, zone);
          BOOST_REQUIRE((turn >= before));
          BOOST_REQUIRE((turn.when() <= when));
          BOOST_REQUIRE((next_turn_begin(timestamp(when), by, zone).when() > when));
          before = turn;
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(slots_are_local) {
  const fixed_zone tokyo(hours(9));
  // 17:30 UTC is half past two in the morning of the next day.
  BOOST_TEST((slot_of(at("20260109T173000Z"), minutes(120), tokyo) == date("20260110T000000Z")));
  BOOST_TEST((slot_begin(date("20260110T000000Z"), minutes(120), tokyo) == at("20260109T170000Z")));
  BOOST_TEST(local_text(at("20260109T173000Z"), tokyo) == "2026-01-10 02:30+09");
}

BOOST_AUTO_TEST_CASE(a_skipped_hour_does_not_skip_its_slot) {
  const central_europe zone;  // 29 March 2026: 02:00 becomes 03:00, at 01:00 UTC
  BOOST_TEST((slot_of(at("20260329T005959Z"), minutes(150), zone) == date("20260328T000000Z")));
  BOOST_TEST((slot_of(at("20260329T010000Z"), minutes(150), zone) == date("20260329T000000Z")));
  BOOST_TEST((slot_begin(date("20260329T000000Z"), minutes(150), zone) == at("20260329T010000Z")));
}

BOOST_AUTO_TEST_CASE(a_repeated_hour_has_one_slot) {
  const central_europe zone;  // 25 October 2026: 03:00 becomes 02:00 again, at 01:00 UTC
  BOOST_TEST((slot_begin(date("20261025T000000Z"), minutes(150), zone) == at("20261025T003000Z")));
  BOOST_TEST((slot_of(at("20261025T002959Z"), minutes(150), zone) == date("20261024T000000Z")));
  BOOST_TEST((slot_of(at("20261025T003000Z"), minutes(150), zone) == date("20261025T000000Z")));
  // The clock shows 02:00 again, before half past two, and the slot goes on.
  BOOST_TEST((slot_of(at("20261025T010000Z"), minutes(150), zone) == date("20261025T000000Z")));
  BOOST_TEST((slot_of(at("20261025T013000Z"), minutes(150), zone) == date("20261025T000000Z")));
}

BOOST_AUTO_TEST_CASE(slots_never_go_back_and_come_one_a_day) {
  const central_europe zone;
  for (const minutes run_at : {minutes(0), minutes(1), minutes(119), minutes(120), minutes(150),
                               minutes(179), minutes(180), minutes(1439)}) {
    sys_days last = slot_of(at("20260101T000000Z"), run_at, zone);
    for (auto now = at("20260101T000000Z").when(); now < at("20270101T000000Z").when();
         now += minutes(7)) {
      const sys_days slot = slot_of(timestamp(now), run_at, zone);
      BOOST_REQUIRE(slot >= last);
      BOOST_REQUIRE(slot - last <= days(1));
      if (slot != last) {
        const auto begin = slot_begin(slot, run_at, zone).when();
        BOOST_REQUIRE(begin <= now && now - begin < minutes(7));
        BOOST_REQUIRE(slot_of(timestamp(begin), run_at, zone) == slot);
        BOOST_REQUIRE(slot_of(timestamp(begin - seconds(1)), run_at, zone) == last);
      }
      last = slot;
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
