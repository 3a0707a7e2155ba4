// Read-only snapshots in one directory: made, listed, removed. Which to keep is decided elsewhere.
//
// A snapshot is called {subvolume}__{TIME}__{full|inc}. Only directories of that form directly in
// the base directory, and only subvolumes, are ever removed.
#pragma once

#include "btrfs/subvolume.hh"
#include "engine/result.hh"

#include <string>
#include <string_view>
#include <vector>

namespace bts3::btrfs {

struct snapshot {
  std::string path;
  std::string name;       // of the directory
  std::string subvolume;  // the part before the time
  std::string time;       // YYYYMMDDTHHMMSSZ
  bool full = false;
  subvolume_info info;
};

// "{subvolume}__{time}__{full|inc}".
std::string snapshot_name(std::string_view subvolume, std::string_view time, bool full);

class snapshot_manager {
 public:
  explicit snapshot_manager(std::string base_directory) : _base(std::move(base_directory)) {}

  // Whether snapshots of `source` can be made here: it is a subvolume, the base directory is on the
  // same filesystem, or missing and make_base() can make it. Errors carry the remedy.
  [[nodiscard]] engine::result<void> check(const std::string& source) const;
  // Makes the base directory, with those that lead to it, for its owner alone; true when it was
  // missing. Not on another filesystem than `source` (a volume that is not mounted has a mount
  // point on another one): there it is left to a person.
  [[nodiscard]] engine::result<bool> make_base(const std::string& source) const;
  // The filesystem of the base directory, or that on which make_base() would make it. Errors name
  // snapshots.base_dir and carry the remedy, which is to have it where `source` is.
  [[nodiscard]] engine::result<uuid> base_filesystem(const std::string& source) const;

  // A read-only snapshot of `source`, durable when this returns. It never has a received UUID, even
  // when `source` was received: its own UUID alone stands for it. What fails leaves none.
  engine::result<snapshot> create(const std::string& source, std::string_view subvolume,
                                  std::string_view time, bool full) const;

  // Snapshots of that subvolume by name, oldest first; none where there is no base directory. Fails
  // when one cannot be looked at.
  [[nodiscard]] engine::result<std::vector<snapshot>> list(std::string_view subvolume) const;

  // Paths, relative to `source`, of the subvolumes directly inside it, without the snapshots in the
  // base directory: when that lies within `source`, they are no data of it. And without `others`,
  // which are backed up on their own, however their paths are written. Sorted.
  [[nodiscard]] engine::result<std::vector<std::string>> nested_in(
      const std::string& source, const std::vector<std::string>& others = {}) const;

  // Fails for anything that is not one of ours by name.
  engine::result<void> remove(const std::string& name) const;

  [[nodiscard]] std::string path_of(const std::string& name) const { return _base + "/" + name; }

 private:
  std::string _base;
};

// A snapshot of `source` called `name` in directory `parent`. Not durable until a sync.
engine::result<void> create_snapshot(const std::string& source, const std::string& parent,
                                     const std::string& name, bool read_only);
// The same of open directories; errors call the new one `shown`.
engine::result<void> create_snapshot(int source, int parent, const std::string& name,
                                     bool read_only, const std::string& shown);
// Deletes subvolume `name` in directory `parent`; symbolic links are not followed.
engine::result<void> delete_subvolume(const std::string& parent, const std::string& name);
// The same in an open directory; errors call the subvolume `shown`. Its entry must be one.
engine::result<void> delete_subvolume(int parent, const std::string& name,
                                      const std::string& shown);
// An empty subvolume in an open directory, accessible to its owner alone. Not durable until a sync.
engine::result<void> create_subvolume(int parent, const std::string& name,
                                      const std::string& shown);
// Makes the writable subvolume that is open as `directory` read-only.
engine::result<void> make_read_only(int directory, const std::string& shown);
// Has the writable subvolume that is open as `directory` pass for a copy of that one.
engine::result<void> set_received_uuid(int directory, const uuid& of, const std::string& shown);
// Commits the filesystem that holds `path`, and has its cleaner begin to free what was deleted.
engine::result<void> sync_and_clean(const std::string& path);
// Commits the filesystem that holds `path`.
engine::result<void> sync_filesystem(const std::string& path);

}  // namespace bts3::btrfs
