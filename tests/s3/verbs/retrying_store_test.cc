#include "s3/verbs/retrying_store.hh"

#include "engine/async_scope.hh"
#include "s3/verbs/s3_client.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;
using std::chrono::milliseconds;

namespace {

retry_policy fast_policy() {
  retry_policy policy;
  policy.backoff_first = milliseconds(1);
  policy.backoff_max = milliseconds(4);
  policy.retry_for = milliseconds(60'000);
  policy.random = [] { return 1.0; };
  return policy;
}

engine::error failure_with(disposition what_now, reason why, const std::string& code = {}) {
  engine::error failure;
  failure.what_now = what_now;
  failure.why = why;
  failure.code = code;
  failure.message = "the store says " + (code.empty() ? "no" : code);
  return failure;
}

memory_store_options telling_all() {
  memory_store_options options;
  options.tell_attributes = true;
  return options;
}

class scene {
 public:
  explicit scene(retry_policy policy = fast_policy())
      : loop(engine::testing::make_reactor()),
        memory(*loop, telling_all()),
        store(*loop, memory, log, std::move(policy)) {
    memory.put("k", "body");
  }

  engine::result<object_info> head(engine::stop_token stop = {}) {
    return loop->run(store.head_object(object_key("k"), stop));
  }

  std::unique_ptr<engine::reactor> loop;
  memory_store memory;
  line_log log;
  retrying_store store;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(retrying_store_suite)

BOOST_AUTO_TEST_CASE(a_success_is_one_request_and_no_log_line) {
  scene here;
  const auto info = here.head();
  BOOST_REQUIRE_MESSAGE(info.has_value(), error_text(info));
  BOOST_TEST(info->size == 4U);
  BOOST_TEST(here.memory.steps() == 1U);
  BOOST_TEST(here.store.retries() == 0U);
  BOOST_TEST(here.log.lines.empty());
}

BOOST_AUTO_TEST_CASE(waits_double_up_to_the_cap_and_each_retry_is_logged_with_its_reason) {
  scene here;
  for (std::size_t step = 1; step <= 5; ++step) {
    here.memory.fail_at(step, memory_store::lost_connection());
  }
  BOOST_TEST(here.head().has_value());
  BOOST_TEST(here.memory.steps() == 6U);
  BOOST_TEST(here.store.retries() == 5U);
  BOOST_REQUIRE(here.log.lines.size() == 5U);
  const char* waits[] = {"1", "2", "4", "4", "4"};
  for (std::size_t i = 0; i < 5; ++i) {
    BOOST_TEST(here.log.lines[i] ==
               "request_retried verb=HeadObject attempt=" + std::to_string(i + 1) +
                   " wait_ms=" + waits[i] + " error=the connection is gone");
  }
}

BOOST_AUTO_TEST_CASE(jitter_is_full) {
  retry_policy policy = fast_policy();
  policy.backoff_first = milliseconds(8);
  policy.backoff_max = milliseconds(8);
  auto draws = std::make_shared<std::vector<double>>(std::vector<double>{0.0, 0.5, 0.25});
  policy.random = [draws] {
    const double next = draws->back();
    draws->pop_back();
    return next;
  };
  scene here(std::move(policy));
  for (std::size_t step = 1; step <= 3; ++step) {
    here.memory.fail_at(step, memory_store::lost_connection());
  }
  BOOST_TEST(here.head().has_value());
  BOOST_TEST(here.log.contains("attempt=1 wait_ms=2 "));
  BOOST_TEST(here.log.contains("attempt=2 wait_ms=4 "));
  BOOST_TEST(here.log.contains("attempt=3 wait_ms=0 "));
}

BOOST_AUTO_TEST_CASE(answers_that_blame_the_request_get_five_attempts) {
  for (const reason why : {reason::bad_request, reason::protocol, reason::precondition}) {
    scene here;
    here.memory.fail_from(1, failure_with(disposition::retry, why, "BadDigest"));
    const auto info = here.head();
    BOOST_REQUIRE(!info.has_value());
    BOOST_TEST((info.error().why == why));
    BOOST_TEST(info.error().message == "given up after 5 attempts: the store says BadDigest");
    BOOST_TEST(here.memory.steps() == 5U);
  }
}

BOOST_AUTO_TEST_CASE(connection_failures_in_between_do_not_count_as_blame) {
  scene here;
  const auto blame = failure_with(disposition::retry, reason::bad_request, "BadDigest");
  for (std::size_t step = 1; step <= 4; ++step) {
    here.memory.fail_at(step, blame);
  }
  for (std::size_t step = 5; step <= 10; ++step) {
    here.memory.fail_at(step, memory_store::lost_connection());
  }
  BOOST_TEST(here.head().has_value());
  BOOST_TEST(here.memory.steps() == 11U);
}

BOOST_AUTO_TEST_CASE(final_errors_and_cancellation_are_not_repeated) {
  const engine::error finals[] = {
      failure_with(disposition::fail, reason::access, "AccessDenied"),
      failure_with(disposition::fail, reason::precondition, "PreconditionFailed"),
      failure_with(disposition::fail, reason::unsupported, "NotImplemented"),
      failure_with(disposition::not_found, reason::unspecified, "NoSuchKey"),
      engine::cancelled_error(),
  };
  for (const engine::error& final_error : finals) {
    scene here;
    here.memory.fail_from(1, final_error);
    const auto info = here.head();
    BOOST_REQUIRE(!info.has_value());
    BOOST_TEST((info.error().what_now == final_error.what_now));
    BOOST_TEST(info.error().message == final_error.message);
    BOOST_TEST(here.memory.steps() == 1U);
    BOOST_TEST(here.log.lines.empty());
  }
}

BOOST_AUTO_TEST_CASE(retrying_ends_when_nothing_succeeds_for_long_enough) {
  retry_policy policy = fast_policy();
  policy.retry_for = milliseconds(30);
  scene here(std::move(policy));
  here.memory.fail_from(1, memory_store::lost_connection());
  const auto began = std::chrono::steady_clock::now();
  const auto info = here.head();
  BOOST_REQUIRE(!info.has_value());
  BOOST_TEST((info.error().why == reason::network));
  BOOST_TEST(info.error().message.starts_with("given up after "));
  BOOST_TEST((std::chrono::steady_clock::now() - began >= milliseconds(30)));
  BOOST_TEST(here.memory.steps() >= 2U);
}

BOOST_AUTO_TEST_CASE(patience_that_is_shared_is_used_up_once) {
  for (const bool shared : {true, false}) {
    retry_policy policy = fast_policy();
    policy.retry_for = milliseconds(50);
    policy.patience_is_shared = shared;
    scene here(std::move(policy));
    here.memory.fail_from(1, memory_store::lost_connection());
    BOOST_TEST(!here.head().has_value());
    BOOST_TEST(here.memory.steps() > 1U);
    here.memory.forget_calls();
    here.memory.fail_from(1, memory_store::lost_connection());
    BOOST_TEST(!here.head().has_value());
    BOOST_TEST((here.memory.steps() == 1U) == shared);
    // What answers again is trusted again.
    here.memory.never_fail();
    BOOST_TEST(here.head().has_value());
    here.memory.forget_calls();
    here.memory.fail_at(1, memory_store::lost_connection());
    BOOST_TEST(here.head().has_value());
    BOOST_TEST(here.memory.steps() == 2U);
  }
}

BOOST_AUTO_TEST_CASE(
    what_may_pass_after_boot_is_repeated_for_minutes_and_not_for_the_whole_patience) {
  auto now = std::make_shared<std::chrono::steady_clock::time_point>();
  retry_policy policy = fast_policy();
  policy.retry_for = std::chrono::hours(1);
  policy.now = [now] { return *now += std::chrono::seconds(30); };
  engine::error early = failure_with(disposition::retry, reason::network, "early");
  early.at_boot = true;
  scene here(policy);
  for (std::size_t step = 1; step <= 100; ++step) {
    here.memory.fail_at(step, early);
  }
  BOOST_TEST(here.head().error().code == "early");
  const std::size_t tries = here.memory.steps();
  BOOST_TEST(tries > 5U);
  BOOST_TEST(tries <= 21U);  // ten minutes of half a minute each
}

BOOST_AUTO_TEST_CASE(until_the_first_answer_patience_is_shorter_and_waits_are_shown) {
  auto now = std::make_shared<std::chrono::steady_clock::time_point>();
  std::vector<std::string> shown;
  retry_policy policy = fast_policy();
  policy.retry_for = std::chrono::hours(1);
  policy.first_answer_within = std::chrono::seconds(30);
  policy.now = [now] { return *now += std::chrono::seconds(5); };
  policy.on_wait = [&shown](const std::string& text) { shown.push_back(text); };
  scene here(policy);
  for (std::size_t step = 1; step <= 60; ++step) {
    here.memory.fail_at(step, memory_store::lost_connection());
  }
  BOOST_TEST(!here.head().has_value());
  BOOST_TEST(here.memory.steps() <= 7U);
  BOOST_REQUIRE(shown.size() >= 2U);
  BOOST_TEST(shown[0].starts_with("attempt 2 (given up in "), shown[0]);
  BOOST_TEST(shown[1].empty());
  // One warning, whatever number of attempts.
  BOOST_TEST(std::count_if(here.log.lines.begin(), here.log.lines.end(), [](const auto& line) {
               return line.find("warning") != std::string::npos;
             }) <= 1);

  scene answered(policy);
  BOOST_TEST(answered.head().has_value());
  for (std::size_t step = 2; step <= 22; ++step) {
    answered.memory.fail_at(step, memory_store::lost_connection());
  }
  BOOST_TEST(answered.head().has_value());  // 21 failures are no reason to end now
}

BOOST_AUTO_TEST_CASE(the_success_of_others_is_progress) {
  // One request fails for three times retry_for, while another succeeds all the time.
  struct play {
    static engine::task<void> failing(retrying_store& store, engine::stop_source& source,
                                      disposition& ended_with) {
      auto asking = store.head_object(object_key("bad"), source.token());
      const auto info = co_await std::move(asking);
      ended_with = info.has_value() ? disposition::fail : info.error().what_now;
    }
    static engine::task<void> succeeding(engine::reactor& loop, retrying_store& store,
                                         engine::stop_source& source) {
      const auto until = std::chrono::steady_clock::now() + milliseconds(900);
      while (std::chrono::steady_clock::now() < until) {
        auto asking = store.head_object(object_key("good"), {});
        const auto info = co_await std::move(asking);
        BOOST_REQUIRE(info.has_value());
        auto sleeping = loop.sleep_for(milliseconds(2));
        const auto slept = co_await std::move(sleeping);
        BOOST_REQUIRE(slept.has_value());
      }
      source.request_stop();
    }
    static engine::task<void> both(engine::reactor& loop, retrying_store& store,
                                   engine::stop_source& source, disposition& ended_with) {
      engine::async_scope scope(loop);
      scope.spawn(failing(store, source, ended_with));
      scope.spawn(succeeding(loop, store, source));
      auto joining = scope.join();
      co_await std::move(joining);
    }
  };
  const auto loop = engine::testing::make_reactor();
  fake_transport transport(*loop);
  transport.handler = [](const sent_request& sent) -> fake_transport::outcome {
    if (sent.request.url.ends_with("/bad")) {
      return network_error();
    }
    return answer(200, {{"content-length", "1"}});
  };
  const fixed_clock clock(reference_time);
  line_log log;
  client_options options;
  options.region = "us-east-1";
  options.where.scheme = "http";
  options.where.host = "h";
  s3_client client(transport, credentials(), clock, log, options);
  retry_policy policy = fast_policy();
  policy.retry_for = milliseconds(300);
  retrying_store store(*loop, client, log, std::move(policy));
  engine::stop_source source;
  disposition ended_with = disposition::fail;
  loop->run(play::both(*loop, store, source, ended_with));
  // It was still trying when it was stopped.
  BOOST_TEST((ended_with == disposition::cancelled));
}

namespace {

// A store whose requests take as long as a test says, by a clock that stands still otherwise, and
// fail until it says that they succeed.
class timed_scene {
 public:
  timed_scene() : loop(engine::testing::make_reactor()), transport(*loop), clock(reference_time) {
    transport.handler = [this](const sent_request&) -> fake_transport::outcome {
      const auto sent = transport.sent.size();
      now += sent <= lasting.size() ? lasting[sent - 1] : lasting.back();
      if (sent < succeeds_at) {
        return network_error();
      }
      return answer(200, {{"etag", "\"e\""}, {"content-length", "1"}});
    };
    client_options options;
    options.region = "us-east-1";
    options.where.scheme = "https";
    options.where.host = "h";
    client.emplace(transport, credentials(), clock, log, options);
    retry_policy policy = fast_policy();
    policy.backoff_max = milliseconds(1);
    policy.retry_for = std::chrono::hours(1);
    policy.now = [this] { return now; };
    store.emplace(*loop, *client, log, std::move(policy));
  }

  engine::result<etag> upload() {
    const std::string body = "x";
    return loop->run(store->upload_part(
        upload_part_request(object_key("k"), upload_id("u"), 1, as_bytes(body)), {}));
  }

  std::vector<std::chrono::minutes> lasting;  // of each request; the last one's for all that follow
  std::size_t succeeds_at = SIZE_MAX;
  std::chrono::steady_clock::time_point now{std::chrono::hours(24)};
  std::unique_ptr<engine::reactor> loop;
  fake_transport transport;
  fixed_clock clock;
  line_log log;
  std::optional<s3_client> client;
  std::optional<retrying_store> store;
};

}  // namespace

BOOST_AUTO_TEST_CASE(an_attempt_that_went_well_for_long_is_repeated_when_it_breaks) {
  timed_scene here;
  here.lasting = {std::chrono::minutes(180)};
  here.succeeds_at = 2;
  const auto tag = here.upload();
  BOOST_REQUIRE_MESSAGE(tag.has_value(), error_text(tag));
  BOOST_TEST(here.transport.sent.size() == 2U);
  BOOST_REQUIRE(here.log.lines.size() == 1U);
  BOOST_TEST(here.log.lines[0].starts_with("request_retried verb=UploadPart attempt=1 "));
}

BOOST_AUTO_TEST_CASE(slow_attempts_in_a_row_are_progress) {
  timed_scene here;
  here.lasting = {std::chrono::minutes(70), std::chrono::minutes(5), std::chrono::minutes(90)};
  here.succeeds_at = 10;
  const auto tag = here.upload();
  BOOST_REQUIRE_MESSAGE(tag.has_value(), error_text(tag));
  BOOST_TEST(here.store->retries() == 9U);
}

BOOST_AUTO_TEST_CASE(a_line_that_always_breaks_ends_in_an_error) {
  timed_scene here;
  here.lasting = {std::chrono::minutes(70)};
  const auto tag = here.upload();
  BOOST_REQUIRE(!tag.has_value());
  BOOST_TEST((tag.error().why == reason::network));
  BOOST_TEST(tag.error().message.starts_with("given up after 11 attempts: "));
  BOOST_TEST(here.transport.sent.size() == 11U);
}

BOOST_AUTO_TEST_CASE(slow_failures_are_counted_from_the_last_success_of_others) {
  struct play {
    static engine::task<void> upload(retrying_store& store, std::string& message) {
      const std::string body = "x";
      upload_part_request request(object_key("k"), upload_id("u"), 1, as_bytes(body));
      auto uploading = store.upload_part(std::move(request), {});
      const auto tag = co_await std::move(uploading);
      message = tag.has_value() ? "done" : tag.error().message;
    }
    static engine::task<void> succeed_after(timed_scene& here, std::size_t requests,
                                            const std::string& given_up) {
      while (here.transport.sent.size() < requests && given_up.empty()) {
        auto sleeping = here.loop->sleep_for(milliseconds(1));
        const auto slept = co_await std::move(sleeping);
        BOOST_REQUIRE(slept.has_value());
      }
      auto asking = here.store->head_object(object_key("other"), {});
      const auto info = co_await std::move(asking);
      BOOST_TEST(info.has_value());
    }
    static engine::task<void> both(timed_scene& here, std::string& message) {
      engine::async_scope scope(*here.loop);
      scope.spawn(upload(*here.store, message));
      scope.spawn(succeed_after(here, 8, message));
      auto joining = scope.join();
      co_await std::move(joining);
    }
  };
  timed_scene here;
  here.transport.handler = [&here](const sent_request& sent) -> fake_transport::outcome {
    const bool head = sent.request.method == "HEAD";
    here.now += std::chrono::minutes(head ? 1 : 70);
    return head ? fake_transport::outcome(answer(200, {{"content-length", "1"}}))
                : fake_transport::outcome(network_error());
  };
  std::string message;
  here.loop->run(play::both(here, message));
  // Eleven of them after the success, or those and the one that was under way.
  BOOST_TEST(message.starts_with("given up after "), message);
  BOOST_TEST(here.transport.sent.size() - 1 >= 18U);
}

BOOST_AUTO_TEST_CASE(failures_that_move_nothing_end_when_the_time_is_over) {
  timed_scene here;
  here.lasting = {std::chrono::minutes(300), std::chrono::minutes(1)};
  const auto tag = here.upload();
  BOOST_REQUIRE(!tag.has_value());
  // The slow one, and one a minute for an hour.
  BOOST_TEST(here.transport.sent.size() == 61U);
}

BOOST_AUTO_TEST_CASE(the_long_silence_of_a_question_is_no_progress) {
  timed_scene here;
  here.lasting = {std::chrono::minutes(22)};
  const std::vector<completed_part> parts(1, completed_part(1, etag("e"), std::nullopt));
  const auto done = here.loop->run(
      here.store->complete_multipart_upload(object_key("k"), upload_id("u"), parts, {}));
  BOOST_REQUIRE(!done.has_value());
  BOOST_TEST(here.transport.sent.size() == 4U);
}

BOOST_AUTO_TEST_CASE(retry_after_is_a_lower_bound) {
  retry_policy policy = fast_policy();
  policy.retry_for = milliseconds(20);
  scene here(std::move(policy));
  engine::error slow = failure_with(disposition::retry, reason::throttled, "SlowDown");
  slow.retry_after = std::chrono::seconds(3600);
  here.memory.fail_from(1, slow);
  const auto info = here.head();
  BOOST_REQUIRE(!info.has_value());
  BOOST_TEST((info.error().why == reason::throttled));
  // It waited until retry_for ended, tried once more, and gave up.
  BOOST_TEST(here.memory.steps() == 2U);
  BOOST_TEST(here.log.contains("wait_ms=3600000"));
}

BOOST_AUTO_TEST_CASE(a_stop_ends_a_wait_at_once) {
  retry_policy policy = fast_policy();
  policy.backoff_first = std::chrono::hours(1);
  policy.backoff_max = std::chrono::hours(1);
  policy.retry_for = std::chrono::hours(2);
  scene here(std::move(policy));
  here.memory.fail_from(1, memory_store::lost_connection());
  engine::stop_source source;
  here.log.on_line = [&](const std::string&) {
    here.loop->post([&source] { source.request_stop(); });
  };
  const auto info = here.head(source.token());
  BOOST_REQUIRE(!info.has_value());
  BOOST_TEST((info.error().what_now == disposition::cancelled));
  BOOST_TEST(here.memory.steps() == 1U);
  BOOST_TEST(here.log.contains("wait_ms=3600000"));
}

BOOST_AUTO_TEST_CASE(a_stop_during_a_request_that_fails_gives_cancelled) {
  scene here;
  engine::stop_source source;
  here.memory.fail_from(1, memory_store::lost_connection());
  source.request_stop();
  const auto info = here.head(source.token());
  BOOST_REQUIRE(!info.has_value());
  BOOST_TEST((info.error().what_now == disposition::cancelled));
  BOOST_TEST(here.memory.steps() == 1U);
}

BOOST_AUTO_TEST_CASE(repeated_transfers_use_a_fresh_connection_and_a_fresh_signature) {
  const auto loop = engine::testing::make_reactor();
  fake_transport transport(*loop);
  fixed_clock clock(reference_time);
  line_log log;
  client_options options;
  options.region = "us-east-1";
  options.where.scheme = "https";
  options.where.host = "h";
  s3_client client(transport, credentials(), clock, log, options);
  retrying_store store(*loop, client, log, fast_policy());
  log.on_line = [&](const std::string&) { clock.time += std::chrono::seconds(1); };
  const std::string body = "x";

  transport.then(network_error());
  transport.then(answer(200, {{"etag", "\"e\""}}));
  const upload_part_request part(object_key("k"), upload_id("u"), 1, as_bytes(body));
  BOOST_TEST(loop->run(store.upload_part(part, {})).has_value());
  transport.then(network_error());
  transport.then(answer(200, {{"etag", "\"e\""}}));
  const put_request put(object_key("k"), as_bytes(body));
  BOOST_TEST(loop->run(store.put_object(put, {})).has_value());
  transport.then(network_error());
  transport.then(answer(200, {}, "x"));
  std::vector<std::byte> into(1);
  const get_request get(object_key("k"), into);
  BOOST_TEST(loop->run(store.get_object(get, {})).has_value());

  BOOST_REQUIRE(transport.sent.size() == 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    BOOST_TEST(transport.sent[i].request.fresh_connection == (i % 2 == 1));
    BOOST_TEST(transport.sent[i].body == (i < 4 ? "x" : ""));
  }
  BOOST_TEST(transport.sent[0].header("x-amz-date") == "20130524T000000Z");
  BOOST_TEST(transport.sent[1].header("x-amz-date") == "20130524T000001Z");
}

BOOST_AUTO_TEST_CASE(every_verb_is_repeated) {
  scene here;
  const auto run = [&](auto work) {
    // Odd steps fail, even ones succeed.
    here.memory.fail_at(here.memory.steps() + 1, memory_store::lost_connection());
    auto outcome = here.loop->run(std::move(work));
    BOOST_REQUIRE_MESSAGE(outcome.has_value(), error_text(outcome));
    if constexpr (!std::is_void_v<typename decltype(outcome)::value_type>) {
      return *outcome;
    }
  };
  const std::string body = "x";
  std::vector<std::byte> into(4);
  const object_key key("k");
  run(here.store.put_object(put_request(object_key("n"), as_bytes(body)), {}));
  run(here.store.get_object(get_request(key, into), {}));
  run(here.store.get_object_text(key, 10, {}));
  run(here.store.head_object(key, {}));
  run(here.store.list_objects(list_request(""), {}));
  run(here.store.delete_object(key, {}));
  write_options options;
  options.checksum_crc32 = false;
  const upload_id id = run(here.store.create_multipart_upload(key, options, {})).id;
  const etag tag = run(here.store.upload_part(upload_part_request(key, id, 1, as_bytes(body)), {}));
  run(here.store.list_parts(key, id, {}));
  run(here.store.list_multipart_uploads("", {}));
  const std::vector<completed_part> parts(1, completed_part(1, tag, std::nullopt));
  run(here.store.complete_multipart_upload(key, id, parts, {}));
  run(here.store.abort_multipart_upload(key, id, {}));
  const auto outcome = run(here.store.restore_object(key, 1, retrieval_tier::bulk, {}));
  BOOST_TEST((outcome == restore_outcome::not_archived));
  run(here.store.get_object_attributes(key, {}));
  BOOST_TEST(here.memory.steps() == 28U);
  BOOST_TEST(here.store.retries() == 14U);
}

BOOST_AUTO_TEST_CASE(a_complete_whose_answer_was_lost_ends_in_no_such_upload) {
  scene here;
  const object_key key("c");
  write_options options;
  options.checksum_crc32 = false;
  const auto id = here.loop->run(here.store.create_multipart_upload(key, options, {}));
  BOOST_REQUIRE(id.has_value());
  const std::string body = "x";
  const auto tag = here.loop->run(
      here.store.upload_part(upload_part_request(key, id->id, 1, as_bytes(body)), {}));
  BOOST_REQUIRE(tag.has_value());
  here.memory.fail_at(3, memory_store::lost_connection(), memory_store::performed::yes);
  const std::vector<completed_part> parts(1, completed_part(1, *tag, std::nullopt));
  const auto done = here.loop->run(here.store.complete_multipart_upload(key, id->id, parts, {}));
  BOOST_REQUIRE(!done.has_value());
  BOOST_TEST((done.error().what_now == disposition::not_found));
  BOOST_TEST(done.error().code == "NoSuchUpload");
  BOOST_TEST(here.memory.find("c")->body == "x");
}

BOOST_AUTO_TEST_SUITE_END()
