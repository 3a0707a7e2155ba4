// The program's memory for payload: a fixed number of slots, each of one part's size.
//
// A slot is mapped and advised to huge pages when it is first leased, and registered with io_uring
// piece by piece as it is first used: registering makes memory resident, and five slots of 128 MiB
// up front take 33 to 1,500 ms, which a run with little to send should not pay (a run that sends 1
// MiB took 390 ms with slots registered whole). Where the kernel refuses to register more (a user
// with 8 MiB of RLIMIT_MEMLOCK), the rest works unregistered and one log line says so.
//
// No free slot is the program's only form of back pressure. Waiters are served first come, first
// served. There is no other allocation of this size anywhere.
#pragma once

#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "engine/wait_queue.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace bts3::engine {

class buffer_pool;

// The right to use one slot; gives it back when destroyed. The pool must outlive it, and no ring
// operation or transfer may still use the memory by then.
class slot_lease {
 public:
  slot_lease() = default;
  slot_lease(slot_lease&& other) noexcept
      : _pool(std::exchange(other._pool, nullptr)), _index(other._index) {}
  slot_lease& operator=(slot_lease&& other) noexcept {
    if (this != &other) {
      release();
      _pool = std::exchange(other._pool, nullptr);
      _index = other._index;
    }
    return *this;
  }
  ~slot_lease() { release(); }

  [[nodiscard]] bool valid() const { return _pool != nullptr; }
  // The whole slot.
  [[nodiscard]] std::span<std::byte> bytes() const;
  void release();

 private:
  friend buffer_pool;
  slot_lease(buffer_pool* pool, std::size_t index) : _pool(pool), _index(index) {}
  buffer_pool* _pool = nullptr;
  std::size_t _index = 0;
};

class buffer_pool {
 public:
  // `slot_bytes` is rounded up to whole pages. Nothing is allocated yet.
  buffer_pool(reactor& loop, std::size_t slot_bytes, std::size_t slots, log_sink& log);
  // Every lease must have come back.
  ~buffer_pool();
  buffer_pool(const buffer_pool&) = delete;
  buffer_pool& operator=(const buffer_pool&) = delete;

  // Suspends while no slot is free. Fails when the memory cannot be had.
  task<result<slot_lease>> acquire(stop_token stop = {});

  // Reads once into `lease`'s bytes from `offset` on, at most `length` and not beyond the piece
  // that `offset` is in, with READ_FIXED where that is registered. 0 at the end of file.
  task<result<std::size_t>> read_into(const slot_lease& lease, std::size_t offset,
                                      std::size_t length, int fd, stop_token stop = {});

  // The same from `file_offset` of a file, and the other way: short reads and writes are possible,
  // never ones that are cut within a page by a piece's end.
  task<result<std::size_t>> read_at(const slot_lease& lease, std::size_t offset, std::size_t length,
                                    int fd, std::uint64_t file_offset, stop_token stop = {});
  task<result<std::size_t>> write_at(const slot_lease& lease, std::size_t offset,
                                     std::size_t length, int fd, std::uint64_t file_offset,
                                     stop_token stop = {});

  [[nodiscard]] std::size_t slot_bytes() const { return _slot_bytes; }
  [[nodiscard]] reactor& loop() const { return _loop; }
  [[nodiscard]] std::size_t slots() const { return _slots.size(); }
  [[nodiscard]] std::size_t free_slots() const { return _free.size(); }

 private:
  friend slot_lease;
  struct slot {
    std::span<std::byte> memory;
    std::vector<bool> registered;  // by piece
  };
  // Where `length` bytes at `offset` of a slot are: cut to what one registered buffer holds.
  struct place {
    std::span<std::byte> memory;
    unsigned buffer_index = 0;
    bool registered = false;
  };
  [[nodiscard]] place place_of(const slot_lease& lease, std::size_t offset, std::size_t length);
  result<void> prepare(std::size_t index);
  // Whether that piece is registered, which it becomes when it can.
  bool register_piece(std::size_t index, std::size_t piece);
  void give_back(std::size_t index);
  [[nodiscard]] std::size_t pieces_per_slot() const {
    return (_slot_bytes + _piece_bytes - 1) / _piece_bytes;
  }

  reactor& _loop;
  log_sink& _log;
  std::size_t _slot_bytes;
  std::size_t _piece_bytes;
  std::vector<slot> _slots;
  std::vector<std::size_t> _free;  // the last one is used next: it is mapped and warm
  std::size_t _promised = 0;       // free slots that woken waiters will take
  wait_queue _waiting;
  bool _table_made = false;
  bool _register = true;
};

}  // namespace bts3::engine
