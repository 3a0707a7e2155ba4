// What a store refuses, over the wire: what is tried, what is remembered, and what is left alone.
#include "s3/verbs/adaptive_store.hh"

#include "tests/s3/verbs/store_support.hh"
#include "tests/support/shown_setting.hh"

#include <boost/test/unit_test.hpp>

#include <openssl/evp.h>

#include <algorithm>
#include <array>

using bts3::engine::setting;
using bts3::testing::shown;

using namespace bts3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;
using s3::feature;

namespace {

scripted_s3_options lenient() {
  scripted_s3_options options;
  options.enforce_part_minimum = false;
  return options;
}

struct scene : store_wire {
  explicit scene(s3::retry_policy policy = hasty_policy())
      : store_wire(lenient(), std::move(policy)) {}

  void refuse(const std::string& header, const scripted_action& how, unsigned times = 0) {
    request_match match(s3_verb::any, 1, times);
    match.header = header;
    server.script(match, how);
  }
  engine::result<s3::etag> put(s3::write_options options = {}, s3::precondition condition = {}) {
    s3::put_request request(s3::object_key("k"), bytes_of(body));
    request.options = std::move(options);
    request.digests = digests_of(body);
    request.condition = std::move(condition);
    return run(store.put_object(std::move(request), {}));
  }
  // A question that the store answers, so that the key is known to be right.
  void know_the_key() {
    BOOST_TEST(run(store.list_objects(s3::list_request("x"), {})).has_value());
  }
  [[nodiscard]] std::size_t events(const std::string& name) const {
    return static_cast<std::size_t>(std::count(log.events.begin(), log.events.end(), name));
  }

  const std::string body = "body";
};

s3::write_options with_md5() {
  s3::write_options options;
  options.content_md5 = true;
  return options;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string sha256_hex(const std::string& text) {
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

}  // namespace

BOOST_AUTO_TEST_SUITE(adaptive_store_suite)

BOOST_AUTO_TEST_CASE(every_feature_has_a_row_of_its_own) {
  for (std::size_t i = 0; i < s3::feature_count; ++i) {
    const s3::feature_row& row = s3::row_of(static_cast<feature>(i));
    BOOST_TEST((row.which == static_cast<feature>(i)));
    BOOST_TEST(std::string(row.purpose) != "");
    // What is left out says what follows, and what stays says which setting decides.
    BOOST_TEST((row.may == s3::omission::never) == std::string(row.without).empty());
    if (row.may == s3::omission::never || row.may == s3::omission::by_default) {
      BOOST_TEST(row.by.has_value());
    }
  }
}

BOOST_AUTO_TEST_CASE(what_was_refused_is_left_out_of_every_later_request) {
  scene here;
  here.refuse("content-md5", scripted_action::answer(400, "InvalidArgument"));
  BOOST_TEST(here.put(with_md5()).has_value());
  const std::size_t first = here.server.count(s3_verb::put_object);
  BOOST_TEST(here.server.requests().back().header("x-amz-checksum-crc32") != "");
  BOOST_TEST(!here.features.sends(feature::content_md5));
  BOOST_TEST(here.features.sends(feature::checksum));
  BOOST_TEST(here.put(with_md5()).has_value());
  BOOST_TEST(here.server.count(s3_verb::put_object) == first + 1);
  BOOST_TEST(here.events("optional_feature_refused") == 1U);
}

BOOST_AUTO_TEST_CASE(several_things_are_left_out_together_where_one_is_not_enough) {
  scene here;
  here.refuse("content-md5", scripted_action::answer(501, "NotImplemented"));
  here.refuse("x-amz-checksum-crc32", scripted_action::answer(405, "MethodNotAllowed"));
  BOOST_TEST(here.put(with_md5()).has_value());
  BOOST_TEST(!here.features.sends(feature::content_md5));
  BOOST_TEST(!here.features.sends(feature::checksum));
  BOOST_TEST(here.events("optional_feature_refused") == 1U);
}

BOOST_AUTO_TEST_CASE(what_is_asked_for_by_name_stays_and_is_listed) {
  scene here;
  here.features.ask_for(feature::checksum);
  here.features.ask_for(feature::sse);
  here.refuse("x-amz-checksum-crc32", scripted_action::answer(400, "InvalidArgument"));
  s3::write_options options;
  options.sse = "AES256";
  options.stored_as = s3::storage_class("COLD");
  options.class_from = bts3::engine::setting::manifest_class;
  const auto put = here.put(options);
  BOOST_REQUIRE(!put.has_value());
  BOOST_TEST((put.error().what_now == disposition::fail));
  BOOST_TEST((put.error().why == reason::unsupported));
  for (const std::string& key : {"x-amz-checksum-crc32 (" + shown(setting::part_checksum) + ")",
                                 "(" + shown(setting::encryption) + ")",
                                 "x-amz-storage-class (" + shown(setting::manifest_class) + ")"}) {
    BOOST_TEST(has(put.error().remedy, key), put.error().remedy);
  }
  BOOST_TEST(here.server.object_count() == 0U);
  BOOST_TEST(here.events("optional_feature_refused") == 0U);
}

// A web server that answers once, as when it is restarted, is no store that refuses.
BOOST_AUTO_TEST_CASE(a_page_that_comes_once_leaves_everything_in) {
  for (const char* header : {"x-amz-checksum-crc32", "content-md5"}) {
    scene here;
    here.refuse(header, scripted_action::page(403), 1);
    BOOST_TEST(here.put(with_md5()).has_value());
    BOOST_TEST(here.features.left_out().empty());
    BOOST_TEST(here.server.count(s3_verb::put_object) == 2U);
  }
}

BOOST_AUTO_TEST_CASE(a_portal_before_everything_is_the_network_and_no_refusal) {
  s3::retry_policy policy = hasty_policy();
  policy.retry_for = std::chrono::milliseconds(50);
  scene here(policy);
  here.server.script(request_match(s3_verb::any, 1, 0), scripted_action::page(403));
  const auto put = here.put(with_md5());
  BOOST_REQUIRE(!put.has_value());
  BOOST_TEST((put.error().why == reason::network));
  BOOST_TEST(here.features.left_out().empty());
}

BOOST_AUTO_TEST_CASE(a_wrong_secret_is_not_taken_for_a_header_that_was_changed) {
  scene here;
  here.server.script(request_match(s3_verb::any, 1, 0),
                     scripted_action::answer(403, "SignatureDoesNotMatch"));
  const auto put = here.put(with_md5());
  BOOST_REQUIRE(!put.has_value());
  BOOST_TEST((put.error().why == reason::access));
  BOOST_TEST(here.server.count(s3_verb::any) == 1U);
  BOOST_TEST(has(put.error().remedy, "rewritten Host"));
}

BOOST_AUTO_TEST_CASE(a_signature_that_a_changed_header_breaks_is_made_without_it) {
  scene here;
  here.know_the_key();
  here.refuse("content-md5", scripted_action::answer(403, "SignatureDoesNotMatch"));
  BOOST_TEST(here.put(with_md5()).has_value());
  BOOST_TEST(!here.features.sends(feature::content_md5));
}

BOOST_AUTO_TEST_CASE(a_condition_is_never_left_out_here) {
  scene here;
  here.refuse("if-none-match", scripted_action::answer(501, "NotImplemented"));
  const auto put = here.put({}, s3::precondition::absent());
  BOOST_REQUIRE(!put.has_value());
  BOOST_TEST((put.error().why == reason::unsupported));
  BOOST_TEST(has(put.error().remedy, "If-None-Match"));
  BOOST_TEST(here.server.object_count() == 0U);
}

// Of two answers that blame the request the second is about something else.
BOOST_AUTO_TEST_CASE(an_unmet_condition_ends_the_trials) {
  scene here;
  here.server.put("bucket", "k", "another");
  here.refuse("content-md5", scripted_action::answer(400, "InvalidArgument"));
  const auto put = here.put(with_md5(), s3::precondition::absent());
  BOOST_REQUIRE(!put.has_value());
  BOOST_TEST((put.error().why == reason::precondition));
}

BOOST_AUTO_TEST_CASE(a_verb_that_the_store_lacks_is_asked_for_once) {
  for (const int status : {405, 501}) {
    scene here;
    here.server.script(request_match(s3_verb::list_uploads, 1, 0),
                       scripted_action::answer(status, "NotImplemented"));
    for (int i = 0; i < 3; ++i) {
      const auto listed = here.run(here.store.list_multipart_uploads("p", {}));
      BOOST_REQUIRE(!listed.has_value());
      BOOST_TEST((listed.error().why == reason::unsupported));
    }
    BOOST_TEST(here.server.count(s3_verb::list_uploads) == 1U);
    BOOST_TEST(here.events("optional_feature_refused") == 1U);
  }
}

BOOST_AUTO_TEST_CASE(a_403_for_what_no_listing_has_is_absence) {
  scene here;
  for (const s3_verb verb : {s3_verb::head_object, s3_verb::get_object}) {
    here.server.script(request_match(verb, 1, 0), scripted_action::answer(403, "AccessDenied"));
  }
  const s3::object_key key("k");
  std::vector<std::byte> into(10);
  const auto head = here.run(here.store.head_object(key, {}));
  const auto text = here.run(here.store.get_object_text(key, 100, {}));
  const auto bytes = here.run(here.store.get_object(s3::get_request(key, into), {}));
  BOOST_REQUIRE((!head.has_value() && !text.has_value() && !bytes.has_value()));
  BOOST_TEST((head.error().what_now == disposition::not_found));
  BOOST_TEST((text.error().what_now == disposition::not_found));
  BOOST_TEST((bytes.error().what_now == disposition::not_found));
  here.server.put("bucket", "k-not-this", "");  // a key that begins with it
  BOOST_TEST(
      (here.run(here.store.head_object(key, {})).error().what_now == disposition::not_found));

  here.server.put("bucket", "k", "there");
  for (const auto& denied : {here.run(here.store.head_object(key, {})).error(),
                             here.run(here.store.get_object_text(key, 100, {})).error()}) {
    BOOST_TEST((denied.why == reason::access));
    BOOST_TEST(!has(denied.remedy, "s3:ListBucket"));
    BOOST_TEST(has(denied.remedy, shown(setting::request_payer)));
    BOOST_TEST(has(denied.remedy, shown(setting::acl)));
    BOOST_TEST(has(denied.remedy, shown(setting::tags)));
  }
  here.server.script(request_match(s3_verb::list_objects, 1, 0),
                     scripted_action::answer(403, "AccessDenied"));
  const auto unknown = here.run(here.store.head_object(key, {}));
  BOOST_TEST((unknown.error().why == reason::access));
  BOOST_TEST(has(unknown.error().remedy, "s3:ListBucket"));
}

BOOST_AUTO_TEST_CASE(a_denial_names_the_right_that_the_request_takes) {
  scene here;
  here.server.put("bucket", "k", "there");
  const s3::object_key key("k");
  here.server.script(request_match(s3_verb::any, 1, 0),
                     scripted_action::answer(403, "AccessDenied"));
  std::vector<std::byte> into(10);
  const auto needs = [](const auto& outcome) {
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_TEST((outcome.error().why == reason::access));
    const std::string& remedy = outcome.error().remedy;
    const std::string before = "these credentials need ";
    const std::size_t at = remedy.find(before);
    return at == std::string::npos
               ? remedy
               : remedy.substr(at + before.size(), remedy.find(": ", at) - at - before.size());
  };
  BOOST_TEST(needs(here.run(here.store.list_objects(s3::list_request("x"), {}))) ==
             "s3:ListBucket");
  BOOST_TEST(needs(here.run(here.store.list_multipart_uploads("x", {}))) ==
             "s3:ListBucketMultipartUploads");
  BOOST_TEST(needs(here.run(here.store.head_object(key, {}))) == "s3:GetObject");
  BOOST_TEST(needs(here.run(here.store.get_object(s3::get_request(key, into), {}))) ==
             "s3:GetObject");
  BOOST_TEST(needs(here.put()) == "s3:PutObject");
  BOOST_TEST(needs(here.run(here.store.create_multipart_upload(key, {}, {}))) == "s3:PutObject");
  BOOST_TEST(needs(here.run(here.store.delete_object(key, {}))) == "s3:DeleteObject");
  BOOST_TEST(needs(here.run(here.store.list_parts(key, s3::upload_id("u"), {}))) ==
             "s3:ListMultipartUploadParts");
  BOOST_TEST(needs(here.run(here.store.abort_multipart_upload(key, s3::upload_id("u"), {}))) ==
             "s3:AbortMultipartUpload");
  BOOST_TEST(needs(here.run(here.store.get_object_attributes(key, {}))) ==
             "s3:GetObjectAttributes");
}

BOOST_AUTO_TEST_CASE(a_complete_that_was_done_and_answers_500_is_looked_for) {
  scene here;
  const s3::object_key key("k");
  const auto made = here.run(here.store.create_multipart_upload(key, {}, {}));
  BOOST_REQUIRE(made.has_value());
  s3::upload_part_request part(key, made->id, 1, bytes_of(here.body));
  part.digests = digests_of(here.body);
  const auto tag = here.run(here.store.upload_part(std::move(part), {}));
  BOOST_REQUIRE(tag.has_value());
  here.server.script(request_match(s3_verb::complete_upload, 1, 1),
                     scripted_action::perform_then_reset());
  here.server.script(request_match(s3_verb::complete_upload, 2, 0),
                     scripted_action::answer(500, "InternalError"));
  std::vector<s3::completed_part> parts;
  parts.emplace_back(1U, *tag, digests_of(here.body).crc32);
  const auto done = here.run(here.store.complete_multipart_upload(key, made->id, parts, {}));
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST(done->str() == here.server.object("bucket", "k")->etag);
  BOOST_TEST(here.server.count(s3_verb::complete_upload) == 3U);
}

BOOST_AUTO_TEST_CASE(an_object_of_another_upload_is_not_taken_for_this_ones) {
  s3::retry_policy policy = hasty_policy();
  policy.retry_for = std::chrono::milliseconds(20);
  scene here(policy);
  here.server.put("bucket", "k", "put whole");
  here.server.script(request_match(s3_verb::complete_upload, 1, 0),
                     scripted_action::answer(500, "InternalError"));
  std::vector<s3::completed_part> parts;
  parts.emplace_back(1U, s3::etag("t"), std::nullopt);
  const auto done = here.run(
      here.store.complete_multipart_upload(s3::object_key("k"), s3::upload_id("u"), parts, {}));
  BOOST_REQUIRE(!done.has_value());
  BOOST_TEST(done.error().status == 500);
}

BOOST_AUTO_TEST_CASE(standard_is_left_out_of_a_thaw_and_another_tier_is_named) {
  const std::string root = "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  const std::string days = "<Days>3</Days>";
  const std::string bulk = "<GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters>";
  const std::pair<int, const char*> dialects[] = {
      {400, "MalformedXML"}, {400, "InvalidArgument"}, {501, "NotImplemented"}};
  for (const auto& [status, code] : dialects) {
    BOOST_TEST_CONTEXT(status << ' ' << code) {
      scene here;
      here.server.put("bucket", "k", "x", {{"x-amz-storage-class", "GLACIER"}});
      here.server.script(request_match(s3_verb::restore_object, 1, 1),
                         scripted_action::answer(status, code));
      const auto thawed = here.run(
          here.store.restore_object(s3::object_key("k"), 3U, s3::retrieval_tier::standard, {}));
      BOOST_REQUIRE_MESSAGE(thawed.has_value(), error_text(thawed));
      BOOST_TEST(!here.features.sends(feature::tier));
      BOOST_TEST(here.server.count(s3_verb::restore_object) == 2U);
      BOOST_TEST(here.server.requests().back().body_sha256 ==
                 sha256_hex(root + days + "</RestoreRequest>"));
      // Another tier is another price: nobody chooses that for the user.
      here.server.script(request_match(s3_verb::restore_object, 1, 0),
                         scripted_action::answer(status, code));
      const auto refused = here.run(
          here.store.restore_object(s3::object_key("k"), 3U, s3::retrieval_tier::bulk, {}));
      BOOST_REQUIRE(!refused.has_value());
      BOOST_TEST(has(refused.error().remedy, "Tier (" + shown(setting::tier_in_force) + ")"));
      BOOST_TEST(here.server.requests().back().body_sha256 ==
                 sha256_hex(root + days + bulk + "</RestoreRequest>"));
    }
  }
}

BOOST_AUTO_TEST_CASE(who_pays_is_told_with_every_request) {
  wire net(lenient());
  engine::system_clock_source clock;
  engine::testing::recording_log log;
  s3::client_options options = client_for(net.server.url());
  options.request_payer = true;
  s3::s3_client client(*net.transport, test_credentials(), clock, log, std::move(options));
  BOOST_TEST(net.loop->run(client.list_objects(s3::list_request("p"), {})).has_value());
  BOOST_TEST(!net.loop->run(client.head_object(s3::object_key("k"), {})).has_value());
  for (const recorded_request& request : net.server.requests()) {
    BOOST_TEST(request.header("x-amz-request-payer") == "requester");
    BOOST_TEST(has(request.header("authorization"), "x-amz-request-payer"));
  }
}

BOOST_AUTO_TEST_SUITE_END()
