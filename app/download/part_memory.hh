// How much memory parts of a backup need while they are read.
#pragma once

#include "app/config/config.hh"
#include "app/survey/restore_plan.hh"
#include "engine/result.hh"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bts3::app {

// Memory for the largest part of these chunks.
[[nodiscard]] std::uint64_t slot_bytes_for(const config& settings,
                                           const std::vector<located_chunk>& chunks);
// A pool for them, within the configured memory; an error when that is too small for two parts.
engine::result<std::size_t> slots_for(const config& settings, std::uint64_t slot_bytes);

}  // namespace bts3::app
