// The content of one file, from its beginning to its end, to standard output.
#pragma once

#include "app/download/extent_reader.hh"
#include "app/store/services.hh"
#include "btrfs/index/catalogue.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <cstdint>
#include <functional>
#include <span>

namespace bts3::app {

// Takes the next bytes; false: whoever read them went away, or the disk behind is full, which is
// told elsewhere.
using byte_output = std::function<bool(std::span<const std::byte>)>;

// Verified before it is given out, 32 MiB at a time; holes as zeros. `put` is called on a thread
// beside the reactor's. Reason integrity for what is damaged: what came before was right.
// References must outlive the task.
engine::task<engine::result<void>> put_file(const services& with, extent_reader& reader,
                                            extent_list extents, std::uint64_t size,
                                            byte_output put);

}  // namespace bts3::app
