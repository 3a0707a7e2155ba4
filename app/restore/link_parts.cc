#include "app/restore/link_parts.hh"

#include "btrfs/host.hh"

#include <algorithm>

namespace bts3::app {

namespace {

using engine::task;

// A chunk of the earlier tool that one part does not hold: the next run could not verify a part.
bool is_whole_or_nothing(const planner::chunk_record& record, std::uint64_t part_bytes) {
  return !record.has_parts() && record.size > part_bytes;
}

}  // namespace

task<std::unique_ptr<kept_parts>> open_kept_parts(const services& with,
                                                  const restore_request& request,
                                                  const restore_plan& plan, std::size_t first,
                                                  bool with_spool) {
  if (!with.settings.s3.spool_enabled) {
    co_return nullptr;
  }
  auto kept =
      std::make_unique<kept_parts>(with, plan.target, with.settings.global.spool_size_bytes);
  if (request.discard || with_spool || first == plan.links.size()) {
    auto forgetting = kept->forget();
    co_await std::move(forgetting);
  }
  if (with_spool || first == plan.links.size()) {
    kept.reset();
  }
  co_return kept;
}

void plan_kept_parts(const services& with, const restore_request& request,
                     const btrfs::target_report& target, restore_plan& plan) {
  if (!with.settings.s3.spool_enabled) {
    return;
  }
  const auto earlier = target.interrupted ? with.host.receiving().earlier_work_at(target)
                                          : engine::result<btrfs::earlier_work>();
  const std::size_t first = earlier && !request.discard ? earlier->links.size() : 0;
  std::uint64_t part_bytes = 0;
  for (std::size_t i = first; i < plan.links.size(); ++i) {
    for (const located_chunk& chunk : plan.links[i].chunks) {
      if (is_whole_or_nothing(chunk.record, with.settings.s3.part_size_bytes)) {
        return;
      }
      part_bytes = std::max(
          part_bytes, std::min(chunk.record.size,
                               chunk.record.part_size.value_or(with.settings.s3.part_size_bytes)));
    }
  }
  plan.keep_limit_bytes = with.settings.global.spool_size_bytes;
  // All parts in memory may be on their way to the disk.
  plan.unkept_bytes_max = part_bytes * (with.settings.parts_in_flight(part_bytes) + 1);
  if (first < plan.links.size() && !request.discard) {
    plan.kept_bytes = kept_bytes_of(with.settings, plan.target, plan.links[first].link.key);
  }
}

}  // namespace bts3::app
