// Btrfs played by plain directories: for tests of whole jobs, without root and without a mount.
//
// fake_btrfs.cc defines what btrfs/subvolume, btrfs/snapshot_manager, btrfs/processes and
// btrfs/size_estimate define; a test binary that is linked with it takes these instead, and the
// code under test cannot tell. A snapshot is a directory with one file, the stream that its sender
// will print; the sender is a real child with a real pipe, exit status and stderr. Identities are
// kept here, as the kernel keeps them: names prove nothing.
//
// One at a time; one thread.
#pragma once

#include "btrfs/snapshot_manager.hh"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace bts3::testing {

class fake_btrfs {
 public:
  fake_btrfs();
  ~fake_btrfs();
  fake_btrfs(const fake_btrfs&) = delete;
  fake_btrfs& operator=(const fake_btrfs&) = delete;

  // A writable subvolume at `path`, whose directory is made.
  void add_subvolume(const std::string& path);

  // What a sender prints of any snapshot made from now on.
  std::string stream;
  // The same of snapshots of these sources, instead.
  std::map<std::string, std::string> streams_of_sources;
  // How senders end, from now on: a shell command after the stream was printed ("exit 1").
  std::string afterwards;
  // Bytes of the stream that are printed; the rest is left out.
  std::size_t printed_max = SIZE_MAX;

  // What the next senders print instead, one each, in this order; then they print theirs again.
  std::deque<std::string> instead;

  // Subvolumes in each, by paths relative to it.
  std::vector<std::string> nested;

  // Rewrites what an existing snapshot will send: as after a defragmentation.
  void change_stream_of(const std::string& path, const std::string& made);
  // What the snapshot with that UUID was made to send, also when it is gone by now.
  [[nodiscard]] std::string stream_of(const std::string& uuid) const;
  // Paths of the snapshots that exist.
  [[nodiscard]] std::vector<std::string> snapshots() const;
  // Senders started so far.
  std::size_t sends = 0;
  // The number of the first that cannot be started, as where no more processes may run.
  std::size_t refused_from = SIZE_MAX;

  // For the functions that stand in for btrfs/.
  static fake_btrfs& current();
  std::map<std::string, btrfs::subvolume_info> known;  // by path
  std::map<std::string, std::string> streams;          // by UUID, as text
  std::uint64_t transactions = 100;
};

// A send stream of exactly `bytes`, at least 74: WRITEs whose content `seed` chooses, END.
std::string send_stream(std::size_t bytes, unsigned seed = 1);

}  // namespace bts3::testing
