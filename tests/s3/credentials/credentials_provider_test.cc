#include "s3/credentials/credential_provider.hh"

#include "engine/async_scope.hh"
#include "engine/event.hh"
#include "tests/s3/http/fake_transport.hh"

#include <boost/test/unit_test.hpp>

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

// Gives what the test put there, the last of it again and again, and counts how often it is asked.
class scripted_source final : public credential_source {
 public:
  explicit scripted_source(engine::reactor& loop) : _loop(loop), open(loop) { open.set(); }

  engine::task<engine::result<credentials>> find(engine::stop_token stop) override {
    ++asked;
    auto yielding = _loop.yield();
    co_await std::move(yielding);
    auto waiting = open.wait(stop);
    auto passed = co_await std::move(waiting);
    if (!passed) {
      co_return std::move(passed.error());
    }
    BOOST_REQUIRE(!outcomes.empty());
    auto next = outcomes.front();
    if (outcomes.size() > 1) {
      outcomes.pop_front();
    }
    co_return next;
  }

  int asked = 0;
  std::deque<engine::result<credentials>> outcomes;

 private:
  engine::reactor& _loop;

 public:
  engine::event open;  // while it is not set, every question waits
};

class scene {
 public:
  scene()
      : loop(engine::testing::make_reactor()),
        clock(reference_time),
        source(*loop),
        provider(*loop, source, clock, log) {}

  // Keys named `id` that last that long from now on.
  void give(const std::string& id, std::optional<seconds> lasting) {
    credentials made;
    made.access_key_id = id;
    made.secret_access_key = "secret";
    made.source = "the test";
    if (lasting) {
      made.expiration = clock.time + *lasting;
    }
    source.outcomes.clear();
    source.outcomes.emplace_back(made);
  }
  void fail(disposition what_now) {
    engine::error failure;
    failure.what_now = what_now;
    failure.message = "no answer";
    source.outcomes.clear();
    source.outcomes.emplace_back(failure);
  }
  engine::result<credentials> get(engine::stop_token stop = {}) {
    return loop->run(provider.get(stop));
  }
  // The key's id, or the error's message.
  std::string got() {
    const auto found = get();
    return found ? found->access_key_id : found.error().message;
  }
  [[nodiscard]] std::size_t warnings() const {
    std::size_t count = 0;
    for (const std::string& line : log.lines) {
      count += line.starts_with("credentials_not_refreshed") ? 1 : 0;
    }
    return count;
  }

  std::unique_ptr<engine::reactor> loop;
  fixed_clock clock;
  line_log log;
  scripted_source source;
  refreshing_credentials provider;
};

// Several get() at once; what each came to.
struct crowd {
  static engine::task<void> one(credential_provider& provider, engine::stop_token stop,
                                std::string& outcome) {
    auto getting = provider.get(stop);
    auto found = co_await std::move(getting);
    outcome = found                                              ? found->access_key_id
              : found.error().what_now == disposition::cancelled ? "cancelled"
                                                                 : found.error().message;
  }
  // `meanwhile` runs when all of them wait.
  static engine::task<void> all(scene& here, std::vector<engine::stop_token> stops,
                                std::vector<std::string>& outcomes,
                                const std::function<void()>& meanwhile) {
    engine::async_scope scope(*here.loop);
    outcomes.resize(stops.size());
    for (std::size_t i = 0; i < stops.size(); ++i) {
      scope.spawn(one(here.provider, stops[i], outcomes[i]));
    }
    for (int i = 0; i < 10; ++i) {
      auto yielding = here.loop->yield();
      co_await std::move(yielding);
    }
    meanwhile();
    auto joining = scope.join();
    co_await std::move(joining);
  }
};

using outcomes = std::vector<std::string>;

}  // namespace

BOOST_AUTO_TEST_SUITE(credentials_refreshing)

BOOST_AUTO_TEST_CASE(the_source_is_asked_once_until_five_minutes_before_the_end) {
  scene here;
  here.give("A", minutes(60));
  BOOST_TEST(here.got() == "A");
  BOOST_TEST(here.got() == "A");
  here.give("B", minutes(120));
  here.clock.time += minutes(55) - seconds(1);
  BOOST_TEST(here.got() == "A");
  BOOST_TEST(here.source.asked == 1);
  here.clock.time += seconds(1);
  BOOST_TEST(here.got() == "B");
  BOOST_TEST(here.source.asked == 2);
  BOOST_TEST(here.got() == "B");
  BOOST_TEST(here.source.asked == 2);
  BOOST_REQUIRE(here.log.lines.size() == 2U);
  BOOST_TEST(here.log.lines[0] ==
             "credentials_obtained source=the test access_key=A expires_in_s=3600");
}

BOOST_AUTO_TEST_CASE(credentials_without_an_end_are_never_asked_for_again) {
  scene here;
  here.give("A", std::nullopt);
  BOOST_TEST(here.got() == "A");
  here.clock.time += std::chrono::hours(100'000);
  BOOST_TEST(here.got() == "A");
  BOOST_TEST(here.source.asked == 1);
}

BOOST_AUTO_TEST_CASE(when_asking_fails_the_old_ones_serve_until_they_expire) {
  scene here;
  here.give("A", minutes(60));
  BOOST_TEST(here.got() == "A");
  here.fail(disposition::fail);
  here.clock.time += minutes(55);
  BOOST_TEST(here.got() == "A");
  BOOST_TEST(here.source.asked == 2);
  // Half a minute's pause, then another question; one warning in all.
  BOOST_TEST(here.got() == "A");
  here.clock.time += seconds(29);
  BOOST_TEST(here.got() == "A");
  BOOST_TEST(here.source.asked == 2);
  here.clock.time += seconds(1);
  BOOST_TEST(here.got() == "A");
  BOOST_TEST(here.source.asked == 3);
  BOOST_TEST(here.warnings() == 1U);
  BOOST_TEST(here.log.contains("error=no answer source=the test expires_in_s=300"));
  here.clock.time += minutes(4) + seconds(29);
  BOOST_TEST(here.got() == "A");
  here.clock.time += seconds(1);
  BOOST_TEST(here.got() == "no answer");
  // It recovers, and a later failure is news again.
  here.give("B", minutes(60));
  BOOST_TEST(here.got() == "B");
  here.fail(disposition::retry);
  here.clock.time += minutes(56);
  BOOST_TEST(here.got() == "B");
  BOOST_TEST(here.warnings() == 2U);
}

BOOST_AUTO_TEST_CASE(a_first_failure_is_handed_on_with_its_disposition) {
  scene here;
  here.fail(disposition::retry);
  const auto found = here.get();
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST((found.error().what_now == disposition::retry));
  BOOST_TEST(here.warnings() == 0U);
  here.give("A", minutes(60));
  BOOST_TEST(here.got() == "A");
}

BOOST_AUTO_TEST_CASE(concurrent_callers_share_one_question) {
  scene here;
  here.give("A", minutes(60));
  here.source.open.reset();
  outcomes ended;
  here.loop->run(
      crowd::all(here, std::vector<engine::stop_token>(5), ended, [&] { here.source.open.set(); }));
  BOOST_TEST((ended == outcomes(5, "A")));
  BOOST_TEST(here.source.asked == 1);
}

BOOST_AUTO_TEST_CASE(concurrent_callers_share_one_failure) {
  scene here;
  here.fail(disposition::fail);
  here.source.open.reset();
  outcomes ended;
  here.loop->run(
      crowd::all(here, std::vector<engine::stop_token>(5), ended, [&] { here.source.open.set(); }));
  BOOST_TEST((ended == outcomes(5, "no answer")));
  BOOST_TEST(here.source.asked == 1);
}

BOOST_AUTO_TEST_CASE(while_one_asks_the_others_go_on_with_what_is_still_valid) {
  scene here;
  here.give("A", minutes(60));
  BOOST_TEST(here.got() == "A");
  here.clock.time += minutes(57);
  here.give("B", minutes(60));
  here.source.open.reset();
  outcomes ended;
  outcomes before;
  here.loop->run(crowd::all(here, std::vector<engine::stop_token>(3), ended, [&] {
    before = ended;
    here.source.open.set();
  }));
  BOOST_TEST((before == outcomes{"", "A", "A"}));
  BOOST_TEST((ended == outcomes{"B", "A", "A"}));
  BOOST_TEST(here.source.asked == 2);
}

BOOST_AUTO_TEST_CASE(when_the_one_that_asks_is_stopped_another_takes_over) {
  scene here;
  here.give("A", minutes(60));
  here.source.open.reset();
  engine::stop_source first;
  outcomes ended;
  std::vector<engine::stop_token> stops(3);
  stops[0] = first.token();
  here.loop->run(crowd::all(here, stops, ended, [&] {
    first.request_stop();
    here.source.open.set();
  }));
  BOOST_TEST((ended == outcomes{"cancelled", "A", "A"}));
  BOOST_TEST(here.source.asked == 2);
}

BOOST_AUTO_TEST_CASE(one_that_waits_can_be_stopped_alone) {
  scene here;
  here.give("A", minutes(60));
  here.source.open.reset();
  engine::stop_source second;
  outcomes ended;
  std::vector<engine::stop_token> stops(3);
  stops[1] = second.token();
  outcomes before;
  here.loop->run(crowd::all(here, stops, ended, [&] {
    second.request_stop();
    here.source.open.set();
  }));
  BOOST_TEST((ended == outcomes{"A", "cancelled", "A"}));
  BOOST_TEST(here.source.asked == 1);
}

BOOST_AUTO_TEST_CASE(a_stopped_caller_gets_cancelled_even_with_credentials_at_hand) {
  scene here;
  here.give("A", std::nullopt);
  BOOST_TEST(here.got() == "A");
  engine::stop_source source;
  source.request_stop();
  const auto found = here.get(source.token());
  BOOST_REQUIRE(!found.has_value());
  BOOST_TEST((found.error().what_now == disposition::cancelled));
}

BOOST_AUTO_TEST_CASE(refused_credentials_are_asked_for_anew_once) {
  scene here;
  here.give("A", minutes(60));
  const auto first = here.get();
  BOOST_REQUIRE(first.has_value());
  here.give("B", minutes(60));
  here.provider.invalidate(*first);
  BOOST_TEST(here.got() == "B");
  // The others that were refused with A come too late.
  here.provider.invalidate(*first);
  BOOST_TEST(here.got() == "B");
  BOOST_TEST(here.source.asked == 2);
}

BOOST_AUTO_TEST_CASE(a_source_that_gives_the_refused_ones_again_is_left_alone_for_a_while) {
  scene here;
  here.give("A", std::nullopt);
  const auto first = here.get();
  BOOST_REQUIRE(first.has_value());
  for (int i = 0; i < 3; ++i) {
    here.provider.invalidate(*first);
    BOOST_TEST(here.got() == "A");
  }
  BOOST_TEST(here.source.asked == 2);
  // The files may have been changed by then.
  here.clock.time += seconds(30);
  here.give("B", std::nullopt);
  here.provider.invalidate(*first);
  BOOST_TEST(here.got() == "B");
  BOOST_TEST(here.source.asked == 3);
}

BOOST_AUTO_TEST_CASE(refused_credentials_do_not_serve_on_when_asking_fails) {
  scene here;
  here.give("A", minutes(60));
  const auto first = here.get();
  BOOST_REQUIRE(first.has_value());
  here.provider.invalidate(*first);
  here.fail(disposition::retry);
  BOOST_TEST(here.got() == "no answer");
  BOOST_TEST(here.got() == "no answer");
  BOOST_TEST(here.source.asked == 3);
  BOOST_TEST(here.warnings() == 0U);
}

BOOST_AUTO_TEST_CASE(credentials_that_have_expired_on_arrival_are_used_and_asked_for_later) {
  // A clock that is ahead by hours makes fresh ones look like that.
  scene here;
  here.give("A", seconds(-7200));
  BOOST_TEST(here.got() == "A");
  BOOST_TEST(here.got() == "A");
  here.clock.time += seconds(29);
  BOOST_TEST(here.got() == "A");
  BOOST_TEST(here.source.asked == 1);
  here.clock.time += seconds(1);
  here.give("B", seconds(-7200));
  BOOST_TEST(here.got() == "B");
  BOOST_TEST(here.source.asked == 2);
}

BOOST_AUTO_TEST_CASE(short_lived_credentials_do_not_make_every_request_ask) {
  scene here;
  here.give("A", seconds(120));
  BOOST_TEST(here.got() == "A");
  BOOST_TEST(here.got() == "A");
  BOOST_TEST(here.source.asked == 1);
  here.clock.time += seconds(30);
  here.give("B", seconds(10));
  BOOST_TEST(here.got() == "B");
  here.clock.time += seconds(9);
  BOOST_TEST(here.got() == "B");
  BOOST_TEST(here.source.asked == 2);
  here.give("C", seconds(10));
  here.clock.time += seconds(1);
  BOOST_TEST(here.got() == "C");
  BOOST_TEST(here.source.asked == 3);
}

BOOST_AUTO_TEST_CASE(fixed_credentials_stay_as_they_are) {
  scene here;
  credentials who;
  who.access_key_id = "A";
  fixed_credentials fixed(who);
  fixed.invalidate(who);
  const auto found = here.loop->run(fixed.get({}));
  BOOST_REQUIRE(found.has_value());
  BOOST_TEST(found->same_keys(who));
}

BOOST_AUTO_TEST_SUITE_END()
