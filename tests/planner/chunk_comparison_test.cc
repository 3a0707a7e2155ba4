#include "planner/chunk_comparison.hh"

#include <boost/test/unit_test.hpp>

#include <optional>
#include <string>

using namespace bts3::planner;

namespace {

const std::string manifest_key = "p/subvol/data/full/manifest-20260101T020000Z.json";
const std::string chunk_key = "p/subvol/data/full/chunk-20260101T020000Z-0.bin";

object_listing listing_with(const std::string& key, std::uint64_t size,
                            const std::string& storage_class) {
  object_listing made;
  made[key].size = size;
  made[key].storage_class = storage_class;
  return made;
}

chunk_record recorded(std::uint64_t size) {
  chunk_record made;
  made.key = chunk_key;
  made.size = size;
  return made;
}

object_sight seen(readability reads) {
  object_sight made;
  made.size = 4;
  made.storage_class = "DEEP_ARCHIVE";
  made.reads = reads;
  return made;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(chunk_comparison_suite)

BOOST_AUTO_TEST_CASE(what_is_there_with_its_size_is_as_recorded) {
  const auto found =
      compare_chunk(listing_with(chunk_key, 4, "STANDARD"), manifest_key, recorded(4));
  BOOST_TEST((found.state == chunk_state::present));
  BOOST_TEST(found.as_recorded());
  BOOST_TEST(found.can_be_read());
  BOOST_TEST(found.key == chunk_key);
  BOOST_TEST(found.storage_class == "STANDARD");
  BOOST_TEST(found.problem() == "");
  BOOST_TEST(found.sentence() == "");
}

BOOST_AUTO_TEST_CASE(what_is_not_there_is_missing_where_it_is_looked_for_first) {
  const std::string copy = "copy/" + manifest_key;
  const auto found = compare_chunk({}, copy, recorded(4));
  BOOST_TEST((found.state == chunk_state::missing));
  BOOST_TEST(!found.as_recorded());
  BOOST_TEST(!found.can_be_read());
  BOOST_TEST(found.key == "copy/" + chunk_key);
  BOOST_TEST(found.problem() == "missing");
  BOOST_TEST(found.sentence() == "chunk copy/" + chunk_key + " is missing from the bucket");
  BOOST_TEST(found.sentence(copy) ==
             "chunk copy/" + chunk_key + " of manifest " + copy + " is missing from the bucket");
  BOOST_TEST(found.class_problem("STANDARD") == "");
}

BOOST_AUTO_TEST_CASE(another_size_is_told_with_both) {
  const auto found =
      compare_chunk(listing_with(chunk_key, 6, "GLACIER"), manifest_key, recorded(4));
  BOOST_TEST((found.state == chunk_state::wrong_size));
  BOOST_TEST(!found.as_recorded());
  BOOST_TEST(!found.can_be_read());
  BOOST_TEST(found.problem() == "has 6 bytes instead of 4");
  BOOST_TEST(found.sentence() ==
             "chunk " + chunk_key + " has 6 bytes in the bucket, and 4 were recorded");
}

BOOST_AUTO_TEST_CASE(a_listing_knows_the_archives_by_their_classes) {
  for (const char* name : {"GLACIER", "DEEP_ARCHIVE"}) {
    const auto found = compare_chunk(listing_with(chunk_key, 4, name), manifest_key, recorded(4));
    BOOST_TEST((found.state == chunk_state::archived), name);
    BOOST_TEST(found.as_recorded());
    BOOST_TEST(!found.can_be_read());
    BOOST_TEST(found.problem() == "");
  }
  for (const char* name : {"STANDARD", "GLACIER_IR", "INTELLIGENT_TIERING", "STANDARD_IA"}) {
    BOOST_TEST((readability_of(name) == readability::at_once), name);
  }
}

BOOST_AUTO_TEST_CASE(a_head_knows_what_has_been_thawed) {
  BOOST_TEST(
      (compare_chunk(chunk_key, 4, seen(readability::archived)).state == chunk_state::archived));
  const auto thawing = compare_chunk(chunk_key, 4, seen(readability::thawing));
  BOOST_TEST((thawing.state == chunk_state::thawing));
  BOOST_TEST((thawing.as_recorded() && !thawing.can_be_read()));
  const auto thawed = compare_chunk(chunk_key, 4, seen(readability::thawed));
  BOOST_TEST((thawed.state == chunk_state::thawed));
  BOOST_TEST((thawed.as_recorded() && thawed.can_be_read()));
  BOOST_TEST(
      (compare_chunk(chunk_key, 5, seen(readability::thawed)).state == chunk_state::wrong_size));
}

BOOST_AUTO_TEST_CASE(another_class_than_the_recorded_one_is_told) {
  const auto found =
      compare_chunk(listing_with(chunk_key, 4, "GLACIER"), manifest_key, recorded(4));
  BOOST_TEST(found.class_problem("STANDARD") == "is stored as GLACIER instead of STANDARD");
  BOOST_TEST(found.class_problem("GLACIER") == "");
  BOOST_TEST(found.class_problem("") == "");
}

// The copy wins over its original, which may be another's.
BOOST_AUTO_TEST_CASE(a_place_beside_the_manifest_comes_before_the_recorded_one) {
  object_listing both = listing_with(chunk_key, 4, "STANDARD");
  both["copy/" + chunk_key].size = 5;
  const std::string copy = "copy/" + manifest_key;
  BOOST_TEST(place_in(both, copy, chunk_key) == "copy/" + chunk_key);
  BOOST_TEST(compare_chunk(both, copy, recorded(4)).found_bytes == 5U);
  both.erase("copy/" + chunk_key);
  BOOST_TEST(place_in(both, copy, chunk_key) == chunk_key);
  BOOST_TEST(place_in(both, manifest_key, chunk_key) == chunk_key);
  BOOST_TEST(place_in({}, copy, chunk_key) == "copy/" + chunk_key);
}

BOOST_AUTO_TEST_SUITE_END()
