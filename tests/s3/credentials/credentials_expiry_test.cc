// Credentials that run out, and a clock that is off, while requests are made.
#include "s3/credentials/credential_provider.hh"

#include "s3/verbs/multipart_upload.hh"
#include "tests/s3/credentials/credentials_support.hh"
#include "tests/s3/verbs/store_support.hh"

#include <boost/test/unit_test.hpp>

#include <deque>
#include <optional>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

credentials key(const std::string& id) {
  credentials made;
  made.access_key_id = id;
  made.secret_access_key = "secret";
  made.session_token = "token";
  made.source = "the test";
  return made;
}

// KEY0 at first, and the next one each time it is asked; or as told.
class numbered_source final : public credential_source {
 public:
  explicit numbered_source(engine::reactor& loop) : _loop(loop) {}
  engine::task<engine::result<credentials>> find(engine::stop_token) override {
    auto yielding = _loop.yield();
    co_await std::move(yielding);
    ++asked;
    if (failures > 0) {
      --failures;
      engine::error failure;
      failure.what_now = disposition::retry;
      failure.message = "STS is away";
      co_return failure;
    }
    credentials made = key("KEY" + std::to_string(same ? 0 : asked - 1));
    if (lasting) {
      made.expiration = clock->now() + *lasting;
    }
    co_return made;
  }

  int asked = 0;
  int failures = 0;
  bool same = false;
  std::optional<std::chrono::seconds> lasting;
  const engine::clock* clock = nullptr;

 private:
  engine::reactor& _loop;
};

// A client over the wire whose credentials come from a numbered_source.
class renewing_wire : public wire {
 public:
  explicit renewing_wire(std::time_t now = 0, bool checksums = true)
      : wire(small_parts()),
        source(*loop),
        fixed(now),
        provider(*loop, source, clock(), log),
        client(*transport, provider, clock(), log, client_for(server.url())),
        store(*loop, client, log, hasty_policy()),
        upload(*loop, store, log, object_key("key"), written(checksums)) {
    source.clock = &clock();
    server.put("bucket", "there", "text");
  }

  static write_options written(bool checksums) {
    write_options options;
    options.checksum_crc32 = checksums;
    return options;
  }
  const engine::clock& clock() {
    return fixed.time.time_since_epoch().count() == 0 ? static_cast<const engine::clock&>(system)
                                                      : static_cast<const engine::clock&>(fixed);
  }
  template <typename T>
  T run(engine::task<T> work) {
    return loop->run(std::move(work));
  }
  engine::result<text_object> read() {
    return run(store.get_object_text(object_key("there"), 100, {}));
  }
  // "METHOD KEY status" of each request so far.
  std::vector<std::string> story() {
    std::vector<std::string> lines;
    for (const recorded_request& one : server.requests()) {
      const std::string authorization = one.header("authorization");
      const std::size_t from = authorization.find("Credential=") + 11;
      lines.push_back(one.method + " " +
                      authorization.substr(from, authorization.find('/', from) - from) + " " +
                      std::to_string(one.status));
    }
    return lines;
  }

  engine::system_clock_source system;
  numbered_source source;
  fixed_clock fixed;
  line_log log;
  refreshing_credentials provider;
  s3_client client;
  retrying_store store;
  multipart_upload upload;
};

struct parts {
  static engine::task<void> one(multipart_upload& upload, part_number number,
                                const std::string& body, int& failed) {
    auto putting = upload.put_part(number, bytes_of(body), body_digests(), {});
    const auto put = co_await std::move(putting);
    failed += put.has_value() ? 0 : 1;
  }
  static engine::task<void> all(engine::reactor& loop, multipart_upload& upload, part_number first,
                                const std::vector<std::string>& bodies, int& failed) {
    engine::async_scope scope(loop);
    for (std::size_t i = 0; i < bodies.size(); ++i) {
      scope.spawn(one(upload, first + static_cast<part_number>(i), bodies[i], failed));
    }
    auto joining = scope.join();
    co_await std::move(joining);
  }
};

using lines = std::vector<std::string>;

std::size_t events(const line_log& log, const std::string& name) {
  std::size_t count = 0;
  for (const std::string& line : log.lines) {
    count += line.starts_with(name + " ") ? 1 : 0;
  }
  return count;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(credentials_expiry)

BOOST_AUTO_TEST_CASE(a_token_that_expires_in_the_middle_of_an_upload_is_replaced) {
  renewing_wire net(0, false);
  const std::vector<std::string> first = {random_text(100'000, 1), random_text(100'000, 2)};
  const std::vector<std::string> second = {random_text(3'000'000, 3), random_text(3'000'000, 4),
                                           random_text(3'000'000, 5)};
  int failed = 0;
  net.run(parts::all(*net.loop, net.upload, 1, first, failed));
  net.server.refuse_access_key("KEY0");
  net.run(parts::all(*net.loop, net.upload, 3, second, failed));
  BOOST_TEST(failed == 0);
  const auto stored = net.run(net.upload.complete({}));
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(net.server.object("bucket", "key").value().body ==
             first[0] + first[1] + second[0] + second[1] + second[2]);
  // Each of the three was refused and repeated once, and they shared one renewal.
  BOOST_TEST(net.source.asked == 2);
  BOOST_TEST(net.server.count(s3_verb::create_upload) == 1U);
  BOOST_TEST(net.server.count(s3_verb::upload_part) == 2U + 3U + 3U);
  BOOST_TEST(net.server.count(s3_verb::complete_upload) == 1U);
  BOOST_TEST(net.server.count(s3_verb::abort_upload) == 0U);
  BOOST_TEST(net.store.retries() == 0U);
  BOOST_TEST(net.server.open_uploads().empty());
}

BOOST_AUTO_TEST_CASE(credentials_are_renewed_before_they_expire) {
  renewing_wire net(reference_time);
  net.source.lasting = std::chrono::hours(1);
  BOOST_TEST(net.read().has_value());
  net.fixed.time += std::chrono::minutes(54);
  BOOST_TEST(net.read().has_value());
  net.fixed.time += std::chrono::minutes(2);
  BOOST_TEST(net.read().has_value());
  BOOST_TEST((net.story() == lines{"GET KEY0 200", "GET KEY0 200", "GET KEY1 200"}));
}

BOOST_AUTO_TEST_CASE(a_refusal_is_final_when_the_source_gives_the_same_again) {
  renewing_wire net;
  net.source.same = true;
  net.server.refuse_access_key("KEY0");
  auto text = net.read();
  BOOST_REQUIRE(!text.has_value());
  BOOST_TEST((text.error().why == reason::expired_token));
  BOOST_TEST((text.error().what_now == disposition::fail));
  BOOST_TEST(contains(text.error().message, "ExpiredToken"));
  BOOST_TEST(
      contains(text.error().message, "access key KEY0 from the test, which gives the same again"));
  BOOST_TEST((net.story() == lines{"GET KEY0 400"}));
  BOOST_TEST(net.source.asked == 2);
}

BOOST_AUTO_TEST_CASE(a_refusal_is_final_when_the_next_ones_are_refused_too) {
  renewing_wire net;
  net.server.refuse_access_key("KEY0");
  net.server.refuse_access_key("KEY1");
  const auto text = net.read();
  BOOST_REQUIRE(!text.has_value());
  BOOST_TEST((text.error().why == reason::expired_token));
  BOOST_TEST(contains(text.error().message, "access key KEY1 from the test, like those before"));
  BOOST_TEST((net.story() == lines{"GET KEY0 400", "GET KEY1 400"}));
}

BOOST_AUTO_TEST_CASE(a_key_that_the_store_does_not_know_any_more_is_looked_up_again) {
  renewing_wire net;
  net.server.refuse_access_key("KEY0", "InvalidAccessKeyId", 403);
  BOOST_TEST(net.read().has_value());
  BOOST_TEST((net.story() == lines{"GET KEY0 403", "GET KEY1 200"}));
  renewing_wire other;
  other.source.same = true;
  other.server.refuse_access_key("KEY0", "InvalidAccessKeyId", 403);
  const auto text = other.read();
  BOOST_REQUIRE(!text.has_value());
  BOOST_TEST((text.error().why == reason::access));
  BOOST_TEST(text.error().message.ends_with("access key KEY0 from the test"));
  BOOST_TEST((other.story() == lines{"GET KEY0 403"}));
}

BOOST_AUTO_TEST_CASE(the_bare_400_to_a_head_may_mean_an_expired_token) {
  renewing_wire net;
  net.server.refuse_access_key("KEY0");
  const auto info = net.run(net.store.head_object(object_key("there"), {}));
  BOOST_REQUIRE_MESSAGE(info.has_value(), error_text(info));
  BOOST_TEST((net.story() == lines{"HEAD KEY0 400", "HEAD KEY1 200"}));
}

BOOST_AUTO_TEST_CASE(a_renewal_that_fails_names_both_and_may_be_repeated) {
  renewing_wire net;
  BOOST_TEST(net.read().has_value());
  net.server.refuse_access_key("KEY0");
  net.source.failures = 1;
  const auto text = net.run(net.client.get_object_text(object_key("there"), 100, {}));
  BOOST_REQUIRE(!text.has_value());
  BOOST_TEST((text.error().what_now == disposition::retry));
  BOOST_TEST(contains(text.error().message, "ExpiredToken"));
  BOOST_TEST(contains(text.error().message, "asking for new ones: STS is away"));
  // The store above the client waits for STS to come back.
  net.source.failures = 2;
  BOOST_TEST(net.read().has_value());
  BOOST_TEST(net.store.retries() == 2U);
  BOOST_TEST((net.story() == lines{"GET KEY0 200", "GET KEY0 400", "GET KEY4 200"}));
}

BOOST_AUTO_TEST_CASE(keys_that_are_rotated_in_a_file_are_read_again) {
  credential_scene here;
  here.clock.time = std::chrono::system_clock::now();  // as the server's, or it would be skew
  scripted_s3_server server;
  server.put("bucket", "there", "text");
  here.write(".aws/credentials",
             "[default]\naws_access_key_id=OLD\naws_secret_access_key=s\n"
             "aws_session_token=t\n");
  credential_chain chain(here.context(*here.transport));
  refreshing_credentials provider(*here.loop, chain, here.clock, here.log);
  s3_client client(*here.transport, provider, here.clock, here.log, client_for(server.url()));
  const auto read = [&] {
    return here.loop->run(client.get_object_text(object_key("there"), 100, {}));
  };
  BOOST_TEST(read().has_value());
  server.refuse_access_key("OLD");
  auto text = read();
  BOOST_REQUIRE(!text.has_value());
  BOOST_TEST(contains(text.error().message, "from profile \"default\" in " +
                                                here.path(".aws/credentials") +
                                                ", which gives the same again"));
  here.write(".aws/credentials", "[default]\naws_access_key_id=NEW\naws_secret_access_key=s\n");
  here.clock.time += std::chrono::seconds(30);
  text = read();
  BOOST_REQUIRE_MESSAGE(text.has_value(), error_text(text));
  BOOST_TEST(server.count(s3_verb::get_object) == 4U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(credentials_clock_skew)

BOOST_AUTO_TEST_CASE(an_upload_with_a_clock_that_is_hours_off_costs_one_more_request) {
  for (const int hours : {3, -3}) {
    renewing_wire net(0, false);
    net.server.set_clock(std::chrono::hours(hours));
    const std::vector<std::string> bodies = {random_text(1000, 1), random_text(1000, 2)};
    int failed = 0;
    net.run(parts::all(*net.loop, net.upload, 1, bodies, failed));
    BOOST_TEST(failed == 0);
    BOOST_TEST(net.run(net.upload.complete({})).has_value());
    BOOST_TEST(net.server.count(s3_verb::create_upload) == 2U);
    BOOST_TEST(net.server.count(s3_verb::upload_part) == 2U);
    BOOST_TEST(net.server.count(s3_verb::complete_upload) == 1U);
    BOOST_TEST(events(net.log, "clock_skew_corrected") == 1U);
    BOOST_TEST(net.source.asked == 1);
    BOOST_TEST(net.store.retries() == 0U);
  }
}

BOOST_AUTO_TEST_CASE(a_request_can_be_refused_for_its_time_and_then_for_its_token) {
  renewing_wire net;
  net.server.set_clock(std::chrono::hours(3));
  net.server.refuse_access_key("KEY0");
  BOOST_TEST(net.read().has_value());
  BOOST_TEST((net.story() == lines{"GET KEY0 403", "GET KEY0 400", "GET KEY1 200"}));
}

// Over a transport that answers as told, with a clock that stands at midnight.
class skewed_scene : public credential_scene {
 public:
  skewed_scene() : client(fake, key("KEY"), clock, log, client_for("https://store.example")) {}
  engine::result<object_info> head() { return loop->run(client.head_object(object_key("k"), {})); }
  [[nodiscard]] lines times() const {
    lines found;
    for (const sent_request& one : fake.sent) {
      found.push_back(one.header("x-amz-date").substr(9));
    }
    return found;
  }
  s3_client client;
};

BOOST_AUTO_TEST_CASE(a_refusal_that_names_nothing_is_skew_when_the_dates_are_far_apart) {
  for (const int status : {400, 403}) {
    skewed_scene here;
    here.fake.then(answer(status, {{"date", "Fri, 24 May 2013 01:00:00 GMT"}}));
    here.fake.then(answer(200, {{"content-length", "1"}}));
    BOOST_TEST(here.head().has_value());
    BOOST_TEST((here.times() == lines{"000000Z", "010000Z"}));
  }
  for (const int status : {404, 412, 500}) {
    skewed_scene here;
    here.fake.then(answer(status, {{"date", "Fri, 24 May 2013 01:00:00 GMT"}}));
    BOOST_TEST(!here.head().has_value());
    BOOST_TEST((here.times() == lines{"000000Z"}));
    BOOST_TEST(here.log.lines.empty());
  }
}

BOOST_AUTO_TEST_CASE(a_clock_that_is_set_right_meanwhile_is_noticed) {
  skewed_scene here;
  here.fake.handler = [](const sent_request& sent) -> fake_transport::outcome {
    if (sent.header("x-amz-date") == "20130524T010000Z") {
      return answer(200, {{"content-length", "1"}});
    }
    return testing::refusal(403, "RequestTimeTooSkewed", "skewed", "",
                            {{"date", "Fri, 24 May 2013 01:00:00 GMT"}});
  };
  BOOST_TEST(here.head().has_value());
  here.clock.time += std::chrono::hours(1);
  BOOST_TEST(here.head().has_value());
  BOOST_TEST(here.head().has_value());
  BOOST_TEST((here.times() == lines{"000000Z", "010000Z", "020000Z", "010000Z", "010000Z"}));
  BOOST_REQUIRE(events(here.log, "clock_skew_corrected") == 2U);
  BOOST_TEST(here.log.lines[0].starts_with("clock_skew_corrected seconds=3600 "));
  BOOST_TEST(here.log.lines[1].starts_with("clock_skew_corrected seconds=0 "));
}

BOOST_AUTO_TEST_CASE(a_date_that_is_a_proxys_is_believed_only_until_it_proves_wrong) {
  // Our clock is right; the proxy's is an hour ahead, and one key may not be read.
  skewed_scene here;
  here.fake.handler = [](const sent_request& sent) -> fake_transport::outcome {
    const header_list proxys = {{"date", "Fri, 24 May 2013 01:00:00 GMT"}};
    if (sent.header("x-amz-date") == "20130524T010000Z") {
      return testing::refusal(403, "RequestTimeTooSkewed", "skewed", "", proxys);
    }
    if (sent.request.url.ends_with("/forbidden")) {
      return testing::refusal(403, "AccessDenied", "no", "", proxys);
    }
    return answer(200, {{"content-length", "1"}, {"date", "Fri, 24 May 2013 01:00:00 GMT"}});
  };
  const auto forbidden = [&] {
    return here.loop->run(here.client.head_object(object_key("forbidden"), {}));
  };
  BOOST_TEST(!forbidden().has_value());
  BOOST_TEST((here.times() == lines{"000000Z", "010000Z"}));
  BOOST_TEST(here.head().has_value());
  BOOST_TEST((here.times() == lines{"000000Z", "010000Z", "010000Z", "000000Z"}));
  // From now on the Date is left alone.
  const auto again = forbidden();
  BOOST_REQUIRE(!again.has_value());
  BOOST_TEST((again.error().why == reason::access));
  BOOST_TEST(here.head().has_value());
  BOOST_TEST(
      (here.times() == lines{"000000Z", "010000Z", "010000Z", "000000Z", "000000Z", "000000Z"}));
  BOOST_TEST(events(here.log, "clock_skew_corrected") == 1U);
  BOOST_TEST(events(here.log, "clock_skew_correction_withdrawn") == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
