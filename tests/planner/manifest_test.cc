#include "planner/manifest.hh"
#include "planner/pointer.hh"

#include <boost/test/unit_test.hpp>

#include <fstream>
#include <sstream>
#include <string>

using namespace bts3::planner;

namespace {

const std::string digest(64, 'a');

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
  chunk.part_states = {std::string(64, 'b'), std::string(64, 'c')};
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

// What parsing says of the sample after one replacement.
std::string problem_after(const std::string& from, const std::string& to) {
  const auto parsed = parse_manifest(replaced(write_manifest(sample()), from, to));
  return parsed ? "accepted" : parsed.error().text();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(manifest_suite)

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
  BOOST_TEST(problem_after("\"version\": 1,", "\"version\": 1, \"later\": {\"x\": [1]},") ==
             "accepted");
}

BOOST_AUTO_TEST_CASE(a_newer_version_is_refused_as_such) {
  BOOST_TEST(problem_after("\"version\": 1", "\"version\": 2").find("newer version") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_named) {
  const std::pair<std::pair<std::string, std::string>, std::string> cases[] = {
      {{"\"kind\": \"incremental\"", "\"kind\": \"half\""}, "kind"},
      {{"2026-01-02T03:04:05Z", "yesterday"}, "created_at"},
      {{"\"total_bytes\": 150", "\"total_bytes\": 151"}, "total_bytes"},
      {{"\"size\": 150", "\"size\": -1"}, "chunks[0].size"},
      {{digest, digest.substr(1)}, "chunks[0].sha256"},
      {{"\"part_size\": 64", "\"part_size\": 65"}, "chunks[0].part_size"},
      {{"\"part_size\": 64", "\"part_size\": 128"}, "chunks[0].part_crc32"},
      {{"\"y/Q5Jg==\"", "\"y/Q5J\""}, "chunks[0].part_crc32[0]"},
      {{std::string(64, 'c'), std::string(64, 'C')}, "chunks[0].part_sha256_states[1]"},
      {{"\"key\": \"p/", "\"kex\": \"p/"}, "chunks[0].key"},
      {{"\"parent_manifest\": \"p/", "\"parent\": \"p/"}, "parent_manifest"},
      {{"\"snapshot\":", "\"snap\":"}, "snapshot"},
  };
  for (const auto& [change, field] : cases) {
    const std::string problem = problem_after(change.first, change.second);
    BOOST_TEST(problem.starts_with(field), change.second << " gave: " << problem);
  }
  BOOST_TEST(!parse_manifest("").has_value());
  BOOST_TEST(!parse_manifest("[]").has_value());
  BOOST_TEST(!parse_manifest("{\"version\": 1").has_value());
}

BOOST_AUTO_TEST_CASE(forty_thousand_parts_are_read) {
  manifest value = sample();
  chunk_record& chunk = value.chunks[0];
  chunk.size = 64 * 40'000;
  chunk.part_crc32.assign(40'000, 1);
  chunk.part_states.assign(39'999, digest);
  value.total_bytes = chunk.size;
  const auto parsed = parse_manifest(write_manifest(value));
  BOOST_REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
  BOOST_TEST(parsed->chunks[0].part_states.size() == 39'999u);
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
  const auto broken = parse_pointer(replaced(text, "manifest_key", "manifest"));
  BOOST_REQUIRE(!broken.has_value());
  BOOST_TEST(broken.error().where == "manifest_key");
}

BOOST_AUTO_TEST_SUITE_END()
