#include "app/files/opened_backup.hh"

#include "app/files/index_building.hh"
#include "app/host/disk_call.hh"
#include "app/prices/restore_prices.hh"
#include "app/survey/chosen_backup.hh"
#include "app/text/human_units.hh"
#include "engine/for_each_at_most.hh"
#include "engine/plain_text.hh"
#include "engine/told_command.hh"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <functional>
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
// That are asked for one by one, to tell what a refused command would cost.
constexpr std::size_t chunks_asked_max = 100;

struct set_flag {
  std::atomic<bool>* flag;
  void operator()() const { *flag = true; }
};

std::string told_build(const std::string& subvolume, const std::string& key) {
  return "`" +
         engine::told_command("index build",
                              {{"--subvolume", subvolume}, {"--manifest-key", key}}) +
         "`";
}

error without_index(const std::vector<chain_link>& missing, const chain_link& chosen,
                    const result<building_plan>& plan) {
  std::uint64_t bytes = 0;
  for (const chain_link& link : missing) {
    bytes += link.value.total_bytes;
  }
  error failure;
  failure.message = "backup " + missing.front().key + " has no index";
  if (missing.size() > 1) {
    failure.message += ", nor have " + std::to_string(missing.size() - 1) + " others of its chain";
  }
  failure.remedy = told_build(chosen.value.subvolume, chosen.key) + " reads " +
                   format_bytes(bytes) + " of chunks to make " +
                   (missing.size() > 1 ? "them" : "it") + " on this host";
  if (plan && plan->cost && plan->cost->has_sum) {
    failure.remedy += ", for about " + money_text(plan->cost->total(), plan->cost->currency);
  }
  if (plan && plan->archived > 0) {
    failure.remedy += "; " + engine::counted(plan->archived, "object") +
                      (plan->archived == 1 ? " has" : " have") + " to be thawed before";
  }
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

// The only one that is configured, where none is named.
result<void> choose_subvolume(const config& settings, files_selection& wanted) {
  if (wanted.subvolume.empty() && settings.subvolumes.size() == 1) {
    wanted.subvolume = settings.subvolumes.front().name;
  }
  if (wanted.subvolume.empty()) {
    return engine::configuration_error("it is not said whose files are meant",
                                       "name the subvolume with --subvolume");
  }
  return engine::ok();
}

}  // namespace

opened_backup::opened_backup(const services& with, store_connection& connection,
                             files_selection wanted, missing_index policy, index_cache cache)
    : _with(with),
      _connection(connection),
      _wanted(std::move(wanted)),
      _policy(policy),
      _cache(std::move(cache)),
      _identities(with, identity_places(with.settings, _wanted.identities)) {}

// Its chain is known, and nothing of the catalogue.
task<result<std::unique_ptr<opened_backup>>> opened_backup::find(const services& with,
                                                                 store_connection& connection,
                                                                 files_selection wanted,
                                                                 missing_index policy) {
  if (auto chosen = choose_subvolume(with.settings, wanted); !chosen) {
    co_return std::move(chosen.error());
  }
  auto cache = index_cache::open(with, wanted.cache_dir);
  if (!cache) {
    co_return std::move(cache.error());
  }
  std::unique_ptr<opened_backup> made(
      new opened_backup(with, connection, std::move(wanted), policy, std::move(*cache)));
  kept_manifests kept(with, made->_cache, made->_wanted.subvolume);
  manifests_known known = [&kept](const std::string& key) { return kept.find(key); };
  auto finding = find_chain(with, connection.store(), wanted_by(with.settings, made->_wanted),
                            std::move(known));
  auto chain = co_await std::move(finding);
  if (!chain) {
    co_return std::move(chain.error());
  }
  made->_chain = std::move(*chain);
  made->_path = made->_cache.path_for(with, made->_chain.front());
  co_return made;
}

task<result<std::vector<chain_link>>> opened_backup::lacking(const services& with,
                                                             store_connection& connection,
                                                             files_selection wanted) {
  auto finding = find(with, connection, std::move(wanted), missing_index::refuse);
  auto found = co_await std::move(finding);
  if (!found) {
    co_return std::move(found.error());
  }
  opened_backup& backup = **found;
  if (auto opened = backup.open_catalogue(); !opened) {
    co_return std::move(opened.error());
  }
  co_return backup.without_any(backup.links_known_here());
}

task<result<std::unique_ptr<opened_backup>>> opened_backup::open(const services& with,
                                                                 store_connection& connection,
                                                                 files_selection wanted,
                                                                 missing_index policy) {
  auto finding = find(with, connection, std::move(wanted), policy);
  auto found = co_await std::move(finding);
  if (!found) {
    co_return std::move(found.error());
  }
  std::unique_ptr<opened_backup> made = std::move(*found);
  for (int attempt = 1;; ++attempt) {
    auto updating = made->update();
    auto updated = co_await std::move(updating);
    if (updated) {
      made->_cache.used(made->_path);
      co_return made;
    }
    if (attempt == 2 || !made->damaged()) {
      co_return std::move(updated.error());
    }
    with.log.write(log_level::info, "files", "cache_made_anew",
                   {{"file", made->_path}, {"reason", updated.error().message}});
    made->_catalogue.reset();
    index_cache::remove(made->_path);
  }
}

// Its file makes no sense: not what was to be added, nor the disk.
bool opened_backup::damaged() {
  const auto failure = _catalogue ? _catalogue->tables().failure() : std::nullopt;
  return failure && failure->why == reason::integrity;
}

error opened_backup::explained(error failure) {
  if (damaged()) {
    index_cache::remove(_path);
    failure.remedy = "the file was deleted: the same command makes it anew";
  }
  return failure;
}

// Of the file that has its name now; none, where there is none.
result<void> opened_backup::open_catalogue() {
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

std::size_t opened_backup::links_known_here() {
  return _catalogue ? links_known(*_catalogue, _chain) : 0;
}

task<result<void>> opened_backup::update() {
  if (auto opened = open_catalogue(); !opened) {
    co_return opened;
  }
  const std::size_t known = links_known_here();
  if (auto sound = _catalogue ? _catalogue->tables().outcome() : engine::ok(); !sound) {
    co_return sound;
  }
  if (known == _chain.size()) {
    co_return engine::ok();
  }
  auto checking = check_indexes(known);
  auto checked = co_await std::move(checking);
  if (!checked) {
    co_return checked;
  }
  std::uint64_t bytes = 0;
  for (std::size_t i = known; i < _chain.size(); ++i) {
    bytes += _chain[i].value.index ? _chain[i].value.index->size : _chain[i].value.total_bytes;
  }
  progress shown(_with.loop, _with.log, _with.line, "files", "reading indexes");
  shown.set_total(bytes);
  shown.watch([this] { return _connection.bytes_received(); });
  shown.start();
  _shown = &shown;
  auto obtaining = obtain_all(known);
  auto obtained = co_await std::move(obtaining);
  _shown = nullptr;
  auto stopping = shown.stop();
  co_await std::move(stopping);
  if (!obtained) {
    co_return obtained;
  }
  auto adding = add_all();
  auto added = co_await std::move(adding);
  if (_with.line != nullptr) {
    _with.line->clear();
  }
  co_return added;
}

// Of what comes after the first `known` links.
std::vector<chain_link> opened_backup::without_any(std::size_t known) const {
  std::vector<chain_link> missing;
  for (std::size_t i = known; i < _chain.size(); ++i) {
    if (!_chain[i].value.index) {
      missing.push_back(_chain[i]);
    }
  }
  return missing;
}

// Before anything is downloaded: that all of them can be had.
task<result<void>> opened_backup::check_indexes(std::size_t known) {
  const std::vector<chain_link> missing = without_any(known);
  if (missing.empty() || _policy == missing_index::build) {
    co_return engine::ok();
  }
  std::size_t chunks = 0;
  for (const chain_link& link : missing) {
    chunks += link.value.chunks.size();
  }
  result<building_plan> plan;
  if (chunks <= chunks_asked_max) {
    auto planning = plan_building(_with, _connection.store(), missing);
    plan = co_await std::move(planning);
  }
  co_return without_index(missing, _chain.back(), plan);
}

task<result<void>> opened_backup::open_key(const chain_link& link) {
  if (!link.value.encryption || _keys.contains(link.key)) {
    co_return engine::ok();
  }
  auto opening = open_backup_key(_with, _connection.store(), link, _identities);
  auto key = co_await std::move(opening);
  if (!key) {
    co_return std::move(key.error());
  }
  _keys.emplace(link.key, std::move(*key));
  co_return engine::ok();
}

task<result<void>> opened_backup::open_keys() {
  for (const chain_link& link : _chain) {
    auto opening = open_key(link);
    auto opened = co_await std::move(opening);
    if (!opened) {
      co_return opened;
    }
  }
  co_return engine::ok();
}

std::shared_ptr<const backup_key> opened_backup::key_of(btrfs::index::link_number link) const {
  const auto found = _keys.find(at(link).key);
  return found == _keys.end() ? nullptr : found->second;
}

task<result<void>> opened_backup::fetch(std::size_t position) {
  auto fetching = fetch_index(_with, _connection.store(), _cache, _chain[position], _shown);
  auto fetched = co_await std::move(fetching);
  if (!fetched) {
    co_return std::move(fetched.error());
  }
  const auto key = _keys.find(_chain[position].key);
  if (key != _keys.end()) {
    fetched->key = key->second;
  }
  _indexes.insert_or_assign(position, std::move(*fetched));
  co_return engine::ok();
}

// From the bucket where there is one, else, where that is wanted, from the chunks.
task<result<void>> opened_backup::obtain(std::size_t position) {
  if (_indexes.contains(position)) {
    co_return engine::ok();  // before its catalogue was found damaged
  }
  const chain_link& link = _chain[position];
  if (link.value.index) {
    auto fetching = fetch(position);
    auto fetched = co_await std::move(fetching);
    const bool gone = !fetched && (fetched.error().why == reason::integrity ||
                                   fetched.error().what_now == engine::disposition::not_found);
    if (!gone || _policy == missing_index::refuse) {
      if (gone) {
        fetched.error().remedy = told_build(link.value.subvolume, _chain.back().key) + " reads " +
                                 format_bytes(link.value.total_bytes) +
                                 " of chunks to make it on this host";
      }
      co_return fetched;
    }
    _with.log.write(log_level::warning, "files", "index_not_usable",
                    {{"manifest", link.key}, {"reason", fetched.error().message}});
  }
  const chain_link* const before = position == 0 ? nullptr : &_chain[position - 1];
  auto building = build_index(_with, _connection.store(), _cache, link, before,
                              key_of(static_cast<btrfs::index::link_number>(position + 1)), _shown);
  auto built = co_await std::move(building);
  if (!built) {
    co_return std::move(built.error());
  }
  _indexes.insert_or_assign(position, std::move(*built));
  ++_built;
  co_return engine::ok();
}

task<result<void>> opened_backup::obtain_all(std::size_t known) {
  for (std::size_t i = known; i < _chain.size(); ++i) {
    auto opening = open_key(_chain[i]);
    auto opened = co_await std::move(opening);
    if (!opened) {
      co_return opened;
    }
  }
  // What builds one takes all of the memory that is allowed.
  const std::size_t at_once = _policy == missing_index::build ? 1 : indexes_at_once;
  std::function<task<result<void>>(std::size_t)> make = [this, known](std::size_t number) {
    return obtain(known + number);
  };
  auto obtaining = engine::for_each_at_most(_with.loop, at_once, _chain.size() - known,
                                            std::move(make), _with.stop);
  co_return co_await std::move(obtaining);
}

task<result<void>> opened_backup::add_all() {
  auto locking = cache_lock::take(_with, _path);
  const auto lock = co_await std::move(locking);
  if (!lock) {
    co_return lock.error();
  }
  // Another command may have made it, added some, or another chain's, meanwhile.
  if (auto opened = open_catalogue(); !opened) {
    co_return opened;
  }
  const std::size_t known = links_known_here();
  if (known == 0) {
    auto making = make_catalogue();
    auto made = co_await std::move(making);
    _indexes.clear();
    co_return made;
  }
  if (known < _chain.size()) {
    if (auto cut = cut_after(*_catalogue, known); !cut) {
      co_return cut;
    }
  }
  for (std::size_t i = known; i < _chain.size(); ++i) {
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
task<result<void>> opened_backup::make_catalogue() {
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
  for (std::size_t i = 0; added && i < _chain.size(); ++i) {
    auto adding = add(i);
    added = co_await std::move(adding);
  }
  if (!_catalogue->torn() && !_catalogue->tables().failure() && _catalogue->last_link() != 0u) {
    auto keeping = keep_made();
    auto kept = co_await std::move(keeping);
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
task<result<void>> opened_backup::keep_made() {
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
  if (auto opened = open_catalogue(); !opened) {
    co_return opened;
  }
  if (!_catalogue) {
    co_return changed_meanwhile(_path);
  }
  co_return engine::ok();
}

task<result<void>> opened_backup::add(std::size_t position) {
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
    co_return not_receivable(link, position == 0 ? nullptr : &_chain[position - 1], **refused);
  }
  ++_added;
  co_return name_last(*_catalogue, link);
}

}  // namespace bts3::app
