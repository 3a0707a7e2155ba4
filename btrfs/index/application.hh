// Carries a link's commands out on the catalogue's tree, as `btrfs receive` would on a disk.
//
// What receive would refuse is refused here, in the words of a sentence: a name that is missing or
// taken, a directory that is not empty, a clone beyond its source or from a subvolume that nobody
// has. Two things are refused that receive does not see: a path through a symbolic link, which
// leads out of the subvolume, and data for a file that receive would write into another one, since
// it keeps a file open by its path. After a refusal the tree is that of no link.
//
// The kernel's rules are those of Linux 6.18, receive's those of btrfs-progs 6.2 to 6.17. Not
// played: what is refused for want of space or rights, or by mount options; access-control lists
// that new files inherit from a directory of the target.
#pragma once

#include "btrfs/index/record.hh"
#include "btrfs/index/work_tree.hh"
#include "btrfs/subvolume.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace bts3::btrfs::index {

// The subvolume that a link makes.
struct link_identity {
  std::string name;
  uuid sent;
  std::uint64_t ctransid = 0;
};

struct application_settings {
  link_number link = 1;
  // Of the links before, in order.
  std::vector<link_identity> before;
  // Of the filesystem that receives: ranges to clone begin and end there.
  std::uint32_t sector_bytes = 4096;
  // Where content lies is kept; else files have sizes alone, also by a stream without data
  // (`btrfs send --no-data`).
  bool content = true;
};

class application {
 public:
  application(work_tree& tree, application_settings settings);

  // What is wrong with it; empty: it was carried out.
  std::string apply(const record& one);
  // Once the first command was applied.
  [[nodiscard]] const link_identity& identity() const { return _identity; }

 private:
  struct place {
    node_id dir = no_node;  // none: the subvolume itself
    std::string_view name;
    node_id found = no_node;
    std::string problem;
  };

  // Where a path leads; a last name that is missing is no problem.
  place locate(std::string_view path);
  // The same of what has to be there: where it is not, that is the problem.
  place locate_existing(std::string_view path);
  node_id directory(std::string_view path, std::string& problem);
  // What has to be there.
  node_id existing(std::string_view path, std::string& problem);
  // A file to write to, as receive would open it.
  node_id opened(std::string_view path, std::string& problem);

  std::string begin(const record& one);
  std::string make(const record& one);
  std::string rename(const record& one);
  std::string replace(const place& from, const place& to);
  std::string link(const record& one);
  std::string unlink(const record& one);
  std::string rmdir(const record& one);
  std::string change_attributes(const record& one);
  std::string change_mode(const record& one);
  std::string change_xattr(const record& one);
  std::string change_content(const record& one);
  std::string write(const record& one, node_id file);
  std::string write_encoded(const record& one, node_id file);
  std::string clone(const record& one, node_id file);
  std::string clone_source(const record& one, node& source, extent_map& extents);
  std::string truncate(const record& one, node_id file);
  std::string fallocate(const record& one, node_id file);
  // Of a stream without data: what it has instead of writes.
  std::string extend(const record& one);

  // A name of a file is gone, and with the last one the file.
  void drop(node_id id);
  // Names have changed: what paths led to may be elsewhere.
  void forget_paths(bool of_directories);

  work_tree& _tree;
  application_settings _settings;
  link_identity _identity;
  std::unordered_map<std::string, node_id> _directories;  // by path
  std::string _last_path;  // commands about one file follow each other
  node_id _last = no_node;
  // What receive has open.
  std::string _open_path;
  node_id _open = no_node;
};

}  // namespace bts3::btrfs::index
