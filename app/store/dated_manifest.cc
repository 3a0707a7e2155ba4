#include "app/store/dated_manifest.hh"

#include "app/store/bucket_listing.hh"
#include "app/store/chain_reader.hh"
#include "app/store/manifest_state.hh"
#include "planner/keys.hh"
#include "planner/plan.hh"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;
using planner::timestamp;

// Of the earlier tool's backups, those whose manifests were written so much later at most are
// looked at: so many of them.
constexpr std::chrono::minutes written_later_max{10};
constexpr std::size_t written_later_read_max = 4;

// The newest of `later` (by keys) whose snapshot was made not after `when`, if there is any.
task<result<std::optional<std::string>>> snapshot_before(s3::object_store& store,
                                                         std::map<timestamp, std::string> later,
                                                         timestamp when, manifest_bound bound,
                                                         engine::stop_token stop) {
  std::size_t count = 0;
  std::optional<std::string> best;
  for (const auto& [written, key] : later) {
    if (++count > written_later_read_max) {
      break;
    }
    auto reading = read_manifest(store, key, bound, stop);
    auto found = co_await std::move(reading);
    if (!found && !is_broken_chain(found.error())) {
      co_return std::move(found.error());
    }
    if (found && planner::time_of(*found, key) <= when) {
      best = key;
    }
  }
  co_return best;
}

}  // namespace

task<result<dated_manifest>> manifest_at(s3::object_store& store, std::string prefix,
                                         std::string subvolume, timestamp when,
                                         manifest_bound bound, engine::stop_token stop) {
  const planner::key_layout keys(prefix, subvolume);
  std::optional<std::pair<timestamp, std::string>> best;
  std::optional<timestamp> oldest;
  std::map<timestamp, std::string> later;
  dated_manifest chosen;
  for (const char* kind : {"full", "incremental"}) {
    const std::string stem = keys.root() + kind + "/manifest-";
    auto listing = list_below(store, stem, stop);
    auto found = co_await std::move(listing);
    if (!found) {
      co_return std::move(found.error());
    }
    for (const auto& [key, object] : found->objects) {
      const std::string_view name = std::string_view(key).substr(stem.size());
      const auto made = name.ends_with(".json") ? timestamp::parse(name.substr(0, name.size() - 5))
                                                : std::nullopt;
      if (!made) {
        continue;
      }
      oldest = oldest ? std::min(*oldest, *made) : *made;
      if (*made <= when && (!best || best->first < *made)) {
        best.emplace(*made, key);
      } else if (*made > when && made->when() - when.when() <= written_later_max) {
        later.emplace(*made, key);
      }
    }
    chosen.listed.merge(found->objects);
  }
  auto looking = snapshot_before(store, std::move(later), when, bound, stop);
  auto earlier = co_await std::move(looking);
  if (!earlier) {
    co_return std::move(earlier.error());
  }
  if (*earlier) {
    chosen.key = std::move(**earlier);
    co_return chosen;
  }
  if (best) {
    chosen.key = std::move(best->second);
    co_return chosen;
  }
  error failure;
  if (oldest) {
    failure.message = "no backup of subvolume \"" + subvolume + "\" was made at " + when.rfc3339() +
                      " or before; the oldest is of " + oldest->rfc3339();
    failure.remedy = "name a later time with --at";
  } else {
    failure.message = "there is no backup of subvolume \"" + subvolume + "\" below " + keys.root();
    failure.remedy = "check --subvolume and the prefix";
  }
  co_return failure;
}

}  // namespace bts3::app
