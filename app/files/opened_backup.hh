// The backup that a command of files was told of: its chain, the catalogue of that, and what opens
// it.
//
// Chosen by the same options as for a restore. opened_backup::open() reads the chain's manifests,
// adds to the catalogue what that lacks of the chain (each link's index is downloaded once), and
// asks for identities only where something sealed has to be downloaded. What it has then is right
// for as long as it lives: links are numbered from 1, the full, to link(), the chosen backup.
#pragma once

#include "app/cli/cli.hh"
#include "app/indexes/chain_catalogue.hh"
#include "app/store/backup_key.hh"
#include "app/store/chain_reader.hh"
#include "app/store/identity_source.hh"
#include "app/store/services.hh"
#include "btrfs/index/catalogue.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace bts3::app {

class opened_backup {
 public:
  // References must outlive it. Errors beside those of finding a backup and of opening keys: a
  // backup of the chain has no index (with what making one takes; not with missing_index::build),
  // one that `btrfs receive` would refuse (reason integrity), a cache that cannot be had.
  static engine::task<engine::result<std::unique_ptr<opened_backup>>> open(
      const services& with, store_connection& connection, files_selection wanted,
      missing_index policy = missing_index::refuse);

  // The backups of a chain for which there is no index, here or in the bucket.
  static engine::task<engine::result<std::vector<chain_link>>> lacking(const services& with,
                                                                       store_connection& connection,
                                                                       files_selection wanted);

  // From the full to the chosen one.
  [[nodiscard]] const std::vector<chain_link>& chain() const { return _catalogue->chain(); }
  [[nodiscard]] const chain_link& at(btrfs::index::link_number link) const {
    return chain().at(link - 1);
  }
  [[nodiscard]] const chain_link& chosen() const { return chain().back(); }
  // The chosen one's number in the catalogue.
  [[nodiscard]] btrfs::index::link_number link() const {
    return static_cast<btrfs::index::link_number>(chain().size());
  }
  // Its file.
  [[nodiscard]] const std::string& path() const { return _catalogue->path(); }
  // It may have links of later backups, too.
  [[nodiscard]] btrfs::index::catalogue& catalogue() { return _catalogue->tables(); }
  [[nodiscard]] s3::object_store& store() { return _connection.store(); }

  // Of every sealed link, once: identities are asked for where they were not yet. Not twice at a
  // time.
  engine::task<engine::result<void>> open_keys();
  // What opens the parts of a link; null: it is not sealed. After open_keys().
  [[nodiscard]] std::shared_ptr<const backup_key> key_of(btrfs::index::link_number link) const {
    return _catalogue->key_of(link - 1);
  }

  // How many links were added, and of these how many indexes were built from chunks.
  [[nodiscard]] std::size_t added() const { return _catalogue->added(); }
  [[nodiscard]] std::size_t built() const { return _catalogue->built(); }

  // `failure`, with which a question to the catalogue ended. Where its file is damaged, that is
  // deleted, and the error says that the same command makes it anew.
  [[nodiscard]] engine::error explained(engine::error failure) {
    return _catalogue->explained(std::move(failure));
  }

 private:
  opened_backup(const services& with, store_connection& connection, files_selection wanted);
  static engine::task<engine::result<std::unique_ptr<opened_backup>>> find(
      const services& with, store_connection& connection, files_selection wanted);
  [[nodiscard]] std::vector<chain_link> without_any(std::size_t known) const;
  engine::task<engine::result<void>> check_indexes(std::size_t known);

  const services& _with;
  store_connection& _connection;
  files_selection _wanted;
  identity_source _identities;
  std::optional<chain_catalogue> _catalogue;  // once the chain is known
};

}  // namespace bts3::app
