#include "s3/verbs/multipart_upload.hh"

#include "tests/s3/verbs/store_support.hh"

#include <algorithm>
#include <thread>

using namespace bts3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

// A wire, and one upload to bucket/key over it.
struct upload_wire : store_wire {
  explicit upload_wire(scripted_s3_options server_options = small_parts(),
                       s3::retry_policy policy = hasty_policy())
      : store_wire(std::move(server_options), std::move(policy)),
        upload(*loop, store, log, s3::object_key("key"), written_as()) {}

  static s3::write_options written_as() {
    s3::write_options options;
    options.stored_as = s3::storage_class("DEEP_ARCHIVE");
    options.sse = "AES256";
    return options;
  }

  engine::result<void> put(s3::part_number number, const std::string& body) {
    return run(upload.put_part(number, bytes_of(body), digests_of(body), {}));
  }

  s3::multipart_upload upload;
};

engine::task<void> put_one(s3::multipart_upload& upload, s3::part_number number,
                           const std::string& body, std::vector<std::string>& failures) {
  auto putting = upload.put_part(number, bytes_of(body), digests_of(body), {});
  auto put = co_await std::move(putting);
  if (!put) {
    failures.push_back(put.error().text());
  }
}

engine::task<void> put_all(engine::reactor& loop, s3::multipart_upload& upload,
                           const std::vector<std::string>& bodies,
                           std::vector<std::string>& failures) {
  engine::async_scope scope(loop);
  for (std::size_t i = bodies.size(); i > 0; --i) {
    scope.spawn(put_one(upload, static_cast<s3::part_number>(i), bodies[i - 1], failures));
  }
  co_await scope.join();
}

// What a caller does with a whole object; aborts when anything fails.
engine::result<s3::stored_object> upload_two_parts(upload_wire& net, const std::string& first,
                                                   const std::string& second) {
  auto put = net.put(1, first);
  if (put) {
    put = net.put(2, second);
  }
  if (!put) {
    return std::move(put.error());
  }
  return net.run(net.upload.complete({}));
}

// What stores answer, each with status 400, when a CRC32 does not fit its body.
struct digest_refusal {
  const char* code;
  const char* message;
};
constexpr digest_refusal digest_refusals[] = {
    {"BadDigest", "The CRC32 you specified did not match the calculated checksum."},
    {"XAmzContentChecksumMismatch",  // MinIO
     "The provided 'x-amz-checksum' header does not match what was computed."},
    {"InvalidDigest",  // Garage
     "Invalid digest: Failed to validate checksum for algorithm Crc32"},
    {"InvalidRequest", "The checksum does not match"},
};

// The server refuses a CRC32 that does not fit in these words, and takes everything else.
void refuse_damage_as(scripted_s3_server& server, const digest_refusal& words) {
  server.script({s3_verb::any, 1, 0}, scripted_action::perform_then([words](server_answer& answer) {
                  if (answer.status == 400) {
                    answer.body = "<Error><Code>" + std::string(words.code) + "</Code><Message>" +
                                  words.message + "</Message></Error>";
                  }
                }));
}

s3::body_digests wrong_digests_of(const std::string& body) {
  s3::body_digests wrong = digests_of(body);
  wrong.crc32 = *wrong.crc32 ^ 1;
  return wrong;
}

// A part's or an object's request without CRC32.
bool any_without_checksum(const upload_wire& net) {
  const auto requests = net.server.requests();
  return std::any_of(requests.begin(), requests.end(), [](const recorded_request& request) {
    return (request.verb == s3_verb::upload_part || request.verb == s3_verb::put_object) &&
           request.header("x-amz-checksum-crc32").empty();
  });
}

engine::result<s3::etag> put_small(upload_wire& net, const std::string& body,
                                   s3::body_digests digests) {
  s3::put_request request(s3::object_key("small"), bytes_of(body));
  request.digests = digests;
  return net.run(net.store.put_object(std::move(request), {}));
}

std::size_t events(const upload_wire& net, const std::string& name) {
  return static_cast<std::size_t>(std::count(net.log.events.begin(), net.log.events.end(), name));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(multipart_upload)

BOOST_AUTO_TEST_CASE(parts_put_at_the_same_time_and_backwards_make_one_object) {
  upload_wire net{scripted_s3_options()};
  std::vector<std::string> bodies;
  std::string whole;
  for (unsigned i = 0; i < 4; ++i) {
    bodies.push_back(random_text(i < 3 ? 5 * mebibyte : 1000, i));
    whole += bodies.back();
  }
  std::vector<std::string> failures;
  net.run(put_all(*net.loop, net.upload, bodies, failures));
  BOOST_TEST(failures.empty());
  const auto stored = net.run(net.upload.complete({}));
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(stored->size == whole.size());
  BOOST_TEST(net.upload.bytes() == whole.size());
  auto object = net.server.object("bucket", "key");
  BOOST_REQUIRE(object.has_value());
  BOOST_TEST((object->body == whole));
  BOOST_TEST(object->etag == stored->tag.str());
  BOOST_TEST(object->headers["x-amz-storage-class"] == "DEEP_ARCHIVE");
  BOOST_TEST(object->headers["x-amz-server-side-encryption"] == "AES256");
  BOOST_TEST(net.server.count(s3_verb::create_upload) == 1U);
  BOOST_TEST(net.server.count(s3_verb::upload_part) == 4U);
  BOOST_TEST(net.server.count(s3_verb::complete_upload) == 1U);
  BOOST_TEST(net.server.open_uploads().empty());
  for (const recorded_request& request : net.server.requests()) {
    if (request.verb == s3_verb::upload_part) {
      BOOST_TEST(!request.header("x-amz-checksum-crc32").empty());
    }
    if (request.verb == s3_verb::create_upload) {
      BOOST_TEST(request.header("x-amz-checksum-algorithm") == "CRC32");
      BOOST_TEST(request.header("x-amz-checksum-type") == "COMPOSITE");
    }
  }
}

BOOST_AUTO_TEST_CASE(nothing_is_sent_before_the_first_part_and_aborting_that_is_free) {
  upload_wire net;
  BOOST_TEST(net.run(net.upload.abort({})).has_value());
  BOOST_TEST(net.server.requests().empty());
}

BOOST_AUTO_TEST_CASE(an_upload_is_created_again_where_checksums_are_refused) {
  for (const int status : {501, 400}) {
    scripted_s3_options options = small_parts();
    options.refuse_checksums_status = status;
    upload_wire net(options);
    const auto stored = upload_two_parts(net, "first", "second");
    BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
    // A store that names what it refuses is understood at once.
    BOOST_TEST(net.server.count(s3_verb::create_upload) == (status == 400 ? 2U : 3U));
    BOOST_TEST(net.server.count(s3_verb::upload_part) == 2U);
    BOOST_TEST(!net.features.sends(s3::feature::checksum));
    BOOST_TEST(events(net, "optional_feature_refused") == 1U);

    // The next upload of the run knows.
    s3::multipart_upload next(*net.loop, net.store, net.log, s3::object_key("next"), {});
    const std::string body = "third";
    BOOST_TEST(net.run(next.put_part(1, bytes_of(body), digests_of(body), {})).has_value());
    BOOST_TEST(net.run(next.complete({})).has_value());
    BOOST_TEST(net.server.count(s3_verb::create_upload) == (status == 400 ? 3U : 4U));
    BOOST_TEST(events(net, "optional_feature_refused") == 1U);
  }
}

BOOST_AUTO_TEST_CASE(a_damaged_part_is_refused_by_its_checksum_and_tried_five_times) {
  upload_wire net;
  const std::string body = random_text(1000);
  s3::body_digests wrong = digests_of(body);
  wrong.crc32 = *wrong.crc32 ^ 1;
  const auto put = net.run(net.upload.put_part(1, bytes_of(body), wrong, {}));
  BOOST_REQUIRE(!put.has_value());
  BOOST_TEST(put.error().code == "BadDigest");
  BOOST_TEST((put.error().why == reason::bad_request));
  BOOST_TEST(put.error().message.find("part 1") != std::string::npos);
  BOOST_TEST(net.server.count(s3_verb::upload_part) == 5U);
  BOOST_TEST(net.run(net.upload.abort({})).has_value());
  BOOST_TEST(net.server.open_uploads().empty());
}

// The bytes in memory are not those that the checksum was computed of: to send them without it
// would store them.
BOOST_AUTO_TEST_CASE(a_damaged_part_is_never_sent_without_its_checksum) {
  for (const digest_refusal& words : digest_refusals) {
    BOOST_TEST_CONTEXT(words.code) {
      upload_wire net;
      refuse_damage_as(net.server, words);
      const std::string body = random_text(1000);
      const auto put = net.run(net.upload.put_part(1, bytes_of(body), wrong_digests_of(body), {}));
      BOOST_REQUIRE(!put.has_value());
      BOOST_TEST(put.error().code == words.code);
      BOOST_TEST((put.error().why == reason::bad_request));
      BOOST_TEST(net.server.count(s3_verb::upload_part) == 5U);
      BOOST_TEST(!any_without_checksum(net));
      BOOST_TEST(net.features.sends(s3::feature::checksum));
      BOOST_TEST(events(net, "optional_feature_refused") == 0U);
      BOOST_TEST(net.run(net.upload.abort({})).has_value());
    }
  }
}

BOOST_AUTO_TEST_CASE(a_damaged_whole_object_is_never_sent_without_its_checksum) {
  for (const digest_refusal& words : digest_refusals) {
    BOOST_TEST_CONTEXT(words.code) {
      upload_wire net;
      refuse_damage_as(net.server, words);
      const std::string body = random_text(1000);
      const auto stored = put_small(net, body, wrong_digests_of(body));
      BOOST_REQUIRE(!stored.has_value());
      BOOST_TEST(stored.error().code == words.code);
      BOOST_TEST((stored.error().why == reason::bad_request));
      BOOST_TEST(net.server.count(s3_verb::put_object) == 5U);
      BOOST_TEST(!any_without_checksum(net));
      BOOST_TEST(net.features.sends(s3::feature::checksum));
      BOOST_TEST(net.server.object_count() == 0U);
    }
  }
}

// However it words that: a store that has taken checksums has not stopped knowing them.
BOOST_AUTO_TEST_CASE(what_a_store_refuses_after_it_took_checksums_is_not_sent_without) {
  upload_wire net;
  const std::string body = random_text(1000);
  BOOST_TEST(net.put(1, body).has_value());
  net.server.script({s3_verb::any, 1, 0}, scripted_action::answer(501, "NotImplemented"));
  const auto put = net.put(2, body);
  BOOST_REQUIRE(!put.has_value());
  BOOST_TEST((put.error().why == reason::unsupported));
  BOOST_TEST(net.server.count(s3_verb::upload_part) == 2U);
  BOOST_TEST(!put_small(net, body, digests_of(body)).has_value());
  BOOST_TEST(net.server.count(s3_verb::put_object) == 1U);
  s3::multipart_upload next(*net.loop, net.store, net.log, s3::object_key("next"), {});
  BOOST_TEST(!net.run(next.open({})).has_value());
  BOOST_TEST(net.server.count(s3_verb::create_upload) == 2U);
  BOOST_TEST(!any_without_checksum(net));
  BOOST_TEST(net.features.sends(s3::feature::checksum));
  BOOST_TEST(events(net, "optional_feature_refused") == 0U);
}

// A store may ignore the declaration, and one may know checksums of whole objects alone.
BOOST_AUTO_TEST_CASE(one_kind_of_request_says_nothing_of_the_other) {
  {
    upload_wire net;
    net.server.script(s3_verb::upload_part, scripted_action::answer(501, "NotImplemented"));
    net.server.script({s3_verb::upload_part, 2, 1},
                      scripted_action::answer(200, "", {{"ETag", "\"e\""}}));
    BOOST_TEST(net.put(1, "first").has_value());
    BOOST_TEST(net.server.count(s3_verb::upload_part) == 2U);
    BOOST_TEST(net.server.requests().back().header("x-amz-checksum-crc32").empty());
    BOOST_TEST(!net.features.sends(s3::feature::checksum));
  }
  upload_wire net;
  const std::string body = "body";
  BOOST_TEST(put_small(net, body, digests_of(body)).has_value());
  net.server.script(s3_verb::create_upload, scripted_action::answer(501, "NotImplemented"));
  BOOST_TEST(net.put(1, body).has_value());
  BOOST_TEST(net.server.count(s3_verb::create_upload) == 2U);
  BOOST_TEST(!net.features.sends(s3::feature::checksum_type));
  BOOST_TEST(net.features.sends(s3::feature::checksum));
}

BOOST_AUTO_TEST_CASE(an_acknowledgement_without_an_etag_is_not_believed) {
  upload_wire net;
  net.server.script(s3_verb::upload_part, scripted_action::perform_then(
                                              [](server_answer& answer) { answer.erase("ETag"); }));
  const auto stored = upload_two_parts(net, "first", "second");
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(net.server.count(s3_verb::upload_part) == 3U);
}

BOOST_AUTO_TEST_CASE(a_wrong_etag_of_a_part_fails_complete_and_leaves_nothing_after_abort) {
  upload_wire net;
  net.server.script(s3_verb::upload_part, scripted_action::perform_then([](server_answer& answer) {
                      answer.set("ETag", "\"00000000000000000000000000000000\"");
                    }));
  const auto stored = upload_two_parts(net, "first", "second");
  BOOST_REQUIRE(!stored.has_value());
  BOOST_TEST(stored.error().code == "InvalidPart");
  BOOST_TEST((stored.error().what_now == disposition::fail));
  BOOST_TEST(net.run(net.upload.abort({})).has_value());
  BOOST_TEST(net.server.open_uploads().empty());
  BOOST_TEST(net.server.object_count() == 0U);
}

BOOST_AUTO_TEST_CASE(a_busy_store_is_asked_again) {
  upload_wire net;
  net.server.script({s3_verb::create_upload, 1, 2}, scripted_action::answer(503, "SlowDown"));
  net.server.script({s3_verb::upload_part, 1, 1},
                    scripted_action::answer_before_body(503, "SlowDown", {{"Retry-After", "0"}}));
  net.server.script({s3_verb::upload_part, 3, 1}, scripted_action::answer(500, "InternalError"));
  net.server.script({s3_verb::complete_upload, 1, 1}, scripted_action::answer(503, "SlowDown"));
  const auto stored = upload_two_parts(net, random_text(2 * mebibyte), random_text(2 * mebibyte));
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(net.server.count(s3_verb::create_upload) == 3U);
  BOOST_TEST(net.server.count(s3_verb::upload_part) == 4U);
  BOOST_TEST(net.server.count(s3_verb::complete_upload) == 2U);
  BOOST_TEST(net.store.retries() == 5U);
  BOOST_TEST(net.server.open_uploads().empty());
}

BOOST_AUTO_TEST_CASE(a_part_whose_connection_is_reset_is_sent_again_whole) {
  upload_wire net;
  const std::string first = random_text(16 * mebibyte, 1);
  const std::string second = random_text(mebibyte, 2);
  net.server.script(s3_verb::upload_part, scripted_action::reset_after(mebibyte));
  const auto stored = upload_two_parts(net, first, second);
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST((net.server.object("bucket", "key")->body == first + second));
}

BOOST_AUTO_TEST_CASE(an_error_inside_a_200_is_an_error_and_complete_is_repeated) {
  upload_wire net;
  net.server.script({s3_verb::complete_upload, 1, 2},
                    scripted_action::error_in_200("InternalError"));
  const auto stored = upload_two_parts(net, "first", "second");
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(net.server.count(s3_verb::complete_upload) == 3U);
  BOOST_TEST(net.server.object("bucket", "key")->body == "firstsecond");
}

BOOST_AUTO_TEST_CASE(a_lost_answer_to_complete_is_made_good_by_a_head) {
  upload_wire net;
  net.server.script(s3_verb::complete_upload, scripted_action::perform_then_reset());
  const auto stored = upload_two_parts(net, "first", "second");
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(stored->size == 11U);
  BOOST_TEST(stored->tag.str() == net.server.object("bucket", "key")->etag);
  // The second got NoSuchUpload.
  BOOST_TEST(net.server.count(s3_verb::complete_upload) == 2U);
  BOOST_TEST(net.server.count(s3_verb::head_object) == 1U);
}

BOOST_AUTO_TEST_CASE(an_upload_that_vanished_without_an_object_is_not_found) {
  upload_wire net;
  net.server.script(s3_verb::complete_upload, scripted_action::forget_upload());
  const auto stored = upload_two_parts(net, "first", "second");
  BOOST_REQUIRE(!stored.has_value());
  BOOST_TEST((stored.error().what_now == disposition::not_found));
  BOOST_TEST(stored.error().code == "NoSuchUpload");
  BOOST_TEST(net.run(net.upload.abort({})).has_value());
}

BOOST_AUTO_TEST_CASE(an_object_of_another_size_does_not_pass_for_complete) {
  upload_wire net;
  net.server.put("bucket", "key", "older");
  net.server.script(s3_verb::complete_upload, scripted_action::forget_upload());
  const auto stored = upload_two_parts(net, "first", "second");
  BOOST_REQUIRE(!stored.has_value());
  BOOST_TEST((stored.error().what_now != disposition::retry));
}

BOOST_AUTO_TEST_CASE(an_etag_that_complete_withholds_comes_from_a_head) {
  scripted_s3_options options = small_parts();
  options.empty_etag_from_complete = true;
  upload_wire net(options);
  const auto stored = upload_two_parts(net, "first", "second");
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(stored->tag.str() == net.server.object("bucket", "key")->etag);
  BOOST_TEST(!stored->tag.empty());
}

BOOST_AUTO_TEST_CASE(abort_ends_the_upload_and_may_be_repeated) {
  upload_wire net;
  BOOST_TEST(net.put(1, "first").has_value());
  BOOST_TEST(net.server.open_uploads().size() == 1U);
  BOOST_TEST(net.run(net.upload.abort({})).has_value());
  BOOST_TEST(net.server.open_uploads().empty());
  BOOST_TEST(net.run(net.upload.abort({})).has_value());
}

BOOST_AUTO_TEST_CASE(abort_ends_the_upload_where_nobody_may_or_can_list) {
  for (const auto& [status, code] : {std::pair(403, "AccessDenied"), {501, "NotImplemented"}}) {
    upload_wire net;
    BOOST_TEST(net.put(1, "first").has_value());
    net.server.script(s3_verb::list_uploads, scripted_action::answer(status, code));
    BOOST_TEST(net.run(net.upload.abort({})).has_value());
    BOOST_TEST(net.server.open_uploads().empty());
  }
}

BOOST_AUTO_TEST_CASE(abort_finds_an_upload_whose_creation_was_never_answered) {
  upload_wire net(small_parts(), no_retries());
  net.server.script(s3_verb::create_upload, scripted_action::perform_then_reset());
  BOOST_TEST(!net.put(1, "first").has_value());
  BOOST_TEST(net.server.open_uploads().size() == 1U);
  BOOST_TEST(net.run(net.upload.abort({})).has_value());
  BOOST_TEST(net.server.open_uploads().empty());
}

BOOST_AUTO_TEST_CASE(abort_leaves_uploads_of_other_keys_alone) {
  upload_wire net;
  s3::multipart_upload other(*net.loop, net.store, net.log, s3::object_key("key-of-another"), {});
  const std::string body = "body";
  BOOST_TEST(net.run(other.put_part(1, bytes_of(body), digests_of(body), {})).has_value());
  BOOST_TEST(net.put(1, "first").has_value());
  BOOST_TEST(net.run(net.upload.abort({})).has_value());
  BOOST_REQUIRE(net.server.open_uploads().size() == 1U);
  BOOST_TEST(net.server.open_uploads()[0].key == "key-of-another");
}

BOOST_AUTO_TEST_CASE(a_stopped_part_is_cancelled_and_the_upload_can_be_aborted) {
  upload_wire net;
  net.server.script(s3_verb::upload_part, scripted_action::stall_after(mebibyte));
  const std::string body = random_text(16 * mebibyte);
  engine::stop_source stop;
  std::thread watcher([&net, &stop] {
    static_cast<void>(net.server.wait_for_stalls(1));
    net.loop->post([&stop] { stop.request_stop(); });
  });
  const auto put = net.run(net.upload.put_part(1, bytes_of(body), digests_of(body), stop.token()));
  watcher.join();
  BOOST_REQUIRE(!put.has_value());
  BOOST_TEST((put.error().what_now == disposition::cancelled));
  BOOST_TEST(net.server.count(s3_verb::upload_part) == 1U);
  BOOST_TEST(net.run(net.upload.abort({})).has_value());
  BOOST_TEST(net.server.open_uploads().empty());
}

// Without retries, so that the failure at each request comes to the caller (but libcurl repeats a
// part by itself when a pooled connection dies). A lost answer must not turn into success with a
// wrong object, nor leave an upload behind.
BOOST_AUTO_TEST_CASE(failing_at_any_request_leaves_no_upload_behind) {
  for (const bool performed : {false, true}) {
    bool reached = true;
    for (unsigned step = 1; reached; ++step) {
      BOOST_TEST_CONTEXT("request " << step << (performed ? " is performed" : " is refused")) {
        BOOST_REQUIRE(step < 20);
        upload_wire net(small_parts(), no_retries());
        net.server.script({s3_verb::any, step, 1}, performed
                                                       ? scripted_action::perform_then_reset()
                                                       : scripted_action::answer(500, "Broken"));
        const auto stored = upload_two_parts(net, "first", "second");
        reached = net.server.requests().size() >= step;
        if (stored) {
          BOOST_TEST(net.server.object("bucket", "key")->body == "firstsecond");
        } else {
          BOOST_TEST(reached);
          net.server.clear_script();
          BOOST_TEST(net.run(net.upload.abort({})).has_value());
        }
        BOOST_TEST(net.server.open_uploads().empty());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(an_upload_created_twice_because_an_answer_was_lost_is_not_left_open) {
  upload_wire net;
  net.server.script(s3_verb::create_upload, scripted_action::perform_then_reset());
  const auto stored = upload_two_parts(net, "first", "second");
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(net.server.count(s3_verb::create_upload) == 2U);
  BOOST_TEST(net.server.open_uploads().empty());
}

BOOST_AUTO_TEST_CASE(completing_needs_no_permission_to_list) {
  upload_wire net;
  net.server.script({s3_verb::list_uploads, 1, 0}, scripted_action::answer(403, "AccessDenied"));
  const auto stored = upload_two_parts(net, "first", "second");
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
}

BOOST_AUTO_TEST_CASE(a_whole_object_takes_one_request) {
  upload_wire net;
  const std::string body = random_text(1000);
  s3::put_request request(s3::object_key("small"), bytes_of(body));
  request.digests = digests_of(body);
  const auto stored = net.run(net.store.put_object(std::move(request), {}));
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(net.server.object("bucket", "small")->body == body);
  BOOST_REQUIRE(net.server.requests().size() == 1U);
  BOOST_TEST(!net.server.requests()[0].header("x-amz-checksum-crc32").empty());
}

BOOST_AUTO_TEST_CASE(a_whole_object_goes_without_a_checksum_where_that_is_refused) {
  scripted_s3_options options = small_parts();
  options.refuse_checksums_status = 501;
  upload_wire net(options);
  for (int i = 0; i < 2; ++i) {
    const std::string body = "body";
    s3::put_request request(s3::object_key("small"), bytes_of(body));
    request.digests = digests_of(body);
    const auto stored = net.run(net.store.put_object(std::move(request), {}));
    BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  }
  BOOST_TEST(net.server.count(s3_verb::put_object) == 3U);
  BOOST_TEST(events(net, "optional_feature_refused") == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
