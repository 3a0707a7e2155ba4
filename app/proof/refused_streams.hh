// Descriptions of streams that `btrfs receive` would have refused, kept beside the state for
// whoever reports the kernel's fault: the index of the stream, which holds names of files and no
// content, and a text with the sentence and the versions.
#pragma once

#include "app/records/journal_record.hh"
#include "app/store/services.hh"
#include "btrfs/index/catalogue.hh"
#include "btrfs/processes.hh"
#include "btrfs/subvolume.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <cstddef>
#include <cstdint>
#include <string>

namespace bts3::app {

// Beside the state at once, the oldest go; and of one.
inline constexpr std::size_t refused_streams_max = 4;
inline constexpr std::uint64_t refused_stream_bytes_max = std::uint64_t{64} << 20;

// A directory beside the state file.
[[nodiscard]] std::string refused_streams_in(const std::string& state_path);

// `records` is open and holds `bytes` of index. Returns the path of the text. What is larger than
// refused_stream_bytes_max has the text alone. References must outlive the task.
engine::task<engine::result<std::string>> keep_refused_stream(const services& with,
                                                              const btrfs::capabilities& host,
                                                              const backup_intent& intent,
                                                              const btrfs::subvolume_info& snapshot,
                                                              const btrfs::index::refusal& refused,
                                                              int records, std::uint64_t bytes);

}  // namespace bts3::app
