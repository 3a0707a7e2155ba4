// Gives back the memory that holds what `btrfs receive` has written, while it goes on.
//
// What a restore hands over is a snapshot of the received subvolume, and the page cache goes by
// subvolume: nobody ever reads the pages that receiving left behind. They push out what others
// need, and deleting the received subvolume has to evict each of them first, 0.2 s for a GiB, with
// the other cores idle. So a thread walks behind the receiver: it has the kernel start to write
// what is complete, and lets go of the clean pages a moment later (posix_fadvise(2),
// POSIX_FADV_DONTNEED, does both), again until they have gone. Nothing here can change data, or
// fail a restore.
//
// The walk is by inode numbers, in whose order `btrfs send` describes files and `btrfs receive`
// therefore makes them, one after the other from BTRFS_FIRST_FREE_OBJECTID + 1 when the stream is a
// full one; BTRFS_IOC_INO_LOOKUP tells where each is at that moment. A number without a file ends
// the walk until there is one, so that in any other subvolume it merely does nothing. Among small
// files most are passed over.
#pragma once

#include "engine/unique_fd.hh"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <sys/types.h>
#include <thread>
#include <vector>

namespace bts3::btrfs {

class received_pages {
 public:
  // Waits for a subvolume to appear in `directory`, other than those named in `others`, and follows
  // the full stream that is received into it. Needs CAP_SYS_ADMIN and a thread; without
  // them does nothing.
  received_pages(std::string directory, std::vector<std::string> others);
  // Stops where it is.
  ~received_pages();
  received_pages(const received_pages&) = delete;
  received_pages& operator=(const received_pages&) = delete;

  // All was received and synced: lets go of the rest, and returns when that is done.
  void finish();
  // Bytes of files that it let go of, as far as it can tell.
  [[nodiscard]] std::uint64_t bytes() const { return _bytes.load(std::memory_order_relaxed); }

 private:
  using clock = std::chrono::steady_clock;
  // Being written by the kernel, to be let go of at `due`.
  struct range {
    std::shared_ptr<engine::unique_fd> file;
    off_t offset = 0;
    off_t length = 0;
    clock::time_point due;
  };

  void run();
  bool find_subvolume();
  void walk(bool received);
  // Begins writing what is new of the file there; whether it is a file, and large enough.
  bool visit(const std::string& path, bool growing);
  void let_go(bool all);

  std::string _directory;
  std::vector<std::string> _others;
  engine::unique_fd _subvolume;
  std::uint64_t _inode;  // that `_file` is, or that comes next
  std::shared_ptr<engine::unique_fd> _file;
  std::uint64_t _small_in_a_row = 0;
  off_t _begun = 0;  // bytes of `_file` whose writing has begun
  std::deque<range> _ranges;
  std::atomic<std::uint64_t> _bytes{0};
  std::mutex _mutex;
  std::condition_variable _changed;
  bool _stop = false;
  bool _received = false;
  std::thread _thread;
};

}  // namespace bts3::btrfs
