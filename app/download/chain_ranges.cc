#include "app/download/chain_ranges.hh"

#include "app/download/part_memory.hh"
#include "app/survey/chosen_backup.hh"
#include "engine/age/sealed_part.hh"
#include "engine/assert.hh"
#include "engine/for_each_at_most.hh"

#include <algorithm>
#include <cstring>
#include <functional>
#include <set>
#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::link_number;
using btrfs::index::stream_range;
using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// HEADs under way: enough for a chain of chunks to be found in a second or two.
constexpr std::size_t heads_at_once = 8;
// A copy that expires more often than this during one GET is given up, as for a part.
constexpr int thaws_max = 3;
// 2 MiB of beginnings of parts.
constexpr std::size_t heads_kept = 4096;

error damaged(std::string message) {
  error failure;
  failure.why = reason::integrity;
  failure.message = std::move(message);
  return failure;
}

error vanished(const std::string& key) {
  error failure = damaged("chunk " + key + " was there and has been deleted since");
  failure.remedy =
      "something removes this backup while it is read, as `prune` or a rule of the "
      "bucket does";
  return failure;
}

// What is fetched of an object, and where it goes.
struct errand {
  std::size_t chunk = 0;
  std::uint64_t offset = 0;
  std::span<std::byte> into;
};

}  // namespace

chain_ranges::chain_ranges(const services& with, s3::object_store& store,
                           std::vector<readable_link> links)
    : _with(with), _store(store) {
  for (readable_link& one : links) {
    auto places = planner::stream_places::of(one.link->value);
    _links.push_back({std::move(one), std::move(places), {}});
  }
}

result<std::vector<planner::stored_range>> chain_ranges::places(const stream_range& range) const {
  BTS3_ASSERT(range.link >= 1 && range.link <= _links.size() && range.begin <= range.end);
  const link_state& link = _links[range.link - 1];
  const auto problem = [&](const planner::document_error& what) {
    return damaged("manifest " + link.from.link->key + ": " + what.text());
  };
  if (!link.places) {
    return problem(link.places.error());
  }
  auto found = link.places->find(range.begin, range.bytes());
  if (!found) {
    return problem(found.error());
  }
  return std::move(*found);
}

task<result<void>> chain_ranges::locate(std::vector<stream_range> wanted, bool forgive) {
  std::set<std::pair<link_number, std::size_t>> chunks;
  for (const stream_range& one : wanted) {
    auto pieces = places(one);
    if (!pieces && !forgive) {
      co_return std::move(pieces.error());
    }
    for (std::size_t i = 0; pieces && i < pieces->size(); ++i) {
      const std::size_t chunk = (*pieces)[i].chunk;
      if (!_links[one.link - 1].chunks.contains(chunk)) {
        chunks.emplace(one.link, chunk);
      }
    }
  }
  const std::vector<std::pair<link_number, std::size_t>> ask(chunks.begin(), chunks.end());
  auto make = [this, &ask, forgive](std::size_t i) {
    return locate_chunk(ask[i].first, ask[i].second, forgive);
  };
  auto locating =
      engine::for_each_at_most(_with.loop, heads_at_once, ask.size(), std::move(make), _with.stop);
  co_return co_await std::move(locating);
}

task<result<void>> chain_ranges::locate_chunk(link_number link, std::size_t chunk, bool forgive) {
  link_state& of = _links[link - 1];
  chain_link one;
  one.key = of.from.link->key;
  one.value.chunks.push_back(of.from.link->value.chunks[chunk]);
  one.value.chunks.front().drop_parts();
  if (_whole_parts && !of.from.link->value.chunks[chunk].has_parts()) {
    co_return engine::configuration_error(
        "manifest " + one.key + " records no states of parts, by which they could be verified",
        "extract without --verify-parts: each command's checksum is compared all the same");
  }
  auto locating = locate_chunks(_with, _store, one);
  auto found = co_await std::move(locating);
  chunk_state state;
  if (found) {
    state.found = std::move(found->front());
    state.object =
        std::make_unique<s3::ranged_download>(_store, state.found->key, state.found->info);
  } else if (forgive && found.error().why == reason::integrity) {
    state.lost = std::move(found.error());
  } else {
    co_return std::move(found.error());
  }
  of.chunks.insert_or_assign(chunk, std::move(state));
  co_return engine::ok();
}

std::vector<located_chunk> chain_ranges::located() const {
  std::vector<located_chunk> all;
  for (const link_state& link : _links) {
    for (const auto& [index, chunk] : link.chunks) {
      if (chunk.found) {
        all.push_back(*chunk.found);
      }
    }
  }
  return all;
}

std::vector<const located_chunk*> chain_ranges::chunks_of(const stream_range& range) const {
  std::vector<const located_chunk*> found;
  const auto pieces = places(range);
  for (std::size_t i = 0; pieces && i < pieces->size(); ++i) {
    const auto& chunks = _links[range.link - 1].chunks;
    const auto at = chunks.find((*pieces)[i].chunk);
    if (at != chunks.end() && at->second.found) {
      found.push_back(&*at->second.found);
    }
  }
  return found;
}

std::vector<chunk_use> chain_ranges::uses_of(const std::vector<stream_range>& wanted) const {
  const btrfs::index::merging how;
  std::map<std::pair<link_number, std::size_t>, chunk_use> uses;
  std::map<std::pair<link_number, std::size_t>, std::set<std::uint64_t>> parts;
  for (const auto& one : btrfs::index::merged(wanted, how)) {
    auto pieces = places(one.all);
    for (std::size_t i = 0; pieces && i < pieces->size(); ++i) {
      const planner::stored_range& piece = (*pieces)[i];
      const auto& chunks = _links[one.all.link - 1].chunks;
      const auto at = chunks.find(piece.chunk);
      if (at == chunks.end() || !at->second.found) {
        continue;
      }
      chunk_use& use = uses[{one.all.link, piece.chunk}];
      if (use.requests == 0) {
        use.storage_class = at->second.found->storage_class();
        use.requests = 1;
      }
      if (_whole_parts) {
        add_part_uses(_links[one.all.link - 1].from.link->value.chunks[piece.chunk], piece,
                      how.bytes_max, parts[{one.all.link, piece.chunk}], use);
        continue;
      }
      use.bytes += piece.bytes;
      use.requests += (piece.bytes + how.bytes_max - 1) / how.bytes_max;
      if (piece.part != 0) {
        use.bytes += age::part_segments_at;
        ++use.requests;
      }
    }
  }
  std::vector<chunk_use> all;
  for (auto& [name, use] : uses) {
    all.push_back(std::move(use));
  }
  return all;
}

// Each part of a chunk is read once.
void chain_ranges::add_part_uses(const planner::chunk_record& chunk,
                                 const planner::stored_range& piece, std::uint64_t request_bytes,
                                 std::set<std::uint64_t>& counted, chunk_use& use) const {
  const std::uint64_t size = *chunk.part_size;
  for (std::uint64_t part = piece.offset / size; part * size < piece.offset + piece.bytes; ++part) {
    if (counted.insert(part).second) {
      const std::uint64_t bytes = std::min(size, chunk.size - part * size);
      use.bytes += bytes;
      use.requests += (bytes + request_bytes - 1) / request_bytes;
    }
  }
}

// Memory for the largest that is wanted.
result<void> chain_ranges::prepare_parts() {
  if (!_parts) {
    auto slots = slots_for(_with.settings, slot_bytes_for(_with.settings, located()));
    if (!slots) {
      return std::move(slots.error());
    }
    _parts.emplace(_with, *slots);
  }
  return engine::ok();
}

task<result<void>> chain_ranges::get(link_number link, std::size_t chunk, std::uint64_t offset,
                                     std::span<std::byte> into, bool fresh_connection) {
  if (!_whole_parts) {
    auto getting = get_stored(link, chunk, offset, into, fresh_connection);
    co_return co_await std::move(getting);
  }
  if (auto prepared = prepare_parts(); !prepared) {
    co_return prepared;
  }
  const planner::chunk_record& record = _links[link - 1].from.link->value.chunks[chunk];
  verified_parts::source from = [this, link, chunk](std::uint64_t begin, std::span<std::byte> to,
                                                    bool fresh) {
    return get_stored(link, chunk, begin, to, fresh);
  };
  auto reading =
      _parts->read(std::uint64_t{link} << 32 | chunk, record, std::move(from), offset, into);
  co_return co_await std::move(reading);
}

task<result<void>> chain_ranges::get_stored(link_number link, std::size_t chunk,
                                            std::uint64_t offset, std::span<std::byte> into,
                                            bool fresh_connection) {
  const auto at = _links[link - 1].chunks.find(chunk);
  BTS3_ASSERT(at != _links[link - 1].chunks.end());
  if (at->second.lost) {
    co_return *at->second.lost;
  }
  for (int thaws = 0;;) {
    const std::uint64_t age = _thaw != nullptr ? _thaw->age() : 0;
    ++_requests;
    auto fetching = at->second.object->fetch(offset, into, _with.stop, fresh_connection);
    auto fetched = co_await std::move(fetching);
    if (fetched) {
      _bytes_read += into.size();
      if (_thaw != nullptr) {
        _thaw->has_read(into.size());
      }
      co_return fetched;
    }
    if (fetched.error().what_now == disposition::not_found) {
      co_return vanished(at->second.found->key.str());
    }
    if (fetched.error().why != reason::not_thawed || _thaw == nullptr || thaws++ == thaws_max) {
      co_return fetched;
    }
    auto thawing = _thaw->again(age, _with.stop);
    auto thawed = co_await std::move(thawing);
    if (!thawed) {
      co_return thawed;
    }
  }
}

void chain_ranges::keep_head(const part_name& part, std::span<const std::byte> head) {
  if (_heads.size() >= heads_kept) {
    _heads.erase(_heads.begin());  // reading goes forwards: the first is not needed soon
  }
  std::copy(head.begin(), head.end(), _heads[part].begin());
}

task<result<fetched_range>> chain_ranges::fetch(stream_range range, bool fresh_connections) {
  auto pieces = places(range);
  if (!pieces) {
    co_return std::move(pieces.error());
  }
  const bool sealed = _links[range.link - 1].from.key != nullptr;
  BTS3_ASSERT(sealed == _links[range.link - 1].places->sealed());
  fetched_range made;
  made.pieces = std::move(*pieces);
  made.heads.resize(sealed ? made.pieces.size() : 0);
  std::size_t total = 0;
  for (const planner::stored_range& piece : made.pieces) {
    total += piece.bytes;
  }
  made.memory = std::make_unique_for_overwrite<std::byte[]>(total);
  made.bytes = total;
  std::vector<errand> errands;
  std::size_t to = 0;
  std::vector<std::size_t> headless;
  for (std::size_t i = 0; i < made.pieces.size(); ++i) {
    const planner::stored_range& piece = made.pieces[i];
    errands.push_back({piece.chunk, piece.offset, {made.memory.get() + to, piece.bytes}});
    to += piece.bytes;
    if (!sealed) {
      continue;
    }
    const auto kept =
        fresh_connections ? _heads.end() : _heads.find({range.link, piece.chunk, piece.part});
    if (kept != _heads.end()) {
      made.heads[i] = kept->second;
    } else {
      errands.push_back({piece.chunk, piece.part_offset, made.heads[i]});
      headless.push_back(i);
    }
  }
  auto make = [this, &errands, &range, fresh_connections](std::size_t i) {
    const errand& one = errands[i];
    return get(range.link, one.chunk, one.offset, one.into, fresh_connections);
  };
  // A piece and its part's beginning, of which there are rarely more than two.
  auto getting = engine::for_each_at_most(_with.loop, 2, errands.size(), std::move(make));
  auto got = co_await std::move(getting);
  if (!got) {
    co_return std::move(got.error());
  }
  for (const std::size_t i : headless) {
    keep_head({range.link, made.pieces[i].chunk, made.pieces[i].part}, made.heads[i]);
  }
  co_return made;
}

result<std::span<const std::byte>> chain_ranges::open(const stream_range& range,
                                                      fetched_range& from) const {
  const link_state& link = _links[range.link - 1];
  const std::span<std::byte> all(from.memory.get(), from.bytes);
  if (!link.from.key) {
    BTS3_ASSERT(all.size() == range.bytes());
    return all;
  }
  const backup_key& key = *link.from.key;
  std::size_t at = 0;
  std::size_t to = 0;
  for (std::size_t i = 0; i < from.pieces.size(); ++i) {
    const planner::stored_range& piece = from.pieces[i];
    const age::part_place place{key.id, static_cast<std::uint32_t>(piece.chunk), piece.part,
                                piece.part_plain};
    const auto within = [&](error failure) {
      failure.why = reason::integrity;
      return std::move(failure).within("chunk " + link.from.link->value.chunks[piece.chunk].key +
                                       ", part " + std::to_string(piece.part));
    };
    auto opening = key.opener.begin(from.heads[i], piece.part_bytes, place);
    if (!opening) {
      return within(std::move(opening.error()));
    }
    const std::size_t end = at + piece.bytes;
    std::size_t skip = piece.skip;
    std::size_t left = piece.plain_bytes;
    for (std::uint64_t segment = piece.segment; at < end; ++segment) {
      BTS3_ASSERT(segment < opening->segments());
      const std::size_t bytes = opening->range_of(segment).second;
      auto text = opening->open(all.subspan(at, bytes), segment);
      if (!text) {
        return within(std::move(text.error()));
      }
      const std::size_t count = std::min(left, text->size() - skip);
      std::memmove(all.data() + to, text->data() + skip, count);
      to += count;
      left -= count;
      skip = 0;
      at += bytes;
    }
    BTS3_ASSERT(left == 0 && at == end);
  }
  BTS3_ASSERT(to == range.bytes());
  return all.first(to);
}

}  // namespace bts3::app
