// What Btrfs counts of errors of its devices (`btrfs device stats`).
//
// It counts refused reads, writes and flushes, and what it read and found wrong, of every device,
// since somebody set the counters back. They prove nothing: a write that a device refuses with
// another error than EIO is not counted, and one whose copy on another device went well is. They
// tell whose disk it is that fails.
#pragma once

#include "engine/result.hh"

#include <cstdint>
#include <string>
#include <vector>

namespace bts3::btrfs {

struct device_errors {
  std::uint64_t id = 0;
  std::string device;  // its path; may be empty when it is missing
  std::uint64_t writes = 0;
  std::uint64_t reads = 0;
  std::uint64_t flushes = 0;
  std::uint64_t corruptions = 0;  // checksums and generations

  [[nodiscard]] bool any() const { return writes + reads + flushes + corruptions > 0; }
  // "/dev/sdb: 507 writes and 1 flush refused, 2 blocks damaged"
  [[nodiscard]] std::string text() const;
};

// Of the filesystem at `path`, in the order of the devices' ids.
engine::result<std::vector<device_errors>> device_errors_of(const std::string& path);

// Of the devices that have more than before, how many more.
std::vector<device_errors> risen(const std::vector<device_errors>& before,
                                 const std::vector<device_errors>& after);

}  // namespace bts3::btrfs
