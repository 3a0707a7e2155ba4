// The private directory beside a restore's target: ours and nobody else's, whoever may write to the
// directory above.
#pragma once

#include "btrfs/restore_target.hh"
#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <optional>
#include <string>
#include <vector>

namespace bts3::btrfs {

// What has the private directory's name and was made by somebody else; `what` tells it by.
engine::error planted(const target_report& target, const std::string& what);

// The private directory in the directory that is open as `parent`, if there is one. Refused where
// it is a link, belongs to another user or is open to others.
engine::result<std::optional<engine::unique_fd>> open_place(int parent,
                                                            const target_report& target);

// Whether `name` in that directory is what is open as `fd`.
bool has_entry(int directory, const std::string& name, int fd);

// The names in that directory, in order; errors call it `shown`.
engine::result<std::vector<std::string>> entries_of(int directory, const std::string& shown);

}  // namespace bts3::btrfs
