#include "s3/verbs/xml.hh"

#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

using namespace bts3;
using namespace bts3::s3;

namespace {

constexpr const char* declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
constexpr const char* name_space = " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

std::string document(const std::string& root, const std::string& content) {
  return declaration + ("<" + root + name_space + ">") + content + "</" + root + ">";
}

template <typename T>
void check_refused(const engine::result<T>& outcome) {
  BOOST_REQUIRE(!outcome.has_value());
  BOOST_TEST((outcome.error().why == engine::reason::protocol));
  BOOST_TEST((outcome.error().what_now == engine::disposition::retry));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(xml)

BOOST_AUTO_TEST_CASE(an_error_document_gives_code_message_and_region) {
  const auto found =
      parse_error(std::string(declaration) +
                  "<Error><Code>AuthorizationHeaderMalformed</Code><Message>expecting "
                  "&apos;eu-west-1&apos;</Message><Region>eu-west-1</Region></Error>");
  BOOST_REQUIRE(found.has_value());
  BOOST_TEST(found->code == "AuthorizationHeaderMalformed");
  BOOST_TEST(found->message == "expecting 'eu-west-1'");
  BOOST_TEST(found->region == "eu-west-1");
}

BOOST_AUTO_TEST_CASE(what_is_no_error_document_gives_none) {
  for (const char* text :
       {"", "not xml", "<html><Error/></html>", "<Error><Code>x</Code>", "<", "\0"}) {
    BOOST_TEST_CONTEXT(text) {
      BOOST_TEST(!parse_error(text).has_value());
    }
  }
}

BOOST_AUTO_TEST_CASE(an_upload_id_is_read) {
  const auto id = parse_create_upload(document(
      "InitiateMultipartUploadResult", "<Bucket>b</Bucket><Key>k</Key><UploadId>2~id</UploadId>"));
  BOOST_REQUIRE_MESSAGE(id.has_value(), testing::error_text(id));
  BOOST_TEST(id->str() == "2~id");
  check_refused(parse_create_upload(document("InitiateMultipartUploadResult", "<Key>k</Key>")));
  check_refused(parse_create_upload(document("Other", "<UploadId>x</UploadId>")));
  check_refused(parse_create_upload(""));
}

BOOST_AUTO_TEST_CASE(complete_gives_an_etag_that_may_be_empty) {
  std::optional<error_document> inside;
  auto tag = parse_complete_upload(
      document("CompleteMultipartUploadResult", "<Key>k</Key><ETag>&quot;abc-2&quot;</ETag>"),
      inside);
  BOOST_REQUIRE_MESSAGE(tag.has_value(), testing::error_text(tag));
  BOOST_TEST(tag->str() == "abc-2");
  BOOST_TEST(!inside.has_value());
  tag = parse_complete_upload(document("CompleteMultipartUploadResponse", "<ETag>abc-2</ETag>"),
                              inside);
  BOOST_REQUIRE(tag.has_value());
  BOOST_TEST(tag->str() == "abc-2");
  tag = parse_complete_upload(document("CompleteMultipartUploadResult", "<Key>k</Key>"), inside);
  BOOST_REQUIRE(tag.has_value());
  BOOST_TEST(tag->empty());
}

BOOST_AUTO_TEST_CASE(complete_may_carry_an_error_after_blanks) {
  // S3 keeps the connection alive with blanks while it works, and then sends the document.
  std::optional<error_document> inside;
  const auto tag = parse_complete_upload(
      "   \n  <?xml version=\"1.0\"?><Error><Code>InternalError</Code></Error>", inside);
  BOOST_TEST((!tag.has_value() || inside.has_value()));
  const auto usual = parse_complete_upload(
      std::string(declaration) + "\n\n   <Error><Code>InternalError</Code></Error>", inside);
  BOOST_TEST(usual.has_value());
  BOOST_REQUIRE(inside.has_value());
  BOOST_TEST(inside->code == "InternalError");
}

BOOST_AUTO_TEST_CASE(a_cut_answer_is_no_success) {
  std::optional<error_document> inside;
  check_refused(parse_complete_upload(
      std::string(declaration) + "<CompleteMultipartUploadResult><ETag>x</ETag>", inside));
  check_refused(parse_complete_upload("", inside));
  check_refused(parse_listing(
      std::string(declaration) +
      "<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents><Contents><Key>b"));
}

BOOST_AUTO_TEST_CASE(a_listing_gives_objects_prefixes_and_continuation) {
  const auto page = parse_listing(document(
      "ListBucketResult",
      "<Name>b</Name><Prefix>p/</Prefix><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>"
      "<Contents><Key>p/a &amp; b</Key><ETag>&quot;e1&quot;</ETag><Size>5368709121</Size>"
      "<StorageClass>DEEP_ARCHIVE</StorageClass>"
      "<LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>"
      "<Contents><Key>p/\xc3\xa9&#13;</Key><Size>0</Size></Contents>"
      "<CommonPrefixes><Prefix>p/x/</Prefix></CommonPrefixes>"
      "<NextContinuationToken>1ueG==</NextContinuationToken>"));
  BOOST_REQUIRE_MESSAGE(page.has_value(), testing::error_text(page));
  BOOST_REQUIRE(page->content.objects.size() == 2U);
  const listed_object& first = page->content.objects[0];
  BOOST_TEST(first.key.str() == "p/a & b");
  BOOST_TEST(first.size == 5'368'709'121U);
  BOOST_TEST(first.tag.str() == "e1");
  BOOST_TEST(first.stored_as.str() == "DEEP_ARCHIVE");
  BOOST_TEST(page->content.objects[1].key.str() == "p/\xc3\xa9\r");
  BOOST_TEST(first.last_modified == "2026-01-02T03:04:05.000Z");
  BOOST_TEST(page->content.objects[1].stored_as.empty());
  BOOST_REQUIRE(page->content.common_prefixes.size() == 1U);
  BOOST_TEST(page->content.common_prefixes[0] == "p/x/");
  BOOST_TEST(page->next_token == "1ueG==");
}

BOOST_AUTO_TEST_CASE(a_listing_that_cannot_be_trusted_is_refused) {
  for (const char* content :
       {"<IsTruncated>true</IsTruncated>", "<Contents><Size>1</Size></Contents>",
        "<Contents><Key>a</Key></Contents>", "<Contents><Key>a</Key><Size>-1</Size></Contents>",
        "<Contents><Key>a</Key><Size>1x</Size></Contents>",
        "<Contents><Key>a</Key><Size>99999999999999999999999</Size></Contents>"}) {
    BOOST_TEST_CONTEXT(content) {
      check_refused(parse_listing(document("ListBucketResult", content)));
    }
  }
  check_refused(parse_listing(document("ListAllMyBucketsResult", "")));
}

BOOST_AUTO_TEST_CASE(parts_are_listed_with_number_size_and_etag) {
  const auto page = parse_parts(
      document("ListPartsResult",
               "<UploadId>u</UploadId><IsTruncated>true</IsTruncated>"
               "<NextPartNumberMarker>2</NextPartNumberMarker>"
               "<Part><PartNumber>1</PartNumber><ETag>\"a\"</ETag><Size>134217728</Size></Part>"
               "<Part><PartNumber>2</PartNumber><ETag>\"b\"</ETag><Size>7</Size></Part>"));
  BOOST_REQUIRE_MESSAGE(page.has_value(), testing::error_text(page));
  BOOST_REQUIRE(page->parts.size() == 2U);
  BOOST_TEST(page->parts[0].number == 1U);
  BOOST_TEST(page->parts[0].size == 134'217'728U);
  BOOST_TEST(page->parts[1].tag.str() == "b");
  BOOST_TEST(page->next_marker.value_or(0) == 2U);
}

BOOST_AUTO_TEST_CASE(part_numbers_out_of_range_are_refused) {
  for (const char* number : {"0", "10001", "-1", "", "1.5"}) {
    BOOST_TEST_CONTEXT(number) {
      check_refused(
          parse_parts(document("ListPartsResult", std::string("<Part><PartNumber>") + number +
                                                      "</PartNumber><Size>1</Size></Part>")));
    }
  }
  check_refused(parse_parts(document("ListPartsResult", "<IsTruncated>true</IsTruncated>")));
}

BOOST_AUTO_TEST_CASE(open_uploads_are_listed_with_key_and_id) {
  const auto page = parse_uploads(
      document("ListMultipartUploadsResult",
               "<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"
               "<NextUploadIdMarker>u1</NextUploadIdMarker>"
               "<Upload><Key>k</Key><UploadId>u1</UploadId><Initiated>x</Initiated></Upload>"));
  BOOST_REQUIRE_MESSAGE(page.has_value(), testing::error_text(page));
  BOOST_REQUIRE(page->uploads.size() == 1U);
  BOOST_TEST(page->uploads[0].key.str() == "k");
  BOOST_TEST(page->uploads[0].id.str() == "u1");
  BOOST_TEST(page->uploads[0].initiated == "x");
  BOOST_REQUIRE(page->next_marker.has_value());
  BOOST_TEST(page->next_marker->first == "k");
  BOOST_TEST(page->next_marker->second == "u1");
  check_refused(
      parse_uploads(document("ListMultipartUploadsResult", "<Upload><Key>k</Key></Upload>")));
  check_refused(
      parse_uploads(document("ListMultipartUploadsResult", "<IsTruncated>true</IsTruncated>")));
}

BOOST_AUTO_TEST_CASE(complete_is_written_with_quoted_etags_and_checksums_where_there_are_any) {
  std::vector<completed_part> parts;
  parts.emplace_back(1, etag("\"aa\""), 0x12345678U);
  parts.emplace_back(2, etag("b<b"), std::nullopt);
  BOOST_TEST(write_complete_upload(parts) ==
             "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
             "<Part><PartNumber>1</PartNumber><ETag>\"aa\"</ETag>"
             "<ChecksumCRC32>EjRWeA==</ChecksumCRC32></Part>"
             "<Part><PartNumber>2</PartNumber><ETag>\"b&lt;b\"</ETag></Part>"
             "</CompleteMultipartUpload>");
}

BOOST_AUTO_TEST_CASE(crc32_is_base64_of_four_bytes_big_endian) {
  BOOST_TEST(crc32_base64(0) == "AAAAAA==");
  // The check value of CRC-32 for "123456789" is cbf43926.
  BOOST_TEST(crc32_base64(0xcbf43926U) == "y/Q5Jg==");
}

BOOST_AUTO_TEST_CASE(a_dtd_defines_no_entities) {
  const auto found = parse_error(
      "<?xml version=\"1.0\"?><!DOCTYPE Error [<!ENTITY lol \"lol\"><!ENTITY file SYSTEM "
      "\"file:///etc/passwd\">]><Error><Code>&lol;</Code><Message>&file;</Message></Error>");
  BOOST_REQUIRE(found.has_value());
  BOOST_TEST(found->code == "&lol;");
  BOOST_TEST(found->message == "&file;");
}

BOOST_AUTO_TEST_CASE(deep_nesting_costs_no_stack) {
  std::string deep;
  constexpr int levels = 500'000;
  for (int level = 0; level < levels; ++level) {
    deep += "<a>";
  }
  for (int level = 0; level < levels; ++level) {
    deep += "</a>";
  }
  const auto page = parse_listing(document("ListBucketResult", deep));
  BOOST_REQUIRE_MESSAGE(page.has_value(), testing::error_text(page));
  BOOST_TEST(page->content.objects.empty());
}

BOOST_AUTO_TEST_CASE(documents_above_the_limit_are_refused) {
  check_refused(parse_listing(document("ListBucketResult", std::string(xml_bytes_max, ' '))));
}

BOOST_AUTO_TEST_CASE(a_strange_answer_is_quoted_on_one_line) {
  const auto page = parse_listing("<html>\n<body>\t502\x01</body>");
  BOOST_REQUIRE(!page.has_value());
  BOOST_TEST(page.error().message.find("<html> <body> 502 </body>") != std::string::npos);
}

// The form of "GetObjectAttributes", Amazon S3 API Reference.
BOOST_AUTO_TEST_CASE(attributes_are_read_as_far_as_they_are_told) {
  const auto found = parse_attributes(
      "<GetObjectAttributesResponse xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Checksum>"
      "<ChecksumCRC32>y/Q5Jg==</ChecksumCRC32><ChecksumType>COMPOSITE</ChecksumType></Checksum>"
      "<ObjectParts><PartsCount>3</PartsCount></ObjectParts><ObjectSize>12</ObjectSize>"
      "<StorageClass>DEEP_ARCHIVE</StorageClass></GetObjectAttributesResponse>");
  BOOST_REQUIRE_MESSAGE(found.has_value(), testing::error_text(found));
  // CRC32 of "123456789", the value that catalogues of CRCs give for it.
  BOOST_TEST(found->crc32.value() == 0xcbf43926U);
  BOOST_TEST(found->composite);
  BOOST_TEST(found->parts.value() == 3U);
  BOOST_TEST(found->size.value() == 12U);
  BOOST_TEST(found->stored_as.str() == "DEEP_ARCHIVE");

  const auto attributes_with = [](const std::string& content) {
    const auto parsed = parse_attributes("<GetObjectAttributesResponse>" + content +
                                         "</GetObjectAttributesResponse>");
    BOOST_REQUIRE_MESSAGE(parsed.has_value(), testing::error_text(parsed));
    return *parsed;
  };
  const object_attributes none = attributes_with("");
  BOOST_TEST((!none.crc32 && !none.composite && !none.parts && !none.size));
  const object_attributes dashed =
      attributes_with("<Checksum><ChecksumCRC32>y/Q5Jg==-3</ChecksumCRC32></Checksum>");
  BOOST_TEST((dashed.composite && dashed.crc32 == 0xcbf43926U));
  const object_attributes whole = attributes_with(
      "<Checksum><ChecksumCRC32>y/Q5Jg==</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType>"
      "</Checksum>");
  BOOST_TEST((!whole.composite && whole.crc32 == 0xcbf43926U));
  for (const char* wrong : {"y/Q5Jh==", "y/Q5JgA=", "y/Q5", "?/Q5Jg==", "", "y/Q5Jg==AAAA"}) {
    BOOST_TEST(!attributes_with(std::string("<Checksum><ChecksumCRC32>") + wrong +
                                "</ChecksumCRC32></Checksum>")
                    .crc32,
               wrong);
  }
  BOOST_TEST(!parse_attributes("<ListBucketResult/>").has_value());
  BOOST_TEST(!parse_attributes("btrfs-stream").has_value());
}

BOOST_AUTO_TEST_CASE(a_composite_checksum_is_that_of_the_checksums_of_the_parts) {
  // "1234" and "5678" as two checksums, big-endian, and "9" is missing: CRC32("12345678").
  BOOST_TEST(crc32_of_parts({0x31323334, 0x35363738}) == 0x9ae0daafU);
  BOOST_TEST(crc32_of_parts({}) == 0U);
}

// The form of "RestoreObject", Amazon S3 API Reference.
BOOST_AUTO_TEST_CASE(a_restore_request_has_days_only_where_a_copy_ends) {
  const std::string root = "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  BOOST_TEST(write_restore_request(7, retrieval_tier::bulk) ==
             root +
                 "<Days>7</Days><GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters>"
                 "</RestoreRequest>");
  BOOST_TEST(write_restore_request(std::nullopt, retrieval_tier::expedited) ==
             root +
                 "<GlacierJobParameters><Tier>Expedited</Tier></GlacierJobParameters>"
                 "</RestoreRequest>");
}

BOOST_AUTO_TEST_CASE(an_answer_may_end_its_name_as_any_answer_does) {
  const auto named = [](std::string name, const std::string& ending, const std::string& content) {
    name += ending;
    std::string text = "<" + name;
    text += " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" + content;
    return text + "</" + name + ">";
  };
  const auto all_taken = [&](const std::string& ending) {
    std::optional<error_document> failure;
    int taken = 0;
    taken += parse_parts(
                 named("ListParts", ending,
                       "<Part><PartNumber>1</PartNumber><ETag>\"e\"</ETag><Size>5</Size></Part>"))
                 .has_value();
    taken += parse_uploads(named("ListMultipartUploads", ending, "")).has_value();
    taken +=
        parse_listing(named("ListBucket", ending, "<IsTruncated>false</IsTruncated>")).has_value();
    taken += parse_create_upload(named("InitiateMultipartUpload", ending, "<UploadId>i</UploadId>"))
                 .has_value();
    taken += parse_complete_upload(named("CompleteMultipartUpload", ending, "<ETag>\"e-1\"</ETag>"),
                                   failure)
                 .has_value();
    taken += parse_attributes(named("GetObjectAttributes", ending, "<ObjectSize>3</ObjectSize>"))
                 .has_value();
    return taken;
  };
  for (const char* ending : {"Result", "Response", "Output"}) {
    BOOST_TEST(all_taken(ending) == 6, ending);
  }
  for (const char* ending : {"", "Results", "s", "resultResult"}) {
    BOOST_TEST(all_taken(ending) == 0, ending);
  }
}

BOOST_AUTO_TEST_CASE(names_may_have_a_prefix) {
  const auto listing = parse_listing(
      "<ns2:ListBucketResult xmlns:ns2=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
      "<ns2:IsTruncated>false</ns2:IsTruncated><ns2:Contents><ns2:Key>a:b</ns2:Key>"
      "<ns2:ETag>\"e\"</ns2:ETag><ns2:Size>3</ns2:Size></ns2:Contents>"
      "<ns2:CommonPrefixes><ns2:Prefix>p/</ns2:Prefix></ns2:CommonPrefixes>"
      "</ns2:ListBucketResult>");
  BOOST_REQUIRE_MESSAGE(listing.has_value(), testing::error_text(listing));
  BOOST_REQUIRE(listing->content.objects.size() == 1U);
  BOOST_TEST(listing->content.objects[0].key.str() == "a:b");
  BOOST_TEST(listing->content.objects[0].size == 3U);
  BOOST_TEST(listing->content.common_prefixes.front() == "p/");
  const auto refused =
      parse_error("<s3:Error xmlns:s3=\"x\"><s3:Code>SlowDown</s3:Code></s3:Error>");
  BOOST_REQUIRE(refused.has_value());
  BOOST_TEST(refused->code == "SlowDown");
  const auto id = parse_create_upload(
      "<a:InitiateMultipartUploadResult xmlns:a=\"x\"><a:UploadId>i</a:UploadId>"
      "</a:InitiateMultipartUploadResult>");
  BOOST_REQUIRE(id.has_value());
  BOOST_TEST(id->str() == "i");
}

BOOST_AUTO_TEST_CASE(a_refusal_may_stand_within_another_document) {
  const auto found = parse_error(
      "<ErrorResponse><Error><Code>NotImplemented</Code></Error><RequestId>1</RequestId>"
      "</ErrorResponse>");
  BOOST_REQUIRE(found.has_value());
  BOOST_TEST(found->code == "NotImplemented");
}

BOOST_AUTO_TEST_CASE(keys_are_decoded_where_the_document_says_so) {
  const std::string content =
      "<Contents><Key>a+b%20c%2Bd%C3%A9%01</Key><ETag>e</ETag><Size>1</Size></Contents>"
      "<CommonPrefixes><Prefix>p%2f</Prefix></CommonPrefixes>";
  const auto encoded =
      parse_listing(document("ListBucketResult", "<EncodingType>url</EncodingType>" + content));
  BOOST_REQUIRE_MESSAGE(encoded.has_value(), testing::error_text(encoded));
  BOOST_TEST(encoded->content.objects[0].key.str() == "a b c+d\xc3\xa9\x01");
  BOOST_TEST(encoded->content.common_prefixes[0] == "p/");
  const auto plain = parse_listing(document("ListBucketResult", content));
  BOOST_REQUIRE(plain.has_value());
  BOOST_TEST(plain->content.objects[0].key.str() == "a+b%20c%2Bd%C3%A9%01");
  const auto uploads = parse_uploads(document(
      "ListMultipartUploadsResult",
      "<EncodingType>url</EncodingType><Upload><Key>a%2B</Key><UploadId>a%2B</UploadId></Upload>"));
  BOOST_REQUIRE(uploads.has_value());
  BOOST_TEST(uploads->uploads[0].key.str() == "a+");
  BOOST_TEST(uploads->uploads[0].id.str() == "a%2B");
  // What is no encoding stays as it is.
  const auto half =
      parse_listing(document("ListBucketResult",
                             "<EncodingType>url</EncodingType><Contents><Key>a%2%zz%</Key><ETag>e"
                             "</ETag><Size>1</Size></Contents>"));
  BOOST_REQUIRE(half.has_value());
  BOOST_TEST(half->content.objects[0].key.str() == "a%2%zz%");
}

BOOST_AUTO_TEST_SUITE_END()
