// Listings of the client, page after page.
#include "tests/s3/verbs/client_scene.hh"

#include <string>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

std::string listing_of(const std::string& content) {
  return "<ListBucketResult>" + content + "</ListBucketResult>";
}

std::string entry(const std::string& key) {
  return "<Contents><Key>" + key + "</Key><Size>1</Size></Contents>";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(s3_client_suite)

BOOST_AUTO_TEST_CASE(a_listing_follows_all_pages) {
  client_scene here;
  here.transport.then(answer(200, {},
                             listing_of("<IsTruncated>true</IsTruncated>" + entry("p/a") +
                                        "<NextContinuationToken>t/1</NextContinuationToken>")));
  here.transport.then(
      answer(200, {},
             listing_of(entry("p/b") + "<CommonPrefixes><Prefix>p/c/</Prefix></CommonPrefixes>")));
  list_request request("p/");
  request.delimiter = "/";
  request.start_after = "p/A";
  const auto all = here.run(here.client->list_objects(request, {}));
  BOOST_REQUIRE_MESSAGE(all.has_value(), error_text(all));
  BOOST_REQUIRE(all->objects.size() == 2U);
  BOOST_TEST(all->objects[1].key.str() == "p/b");
  BOOST_TEST(all->common_prefixes.size() == 1U);
  BOOST_TEST(here.transport.sent.at(0).request.url ==
             "https://store.example/"
             "bucket?delimiter=%2F&encoding-type=url&list-type=2&prefix=p%2F&start-after=p%2FA");
  BOOST_TEST(here.transport.sent.at(1).request.url ==
             "https://store.example/"
             "bucket?continuation-token=t%2F1&delimiter=%2F&encoding-type=url&list-type=2&"
             "prefix=p%2F&start-after=p%2FA");
}

BOOST_AUTO_TEST_CASE(a_listing_of_something_else_is_refused) {
  client_scene here;
  here.transport.then(answer(200, {}, listing_of(entry("p/a") + entry("q/b"))));
  auto all = here.run(here.client->list_objects(list_request("p/"), {}));
  BOOST_REQUIRE(!all.has_value());
  BOOST_TEST((all.error().why == reason::protocol));
  BOOST_TEST(contains(all.error().message, "q/b"));
}

BOOST_AUTO_TEST_CASE(a_listing_ends_when_the_store_repeats_a_page_or_lists_too_much) {
  client_scene here;
  const std::string page = listing_of("<IsTruncated>true</IsTruncated>" + entry("a") +
                                      "<NextContinuationToken>same</NextContinuationToken>");
  here.transport.then(answer(200, {}, page));
  here.transport.then(answer(200, {}, page));
  auto all = here.run(here.client->list_objects(list_request(""), {}));
  BOOST_REQUIRE(!all.has_value());
  BOOST_TEST((all.error().why == reason::protocol));
  list_request request("");
  request.objects_max = 1;
  here.transport.then(answer(200, {}, listing_of(entry("a") + entry("b"))));
  all = here.run(here.client->list_objects(request, {}));
  BOOST_REQUIRE(!all.has_value());
  BOOST_TEST((all.error().what_now == disposition::fail));
}

BOOST_AUTO_TEST_CASE(parts_of_an_upload_are_listed_over_all_pages) {
  client_scene here;
  const auto page = [](const std::string& more, int number) {
    return answer(200, {},
                  "<ListPartsResult>" + more + "<Part><PartNumber>" + std::to_string(number) +
                      "</PartNumber><ETag>\"e\"</ETag><Size>7</Size></Part></ListPartsResult>");
  };
  const std::string marker =
      "<IsTruncated>true</IsTruncated><NextPartNumberMarker>1</NextPartNumberMarker>";
  here.transport.then(page(marker, 1));
  here.transport.then(page("", 2));
  const auto parts = here.run(here.client->list_parts(object_key("k"), upload_id("u"), {}));
  BOOST_REQUIRE_MESSAGE(parts.has_value(), error_text(parts));
  BOOST_TEST(parts->size() == 2U);
  BOOST_TEST(here.transport.sent.at(0).request.url == "https://store.example/bucket/k?uploadId=u");
  BOOST_TEST(here.transport.sent.at(1).request.url ==
             "https://store.example/bucket/k?part-number-marker=1&uploadId=u");
  here.transport.then(page(marker, 1));
  here.transport.then(page(marker, 2));
  BOOST_TEST(!here.run(here.client->list_parts(object_key("k"), upload_id("u"), {})).has_value());
  here.transport.then(page(marker, 2));
  here.transport.then(page("", 1));
  BOOST_TEST(!here.run(here.client->list_parts(object_key("k"), upload_id("u"), {})).has_value());
}

BOOST_AUTO_TEST_CASE(open_uploads_are_listed_over_all_pages) {
  client_scene here;
  const auto page = [](const std::string& more, const std::string& key, const std::string& id) {
    return answer(200, {},
                  "<ListMultipartUploadsResult>" + more + "<Upload><Key>" + key +
                      "</Key><UploadId>" + id +
                      "</UploadId></Upload></ListMultipartUploadsResult>");
  };
  const std::string marker =
      "<IsTruncated>true</IsTruncated><NextKeyMarker>p/a</NextKeyMarker>"
      "<NextUploadIdMarker>1</NextUploadIdMarker>";
  here.transport.then(page(marker, "p/a", "1"));
  here.transport.then(page("", "p/b", "2"));
  const auto uploads = here.run(here.client->list_multipart_uploads("p/", {}));
  BOOST_REQUIRE_MESSAGE(uploads.has_value(), error_text(uploads));
  BOOST_TEST(uploads->size() == 2U);
  BOOST_TEST(here.transport.sent.at(0).request.url ==
             "https://store.example/bucket?encoding-type=url&prefix=p%2F&uploads=");
  BOOST_TEST(here.transport.sent.at(1).request.url ==
             "https://store.example/"
             "bucket?encoding-type=url&key-marker=p%2Fa&prefix=p%2F&upload-id-marker=1&uploads=");
  here.transport.then(page(marker, "p/a", "1"));
  here.transport.then(page(marker, "p/a", "1"));
  BOOST_TEST(!here.run(here.client->list_multipart_uploads("p/", {})).has_value());
  here.transport.then(page("", "other", "1"));
  BOOST_TEST(!here.run(here.client->list_multipart_uploads("p/", {})).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
