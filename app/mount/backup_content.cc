#include "app/mount/backup_content.hh"

#include "app/download/chain_thaw.hh"

#include <map>
#include <optional>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::stream_range;
using engine::error;
using engine::result;
using engine::task;

error in_an_archive(const std::string& key, const std::string& storage_class) {
  error failure;
  failure.why = engine::reason::not_thawed;
  failure.message = "chunk " + key + " is archived (" + storage_class + ") and not thawed";
  return failure;
}

}  // namespace

backup_content::backup_content(const services& with, s3::object_store& store,
                               std::vector<readable_link> links)
    : _with(with),
      _store(store),
      _links(std::move(links)),
      _now(std::make_shared<sight>(with, store, _links)),
      _looking(with.loop, 1, "a look for chunks") {}

std::uint64_t backup_content::bytes_read() const {
  return _bytes_before + _now->ranges.bytes_read();
}

std::uint64_t backup_content::requests() const {
  return _requests_before + _now->ranges.requests();
}

std::shared_ptr<backup_content::sight> backup_content::current() {
  if (!_now->archived.empty() && _with.clock.now() - _now->archived_since >= asked_again_after) {
    _bytes_before += _now->ranges.bytes_read();
    _requests_before += _now->ranges.requests();
    _now = std::make_shared<sight>(_with, _store, _links);
  }
  return _now;
}

// Finds the chunks of these commands, and which of them are archived.
task<result<void>> backup_content::look(std::shared_ptr<sight> from,
                                        std::vector<stream_range> commands) {
  auto turning = _looking.acquire(_with.stop);
  const auto turn = co_await std::move(turning);
  if (!turn) {
    co_return turn.error();
  }
  auto locating = from->ranges.locate(commands, true);
  auto located = co_await std::move(locating);
  if (!located) {
    co_return located;
  }
  std::map<std::string, located_chunk> found;
  for (const stream_range& one : commands) {
    for (const located_chunk* const chunk : from->ranges.chunks_of(one)) {
      if (!from->judged.contains(chunk->key.str())) {
        found.emplace(chunk->key.str(), *chunk);
      }
    }
  }
  for (const auto& [key, chunk] : found) {
    std::vector<located_chunk> alone(1, chunk);
    auto planning = plan_thaw(_with, _store, std::move(alone),
                              thaw_policy_of(_with.settings, std::nullopt, std::nullopt));
    auto plan = co_await std::move(planning);
    if (!plan) {
      co_return std::move(plan.error());
    }
    const s3::thaw_survey total = plan->total();
    if (total.to_request + total.thawing > 0) {
      if (from->archived.empty()) {
        from->archived_since = _with.clock.now();
      }
      from->archived.insert(key);
    }
    from->judged.insert(key);
  }
  co_return engine::ok();
}

task<result<extent_outcomes>> backup_content::fetch(extent_list pieces, extent_reader::taker take) {
  const std::shared_ptr<sight> from = current();
  extent_outcomes outcomes(pieces.size());
  std::vector<std::optional<stream_range>> commands(pieces.size());
  std::vector<stream_range> wanted;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    auto command = btrfs::index::command_of(pieces[i], from->ranges.links());
    if (command) {
      commands[i] = *command;
      wanted.push_back(*command);
    } else {
      outcomes[i] = std::move(command.error());
    }
  }
  auto looking = look(from, std::move(wanted));
  auto looked = co_await std::move(looking);
  if (!looked) {
    co_return std::move(looked.error());
  }
  extent_list readable;
  std::vector<std::size_t> index_of;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (!commands[i]) {
      continue;
    }
    for (const located_chunk* const chunk : from->ranges.chunks_of(*commands[i])) {
      if (from->archived.contains(chunk->key.str())) {
        outcomes[i] = in_an_archive(chunk->key.str(), chunk->storage_class());
      }
    }
    if (!outcomes[i]) {
      readable.push_back(pieces[i]);
      index_of.push_back(i);
    }
  }
  extent_reader::taker renumbered = [&](std::size_t index, std::span<const std::byte> bytes) {
    return take(index_of[index], bytes);
  };
  auto reading = from->reader.read(std::move(readable), std::move(renumbered));
  auto read = co_await std::move(reading);
  if (!read) {
    co_return std::move(read.error());
  }
  for (std::size_t i = 0; i < read->size(); ++i) {
    outcomes[index_of[i]] = std::move((*read)[i]);
  }
  co_return outcomes;
}

}  // namespace bts3::app
