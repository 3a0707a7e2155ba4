#include "app/mount/file_reading.hh"

#include "btrfs/index/browsing.hh"
#include "btrfs/index/stream_ranges.hh"

#include <algorithm>
#include <cstring>
#include <functional>
#include <set>
#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::extent;
using btrfs::index::node;
using engine::result;
using engine::task;

// Among so many reads it is counted how many read at a time.
constexpr std::size_t reads_counted = 64;

// As command_of() finds nothing wrong with it.
result<void> add_piece(const extent& one, extent_list& pieces) {
  auto command = btrfs::index::command_of(one, btrfs::index::link_number(-1));
  if (!command) {
    return std::move(command.error());
  }
  pieces.push_back(piece_of(one));
  return engine::ok();
}

}  // namespace

file_reading::file_reading(engine::reactor& loop, tree_desk& desk, piece_cache& pieces,
                           btrfs::index::link_number at)
    : _loop(loop), _desk(desk), _pieces(pieces), _at(at), _scope(loop) {}

// All of those that read at a time share what may be begun ahead.
std::uint64_t file_reading::window_max(const open_file* reader) {
  _readers.push_back(reader);
  if (_readers.size() > reads_counted) {
    _readers.pop_front();
  }
  const std::set<const open_file*> different(_readers.begin(), _readers.end());
  return std::max(read_ahead::first_bytes, _pieces.limits().ahead_bytes_max / different.size());
}

task<result<file_reading::extents>> file_reading::window_of(node file, std::uint64_t number) {
  const std::pair name(file.id, number);
  const auto known = _windows.find(name);
  if (known != _windows.end()) {
    co_return known->second;
  }
  std::function<result<extent_list>(btrfs::index::catalogue&)> call =
      [&file, number, at = _at](btrfs::index::catalogue& in) {
        const std::uint64_t begin = number * window_bytes;
        return extents_within(in, file, at, begin, std::min(file.size, begin + window_bytes));
      };
  auto asking = _desk.answer(std::move(call));
  auto found = co_await std::move(asking);
  if (!found) {
    co_return std::move(found.error());
  }
  auto made = std::make_shared<const extent_list>(std::move(*found));
  if (_windows.emplace(name, made).second) {
    _oldest.push_back(name);
    _extents_kept += made->size();
  }
  while (_extents_kept > extents_max && _oldest.size() > 1) {
    const auto oldest = _windows.find(_oldest.front());
    _oldest.pop_front();
    _extents_kept -= oldest->second->size();
    _windows.erase(oldest);
  }
  co_return made;
}

task<result<extent_list>> file_reading::extents_of(node file, byte_range what) {
  extent_list found;
  for (std::uint64_t number = what.begin / window_bytes; number * window_bytes < what.end;
       ++number) {
    auto asking = window_of(file, number);
    auto window = co_await std::move(asking);
    if (!window) {
      co_return std::move(window.error());
    }
    for (const extent& one : **window) {
      // One that reaches over the window's end is in the next one, too.
      const bool there = !found.empty() && found.back().offset >= one.offset;
      if (!there && one.offset < what.end && one.offset + one.bytes > what.begin) {
        found.push_back(one);
      }
    }
  }
  co_return found;
}

task<result<void>> file_reading::fill(std::vector<std::byte>& room, extent_list all,
                                      byte_range what, engine::stop_token stop) {
  for (std::size_t next = 0; next < all.size();) {
    extent_list pieces;
    std::uint64_t bytes = 0;
    std::size_t end = next;
    for (; end < all.size() && bytes < pieces_bytes_max; ++end) {
      if (auto added = add_piece(all[end], pieces); !added) {
        co_return added;
      }
      bytes += all[end].unpacked_bytes;
    }
    auto getting = _pieces.get(std::move(pieces), stop);
    auto texts = co_await std::move(getting);
    if (!texts) {
      co_return std::move(texts.error());
    }
    for (std::size_t i = next; i < end; ++i) {
      const extent& one = all[i];
      const std::uint64_t from = std::max(one.offset, what.begin);
      const std::uint64_t to = std::min(one.offset + one.bytes, what.end);
      std::memcpy(room.data() + (from - what.begin),
                  (*texts)[i - next]->data() + one.skip + (from - one.offset), to - from);
    }
    next = end;
  }
  co_return engine::ok();
}

task<void> file_reading::begin(std::shared_ptr<open_file> file, byte_range what) {
  auto yielding = _loop.yield();  // what somebody waits for comes first
  co_await std::move(yielding);
  for (std::uint64_t at = what.begin; at < what.end; at += read_ahead::step_bytes) {
    const byte_range step{at, std::min(what.end, at + read_ahead::step_bytes)};
    auto asking = extents_of(file->at, step);
    auto found = co_await std::move(asking);
    if (!found) {
      co_return;  // whoever reads there is told
    }
    extent_list pieces;
    for (const extent& one : *found) {
      if (!add_piece(one, pieces)) {
        co_return;
      }
    }
    const std::size_t begun = _pieces.begin(pieces);
    if (begun < pieces.size()) {
      file->ahead.given_up(std::max(step.begin, (*found)[begun].offset));
      co_return;
    }
  }
}

task<result<std::vector<std::byte>>> file_reading::read(std::shared_ptr<open_file> file,
                                                        std::uint64_t offset, std::size_t size,
                                                        engine::stop_token stop) {
  std::vector<std::byte> room;
  if (offset >= file->at.size) {
    co_return room;
  }
  const byte_range what{offset, offset + std::min<std::uint64_t>(size, file->at.size - offset)};
  const std::uint64_t most = window_max(file.get());
  const byte_range ahead = file->ahead.read(what.begin, what.end - what.begin, file->at.size, most);
  auto asking = extents_of(file->at, what);
  auto extents = co_await std::move(asking);
  if (!extents) {
    co_return std::move(extents.error());
  }
  if (!ahead.empty()) {
    _scope.spawn(begin(file, ahead));
  }
  room.resize(what.end - what.begin);
  auto filling = fill(room, std::move(*extents), what, stop);
  auto filled = co_await std::move(filling);
  if (!filled) {
    co_return std::move(filled.error());
  }
  co_return room;
}

task<void> file_reading::close() {
  auto joining = _scope.join();
  co_await std::move(joining);
}

}  // namespace bts3::app
