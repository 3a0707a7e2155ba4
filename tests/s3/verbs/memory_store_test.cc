#include "tests/support/memory_store.hh"

#include "tests/s3/http/fake_transport.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

class scene {
 public:
  explicit scene(memory_store_options options = {})
      : loop(engine::testing::make_reactor()), store(*loop, options) {}

  template <typename T>
  T run(engine::task<T> work) {
    return loop->run(std::move(work));
  }
  engine::result<etag> put(const std::string& key, const std::string& body,
                           precondition condition = {}) {
    put_request request(object_key(key), as_bytes(body));
    request.condition = std::move(condition);
    return run(store.put_object(std::move(request), {}));
  }

  std::unique_ptr<engine::reactor> loop;
  memory_store store;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(memory_store_suite)

BOOST_AUTO_TEST_CASE(etags_are_md5_as_on_s3) {
  scene here;
  // RFC 1321, appendix A.5: MD5("abc").
  BOOST_TEST(here.put("k", "abc")->str() == "900150983cd24fb0d6963f7d28e17f72");
}

BOOST_AUTO_TEST_CASE(conditions_are_kept) {
  scene here;
  const auto first = here.put("k", "1", precondition::absent());
  BOOST_REQUIRE(first.has_value());
  const auto again = here.put("k", "2", precondition::absent());
  BOOST_REQUIRE(!again.has_value());
  BOOST_TEST((again.error().why == reason::precondition));
  const auto second = here.put("k", "2", precondition::matches(*first));
  BOOST_REQUIRE(second.has_value());
  BOOST_TEST(!here.put("k", "3", precondition::matches(*first)).has_value());
  BOOST_TEST(here.store.find("k")->body == "2");
}

BOOST_AUTO_TEST_CASE(a_multipart_object_comes_into_being_at_complete) {
  scene here;
  const object_key key("k");
  const auto id = here.run(here.store.create_multipart_upload(key, write_options(), {}));
  BOOST_REQUIRE(id.has_value());
  std::vector<completed_part> parts;
  // CRC-32's check value, and that of "abc" (zlib's crc32()).
  const std::pair<std::string, std::uint32_t> bodies[] = {{"123456789", 0xcbf43926U},
                                                          {"abc", 0x352441c2U}};
  part_number number = 0;
  for (const auto& [body, crc] : bodies) {
    upload_part_request request(key, id->id, ++number, as_bytes(body));
    request.digests.crc32 = crc ^ 1U;
    const auto refused = here.run(here.store.upload_part(request, {}));
    BOOST_REQUIRE(!refused.has_value());
    BOOST_TEST((refused.error().why == reason::bad_request));
    request.digests.crc32 = crc;
    const auto tag = here.run(here.store.upload_part(request, {}));
    BOOST_REQUIRE_MESSAGE(tag.has_value(), error_text(tag));
    parts.emplace_back(number, *tag, crc);
  }
  BOOST_TEST(here.run(here.store.list_parts(key, id->id, {}))->size() == 2U);
  BOOST_TEST(here.store.find("k") == nullptr);
  std::vector<completed_part> swapped(parts.rbegin(), parts.rend());
  BOOST_TEST(!here.run(here.store.complete_multipart_upload(key, id->id, swapped, {})).has_value());
  const auto done = here.run(here.store.complete_multipart_upload(key, id->id, parts, {}));
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST(done->str().ends_with("-2"));
  BOOST_TEST(here.store.find("k")->body == "123456789abc");
  BOOST_TEST(here.store.uploads().empty());
  const auto twice = here.run(here.store.complete_multipart_upload(key, id->id, parts, {}));
  BOOST_REQUIRE(!twice.has_value());
  BOOST_TEST(twice.error().code == "NoSuchUpload");
}

BOOST_AUTO_TEST_CASE(an_abort_leaves_nothing_open) {
  scene here;
  const auto id =
      here.run(here.store.create_multipart_upload(object_key("p/k"), write_options(), {}));
  BOOST_REQUIRE(id.has_value());
  BOOST_TEST(here.run(here.store.list_multipart_uploads("p/", {}))->size() == 1U);
  BOOST_TEST(here.run(here.store.list_multipart_uploads("q/", {}))->empty());
  BOOST_TEST(
      here.run(here.store.abort_multipart_upload(object_key("p/k"), id->id, {})).has_value());
  BOOST_TEST(
      here.run(here.store.abort_multipart_upload(object_key("p/k"), id->id, {})).has_value());
  BOOST_TEST(here.store.uploads().empty());
}

BOOST_AUTO_TEST_CASE(ranges_and_texts_are_read) {
  scene here;
  here.store.put("k", "0123456789");
  std::vector<std::byte> into(4);
  get_request request(object_key("k"), into);
  request.range = byte_range(3, 4);
  BOOST_TEST(*here.run(here.store.get_object(request, {})) == 4U);
  BOOST_TEST(std::to_integer<char>(into[0]) == '3');
  request.range = byte_range(8, 4);
  BOOST_TEST(here.run(here.store.get_object(request, {})).error().status == 416);
  request.range = byte_range(0, 4);
  request.must_match = etag("other");
  BOOST_TEST((here.run(here.store.get_object(request, {})).error().why == reason::precondition));
  BOOST_TEST(here.run(here.store.get_object_text(object_key("k"), 10, {}))->body == "0123456789");
  BOOST_TEST(!here.run(here.store.get_object_text(object_key("k"), 9, {})).has_value());
  BOOST_TEST((here.run(here.store.head_object(object_key("none"), {})).error().what_now ==
              disposition::not_found));
}

BOOST_AUTO_TEST_CASE(listings_know_prefix_delimiter_and_start) {
  scene here;
  for (const char* key : {"a", "p/1", "p/2", "p/s/3", "p/s/4", "q"}) {
    here.store.put(key, "x");
  }
  list_request request("p/");
  BOOST_TEST(here.run(here.store.list_objects(request, {}))->objects.size() == 4U);
  request.delimiter = "/";
  auto listed = here.run(here.store.list_objects(request, {}));
  BOOST_TEST(listed->objects.size() == 2U);
  BOOST_REQUIRE(listed->common_prefixes.size() == 1U);
  BOOST_TEST(listed->common_prefixes[0] == "p/s/");
  request.start_after = "p/1";
  BOOST_TEST(here.run(here.store.list_objects(request, {}))->objects.size() == 1U);
  request.objects_max = 1;
  BOOST_TEST(!here.run(here.store.list_objects(request, {})).has_value());
}

BOOST_AUTO_TEST_CASE(a_step_fails_before_or_after_it_was_performed) {
  scene here;
  here.store.fail_at(1, memory_store::lost_connection());
  here.store.fail_at(2, memory_store::lost_connection(), memory_store::performed::yes);
  BOOST_TEST(!here.put("k", "1").has_value());
  BOOST_TEST(here.store.find("k") == nullptr);
  BOOST_TEST(!here.put("k", "2").has_value());
  BOOST_TEST(here.store.find("k")->body == "2");
  BOOST_TEST(here.put("k", "3").has_value());
  BOOST_TEST(here.store.count("PutObject") == 3U);
  here.store.fail_from(5, memory_store::lost_connection());
  BOOST_TEST(here.put("k", "4").has_value());
  BOOST_TEST(!here.put("k", "5").has_value());
  BOOST_TEST(!here.put("k", "6").has_value());
  here.store.never_fail();
  BOOST_TEST(here.put("k", "7").has_value());
}

BOOST_AUTO_TEST_CASE(a_store_without_checksums_refuses_them) {
  memory_store_options options;
  options.refuse_checksums = true;
  scene here(options);
  write_options writing;
  const auto refused = here.run(here.store.create_multipart_upload(object_key("k"), writing, {}));
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST((refused.error().why == reason::unsupported));
  writing.checksum_crc32 = false;
  BOOST_TEST(
      here.run(here.store.create_multipart_upload(object_key("k"), writing, {})).has_value());
}

BOOST_AUTO_TEST_CASE(archives_follow_the_clock) {
  fixed_clock clock(reference_time);
  memory_store_options options;
  options.clock = &clock;
  scene here(options);
  here.store.put("k", "body", "GLACIER");
  here.store.put("t", "body", "INTELLIGENT_TIERING", "ARCHIVE_ACCESS");
  const object_key key("k");
  const object_key tiered("t");
  using outcome = restore_outcome;
  const auto restore = [&](const object_key& what, std::optional<unsigned> days) {
    return here.run(here.store.restore_object(what, days, retrieval_tier::standard, {}));
  };
  const auto header = [&] { return here.run(here.store.head_object(key, {}))->restore; };
  std::vector<std::byte> into(4);
  const auto got = here.run(here.store.get_object(get_request(key, into), {}));
  BOOST_REQUIRE(!got.has_value());
  BOOST_TEST((got.error().why == reason::not_thawed));
  BOOST_TEST(header().empty());
  BOOST_TEST(restore(key, std::nullopt).error().status == 400);
  BOOST_TEST(restore(tiered, 1).error().status == 400);
  BOOST_TEST((*restore(key, 1) == outcome::accepted));
  BOOST_TEST((*restore(tiered, std::nullopt) == outcome::accepted));
  BOOST_TEST((*restore(key, 1) == outcome::in_progress));
  BOOST_TEST(header() == "ongoing-request=\"true\"");
  clock.time += std::chrono::hours(12);
  BOOST_TEST(header() ==
             "ongoing-request=\"false\", expiry-date=\"Sun, 26 May 2013 00:00:00 GMT\"");
  BOOST_TEST(here.run(here.store.get_object(get_request(key, into), {})).has_value());
  BOOST_TEST((*restore(key, 3) == outcome::thawed_already));
  BOOST_TEST(header().find("Tue, 28 May 2013 00:00:00 GMT") != std::string::npos);
  BOOST_TEST(here.run(here.store.head_object(tiered, {}))->archive_status.empty());
  BOOST_TEST((*restore(tiered, std::nullopt) == outcome::not_archived));
  clock.time += std::chrono::days(4);
  BOOST_TEST(header().empty());
  BOOST_TEST(!here.run(here.store.get_object(get_request(key, into), {})).has_value());
  BOOST_TEST(here.run(here.store.get_object(get_request(tiered, into), {})).has_value());
}

// What a store answers that leaves this verb out: whoever asks falls back to reading.
BOOST_AUTO_TEST_CASE(a_store_without_attributes_says_so_and_is_not_asked_again) {
  scene here;
  BOOST_REQUIRE(here.put("k", "abc").has_value());
  const auto told = here.run(here.store.object_store::get_object_attributes(object_key("k"), {}));
  BOOST_REQUIRE(!told);
  BOOST_TEST((told.error().why == reason::unsupported));
  BOOST_TEST((told.error().what_now == disposition::fail));
  BOOST_TEST(told.error().message == "k: this store tells no attributes of objects");
}

BOOST_AUTO_TEST_SUITE_END()
