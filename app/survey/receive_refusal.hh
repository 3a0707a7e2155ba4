// What follows when `btrfs receive` refuses a stream whose bytes are the right ones.
//
// Nothing will ever restore that backup, nor those that build on it: the error names the link and
// the command and says the way out, the record of verifications remembers it beside the state file,
// `status` is critical, and the next backup is a full. A receiver that failed by its host (no room,
// a failing disk, a kill) has refused nothing.
#pragma once

#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "btrfs/stream_inspector.hh"
#include "engine/error.hh"
#include "engine/task.hh"

#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

// Whether what `btrfs receive` ended with is about the stream, by its exit status and its words.
[[nodiscard]] bool is_refusal(const engine::error& failure);

// The error for people. `command`: the one that was refused; null: not known. `before`: the link
// that was received last; null: the first was refused.
[[nodiscard]] engine::error refusal_of(engine::error failure, const chain_link& link,
                                       const btrfs::stream_command* command,
                                       const chain_link* before);

// Written beside the state file, where its directory exists; a failure is logged.
engine::task<void> remember_refusal(const services& with, std::string subvolume,
                                    std::string manifest_key, std::string problem);
// These links were received now, whatever was remembered of them.
engine::task<void> remember_received(const services& with, std::string subvolume,
                                     std::vector<std::string> manifest_keys);
// What is remembered of the links of a chain, also by a proof (`verify`); empty: nothing.
[[nodiscard]] std::string remembered_refusal(const services& with, const std::string& subvolume,
                                             const std::vector<std::string>& manifest_keys);

}  // namespace bts3::app
