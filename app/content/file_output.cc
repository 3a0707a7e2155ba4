#include "app/content/file_output.hh"

#include "engine/assert.hh"
#include "engine/offload.hh"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using btrfs::index::extent;
using engine::result;
using engine::task;

// As much as four requests of 8 MiB read at a time.
constexpr std::uint64_t window_bytes = std::uint64_t{32} << 20;
constexpr std::uint64_t zeros_bytes = std::uint64_t{1} << 20;

// One after the other, on a thread of its own: standard output may be a pipe that nobody empties.
task<result<bool>> put_beside(const services& with, byte_output put,
                              std::span<const std::byte> bytes) {
  std::function<result<bool>()> call = [&put, bytes]() -> result<bool> { return put(bytes); };
  auto putting = engine::offload(with.loop, std::move(call));
  co_return co_await std::move(putting);
}

task<result<bool>> put_zeros(const services& with, byte_output put, std::uint64_t count) {
  const std::vector<std::byte> zeros(std::min(count, zeros_bytes));
  while (count > 0) {
    if (with.stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    const std::uint64_t some = std::min(count, zeros_bytes);
    auto putting = put_beside(with, put, std::span(zeros).first(some));
    auto taken = co_await std::move(putting);
    if (!taken || !*taken) {
      co_return taken;
    }
    count -= some;
  }
  co_return true;
}

}  // namespace

task<result<void>> put_file(const services& with, extent_reader& reader, extent_list extents,
                            std::uint64_t size, byte_output put) {
  std::uint64_t at = 0;
  std::vector<std::byte> room;
  for (std::size_t next = 0; at < size;) {
    const std::uint64_t hole_end = next < extents.size() ? extents[next].offset : size;
    BTS3_ASSERT(hole_end >= at && hole_end <= size);
    if (hole_end > at) {
      auto skipping = put_zeros(with, put, hole_end - at);
      auto skipped = co_await std::move(skipping);
      if (!skipped) {
        co_return std::move(skipped.error());
      }
      if (!*skipped) {
        co_return engine::ok();
      }
      at = hole_end;
      continue;
    }
    extent_list some;
    std::uint64_t end = at;
    while (next < extents.size() && extents[next].offset - end <= zeros_bytes &&
           (some.empty() || extents[next].offset + extents[next].bytes - at <= window_bytes)) {
      end = extents[next].offset + extents[next].bytes;
      some.push_back(extents[next++]);
    }
    room.assign(end - at, std::byte{0});
    auto take = [&room, &some, at](std::size_t index, std::span<const std::byte> bytes) {
      BTS3_ASSERT(bytes.size() == some[index].bytes);
      std::memcpy(room.data() + (some[index].offset - at), bytes.data(), bytes.size());
      return engine::ok();
    };
    auto reading = reader.read(some, std::move(take));
    auto outcomes = co_await std::move(reading);
    if (!outcomes) {
      co_return std::move(outcomes.error());
    }
    for (std::optional<engine::error>& one : *outcomes) {
      if (one) {
        co_return std::move(*one);
      }
    }
    auto putting = put_beside(with, put, room);
    auto taken = co_await std::move(putting);
    if (!taken) {
      co_return std::move(taken.error());
    }
    if (!*taken) {
      co_return engine::ok();
    }
    at = end;
  }
  co_return engine::ok();
}

}  // namespace bts3::app
