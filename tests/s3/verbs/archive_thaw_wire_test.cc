// Thawing over a real socket, against the scripted server's archive life cycle.
#include "s3/verbs/archive_thaw.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/s3/verbs/store_support.hh"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <vector>

using namespace bts3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

const s3::wall_time start = std::chrono::system_clock::from_time_t(reference_time);

std::string sha256_of(const std::string& text) {
  std::array<unsigned char, 32> value{};
  BOOST_REQUIRE(
      ::EVP_Digest(text.data(), text.size(), value.data(), nullptr, EVP_sha256(), nullptr) == 1);
  std::string hex;
  for (const unsigned char byte : value) {
    static constexpr char digits[] = "0123456789abcdef";
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  return hex;
}

// A client and a server whose clocks agree, and are moved by sleeping.
class thaw_wire : public wire {
 public:
  explicit thaw_wire(scripted_s3_options server_options = {})
      : wire(std::move(server_options)),
        clock(reference_time),
        client(*transport, test_credentials(), clock, log, client_for(server.url())),
        store(*loop, client, log, hasty_policy()) {
    server.set_time(clock.time);
    options.deadline = start + days(30);
    options.sleep = [this](std::chrono::nanoseconds duration, engine::stop_token) {
      return nap(this, duration);
    };
  }

  void add(const std::string& key, const std::string& stored_as,
           const std::string& archive_status = {}) {
    std::map<std::string, std::string> headers{{"x-amz-storage-class", stored_as}};
    if (!archive_status.empty()) {
      headers["x-amz-archive-status"] = archive_status;
    }
    server.put("bucket", key, "body", headers);
    objects.emplace_back(s3::object_key(key), 4);
  }
  engine::result<s3::thaw_report> thaw() {
    s3::archive_thaw work(*loop, store, clock, log, objects, options);
    return loop->run(work.run({}));
  }
  s3::thaw_report thawed() {
    auto report = thaw();
    BOOST_REQUIRE_MESSAGE(report.has_value(), error_text(report));
    return *report;
  }
  engine::result<s3::text_object> read(const std::string& key) {
    return loop->run(store.get_object_text(s3::object_key(key), 100, {}));
  }
  engine::result<s3::restore_outcome> restore(const std::string& key,
                                              std::optional<unsigned> copy_days,
                                              s3::retrieval_tier tier) {
    return loop->run(store.restore_object(s3::object_key(key), copy_days, tier, {}));
  }
  void set_time(s3::wall_time now) {
    clock.time = now;
    server.set_time(now);
  }
  // The SHA-256 of the bodies of all requests of that verb, in order.
  [[nodiscard]] std::vector<std::string> bodies(s3_verb verb) const {
    std::vector<std::string> found;
    for (const recorded_request& request : server.requests()) {
      if (request.verb == verb) {
        found.push_back(request.body_sha256);
      }
    }
    return found;
  }

  fixed_clock clock;
  line_log log;
  s3::s3_client client;
  s3::retrying_store store;
  std::vector<s3::thaw_object> objects;
  s3::thaw_options options;
  unsigned naps = 0;

 private:
  static engine::task<engine::result<void>> nap(thaw_wire* self,
                                                std::chrono::nanoseconds duration) {
    ++self->naps;
    self->set_time(self->clock.time + std::chrono::duration_cast<seconds>(duration));
    auto yielding = self->loop->yield();
    co_await std::move(yielding);
    co_return engine::ok();
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(archive_thaw_wire)

BOOST_AUTO_TEST_CASE(an_archived_object_lives_through_its_whole_cycle) {
  thaw_wire net;
  net.add("a", "DEEP_ARCHIVE");
  const auto before = net.read("a");
  BOOST_REQUIRE(!before.has_value());
  BOOST_TEST((before.error().why == reason::not_thawed));
  net.options.days = 1;
  const s3::thaw_report report = net.thawed();
  BOOST_TEST((report.outcome == s3::thaw_outcome::ready));
  BOOST_TEST(report.requested == 1U);
  // Twelve hours, as Standard takes there: 30 + 60 + 120 + 240 + 143 x 300 s.
  BOOST_TEST(net.naps == 147U);
  BOOST_TEST(net.server.count(s3_verb::restore_object) == 1U);
  BOOST_TEST(net.server.count(s3_verb::head_object) == 148U);
  BOOST_TEST(net.bodies(s3_verb::restore_object)[0] ==
             sha256_of("<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                       "<Days>1</Days><GlacierJobParameters><Tier>Standard</Tier>"
                       "</GlacierJobParameters></RestoreRequest>"));
  // Requested for a day from noon on, and midnight follows.
  BOOST_TEST((report.first_expiry == start + days(2)));
  BOOST_TEST(net.read("a").has_value());
  net.set_time(start + days(2) - seconds(1));
  BOOST_TEST(net.read("a").has_value());
  net.set_time(start + days(2));
  BOOST_TEST((net.read("a").error().why == reason::not_thawed));
  BOOST_TEST(net.thawed().requested == 1U);
  BOOST_TEST(net.read("a").has_value());
}

BOOST_AUTO_TEST_CASE(mixed_classes_are_asked_for_as_each_wants_it) {
  thaw_wire net;
  net.add("standard", "STANDARD");
  net.add("instant", "GLACIER_IR");
  net.add("flexible", "GLACIER");
  net.add("tiered", "INTELLIGENT_TIERING", "ARCHIVE_ACCESS");
  net.add("frequent", "INTELLIGENT_TIERING");
  net.options.tier = s3::retrieval_tier::expedited;
  net.options.concurrency = 1;  // in order
  const s3::thaw_report report = net.thawed();
  BOOST_TEST((report.outcome == s3::thaw_outcome::ready));
  BOOST_TEST(report.requested == 2U);
  BOOST_TEST(report.ready == 1U);
  BOOST_TEST(report.readable == 4U);
  BOOST_TEST(net.naps == 4U);  // 30 + 60 + 120 + 240 s, beyond five minutes
  const auto bodies = net.bodies(s3_verb::restore_object);
  BOOST_REQUIRE(bodies.size() == 2U);
  const std::string root = "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  const std::string tier =
      "<GlacierJobParameters><Tier>Expedited</Tier></GlacierJobParameters></RestoreRequest>";
  BOOST_TEST(bodies[0] == sha256_of(root + "<Days>7</Days>" + tier));
  BOOST_TEST(bodies[1] == sha256_of(root + tier));
  for (const s3::thaw_object& object : net.objects) {
    BOOST_TEST(net.read(object.key.str()).has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_request_whose_answer_was_lost_is_in_progress) {
  thaw_wire net;
  net.add("a", "GLACIER");
  net.server.script(s3_verb::restore_object, scripted_action::perform_then_reset());
  const s3::thaw_report report = net.thawed();
  BOOST_TEST((report.outcome == s3::thaw_outcome::ready));
  BOOST_TEST(report.in_progress == 1U);
  BOOST_TEST(net.server.count(s3_verb::restore_object) == 2U);
}

BOOST_AUTO_TEST_CASE(a_copy_that_ends_too_early_is_extended_and_charged_as_standard) {
  thaw_wire net;
  net.add("a", "GLACIER");
  BOOST_TEST(net.restore("a", 1, s3::retrieval_tier::standard).has_value());
  net.set_time(start + hours(6));
  net.options.needed_until = start + days(5);
  net.options.tier = s3::retrieval_tier::expedited;
  const s3::thaw_report report = net.thawed();
  BOOST_TEST((report.outcome == s3::thaw_outcome::ready));
  BOOST_TEST(report.extended == 1U);
  BOOST_TEST(net.naps == 0U);
  BOOST_TEST(net.server.requests().back().status == 200);
  BOOST_TEST(net.bodies(s3_verb::restore_object)[1] ==
             sha256_of("<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                       "<Days>7</Days><GlacierJobParameters><Tier>Standard</Tier>"
                       "</GlacierJobParameters></RestoreRequest>"));
  net.set_time(start + days(5));
  BOOST_TEST(net.read("a").has_value());
}

BOOST_AUTO_TEST_CASE(without_capacity_for_expedited_each_poll_asks_again) {
  thaw_wire net;
  net.add("a", "GLACIER");
  net.add("b", "GLACIER");
  net.options.tier = s3::retrieval_tier::expedited;
  net.options.concurrency = 1;
  net.server.script({s3_verb::restore_object, 2, 3},
                    scripted_action::answer(503, "GlacierExpeditedRetrievalNotAvailable"));
  const s3::thaw_report report = net.thawed();
  BOOST_TEST((report.outcome == s3::thaw_outcome::ready));
  BOOST_TEST(report.requested == 2U);
  BOOST_TEST(net.server.count(s3_verb::restore_object) == 5U);
  BOOST_TEST(net.store.retries() == 0U);
  BOOST_TEST(std::count_if(net.log.lines.begin(), net.log.lines.end(), [](const auto& line) {
               return line.starts_with("thaw_refused reason=there is no capacity for Expedited");
             }) == 1);
  BOOST_TEST(net.log.contains("thaw_requested objects=2 readable=0 ready=0 thawing=1 refused=1"));
  BOOST_TEST(net.log.contains("thaw_poll objects=2 readable=0 ready=0 thawing=2 refused=0"));
}

BOOST_AUTO_TEST_CASE(without_capacity_until_the_deadline_the_object_is_reported_as_archived) {
  thaw_wire net;
  net.add("a", "GLACIER");
  net.options.tier = s3::retrieval_tier::expedited;
  net.options.deadline = start + minutes(5);
  net.server.script({s3_verb::restore_object, 1, 0},
                    scripted_action::answer(503, "GlacierExpeditedRetrievalNotAvailable"));
  const s3::thaw_report report = net.thawed();
  BOOST_TEST((report.outcome == s3::thaw_outcome::deadline));
  BOOST_TEST(report.refused == 1U);
  BOOST_TEST(report.thawing == 0U);
  BOOST_REQUIRE(report.missing.size() == 1U);
  BOOST_TEST((report.missing[0].state == s3::archive_state::archived));
}

BOOST_AUTO_TEST_CASE(throttled_requests_are_repeated) {
  thaw_wire net;
  net.add("a", "GLACIER");
  net.server.script({s3_verb::restore_object, 1, 2}, scripted_action::answer(503, "SlowDown"));
  BOOST_TEST((net.thawed().outcome == s3::thaw_outcome::ready));
  BOOST_TEST(net.store.retries() == 2U);
  BOOST_TEST(net.server.count(s3_verb::restore_object) == 3U);
}

BOOST_AUTO_TEST_CASE(a_store_without_restores_says_so_once_with_a_remedy) {
  for (const int status : {405, 501}) {
    scripted_s3_options rules;
    rules.refuse_restores_status = status;
    thaw_wire net(rules);
    net.add("a", "GLACIER");
    const auto report = net.thaw();
    BOOST_REQUIRE(!report.has_value());
    BOOST_TEST((report.error().why == reason::unsupported));
    BOOST_TEST(report.error().message.find(": POST a: ") != std::string::npos);
    BOOST_TEST(report.error().remedy.starts_with("this store has no RestoreObject"));
    BOOST_TEST(net.server.count(s3_verb::restore_object) == 1U);
  }
}

BOOST_AUTO_TEST_CASE(a_store_that_contradicts_itself_is_an_error) {
  thaw_wire net;
  net.add("a", "GLACIER");
  net.server.script({s3_verb::restore_object, 1, 0},
                    scripted_action::answer(403, "InvalidObjectState"));
  const auto report = net.thaw();
  BOOST_REQUIRE(!report.has_value());
  BOOST_TEST((report.error().why == reason::protocol));
  BOOST_TEST(report.error().message.starts_with("thawing: a: "));
  BOOST_TEST(net.server.count(s3_verb::restore_object) == 1U);
  BOOST_TEST(net.server.count(s3_verb::get_object) == 1U);
}

BOOST_AUTO_TEST_CASE(a_read_that_fails_for_another_reason_says_that_reason) {
  scripted_s3_options rules;
  rules.refuse_restores_status = 501;
  thaw_wire net(rules);
  net.add("a", "GLACIER");
  net.server.script(s3_verb::get_object, scripted_action::answer(403, "AccessDenied"));
  const auto report = net.thaw();
  BOOST_REQUIRE(!report.has_value());
  BOOST_TEST((report.error().why == reason::access));
}

// As on Ceph 16 with a placement class of that name: 501, and the object can be read.
BOOST_AUTO_TEST_CASE(classes_that_are_names_only_need_no_thawing) {
  for (const bool denied : {false, true}) {
    scripted_s3_options rules;
    rules.archives_in_name_only = true;
    rules.refuse_restores_status = denied ? 0 : 501;
    thaw_wire net(rules);
    net.add("a", "DEEP_ARCHIVE");
    net.add("b", "GLACIER");
    net.server.put("bucket", "empty", "", {{"x-amz-storage-class", "GLACIER"}});
    net.objects.emplace_back(s3::object_key("empty"), 0);
    const s3::thaw_report report = net.thawed();
    BOOST_TEST((report.outcome == s3::thaw_outcome::ready));
    BOOST_TEST(report.readable == 3U);
    BOOST_TEST(net.naps == 0U);
    BOOST_TEST(net.server.count(s3_verb::restore_object) == 3U);
    BOOST_TEST(net.server.count(s3_verb::get_object) == 3U);
    const auto requests = net.server.requests();
    BOOST_TEST(std::count_if(requests.begin(), requests.end(), [](const auto& request) {
                 return request.header("range") == "bytes=0-0";
               }) == 2);
  }
}

// 200 for an object that HEAD goes on calling archived: believed only when HEAD agrees.
BOOST_AUTO_TEST_CASE(readiness_is_not_believed_against_head) {
  thaw_wire net;
  net.add("a", "GLACIER");
  net.server.script(
      s3_verb::restore_object,
      scripted_action::perform_then([](server_answer& answer) { answer.status = 200; }));
  net.server.script({s3_verb::head_object, 2, 1}, scripted_action::perform_then([](auto& answer) {
                      answer.erase("x-amz-restore");
                    }));
  const s3::thaw_report report = net.thawed();
  BOOST_TEST((report.outcome == s3::thaw_outcome::ready));
  BOOST_TEST(net.naps == 63U);  // 450 + 59 x 300 s are beyond the five hours
  BOOST_TEST(net.server.count(s3_verb::restore_object) == 1U);
}

// What the server demands, so that the cases above prove something.
BOOST_AUTO_TEST_CASE(the_scripted_server_keeps_the_rules_of_restores) {
  thaw_wire net;
  net.add("standard", "STANDARD");
  net.add("flexible", "GLACIER");
  net.add("deep", "DEEP_ARCHIVE");
  net.add("tiered", "INTELLIGENT_TIERING", "ARCHIVE_ACCESS");
  using tier = s3::retrieval_tier;
  using outcome = s3::restore_outcome;
  BOOST_TEST((*net.restore("standard", 1, tier::bulk) == outcome::not_archived));
  BOOST_TEST(net.restore("flexible", std::nullopt, tier::bulk).error().code == "MalformedXML");
  BOOST_TEST(net.restore("tiered", 1, tier::bulk).error().code == "InvalidArgument");
  BOOST_TEST(net.restore("deep", 1, tier::expedited).error().code == "InvalidArgument");
  BOOST_TEST((net.restore("none", 1, tier::bulk).error().what_now == disposition::not_found));
  BOOST_TEST((*net.restore("flexible", 1, tier::expedited) == outcome::accepted));
  BOOST_TEST((*net.restore("flexible", 1, tier::expedited) == outcome::in_progress));
  BOOST_TEST((*net.restore("tiered", std::nullopt, tier::standard) == outcome::accepted));
  BOOST_TEST(!net.read("tiered").has_value());
  net.server.finish_restores();
  BOOST_TEST((*net.restore("flexible", 1, tier::bulk) == outcome::thawed_already));
  BOOST_TEST((*net.restore("tiered", std::nullopt, tier::bulk) == outcome::not_archived));
  BOOST_TEST(net.read("flexible").has_value());
  BOOST_TEST(net.read("tiered").has_value());
  BOOST_TEST(!net.read("deep").has_value());
}

BOOST_AUTO_TEST_CASE(a_thousand_objects_cost_two_requests_each_and_one_for_each_poll) {
  scripted_s3_options rules;
  rules.thaw_takes = seconds(90);
  thaw_wire net(rules);
  for (int i = 0; i < 1000; ++i) {
    net.add("chunk-" + std::to_string(i), "DEEP_ARCHIVE");
  }
  net.options.concurrency = 8;
  const s3::thaw_report report = net.thawed();
  BOOST_TEST((report.outcome == s3::thaw_outcome::ready));
  BOOST_TEST(report.requested == 1000U);
  BOOST_TEST(report.polls == 2U);  // after 30 s and after 90 s
  BOOST_TEST(net.server.count(s3_verb::restore_object) == 1000U);
  BOOST_TEST(net.server.count(s3_verb::head_object) == 3000U);
  BOOST_TEST(net.server.requests().size() == 4000U);
  BOOST_TEST(net.store.retries() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()
