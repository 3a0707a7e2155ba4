#include "planner/manifest.hh"
#include "planner/pointer.hh"

#include <boost/test/unit_test.hpp>

#include <fstream>
#include <sstream>
#include <string>

using namespace bts3::planner;

namespace {

const std::string digest(64, 'a');

sha256_words eight(std::uint32_t word) {
  sha256_words words{};
  words.fill(word);
  return words;
}

manifest sample() {
  manifest value;
  value.subvolume = "data";
  value.kind = backup_kind::incremental;
  value.created_at = *timestamp::parse("20260102T030405Z");
  value.snapshot.name = "data__20260102T030405Z__inc";
  value.snapshot.path = "/srv/snapshots/data__20260102T030405Z__inc";
  value.snapshot.uuid = "11111111-2222-3333-4444-555555555555";
  value.snapshot.ctransid = 99;
  value.parent_manifest = "p/subvol/data/full/manifest-20260101T030405Z.json";
  chunk_record chunk;
  chunk.key = "p/subvol/data/incremental/chunk-20260102T030405Z-0.bin";
  chunk.size = 150;
  chunk.sha256 = digest;
  chunk.etag = "x-1";
  chunk.part_size = 64;
  // 0xcbf43926, CRC-32's check value, and the extremes.
  chunk.part_crc32 = {0xcbf43926, 0, 0xffffffff};
  chunk.part_states = {eight(0xbbbbbbbb), eight(0xcccccccc)};
  value.chunks = {chunk};
  value.total_bytes = 150;
  value.chunk_size = 1000;
  value.storage_class = "STANDARD";
  value.stream = stream_record{2, true, 17};
  value.tool_name = "btrfs_to_s3";
  value.tool_version = "1";
  value.host_id = "h";
  value.host_name = "host";
  return value;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  BOOST_REQUIRE_MESSAGE(at != std::string::npos, from);
  return text.replace(at, from.size(), to);
}

// Three parts: two of 65,600 bytes (a segment has 65,552 with its tag, and 528 come before), which
// have 65,600 - 528 - 16 = 65,056 of the stream each, and one of 1,000 with 456.
manifest sealed_sample() {
  manifest value = sample();
  value.snapshot.path.clear();
  value.host_name.clear();
  chunk_record& chunk = value.chunks[0];
  chunk.part_size = 65'600;
  chunk.size = 2 * 65'600 + 1000;
  chunk.plain_size = 2 * 65'056 + 456;
  value.total_bytes = chunk.size;
  value.parent_manifest_sha256 = digest;
  encryption_record encryption;
  encryption.backup_id = "00112233445566778899aabbccddeeff";
  encryption.keys_key = "p/subvol/data/incremental/keys-20260102T030405Z.age";
  encryption.recipients = {"SHA256:" + std::string(43, 'A'), "SHA256:" + std::string(43, '/')};
  encryption.sealed = "YWdlLQ==";
  value.encryption = encryption;
  return value;
}

std::string sealed_problem_after(const std::string& from, const std::string& to) {
  const auto parsed = parse_manifest(replaced(write_manifest(sealed_sample()), from, to));
  return parsed ? "accepted" : parsed.error().text();
}

// What parsing says of the sample after one replacement.
std::string problem_after(const std::string& from, const std::string& to) {
  const auto parsed = parse_manifest(replaced(write_manifest(sample()), from, to));
  return parsed ? "accepted" : parsed.error().text();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(manifest_suite)

BOOST_AUTO_TEST_CASE(keys_that_no_store_can_have_are_refused) {
  const std::string endless(3'000'000, 'k');
  const std::string parent = "p/subvol/data/full/manifest-20260101T030405Z.json";
  const std::string chunk = "p/subvol/data/incremental/chunk-20260102T030405Z-0.bin";
  for (const std::string& key :
       {endless, std::string(1025, 'k'), std::string("a\\u001b[31m"), std::string("a\\nb"),
        std::string("a\\u0000b"), std::string("a\\u007f"), std::string()}) {
    BOOST_TEST(problem_after(parent, key) != "accepted");
    BOOST_TEST(problem_after(chunk, key) != "accepted");
    BOOST_TEST(!parse_pointer("{\"manifest_key\": \"" + key +
                              "\", \"kind\": \"full\", \"created_at\": "
                              "\"2026-01-02T03:04:05Z\"}")
                    .has_value());
  }
  BOOST_TEST(problem_after(parent, std::string(1024, 'k')) == "accepted");
  BOOST_TEST(problem_after(parent, endless).size() < 1000U);
}

BOOST_AUTO_TEST_CASE(texts_that_are_endless_are_refused) {
  BOOST_TEST(problem_after("data__20260102", std::string(5000, 'n')) ==
             "snapshot.name: has more than 4096 bytes");
  BOOST_TEST(problem_after("\"etag\":\"", "\"etag\":\"" + std::string(3'000'000, 'e')) ==
             "chunks[0].etag: has more than 4096 bytes");
}

BOOST_AUTO_TEST_CASE(numbers_that_no_backup_has_are_refused) {
  BOOST_TEST(problem_after("\"size\":150", "\"size\":18446744073709551615") ==
             "chunks[0].size: is larger than an object can be");
  BOOST_TEST(problem_after("\"part_size\":64", "\"part_size\":18446744073709551552") ==
             "chunks[0].part_size: must be a multiple of 64, and 5 GiB at most");
  BOOST_TEST(problem_after("\"protocol\":2", "\"protocol\":4294967298") ==
             "stream.protocol: is none");
  BOOST_TEST(problem_after("\"protocol\":2", "\"protocol\":0") == "stream.protocol: is none");
  // Two sizes whose sum is 150, but for 2^64.
  const std::string one = R"({"key":"a","size":1125899906842624,"sha256":")" + digest + "\"}";
  std::string many;
  for (int i = 0; i < 1100; ++i) {
    many += one + ",";
  }
  const std::string text = R"({"version":1,"subvolume":"d","kind":"full","created_at":)"
                           R"("2026-01-02T03:04:05Z","snapshot":{"name":"n","path":"/p"},)"
                           R"("total_bytes":1238489897526886400,"chunks":[)" +
                           many + one + "]}";
  const auto parsed = parse_manifest(text);
  BOOST_REQUIRE(!parsed.has_value());
  BOOST_TEST(parsed.error().text() == "chunks: are larger together than a stream can be");
}

BOOST_AUTO_TEST_CASE(deep_nesting_is_refused_and_costs_no_stack) {
  const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  BOOST_TEST(!parse_manifest("{\"version\":1,\"x\":" + deep + "}").has_value());
  BOOST_TEST(!parse_pointer("{\"x\":" + deep + "}").has_value());
  BOOST_TEST(!parse_pointer(deep).has_value());
}

BOOST_AUTO_TEST_CASE(a_time_that_clocks_cannot_count_is_none) {
  BOOST_TEST(problem_after("2026-01-02T03:04:05Z", "9999-12-31T23:59:59Z") ==
             "created_at: is no UTC time");
  for (const char* text : {"18160329T055608Z", "19691231T235959Z", "22000101T000000Z",
                           "99991231T235959Z", "0000-01-01T00:00:00Z"}) {
    BOOST_TEST(!timestamp::parse(text).has_value(), text);
  }
}

BOOST_AUTO_TEST_CASE(a_manifest_survives_writing_and_reading) {
  const std::string text = write_manifest(sample());
  const auto parsed = parse_manifest(text);
  BOOST_REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
  BOOST_TEST(write_manifest(*parsed) == text);
  BOOST_TEST(parsed->chunks[0].part_crc32[0] == 0xcbf43926u);
  BOOST_TEST(parsed->chunks[0].part_crc32[2] == 0xffffffffu);
  BOOST_TEST(*parsed->snapshot.ctransid == 99u);
  BOOST_TEST(parsed->stream->commands == 17u);
}

// base64 of cb f4 39 26, as `printf '\xcb\xf4\x39\x26' | base64` prints it.
BOOST_AUTO_TEST_CASE(checksums_are_written_in_the_form_of_the_header) {
  BOOST_TEST(write_manifest(sample()).find("\"y/Q5Jg==\"") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(states_are_written_word_for_word_from_their_highest_digit_on) {
  manifest value = sample();
  value.chunks[0].part_states[0] = {0x01234567, 0x89abcdef, 0, 1, 2, 3, 4, 0xfedcba98};
  const std::string text = write_manifest(value);
  BOOST_TEST(text.find("\"0123456789abcdef000000000000000100000002000000030000000"
                       "4fedcba98\"") != std::string::npos);
  BOOST_TEST((parse_manifest(text)->chunks[0].part_states == value.chunks[0].part_states));
}

BOOST_AUTO_TEST_CASE(a_manifest_of_the_earlier_tool_is_read) {
  std::ifstream file(BTS3_TEST_DATA "/manifests/earlier_tool_full.json");
  std::stringstream text;
  text << file.rdbuf();
  const auto parsed = parse_manifest(text.str());
  BOOST_REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
  BOOST_TEST((parsed->kind == backup_kind::full));
  BOOST_TEST(!parsed->snapshot.uuid.has_value());
  BOOST_TEST(!parsed->chunks.at(0).has_parts());
}

BOOST_AUTO_TEST_CASE(unknown_fields_are_ignored) {
  BOOST_TEST(problem_after("\"version\":1,", "\"version\":1, \"later\":{\"x\":[1]},") ==
             "accepted");
}

BOOST_AUTO_TEST_CASE(a_newer_version_is_refused_as_such) {
  BOOST_TEST(problem_after("\"version\":1", "\"version\":3").find("newer version") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_named) {
  const std::pair<std::pair<std::string, std::string>, std::string> cases[] = {
      {{"\"kind\":\"incremental\"", "\"kind\":\"half\""}, "kind"},
      {{"2026-01-02T03:04:05Z", "yesterday"}, "created_at"},
      {{"\"total_bytes\":150", "\"total_bytes\":151"}, "total_bytes"},
      {{"\"size\":150", "\"size\":-1"}, "chunks[0].size"},
      {{digest, digest.substr(1)}, "chunks[0].sha256"},
      {{"\"part_size\":64", "\"part_size\":65"}, "chunks[0].part_size"},
      {{"\"part_size\":64", "\"part_size\":128"}, "chunks[0].part_crc32"},
      {{"\"y/Q5Jg==\"", "\"y/Q5J\""}, "chunks[0].part_crc32[0]"},
      {{std::string(64, 'c'), std::string(64, 'C')}, "chunks[0].part_sha256_states[1]"},
      {{"\"key\":\"p/", "\"kex\":\"p/"}, "chunks[0].key"},
      {{"\"parent_manifest\":\"p/", "\"parent\":\"p/"}, "parent_manifest"},
      {{"\"snapshot\":", "\"snap\":"}, "snapshot"},
  };
  for (const auto& [change, field] : cases) {
    const std::string problem = problem_after(change.first, change.second);
    BOOST_TEST(problem.starts_with(field), change.second << " gave: " << problem);
  }
  for (const char* text : {"", "[]", "7", "{\"version\":1", "\xff"}) {
    const auto parsed = parse_manifest(text);
    BOOST_REQUIRE_MESSAGE(!parsed, text);
    BOOST_TEST(parsed.error().text().starts_with("not a JSON object: "), parsed.error().text());
  }
}

BOOST_AUTO_TEST_CASE(a_field_of_a_wrong_type_is_named) {
  const std::pair<std::pair<std::string, std::string>, std::string> cases[] = {
      {{"\"version\":1,", ""}, "version: is missing"},
      {{"\"version\":1", "\"version\":\"1\""}, "version: must be a whole number"},
      {{"\"subvolume\":\"data\"", "\"subvolume\":7"}, "subvolume: must be a string"},
      {{"\"subvolume\":\"data\"", "\"subvolume\":null"}, "subvolume: is missing"},
      {{"\"subvolume\":\"data\"", "\"subvolume\":\"\""}, "subvolume: is empty"},
      {{"\"created_at\":\"2026-01-02T03:04:05Z\"", "\"created_at\":2026"}, "created_at: must be"},
      {{"\"snapshot\":{", "\"snapshot\":[], \"later\":{"}, "snapshot: is missing"},
      {{"\"ctransid\":99", "\"ctransid\":-99"}, "snapshot.ctransid: must be a whole number"},
      {{"\"name\":\"data__", "\"nam\":\"data__"}, "snapshot.name: is missing"},
      {{"\"total_bytes\":150", "\"total_bytes\":150.5"}, "total_bytes: must be a whole number"},
      {{"\"chunks\":[", "\"chunks\":1, \"later\":["}, "chunks: must be an array"},
      {{"\"chunks\":[", "\"chunks\":[], \"later\":["}, "chunks: is empty"},
      {{"\"chunks\":[", "\"chunks\":[7,"}, "chunks[0]"},
      {{"\"chunks\":[", "\"chunks\":[{},"}, "chunks[0].key: is missing"},
      {{"\"key\":\"p/subvol/data/incremental/chunk-20260102T030405Z-0.bin\"", "\"key\":\"\""},
       "chunks[0].key: is empty"},
      {{"\"size\":150", "\"size\":0"}, "chunks[0].size: is zero"},
      {{"\"etag\":\"x-1\"", "\"etag\":1"}, "chunks[0].etag: must be a string"},
      {{digest, std::string(64, 'g')}, "chunks[0].sha256: must be 64"},
      {{"\"part_size\":64", "\"part_size\":0"}, "chunks[0].part_size: must be a multiple"},
      {{"\"part_size\":64", "\"part_size\":\"64\""}, "chunks[0].part_size: must be a whole"},
      {{"\"part_crc32\":[", "\"part_crc32\":1, \"later\":["},
       "chunks[0].part_crc32: must be an array of strings"},
      {{"\"y/Q5Jg==\"", "5"}, "chunks[0].part_crc32[0]: is malformed"},
      {{"\"y/Q5Jg==\"", "\"y/Q5J-==\""}, "chunks[0].part_crc32[0]: is malformed"},
      {{"\"y/Q5Jg==\"", "\"y/Q5Jg==\",\"y/Q5Jg==\""},
       "chunks[0].part_crc32: has 4 entries for 3 parts"},
      {{"\"" + std::string(64, 'b') + "\",", ""},
       "chunks[0].part_sha256_states: has 1 entries for 3 parts"},
      {{"\"kind\":\"incremental\"", "\"kind\":\"full\""},
       "parent_manifest: is set in a full backup"},
  };
  for (const auto& [change, expected] : cases) {
    const std::string problem = problem_after(change.first, change.second);
    BOOST_TEST(problem.starts_with(expected), change.second << " gave: " << problem);
  }
}

BOOST_AUTO_TEST_CASE(a_manifest_with_more_parts_than_an_object_can_have_is_refused) {
  const std::string text = replaced(write_manifest(sample()), "\"size\":150", "\"size\":70400001");
  const auto parsed = parse_manifest(text);
  BOOST_REQUIRE(!parsed);
  BOOST_TEST(parsed.error().text() ==
             "chunks[0].part_size: gives more parts than an object can have");
}

BOOST_AUTO_TEST_CASE(a_manifest_of_absurd_size_is_refused_unread) {
  const std::string text = write_manifest(sample());
  BOOST_TEST(parse_manifest(text, text.size()).has_value());
  const auto parsed = parse_manifest(text, text.size() - 1);
  BOOST_REQUIRE(!parsed);
  BOOST_TEST(parsed.error().text() ==
             "the manifest has more than " + std::to_string(text.size() - 1) + " bytes");
}

BOOST_AUTO_TEST_CASE(what_a_full_backup_without_parts_lacks_is_absent_in_writing_and_reading) {
  manifest value = sample();
  value.kind = backup_kind::full;
  value.parent_manifest.reset();
  value.snapshot.uuid.reset();
  value.snapshot.ctransid.reset();
  value.stream.reset();
  value.chunks[0].part_size.reset();
  const std::string text = write_manifest(value);
  for (const char* absent : {"ctransid", "part_size", "part_crc32", "\"stream\""}) {
    BOOST_TEST(text.find(absent) == std::string::npos, absent);
  }
  BOOST_TEST(text.find("\"parent_manifest\":null") != std::string::npos);
  const auto parsed = parse_manifest(text);
  BOOST_REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
  BOOST_TEST(!parsed->parent_manifest.has_value());
  BOOST_TEST(!parsed->snapshot.uuid.has_value());
  BOOST_TEST(!parsed->snapshot.ctransid.has_value());
  BOOST_TEST(!parsed->stream.has_value());
  BOOST_TEST(!parsed->chunks[0].has_parts());
  BOOST_TEST(write_manifest(*parsed) == text);
}

// A chunk of exactly n parts has n checksums, and n - 1 states.
BOOST_AUTO_TEST_CASE(a_last_part_may_be_whole) {
  manifest value = sample();
  value.chunks[0].size = 192;
  value.total_bytes = 192;
  BOOST_TEST(parse_manifest(write_manifest(value)).has_value());
  value.chunks[0].size = 193;
  value.total_bytes = 193;
  BOOST_TEST(!parse_manifest(write_manifest(value)).has_value());
}

BOOST_AUTO_TEST_CASE(the_sizes_of_all_chunks_are_summed_up) {
  manifest value = sample();
  chunk_record second;
  second.key = "p/subvol/data/incremental/chunk-20260102T030405Z-1.bin";
  second.size = 7;
  second.sha256 = digest;
  value.chunks.push_back(second);
  const auto wrong = parse_manifest(write_manifest(value));
  BOOST_REQUIRE(!wrong);
  BOOST_TEST(wrong.error().text() == "total_bytes: is 150, and the chunks have 157");
  value.total_bytes = 157;
  const auto parsed = parse_manifest(write_manifest(value));
  BOOST_REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
  BOOST_TEST(parsed->chunks.at(1).key == second.key);
  BOOST_TEST(!parsed->chunks[1].etag.has_value());
}

// No subvolume or host can keep its own backup from being published.
BOOST_AUTO_TEST_CASE(text_that_is_no_utf8_is_written_as_valid_json) {
  manifest value = sample();
  value.host_name =
      "a\xff"
      "b\"\n";
  const auto parsed = parse_manifest(write_manifest(value));
  BOOST_REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
  BOOST_TEST(parsed->host_name ==
             "a\xef\xbf\xbd"
             "b\"\n");
}

// A stream of a million parts, 4.8 TiB of 5 MiB each.
BOOST_AUTO_TEST_CASE(a_million_parts_are_written_and_read) {
  constexpr std::size_t parts = 10'000;
  constexpr std::size_t chunks = 100;
  manifest value = sample();
  chunk_record chunk = value.chunks[0];
  chunk.size = 64 * parts;
  chunk.part_crc32.assign(parts, 1);
  chunk.part_states.assign(parts - 1, eight(7));
  value.chunks.assign(chunks, chunk);
  value.total_bytes = chunks * chunk.size;
  const std::string text = write_manifest(value);
  BOOST_TEST(text.size() > 64u << 20);
  BOOST_TEST(text.size() <= manifest_bytes_for(parts * chunks, chunks));
  const auto parsed = parse_manifest(text);
  BOOST_REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
  BOOST_TEST(parsed->chunks.size() == chunks);
  BOOST_TEST(parsed->chunks.back().part_states.size() == parts - 1);
  BOOST_TEST((parsed->chunks.back().part_states == chunk.part_states));
  BOOST_TEST((parsed->chunks.back().part_crc32 == chunk.part_crc32));
}

// Whatever the names, and however many parts: what is written keeps to what is counted on while a
// stream is still being uploaded.
BOOST_AUTO_TEST_CASE(a_manifest_is_never_longer_than_was_counted_on) {
  manifest value = sample();
  value.subvolume = value.snapshot.name = value.host_name = std::string(255, '\xff');
  value.snapshot.path = std::string(4096, '"');
  value.parent_manifest = std::string(1024, '\xff');
  chunk_record chunk = value.chunks[0];
  chunk.key = std::string(1024, '\xff');
  chunk.etag = std::string(255, '"');
  chunk.size = std::uint64_t{1} << 62;
  chunk.part_size = std::uint64_t{5} << 30;
  value.chunks.clear();
  for (std::size_t chunks = 0; chunks < 100; ++chunks) {
    const std::size_t parts = chunks % 5;
    chunk.part_crc32.assign(parts, 1);
    chunk.part_states.assign(parts == 0 ? 0 : parts - 1, eight(7));
    value.chunks.push_back(chunk);
  }
  BOOST_TEST(write_manifest(value).size() <= manifest_bytes_for(200, 100));
  value.chunks.clear();
  BOOST_TEST(write_manifest(value).size() <= manifest_bytes_for(0, 0));
  value.encryption = sealed_sample().encryption;
  value.encryption->keys_key = std::string(1024, '\xff');
  value.encryption->recipients.assign(sealed_recipients_max, std::string(50, 'A'));
  value.encryption->sealed = std::string(sealed_text_bytes_max, 'A');
  value.parent_manifest_sha256 = digest;
  BOOST_TEST(write_manifest(value).size() <= manifest_bytes_for(0, 0));
  // 1 PiB in parts of 128 MiB and chunks of 200 GiB; 40 TiB in parts of 5 MiB, 10,000 a chunk.
  static_assert(manifest_bytes_for(8'388'608, 5'243) <= manifest_bytes_max);
  static_assert(manifest_bytes_for(8'388'608, 839) <= manifest_bytes_max);
}

BOOST_AUTO_TEST_CASE(a_sealed_manifest_is_of_version_2_and_survives_writing_and_reading) {
  const std::string text = write_manifest(sealed_sample());
  BOOST_TEST(text.starts_with("{\"version\":2,"));
  const auto parsed = parse_manifest(text);
  BOOST_REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
  BOOST_REQUIRE(parsed->encryption.has_value());
  BOOST_TEST((parsed->encryption == sealed_sample().encryption));
  BOOST_TEST(parsed->chunks.at(0).plain_size == 2U * 65'056 + 456);
  BOOST_TEST(*parsed->parent_manifest_sha256 == digest);
  BOOST_TEST(write_manifest(*parsed) == text);
}

BOOST_AUTO_TEST_CASE(a_plain_manifest_says_nothing_of_seals) {
  const std::string text = write_manifest(sample());
  BOOST_TEST(text.starts_with("{\"version\":1,"));
  for (const char* absent : {"encryption", "sealed", "plain_size", "parent_manifest_sha256"}) {
    BOOST_TEST(text.find(absent) == std::string::npos, absent);
  }
  BOOST_TEST(write_manifest(*parse_manifest(text)) == text);
}

// Whatever is in the value: paths and the host's name are nobody's who has no key.
BOOST_AUTO_TEST_CASE(a_sealed_manifest_shows_no_path_and_no_host_name) {
  manifest value = sealed_sample();
  value.snapshot.path = "/srv/secret";
  value.host_name = "secret";
  BOOST_TEST(write_manifest(value).find("secret") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_a_sealed_manifest_cannot_say_is_refused_by_name) {
  const std::string plain = "\"plain_size\":130568";
  const std::pair<std::pair<std::string, std::string>, std::string> cases[] = {
      {{"\"format\":\"age-v1\"", "\"format\":\"age-v2\""},
       "encryption.format: is none that this version knows; use a newer version to read it"},
      {{"\"encryption\"", "\"other\""}, "encryption: is missing"},
      {{"\"backup_id\":\"00", "\"backup_id\":\"0"},
       "encryption.backup_id: must be 32 lower-case hexadecimal digits"},
      {{"\"backup_id\":\"00", "\"backup_id\":\"0G"},
       "encryption.backup_id: must be 32 lower-case hexadecimal digits"},
      {{"keys-2026", "\\nkeys-2026"}, "encryption.keys_key: can be no key"},
      {{"\"header_bytes\":512", "\"header_bytes\":511"}, "encryption.header_bytes: must be 512"},
      {{"\"SHA256:A", "\"SHA256:"}, "encryption.recipients[0]: is malformed"},
      {{"\"SHA256:/", "\"SHA256:-"}, "encryption.recipients[1]: is malformed"},
      {{"\"recipients\"", "\"other\""}, "encryption.recipients: must be an array of strings"},
      {{"YWdlLQ==", "YWdlLQ="}, "sealed: must be base64"},
      {{"YWdlLQ==", "YWdl LQ="}, "sealed: must be base64"},
      {{"YWdlLQ==", ""}, "sealed: must be base64"},
      {{"YWdlLQ==", std::string(50'000, 'A')}, "sealed: has more than 49152 bytes"},
      {{plain, "\"plain_size\":130569"},
       "chunks[0].plain_size: is 130569, and the parts have 130568"},
      {{plain, "\"x\":0"}, "chunks[0].plain_size: is missing"},
      {{"\"part_size\"", "\"other\""}, "chunks[0].part_size: is missing"},
      {{"sha256\":\"aaaa", "sha256\":\"AAaa"}, "parent_manifest_sha256: must be 64 lower-case"},
  };
  for (const auto& [change, expected] : cases) {
    const std::string problem = sealed_problem_after(change.first, change.second);
    BOOST_TEST(problem.starts_with(expected), change.second << " gave: " << problem);
  }
}

BOOST_AUTO_TEST_CASE(a_version_above_2_is_refused_as_newer) {
  BOOST_TEST(sealed_problem_after("\"version\":2", "\"version\":3").find("newer version") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(sealed_parts_have_sizes_that_tell_what_is_in_them) {
  BOOST_TEST(!plain_bytes_of_part(0).has_value());
  BOOST_TEST(!plain_bytes_of_part(528).has_value());
  BOOST_TEST(!plain_bytes_of_part(528 + 16).has_value());
  BOOST_TEST(*plain_bytes_of_part(528 + 17) == 1U);
  BOOST_TEST(*plain_bytes_of_part(528 + 65'552) == 65'536U);
  BOOST_TEST(!plain_bytes_of_part(528 + 65'552 + 16).has_value());
  BOOST_TEST(*plain_bytes_of_part(528 + 65'552 + 17) == 65'537U);
  BOOST_TEST(!plain_bytes_of_chunk(0, 65'600).has_value());
  BOOST_TEST(*plain_bytes_of_chunk(65'600, 65'600) == 65'056U);
  BOOST_TEST(*plain_bytes_of_chunk(65'601 + 544, 65'600) == 65'056U + 1);
  BOOST_TEST(!plain_bytes_of_chunk(65'600 + 544, 65'600).has_value());
  BOOST_TEST(!plain_bytes_of_chunk(1000, 64 * 3 + 64).has_value());
  // A size that is none for parts before the last one.
  BOOST_TEST(!plain_bytes_of_chunk(2000, 544).has_value());
}

BOOST_AUTO_TEST_CASE(every_truncation_of_a_manifest_is_refused) {
  const std::string text = write_manifest(sample());
  for (std::size_t length = 0; length + 2 < text.size(); ++length) {
    BOOST_TEST(!parse_manifest(text.substr(0, length)).has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_pointer_survives_writing_and_reading_and_names_what_is_missing) {
  pointer value;
  value.manifest_key = "k";
  value.kind = backup_kind::full;
  value.created_at = *timestamp::parse("2026-01-02T03:04:05Z");
  const std::string text = write_pointer(value);
  const auto parsed = parse_pointer(text);
  BOOST_REQUIRE(parsed.has_value());
  BOOST_TEST(write_pointer(*parsed) == text);
  const std::pair<std::pair<std::string, std::string>, std::string> cases[] = {
      {{"manifest_key", "manifest"}, "manifest_key: is missing"},
      {{"\"k\"", "\"\""}, "manifest_key: is empty"},
      {{"\"k\"", "7"}, "manifest_key: must be a string"},
      {{"\"kind\"", "\"kin\""}, "kind: is missing"},
      {{"\"full\"", "\"FULL\""}, "kind: must be \"full\" or \"incremental\""},
      {{"\"created_at\"", "\"created\""}, "created_at: is missing"},
      {{"2026-01-02T03", "2026-01-02 03"}, "created_at: is no UTC time"},
  };
  for (const auto& [change, expected] : cases) {
    const auto broken = parse_pointer(replaced(text, change.first, change.second));
    BOOST_REQUIRE_MESSAGE(!broken, expected);
    BOOST_TEST(broken.error().text() == expected);
  }
  for (std::size_t length = 0; length + 2 < text.size(); ++length) {
    const auto broken = parse_pointer(text.substr(0, length));
    BOOST_REQUIRE_MESSAGE(!broken, length << " bytes");
    BOOST_TEST(broken.error().text().starts_with("not a JSON object: "));
  }
  BOOST_TEST((parse_pointer(replaced(text, "\"full\"", "\"incremental\""))->kind ==
              backup_kind::incremental));
  BOOST_TEST(parse_pointer(replaced(text, "{", "{\"later\":7,")).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
