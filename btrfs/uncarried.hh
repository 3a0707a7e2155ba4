// Attributes of files that `btrfs send` does not carry: what is restored comes without them.
#pragma once

#include "engine/result.hh"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bts3::btrfs {

// A file or directory that has some.
struct uncarried_file {
  std::string path;        // below the subvolume
  std::string attributes;  // "+C", "+ai", "verity": letters as chattr(1) has them
};

struct uncarried_report {
  std::uint64_t count = 0;               // files and directories that have some
  std::vector<uncarried_file> examples;  // the first of them, by the age of their inodes
  bool whole = true;                     // false: there were more entries than `entries_max`
};

// Looked for are a, A, C, d, D, i and S of chattr(1), and fs-verity; a swap file has C. Compression
// is not: its property travels, and m is set by the kernel itself. Reads the subvolume's tree,
// which needs root, some ten million entries a minute where that is in memory.
engine::result<uncarried_report> find_uncarried(const std::string& subvolume,
                                                std::size_t examples_max,
                                                std::uint64_t entries_max);

}  // namespace bts3::btrfs
