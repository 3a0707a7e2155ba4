// Parts on a disk: room between a fast producer and a slow uplink, without memory.
//
// Like a left-luggage office with a fixed number of equal lockers: whoever gets one may fill it,
// fetch from it as often as needed, and gives it back by dropping the lease. Lockers are regions of
// one preallocated file in the given directory. No free region is back pressure; waiters are
// served first come, first served. A region is allocated on disk when it is first leased and then
// reused, so a run that needs little allocates little, and never more than the budget.
//
// The file is opened O_DIRECT: bytes go from and to registered slots by DMA, past the page cache.
// Where the filesystem refuses that, or takes it and caches all the same (tmpfs), the spool works
// buffered, writes back and drops each piece at once so that the cache does not fill, and one log
// line says so. The file has no name (O_TMPFILE) or, where that is not to be had, loses it at once:
// the kernel frees it when the process ends, however it ends. What a crash leaves between creating
// and unlinking is recognised by its name and removed by the next create().
//
// Integrity: digests and checksums of a part are taken from memory, as it arrives. The spool itself
// compares nothing: a spooled_body computes the CRC32 of what it reads back, so that a disk that
// returns other bytes than were written is found out before the part has been sent.
//
// Rejected: a file for each part (200 GiB of 128 MiB parts are 1,600 descriptors, above the usual
// limit of 1,024); punching holes into released regions (the next part needs the space); a smaller
// last region (every part but the last of a stream has the full size).
#pragma once

#include "engine/buffer_pool.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/semaphore.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "engine/unique_fd.hh"
#include "engine/wait_queue.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bts3::engine {

struct spool_options {
  spool_options() = default;
  std::string directory;           // must exist: a missing one is often a disk not mounted
  std::uint64_t budget_bytes = 0;  // on disk, in all; at least one part
  std::size_t part_bytes = 0;      // the size of every region, rounded up to whole blocks
  // False: as on a filesystem without O_TMPFILE, or without O_DIRECT.
  bool unnamed_file = true;
  bool direct = true;
};

class spool;

// What helps where the disk returns errors, or other bytes than were written.
[[nodiscard]] std::string spool_disk_remedy();

// The right to use one region; gives it back when destroyed. The spool must outlive it, and no
// operation on it may be under way by then.
class spool_lease {
 public:
  spool_lease() = default;
  spool_lease(spool_lease&& other) noexcept
      : _spool(std::exchange(other._spool, nullptr)), _index(other._index) {}
  spool_lease& operator=(spool_lease&& other) noexcept {
    if (this != &other) {
      release();
      _spool = std::exchange(other._spool, nullptr);
      _index = other._index;
    }
    return *this;
  }
  ~spool_lease() { release(); }

  [[nodiscard]] bool valid() const { return _spool != nullptr; }
  void release();

 private:
  friend spool;
  spool_lease(spool* owner, std::size_t index) : _spool(owner), _index(index) {}
  spool* _spool = nullptr;
  std::size_t _index = 0;
};

class spool {
 public:
  // Makes the file, and the last directory of its path where that is missing, and tries it out;
  // blocks for as long as the disk takes for one block. Refuses, with a remedy, a budget below one
  // part, a directory that cannot be made or is not writable, and a disk without room for one part.
  // References must outlive the spool.
  static result<std::unique_ptr<spool>> create(reactor& loop, spool_options options, log_sink& log);
  // Every lease must have come back.
  ~spool();
  spool(const spool&) = delete;
  spool& operator=(const spool&) = delete;

  // Suspends while no region is free. When the disk is fuller than the budget assumes, the spool
  // shrinks to what it has, says so once in the log and waits; only without a single region it
  // fails (ENOSPC).
  task<result<spool_lease>> acquire(stop_token stop = {});

  // Writes the first `length` bytes of `slot` to `offset` of the part, which is a multiple of
  // block_bytes(); so is `length`, but for a part's last piece. The slot's bytes behind `length` up
  // to the next whole block are overwritten with zeros and written too.
  task<result<void>> write(const spool_lease& part, buffer_pool& pool, const slot_lease& slot,
                           std::size_t length, std::uint64_t offset, stop_token stop = {});
  // Reads `length` bytes of the part from `offset` on to `slot_offset` of `slot`; both offsets are
  // multiples of block_bytes(), and up to the next whole block the slot is overwritten. Complete,
  // or an error.
  task<result<void>> read(const spool_lease& part, buffer_pool& pool, const slot_lease& slot,
                          std::size_t slot_offset, std::size_t length, std::uint64_t offset,
                          stop_token stop = {});

  // What reads and writes are aligned to: the device's block and the memory page, whichever is
  // larger; a power of two.
  [[nodiscard]] std::size_t block_bytes() const { return _block_bytes; }
  [[nodiscard]] std::size_t part_bytes() const { return _options.part_bytes; }
  // How many parts it holds: budget_bytes / part_bytes, or what the disk had room for.
  [[nodiscard]] std::size_t parts() const { return _parts; }
  [[nodiscard]] std::size_t free_parts() const { return _free.size(); }
  [[nodiscard]] bool direct() const { return _direct; }
  [[nodiscard]] int descriptor() const { return _file.get(); }
  [[nodiscard]] const std::string& directory() const { return _options.directory; }

 private:
  friend spool_lease;
  spool(reactor& loop, spool_options options, log_sink& log);
  result<void> open();
  result<void> open_file();
  result<void> check_free_space();
  result<void> learn_conduct();
  result<std::string> why_not_direct();
  task<result<void>> make_room(std::size_t index, stop_token stop);
  void forget_unallocated(const error& failure);
  void give_back(std::size_t index);
  [[nodiscard]] std::uint64_t region_bytes() const;
  [[nodiscard]] error trouble(error failure, const char* doing) const;

  reactor& _loop;
  spool_options _options;
  log_sink& _log;
  unique_fd _file;
  std::size_t _block_bytes = 0;
  bool _direct = true;
  std::size_t _parts = 0;
  std::vector<std::size_t> _free;  // the last one is used next
  std::vector<bool> _allocated;    // by region
  semaphore _turn;                 // whoever holds it is next to get a region
  wait_queue _freed;               // where that one waits
};

}  // namespace bts3::engine
