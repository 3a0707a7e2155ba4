// Reading what deleting, publishing and replacing rest on: the pointer, and one backup's manifest.
//
// One answer is not yet what the bucket holds: a proxy's page, half a document or a cache's other
// object comes with status 200 as well. What cannot be understood is asked for again, a few times,
// and only the same bytes under the same ETag twice running are what is there. Answers that go on
// differing, and those that are no answer (403, 5xx after all retries), are an error: then nothing
// is known, and nothing may be made of it. Absence is asked for twice where the caller wants it.
#pragma once

#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "planner/chunk_comparison.hh"

#include <cstdint>
#include <optional>
#include <string>

namespace bts3::app {

// How often a 404 has to come before it is believed.
enum class absence { believed_at_once, asked_for_twice };

struct pointer_sight {
  // Nullopt: there is none. Of one that cannot be understood: its ETag, and its text, or what
  // stands for it where it is larger than a pointer can be.
  std::optional<stored_pointer> there;
  std::string problem;  // why it cannot be understood; empty when it was, or there is none
  std::optional<std::uint64_t> bytes;  // nullopt: there is none

  [[nodiscard]] bool understood() const { return problem.empty(); }
};

engine::task<engine::result<pointer_sight>> look_at_pointer(const services& with,
                                                            s3::object_store& store,
                                                            std::string key, absence when_absent,
                                                            engine::stop_token stop);

// What a manifest must say of itself to be the one that belongs to a key.
struct manifest_place {
  std::string subvolume;
  planner::backup_kind kind = planner::backup_kind::full;
  planner::timestamp when;
};

struct manifest_sight {
  std::optional<planner::manifest> there;  // understood, and of that place
  std::string problem;  // why what is there cannot be understood; empty: understood, or absent
  std::optional<std::uint64_t> bytes;  // nullopt: absent

  [[nodiscard]] bool absent() const { return !there && problem.empty(); }
};

// A 404 counts when it came twice.
engine::task<engine::result<manifest_sight>> look_at_manifest(const services& with,
                                                              s3::object_store& store,
                                                              std::string key, manifest_place of,
                                                              engine::stop_token stop);

// A listing tells of the same objects by another way: `objects` says that the object
// at `key` is there where it was found absent, or has another size than the `bytes` that could not
// be understood. Ok where it says nothing against it. To be asked of what was not understood only:
// listings may lag behind.
engine::result<void> check_by_listing(const planner::object_listing& objects,
                                      const std::string& key, std::optional<std::uint64_t> bytes);

// What a listing shows and a GET denies is listed once more: whether it is there still. Where it is
// not, it was deleted meanwhile; where it is, the store contradicts itself, and listed_and_absent
// is what is wrong with it.
engine::task<engine::result<bool>> is_still_listed(s3::object_store& store, std::string key,
                                                   engine::stop_token stop);
inline constexpr const char* listed_and_absent =
    "it is listed, but the store says that it does not exist";

// A chunk of `bytes` that was asked for at `key` and denied: missing, or, where `objects`, an
// earlier listing, has it, what it is after the same second look.
engine::task<engine::result<planner::chunk_comparison>> look_for_chunk(
    s3::object_store& store, const planner::object_listing& objects, std::string key,
    std::uint64_t bytes, engine::stop_token stop);

// For read_chain() and read_link(): what `reader` finds absent and `objects`, an earlier listing,
// has is looked at again so. References must outlive it.
manifest_reader listed_reader(manifest_reader reader, const planner::object_listing& objects,
                              s3::object_store& store, engine::stop_token stop);

// For read_chain() and read_link(), where something new is to rest on the chain: a manifest that is
// absent or damaged has to be so twice. References must outlive it.
manifest_reader careful_reader(const services& with, s3::object_store& store,
                               engine::stop_token stop);

}  // namespace bts3::app
