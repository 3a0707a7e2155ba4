// The member `index` of a manifest: written where there is one, and read as whatever it may be.
#include "planner/manifest.hh"

#include <boost/test/unit_test.hpp>

#include <string>
#include <utility>

using namespace bts3::planner;

namespace {

const std::string folder = "p/subvol/data/full/";
const std::string digest(64, 'a');
const std::string other_digest(64, 'b');

manifest with_index() {
  manifest value;
  value.subvolume = "data";
  value.created_at = timestamp::parse("20260102T030405Z").value();
  value.snapshot.name = "data__20260102T030405Z__full";
  value.snapshot.path = "/s/data__20260102T030405Z__full";
  chunk_record chunk;
  chunk.key = folder + "chunk-20260102T030405Z-0123abcd-0.bin";
  chunk.size = 150;
  chunk.sha256 = std::string(64, 'c');
  value.chunks = {chunk};
  value.total_bytes = 150;
  index_record index;
  index.key = folder + "index-20260102T030405Z-0123abcd.zst";
  index.size = 77;
  index.sha256 = digest;
  value.index = index;
  return value;
}

manifest sealed_with_index() {
  manifest value = with_index();
  value.snapshot.path.clear();
  chunk_record& chunk = value.chunks[0];
  chunk.part_size = 65'600;
  chunk.size = 1000;
  chunk.plain_size = 456;
  chunk.part_crc32 = {1};
  value.total_bytes = chunk.size;
  value.encryption.emplace();
  value.encryption->backup_id = "00112233445566778899aabbccddeeff";
  value.encryption->keys_key = folder + "keys-20260102T030405Z-0123abcd.age";
  value.encryption->recipients = {"SHA256:" + std::string(43, 'A')};
  value.encryption->sealed = "YWdlLQ==";
  value.index->key += ".age";
  value.index->size = 400;
  value.index->plain_size = 77;
  value.index->plain_sha256 = other_digest;
  return value;
}

std::string problem_after(const manifest& value, const std::string& from, const std::string& to) {
  std::string text = write_manifest(value);
  const std::size_t at = text.find(from);
  BOOST_REQUIRE_MESSAGE(at != std::string::npos, from);
  const auto parsed = parse_manifest(text.replace(at, from.size(), to));
  return parsed ? "accepted" : parsed.error().text();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(manifest_index_suite)

BOOST_AUTO_TEST_CASE(an_index_survives_writing_and_reading_plain_and_sealed) {
  for (const manifest& value : {with_index(), sealed_with_index()}) {
    const std::string text = write_manifest(value);
    const auto parsed = parse_manifest(text);
    BOOST_REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error().text()));
    BOOST_TEST((parsed->index == value.index));
    BOOST_TEST(write_manifest(*parsed) == text);
  }
  BOOST_TEST(write_manifest(with_index()).find("\"version\":1,") != std::string::npos);
  BOOST_TEST(write_manifest(with_index()).find("plain_s") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_manifest_without_an_index_says_nothing_of_one) {
  manifest value = with_index();
  value.index.reset();
  const std::string text = write_manifest(value);
  BOOST_TEST(text.find("index") == std::string::npos);
  BOOST_TEST(!parse_manifest(text)->index.has_value());
  BOOST_TEST(problem_after(with_index(), "\"index\":{", "\"index\":null,\"later\":{") ==
             "accepted");
}

BOOST_AUTO_TEST_CASE(an_index_that_makes_no_sense_is_refused_by_name) {
  const std::string name = "index-20260102T030405Z-0123abcd.zst";
  const std::pair<std::pair<std::string, std::string>, std::string> cases[] = {
      {{"\"index\":{", "\"index\":7,\"later\":{"}, "index: must be an object"},
      {{"\"key\":\"" + folder + name, "\"kex\":\"" + folder + name}, "index.key: is missing"},
      {{folder + name, "p/subvol/other/full/" + name}, "index.key: is not beside"},
      {{folder + name, "p/subvol/data/incremental/" + name}, "index.key: is not beside"},
      {{folder + name, name}, "index.key: is not beside"},
      {{name, "chunk-20260102T030405Z-0123abcd-0.bin"}, "index.key: can be no key of an index"},
      {{name, name + ".age"}, "index.key: can be no key of an index"},
      {{name, "index-\\n.zst"}, "index.key: can be no key of an index"},
      {{name, "index-" + std::string(1100, 'i') + ".zst"}, "index.key: can be no key of an index"},
      {{"\"size\":77", "\"size\":0"}, "index.size: is none that an index has"},
      {{"\"size\":77", "\"size\":18446744073709551615"}, "index.size: is none that an index has"},
      {{"\"size\":77", "\"size\":-1"}, "index.size: must be a whole number"},
      {{"\"size\":77", "\"sizz\":77"}, "index.size: is missing"},
      {{digest, digest.substr(1)}, "index.sha256: must be 64"},
      {{digest, std::string(64, 'A')}, "index.sha256: must be 64"},
  };
  for (const auto& [change, expected] : cases) {
    const std::string problem = problem_after(with_index(), change.first, change.second);
    BOOST_TEST(problem.starts_with(expected), change.second << " gave: " << problem);
  }
}

// Who may not read names of files in a sealed backup must not find them in its index either.
BOOST_AUTO_TEST_CASE(the_index_of_a_sealed_backup_is_sealed) {
  const std::pair<std::pair<std::string, std::string>, std::string> cases[] = {
      {{".zst.age", ".zst"}, "index.key: can be no key of an index"},
      {{"\"plain_size\":77", "\"plain\":77"}, "index.plain_size: is missing"},
      {{"\"plain_size\":77", "\"plain_size\":0"}, "index.plain_size: must be less than size"},
      {{"\"plain_size\":77", "\"plain_size\":400"}, "index.plain_size: must be less than size"},
      {{other_digest, "x"}, "index.plain_sha256: must be 64"},
      {{"plain_sha256", "plain_sha"}, "index.plain_sha256: is missing"},
  };
  for (const auto& [change, expected] : cases) {
    const std::string problem = problem_after(sealed_with_index(), change.first, change.second);
    BOOST_TEST(problem.starts_with(expected), change.second << " gave: " << problem);
  }
}

BOOST_AUTO_TEST_SUITE_END()
