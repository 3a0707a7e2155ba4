// What the commands that ask a catalogue have in common: the store, the backup, and paths in it.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/files/opened_backup.hh"
#include "app/store/services.hh"
#include "btrfs/index/node.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <nlohmann/json.hpp>

#include <atomic>
#include <functional>
#include <string>
#include <string_view>

namespace bts3::app {

// Asks and prints, on a thread of its own: it may touch the backup, and nothing of the reactor's.
// Ends soon once the flag is true; what it answers is `cancelled` then.
using answer = std::function<engine::result<exit_status>(opened_backup&, const std::atomic<bool>&)>;

// Opens the backup for somebody who waits, and tells. References must outlive the task.
engine::task<engine::result<exit_status>> answer_from(const services& with, files_selection wanted,
                                                      answer tell);
// The same of a backup that is open.
engine::task<engine::result<exit_status>> answer_of(const services& with, opened_backup& backup,
                                                    answer tell);

// As a catalogue has it: "/etc//fstab" is "etc/fstab", "" and "." are the subvolume. Reason
// configuration for one that leaves the backup with "..".
[[nodiscard]] engine::result<std::string> path_in_backup(std::string_view text);
// What is there at that link. An error (not_found) that names the nearest directory that is.
[[nodiscard]] engine::result<btrfs::index::node> existing(opened_backup& backup,
                                                          const std::string& path,
                                                          btrfs::index::link_number link);

// "version", and which backup of what it is of.
[[nodiscard]] nlohmann::ordered_json document_of(const chain_link& backup);

}  // namespace bts3::app
