#include "app/chosen_backup.hh"

#include "app/restore_source.hh"
#include "planner/keys.hh"

#include <string>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

error damaged(std::string message) {
  error failure;
  failure.why = reason::integrity;
  failure.message = std::move(message);
  return failure;
}

// The key of the backup that was asked for.
task<result<std::string>> find_manifest(const services& with, s3::object_store& store,
                                        backup_selection wanted) {
  if (!wanted.manifest_key.empty()) {
    co_return wanted.manifest_key;
  }
  if (!wanted.at.empty()) {
    auto when = parse_point_in_time(wanted.at);
    if (!when) {
      co_return std::move(when.error());
    }
    auto looking = manifest_at(store, with.settings.prefix, wanted.subvolume, *when, with.stop);
    auto found = co_await std::move(looking);
    if (found) {
      with.log.write(log_level::info, "restore", "backup_chosen",
                     {{"not_after", when->rfc3339()}, {"manifest", *found}});
    }
    co_return found;
  }
  const planner::key_layout keys(with.settings.prefix, wanted.subvolume);
  auto reading = read_pointer(store, keys.pointer(), with.stop);
  auto pointer = co_await std::move(reading);
  if (!pointer) {
    co_return std::move(pointer.error());
  }
  if (!*pointer) {
    error failure;
    failure.message = "there is no backup of subvolume \"" + wanted.subvolume + "\" at s3://" +
                      with.settings.bucket + "/" + keys.root();
    failure.remedy = wanted.from.empty() ? "check --subvolume and s3.prefix"
                                         : "check --subvolume and the prefix in --from";
    co_return failure;
  }
  co_return std::move((*pointer)->value.manifest_key);
}

}  // namespace

task<result<std::vector<chain_link>>> find_chain(const services& with, s3::object_store& store,
                                                 backup_selection wanted) {
  auto finding = find_manifest(with, store, wanted);
  auto key = co_await std::move(finding);
  if (!key) {
    co_return std::move(key.error());
  }
  auto chaining = read_chain(store, *key, with.stop);
  auto chain = co_await std::move(chaining);
  if (!chain && chain.error().what_now == disposition::not_found && wanted.manifest_key.empty()) {
    // In a bucket copied under another prefix, the pointer names the old place.
    const planner::key_layout keys(with.settings.prefix, wanted.subvolume);
    const std::string beside = planner::beside_manifest(keys.root() + "full/manifest", *key);
    if (beside != *key) {
      auto again = read_chain(store, beside, with.stop);
      auto found = co_await std::move(again);
      if (found) {
        chain = std::move(found);
      }
    }
  }
  if (chain && chain->back().value.subvolume != wanted.subvolume) {
    error failure;
    failure.why = reason::configuration;
    failure.message = "manifest " + *key + " is of subvolume \"" + chain->back().value.subvolume +
                      "\", not \"" + wanted.subvolume + "\"";
    failure.remedy = "correct --subvolume or --manifest-key";
    co_return failure;
  }
  co_return chain;
}

task<result<std::vector<located_chunk>>> locate_chunks(const services& with,
                                                       s3::object_store& store,
                                                       const chain_link& link) {
  std::vector<located_chunk> found;
  for (const planner::chunk_record& record : link.value.chunks) {
    located_chunk chunk;
    chunk.record = record;
    chunk.key = s3::object_key(record.key);
    auto asking = store.head_object(chunk.key, with.stop);
    auto info = co_await std::move(asking);
    const std::string beside = planner::beside_manifest(link.key, record.key);
    if (!info && info.error().what_now == disposition::not_found && beside != record.key) {
      chunk.key = s3::object_key(beside);
      auto again = store.head_object(chunk.key, with.stop);
      info = co_await std::move(again);
    }
    if (!info) {
      if (info.error().what_now == disposition::not_found) {
        co_return damaged("chunk " + record.key + " of manifest " + link.key +
                          " is missing from the bucket");
      }
      co_return std::move(info.error());
    }
    if (info->size != record.size) {
      co_return damaged("chunk " + record.key + " has " + std::to_string(info->size) +
                        " bytes in the bucket, and " + std::to_string(record.size) +
                        " were recorded");
    }
    chunk.info = std::move(*info);
    found.push_back(std::move(chunk));
  }
  co_return found;
}

}  // namespace bts3::app
