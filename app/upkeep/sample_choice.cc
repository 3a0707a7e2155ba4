#include "app/upkeep/sample_choice.hh"

#include "app/upkeep/known_verifications.hh"
#include "planner/keys.hh"

#include <algorithm>
#include <string_view>
#include <tuple>
#include <utility>

namespace bts3::app {

namespace {

// A part, with what orders it among all.
struct unit {
  planner::timestamp when;
  std::string_view key;
  part_place where;
  std::size_t backup = 0;
  bool last = false;
  [[nodiscard]] auto order() const { return std::tuple(when, key, where.chunk, where.part); }
};

// All that is sampled from, in order.
std::vector<unit> units_of(const planner::inventory& all,
                           const std::vector<verified_backup>& backups) {
  std::vector<unit> units;
  for (std::size_t index = 0; index < backups.size(); ++index) {
    const verified_backup& one = backups[index];
    const bool incomplete = found_damaged(one);
    const auto& chunks = all.manifests.at(one.key).chunks;
    for (std::size_t chunk = 0; !incomplete && chunk < chunks.size(); ++chunk) {
      const std::uint32_t parts = parts_of(chunks[chunk]);
      for (std::uint32_t part = 0; part < parts; ++part) {
        units.push_back({planner::name_of(all.root, one.key).when,
                         one.key,
                         {chunk, part},
                         index,
                         chunk + 1 == chunks.size() && part + 1 == parts});
      }
    }
  }
  std::sort(units.begin(), units.end(),
            [](const unit& a, const unit& b) { return a.order() < b.order(); });
  return units;
}

}  // namespace

std::vector<sample_share> choose_sample(const planner::inventory& all,
                                        const std::vector<verified_backup>& backups,
                                        const sample_cursor& at, std::uint64_t parts) {
  const std::vector<unit> units = units_of(all, backups);
  const auto behind = std::tuple(planner::name_of(all.root, at.manifest).when,
                                 std::string_view(at.manifest), std::size_t{at.chunk}, at.part);
  const auto first = std::find_if(units.begin(), units.end(), [&](const unit& one) {
    return at.manifest.empty() || one.order() > behind;
  });
  const auto start = static_cast<std::size_t>(first - units.begin());
  const std::size_t count = std::min<std::uint64_t>(parts, units.size());
  std::vector<sample_share> shares;
  for (std::size_t i = 0; i < count; ++i) {
    const unit& one = units[(start + i) % units.size()];
    const bool begins = one.where.chunk == 0 && one.where.part == 0;
    if (shares.empty() || shares.back().backup != one.backup || begins) {
      sample_share next;
      next.backup = one.backup;
      next.from_start = begins || (i == 0 && at.manifest == one.key && at.from_start);
      shares.push_back(std::move(next));
    }
    shares.back().parts.push_back(one.where);
    shares.back().to_end = one.last;
    shares.back().done = (start + i) % units.size() + 1;
    shares.back().all = units.size();
  }
  return shares;
}

}  // namespace bts3::app
