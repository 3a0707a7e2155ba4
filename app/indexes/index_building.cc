#include "app/indexes/index_building.hh"

#include "app/download/chain_thaw.hh"
#include "app/download/download_link.hh"
#include "app/download/part_memory.hh"
#include "app/survey/chosen_backup.hh"
#include "app/survey/sent_stream.hh"
#include "btrfs/index/writer.hh"
#include "engine/buffer_pool.hh"
#include "engine/hash_worker.hh"
#include "engine/plain_text.hh"
#include "engine/told_command.hh"

#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;
using engine::task;

result<std::size_t> archived_of(const services& with, const std::vector<located_chunk>& chunks) {
  std::size_t archived = 0;
  for (const located_chunk& chunk : chunks) {
    const auto compared = compare_located(chunk, with.clock.now());
    if (!compared) {
      return compared.error();
    }
    archived += compared->can_be_read() ? 0 : 1;
  }
  return archived;
}

error not_thawed(const chain_link& link, std::size_t archived, std::size_t of) {
  error failure;
  failure.why = reason::not_thawed;
  failure.message = std::to_string(archived) + " of " + engine::counted(of, "object") +
                    " of backup " + link.key + " cannot be read: they are archived";
  failure.remedy = "`" +
                   engine::told_command("thaw", {{"--subvolume", link.value.subvolume},
                                                 {"--manifest-key", link.key}}) +
                   "` requests them";
  return failure;
}

std::uint64_t plain_bytes_of(const chain_link& link) {
  std::uint64_t sum = 0;
  for (const planner::chunk_record& chunk : link.value.chunks) {
    sum += chunk.plain_size;
  }
  return sum;
}

// Those that can all be read.
task<result<std::vector<located_chunk>>> readable_chunks(const services& with,
                                                         s3::object_store& store,
                                                         const chain_link& link) {
  auto locating = locate_chunks(with, store, link);
  auto chunks = co_await std::move(locating);
  if (!chunks) {
    co_return std::move(chunks.error());
  }
  const auto archived = archived_of(with, *chunks);
  if (!archived) {
    co_return archived.error();
  }
  if (*archived > 0) {
    co_return not_thawed(link, *archived, chunks->size());
  }
  co_return chunks;
}

}  // namespace

std::string told_index_build(const std::string& subvolume, const std::string& key) {
  return "`" +
         engine::told_command("index build",
                              {{"--subvolume", subvolume}, {"--manifest-key", key}}) +
         "`";
}

task<result<building_plan>> plan_building(const services& with, s3::object_store& store,
                                          const std::vector<chain_link>& links) {
  building_plan plan;
  plan.links = links.size();
  std::vector<located_chunk> all;
  for (const chain_link& link : links) {
    auto locating = locate_chunks(with, store, link);
    auto chunks = co_await std::move(locating);
    if (!chunks) {
      co_return std::move(chunks.error());
    }
    plan.bytes += link.value.total_bytes;
    for (located_chunk& chunk : *chunks) {
      chunk.record.drop_parts();
      all.push_back(std::move(chunk));
    }
  }
  const auto archived = archived_of(with, all);
  if (!archived) {
    co_return archived.error();
  }
  plan.archived = *archived;
  const thaw_policy policy = thaw_policy_of(with.settings, std::nullopt, std::nullopt);
  auto planning = plan_thaw(with, store, all, policy);
  const auto thaw = co_await std::move(planning);
  if (!thaw) {
    co_return thaw.error();
  }
  auto cost = plan_cost(with, *thaw, all);
  if (!cost) {
    co_return std::move(cost.error());
  }
  plan.cost = std::move(*cost);
  co_return plan;
}

task<result<stored_index>> build_index(const services& with, s3::object_store& store,
                                       const index_cache& cache, const chain_link& link,
                                       const chain_link* before,
                                       std::shared_ptr<const backup_key> key, progress* shown) {
  auto reading = readable_chunks(with, store, link);
  auto chunks = co_await std::move(reading);
  if (!chunks) {
    co_return std::move(chunks.error());
  }
  const std::uint64_t slot_bytes = slot_bytes_for(with.settings, *chunks);
  const auto slots = slots_for(with.settings, slot_bytes);
  if (!slots) {
    co_return slots.error();
  }
  auto file = cache.scratch_file();
  if (!file) {
    co_return std::move(file.error());
  }
  engine::buffer_pool pool(with.loop, slot_bytes, *slots, with.log);
  engine::hash_worker hashes(with.loop, false);
  if (auto ready = hashes.ready(); !ready) {
    co_return std::move(ready.error());
  }
  btrfs::index::writer writer(
      [into = file->get()](std::span<const std::byte> bytes) { return write_index(into, bytes); });
  download_link download(with, store, pool, hashes, std::move(*chunks), shown);
  download.expect(
      expected_stream(link.value, before == nullptr ? nullptr : &before->value, link.key));
  if (link.value.encryption) {
    download.is_sealed(key.get(), plain_bytes_of(link));
  }
  download.observe_by(writer);
  auto running = download.run(-1);
  auto ran = co_await std::move(running);
  if (!ran) {
    co_return std::move(ran.error());
  }
  const auto made = writer.finish();
  if (!made) {
    co_return made.error();
  }
  stored_index index;
  index.file = std::move(*file);
  index.bytes = made->bytes;
  index.sha256 = made->sha256;
  co_return index;
}

}  // namespace bts3::app
