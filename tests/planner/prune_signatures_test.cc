// Signatures beside manifests: known by their names, deleted behind their manifests and never
// before, left over only where that was interrupted.
#include "planner/keys.hh"
#include "planner/prune.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <set>
#include <string>

using namespace bts3::planner;
using std::chrono::days;

namespace {

const timestamp now{std::chrono::sys_days(std::chrono::year(2026) / 11 / 21)};
const key_layout keys("hosts/alpha", "data");

timestamp ago(days past) {
  return timestamp(now.when() - past);
}

// A full and an incremental, 100 days old, and again 10 days old; each signed.
struct signed_bucket {
  prune_observation seen;
  std::string old_full;
  std::string old_incremental;

  signed_bucket() {
    seen.all.root = keys.root();
    old_full = add(backup_kind::full, days(100), {});
    old_incremental = add(backup_kind::incremental, days(99), old_full);
    const std::string full = add(backup_kind::full, days(10), {});
    seen.current = add(backup_kind::incremental, days(9), full);
    seen.verified = {old_full, full};
  }

  std::string add(backup_kind kind, days age, const std::string& parent) {
    manifest made;
    made.subvolume = "data";
    made.kind = kind;
    made.created_at = ago(age);
    if (!parent.empty()) {
      made.parent_manifest = parent;
    }
    chunk_record chunk;
    chunk.key = keys.chunk(kind, ago(age), 0);
    chunk.size = 100;
    made.total_bytes = 100;
    made.chunks.push_back(chunk);
    object(chunk.key, age);
    const std::string key = keys.manifest(kind, ago(age));
    object(key, age);
    object(signature_of(key), age);
    seen.all.manifests.emplace(key, std::move(made));
    return key;
  }
  void object(const std::string& key, days age) {
    listed_object one;
    one.size = 100;
    one.storage_class = "STANDARD";
    one.modified = ago(age);
    seen.all.objects[key] = one;
  }
  void erase(const std::string& key) {
    seen.all.objects.erase(key);
    seen.all.manifests.erase(key);
  }
  [[nodiscard]] prune_plan judge() const {
    prune_policy policy;
    policy.keep_generations = 1;
    return judge_bucket(seen, policy, now);
  }
};

std::set<std::string> removed(const prune_plan& plan) {
  std::set<std::string> all;
  for (const removal& one : plan.removals) {
    all.insert(one.key);
  }
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(prune_signatures_suite)

BOOST_AUTO_TEST_CASE(a_signature_is_known_by_its_name_and_nothing_else_is) {
  const std::string manifest = keys.manifest(backup_kind::full, ago(days(3)));
  const object_name name = name_of(keys.root(), signature_of(manifest));
  BOOST_TEST((name.is == object_name::what::signature));
  BOOST_TEST((name.kind == backup_kind::full && name.when == ago(days(3))));
  BOOST_TEST(!time_in_key(signature_of(manifest)).has_value());
  for (const std::string& wrong :
       {manifest + ".sig.sig", manifest + ".SIG", manifest + "sig",
        keys.root() + "current.json.sig", keys.root() + "full/manifest-20260102T030405Z.sig",
        keys.chunk(backup_kind::full, ago(days(3)), 0) + ".sig"}) {
    BOOST_TEST((name_of(keys.root(), wrong).is == object_name::what::other), wrong);
  }
}

BOOST_AUTO_TEST_CASE(a_signature_goes_behind_its_manifest) {
  const signed_bucket made;
  const prune_plan plan = made.judge();
  BOOST_TEST(plan.held_back == "");
  BOOST_TEST(plan.foreign.empty());
  BOOST_TEST(plan.orphans_kept == 0U);
  BOOST_TEST(removed(plan) == (std::set<std::string>{
                                  made.old_full, made.old_incremental, signature_of(made.old_full),
                                  signature_of(made.old_incremental),
                                  keys.chunk(backup_kind::full, ago(days(100)), 0),
                                  keys.chunk(backup_kind::incremental, ago(days(99)), 0)}),
             boost::test_tools::per_element());
  std::set<std::string> gone;
  for (const removal& one : plan.removals) {
    if (one.key.ends_with(".sig")) {
      BOOST_TEST(gone.contains(one.key.substr(0, one.key.size() - 4)), one.key);
      BOOST_TEST(one.generation == made.old_full);
    }
    gone.insert(one.key);
  }
}

// Killed after any deletion, and run again: nothing is left of what was to go, and nothing else
// went.
BOOST_AUTO_TEST_CASE(an_interrupted_prune_leaves_no_signature_for_ever) {
  const signed_bucket before;
  const prune_plan plan = before.judge();
  for (std::size_t until = 0; until <= plan.removals.size(); ++until) {
    signed_bucket left = before;
    for (std::size_t step = 0; step < until; ++step) {
      left.erase(plan.removals[step].key);
    }
    for (const removal& one : left.judge().removals) {
      left.erase(one.key);
    }
    BOOST_TEST(left.seen.all.objects.size() == 6U, until);
    BOOST_TEST(left.seen.all.objects.contains(signature_of(left.seen.current)), until);
  }
}

BOOST_AUTO_TEST_CASE(signatures_of_what_cannot_be_read_and_young_ones_stay) {
  signed_bucket made;
  made.seen.all.manifests.erase(made.old_incremental);
  made.seen.all.unreadable[made.old_incremental] = "cut";
  BOOST_TEST(!removed(made.judge()).contains(signature_of(made.old_incremental)));
  BOOST_TEST(made.judge().orphans_kept == 0U + 1U);  // that manifest's chunk
  signed_bucket other;
  const std::string young = signature_of(keys.manifest(backup_kind::full, ago(days(2))));
  const std::string old = signature_of(keys.manifest(backup_kind::full, ago(days(50))));
  other.object(young, days(2));
  other.object(old, days(50));
  BOOST_TEST(!removed(other.judge()).contains(young));
  BOOST_TEST(removed(other.judge()).contains(old));
  BOOST_TEST(other.judge().orphans_kept == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
