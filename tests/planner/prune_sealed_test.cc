// What prune makes of sealed backups and of indexes: keys objects go with what they open, and never
// before.
#include "planner/keys.hh"
#include "planner/prune.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <string>
#include <vector>

using namespace bts3::planner;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::sys_days;

namespace {

const timestamp now{sys_days(std::chrono::year(2026) / 11 / 21) + hours(2)};
const key_layout keys("hosts/alpha", "data");
constexpr const char* tag = "0123abcd";

timestamp ago(days past) {
  return timestamp(now.when() - past);
}

// Three fulls of two chunks each, 200, 100 and 20 days old, all sealed.
struct sealed_bucket {
  sealed_bucket() {
    seen.all.root = keys.root();
    for (const int age : {200, 100, 20}) {
      const timestamp when = ago(days(age));
      manifest made;
      made.subvolume = "data";
      made.created_at = when;
      for (const std::uint32_t index : {0U, 1U}) {
        chunk_record chunk;
        chunk.key = keys.chunk(backup_kind::full, when, index, tag);
        chunk.size = 1000;
        made.total_bytes += chunk.size;
        object(chunk.key, chunk.size, when);
        made.chunks.push_back(std::move(chunk));
      }
      made.encryption.emplace();
      made.encryption->keys_key = keys.keys_object(backup_kind::full, when, tag);
      object(made.encryption->keys_key, 300, when);
      made.index.emplace();
      made.index->key = index_key(keys.root(), backup_kind::full, when, tag, true);
      object(made.index->key, 400, when);
      const std::string key = keys.manifest(backup_kind::full, when);
      object(key, 10, when);
      seen.verified.insert(key);
      seen.all.manifests.emplace(key, std::move(made));
      fulls.push_back(key);
    }
    seen.current = fulls.back();
    object(keys.pointer(), 5, ago(days(20)));
  }

  void object(const std::string& key, std::uint64_t size, timestamp when) {
    seen.all.objects[key] = {size, "STANDARD", when};
  }
  std::string keys_of(std::size_t full) const {
    return seen.all.manifests.at(fulls.at(full)).encryption->keys_key;
  }
  std::string index_of(std::size_t full) const {
    return seen.all.manifests.at(fulls.at(full)).index->key;
  }
  prune_plan judge(std::size_t keep) const {
    prune_policy policy;
    policy.keep_generations = keep;
    return judge_bucket(seen, policy, now);
  }

  prune_observation seen;
  std::vector<std::string> fulls;  // oldest first
};

std::size_t place_of(const prune_plan& plan, const std::string& key) {
  const auto there = std::find_if(plan.removals.begin(), plan.removals.end(),
                                  [&](const removal& one) { return one.key == key; });
  return static_cast<std::size_t>(there - plan.removals.begin());
}

bool removes(const prune_plan& plan, const std::string& key) {
  return place_of(plan, key) < plan.removals.size();
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(prune_sealed_suite, sealed_bucket)

BOOST_AUTO_TEST_CASE(a_keys_object_goes_with_its_chunks_and_not_before_them) {
  const prune_plan plan = judge(1);
  BOOST_TEST(removes(plan, keys_of(0)));
  BOOST_TEST(removes(plan, keys_of(1)));
  BOOST_TEST(!removes(plan, keys_of(2)));
  BOOST_TEST(plan.foreign.empty());
  for (const chunk_record& chunk : seen.all.manifests.at(fulls[0]).chunks) {
    BOOST_TEST(place_of(plan, chunk.key) < place_of(plan, keys_of(0)));
  }
}

BOOST_AUTO_TEST_CASE(without_its_keys_object_a_backup_cannot_be_restored_and_does_not_count) {
  seen.all.objects.erase(keys_of(1));
  const prune_plan plan = judge(2);
  BOOST_TEST(plan.generations.at(1).reason == "damaged");
  BOOST_TEST(plan.generations.at(2).reason == "retained");
}

BOOST_AUTO_TEST_CASE(a_backup_that_names_another_ones_keys_takes_them_nowhere) {
  seen.all.manifests.at(fulls[0]).encryption->keys_key = keys_of(2);
  const prune_plan plan = judge(1);
  BOOST_TEST(!removes(plan, keys_of(2)));
}

BOOST_AUTO_TEST_CASE(an_index_goes_behind_the_manifest_that_names_it) {
  const prune_plan plan = judge(1);
  for (const std::size_t gone : {0U, 1U}) {
    BOOST_TEST(removes(plan, index_of(gone)));
    BOOST_TEST(place_of(plan, fulls[gone]) < place_of(plan, index_of(gone)));
  }
  BOOST_TEST(!removes(plan, index_of(2)));
}

BOOST_AUTO_TEST_CASE(without_its_index_a_backup_counts) {
  seen.all.objects.erase(index_of(1));
  const prune_plan plan = judge(2);
  BOOST_TEST(plan.generations.at(1).reason == "retained");
  BOOST_TEST(plan.generations.at(2).reason == "superseded");
}

BOOST_AUTO_TEST_CASE(a_backup_that_names_another_ones_index_takes_it_nowhere) {
  seen.all.manifests.at(fulls[0]).index->key = index_of(2);
  BOOST_TEST(!removes(judge(1), index_of(2)));
  // Nor what is no index of its own by its name.
  const std::string stranger = keys.root() + "full/index-notes.zst";
  object(stranger, 1, ago(days(200)));
  seen.all.manifests.at(fulls[0]).index->key = stranger;
  const prune_plan plan = judge(1);
  BOOST_TEST(!removes(plan, stranger));
  BOOST_TEST(plan.foreign.size() == 1U);
}

BOOST_AUTO_TEST_CASE(an_index_that_no_backup_names_goes_as_chunks_do) {
  const std::string left = index_key(keys.root(), backup_kind::full, ago(days(50)), tag, false);
  const std::string young = index_key(keys.root(), backup_kind::full, ago(days(1)), tag, false);
  object(left, 300, ago(days(50)));
  object(young, 300, ago(days(1)));
  const prune_plan plan = judge(3);
  BOOST_TEST(removes(plan, left));
  BOOST_TEST(!removes(plan, young));
  BOOST_TEST(plan.orphans_kept == 1U);
  BOOST_TEST(plan.foreign.empty());
}

BOOST_AUTO_TEST_CASE(keys_that_no_backup_names_go_as_chunks_do) {
  const std::string left = keys.keys_object(backup_kind::full, ago(days(50)), tag);
  const std::string young = keys.keys_object(backup_kind::full, ago(days(1)), tag);
  object(left, 300, ago(days(50)));
  object(young, 300, ago(days(1)));
  const prune_plan plan = judge(3);
  BOOST_TEST(removes(plan, left));
  BOOST_TEST(!removes(plan, young));
  BOOST_TEST(plan.orphans_kept == 1U);
  BOOST_TEST(plan.foreign.empty());
}

BOOST_AUTO_TEST_SUITE_END()
