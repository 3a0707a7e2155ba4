#include "app/restore/chain_receiver.hh"

#include "app/host/run_figures.hh"
#include "app/restore/link_parts.hh"
#include "app/restore/link_receiver.hh"
#include "app/text/human_units.hh"
#include "app/text/progress.hh"

#include <algorithm>
#include <chrono>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

// What the links from `first` on take.
struct what_is_missing {
  std::uint64_t bytes = 0;       // of their streams
  std::uint64_t slot_bytes = 0;  // of their largest part
};

what_is_missing missing_of(const restore_plan& plan, std::size_t first,
                           std::uint64_t default_part_bytes) {
  what_is_missing found;
  for (std::size_t i = first; i < plan.links.size(); ++i) {
    found.bytes += plan.links[i].link.value.total_bytes;
    for (const located_chunk& chunk : plan.links[i].chunks) {
      found.slot_bytes = std::max(
          found.slot_bytes,
          std::min(chunk.record.size, chunk.record.part_size.value_or(default_part_bytes)));
    }
  }
  return found;
}

}  // namespace

std::string place_among::text() const {
  return count > 1 ? " (" + std::to_string(position) + " of " + std::to_string(count) + ")" : "";
}

result<std::size_t> chain_receiver::parts_in_flight(std::uint64_t slot_bytes) const {
  const std::size_t parts = _with.settings.parts_in_flight(slot_bytes);
  if (parts > 0) {
    return parts;
  }
  return engine::configuration_error(
      "global.memory_limit_bytes = " +
          std::to_string(_with.settings.global.memory_limit_bytes.value_or(0)) +
          " is too small for this backup: its parts have " + format_bytes(slot_bytes) +
          ", and two of them with " + format_bytes(other_memory_bytes) + " for the rest make " +
          format_bytes(config::memory_for(1, slot_bytes)),
      "raise it, or set it to 0");
}

task<result<void>> chain_receiver::receive(restore_plan& plan, btrfs::receive_workspace& workspace,
                                           chain_thaw& thaw) {
  const std::size_t first = workspace.records().size();
  what_is_missing missing = missing_of(plan, first, _with.settings.s3.part_size_bytes);
  if (missing.slot_bytes > (std::uint64_t{5} << 30)) {
    error failure;
    failure.why = reason::integrity;
    failure.message = "a manifest of the chain records parts of " +
                      format_bytes(missing.slot_bytes) + ", and S3 allows 5 GiB";
    co_return failure;
  }
  if (first == plan.links.size()) {
    auto opening = open_kept_parts(_with, _request, plan, first, false);
    (void)co_await std::move(opening);
    co_return engine::ok();
  }
  const auto parts = parts_in_flight(missing.slot_bytes);
  if (!parts) {
    co_return parts.error();
  }
  engine::buffer_pool pool(_with.loop, missing.slot_bytes, *parts + 1, _with.log);
  engine::hash_worker hashes(_with.loop, false);
  if (auto ready = hashes.ready(); !ready) {
    co_return std::move(ready.error());
  }
  const std::unique_ptr<engine::spool> spool = spool_for(plan, first, pool.slot_bytes());
  auto opening = open_kept_parts(_with, _request, plan, first, spool != nullptr);
  const std::unique_ptr<kept_parts> kept = co_await std::move(opening);
  progress shown(_with.loop, _with.log, _with.line, "restore",
                 "restoring " + _request.wanted.subvolume + _here.text(), [this, &pool] {
                   const std::uint64_t retries = _connection.retries();
                   return std::to_string(pool.slots() - pool.free_slots()) + " parts in memory" +
                          (retries == 0 ? "" : ", " + std::to_string(retries) + " retries");
                 });
  shown.set_total(missing.bytes);
  shown.set_after(_here.bytes_after);
  shown.watch([this] { return _connection.bytes_received(); });
  shown.start();
  const bool read_again = _request.verify == verify_mode::full && !plan.source.empty();
  const link_means means{pool, hashes, spool.get(),   kept.get(),
                         thaw, shown,  missing.bytes, read_again};
  link_receiver receiver(_with, _connection.store(), _request, workspace, means, _totals);
  const auto began = std::chrono::steady_clock::now();
  result<void> received = engine::ok();
  for (std::size_t i = first; i < plan.links.size() && received; ++i) {
    const chain_link* const before = i == 0 ? nullptr : &plan.links[i - 1].link;
    auto receiving = receiver.receive(plan.links[i], before);
    received = co_await std::move(receiving);
  }
  _totals.transfer_seconds += seconds_since(began);
  auto stopping = shown.stop();
  co_await std::move(stopping);
  co_return received;
}

// Where there is one, and a chunk that needs it. On a recovery host its disk may be missing: that
// is told, and is no reason not to restore.
std::unique_ptr<engine::spool> chain_receiver::spool_for(const restore_plan& plan,
                                                         std::size_t first,
                                                         std::size_t piece_bytes) const {
  bool wanted = false;
  for (std::size_t i = first; i < plan.links.size(); ++i) {
    for (const located_chunk& chunk : plan.links[i].chunks) {
      wanted = wanted || (!chunk.record.has_parts() && chunk.record.size > piece_bytes);
    }
  }
  if (!wanted || !_with.settings.s3.spool_enabled) {
    return nullptr;
  }
  engine::spool_options options;
  options.directory = _with.settings.global.spool_dir;
  options.budget_bytes = _with.settings.global.spool_size_bytes;
  options.part_bytes = piece_bytes;
  auto spool = engine::spool::create(_with.loop, std::move(options), _with.log);
  if (!spool) {
    _with.log.write(log_level::warning, "restore", "spool_not_used",
                    {{"reason", spool.error().text()}});
    return nullptr;
  }
  return std::move(*spool);
}

}  // namespace bts3::app
