#include "btrfs/identity.hh"

#include <boost/test/unit_test.hpp>

using namespace bts3::btrfs;

namespace {

const uuid original = *uuid::parse("11111111-2222-3333-4444-555555555555");
const uuid other = *uuid::parse("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");

recorded_identity recorded() {
  recorded_identity identity;
  identity.own_uuid = original;
  identity.ctransid = 42;
  return identity;
}

subvolume_info snapshot() {
  subvolume_info info;
  info.own_uuid = original;
  info.ctransid = 42;
  info.read_only = true;
  return info;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(identity_suite)

BOOST_AUTO_TEST_CASE(the_same_uuid_read_only_and_unchanged_matches) {
  BOOST_TEST(compare_identity(recorded(), snapshot()).matches());
}

BOOST_AUTO_TEST_CASE(a_received_copy_matches_by_its_received_uuid_whatever_its_ctransid) {
  subvolume_info copy = snapshot();
  copy.own_uuid = other;
  copy.received_uuid = original;
  copy.ctransid = 7;
  BOOST_TEST(compare_identity(recorded(), copy).matches());
}

BOOST_AUTO_TEST_CASE(another_uuid_does_not_match) {
  subvolume_info wrong = snapshot();
  wrong.own_uuid = other;
  const auto finding = compare_identity(recorded(), wrong);
  BOOST_TEST((finding.verdict == identity_verdict::other_uuid));
  BOOST_TEST(finding.sentence.find(original.text()) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_writable_snapshot_does_not_match) {
  subvolume_info writable = snapshot();
  writable.read_only = false;
  BOOST_TEST((compare_identity(recorded(), writable).verdict == identity_verdict::writable));
}

BOOST_AUTO_TEST_CASE(a_changed_snapshot_does_not_match_although_its_uuid_does) {
  subvolume_info changed = snapshot();
  changed.ctransid = 43;
  BOOST_TEST((compare_identity(recorded(), changed).verdict == identity_verdict::changed));
}

BOOST_AUTO_TEST_CASE(without_a_recorded_uuid_nothing_is_known) {
  BOOST_TEST(
      (compare_identity(recorded_identity(), snapshot()).verdict == identity_verdict::unknown));
}

BOOST_AUTO_TEST_CASE(null_uuids_never_match_each_other) {
  recorded_identity nothing = recorded();
  nothing.received_uuid = uuid();
  subvolume_info wrong = snapshot();
  wrong.own_uuid = other;
  BOOST_TEST(!compare_identity(nothing, wrong).matches());
}

BOOST_AUTO_TEST_CASE(a_uuid_goes_to_text_and_back_and_malformed_text_is_refused) {
  BOOST_TEST(original.text() == "11111111-2222-3333-4444-555555555555");
  BOOST_TEST((uuid::parse("AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE") == other));
  BOOST_TEST(!uuid::parse("11111111-2222-3333-4444-55555555555").has_value());
  BOOST_TEST(!uuid::parse("11111111x2222-3333-4444-555555555555").has_value());
  BOOST_TEST(!uuid::parse("g1111111-2222-3333-4444-555555555555").has_value());
}

BOOST_AUTO_TEST_SUITE_END()
