#include "app/upkeep/checksum_comparison.hh"

#include "app/store/chain_reader.hh"
#include "app/store/second_look.hh"
#include "s3/verbs/xml.hh"

#include <utility>

namespace bts3::app {

using engine::disposition;
using engine::reason;
using engine::result;
using engine::task;

task<result<void>> checksum_comparison::compare(verified_backup& one) {
  // The inventory has no checksums, which are much of a manifest's memory.
  auto reading =
      read_manifest(_store, one.key, manifest_bound::of_host(_with.settings), _with.stop);
  auto made = co_await std::move(reading);
  if (!made) {
    co_return std::move(made.error());
  }
  for (planner::chunk_record& chunk : made->chunks) {
    planner::chunk_comparison listed = planner::compare_chunk(_all.objects, one.key, chunk);
    if (!listed.as_recorded() || chunk.part_crc32.empty()) {
      continue;
    }
    chunk.key = std::move(listed.key);
    auto comparing = compare_chunk(one, std::move(chunk));
    auto compared = co_await std::move(comparing);
    if (!compared || !works()) {
      co_return compared;
    }
  }
  co_return engine::ok();
}

task<result<void>> checksum_comparison::compare_chunk(verified_backup& one,
                                                      planner::chunk_record chunk) {
  auto asking = _store.get_object_attributes(s3::object_key(chunk.key), _with.stop);
  auto found = co_await std::move(asking);
  if (!found) {
    const reason why = found.error().why;
    if (why == reason::unsupported || why == reason::access) {
      _abilities.no_attributes = why == reason::unsupported
                                     ? "this store does not answer GetObjectAttributes"
                                     : found.error().text();
      co_return engine::ok();
    }
    if (found.error().what_now == disposition::not_found) {
      auto looking = look_for_chunk(_store, _all.objects, chunk.key, chunk.size, _with.stop);
      const auto denied = co_await std::move(looking);
      if (!denied) {
        co_return denied.error();
      }
      one.findings.push_back({chunk.key, denied->problem()});
      co_return engine::ok();
    }
    co_return std::move(found.error());
  }
  planner::object_sight sight;
  sight.size = found->size.value_or(chunk.size);
  const auto compared = planner::compare_chunk(chunk.key, chunk.size, sight);
  if (!compared.as_recorded()) {
    one.findings.push_back({chunk.key, compared.problem()});
  }
  // A copy in the bucket may have been made in other parts, or without: nothing to compare with.
  const bool same_parts = found->parts.value_or(1) == chunk.part_crc32.size();
  const bool whole = !found->composite && chunk.part_crc32.size() == 1;
  if (!found->crc32 || !same_parts || (!found->composite && !whole)) {
    co_return engine::ok();
  }
  ++_compared;
  const std::uint32_t expected =
      whole ? chunk.part_crc32.front() : s3::crc32_of_parts(chunk.part_crc32);
  if (*found->crc32 != expected) {
    one.findings.push_back({chunk.key, "the store's checksum of it is not the recorded one"});
  }
  co_return engine::ok();
}

}  // namespace bts3::app
