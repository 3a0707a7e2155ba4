// What a chain of indexes describes: for each of its links every name, inode, extended attribute
// and extent, in tables of SQLite, in a file that can be deleted at any time.
//
// A link is added whole or not at all, also when the power goes. One link after the other is read
// from its index once; what does not change between links stands there once. Time and space are
// those of what a link changes, but for a full.
//
// Used by one thread. Several processes may read while one adds; questions see the links that were
// there when they were asked.
#pragma once

#include "btrfs/index/application.hh"
#include "btrfs/index/database.hh"
#include "btrfs/index/extent_map.hh"
#include "btrfs/index/index_file.hh"
#include "btrfs/index/node.hh"
#include "btrfs/index/work_tree.hh"
#include "engine/result.hh"
#include "engine/sha256.hh"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::btrfs::index {

struct link_info {
  link_number link = 0;
  link_identity identity;
  std::uint32_t version = 0;  // of its stream
  std::uint64_t commands = 0;
  std::uint64_t stream_bytes = 0;
  engine::sha256_state sha256;  // of its index
};

// What `btrfs receive` would refuse.
struct refusal {
  std::uint64_t number = 0;  // of the command, from 1
  std::uint64_t offset = 0;  // of the command in the stream
  std::string command;       // "rename a -> b"
  std::string problem;
  // "command 12 (rename a -> b) at byte 345: there is no "a"".
  [[nodiscard]] std::string text() const;
};

struct entry {
  std::string name;
  node at;
};

struct catalogue_settings {
  // Nodes held in memory while a link is added: 40 to 70 MB.
  std::size_t held_nodes = 100'000;
  std::uint32_t sector_bytes = 4096;  // of the filesystem that receives
  enum class keeping {
    // Each link is durable when it was added. Questions may have to wait while one is.
    journal,
    // The same, and nobody waits: what is added is in a log beside the file (-wal, -shm) until the
    // last who uses the file closes it.
    shared,
    // For one process at a time, which waits for no disk: the log stays beside the file, and a
    // power
    // cut may take the last links back, each whole.
    alone,
    // A new file that nobody else knows of, as fast as it goes: nothing waits for the disk, and a
    // link that cannot be added may leave it torn. For finish(), and then another name.
    fresh,
  };
  keeping kept = keeping::journal;
  // Where content lies is kept. Without, a catalogue tells names, attributes and sizes, of streams
  // without data, too, and has nothing of extents; the same file is to be opened in one way only.
  bool content = true;
};

class catalogue {
 public:
  // Makes the file where it is missing (":memory:": none), and makes anew what another version
  // wrote. Errors name the file; with reason `integrity` it is damaged, and may be deleted.
  static engine::result<catalogue> open(const std::string& path, catalogue_settings settings = {});

  // Adds the next link of the chain. An answer says that receive would refuse it; the catalogue is
  // then what it was, as it is after an error. `expected`: of the index, by the manifest.
  engine::result<std::optional<refusal>> add(
      index_file& index, const std::optional<engine::sha256_state>& expected = std::nullopt);
  // Takes the last link away again.
  engine::result<void> remove_last();
  // Of a fresh one: whether a link was given up of which something is in the tables.
  [[nodiscard]] bool torn() const { return _torn; }
  // Of a fresh one: the file is whole, closed, and on the disk. Nothing more is asked of this.
  engine::result<void> finish();

  // In order.
  engine::result<std::vector<link_info>> links();
  engine::result<link_number> last_link();

  // `at` is a link of links(). No symbolic link is followed. An answer with no_node: it is not
  // there.
  engine::result<node_id> find(std::string_view path, link_number at);
  // Nullopt: it is not there at that link.
  engine::result<std::optional<node>> stat(node_id id, link_number at);
  // By name.
  engine::result<std::vector<entry>> list(node_id directory, link_number at);
  engine::result<std::vector<extent>> extents(node_id file, link_number at);
  engine::result<xattr_map> xattrs(node_id id, link_number at);
  // Where it is named, in the order of directories; from `id` upwards.
  engine::result<std::vector<std::string>> paths(node_id id, link_number at);
  // Whether attributes, extended ones or content are others than at the link before `at`.
  engine::result<bool> changed(node_id id, link_number at);

  // For what is built on it.
  [[nodiscard]] database& tables() { return _in; }

 private:
  engine::result<std::optional<refusal>> apply(index_file& index, link_number link,
                                               const std::optional<engine::sha256_state>& expected,
                                               bool& wrote);
  void give_up(bool wrote);
  void write_link(const link_info& info);

  database _in;
  catalogue_settings _settings;
  std::string _path;
  bool _torn = false;
};

}  // namespace bts3::btrfs::index
