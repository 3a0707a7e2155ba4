// A directory into which entries of a backup are written, and never beside it.
//
// Names come from a stream, and the directory may be one where others write. So each path is opened
// from the directory's descriptor by openat2(2), which follows no symbolic link and leaves by no
// "..", names are checked, and files are written under a name of our own, which becomes theirs when
// they are whole. Directories that are made here are our own user's alone until they get their
// mode, at the end.
//
// What a filesystem or our rights do not allow is counted, once for each kind, and no error: files
// are worth more than their attributes. All of it blocks; for one thread at a time, but for
// write().
#pragma once

#include "btrfs/index/node.hh"
#include "btrfs/index/work_tree.hh"
#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bts3::app {

struct extract_rights {
  bool overwrite = false;  // what is there already is replaced, and directories are made alike
  bool owners = false;     // set owner and group
  bool set_id = false;     // setuid and setgid bits, and file capabilities
  bool devices = false;    // make device files
};

// What could not be set or made, of how many entries.
struct left_out {
  std::uint64_t entries = 0;
  std::string first;   // path
  std::string reason;  // of the first
};

// A file that is being written.
struct unfinished_file {
  engine::unique_fd directory;
  engine::unique_fd file;
  std::string name;  // ours; empty where the filesystem has files without one
};

class extract_target {
 public:
  // Makes the last directory of `path` where it is missing.
  static engine::result<extract_target> open(const std::string& path, extract_rights rights);

  [[nodiscard]] bool overwrites() const { return _rights.overwrite; }

  // Why an entry cannot be made at `path`; empty: it can. `directory`: one may be there.
  engine::result<std::string> obstacle(const std::string& path, bool directory);

  // Nothing where it is there already; whether it was made.
  engine::result<bool> make_directory(const std::string& path);
  // A hole of `bytes`.
  engine::result<unfinished_file> begin_file(const std::string& path, std::uint64_t bytes);
  // Any thread, several at a time.
  static engine::result<void> write(const unfinished_file& to, std::uint64_t offset,
                                    std::span<const std::byte> bytes);
  // With its attributes, under its own name.
  engine::result<void> finish_file(unfinished_file file, const std::string& path,
                                   const btrfs::index::node& as,
                                   const btrfs::index::xattr_map& xattrs);
  // It will not become whole.
  static void give_up(unfinished_file file);
  // A symbolic link, a fifo, a socket or a device; false: it was left out.
  engine::result<bool> make_special(const std::string& path, const btrfs::index::node& as,
                                    const btrfs::index::xattr_map& xattrs);
  // Another name for what was made here.
  engine::result<void> link(const std::string& existing, const std::string& path);
  // Attributes of a directory that was made here, once nothing in it is changed any more.
  engine::result<void> finish_directory(const std::string& path, const btrfs::index::node& as,
                                        const btrfs::index::xattr_map& xattrs);
  // All of it to the disk.
  engine::result<void> sync();

  // By kind: "owner", "extended attribute user.x", ...
  [[nodiscard]] const std::map<std::string, left_out>& left() const { return _left; }

 private:
  extract_target(engine::unique_fd top, std::string path, extract_rights rights)
      : _top(std::move(top)), _path(std::move(path)), _rights(rights) {}

  // The directory in which `path` is; the last name into `name`.
  engine::result<int> parent(const std::string& path, std::string& name);
  engine::result<engine::unique_fd> open_directory(std::string_view path) const;
  engine::result<void> put_in_place(int directory, const std::string& ours, const std::string& name,
                                    const std::string& path);
  engine::result<void> give_name(const unfinished_file& file, const std::string& name,
                                 const std::string& path);
  void set_xattrs(const std::string& at, int file, const std::string& path,
                  const btrfs::index::xattr_map& xattrs);
  [[nodiscard]] std::uint32_t mode_for(const std::string& path, const btrfs::index::node& as,
                                       bool owned);
  bool own(int file, const std::string& path, const btrfs::index::node& as);
  void leave_out(const std::string& kind, const std::string& path, std::string reason);
  [[nodiscard]] std::string own_name();
  [[nodiscard]] engine::error failed(int problem, const std::string& path, const char* what) const;

  engine::unique_fd _top;
  std::string _path;
  extract_rights _rights;
  std::map<std::string, left_out> _left;
  std::uint64_t _names = 0;
  // The last parent, as entries of a directory follow each other.
  std::string _last_parent;
  engine::unique_fd _last;
};

// Whether it may stand in a directory: not empty, not "." or "..", without "/" and zero bytes.
[[nodiscard]] bool is_name(std::string_view name);

}  // namespace bts3::app
