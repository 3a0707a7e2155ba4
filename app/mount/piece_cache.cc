#include "app/mount/piece_cache.hh"

#include "engine/assert.hh"

#include <algorithm>
#include <utility>

namespace bts3::app {

using btrfs::index::extent;
using engine::error;
using engine::result;
using engine::task;

extent piece_of(const extent& one) {
  extent all = one;
  all.offset = 0;
  all.skip = 0;
  all.bytes = one.unpacked_bytes;
  return all;
}

piece_cache::piece_cache(engine::reactor& loop, const engine::clock& clock, piece_source& from,
                         piece_limits limits)
    : _loop(loop),
      _clock(clock),
      _from(from),
      _limits(limits),
      _reads(loop, limits.reads_max, "a turn to read"),
      _fetches_ahead(loop, limits.fetches_ahead, "a turn to read ahead"),
      _scope(loop) {}

piece_cache::key piece_cache::key_of(const extent& one) {
  return {one.link, one.command, one.data, one.data_bytes, one.packed, one.unpacked_bytes};
}

std::shared_ptr<piece_cache::piece> piece_cache::add(const extent& one, bool ahead) {
  auto made = std::make_shared<piece>(_loop);
  made->name = key_of(one);
  made->bytes = one.unpacked_bytes;
  made->ahead = ahead;
  _bytes += made->bytes;
  _ahead_bytes += ahead ? made->bytes : 0;
  _pieces.emplace(made->name, made);
  return made;
}

void piece_cache::settle(const std::shared_ptr<piece>& one, text content) {
  if (one->done.is_set()) {
    return;
  }
  one->content = std::move(content);
  _ahead_bytes -= one->ahead ? one->bytes : 0;
  one->ahead = false;
  _used.push_front(one);
  one->at = _used.begin();
  one->done.set();
  make_room();
}

void piece_cache::fail(const std::shared_ptr<piece>& one, error failure) {
  if (one->done.is_set()) {
    return;
  }
  if (failure.why == engine::reason::integrity) {
    if (_damaged.size() >= damaged_max) {
      _damaged.clear();
    }
    _damaged.insert_or_assign(one->name, damage{failure, _clock.now()});
  }
  one->failure = std::move(failure);
  _ahead_bytes -= one->ahead ? one->bytes : 0;
  _bytes -= one->bytes;
  _pieces.erase(one->name);
  one->done.set();
}

void piece_cache::touch(const std::shared_ptr<piece>& one) {
  if (one->content && one->at != _used.begin()) {
    _used.splice(_used.begin(), _used, one->at);
  }
}

const error* piece_cache::damage_of(const key& one) {
  const auto known = _damaged.find(one);
  if (known != _damaged.end() && _clock.now() - known->second.found >= damaged_for) {
    _damaged.erase(known);
    return nullptr;
  }
  return known == _damaged.end() ? nullptr : &known->second.failure;
}

void piece_cache::make_room() {
  while (_bytes > _limits.bytes_max && !_used.empty()) {
    const std::shared_ptr<piece> oldest = _used.back();
    _used.pop_back();
    _pieces.erase(oldest->name);
    _bytes -= oldest->bytes;
  }
}

task<void> piece_cache::fetch(extent_list wanted, pieces_list pieces, bool ahead) {
  engine::permit turn;
  if (ahead) {
    auto waiting = _fetches_ahead.acquire();
    auto got = co_await std::move(waiting);
    BTS3_ASSERT(got.has_value());
    turn = std::move(*got);
  }
  extent_reader::taker take = [this, &pieces](std::size_t index, std::span<const std::byte> bytes) {
    auto content = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
    _loop.post([this, one = pieces[index], content = std::move(content)] { settle(one, content); });
    return engine::ok();
  };
  auto fetching = _from.fetch(std::move(wanted), std::move(take));
  auto outcomes = co_await std::move(fetching);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (!outcomes) {
      fail(pieces[i], outcomes.error());
    } else if ((*outcomes)[i]) {
      fail(pieces[i], std::move(*(*outcomes)[i]));
    }
  }
}

task<result<std::vector<piece_cache::text>>> piece_cache::get(extent_list wanted,
                                                              engine::stop_token stop) {
  auto waiting = _reads.acquire(stop);
  const auto turn = co_await std::move(waiting);
  if (!turn) {
    co_return turn.error();
  }
  for (const extent& one : wanted) {
    if (const error* const damaged = damage_of(key_of(one))) {
      co_return *damaged;
    }
  }
  pieces_list all;
  extent_list missing;
  pieces_list added;
  for (const extent& one : wanted) {
    const auto known = _pieces.find(key_of(one));
    if (known != _pieces.end()) {
      touch(known->second);
      all.push_back(known->second);
      continue;
    }
    all.push_back(add(one, false));
    missing.push_back(one);
    added.push_back(all.back());
  }
  if (!missing.empty()) {
    make_room();
    _scope.spawn(fetch(std::move(missing), std::move(added), false));
  }
  std::vector<text> texts;
  for (const std::shared_ptr<piece>& one : all) {
    auto coming = one->done.wait(stop);
    auto came = co_await std::move(coming);
    if (!came) {
      co_return std::move(came.error());
    }
    if (one->failure) {
      co_return *one->failure;
    }
    texts.push_back(one->content);
  }
  co_return texts;
}

std::size_t piece_cache::begin(extent_list pieces) {
  extent_list missing;
  pieces_list added;
  std::size_t count = 0;
  for (const extent& one : pieces) {
    if (!_pieces.contains(key_of(one)) && damage_of(key_of(one)) == nullptr) {
      if (_ahead_bytes + one.unpacked_bytes > _limits.ahead_bytes_max) {
        break;
      }
      added.push_back(add(one, true));
      missing.push_back(one);
    }
    ++count;
  }
  if (!missing.empty()) {
    make_room();
    _scope.spawn(fetch(std::move(missing), std::move(added), true));
  }
  return count;
}

task<void> piece_cache::close() {
  auto joining = _scope.join();
  co_await std::move(joining);
}

}  // namespace bts3::app
