#include "app/indexes/chain_catalogue.hh"

#include "app/host/disk_call.hh"
#include "app/indexes/index_building.hh"
#include "app/text/human_units.hh"
#include "engine/for_each_at_most.hh"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::catalogue;
using btrfs::index::catalogue_settings;
using btrfs::index::refusal;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

// Each waits for the store most of its time, and has a piece of 8 MiB in memory.
constexpr std::size_t indexes_at_once = 4;

struct set_flag {
  std::atomic<bool>* flag;
  void operator()() const { *flag = true; }
};

error without_index(const chain_link& link) {
  error failure;
  failure.what_now = engine::disposition::not_found;
  failure.message = "backup " + link.key + " has no index";
  return failure;
}

error not_receivable(const chain_link& link, const chain_link* before, const refusal& why) {
  error failure;
  failure.why = reason::integrity;
  failure.message = "backup " + link.key +
                    " cannot be restored, so that nobody knows its files: `btrfs receive` would "
                    "refuse " +
                    why.text();
  failure.remedy = before == nullptr
                       ? "choose a backup of another chain, and make a full one"
                       : "the backup before it can be read, with --manifest-key " + before->key +
                             "; a full backup begins a chain that can be";
  return failure;
}

error changed_meanwhile(const std::string& path) {
  error failure;
  failure.message = "another command has changed " + path + " meanwhile";
  failure.remedy = "run the same command again";
  return failure;
}

}  // namespace

chain_catalogue::chain_catalogue(const services& with, s3::object_store& store, index_cache cache,
                                 std::vector<chain_link> chain, identity_source& identities)
    : _with(with),
      _store(store),
      _cache(std::move(cache)),
      _chain(std::move(chain)),
      _identities(identities),
      _path(_cache.path_for(with, _chain.front())) {}

result<std::size_t> chain_catalogue::open() {
  if (auto opened = open_file(); !opened) {
    return std::move(opened.error());
  }
  _known = links_known_here();
  _reached = _known;
  auto sound = _catalogue ? _catalogue->tables().outcome() : engine::ok();
  if (sound) {
    return _known;
  }
  if (!damaged()) {
    return std::move(sound.error());
  }
  remove_damaged(sound.error());
  return _known;
}

task<result<void>> chain_catalogue::update(std::size_t count, missing_index policy) {
  for (int attempt = 1;; ++attempt) {
    auto updating = update_once(count, policy);
    auto updated = co_await std::move(updating);
    if (updated || attempt == 2 || !damaged()) {
      co_return updated;
    }
    remove_damaged(updated.error());
  }
}

std::size_t chain_catalogue::had() const {
  std::size_t count = _known;
  while (_indexes.contains(count)) {
    ++count;
  }
  return count;
}

// Its file makes no sense: not what was to be added, nor the disk.
bool chain_catalogue::damaged() {
  const auto failure = _catalogue ? _catalogue->tables().failure() : std::nullopt;
  return failure && failure->why == reason::integrity;
}

void chain_catalogue::remove_damaged(const error& why) {
  _with.log.write(log_level::info, "files", "cache_made_anew",
                  {{"file", _path}, {"reason", why.message}});
  _catalogue.reset();
  _known = 0;
  _reached = 0;
  index_cache::remove(_path);
}

error chain_catalogue::explained(error failure) {
  if (damaged()) {
    index_cache::remove(_path);
    failure.remedy = "the file was deleted: the same command makes it anew";
  }
  return failure;
}

// The one that has its name now; none, where there is none.
result<void> chain_catalogue::open_file() {
  _catalogue.reset();
  if (::access(_path.c_str(), F_OK) != 0 && errno == ENOENT) {
    return engine::ok();
  }
  catalogue_settings settings;
  settings.kept = catalogue_settings::keeping::shared;
  auto opened = catalogue::open(_path, settings);
  if (!opened && opened.error().why == reason::integrity) {
    index_cache::remove(_path);
    return engine::ok();
  }
  if (!opened) {
    return std::move(opened.error());
  }
  _catalogue.emplace(std::move(*opened));
  return engine::ok();
}

std::size_t chain_catalogue::links_known_here() {
  return _catalogue ? links_known(*_catalogue, _chain) : 0;
}

task<result<void>> chain_catalogue::update_once(std::size_t count, missing_index policy) {
  _refused.reset();
  if (_known >= count) {
    co_return engine::ok();
  }
  std::uint64_t bytes = 0;
  for (std::size_t i = _known; i < count; ++i) {
    bytes += _chain[i].value.index ? _chain[i].value.index->size : _chain[i].value.total_bytes;
  }
  progress shown(_with.loop, _with.log, _with.line, "files", "reading indexes");
  shown.set_total(bytes);
  if (_received) {
    shown.watch(_received);
  }
  shown.start();
  _shown = &shown;
  auto obtaining = obtain_all(_known, count, policy);
  auto obtained = co_await std::move(obtaining);
  _shown = nullptr;
  auto stopping = shown.stop();
  co_await std::move(stopping);
  if (!obtained) {
    co_return obtained;
  }
  auto adding = add_all(count);
  auto added = co_await std::move(adding);
  if (_with.line != nullptr) {
    _with.line->clear();
  }
  co_return added;
}

task<result<void>> chain_catalogue::open_key(std::size_t position) {
  const chain_link& link = _chain[position];
  if (!link.value.encryption || _keys.contains(link.key)) {
    co_return engine::ok();
  }
  auto opening = open_backup_key(_with, _store, link, _identities);
  auto key = co_await std::move(opening);
  if (!key) {
    co_return std::move(key.error());
  }
  _keys.emplace(link.key, std::move(*key));
  co_return engine::ok();
}

std::shared_ptr<const backup_key> chain_catalogue::key_of(std::size_t position) const {
  const auto found = _keys.find(_chain[position].key);
  return found == _keys.end() ? nullptr : found->second;
}

task<result<void>> chain_catalogue::fetch(std::size_t position) {
  auto fetching = fetch_index(_with, _store, _cache, _chain[position], _shown);
  auto fetched = co_await std::move(fetching);
  if (!fetched) {
    co_return std::move(fetched.error());
  }
  fetched->key = key_of(position);
  _indexes.insert_or_assign(position, std::move(*fetched));
  _downloaded.insert(position);
  co_return engine::ok();
}

// From the bucket where there is one, else, where that is wanted, from the chunks.
task<result<void>> chain_catalogue::obtain(std::size_t position, missing_index policy) {
  if (_indexes.contains(position)) {
    co_return engine::ok();  // by an earlier attempt
  }
  const chain_link& link = _chain[position];
  if (link.value.index) {
    auto fetching = fetch(position);
    auto fetched = co_await std::move(fetching);
    const bool gone = !fetched && (fetched.error().why == reason::integrity ||
                                   fetched.error().what_now == engine::disposition::not_found);
    if (!gone || policy == missing_index::refuse) {
      if (gone) {
        fetched.error().remedy = told_index_build(link.value.subvolume, _chain.back().key) +
                                 " reads " + format_bytes(link.value.total_bytes) +
                                 " of chunks to make it on this host";
      }
      co_return fetched;
    }
    _with.log.write(log_level::warning, "files", "index_not_usable",
                    {{"manifest", link.key}, {"reason", fetched.error().message}});
  } else if (policy == missing_index::refuse) {
    co_return without_index(link);
  }
  const chain_link* const before = position == 0 ? nullptr : &_chain[position - 1];
  auto building = build_index(_with, _store, _cache, link, before, key_of(position), _shown);
  auto built = co_await std::move(building);
  if (!built) {
    co_return std::move(built.error());
  }
  _indexes.insert_or_assign(position, std::move(*built));
  ++_built;
  co_return engine::ok();
}

task<result<void>> chain_catalogue::obtain_all(std::size_t known, std::size_t count,
                                               missing_index policy) {
  for (std::size_t i = known; i < count; ++i) {
    auto opening = open_key(i);
    auto opened = co_await std::move(opening);
    if (!opened) {
      co_return opened;
    }
  }
  // What builds one takes all of the memory that is allowed.
  const std::size_t at_once = policy == missing_index::build ? 1 : indexes_at_once;
  std::function<task<result<void>>(std::size_t)> make = [this, known, policy](std::size_t number) {
    return obtain(known + number, policy);
  };
  auto obtaining =
      engine::for_each_at_most(_with.loop, at_once, count - known, std::move(make), _with.stop);
  co_return co_await std::move(obtaining);
}

task<result<void>> chain_catalogue::add_all(std::size_t count) {
  auto locking = cache_lock::take(_with, _path);
  const auto lock = co_await std::move(locking);
  if (!lock) {
    co_return lock.error();
  }
  // Another command may have made it, added some, or another chain's, meanwhile.
  if (auto opened = open_file(); !opened) {
    co_return opened;
  }
  _known = links_known_here();
  _reached = _known;
  if (_known == 0) {
    auto making = make_file(count);
    auto made = co_await std::move(making);
    _indexes.clear();
    co_return made;
  }
  if (_known < count) {
    if (auto cut = cut_after(*_catalogue, _known); !cut) {
      co_return cut;
    }
  }
  for (std::size_t i = _known; i < count; ++i) {
    auto adding = add(i);
    auto added = co_await std::move(adding);
    if (!added) {
      co_return added;
    }
  }
  _indexes.clear();
  co_return engine::ok();
}

// Under another name until it is whole, so that nobody meets less and nothing waits for the disk.
// Links that were added before one that cannot be are kept.
task<result<void>> chain_catalogue::make_file(std::size_t count) {
  const std::string made = index_cache::unfinished(_path);
  index_cache::remove(made);
  catalogue_settings settings;
  settings.kept = catalogue_settings::keeping::fresh;
  auto opened = catalogue::open(made, settings);
  if (!opened) {
    co_return std::move(opened.error());
  }
  _catalogue.emplace(std::move(*opened));
  (void)cached_links(*_catalogue);
  result<void> added = engine::ok();
  for (std::size_t i = 0; added && i < count; ++i) {
    auto adding = add(i);
    added = co_await std::move(adding);
  }
  const std::size_t whole = std::exchange(_known, 0);
  if (!_catalogue->torn() && !_catalogue->tables().failure() && _catalogue->last_link() != 0u) {
    auto keeping = keep_made();
    auto kept = co_await std::move(keeping);
    _known = kept ? whole : 0;
    if (added && !kept) {
      added = std::move(kept);
    }
  }
  if (!added) {
    index_cache::remove(made);
  }
  co_return added;
}

// It is used from its own place from then on.
task<result<void>> chain_catalogue::keep_made() {
  std::function<result<void>()> call = [this] { return _catalogue->finish(); };
  auto finishing = disk_call(_with.loop, std::move(call));
  auto finished = co_await std::move(finishing);
  _catalogue.reset();
  if (!finished) {
    co_return finished;
  }
  if (auto placed = index_cache::put_in_place(_path); !placed) {
    co_return placed;
  }
  if (auto opened = open_file(); !opened) {
    co_return opened;
  }
  if (!_catalogue) {
    co_return changed_meanwhile(_path);
  }
  co_return engine::ok();
}

task<result<void>> chain_catalogue::add(std::size_t position) {
  const auto index = _indexes.find(position);
  if (index == _indexes.end()) {
    co_return changed_meanwhile(_path);
  }
  const chain_link& link = _chain[position];
  if (_with.line != nullptr) {
    _with.line->show("reading the index of " + link.value.created_at.rfc3339() + ", " +
                     std::to_string(position + 1) + " of " + std::to_string(_chain.size()));
  }
  std::atomic<bool> stopped = false;
  const engine::stop_callback on_stop(_with.stop, set_flag{&stopped});
  std::function<result<std::optional<refusal>>()> call =
      [this, &stopped, &from = index->second]() -> result<std::optional<refusal>> {
    auto opened = open_index(from, stopped);
    if (!opened) {
      return std::move(opened.error());
    }
    return _catalogue->add(*opened, from.sha256);
  };
  auto calling = disk_call(_with.loop, std::move(call));
  const auto refused = co_await std::move(calling);
  if (!refused) {
    error failure = refused.error();
    if (failure.what_now == engine::disposition::cancelled) {
      co_return failure;
    }
    co_return std::move(failure).within("the index of backup " + link.key);
  }
  if (*refused) {
    _refused = **refused;
    co_return not_receivable(link, position == 0 ? nullptr : &_chain[position - 1], **refused);
  }
  ++_added;
  auto named = name_last(*_catalogue, link);
  if (named) {
    _known = position + 1;
    _reached = _known;
  }
  co_return named;
}

}  // namespace bts3::app
