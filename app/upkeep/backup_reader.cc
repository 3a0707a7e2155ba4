#include "app/upkeep/backup_reader.hh"

#include "app/download/download_link.hh"
#include "app/download/part_memory.hh"
#include "app/store/chain_reader.hh"
#include "app/survey/chosen_backup.hh"

#include <algorithm>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// Whether what was chosen from one reading of a manifest is there in another: a store may give
// something else each time.
bool same_outline(const planner::manifest& before, const planner::manifest& now) {
  return std::equal(before.chunks.begin(), before.chunks.end(), now.chunks.begin(),
                    now.chunks.end(),
                    [](const planner::chunk_record& a, const planner::chunk_record& b) {
                      return a.size == b.size && a.part_size == b.part_size;
                    });
}

std::uint64_t plain_bytes_of(const planner::manifest& sealed) {
  std::uint64_t sum = 0;
  for (const planner::chunk_record& chunk : sealed.chunks) {
    sum += chunk.plain_size;
  }
  return sum;
}

}  // namespace

// The chunks of a backup as the bucket has them; reason not_thawed when some are archived.
task<result<std::vector<located_chunk>>> backup_reader::find_chunks(std::string key) {
  auto reading = read_manifest(_store, key, manifest_bound::of_host(_with.settings), _with.stop);
  auto made = co_await std::move(reading);
  if (!made) {
    co_return std::move(made.error());
  }
  if (!same_outline(_all.manifests.at(key), *made)) {
    error failure;
    failure.why = reason::integrity;
    failure.message = "manifest " + key + " changed while it was verified";
    failure.remedy = "nothing but btrfs_to_s3 should write there: verify again";
    co_return failure;
  }
  chain_link link;
  link.key = key;
  link.value = std::move(*made);
  // Of a copy the copy: what its original has proves nothing here.
  for (planner::chunk_record& chunk : link.value.chunks) {
    chunk.key = planner::place_in(_all.objects, key, chunk.key);
  }
  auto locating = locate_chunks(_with, _store, link, &_all.objects);
  auto chunks = co_await std::move(locating);
  if (!chunks) {
    co_return std::move(chunks.error());
  }
  std::size_t archived = 0;
  std::string stored_as;
  for (const located_chunk& chunk : *chunks) {
    const auto compared = compare_located(chunk, _with.clock.now());
    if (!compared) {
      co_return compared.error();
    }
    if (!compared->can_be_read()) {
      ++archived;
      stored_as = chunk.storage_class();
    }
  }
  if (archived > 0) {
    error failure;
    failure.why = reason::not_thawed;
    failure.message = std::to_string(archived) + " of " + std::to_string(chunks->size()) +
                      (chunks->size() == 1 ? " object is" : " objects are") + " archived (" +
                      stored_as + ")";
    co_return failure;
  }
  co_return chunks;
}

// What opens it; null where it is not sealed, or nobody was given that could open it.
task<result<std::shared_ptr<const backup_key>>> backup_reader::find_key(std::string key) {
  const planner::manifest& manifest = _all.manifests.at(key);
  if (!manifest.encryption || _identities == nullptr) {
    co_return std::shared_ptr<const backup_key>();
  }
  chain_link link;
  link.key = key;
  link.value.encryption = manifest.encryption;
  auto opening = open_backup_key(_with, _store, link, *_identities);
  co_return co_await std::move(opening);
}

task<result<std::uint64_t>> backup_reader::read_all(std::string key, progress& shown) {
  auto finding = find_chunks(key);
  auto chunks = co_await std::move(finding);
  if (!chunks) {
    co_return std::move(chunks.error());
  }
  auto opening = find_key(key);
  const auto opened_by = co_await std::move(opening);
  if (!opened_by) {
    co_return opened_by.error();
  }
  const std::uint64_t slot_bytes = slot_bytes_for(_with.settings, *chunks);
  auto slots = slots_for(_with.settings, slot_bytes);
  if (!slots) {
    co_return std::move(slots.error());
  }
  engine::buffer_pool pool(_with.loop, slot_bytes, *slots, _with.log);
  engine::hash_worker hashes(_with.loop, false);
  if (auto ready = hashes.ready(); !ready) {
    co_return std::move(ready.error());
  }
  const planner::manifest& manifest = _all.manifests.at(key);
  const auto before = _all.manifests.find(manifest.parent_manifest.value_or(""));
  const planner::manifest* parent = before == _all.manifests.end() ? nullptr : &before->second;
  const bool by_parts = std::all_of(chunks->begin(), chunks->end(), [](const located_chunk& chunk) {
    return chunk.record.has_parts();
  });
  for (int attempt = 1;; ++attempt) {
    download_link link(_with, _store, pool, hashes, *chunks, attempt == 1 ? &shown : nullptr);
    link.expect(expected_stream(manifest, parent));
    if (manifest.encryption) {
      // Without a key, what it is made of is verified, and not what that means.
      link.is_sealed(opened_by->get(), plain_bytes_of(manifest));
    }
    auto running = link.run(-1);
    auto ran = co_await std::move(running);
    if (ran) {
      co_return link.bytes();
    }
    // Parts have been fetched three times by now; what has no parts, once.
    if (by_parts || attempt == 2 || ran.error().why != reason::integrity) {
      co_return std::move(ran.error());
    }
  }
}

task<result<sample_reading>> backup_reader::read_parts(std::string key,
                                                       std::vector<part_place> wanted) {
  auto finding = find_chunks(std::move(key));
  auto chunks = co_await std::move(finding);
  if (!chunks) {
    co_return std::move(chunks.error());
  }
  const std::uint64_t slot_bytes = slot_bytes_for(_with.settings, *chunks);
  auto slots = slots_for(_with.settings, slot_bytes);
  if (!slots) {
    co_return std::move(slots.error());
  }
  engine::buffer_pool pool(_with.loop, slot_bytes, *slots, _with.log);
  engine::hash_worker hashes(_with.loop, false);
  if (auto ready = hashes.ready(); !ready) {
    co_return std::move(ready.error());
  }
  part_verifier parts(_with, _store, pool, hashes, std::move(*chunks));
  auto running = parts.run(std::move(wanted));
  auto found = co_await std::move(running);
  sample_reading reading;
  reading.bytes = parts.bytes();
  if (found) {
    reading.findings = std::move(*found);
  } else {
    reading.failure = std::move(found.error());
  }
  co_return reading;
}

}  // namespace bts3::app
