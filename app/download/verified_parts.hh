// Whole parts of chunks, each compared with the SHA-256 states that its manifest records, for who
// wants bytes of them that are the ones which were uploaded, whatever lies there now.
//
// A part is fetched in ranges, several at a time, and serves all who want of it while it is kept.
// One that is damaged is fetched again, twice, on new connections; what it is then is remembered,
// so that everybody else who wants of it is told at once.
//
// Memory: `slots` parts. Used on the reactor's thread.
#pragma once

#include "app/store/services.hh"
#include "engine/event.hh"
#include "engine/result.hh"
#include "engine/semaphore.hh"
#include "engine/task.hh"
#include "planner/manifest.hh"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <utility>

namespace bts3::app {

class verified_parts {
 public:
  // Where a chunk's bytes come from. Reads all of `into`.
  using source = std::function<engine::task<engine::result<void>>(
      std::uint64_t offset, std::span<std::byte> into, bool fresh_connection)>;

  // `slots`: at least two. `with` must outlive it.
  verified_parts(const services& with, std::size_t slots);

  // Bytes of a chunk, which is known by `name` and has part states. Reason integrity where a part
  // of it that holds any of them is another than recorded. References must outlive the task.
  engine::task<engine::result<void>> read(std::uint64_t name, const planner::chunk_record& chunk,
                                          source from, std::uint64_t offset,
                                          std::span<std::byte> into);

 private:
  struct kept_part {
    explicit kept_part(engine::reactor& loop) : ready(loop, "a part that is verified") {}
    std::unique_ptr<std::byte[]> memory;
    std::uint64_t bytes = 0;
    engine::event ready;
    engine::result<void> outcome = engine::ok();
    std::size_t users = 0;
    std::uint64_t used = 0;  // when, as _clock counts
  };
  using part_name = std::pair<std::uint64_t, std::uint32_t>;  // of the chunk, and the part from 1

  engine::task<engine::result<void>> read_part(std::uint64_t name,
                                               const planner::chunk_record& chunk, source& from,
                                               std::uint32_t part, std::uint64_t skip,
                                               std::span<std::byte> into);
  engine::task<engine::result<void>> load(kept_part& into, const planner::chunk_record& chunk,
                                          source& from, std::uint32_t part);
  engine::task<engine::result<void>> fetch(kept_part& into, source& from, std::uint64_t begin,
                                           bool fresh_connection);
  engine::task<engine::result<void>> fetch_piece(source& from, std::uint64_t offset,
                                                 std::span<std::byte> into, bool fresh_connection);
  void make_room();

  const services& _with;
  std::size_t _slots;
  engine::semaphore _turns;     // each uses one part
  engine::semaphore _requests;  // under way
  std::map<part_name, std::shared_ptr<kept_part>> _kept;
  std::uint64_t _clock = 0;
};

}  // namespace bts3::app
