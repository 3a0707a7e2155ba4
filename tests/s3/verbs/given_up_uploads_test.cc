// Uploads that an earlier run left, or that this one gives up: what goes on, what ends, and what is
// said of those that have to stay.
#include "s3/verbs/multipart_upload.hh"

#include "tests/s3/verbs/store_support.hh"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

struct given_up_wire : store_wire {
  explicit given_up_wire(s3::retry_policy policy = hasty_policy())
      : store_wire(small_parts(), std::move(policy)) {}

  s3::multipart_upload upload_to(const std::string& key, s3::write_options options = {}) {
    return s3::multipart_upload(*loop, store, log, s3::object_key(key), std::move(options));
  }
  engine::result<void> put(s3::multipart_upload& upload, s3::part_number number,
                           const std::string& body) {
    return run(upload.put_part(number, bytes_of(body), digests_of(body), {}));
  }
  // One that stays open, with a part in it.
  s3::upload_id left_open(const std::string& key) {
    s3::multipart_upload upload = upload_to(key);
    BOOST_REQUIRE(put(upload, 1, "first").has_value());
    return upload.id().value();
  }
  std::vector<std::string> open_keys() {
    std::vector<std::string> keys;
    for (const auto& upload : server.open_uploads()) {
      keys.push_back(upload.key);
    }
    std::sort(keys.begin(), keys.end());
    return keys;
  }
  std::size_t events(const std::string& name) const {
    return static_cast<std::size_t>(std::count(log.events.begin(), log.events.end(), name));
  }
};

using texts = std::vector<std::string>;

}  // namespace

BOOST_AUTO_TEST_SUITE(given_up_uploads)

BOOST_AUTO_TEST_CASE(an_upload_of_an_earlier_run_goes_on_with_the_parts_it_has) {
  for (const bool checksums : {true, false}) {
    given_up_wire net;
    s3::write_options options;
    options.checksum_crc32 = checksums;
    s3::multipart_upload earlier = net.upload_to("key", options);
    BOOST_REQUIRE(net.put(earlier, 1, "first").has_value());
    BOOST_TEST(earlier.declared_checksums() == checksums);
    BOOST_REQUIRE(earlier.id().has_value());

    s3::multipart_upload later = net.upload_to("key");
    later.resume(*earlier.id(), checksums);
    later.adopt_part(1, 5, earlier.tag_of(1), digests_of("first").crc32.value());
    BOOST_TEST(later.bytes() == 5U);
    BOOST_TEST((later.tag_of(1) == earlier.tag_of(1)));
    BOOST_TEST(later.declared_checksums() == checksums);
    BOOST_REQUIRE(net.put(later, 2, "second").has_value());
    const auto stored = net.run(later.complete({}));
    BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
    BOOST_TEST(stored->size == 11U);
    BOOST_TEST(later.key().str() == "key");
    BOOST_TEST(net.server.object("bucket", "key")->body == "firstsecond");
    BOOST_TEST(net.server.count(s3_verb::create_upload) == 1U);
    BOOST_TEST(net.server.open_uploads().empty());
    // The second part goes as the first went: a store refuses a mixture.
    for (const recorded_request& request : net.server.requests()) {
      if (request.verb == s3_verb::upload_part) {
        BOOST_TEST(request.header("x-amz-checksum-crc32").empty() == !checksums);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(parts_are_sent_in_the_form_that_was_asked_for) {
  given_up_wire net;
  s3::multipart_upload upload = net.upload_to("key");
  s3::body_form form;
  form.asks_first = s3::body_form::asking::always;
  form.sign_payload = true;
  upload.send_as(form);
  BOOST_REQUIRE(net.put(upload, 1, "a small part").has_value());
  const recorded_request sent = net.server.requests().back();
  BOOST_REQUIRE((sent.verb == s3_verb::upload_part));
  BOOST_TEST(sent.header("expect") == "100-continue");
  BOOST_TEST(sent.header("x-amz-content-sha256") == sent.body_sha256);
  BOOST_TEST(net.run(upload.abort({})).has_value());
}

BOOST_AUTO_TEST_CASE(a_store_that_does_not_answer_is_not_taken_for_one_without_uploads) {
  given_up_wire net(no_retries());
  s3::multipart_upload upload = net.upload_to("key");
  BOOST_REQUIRE(net.put(upload, 1, "first").has_value());
  net.server.script(s3_verb::list_uploads, scripted_action::answer(503, "SlowDown"));
  const auto stored = net.run(upload.complete({}));
  BOOST_REQUIRE(!stored);
  BOOST_TEST((stored.error().why == reason::throttled));
  BOOST_TEST(stored.error().message.starts_with("looking for uploads left open: "),
             stored.error().message);
}

BOOST_AUTO_TEST_CASE(an_upload_that_is_given_up_ends_and_only_that) {
  given_up_wire net;
  const s3::upload_id mine = net.left_open("key");
  net.left_open("key");
  const auto ended = net.run(s3::end_upload(net.store, net.log, s3::object_key("key"), mine, {}));
  BOOST_REQUIRE_MESSAGE(ended.has_value(), error_text(ended));
  BOOST_TEST(net.open_keys() == texts{"key"}, boost::test_tools::per_element());
  // It is gone already: nothing is wrong.
  BOOST_TEST(
      net.run(s3::end_upload(net.store, net.log, s3::object_key("key"), mine, {})).has_value());
  BOOST_TEST(net.events("upload_left_open") == 0U);
}

// Its parts are paid for, and nothing else depends on them.
BOOST_AUTO_TEST_CASE(an_upload_that_may_not_be_ended_stays_with_a_warning) {
  for (const auto& [status, code] : {std::pair(403, "AccessDenied"), {501, "NotImplemented"}}) {
    given_up_wire net;
    const s3::upload_id mine = net.left_open("key");
    net.server.script({s3_verb::abort_upload, 1, 0}, scripted_action::answer(status, code));
    const auto ended = net.run(s3::end_upload(net.store, net.log, s3::object_key("key"), mine, {}));
    BOOST_REQUIRE_MESSAGE(ended.has_value(), error_text(ended));
    BOOST_TEST(net.events("upload_left_open") == 1U);
    BOOST_TEST(net.open_keys() == texts{"key"}, boost::test_tools::per_element());
  }
  // A store that does not answer is another matter.
  given_up_wire net(no_retries());
  const s3::upload_id mine = net.left_open("key");
  net.server.script(s3_verb::abort_upload, scripted_action::answer(500, "InternalError"));
  const auto ended = net.run(s3::end_upload(net.store, net.log, s3::object_key("key"), mine, {}));
  BOOST_REQUIRE(!ended);
  BOOST_TEST((ended.error().what_now == disposition::retry));
  BOOST_TEST(net.events("upload_left_open") == 0U);
}

BOOST_AUTO_TEST_CASE(all_uploads_of_a_key_end_and_none_of_a_longer_one) {
  for (const bool knows_one : {true, false}) {
    given_up_wire net;
    const s3::upload_id known = net.left_open("key");
    net.left_open("key");
    net.left_open("key-of-another");
    const auto ended = net.run(
        s3::end_uploads(net.store, net.log, s3::object_key("key"),
                        knows_one ? std::optional(known) : std::optional<s3::upload_id>(), {}));
    BOOST_REQUIRE_MESSAGE(ended.has_value(), error_text(ended));
    BOOST_TEST(net.open_keys() == texts{"key-of-another"}, boost::test_tools::per_element());
    BOOST_TEST(net.server.count(s3_verb::abort_upload) == 2U);
  }
}

BOOST_AUTO_TEST_CASE(the_known_upload_ends_where_nobody_may_or_can_list) {
  for (const auto& [status, code] : {std::pair(403, "AccessDenied"), {501, "NotImplemented"}}) {
    given_up_wire net;
    const s3::upload_id known = net.left_open("key");
    net.server.script({s3_verb::list_uploads, 1, 0}, scripted_action::answer(status, code));
    const auto ended =
        net.run(s3::end_uploads(net.store, net.log, s3::object_key("key"), known, {}));
    BOOST_REQUIRE_MESSAGE(ended.has_value(), error_text(ended));
    BOOST_TEST(net.events("open_uploads_not_listed") == 1U);
    BOOST_TEST(net.server.open_uploads().empty());
  }
}

// Each request in turn: an upload that may still be open is not reported as ended.
BOOST_AUTO_TEST_CASE(ending_all_fails_with_whichever_request_fails) {
  const s3_verb verbs[] = {s3_verb::abort_upload, s3_verb::list_uploads, s3_verb::abort_upload};
  const unsigned which[] = {1, 1, 2};
  for (std::size_t step = 0; step < std::size(verbs); ++step) {
    given_up_wire net(no_retries());
    const s3::upload_id known = net.left_open("key");
    net.left_open("key");
    net.server.script({verbs[step], which[step], 1}, scripted_action::answer(500, "Broken"));
    const auto ended =
        net.run(s3::end_uploads(net.store, net.log, s3::object_key("key"), known, {}));
    BOOST_REQUIRE(!ended);
    BOOST_TEST(ended.error().code == "Broken");
    BOOST_TEST(!net.server.open_uploads().empty());
    net.server.clear_script();
    BOOST_TEST(
        net.run(s3::end_uploads(net.store, net.log, s3::object_key("key"), known, {})).has_value());
    BOOST_TEST(net.server.open_uploads().empty());
  }
}

// The answer to Complete was lost, and what is there is not ours: somebody else's, or an older one.
BOOST_AUTO_TEST_CASE(an_object_that_was_there_before_does_not_stand_for_an_upload_that_failed) {
  given_up_wire net(no_retries());
  net.server.put("bucket", "key", "an older object");
  s3::multipart_upload upload = net.upload_to("key");
  BOOST_REQUIRE(net.put(upload, 1, "first").has_value());
  net.server.script({s3_verb::complete_upload, 1, 0}, scripted_action::answer(500, "Broken"));
  const auto stored = net.run(upload.complete({}));
  BOOST_REQUIRE(!stored);
  BOOST_TEST(stored.error().code == "Broken");
  BOOST_TEST(net.run(upload.abort({})).has_value());
  BOOST_TEST(net.server.object("bucket", "key")->body == "an older object");
}

BOOST_AUTO_TEST_SUITE_END()
