#include "app/restore/restore_planning.hh"

#include "app/restore/link_parts.hh"
#include "app/restore/restore_verify.hh"
#include "btrfs/host.hh"

#include <utility>

namespace bts3::app {

using engine::result;
using engine::task;

task<result<restore_plan>> plan_restore(const services& with, s3::object_store& store,
                                        const restore_request& request, btrfs::target_report target,
                                        std::vector<chain_link> chain) {
  restore_plan plan;
  plan.subvolume = request.wanted.subvolume;
  plan.target = target.path();
  plan.interrupted = target.interrupted;
  plan.available_bytes = target.available_bytes;
  plan.verification = word_of(verify_mode_words, request.verify);
  plan.source = find_source(with, chain.back().value).path;
  auto detecting = with.host.detect(with.loop);
  auto host = co_await std::move(detecting);
  if (!host) {
    co_return std::move(host.error());
  }
  plan.host = *host;
  for (chain_link& link : chain) {
    auto locating = locate_chunks(with, store, link);
    auto located = co_await std::move(locating);
    if (!located) {
      co_return std::move(located.error());
    }
    planned_link one;
    for (const planner::chunk_record& chunk : link.value.chunks) {
      one.plain_bytes += chunk.plain_size;
    }
    one.link = std::move(link);
    one.link.value.chunks = std::vector<planner::chunk_record>();  // those that were located
    one.chunks = std::move(*located);
    plan.links.push_back(std::move(one));
  }
  auto surveying = plan_thaw(with, store, plan.chunks_from(0), request.thaw);
  auto thaw = co_await std::move(surveying);
  if (!thaw) {
    co_return std::move(thaw.error());
  }
  plan.thaw = std::move(*thaw);
  plan.time = plan_time(plan.thaw, request.thaw, plan.bytes());
  plan_kept_parts(with, request, target, plan);
  if (request.dry_run) {
    auto cost = plan_cost(with, plan.thaw, plan.chunks_from(0));
    if (!cost) {
      co_return std::move(cost.error());
    }
    plan.cost = std::move(*cost);
  }
  co_return plan;
}

}  // namespace bts3::app
