#include "planner/generations.hh"

#include "planner/keys.hh"
#include "planner/plan.hh"

#include <algorithm>
#include <set>

namespace bts3::planner {

namespace {

// The full that the chain of `key` leads to, or why there is none.
struct resolved {
  std::string full;
  std::string problem;
};

std::string parent_of(const inventory& all, const std::string& key, const manifest& backup) {
  return place_in(all.objects, key, backup.parent_manifest.value_or(""));
}

resolved resolve(const inventory& all, const std::string& key) {
  std::set<std::string> seen;
  std::string at = key;
  for (;;) {
    if (!seen.insert(at).second) {
      return {{}, "its chain runs in a circle at " + at};
    }
    const auto found = all.manifests.find(at);
    if (found == all.manifests.end()) {
      const auto broken = all.unreadable.find(at);
      return {{},
              broken != all.unreadable.end()
                  ? "the manifest " + at + " is unusable: " + broken->second
                  : "the manifest " + at + " is missing"};
    }
    if (found->second.kind == backup_kind::full) {
      return {at, {}};
    }
    at = parent_of(all, at, found->second);
  }
}

chain_link link_of(const inventory& all, const std::string& key) {
  const manifest& backup = all.manifests.at(key);
  chain_link made;
  made.key = key;
  made.when = time_of(backup, key);
  made.bytes = backup.total_bytes;
  if (backup.kind == backup_kind::incremental) {
    made.parent = parent_of(all, key, backup);
  }
  for (const chunk_comparison& chunk : chunks_of(all, key)) {
    if (!chunk.as_recorded()) {
      made.problem = chunk.key + ": " + chunk.problem();
      break;
    }
  }
  if (made.problem.empty() && backup.encryption) {
    const std::string keys = place_in(all.objects, key, backup.encryption->keys_key);
    made.problem = all.objects.contains(keys) ? "" : keys + ": missing";
  }
  return made;
}

// Parents before children. `members` holds the full and everything that resolves to it.
generation in_order(std::vector<chain_link> members) {
  std::sort(members.begin(), members.end(), [](const chain_link& a, const chain_link& b) {
    return a.when != b.when ? a.when < b.when : a.key < b.key;
  });
  generation made;
  std::map<std::string, bool> restorable;  // by key, of those already placed
  while (!members.empty()) {
    const auto next = std::find_if(members.begin(), members.end(), [&](const chain_link& one) {
      return one.parent.empty() || restorable.contains(one.parent);
    });
    // Every member's chain was followed to the full, so one is always ready.
    chain_link& one = *next;
    one.restorable = one.problem.empty() && (one.parent.empty() || restorable.at(one.parent));
    restorable[one.key] = one.restorable;
    made.links.push_back(std::move(one));
    members.erase(next);
  }
  return made;
}

}  // namespace

std::vector<chunk_comparison> chunks_of(const inventory& all, const std::string& manifest_key) {
  std::vector<chunk_comparison> chunks;
  for (const chunk_record& chunk : all.manifests.at(manifest_key).chunks) {
    chunks.push_back(compare_chunk(all.objects, manifest_key, chunk));
  }
  return chunks;
}

std::uint64_t generation::bytes() const {
  std::uint64_t sum = 0;
  for (const chain_link& one : links) {
    sum += one.bytes;
  }
  return sum;
}

generations generations_of(const inventory& all) {
  std::map<std::string, std::vector<chain_link>> members;  // by the full's key
  generations made;
  for (const auto& [key, problem] : all.unreadable) {
    made.lost.push_back({key, problem});
  }
  for (const auto& [key, backup] : all.manifests) {
    resolved chain = resolve(all, key);
    if (chain.full.empty()) {
      made.lost.push_back({key, std::move(chain.problem)});
    } else {
      members[chain.full].push_back(link_of(all, key));
    }
  }
  for (auto& [full, links] : members) {
    made.all.push_back(in_order(std::move(links)));
  }
  std::sort(made.all.begin(), made.all.end(), [](const generation& a, const generation& b) {
    const chain_link& first = a.full();
    const chain_link& second = b.full();
    return first.when != second.when ? first.when > second.when : first.key > second.key;
  });
  return made;
}

}  // namespace bts3::planner
