#include "engine/buffer_pool.hh"

#include "engine/assert.hh"
#include "engine/wording.hh"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>

namespace bts3::engine {

namespace {

// READ_FIXED takes a 16-bit index, and the kernel's table holds at most 16,384.
constexpr std::size_t registered_buffers_max = 16'384;

// The kernel's limit for one registered buffer (io_uring_register(2)).
constexpr std::size_t registered_bytes_max = std::size_t{1} << 30;

// What is registered, and so made resident, at a time: several fills of a pipe (1 MiB), so that
// hardly a read is cut short, and little beside a part.
constexpr std::size_t piece_bytes_min = std::size_t{4} << 20;

// x86-64's and arm64's, with pages of 4 KiB.
constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

std::size_t whole_pages(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

// So large that all pieces of all slots fit into the kernel's table; they may not if slots of many
// GiB are many, and then nothing is registered.
std::size_t piece_bytes_for(std::size_t slot_bytes, std::size_t slots) {
  std::size_t piece = piece_bytes_min;
  while (piece < registered_bytes_max &&
         (slot_bytes + piece - 1) / piece * slots > registered_buffers_max) {
    piece *= 2;
  }
  return piece;
}

// Anonymous memory, on a huge page's boundary when it holds one. MAP_FAILED as mmap(2).
void* map_aligned(std::size_t bytes) {
  constexpr int access = PROT_READ | PROT_WRITE;
  constexpr int kind = MAP_PRIVATE | MAP_ANONYMOUS;
  if (bytes < huge_page_bytes) {
    return ::mmap(nullptr, bytes, access, kind, -1, 0);
  }
  void* const all = ::mmap(nullptr, bytes + huge_page_bytes, access, kind, -1, 0);
  if (all == MAP_FAILED) {
    return all;
  }
  const std::size_t past = reinterpret_cast<std::uintptr_t>(all) % huge_page_bytes;
  const std::size_t before = past == 0 ? 0 : huge_page_bytes - past;
  auto* const start = static_cast<std::byte*>(all) + before;
  if (before > 0) {
    ::munmap(all, before);
  }
  ::munmap(start + bytes, huge_page_bytes - before);
  return start;
}

}  // namespace

std::span<std::byte> slot_lease::bytes() const {
  BTS3_ASSERT(_pool != nullptr);
  return _pool->_slots[_index].memory;
}

void slot_lease::release() {
  if (buffer_pool* pool = std::exchange(_pool, nullptr)) {
    pool->give_back(_index);
  }
}

buffer_pool::buffer_pool(reactor& loop, std::size_t slot_bytes, std::size_t slots, log_sink& log)
    : _loop(loop),
      _log(log),
      _slot_bytes(whole_pages(slot_bytes)),
      _piece_bytes(piece_bytes_for(_slot_bytes, slots)),
      _slots(slots),
      _waiting(loop, "a slot of memory") {
  BTS3_ASSERT(slot_bytes > 0 && slots > 0);
  for (std::size_t index = slots; index > 0; --index) {
    _free.push_back(index - 1);
  }
}

buffer_pool::~buffer_pool() {
  BTS3_ASSERT(_free.size() == _slots.size());
  if (_table_made) {
    _loop.unregister_buffers();
  }
  for (const slot& one : _slots) {
    if (!one.memory.empty()) {
      ::munmap(one.memory.data(), one.memory.size());
    }
  }
}

result<void> buffer_pool::prepare(std::size_t index) {
  slot& one = _slots[index];
  if (!one.memory.empty()) {
    return ok();
  }
  void* memory = map_aligned(_slot_bytes);
  if (memory == MAP_FAILED) {
    return system_error(errno, "allocating a slot of " + std::to_string(_slot_bytes) + " bytes",
                        "lower " + wording(setting::part_size) + " or " + setting::concurrency);
  }
  // Advice only: without huge pages everything works, with more page faults. A forked child must
  // not inherit pinned pages, as the kernel would copy them.
  (void)::madvise(memory, _slot_bytes, MADV_HUGEPAGE);
  (void)::madvise(memory, _slot_bytes, MADV_DONTFORK);
  one.memory = std::span(static_cast<std::byte*>(memory), _slot_bytes);

  one.registered.assign(pieces_per_slot(), false);
  return ok();
}

bool buffer_pool::register_piece(std::size_t index, std::size_t piece) {
  slot& one = _slots[index];
  if (one.registered[piece] || !_register) {
    return one.registered[piece];
  }
  const auto give_up = [this](std::string why) {
    _register = false;
    _log.write(log_level::info, "engine", "buffers_unregistered", {{"reason", std::move(why)}});
    return false;
  };
  if (!_table_made) {
    const std::size_t buffers = _slots.size() * pieces_per_slot();
    _table_made =
        buffers <= registered_buffers_max && _loop.reserve_buffers(static_cast<unsigned>(buffers));
    if (!_table_made) {
      return give_up("the kernel offers no sparse buffer table");
    }
  }
  const std::size_t start = piece * _piece_bytes;
  const std::size_t length = std::min(_piece_bytes, _slot_bytes - start);
  auto registered = _loop.register_buffer(static_cast<unsigned>(index * pieces_per_slot() + piece),
                                          one.memory.subspan(start, length));
  if (!registered) {
    return give_up(registered.error().message);
  }
  one.registered[piece] = true;
  return true;
}

task<result<slot_lease>> buffer_pool::acquire(stop_token stop) {
  if (stop.stop_requested()) {
    co_return cancelled_error();
  }
  // A slot that comes back is promised to the first waiter, and leaves the free list when that
  // waiter runs; newcomers may not take it in between.
  if (_free.size() <= _promised || !_waiting.empty()) {
    auto waiting = _waiting.wait(stop);
    const bool woken = co_await std::move(waiting);
    if (!woken) {
      co_return cancelled_error();
    }
    --_promised;
  }
  BTS3_ASSERT(!_free.empty());
  const std::size_t index = _free.back();
  _free.pop_back();
  slot_lease lease(this, index);
  auto prepared = prepare(index);
  if (!prepared) {
    co_return std::move(prepared.error());
  }
  co_return std::move(lease);
}

void buffer_pool::give_back(std::size_t index) {
  _free.push_back(index);
  if (_waiting.wake_one()) {
    ++_promised;
  }
}

buffer_pool::place buffer_pool::place_of(const slot_lease& lease, std::size_t offset,
                                         std::size_t length) {
  BTS3_ASSERT(lease._pool == this && offset + length <= _slot_bytes && length > 0);
  const std::size_t piece = offset / _piece_bytes;
  place found;
  found.registered = register_piece(lease._index, piece);
  if (found.registered) {
    length = std::min(length, (piece + 1) * _piece_bytes - offset);
    found.buffer_index = static_cast<unsigned>(lease._index * pieces_per_slot() + piece);
  }
  found.memory = _slots[lease._index].memory.subspan(offset, length);
  return found;
}

task<result<std::size_t>> buffer_pool::read_into(const slot_lease& lease, std::size_t offset,
                                                 std::size_t length, int fd, stop_token stop) {
  const place where = place_of(lease, offset, length);
  auto reading = where.registered ? _loop.read_fixed(fd, where.memory, where.buffer_index, stop)
                                  : _loop.read(fd, where.memory, stop);
  co_return co_await std::move(reading);
}

task<result<std::size_t>> buffer_pool::read_at(const slot_lease& lease, std::size_t offset,
                                               std::size_t length, int fd,
                                               std::uint64_t file_offset, stop_token stop) {
  const place where = place_of(lease, offset, length);
  auto reading = where.registered
                     ? _loop.read_fixed_at(fd, where.memory, where.buffer_index, file_offset, stop)
                     : _loop.read_at(fd, where.memory, file_offset, stop);
  co_return co_await std::move(reading);
}

task<result<std::size_t>> buffer_pool::write_at(const slot_lease& lease, std::size_t offset,
                                                std::size_t length, int fd,
                                                std::uint64_t file_offset, stop_token stop) {
  const place where = place_of(lease, offset, length);
  auto writing = where.registered
                     ? _loop.write_fixed_at(fd, where.memory, where.buffer_index, file_offset, stop)
                     : _loop.write_at(fd, where.memory, file_offset, stop);
  co_return co_await std::move(writing);
}

}  // namespace bts3::engine
