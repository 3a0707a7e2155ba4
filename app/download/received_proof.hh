// That what was sent of a link lies on the target's disk.
//
// `btrfs receive` and syncfs(2) may both be content although the disk has refused data: see
// btrfs/encoded_writes.hh. What is plainly written is proven by syncfs, which tells of every write
// that failed since (Linux 5.8 and newer; before, the devices' error counters must not have risen);
// what was written compressed, by looking for it. Errors of the devices that cost nothing, as where
// another copy was written, are told in the log: a disk that fails may soon fail more.
#pragma once

#include "app/store/services.hh"
#include "btrfs/device_errors.hh"
#include "btrfs/encoded_writes.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bts3::app {

class received_proof {
 public:
  // Before `btrfs receive` begins to write below `directory`. References must outlive it.
  static engine::result<received_proof> begin(const services& with, std::string directory);

  // The stream, as it goes to the receiver.
  engine::result<void> feed(std::span<const std::byte> bytes) { return _written.feed(bytes); }

  // After the receiver has ended well: syncs and looks, on a thread of its own. How many of the
  // encoded writes are not to be found in the subvolume at `received`: 0 is the proof for all that
  // the stream wrote. An error, which names devices with errors, when the disk refused anything.
  engine::task<engine::result<std::uint64_t>> lost(std::string received);

  // Should a failure be the disk's, as far as Btrfs counted errors since begin(): the failure with
  // the devices and what to do about them.
  [[nodiscard]] engine::error explained(engine::error failure) const;

 private:
  received_proof(const services& with, std::string directory, btrfs::data_checks checks,
                 std::vector<btrfs::device_errors> before)
      : _with(with),
        _directory(directory),
        _written(std::move(directory), checks),
        _before(std::move(before)) {}
  engine::result<std::uint64_t> look(const std::string& received);
  engine::result<void> judge_devices(bool all_there) const;
  [[nodiscard]] std::string risen_errors() const;

  const services& _with;
  std::string _directory;
  btrfs::encoded_writes _written;
  std::vector<btrfs::device_errors> _before;
};

}  // namespace bts3::app
