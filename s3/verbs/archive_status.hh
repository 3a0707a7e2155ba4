// What a store says about an object of an archive class, and how long it takes to get it back.
#pragma once

#include "engine/result.hh"
#include "s3/verbs/object_store.hh"
#include "s3/verbs/types.hh"

#include <chrono>
#include <cstdint>
#include <optional>

namespace bts3::s3 {

using wall_time = std::chrono::system_clock::time_point;

// How deep an object lies: what retrieval is offered and how long it takes.
enum class archive_depth {
  none,     // readable without thawing
  archive,  // GLACIER, ARCHIVE_ACCESS
  deep,     // DEEP_ARCHIVE, DEEP_ARCHIVE_ACCESS
};

enum class archive_state {
  readable,  // in no archive
  archived,
  thawing,
  thawed,   // until archive_status::until
  expired,  // it was thawed, and is archived again
};

struct archive_status {
  archive_state state = archive_state::readable;
  archive_depth depth = archive_depth::none;
  bool copied = false;             // thawing makes a copy with an end, which needs Days
  std::optional<wall_time> until;  // of a thawed one; empty: no end was told
};

// What HEAD's storage class, x-amz-restore and x-amz-archive-status mean at time `now`. A header
// that cannot be understood is an error with reason protocol.
engine::result<archive_status> archive_status_of(const object_key& key, const object_info& info,
                                                 wall_time now);

// How long a retrieval typically takes.
struct thaw_time {
  std::chrono::seconds least{0};
  std::chrono::seconds most{0};
};

// For one object of that size; nullopt where the tier is not offered (Expedited for deep ones).
std::optional<thaw_time> typical_thaw_time(archive_depth depth, retrieval_tier tier,
                                           std::uint64_t bytes);

}  // namespace bts3::s3
