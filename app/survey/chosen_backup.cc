#include "app/survey/chosen_backup.hh"

#include "app/cli/point_in_time.hh"
#include "app/secrets/signing.hh"
#include "app/store/dated_manifest.hh"
#include "app/store/manifest_signature.hh"
#include "app/store/second_look.hh"
#include "app/survey/observer.hh"
#include "planner/chunk_comparison.hh"
#include "planner/keys.hh"

#include <optional>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

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

// The backup that was asked for.
task<result<dated_manifest>> find_manifest(const services& with, s3::object_store& store,
                                           wanted_backup wanted) {
  dated_manifest asked;
  if (!wanted.manifest_key.empty()) {
    asked.key = wanted.manifest_key;
    co_return asked;
  }
  if (!wanted.at.empty()) {
    auto when = parse_point_in_time(wanted.at);
    if (!when) {
      co_return std::move(when.error());
    }
    auto looking = manifest_at(store, with.settings.s3.prefix, wanted.subvolume, *when,
                               manifest_bound::of_host(with.settings), with.stop);
    auto found = co_await std::move(looking);
    if (found) {
      with.log.write(log_level::info, "restore", "backup_chosen",
                     {{"not_after", when->rfc3339()}, {"manifest", found->key}});
    }
    co_return found;
  }
  const planner::key_layout keys(with.settings.s3.prefix, wanted.subvolume);
  auto reading = read_pointer(store, keys.pointer(), with.stop);
  auto pointer = co_await std::move(reading);
  if (!pointer) {
    co_return std::move(pointer.error());
  }
  if (!*pointer) {
    error failure;
    failure.message = "there is no backup of subvolume \"" + wanted.subvolume + "\" at s3://" +
                      with.settings.s3.bucket + "/" + keys.root();
    failure.remedy = wanted.of_bucket ? "check --subvolume and the prefix in --from"
                                      : "check --subvolume and s3.prefix";
    co_return failure;
  }
  asked.key = std::move((*pointer)->value.manifest_key);
  co_return asked;
}

task<result<located_chunk>> locate_chunk(const services& with, s3::object_store& store,
                                         std::string manifest_key, planner::chunk_record record,
                                         const planner::object_listing* listed) {
  const std::vector<std::string> places = planner::places_of(manifest_key, record.key);
  located_chunk chunk;
  chunk.record = std::move(record);
  error last;
  for (std::size_t i = 0; i < places.size(); ++i) {
    chunk.key = s3::object_key(places[i]);
    auto asking = store.head_object(chunk.key, with.stop);
    auto info = co_await std::move(asking);
    if (info) {
      planner::object_sight sight;  // whether it can be read is asked before it is
      sight.size = info->size;
      const auto compared = planner::compare_chunk(places[i], chunk.record.size, sight);
      if (!compared.as_recorded()) {
        co_return damaged(compared.sentence());
      }
      chunk.info = std::move(*info);
      co_return chunk;
    }
    last = std::move(info.error());
    if (!is_absent(last, i > 0)) {
      co_return last;
    }
  }
  const planner::object_listing none;
  auto looking = look_for_chunk(store, listed != nullptr ? *listed : none, places.front(),
                                chunk.record.size, with.stop);
  const auto denied = co_await std::move(looking);
  if (!denied) {
    co_return denied.error();
  }
  co_return damaged(absent_text(denied->sentence(manifest_key), last));
}

task<result<std::vector<chain_link>>> find_any_chain(const services& with, s3::object_store& store,
                                                     wanted_backup wanted, manifests_known known) {
  auto finding = find_manifest(with, store, wanted);
  auto asked = co_await std::move(finding);
  if (!asked) {
    co_return std::move(asked.error());
  }
  std::vector<std::string> places;
  if (wanted.manifest_key.empty()) {
    const planner::key_layout keys(with.settings.s3.prefix, wanted.subvolume);
    places = planner::places_of(keys.root() + "full/manifest", asked->key);
  } else {
    places.push_back(std::move(asked->key));  // that one and no other
  }
  manifest_reader reader = plain_reader(store, manifest_bound::of_host(with.settings), with.stop);
  reader = listed_reader(std::move(reader), asked->listed, store, with.stop);
  reader = with_known(std::move(reader), std::move(known), places);
  auto chaining = read_chain(std::move(reader), std::move(places));
  auto chain = co_await std::move(chaining);
  if (chain && chain->back().value.subvolume != wanted.subvolume) {
    co_return engine::configuration_error("manifest " + chain->back().key + " is of subvolume \"" +
                                              chain->back().value.subvolume + "\", not \"" +
                                              wanted.subvolume + "\"",
                                          "correct --subvolume or --manifest-key");
  }
  co_return chain;
}

}  // namespace

task<result<std::vector<chain_link>>> find_chain(const services& with, s3::object_store& store,
                                                 wanted_backup wanted, manifests_known known) {
  std::vector<age::allowed_signer> signers;
  const bool asks = !wanted.trusted_signers.empty();
  if (asks) {
    auto read = read_trusted_signers(wanted.trusted_signers);  // before anything is asked for
    if (!read) {
      co_return std::move(read.error());
    }
    signers = std::move(*read);
  }
  auto finding =
      find_any_chain(with, store, std::move(wanted), asks ? manifests_known() : std::move(known));
  auto chain = co_await std::move(finding);
  if (!chain || !asks) {
    co_return chain;
  }
  auto believing = trusted_chain(with, store, std::move(*chain), std::move(signers));
  auto believed = co_await std::move(believing);
  if (believed) {
    with.log.write(
        log_level::info, "restore", "signatures_verified",
        {{"manifest", believed->back().key}, {"links", std::to_string(believed->size())}});
  }
  co_return believed;
}

wanted_backup wanted_by(const config& settings, const backup_selection& selection) {
  return {selection.subvolume, selection.manifest_key, selection.at, !selection.from.empty(),
          selection.trusted_signers.value_or(settings.restore.trusted_signers_file)};
}

std::string chosen_text(const chain_link& chosen) {
  const planner::timestamp when = planner::time_of(chosen.value, chosen.key);
  return "the backup of " + when.rfc3339() + " (" + planner::local_text(when, system_time_zone()) +
         " local)";
}

task<result<std::vector<located_chunk>>> locate_chunks(const services& with,
                                                       s3::object_store& store,
                                                       const chain_link& link,
                                                       const planner::object_listing* listed) {
  std::vector<located_chunk> found;
  for (const planner::chunk_record& record : link.value.chunks) {
    auto locating = locate_chunk(with, store, link.key, record, listed);
    auto chunk = co_await std::move(locating);
    if (!chunk) {
      co_return std::move(chunk.error());
    }
    found.push_back(std::move(*chunk));
  }
  co_return found;
}

}  // namespace bts3::app
