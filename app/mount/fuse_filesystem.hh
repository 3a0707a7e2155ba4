// A backup's tree as a filesystem of FUSE: the kernel's questions, answered out of the index and
// out of the backup's content.
//
// The kernel's descriptor is waited for by the reactor. What the index knows is answered on the
// desk's thread; a read is a coroutine, so that any number of them wait at a time, and one that its
// reader gave up (a signal) ends. Nothing ever changes, so the kernel may keep what it was told.
//
// Memory: what the cache of pieces and the windows of extents take, 128 entries of each directory
// that is being read, and the answers of the reads of which each has its turn (1 MiB each).
#pragma once

#include "app/mount/file_reading.hh"
#include "app/mount/tree_desk.hh"
#include "app/mount/tree_view.hh"
#include "app/mount/unreadable.hh"
#include "app/store/services.hh"
#include "btrfs/index/node.hh"
#include "engine/async_scope.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

struct fuse_conn_info;
struct fuse_file_info;
struct fuse_req;
struct fuse_session;

namespace bts3::app {

struct mount_options {
  bool allow_other = false;
  std::string source;       // as mount(8) and df(1) show it
  std::uint64_t bytes = 0;  // of the backup, for statvfs(3)
};

class fuse_filesystem {
 public:
  // `at` of the chain's links is shown. References must outlive it.
  fuse_filesystem(const services& with, tree_desk& desk, file_reading& reading, unreadable& told,
                  btrfs::index::link_number at, mount_options options);
  ~fuse_filesystem();
  fuse_filesystem(const fuse_filesystem&) = delete;
  fuse_filesystem& operator=(const fuse_filesystem&) = delete;

  // Mounts it at a directory; may wait, and run fusermount3(1). What failed is in the error.
  engine::result<void> mount(const std::string& directory);
  // Answers until the kernel has no more questions (it is unmounted) or `until` stops.
  engine::task<void> serve(engine::stop_token until);
  // Waits for reads that are being answered: stop what they wait for before.
  engine::task<void> close();
  // The kernel gets no answers any more. After close(), and after the desk's.
  void end();

 private:
  friend struct fuse_calls;
  using request = fuse_req*;
  using node_id = btrfs::index::node_id;
  // What answers with the catalogue, on the desk's thread; else the request's error is EIO, and why
  // is told.
  using answer = std::function<engine::result<void>(btrfs::index::catalogue&)>;

  void begin(fuse_conn_info& about) const;
  void ask(request from, node_id about, answer call);
  void look_up(request from, node_id directory, std::string name);
  void attributes(request from, node_id id);
  void read_link(request from, node_id id);
  void open(request from, node_id id, const fuse_file_info& how);
  void read(request from, std::uint64_t handle, std::uint64_t offset, std::size_t size);
  void list(request from, std::uint64_t handle, std::uint64_t position, std::size_t size,
            bool with_attributes);
  void attribute(request from, node_id id, std::string name, std::size_t size);
  void attribute_names(request from, node_id id, std::size_t size);
  void seek(request from, node_id id, std::int64_t offset, int whence);
  void state(request from) const;
  engine::task<void> answer_read(request from, std::shared_ptr<open_file> file,
                                 std::uint64_t offset, std::size_t size);
  engine::task<void> tell(node_id about, engine::error failure);

  const services& _with;
  tree_desk& _desk;
  file_reading& _reading;
  unreadable& _told;
  btrfs::index::link_number _at;
  mount_options _options;
  fuse_session* _session = nullptr;
  engine::async_scope _scope;
  std::uint64_t _last_handle = 0;
  std::unordered_map<std::uint64_t, std::shared_ptr<open_file>> _files;
  std::unordered_map<std::uint64_t, std::shared_ptr<directory_cursor>> _directories;
  std::unordered_map<std::uint64_t, node_id> _directory_of;
};

}  // namespace bts3::app
