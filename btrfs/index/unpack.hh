// Unpacks the data of an ENCODED_WRITE, as Btrfs packs extents.
#pragma once

#include "btrfs/index/extent_map.hh"
#include "engine/result.hh"

#include <cstddef>
#include <span>

namespace bts3::btrfs::index {

// Fills all of `into`; what the data does not fill is zero, as for `btrfs receive`. Not for
// encoding::none. An error with reason `integrity`: it cannot be unpacked.
engine::result<void> unpack(encoding how, std::span<const std::byte> packed,
                            std::span<std::byte> into);

}  // namespace bts3::btrfs::index
