// The catalogues of chains that this host has read, each a file of SQLite in one directory.
//
// All of it may be deleted at any time: what is needed again is read from the bucket again. A
// catalogue is named by what its chain is (store, bucket, subvolume, the full and its chunks), so
// that another chain never meets it, and knows of which backup each of its links is. Names of files
// are in it in plain, also those of sealed backups: directory and files are for their owner alone.
#pragma once

#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "btrfs/index/catalogue.hh"
#include "btrfs/index/database.hh"
#include "engine/environment.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "engine/unique_fd.hh"
#include "planner/manifest.hh"

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

// What all catalogues together may take; those that were not used for longest go. A million files
// with 26 incrementals take some 400 MB.
inline constexpr std::uint64_t cache_bytes_max = std::uint64_t{4} << 30;

// $XDG_CACHE_HOME/btrfs_to_s3, else ~/.cache/btrfs_to_s3; for root without a home
// /var/cache/btrfs_to_s3. Empty: nowhere.
[[nodiscard]] std::string usual_index_cache(const engine::environment_lookup& environment,
                                            uid_t user);

// Which backup a link is of: the digest of what its manifest says of it and of its chunks.
[[nodiscard]] std::string link_digest(const chain_link& link);

class index_cache {
 public:
  // Makes the directory where it is missing; `wanted`: instead of the usual one. Errors: there is
  // none to be had, it belongs to somebody else, or others may write there.
  static engine::result<index_cache> open(const services& with, const std::string& wanted);
  // What is there already; an error where there is none.
  static engine::result<index_cache> look(const engine::environment_lookup& environment,
                                          const std::string& wanted);

  [[nodiscard]] const std::string& directory() const { return _directory; }
  // The catalogue of the chain that begins with `full`.
  [[nodiscard]] std::string path_for(const services& with, const chain_link& full) const;
  // The catalogues of a subvolume's chains, the last used first.
  [[nodiscard]] std::vector<std::string> paths_of(const services& with,
                                                  const std::string& subvolume) const;
  // A file without a name in it, for as long as it is open.
  [[nodiscard]] engine::result<engine::unique_fd> scratch_file() const;
  // What a catalogue is called until it is whole.
  [[nodiscard]] static std::string unfinished(const std::string& path) { return path + ".new"; }
  // It is whole, on the disk and closed: it gets its name. Under the lock of `path`.
  [[nodiscard]] static engine::result<void> put_in_place(const std::string& path);
  // Notes that one is used, and deletes others, the longest unused first, until all of them, with
  // their logs, take no more than `bytes_max`; and what a process that died left unfinished.
  void used(const std::string& path, std::uint64_t bytes_max = cache_bytes_max) const;
  // Of a catalogue that is damaged.
  static void remove(const std::string& path);

 private:
  explicit index_cache(std::string directory) : _directory(std::move(directory)) {}
  std::string _directory;
};

// Held by whoever adds to a catalogue: others who want to wait, those who read do not care.
class cache_lock {
 public:
  // Waits for it; an error where no lock can be had, or `with.stop` was requested.
  static engine::task<engine::result<cache_lock>> take(const services& with, std::string path);

 private:
  explicit cache_lock(engine::unique_fd file) : _file(std::move(file)) {}
  engine::unique_fd _file;
};

// A link of a catalogue, and the backup that it is of.
struct cached_link {
  std::string manifest_key;
  std::string digest;  // link_digest()
  std::string when;    // of the backup, "20260102T030405Z"
};

// In order. Fewer than the catalogue has where it was stopped between a link and its name.
[[nodiscard]] std::vector<cached_link> cached_links(btrfs::index::catalogue& in);
// How many links of `chain`, from its beginning, the catalogue has.
[[nodiscard]] std::size_t links_known(btrfs::index::catalogue& in,
                                      const std::vector<chain_link>& chain);
// Takes away what follows the first `count` links.
engine::result<void> cut_after(btrfs::index::catalogue& in, std::size_t count);
// The last link is of this backup, whose manifest is kept beside it.
engine::result<void> name_last(btrfs::index::catalogue& in, const chain_link& link);

// Manifests of a subvolume's backups, as the catalogues of this host have them. A manifest's key
// never gets another content: who has it needs not ask for it, whatever a store says of it later.
class kept_manifests {
 public:
  kept_manifests(const services& with, const index_cache& cache, const std::string& subvolume);
  // Nullopt: none has it, or what it has makes no sense.
  [[nodiscard]] std::optional<planner::manifest> find(const std::string& key);

 private:
  struct kept_in {
    btrfs::index::database tables;
    btrfs::index::statement ask;
  };
  std::vector<std::string> _paths;
  std::size_t _opened = 0;
  std::vector<std::unique_ptr<kept_in>> _open;
};

}  // namespace bts3::app
