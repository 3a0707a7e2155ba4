// A bucket that is built up backup by backup, for tests of what prune may delete.
#pragma once

#include "planner/keys.hh"
#include "planner/prune.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace bts3::planner::testing {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::seconds;
using std::chrono::sys_days;

inline const timestamp now{sys_days(std::chrono::year(2026) / 11 / 21) + hours(2)};
inline const key_layout keys("hosts/alpha", "data");

inline timestamp ago(seconds past) {
  return timestamp(now.when() - past);
}

struct built_bucket {
  prune_observation seen;

  built_bucket() { seen.all.root = keys.root(); }

  std::string add(backup_kind kind, timestamp when, const std::string& parent = {}, int chunks = 1,
                  const std::string& storage_class = "STANDARD") {
    manifest made;
    made.subvolume = "data";
    made.kind = kind;
    made.created_at = when;
    made.snapshot.name = "data__" + when.compact() + "__full";
    if (!parent.empty()) {
      made.parent_manifest = parent;
    }
    for (int index = 0; index < chunks; ++index) {
      chunk_record chunk;
      chunk.key = keys.chunk(kind, when, static_cast<std::uint32_t>(index));
      chunk.size = 100;
      made.total_bytes += chunk.size;
      object(chunk.key, chunk.size, when, storage_class);
      made.chunks.push_back(std::move(chunk));
    }
    const std::string key = keys.manifest(kind, when);
    object(key, 10, when, "STANDARD");
    seen.all.manifests.emplace(key, std::move(made));
    return key;
  }

  void object(const std::string& key, std::uint64_t size, timestamp when,
              const std::string& storage_class = "STANDARD") {
    seen.all.objects[key] = {size, storage_class, when};
  }

  void erase(const std::string& key) {
    seen.all.objects.erase(key);
    seen.all.manifests.erase(key);
    seen.all.unreadable.erase(key);
  }

  prune_policy by;

  [[nodiscard]] prune_plan judge(std::size_t keep) const {
    prune_policy policy = by;
    policy.keep_generations = keep;
    return judge_bucket(seen, policy, now);
  }
};

}  // namespace bts3::planner::testing
