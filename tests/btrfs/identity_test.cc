#include "btrfs/identity.hh"
#include "tests/support/shown_setting.hh"

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <optional>
#include <string>

using bts3::engine::setting;
using bts3::testing::shown;

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

// A snapshot of what was received in transaction 5, made in 9.
subvolume_info received_copy() {
  subvolume_info copy;
  copy.own_uuid = other;
  copy.received_uuid = original;
  copy.sent_ctransid = 42;
  copy.received_in = 5;
  copy.ctransid = 7;
  copy.made_in = 9;
  copy.read_only = true;
  return copy;
}

BOOST_AUTO_TEST_CASE(a_received_copy_matches_whatever_its_ctransid_unless_it_contradicts_itself) {
  BOOST_TEST(compare_identity(recorded(), received_copy()).matches());
  const auto verdict = [](void (*change)(subvolume_info&)) {
    subvolume_info copy = received_copy();
    change(copy);
    return compare_identity(recorded(), copy);
  };
  const auto edited = verdict([](subvolume_info& copy) { copy.ctransid = 10; });
  BOOST_TEST((edited.verdict == identity_verdict::changed));
  BOOST_TEST(edited.sentence.find("changed after it was made") != std::string::npos);
  const auto by_hand = verdict([](subvolume_info& copy) { copy.received_in = 11; });
  BOOST_TEST((by_hand.verdict == identity_verdict::changed));
  BOOST_TEST(by_hand.sentence.find("by hand") != std::string::npos);
  const auto earlier = verdict([](subvolume_info& copy) { copy.sent_ctransid = 41; });
  BOOST_TEST((earlier.verdict == identity_verdict::changed));
  BOOST_TEST(earlier.sentence.find("another state") != std::string::npos);
  BOOST_TEST((verdict([](subvolume_info& copy) { copy.read_only = false; }).verdict ==
              identity_verdict::writable));
}

BOOST_AUTO_TEST_CASE(where_copies_are_recorded_a_received_one_is_one_of_them_and_unchanged) {
  recorded_identity identity = recorded();
  identity.copies = {{other, 7}};
  subvolume_info copy = received_copy();
  BOOST_TEST(compare_identity(identity, copy).matches());
  // A record outweighs what the kernel tells.
  copy.made_in = 6;
  BOOST_TEST(compare_identity(identity, copy).matches());
  copy.ctransid = 8;
  BOOST_TEST((compare_identity(identity, copy).verdict == identity_verdict::changed));
  copy = received_copy();
  copy.own_uuid = *uuid::parse("99999999-9999-9999-9999-999999999999");
  const auto another = compare_identity(identity, copy);
  BOOST_TEST((another.verdict == identity_verdict::changed));
  BOOST_TEST(another.sentence.find("another copy") != std::string::npos);
  // One of several, and one that cannot be read.
  identity.copies = {{copy.own_uuid, 7}, {other, 7}};
  BOOST_TEST(compare_identity(identity, copy).matches());
  identity.copies = {known_copy()};
  const auto unreadable = compare_identity(identity, copy);
  BOOST_TEST((unreadable.verdict == identity_verdict::changed));
  BOOST_TEST(unreadable.sentence.find("cannot be read") != std::string::npos);
  // The original needs none of them.
  BOOST_TEST(compare_identity(identity, snapshot()).matches());
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

// Every way in which the two can meet. R is what the snapshot, or its copy, was received from.
BOOST_AUTO_TEST_CASE(the_verdict_follows_from_uuids_property_and_ctransid) {
  using enum identity_verdict;
  constexpr std::uint64_t same = 42;
  constexpr std::uint64_t moved = 43;
  const std::optional<std::uint64_t> none;
  const uuid nothing;
  const uuid r = *uuid::parse("77777777-7777-7777-7777-777777777777");
  struct row {
    const char* what;
    std::optional<uuid> recorded_own;
    std::optional<uuid> recorded_received;
    std::optional<std::uint64_t> recorded_ctransid;
    uuid own;
    uuid received;
    std::uint64_t ctransid;
    bool read_only;
    identity_verdict verdict;
  };
  const row rows[] = {
      {"itself", original, {}, same, original, nothing, same, true, matches},
      {"itself, no ctransid recorded", original, {}, none, original, nothing, moved, true, matches},
      {"itself, changed", original, {}, same, original, nothing, moved, true, changed},
      {"itself, writable", original, {}, same, original, nothing, same, false, writable},
      {"itself, writable and changed",
       original,
       {},
       same,
       original,
       nothing,
       moved,
       false,
       writable},
      {"itself, with what it was received from", original, r, same, original, r, same, true,
       matches},
      {"itself, received and changed", original, r, same, original, r, moved, true, changed},
      {"its copy", original, {}, same, other, original, moved, true, matches},
      {"its copy, no ctransid recorded", original, {}, none, other, original, moved, true, matches},
      {"its copy, writable", original, {}, same, other, original, same, false, writable},
      {"what it was received from", original, r, same, r, nothing, moved, true, changed},
      {"what it was received from, no ctransid", original, r, none, r, nothing, moved, true,
       matches},
      {"a sibling received from the same", original, r, same, other, r, moved, true, matches},
      {"another", original, {}, same, other, nothing, same, true, other_uuid},
      {"another, writable", original, {}, same, other, nothing, same, false, other_uuid},
      {"another's copy", original, {}, same, other, r, same, true, other_uuid},
      {"none recorded", {}, {}, same, original, nothing, same, true, unknown},
      {"none recorded but a received one", {}, r, none, other, r, same, true, unknown},
      {"null against null", nothing, nothing, none, other, nothing, same, true, other_uuid},
      {"null against all null", nothing, nothing, none, nothing, nothing, same, true, other_uuid},
  };
  for (const row& one : rows) {
    recorded_identity identity;
    identity.own_uuid = one.recorded_own;
    identity.received_uuid = one.recorded_received;
    identity.ctransid = one.recorded_ctransid;
    subvolume_info found;
    found.own_uuid = one.own;
    found.received_uuid = one.received;
    found.ctransid = one.ctransid;
    found.made_in = moved;
    found.sent_ctransid = one.received.is_null() ? 0 : same;
    found.read_only = one.read_only;
    const identity_finding finding = compare_identity(identity, found);
    BOOST_TEST((finding.verdict == one.verdict), one.what << ": " << finding.sentence);
    BOOST_TEST(finding.matches() == (one.verdict == matches), one.what);
    BOOST_TEST(finding.sentence.empty() == finding.matches(), one.what);
  }
}

BOOST_AUTO_TEST_CASE(a_mismatch_is_explained_with_both_sides) {
  subvolume_info found = snapshot();
  found.ctransid = 43;
  found.changed_at = 1'785'000'000;
  const std::string sentence = compare_identity(recorded(), found).sentence;
  BOOST_TEST(
      sentence.starts_with("it was changed after the backup (ctransid 43, recorded 42), the "
                           "last time at 2026-07-25T17:20:00Z: "));
  BOOST_TEST(sentence.find("bees, duperemove") != std::string::npos);
  BOOST_TEST(sentence.find(shown(setting::snapshot_directory)) != std::string::npos);
  found.own_uuid = other;
  BOOST_TEST(compare_identity(recorded(), found).sentence ==
             "its UUID aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee is not the recorded one, "
             "11111111-2222-3333-4444-555555555555");
}

BOOST_AUTO_TEST_CASE(a_source_is_the_recorded_one_or_was_made_from_the_last_snapshot) {
  const uuid before = *uuid::parse("00000000-0000-0000-0000-00000000000b");
  const uuid link = *uuid::parse("00000000-0000-0000-0000-00000000000c");
  subvolume_info source;
  source.own_uuid = before;
  subvolume_info parent = snapshot();
  parent.parent_uuid = before;
  BOOST_TEST(compare_source(before, source, "/d", &parent) == "");
  BOOST_TEST(compare_source(before, source, "/d", nullptr) == "");
  // Manifests of the earlier tool record none.
  BOOST_TEST(compare_source(std::nullopt, source, "/d", &parent) == "");
  BOOST_TEST(compare_source(uuid(), source, "/d", &parent) == "");
  source.own_uuid = other;
  const std::string replaced = compare_source(before, source, "/d", &parent);
  BOOST_TEST(replaced.starts_with("/d is another subvolume"));
  BOOST_TEST(replaced.find("not mounted") != std::string::npos);
  // A snapshot of the old source is not what was backed up; one of the parent is.
  source.parent_uuid = before;
  BOOST_TEST(compare_source(before, source, "/d", &parent) != "");
  source.parent_uuid = parent.own_uuid;
  BOOST_TEST(compare_source(before, source, "/d", &parent) == "");
  BOOST_TEST(compare_source(before, source, "/d", nullptr) != "");
  // After a restore that kept a copy, target and copy are snapshots of one link.
  parent = received_copy();
  parent.parent_uuid = link;
  source.parent_uuid = link;
  BOOST_TEST(compare_source(before, source, "/d", &parent) == "");
  source.parent_uuid = uuid();
  parent.parent_uuid = uuid();
  BOOST_TEST(compare_source(before, source, "/d", &parent) != "");
}

BOOST_AUTO_TEST_CASE(a_uuid_goes_to_text_and_back_and_malformed_text_is_refused) {
  BOOST_TEST(original.text() == "11111111-2222-3333-4444-555555555555");
  BOOST_TEST((uuid::parse("AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE") == other));
  BOOST_TEST(!uuid::parse("").has_value());
  BOOST_TEST(!uuid::parse("11111111-2222-3333-4444-55555555555").has_value());
  BOOST_TEST(!uuid::parse("11111111-2222-3333-4444-5555555555555").has_value());
  BOOST_TEST(!uuid::parse("111111112-222-3333-4444-555555555555").has_value());
  BOOST_TEST(!uuid::parse("11111111x2222-3333-4444-555555555555").has_value());
  BOOST_TEST(!uuid::parse("g1111111-2222-3333-4444-555555555555").has_value());
}

BOOST_AUTO_TEST_SUITE_END()
