#include "app/content/reading_plan.hh"

#include "app/text/human_units.hh"
#include "engine/plain_text.hh"

#include <utility>

namespace bts3::app {

using engine::result;
using engine::task;

task<result<reading_plan>> plan_reading(const services& with, s3::object_store& store,
                                        chain_ranges& ranges,
                                        std::vector<btrfs::index::stream_range> wanted,
                                        thaw_policy policy, bool forgive, bool with_cost) {
  auto locating = ranges.locate(wanted, forgive);
  auto located = co_await std::move(locating);
  if (!located) {
    co_return std::move(located.error());
  }
  reading_plan plan;
  plan.chunks = ranges.located();
  auto thawing = plan_thaw(with, store, plan.chunks, policy);
  auto thaw = co_await std::move(thawing);
  if (!thaw) {
    co_return std::move(thaw.error());
  }
  plan.thaw = std::move(*thaw);
  restore_demand demand = demand_of(plan.chunks, plan.thaw, with.settings.s3.part_size_bytes);
  for (auto& [name, one] : demand.classes) {
    one.bytes = 0;
    one.requests = 0;
  }
  for (const chunk_use& use : ranges.uses_of(wanted)) {
    class_demand& one = demand.classes[use.storage_class];
    one.bytes += use.bytes;
    one.requests += use.requests;
    plan.bytes += use.bytes;
    plan.requests += use.requests;
  }
  plan.time = plan_time(plan.thaw, policy, plan.bytes);
  if (with_cost) {
    auto prices = load_prices(with.settings.restore.price_table);
    if (!prices) {
      co_return std::move(prices.error());
    }
    demand.region = with.settings.s3.region;
    demand.endpoint = configured_endpoint(with);
    plan.cost = estimate_cost(*prices, demand);
  }
  co_return plan;
}

std::string text_of(const reading_plan& plan) {
  return "  read      " + format_bytes(plan.bytes) + " of " +
         engine::counted(plan.chunks.size(), "object") + ", in " +
         engine::counted(plan.requests, "request") + "\n" + thaw_text(plan.thaw) +
         time_text(plan.time);
}

}  // namespace bts3::app
