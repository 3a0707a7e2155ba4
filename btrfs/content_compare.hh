// Whether two trees hold the same, down to the bytes: a received snapshot and its source.
//
// Compared are types, modes, owners, sizes, numbers of links, device numbers, targets of links,
// extended attributes and modification times (but for the roots') of every entry, and the content
// of files: all of it, or that of a sample. The sample is the files whose paths hash lowest: the
// same files each time, and spread over the whole tree, however it is ordered.
//
// A nested subvolume is an empty directory in a snapshot (inode 2) and may be absent from what is
// received; nothing below such a place is compared. Memory: the paths of the directories still to
// visit, those of the sample, and two buffers of 1 MiB. Blocks: for a thread of its own.
#pragma once

#include "engine/result.hh"

#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace bts3::btrfs {

struct compare_options {
  compare_options() = default;
  // Files whose content is compared; all by default.
  std::uint64_t files_max = std::numeric_limits<std::uint64_t>::max();
  // What the trees are called in a difference.
  std::string first_name = "the first tree";
  std::string second_name = "the second tree";
  const std::atomic<bool>* stop = nullptr;      // looked at often; then the result is `cancelled`
  std::atomic<std::uint64_t>* bytes = nullptr;  // counts content as it is compared, if given
};

struct compare_report {
  std::uint64_t entries = 0;
  std::uint64_t files = 0;  // regular files in the first tree
  std::uint64_t files_compared = 0;
  std::uint64_t bytes_compared = 0;
  // The first difference that was met, with its path: "src/a.c: mode is 0644 and 0600".
  std::optional<std::string> difference;
};

// Errors are failures to read; a difference is none.
engine::result<compare_report> compare_trees(const std::string& first, const std::string& second,
                                             const compare_options& options = {});

}  // namespace bts3::btrfs
