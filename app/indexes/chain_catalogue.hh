// The catalogue of one chain: opened as the cache has it, and brought up to date.
//
// What it lacks of the chain is added link by link; each link's index is downloaded once, beside
// others, or made from the link's chunks where that is wanted. Links that were added before one
// that `btrfs receive` would refuse, or that makes no sense, are kept.
#pragma once

#include "app/indexes/index_cache.hh"
#include "app/indexes/index_download.hh"
#include "app/store/backup_key.hh"
#include "app/store/chain_reader.hh"
#include "app/store/identity_source.hh"
#include "app/store/services.hh"
#include "app/text/progress.hh"
#include "btrfs/index/catalogue.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace bts3::app {

// What to do about a backup without an index, or with one that cannot be used.
enum class missing_index { refuse, build };

class chain_catalogue {
 public:
  // Of a chain from its full on. References must outlive it.
  chain_catalogue(const services& with, s3::object_store& store, index_cache cache,
                  std::vector<chain_link> chain, identity_source& identities);
  // For progress: what counts all that the store sends.
  void watch(std::function<std::uint64_t()> received) { _received = std::move(received); }

  [[nodiscard]] const std::vector<chain_link>& chain() const { return _chain; }
  // Its file.
  [[nodiscard]] const std::string& path() const { return _path; }

  // First. Opens the file that is there, and counts the chain's links in it, from the beginning;
  // none where there is no file. One that is damaged is deleted.
  engine::result<std::size_t> open();
  // Adds what it lacks of the first `count` links; all of their indexes are had before one is
  // added. Errors: one cannot be had (with missing_index::refuse also where a link has none:
  // not_found), or makes no sense; a link that receive would refuse (reason integrity, see
  // refused()); a disk that is full; a file that is damaged, and once more when it was made anew.
  engine::task<engine::result<void>> update(std::size_t count, missing_index policy);
  // Notes that it was used, and makes room in the cache.
  void used() { _cache.used(_path); }

  // After update(); it may have links of later backups, too.
  [[nodiscard]] btrfs::index::catalogue& tables() { return *_catalogue; }
  // So many links of the chain, from the beginning, are in the file.
  [[nodiscard]] std::size_t known() const { return _known; }
  // So many would be received: those, and what was added to a file that could not be kept.
  [[nodiscard]] std::size_t reached() const { return _reached; }
  // The one behind these, by the last update(); nullopt: none was refused.
  [[nodiscard]] const std::optional<btrfs::index::refusal>& refused() const { return _refused; }
  // So many are in the file, or their indexes have been had for it.
  [[nodiscard]] std::size_t had() const;
  // Links whose indexes were downloaded, and were as recorded.
  [[nodiscard]] const std::set<std::size_t>& downloaded() const { return _downloaded; }
  // How many links were added, and of these how many indexes were built from chunks.
  [[nodiscard]] std::size_t added() const { return _added; }
  [[nodiscard]] std::size_t built() const { return _built; }

  // Opens the backup at `position` where it is sealed, once; identities are asked for where they
  // were not yet. Not twice at a time.
  engine::task<engine::result<void>> open_key(std::size_t position);
  // What opens its parts and its index; null: it is not sealed, or open_key() has not opened it.
  [[nodiscard]] std::shared_ptr<const backup_key> key_of(std::size_t position) const;

  // `failure`, with which a question to the tables ended. Where the file is damaged, that is
  // deleted, and the error says that the same command makes it anew.
  [[nodiscard]] engine::error explained(engine::error failure);

 private:
  void remove_damaged(const engine::error& why);
  engine::task<engine::result<void>> update_once(std::size_t count, missing_index policy);
  engine::result<void> open_file();
  [[nodiscard]] std::size_t links_known_here();
  engine::task<engine::result<void>> fetch(std::size_t position);
  engine::task<engine::result<void>> obtain(std::size_t position, missing_index policy);
  engine::task<engine::result<void>> obtain_all(std::size_t known, std::size_t count,
                                                missing_index policy);
  engine::task<engine::result<void>> add_all(std::size_t count);
  engine::task<engine::result<void>> make_file(std::size_t count);
  engine::task<engine::result<void>> keep_made();
  engine::task<engine::result<void>> add(std::size_t position);
  [[nodiscard]] bool damaged();

  const services& _with;
  s3::object_store& _store;
  index_cache _cache;
  std::vector<chain_link> _chain;
  identity_source& _identities;
  std::function<std::uint64_t()> _received;
  std::string _path;
  std::optional<btrfs::index::catalogue> _catalogue;
  std::optional<btrfs::index::refusal> _refused;
  std::map<std::string, std::shared_ptr<const backup_key>> _keys;  // by manifests' keys
  std::map<std::size_t, stored_index> _indexes;                    // by position in the chain
  std::set<std::size_t> _downloaded;
  progress* _shown = nullptr;
  std::size_t _known = 0;
  std::size_t _reached = 0;
  std::size_t _added = 0;
  std::size_t _built = 0;
};

}  // namespace bts3::app
