#include "s3/verbs/archive_thaw.hh"

#include "tests/s3/http/fake_transport.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"
#include "tests/support/shown_setting.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

using bts3::engine::setting;
using bts3::testing::shown;

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

const wall_time start = std::chrono::system_clock::from_time_t(reference_time);

object_info info_of(const std::string& stored_as, const std::string& restore = {},
                    const std::string& archive = {}) {
  object_info info;
  info.size = 4;
  info.stored_as = storage_class(stored_as);
  info.restore = restore;
  info.archive_status = archive;
  return info;
}

// A memory store whose archives follow a clock that sleeping moves.
class scene {
 public:
  explicit scene(seconds thaw_takes = hours(12), bool refuse_restores = false)
      : loop(engine::testing::make_reactor()), clock(reference_time) {
    memory_store_options rules;
    rules.clock = &clock;
    rules.thaw_takes = thaw_takes;
    rules.refuse_restores = refuse_restores;
    store.emplace(*loop, rules);
    options.deadline = start + days(30);
    options.sleep = [this](std::chrono::nanoseconds duration, engine::stop_token stop) {
      return nap(this, duration, stop);
    };
  }

  // Adds an object of four bytes.
  void add(const std::string& key, const std::string& stored_as, const std::string& archive = {}) {
    store->put(key, "body", stored_as, archive);
    objects.emplace_back(object_key(key), 4);
  }

  engine::result<thaw_report> thaw(engine::stop_token stop = {}) {
    archive_thaw work(*loop, *store, clock, log, objects, options);
    return loop->run(work.run(stop));
  }
  thaw_report thawed() {
    auto report = thaw();
    BOOST_REQUIRE_MESSAGE(report.has_value(), error_text(report));
    BOOST_TEST(report->objects ==
               report->readable + report->ready + report->thawing + report->refused);
    return *report;
  }
  engine::error refused() {
    auto report = thaw();
    BOOST_REQUIRE(!report.has_value());
    return report.error();
  }
  // What somebody else asks for.
  restore_outcome restore(const std::string& key, unsigned copy_days) {
    auto outcome =
        loop->run(store->restore_object(object_key(key), copy_days, retrieval_tier::standard, {}));
    BOOST_REQUIRE_MESSAGE(outcome.has_value(), error_text(outcome));
    return *outcome;
  }
  engine::result<text_object> read(const std::string& key) {
    return loop->run(store->get_object_text(object_key(key), 100, {}));
  }

  std::unique_ptr<engine::reactor> loop;
  fixed_clock clock;
  std::optional<memory_store> store;
  line_log log;
  std::vector<thaw_object> objects;
  thaw_options options;
  std::vector<seconds> naps;
  std::function<void()> on_nap;

 private:
  static engine::task<engine::result<void>> nap(scene* self, std::chrono::nanoseconds duration,
                                                engine::stop_token stop) {
    self->naps.push_back(std::chrono::duration_cast<seconds>(duration));
    self->clock.time += self->naps.back();
    auto yielding = self->loop->yield();
    co_await std::move(yielding);
    if (self->on_nap) {
      self->on_nap();
    }
    if (stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    co_return engine::ok();
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(archive_thaw_suite)

BOOST_AUTO_TEST_CASE(readable_objects_cost_a_head_each_and_no_wait) {
  scene here;
  here.add("a", "STANDARD");
  here.add("b", "GLACIER_IR");
  here.add("c", "INTELLIGENT_TIERING");
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  BOOST_TEST(report.readable == 3U);
  BOOST_TEST(report.bytes == 12U);
  BOOST_TEST(report.bytes_missing == 0U);
  BOOST_TEST(here.store->count("HeadObject") == 3U);
  BOOST_TEST(here.store->steps() == 3U);
  BOOST_TEST(here.naps.empty());
  here.objects.clear();
  BOOST_TEST((here.thawed().outcome == thaw_outcome::ready));
}

BOOST_AUTO_TEST_CASE(what_the_caller_knows_is_not_asked_again) {
  scene here;
  here.add("a", "STANDARD");
  here.objects[0].known = info_of("STANDARD");
  BOOST_TEST((here.thawed().outcome == thaw_outcome::ready));
  BOOST_TEST(here.store->steps() == 0U);
}

BOOST_AUTO_TEST_CASE(objects_are_requested_once_and_waited_for_with_longer_and_longer_pauses) {
  scene here;
  for (const char* key : {"a", "b", "c"}) {
    here.add(key, "DEEP_ARCHIVE");
  }
  BOOST_TEST((here.read("a").error().why == reason::not_thawed));
  here.store->forget_calls();
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  BOOST_TEST(report.ready == 3U);
  BOOST_TEST(report.requested == 3U);
  BOOST_TEST(report.missing.empty());
  // 30 + 60 + 120 + 240 + 143 x 300 s are the first such sum beyond twelve hours.
  BOOST_TEST(report.polls == 147U);
  BOOST_REQUIRE(here.naps.size() == 147U);
  const int first[] = {30, 60, 120, 240, 300, 300};
  for (std::size_t i = 0; i < 6; ++i) {
    BOOST_TEST(here.naps[i].count() == first[i]);
  }
  BOOST_TEST(here.store->count("RestoreObject") == 3U);
  BOOST_TEST(here.store->count("HeadObject") == 3U * 148U);
  // Ready at noon, seven days, up to midnight.
  BOOST_TEST((report.first_expiry == start + days(8)));
  BOOST_TEST(here.read("a")->body == "body");
  BOOST_TEST(
      here.log.contains("thaw_requested objects=3 readable=0 ready=0 thawing=3 refused=0 "
                        "requested=3 extended=0 in_progress=0 bytes_missing=12"));
  BOOST_TEST(here.log.lines.size() == 148U);
  BOOST_TEST(here.log.lines.back() ==
             "thaw_poll objects=3 readable=0 ready=3 thawing=0 refused=0 requested=3 extended=0 "
             "in_progress=0 bytes_missing=0 waited_seconds=43350");
}

BOOST_AUTO_TEST_CASE(classes_may_be_mixed) {
  scene here;
  here.add("standard", "STANDARD");
  here.add("instant", "GLACIER_IR");
  here.add("flexible", "GLACIER");
  here.add("deep", "DEEP_ARCHIVE");
  here.add("tiered", "INTELLIGENT_TIERING", "ARCHIVE_ACCESS");
  here.add("deep_tiered", "INTELLIGENT_TIERING", "DEEP_ARCHIVE_ACCESS");
  here.add("frequent", "INTELLIGENT_TIERING");
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  // What has moved back from an archive tier is readable as it is.
  BOOST_TEST(report.readable == 5U);
  BOOST_TEST(report.ready == 2U);
  BOOST_TEST(report.requested == 4U);
  BOOST_TEST(here.store->count("RestoreObject") == 4U);
  for (const thaw_object& object : here.objects) {
    BOOST_TEST(here.read(object.key.str()).has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_deadline_in_the_past_requests_and_does_not_wait_and_a_rerun_continues) {
  scene here;
  here.add("standard", "STANDARD");
  here.add("a", "DEEP_ARCHIVE");
  here.add("b", "DEEP_ARCHIVE");
  here.options.deadline = wall_time();
  const thaw_report first = here.thawed();
  BOOST_TEST((first.outcome == thaw_outcome::deadline));
  BOOST_TEST(first.requested == 2U);
  BOOST_TEST(first.thawing == 2U);
  BOOST_TEST(first.bytes == 12U);
  BOOST_TEST(first.bytes_missing == 8U);
  BOOST_REQUIRE(first.missing.size() == 2U);
  BOOST_TEST(first.missing[0].key.str() == "a");
  BOOST_TEST(first.missing[0].bytes == 4U);
  BOOST_TEST((first.missing[0].state == archive_state::thawing));
  BOOST_TEST(here.naps.empty());

  here.store->forget_calls();
  here.options.deadline = start + days(30);
  const thaw_report second = here.thawed();
  BOOST_TEST((second.outcome == thaw_outcome::ready));
  BOOST_TEST(second.requested == 0U);
  BOOST_TEST(second.in_progress == 2U);
  BOOST_TEST(here.store->count("RestoreObject") == 0U);

  here.store->forget_calls();
  here.naps.clear();
  const thaw_report third = here.thawed();
  BOOST_TEST((third.outcome == thaw_outcome::ready));
  BOOST_TEST(third.ready == 2U);
  BOOST_TEST(here.store->steps() == 3U);
  BOOST_TEST(here.naps.empty());
}

BOOST_AUTO_TEST_CASE(the_deadline_is_met_exactly_and_tells_what_is_missing) {
  scene here;
  here.add("a", "DEEP_ARCHIVE");
  here.options.deadline = start + seconds(500);
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::deadline));
  BOOST_TEST(report.missing.size() == 1U);
  BOOST_REQUIRE(here.naps.size() == 5U);
  BOOST_TEST(here.naps.back().count() == 50);  // 500 - (30 + 60 + 120 + 240)
  BOOST_TEST(report.polls == 5U);
  BOOST_TEST((here.clock.time == here.options.deadline));
}

BOOST_AUTO_TEST_CASE(what_is_ready_at_the_deadline_is_ready) {
  scene here(hours(12));
  here.add("a", "GLACIER");
  here.options.deadline = start + hours(12);
  BOOST_TEST((here.thawed().outcome == thaw_outcome::ready));
}

BOOST_AUTO_TEST_CASE(a_stop_while_waiting_is_cancelled_and_a_rerun_continues) {
  scene here;
  here.add("a", "DEEP_ARCHIVE");
  engine::stop_source source;
  here.on_nap = [&] {
    if (here.naps.size() == 3) {
      source.request_stop();
    }
  };
  const auto stopped = here.thaw(source.token());
  BOOST_REQUIRE(!stopped.has_value());
  BOOST_TEST((stopped.error().what_now == disposition::cancelled));
  BOOST_TEST(here.naps.size() == 3U);
  const thaw_report report = here.thawed();
  BOOST_TEST(report.in_progress == 1U);
  BOOST_TEST(here.store->count("RestoreObject") == 1U);
}

BOOST_AUTO_TEST_CASE(a_stop_is_seen_on_the_reactors_own_timer) {
  scene here;
  here.add("a", "DEEP_ARCHIVE");
  here.options.sleep = nullptr;
  engine::stop_source source;
  here.log.on_line = [&](const std::string&) {
    here.loop->post([&source] { source.request_stop(); });
  };
  const auto stopped = here.thaw(source.token());
  BOOST_REQUIRE(!stopped.has_value());
  BOOST_TEST((stopped.error().what_now == disposition::cancelled));
}

BOOST_AUTO_TEST_CASE(a_stop_before_anything_requests_nothing) {
  scene here;
  here.add("a", "DEEP_ARCHIVE");
  engine::stop_source source;
  source.request_stop();
  BOOST_TEST((here.thaw(source.token()).error().what_now == disposition::cancelled));
  BOOST_TEST(here.store->count("RestoreObject") == 0U);
}

BOOST_AUTO_TEST_CASE(a_copy_that_ends_too_early_is_extended_at_once) {
  scene here;
  here.add("a", "GLACIER");
  here.restore("a", 1);
  here.clock.time += hours(12);
  here.options.needed_until = start + days(5);
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  BOOST_TEST(report.extended == 1U);
  BOOST_TEST(report.requested == 0U);
  BOOST_TEST(here.naps.empty());
  BOOST_TEST((report.first_expiry >= here.options.needed_until));
  here.clock.time = start + days(5);
  BOOST_TEST(here.read("a").has_value());
  // Long enough now: nothing is asked for any more.
  here.store->forget_calls();
  here.clock.time = start + days(1);
  BOOST_TEST(here.thawed().ready == 1U);
  BOOST_TEST(here.store->steps() == 1U);
}

BOOST_AUTO_TEST_CASE(a_shorter_request_of_somebody_else_is_extended_when_it_is_done) {
  scene here;
  here.add("a", "GLACIER");
  here.restore("a", 1);
  here.options.needed_until = start + days(6);
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  BOOST_TEST(report.in_progress == 1U);
  BOOST_TEST(report.extended == 1U);
  BOOST_TEST(here.store->count("RestoreObject") == 2U);
  BOOST_TEST((report.first_expiry >= here.options.needed_until));
}

BOOST_AUTO_TEST_CASE(a_copy_that_expires_while_others_are_waited_for_is_thawed_again) {
  scene here;
  here.add("a", "GLACIER");
  here.add("b", "GLACIER");
  here.restore("a", 1);
  here.clock.time = start + days(2) - hours(1);  // it ends in an hour, at midnight
  BOOST_REQUIRE(here.read("a").has_value());
  here.store->forget_calls();
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  BOOST_TEST(report.requested == 2U);
  BOOST_TEST(here.store->count("RestoreObject") == 2U);
  BOOST_TEST(here.read("a").has_value());
  BOOST_TEST(here.read("b").has_value());
}

BOOST_AUTO_TEST_CASE(a_copy_that_expired_during_the_download_is_thawed_again) {
  scene here;
  here.add("a", "DEEP_ARCHIVE");
  here.options.days = 1;
  BOOST_TEST((here.thawed().outcome == thaw_outcome::ready));
  BOOST_TEST(here.read("a").has_value());
  here.clock.time += days(3);
  BOOST_TEST((here.read("a").error().why == reason::not_thawed));
  here.store->forget_calls();
  const thaw_report again = here.thawed();
  BOOST_TEST((again.outcome == thaw_outcome::ready));
  BOOST_TEST(again.requested == 1U);
  BOOST_TEST(here.read("a").has_value());
}

BOOST_AUTO_TEST_CASE(an_expired_copy_whose_header_is_still_there_is_thawed_again) {
  scene here;
  here.add("a", "GLACIER");
  here.objects[0].known = info_of(
      "GLACIER", "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\"");
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  BOOST_TEST(report.requested == 1U);
}

BOOST_AUTO_TEST_CASE(already_in_progress_is_progress) {
  scene here;
  here.add("a", "GLACIER");
  here.restore("a", 7);
  here.objects[0].known = info_of("GLACIER");  // from just before somebody else asked
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  BOOST_TEST(report.in_progress == 1U);
  BOOST_TEST(report.requested == 0U);
}

BOOST_AUTO_TEST_CASE(a_request_for_what_is_there_is_readiness_after_one_more_look) {
  scene here;
  here.add("a", "GLACIER");
  here.add("b", "GLACIER");
  here.restore("a", 7);
  here.clock.time += hours(13);
  here.store->forget_calls();
  here.objects[0].known = info_of("GLACIER");
  here.store->put("b", "body", "STANDARD");  // lifecycle or a copy moved it meanwhile
  here.objects[1].known = info_of("GLACIER");
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  BOOST_TEST(report.ready == 1U);
  BOOST_TEST(report.readable == 1U);
  BOOST_TEST(here.store->count("RestoreObject") == 2U);
  BOOST_TEST(here.store->count("HeadObject") == 1U);
  BOOST_TEST(here.store->count("GetObject") == 1U);
  BOOST_TEST(here.naps.empty());
}

BOOST_AUTO_TEST_CASE(a_store_without_restores_is_unsupported) {
  scene here(hours(12), true);
  here.add("a", "GLACIER");
  const engine::error failure = here.refused();
  BOOST_TEST((failure.why == reason::unsupported));
  BOOST_TEST((failure.what_now == disposition::fail));
  BOOST_TEST(failure.message.starts_with("thawing: a"));
}

BOOST_AUTO_TEST_CASE(expedited_for_a_deep_archive_is_refused_before_anything_is_requested) {
  for (const bool tiered : {false, true}) {
    scene here;
    here.add("flexible", "GLACIER");
    here.add("deep", tiered ? "INTELLIGENT_TIERING" : "DEEP_ARCHIVE",
             tiered ? "DEEP_ARCHIVE_ACCESS" : "");
    here.options.tier = retrieval_tier::expedited;
    const engine::error failure = here.refused();
    BOOST_TEST((failure.why == reason::configuration));
    BOOST_TEST(failure.message.starts_with("deep: Expedited"));
    BOOST_TEST(failure.remedy.find(shown(setting::thaw_tier)) != std::string::npos);
    BOOST_TEST(here.store->count("RestoreObject") == 0U);
  }
}

BOOST_AUTO_TEST_CASE(expedited_does_not_matter_for_what_is_thawed_or_under_way_in_a_deep_archive) {
  scene here;
  here.add("thawed", "DEEP_ARCHIVE");
  here.add("under_way", "DEEP_ARCHIVE");
  here.restore("thawed", 1);
  here.clock.time += hours(12);
  here.restore("under_way", 7);
  here.options.tier = retrieval_tier::expedited;
  here.options.needed_until = start + days(5);  // so that one copy is extended
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  BOOST_TEST(report.extended == 1U);
  BOOST_TEST(report.in_progress == 1U);
}

BOOST_AUTO_TEST_CASE(days_that_do_not_reach_are_refused_with_the_number_that_does) {
  scene here;
  here.add("a", "GLACIER");
  here.options.days = 2;
  here.options.needed_until = start + days(4) + seconds(1);
  const engine::error failure = here.refused();
  BOOST_TEST((failure.why == reason::configuration));
  BOOST_TEST(failure.remedy == "set " + shown(setting::thaw_days) + " to 5 or more");
  here.options.needed_until = wall_time();
  here.options.days = 0;
  BOOST_TEST((here.refused().why == reason::configuration));
  BOOST_TEST(here.store->count("RestoreObject") == 0U);
}

BOOST_AUTO_TEST_CASE(a_missing_or_damaged_object_is_found_before_anything_is_requested) {
  scene here;
  here.add("a", "GLACIER");
  here.add("b", "GLACIER");
  here.objects[1].bytes = 5;
  const engine::error damaged = here.refused();
  BOOST_TEST((damaged.why == reason::integrity));
  BOOST_TEST(damaged.message.starts_with("b: "));
  here.objects[1].bytes = 4;
  here.store->erase("b");
  BOOST_TEST((here.refused().what_now == disposition::not_found));
  BOOST_TEST(here.store->count("RestoreObject") == 0U);
}

BOOST_AUTO_TEST_CASE(a_thousand_objects_are_requested_at_once_with_bounded_concurrency) {
  scene here(seconds(30));
  for (int i = 0; i < 1000; ++i) {
    here.add("chunk-" + std::to_string(i), "DEEP_ARCHIVE");
  }
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  BOOST_TEST(report.requested == 1000U);
  BOOST_TEST(report.ready == 1000U);
  BOOST_TEST(report.polls == 1U);
  BOOST_TEST(here.store->in_flight_max() == 16U);
  BOOST_TEST(here.store->count("RestoreObject") == 1000U);
  BOOST_TEST(here.store->count("HeadObject") == 2000U);
  BOOST_TEST(here.store->steps() == 3000U);
  BOOST_TEST(here.log.lines.size() == 2U);
}

BOOST_AUTO_TEST_CASE(concurrency_is_what_was_asked_for) {
  scene here(seconds(30));
  here.options.concurrency = 3;
  for (int i = 0; i < 20; ++i) {
    here.add("chunk-" + std::to_string(i), "GLACIER");
  }
  here.thawed();
  BOOST_TEST(here.store->in_flight_max() == 3U);
}

// Whatever step fails for good, and whether or not it was performed: a rerun makes everything
// readable, and nothing is retrieved twice.
BOOST_AUTO_TEST_CASE(a_failure_at_any_step_is_reported_and_a_rerun_continues) {
  engine::error denied;
  denied.why = reason::access;
  denied.message = "denied";
  for (std::size_t step = 1; step <= 9; ++step) {  // 3 x HEAD, 3 x Restore, 3 x HEAD
    for (const auto when : {memory_store::performed::no, memory_store::performed::yes}) {
      scene here(seconds(30));
      for (const char* key : {"a", "b", "c"}) {
        here.add(key, "GLACIER");
      }
      here.options.concurrency = 1;
      here.store->fail_at(step, denied, when);
      const engine::error failure = here.refused();
      BOOST_TEST((failure.why == reason::access));
      BOOST_TEST(here.store->steps() == step);  // nothing is begun after a failure
      const thaw_report report = here.thawed();
      BOOST_TEST((report.outcome == thaw_outcome::ready));
      const bool unperformed_request =
          step >= 4 && step <= 6 && when == memory_store::performed::no;
      BOOST_TEST(here.store->count("RestoreObject") == (unperformed_request ? 4U : 3U));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_network_that_is_gone_while_waiting_is_waited_for_too) {
  scene here(hours(1));
  here.add("a", "GLACIER");
  here.on_nap = [&] {
    if (here.naps.size() == 2) {
      here.store->fail_from(1, memory_store::lost_connection());
    } else if (here.naps.size() == 4) {
      here.store->never_fail();
    }
  };
  const thaw_report report = here.thawed();
  BOOST_TEST((report.outcome == thaw_outcome::ready));
  BOOST_TEST(std::count_if(here.log.lines.begin(), here.log.lines.end(), [](const auto& line) {
               return line.starts_with("thaw_poll_failed error=the connection is gone");
             }) == 2);
}

BOOST_AUTO_TEST_CASE(a_network_that_is_gone_from_the_start_is_an_error) {
  scene here;
  here.add("a", "GLACIER");
  here.store->fail_from(1, memory_store::lost_connection());
  BOOST_TEST((here.refused().why == reason::network));
  BOOST_TEST(here.naps.empty());
}

BOOST_AUTO_TEST_CASE(a_final_error_while_waiting_ends_it) {
  scene here;
  here.add("a", "GLACIER");
  here.on_nap = [&] { here.store->erase("a"); };
  BOOST_TEST((here.refused().what_now == disposition::not_found));
  BOOST_TEST(here.naps.size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_survey_requests_nothing_and_tells_how_long_it_will_take) {
  scene here;
  here.add("standard", "STANDARD");
  here.add("long_enough", "GLACIER");
  here.add("too_short", "GLACIER");
  here.restore("long_enough", 20);
  here.restore("too_short", 1);
  here.clock.time += hours(12);
  here.add("under_way", "GLACIER");
  here.restore("under_way", 7);
  here.add("flexible", "GLACIER");
  here.store->forget_calls();
  here.options.needed_until = start + days(5);
  here.options.tier = retrieval_tier::bulk;
  archive_thaw work(*here.loop, *here.store, here.clock, here.log, here.objects, here.options);
  const auto found = here.loop->run(work.survey({}));
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_TEST(found->objects == 5U);
  BOOST_TEST(found->readable == 1U);
  BOOST_TEST(found->thawed == 1U);
  BOOST_TEST(found->to_extend == 1U);
  BOOST_TEST(found->thawing == 1U);
  BOOST_TEST(found->to_request == 1U);
  BOOST_TEST(found->bytes == 20U);
  BOOST_TEST(found->bytes_to_request == 4U);
  BOOST_TEST((found->typical.least == hours(5)));
  BOOST_TEST((found->typical.most == hours(12)));
  BOOST_TEST(here.store->steps() == 5U);
  // Running afterwards does not look a second time.
  const auto report = here.loop->run(work.run({}));
  BOOST_REQUIRE_MESSAGE(report.has_value(), error_text(report));
  BOOST_TEST(here.store->calls()[5].verb == "RestoreObject");
  BOOST_TEST(report->requested == 1U);
  BOOST_TEST(report->extended == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
