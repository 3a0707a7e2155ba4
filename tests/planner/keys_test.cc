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
    BOOST_TEST(keys.chunk(backup_kind::incremental, when, 3, "0badcafe") ==
               "a/b/subvol/data/incremental/chunk-20260102T030405Z-0badcafe-3.bin");
  }
  for (const char* none : {"", "/", "//"}) {
    BOOST_TEST(key_layout(none, "data").pointer() == "subvol/data/current.json");
  }
  BOOST_TEST(key_layout("a", "data").root() == "a/subvol/data/");
}

BOOST_AUTO_TEST_CASE(a_probe_is_named_as_a_chunk_that_no_backup_has) {
  const key_layout keys("a", "data");
  BOOST_TEST(keys.probe(when) == "a/subvol/data/full/chunk-20260102T030405Z-4294967295.bin");
  const object_name probe = name_of(keys.root(), keys.probe(when));
  BOOST_TEST((probe.is == object_name::what::chunk && probe.is_probe()));
  BOOST_TEST((probe.when == when));
  BOOST_TEST(!name_of(keys.root(), keys.chunk(backup_kind::full, when, 0)).is_probe());
  BOOST_TEST(!name_of(keys.root(), keys.pointer()).is_probe());
}

BOOST_AUTO_TEST_CASE(a_copied_bucket_is_read_relative_to_its_manifest) {
  BOOST_TEST(beside_manifest("new/subvol/data/incremental/manifest-2.json",
                             "old/p/subvol/data/full/manifest-1.json") ==
             "new/subvol/data/full/manifest-1.json");
  BOOST_TEST(beside_manifest("subvol/data/full/manifest-1.json",
                             "subvol/data/full/chunk-1-0.bin") == "subvol/data/full/chunk-1-0.bin");
  // A manifest that lies at the top of its bucket.
  BOOST_TEST(beside_manifest("full/manifest-1.json", "p/subvol/data/full/chunk-1-0.bin") ==
             "full/chunk-1-0.bin");
  // What is no key of the layout leads to a folder, where no object is.
  for (const char* foreign : {"", "/x", "x"}) {
    BOOST_TEST(beside_manifest("a/full/manifest-1.json", foreign) == "a/");
  }
}

BOOST_AUTO_TEST_CASE(a_copy_is_looked_for_before_its_original) {
  using keys = std::vector<std::string>;
  const keys copied =
      places_of("new/subvol/data/full/manifest-1.json", "old/subvol/data/full/chunk-1-0.bin");
  const keys both = {"new/subvol/data/full/chunk-1-0.bin", "old/subvol/data/full/chunk-1-0.bin"};
  BOOST_TEST(copied == both, boost::test_tools::per_element());
  // One place, and so one request, in a bucket that was not copied; and for what is no key.
  BOOST_TEST(places_of("a/full/manifest-1.json", "a/full/chunk-1-0.bin").size() == 1U);
  BOOST_TEST((places_of("a/full/manifest-1.json", "x") == keys{"x"}));
}

BOOST_AUTO_TEST_CASE(times_are_read_in_both_forms) {
  for (const char* same : {"20260102T030405Z", "20260102T030405+00:00", "2026-01-02T03:04:05Z",
                           "2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05.678Z",
                           "2026-01-02T03:04:05.678901234+00:00"}) {
    const auto read = timestamp::parse(same);
    BOOST_REQUIRE_MESSAGE(read.has_value(), same);
    BOOST_TEST((*read == when), same);
  }
  // `date -ud 2026-01-02T03:04:05Z +%s`
  BOOST_TEST(when.when().time_since_epoch().count() == 1'767'323'045);
  BOOST_TEST(when.compact() == "20260102T030405Z");
  BOOST_TEST(when.rfc3339() == "2026-01-02T03:04:05Z");
}

BOOST_AUTO_TEST_CASE(times_that_are_none_are_refused) {
  for (const char* wrong : {"",
                            "2026",
                            "20260230T000000Z",
                            "20261301T000000Z",
                            "20260001T000000Z",
                            "20260100T000000Z",
                            "20260102T240000Z",
                            "20260102T006000Z",
                            "20260102T000061Z",
                            "20260102T030405",
                            "20260102T030405Zx",
                            "20260102T030405.5Z",
                            "20260102 030405Z",
                            "2026010aT030405Z",
                            "2026-01-02T03:04:05+02:00",
                            "2026-01-02T03:04:05-00:00",
                            "2026-01-02 03:04:05Z",
                            "2026-01-0203:04:05Z",
                            "2026-0102T03:04:05Z",
                            "2026-01-02T0304:05Z",
                            "2026-01-02T03:04:5Z",
                            "-026-01-02T03:04:05Z"}) {
    BOOST_TEST(!timestamp::parse(wrong).has_value(), wrong);
  }
}

BOOST_AUTO_TEST_CASE(the_ends_of_days_years_and_centuries_go_to_text_and_back) {
  for (const char* text :
       {"19700101T000000Z", "20240229T120000Z", "20000229T000000Z", "21991231T235959Z"}) {
    const auto read = timestamp::parse(text);
    BOOST_REQUIRE_MESSAGE(read.has_value(), text);
    BOOST_TEST(read->compact() == text);
    BOOST_TEST((timestamp::parse(read->rfc3339()) == read), text);
  }
  // A leap second is the next minute's first.
  BOOST_TEST(timestamp::parse("20161231T235960Z")->compact() == "20170101T000000Z");
  BOOST_TEST(timestamp().compact() == "19700101T000000Z");
  BOOST_TEST((*timestamp::parse("20260102T030404Z") < when));
}

BOOST_AUTO_TEST_CASE(keys_objects_are_known_by_their_names) {
  const key_layout keys("p", "data");
  const std::string key = keys.keys_object(backup_kind::incremental, when, "0123abcd");
  BOOST_TEST(key == "p/subvol/data/incremental/keys-20260102T030405Z-0123abcd.age");
  const object_name name = name_of(keys.root(), key);
  BOOST_TEST((name.is == object_name::what::keys));
  BOOST_TEST((name.kind == backup_kind::incremental));
  BOOST_TEST((name.when == when));
  BOOST_TEST(name.tag == "0123abcd");
  for (const char* other :
       {"full/keys-20260102T030405Z.age", "full/keys-20260102T030405Z-0123abcD.age",
        "full/keys-20260102T030405Z-0123abcd.bin", "full/keys-20260102T030465Z-0123abcd.age",
        "keys-20260102T030405Z-0123abcd.age", "full/keys-20260102T030405Zx0123abcd.age"}) {
    BOOST_TEST((name_of(keys.root(), keys.root() + other).is == object_name::what::other), other);
  }
  BOOST_TEST(is_keys_object_of(keys.root(), keys.manifest(backup_kind::incremental, when), key));
  BOOST_TEST(!is_keys_object_of(keys.root(), keys.manifest(backup_kind::full, when), key));
  BOOST_TEST(!is_chunk_of(keys.root(), keys.manifest(backup_kind::incremental, when), key));
}

BOOST_AUTO_TEST_CASE(indexes_are_known_by_their_names_plain_and_sealed) {
  const key_layout keys("p", "data");
  const std::string plain = index_key(keys.root(), backup_kind::full, when, "0123abcd", false);
  const std::string sealed = index_key(keys.root(), backup_kind::full, when, "0123abcd", true);
  BOOST_TEST(plain == "p/subvol/data/full/index-20260102T030405Z-0123abcd.zst");
  BOOST_TEST(sealed == plain + ".age");
  for (const std::string& key : {plain, sealed}) {
    const object_name name = name_of(keys.root(), key);
    BOOST_TEST((name.is == object_name::what::index));
    BOOST_TEST((name.kind == backup_kind::full));
    BOOST_TEST((name.when == when));
    BOOST_TEST(name.tag == "0123abcd");
    BOOST_TEST(is_index_of(keys.root(), keys.manifest(backup_kind::full, when), key));
    BOOST_TEST(!is_index_of(keys.root(), keys.manifest(backup_kind::incremental, when), key));
    BOOST_TEST(!is_keys_object_of(keys.root(), keys.manifest(backup_kind::full, when), key));
  }
  for (const char* other :
       {"full/index-20260102T030405Z.zst", "full/index-20260102T030405Z-0123abcd.age",
        "full/index-20260102T030405Z-0123abcD.zst", "full/index-20260102T030465Z-0123abcd.zst",
        "index-20260102T030405Z-0123abcd.zst", "full/index-20260102T030405Z-0123abcd.zst.age.age",
        "full/index-20260102T030405Zx0123abcd.zst"}) {
    BOOST_TEST((name_of(keys.root(), keys.root() + other).is == object_name::what::other), other);
  }
}

// With a tag, and as older versions wrote them; nothing else.
BOOST_AUTO_TEST_CASE(keys_of_chunks_are_known_with_and_without_a_tag) {
  const key_layout keys("a", "data");
  const timestamp when = timestamp::parse("20260102T030405Z").value();
  for (const char* tag : {"", "0badcafe", "00000000", "12345678"}) {
    for (const std::uint32_t index : {0U, 7U, 12345678U, 4'000'000'000U}) {
      const object_name name =
          name_of(keys.root(), keys.chunk(backup_kind::full, when, index, tag));
      BOOST_TEST((name.is == object_name::what::chunk));
      BOOST_TEST(name.tag == tag);
      BOOST_TEST(name.index == index);
      BOOST_TEST(name.when.compact() == when.compact());
    }
  }
  for (const char* wrong :
       {"0badcaf-0", "0badcafe0-0", "0BADCAFE-0", "0badcafg-0", "0badcafe-", "0badcafe-00",
        "0badcafe-0badcafe-0", "-0badcafe-0", "0badcafe--0", "0badcafe"}) {
    const std::string key = keys.root() + "full/chunk-20260102T030405Z-" + wrong + ".bin";
    BOOST_TEST((name_of(keys.root(), key).is == object_name::what::other), key);
  }
}

BOOST_AUTO_TEST_SUITE_END()
