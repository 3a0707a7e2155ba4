// Content that was fetched, verified and unpacked, for all readers of all files: a piece is what
// one command of a stream holds, whichever extents of whichever files take something of it.
//
// A piece is fetched once for all who want it at a time. What nobody waits for may be begun ahead,
// as far as there is room. The longest unused goes first. A piece that cannot be had is an error
// for those who waited, and is fetched again for who comes later; one that is damaged, which was
// fetched several times already, after a minute.
//
// Memory: pieces take bytes_max at most, those under way included, but for what reads hold that
// are being answered: at most reads_max at a time, each of which takes 2 MiB of pieces at once
// (see file_reading), and for the requests below, of at most 8 MiB each: as many, and fetches
// ahead.
#pragma once

#include "app/download/extent_reader.hh"
#include "engine/async_scope.hh"
#include "engine/clock.hh"
#include "engine/event.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/semaphore.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace bts3::app {

// Where pieces come from.
class piece_source {
 public:
  piece_source() = default;
  piece_source(const piece_source&) = delete;
  piece_source& operator=(const piece_source&) = delete;
  virtual ~piece_source() = default;
  // As extent_reader::read().
  virtual engine::task<engine::result<extent_outcomes>> fetch(extent_list pieces,
                                                              extent_reader::taker take) = 0;
};

// All of what the command of `one` holds; command_of() has found nothing wrong with it.
[[nodiscard]] btrfs::index::extent piece_of(const btrfs::index::extent& one);

struct piece_limits {
  std::uint64_t bytes_max = std::uint64_t{64} << 20;
  // Of what is under way and nobody waits for: the rest is for what was read and is still wanted.
  std::uint64_t ahead_bytes_max = std::uint64_t{32} << 20;
  std::size_t reads_max = 16;
  std::size_t fetches_ahead = 4;
};

class piece_cache {
 public:
  static constexpr std::chrono::seconds damaged_for{60};
  static constexpr std::size_t damaged_max = 1000;  // pieces of which that is remembered
  using text = std::shared_ptr<const std::vector<std::byte>>;

  // References must outlive it.
  piece_cache(engine::reactor& loop, const engine::clock& clock, piece_source& from,
              piece_limits limits);

  // All of these, or the first error. `cancelled` when stopped; what was begun goes on.
  engine::task<engine::result<std::vector<text>>> get(extent_list pieces, engine::stop_token stop);
  // Begins one fetch of those that are neither here nor under way, from the first on; the number
  // of those for which there was room, or which are here.
  std::size_t begin(extent_list pieces);
  // Waits for everything that was begun; nothing may be asked any more.
  engine::task<void> close();

  [[nodiscard]] const piece_limits& limits() const { return _limits; }
  [[nodiscard]] std::uint64_t bytes() const { return _bytes; }

 private:
  struct key {
    std::uint32_t link = 0;
    std::uint64_t command = 0;
    std::uint64_t data = 0;
    std::uint64_t data_bytes = 0;
    btrfs::index::encoding packed = btrfs::index::encoding::none;
    std::uint64_t unpacked_bytes = 0;
    auto operator<=>(const key&) const = default;
  };
  struct piece {
    explicit piece(engine::reactor& loop) : done(loop, "content of a file") {}
    key name;
    std::uint64_t bytes = 0;
    bool ahead = false;  // and under way
    text content;
    std::optional<engine::error> failure;
    engine::event done;
    std::list<std::shared_ptr<piece>>::iterator at;  // once its content is there
  };
  using pieces_list = std::vector<std::shared_ptr<piece>>;

  static key key_of(const btrfs::index::extent& one);
  std::shared_ptr<piece> add(const btrfs::index::extent& one, bool ahead);
  void settle(const std::shared_ptr<piece>& one, text content);
  void fail(const std::shared_ptr<piece>& one, engine::error failure);
  void touch(const std::shared_ptr<piece>& one);
  // Why it was found damaged; null: it was not, or that is long ago.
  const engine::error* damage_of(const key& one);
  void make_room();
  engine::task<void> fetch(extent_list wanted, pieces_list pieces, bool ahead);

  struct damage {
    engine::error failure;
    std::chrono::system_clock::time_point found;
  };

  engine::reactor& _loop;
  const engine::clock& _clock;
  piece_source& _from;
  piece_limits _limits;
  engine::semaphore _reads;
  engine::semaphore _fetches_ahead;
  engine::async_scope _scope;
  std::map<key, std::shared_ptr<piece>> _pieces;
  std::list<std::shared_ptr<piece>> _used;  // whose content is there, the last used first
  std::map<key, damage> _damaged;
  std::uint64_t _bytes = 0;
  std::uint64_t _ahead_bytes = 0;
};

}  // namespace bts3::app
