// What prune may delete of ten thousand seeded buckets, where every order of deletion is
// interrupted at every step.
#include "planner/prune.hh"

#include "tests/planner/built_bucket.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace bts3::planner;
using namespace bts3::planner::testing;
using std::chrono::sys_seconds;
using bucket = bts3::planner::testing::built_bucket;

namespace {

constexpr int buckets = 10'000;

bool restorable(const bucket& made, const std::string& key) {
  for (const generation& one : generations_of(made.seen.all).all) {
    for (const chain_link& part : one.links) {
      if (part.key == key) {
        return part.restorable;
      }
    }
  }
  return false;
}

std::set<std::string> restorable_links(const bucket& made) {
  std::set<std::string> all;
  for (const generation& one : generations_of(made.seen.all).all) {
    for (const chain_link& part : one.links) {
      if (part.restorable) {
        all.insert(part.key);
      }
    }
  }
  return all;
}

struct random_bucket : bucket {
  explicit random_bucket(std::uint64_t seed) : random(seed) {
    // Backups as they are made, sometimes beside the pointer, sometimes under a wrong clock.
    std::vector<std::string> links;
    sys_seconds when = now.when() - days(400);
    const int backups = 1 + pick(14);
    for (int made = 0; made < backups; ++made) {
      when += hours(1 + pick(24 * 40));
      when = std::min(when, now.when() - hours(backups - made));
      const timestamp stamp(when + (chance(1) ? days(300 - pick(600)) : days(0)));
      const bool full = links.empty() || chance(30);
      const std::string parent =
          full         ? ""
          : chance(90) ? links.back()
                       : links[static_cast<std::size_t>(pick(static_cast<int>(links.size())))];
      const backup_kind kind = full ? backup_kind::full : backup_kind::incremental;
      if (seen.all.objects.contains(keys.manifest(kind, stamp))) {
        continue;
      }
      links.push_back(add(kind, stamp, parent, pick(4), chance(50) ? "STANDARD" : "DEEP_ARCHIVE"));
      if (chance(90)) {
        seen.current = links.back();
      }
    }
    meddle(links);
  }

  void meddle(const std::vector<std::string>& links) {
    for (const std::string& key : links) {
      if (chance(90)) {
        seen.verified.insert(key);
      }
      if (chance(3)) {
        seen.all.manifests.at(key).host_id = "another";
      }
    }
    for (int left = pick(3); left > 0; --left) {
      const std::string key = keys.chunk(chance(50) ? backup_kind::full : backup_kind::incremental,
                                         ago(hours(pick(1000))), 7);
      object(key, 5, ago(hours(pick(1000))));
      if (chance(30)) {
        seen.in_the_making.insert(name_of(keys.root(), key).when);
      }
    }
    if (chance(20)) {  // something of some backup is lost
      auto victim = seen.all.objects.begin();
      std::advance(victim, pick(static_cast<int>(seen.all.objects.size())));
      erase(std::string(victim->first));
    }
    if (chance(5)) {
      const std::string& victim =
          links[static_cast<std::size_t>(pick(static_cast<int>(links.size())))];
      if (seen.all.manifests.erase(victim) > 0) {
        seen.all.unreadable[victim] = "not JSON";
      }
    }
    if (chance(20)) {
      object(keys.root() + "notes.txt", 1, ago(days(300)));
    }
  }

  int pick(int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); }
  bool chance(int percent) { return pick(100) < percent; }
  std::mt19937_64 random;
};

bool current_is_proven(const bucket& made) {
  for (const generation& one : generations_of(made.seen.all).all) {
    for (const chain_link& part : one.links) {
      if (part.key == made.seen.current) {
        return made.seen.verified.contains(one.full().key);
      }
    }
  }
  return false;
}

// The most generations that are whole and no newer than anything else: what must stay at least.
std::size_t whole_generations(const bucket& made) {
  std::size_t count = 0;
  for (const generation& one : generations_of(made.seen.all).all) {
    count += std::all_of(one.links.begin(), one.links.end(),
                         [](const chain_link& part) { return part.restorable; });
  }
  return count;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(prune_random_suite)

BOOST_AUTO_TEST_CASE(ten_thousand_buckets_keep_what_must_be_kept) {
  std::size_t deleted = 0;
  std::size_t held = 0;
  for (int seed = 0; seed < buckets; ++seed) {
    random_bucket made(static_cast<std::uint64_t>(seed));
    const auto keep = static_cast<std::size_t>(made.pick(4));
    const prune_plan plan = made.judge(keep);
    BOOST_TEST_CONTEXT("seed " << seed << ", keep " << keep << ", " << plan.held_back) {
      held += plan.held_back.empty() ? 0 : 1;
      std::set<std::string> kept_links;
      for (const judged_generation& one : plan.generations) {
        for (const chain_link& part : one.what.links) {
          if (one.kept && part.restorable) {
            kept_links.insert(part.key);
          }
        }
      }
      const bool current_was = restorable(made, made.seen.current);
      const std::size_t whole_before = whole_generations(made);
      const std::set<std::string> all_before = restorable_links(made);
      bool holds = true;
      bucket left = made;
      for (const removal& one : plan.removals) {
        const object_name name = name_of(keys.root(), one.key);
        holds = holds &&
                (name.is == object_name::what::manifest || name.is == object_name::what::chunk);
        left.erase(one.key);
        ++deleted;
        // Killed here: every link that stays is restorable, and no link that still has its
        // manifest has lost something else.
        const std::set<std::string> now_restorable = restorable_links(left);
        holds = holds && std::includes(now_restorable.begin(), now_restorable.end(),
                                       kept_links.begin(), kept_links.end());
        for (const std::string& key : all_before) {
          holds = holds && (!left.seen.all.manifests.contains(key) || now_restorable.contains(key));
        }
      }
      BOOST_TEST(holds);
      BOOST_TEST(restorable(left, made.seen.current) == current_was);
      BOOST_TEST(whole_generations(left) >= std::min(keep, whole_before));
      // Run again, from any point: the same is left in the end.
      if (!plan.removals.empty()) {
        bucket interrupted = made;
        const int until = made.pick(static_cast<int>(plan.removals.size()));
        for (int step = 0; step < until; ++step) {
          interrupted.erase(plan.removals[static_cast<std::size_t>(step)].key);
        }
        const prune_plan again = interrupted.judge(keep);
        for (const removal& one : again.removals) {
          interrupted.erase(one.key);
        }
        // What lost its manifest is an orphan, and stays while it is young, may be in the making,
        // or may be named by a manifest that cannot be read.
        for (const auto& [key, what] : interrupted.seen.all.objects) {
          const object_name name = name_of(keys.root(), key);
          const bool may_stay =
              name.is == object_name::what::chunk &&
              (now.when() - what.modified.when() <= days(7) ||
               made.seen.in_the_making.contains(name.when) || !made.seen.all.unreadable.empty());
          BOOST_TEST((left.seen.all.objects.contains(key) || may_stay));
        }
      }
      if (keep == 0 || !current_was || !current_is_proven(made)) {
        BOOST_TEST(plan.removals.empty());
      }
    }
  }
  // The histories are worth something only if both happen.
  BOOST_TEST(deleted > 10'000U);
  BOOST_TEST(held > 1'000U);
}

BOOST_AUTO_TEST_SUITE_END()
