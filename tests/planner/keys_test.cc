#include "planner/keys.hh"

#include <boost/test/unit_test.hpp>

using namespace bts3::planner;

namespace {
const timestamp when = *timestamp::parse("2026-01-02T03:04:05Z");
}

BOOST_AUTO_TEST_SUITE(keys_suite)

BOOST_AUTO_TEST_CASE(keys_follow_the_layout_whatever_slashes_the_prefix_has) {
  for (const char* prefix : {"a/b", "a/b/", "/a/b/"}) {
    const key_layout keys(prefix, "data");
    BOOST_TEST(keys.pointer() == "a/b/subvol/data/current.json");
    BOOST_TEST(keys.manifest(backup_kind::full, when) ==
               "a/b/subvol/data/full/manifest-20260102T030405Z.json");
    BOOST_TEST(keys.chunk(backup_kind::incremental, when, 3) ==
               "a/b/subvol/data/incremental/chunk-20260102T030405Z-3.bin");
  }
  BOOST_TEST(key_layout("", "data").pointer() == "subvol/data/current.json");
}

BOOST_AUTO_TEST_CASE(a_copied_bucket_is_read_relative_to_its_manifest) {
  BOOST_TEST(beside_manifest("new/subvol/data/incremental/manifest-2.json",
                             "old/p/subvol/data/full/manifest-1.json") ==
             "new/subvol/data/full/manifest-1.json");
  BOOST_TEST(beside_manifest("subvol/data/full/manifest-1.json",
                             "subvol/data/full/chunk-1-0.bin") == "subvol/data/full/chunk-1-0.bin");
}

BOOST_AUTO_TEST_CASE(times_are_read_in_both_forms) {
  BOOST_TEST((timestamp::parse("20260102T030405Z") == when));
  BOOST_TEST((timestamp::parse("2026-01-02T03:04:05+00:00") == when));
  BOOST_TEST((timestamp::parse("2026-01-02T03:04:05.678Z") == when));
  BOOST_TEST(when.compact() == "20260102T030405Z");
  BOOST_TEST(when.rfc3339() == "2026-01-02T03:04:05Z");
  for (const char* wrong : {"", "2026", "20260230T000000Z", "20260102T250000Z", "20260102T030405",
                            "2026-01-02T03:04:05+02:00", "2026-01-02 03:04:05Z"}) {
    BOOST_TEST(!timestamp::parse(wrong).has_value(), wrong);
  }
}

BOOST_AUTO_TEST_SUITE_END()
