#define FUSE_USE_VERSION 314
#include "app/mount/fuse_filesystem.hh"

#include "btrfs/index/browsing.hh"
#include "engine/assert.hh"

#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <poll.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using btrfs::index::catalogue;
using btrfs::index::node;
using btrfs::index::node_id;
using btrfs::index::node_type;
using engine::error;
using engine::result;
using engine::task;

// The tree never changes: the kernel need not ask again within a year.
constexpr double kept_seconds = 365.0 * 24 * 3600;
// Taken from the kernel before anything else has its turn.
constexpr int requests_at_once = 64;
constexpr unsigned background_max = 64;

// What libfuse says goes to its standard error unless it is caught; it has one place for that.
struct caught_words {
  std::mutex mutex;
  std::string text;
};
caught_words& words_of_fuse() {
  static caught_words words;
  return words;
}

void catch_words(fuse_log_level /*level*/, const char* format, va_list values) {
  char line[512];
  std::vsnprintf(line, sizeof line, format, values);
  caught_words& words = words_of_fuse();
  const std::lock_guard held(words.mutex);
  if (words.text.size() < sizeof line) {
    words.text += line;
  }
}

std::string take_words() {
  caught_words& words = words_of_fuse();
  const std::lock_guard held(words.mutex);
  std::string text = std::exchange(words.text, {});
  while (!text.empty() && text.back() == '\n') {
    text.pop_back();
  }
  std::replace(text.begin(), text.end(), '\n', ';');
  return text;
}

result<fuse_entry_param> entry_of(catalogue& in, const node& one, btrfs::index::link_number at) {
  auto facts = stat_of(in, one, at);
  if (!facts) {
    return std::move(facts.error());
  }
  fuse_entry_param made{};
  made.ino = one.id;
  made.attr = *facts;
  made.attr_timeout = kept_seconds;
  made.entry_timeout = kept_seconds;
  return made;
}

// A list, or a value, as getxattr(2) gives it.
void reply_sized(fuse_req_t to, const std::string& value, std::size_t room) {
  if (room == 0) {
    fuse_reply_xattr(to, value.size());
  } else if (value.size() > room) {
    fuse_reply_err(to, ERANGE);
  } else {
    fuse_reply_buf(to, value.data(), value.size());
  }
}

// Its reader has given up.
struct interrupted_read {
  engine::linked_stop_source stop;
  explicit interrupted_read(engine::stop_token all) : stop(all) {}
  static void call(fuse_req_t /*from*/, void* self) {
    static_cast<interrupted_read*>(self)->stop.request_stop();
  }
};

}  // namespace

// The functions that libfuse calls; on the reactor's thread, as serve() lets it.
struct fuse_calls {
  static fuse_filesystem& in(fuse_req_t request) {
    return *static_cast<fuse_filesystem*>(fuse_req_userdata(request));
  }
  static void init(void* self, fuse_conn_info* about) {
    static_cast<fuse_filesystem*>(self)->begin(*about);
  }
  static void look_up(fuse_req_t request, fuse_ino_t directory, const char* name) {
    in(request).look_up(request, directory, name);
  }
  static void attributes(fuse_req_t request, fuse_ino_t id, fuse_file_info* /*how*/) {
    in(request).attributes(request, id);
  }
  static void read_link(fuse_req_t request, fuse_ino_t id) { in(request).read_link(request, id); }
  static void open(fuse_req_t request, fuse_ino_t id, fuse_file_info* how) {
    in(request).open(request, id, *how);
  }
  static void read(fuse_req_t request, fuse_ino_t /*id*/, std::size_t size, off_t offset,
                   fuse_file_info* how) {
    in(request).read(request, how->fh, static_cast<std::uint64_t>(offset), size);
  }
  static void release(fuse_req_t request, fuse_ino_t /*id*/, fuse_file_info* how) {
    in(request)._files.erase(how->fh);
    fuse_reply_err(request, 0);
  }
  static void open_directory(fuse_req_t request, fuse_ino_t id, fuse_file_info* how) {
    fuse_filesystem& self = in(request);
    fuse_file_info made = *how;
    made.fh = ++self._last_handle;
    made.cache_readdir = 1;
    made.keep_cache = 1;
    self._directories.emplace(made.fh, std::make_shared<directory_cursor>(id));
    self._directory_of.emplace(made.fh, id);
    fuse_reply_open(request, &made);
  }
  static void list(fuse_req_t request, fuse_ino_t /*id*/, std::size_t size, off_t offset,
                   fuse_file_info* how) {
    in(request).list(request, how->fh, static_cast<std::uint64_t>(offset), size, false);
  }
  static void list_plus(fuse_req_t request, fuse_ino_t /*id*/, std::size_t size, off_t offset,
                        fuse_file_info* how) {
    in(request).list(request, how->fh, static_cast<std::uint64_t>(offset), size, true);
  }
  static void release_directory(fuse_req_t request, fuse_ino_t /*id*/, fuse_file_info* how) {
    in(request)._directories.erase(how->fh);
    in(request)._directory_of.erase(how->fh);
    fuse_reply_err(request, 0);
  }
  static void state(fuse_req_t request, fuse_ino_t /*id*/) { in(request).state(request); }
  static void attribute(fuse_req_t request, fuse_ino_t id, const char* name, std::size_t size) {
    in(request).attribute(request, id, name, size);
  }
  static void attribute_names(fuse_req_t request, fuse_ino_t id, std::size_t size) {
    in(request).attribute_names(request, id, size);
  }
  static void seek(fuse_req_t request, fuse_ino_t id, off_t offset, int whence,
                   fuse_file_info* /*how*/) {
    in(request).seek(request, id, offset, whence);
  }
  static fuse_lowlevel_ops all() {
    fuse_lowlevel_ops made{};
    made.init = init;
    made.lookup = look_up;
    made.getattr = attributes;
    made.readlink = read_link;
    made.open = open;
    made.read = read;
    made.release = release;
    made.opendir = open_directory;
    made.readdir = list;
    made.readdirplus = list_plus;
    made.releasedir = release_directory;
    made.statfs = state;
    made.getxattr = attribute;
    made.listxattr = attribute_names;
    made.lseek = seek;
    return made;
  }
};

fuse_filesystem::fuse_filesystem(const services& with, tree_desk& desk, file_reading& reading,
                                 unreadable& told, btrfs::index::link_number at,
                                 mount_options options)
    : _with(with),
      _desk(desk),
      _reading(reading),
      _told(told),
      _at(at),
      _options(std::move(options)),
      _scope(with.loop) {}

fuse_filesystem::~fuse_filesystem() {
  BTS3_ASSERT(_session == nullptr);
}

result<void> fuse_filesystem::mount(const std::string& directory) {
  std::string options = "ro,nosuid,nodev,subtype=btrfs_to_s3,fsname=" + _options.source;
  if (_options.allow_other) {
    options += ",allow_other,default_permissions";
  }
  std::string program = "btrfs_to_s3";
  std::string option = "-o";
  char* words[] = {program.data(), option.data(), options.data(), nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(3, words);
  const fuse_lowlevel_ops calls = fuse_calls::all();
  fuse_set_log_func(catch_words);
  take_words();
  error failure;
  _session = fuse_session_new(&arguments, &calls, sizeof calls, this);
  fuse_opt_free_args(&arguments);  // which it has copied
  if (_session == nullptr) {
    failure.message = "FUSE cannot be used: " + take_words();
    return failure;
  }
  if (fuse_session_mount(_session, directory.c_str()) != 0) {
    const std::string said = take_words();
    failure.message = "mounting at " + directory + " failed" + (said.empty() ? "" : ": " + said);
    failure.remedy = "what fusermount3 says above this line, if anything, tells why";
    end();
    return failure;
  }
  const int file = fuse_session_fd(_session);
  const int flags = ::fcntl(file, F_GETFL);
  if (flags < 0 || ::fcntl(file, F_SETFL, flags | O_NONBLOCK) < 0) {
    failure = engine::system_error(errno, "the descriptor of FUSE");
    fuse_session_unmount(_session);
    end();
    return failure;
  }
  return engine::ok();
}

void fuse_filesystem::end() {
  if (_session != nullptr) {
    // It frees what it knows of the mount, and unmounts whatever is there, unless that is over.
    pollfd kernel{fuse_session_fd(_session), 0, 0};
    if (::poll(&kernel, 1, 0) == 1 && (kernel.revents & POLLERR) != 0) {
      fuse_session_unmount(_session);
    }
    fuse_session_destroy(std::exchange(_session, nullptr));
  }
}

void fuse_filesystem::begin(fuse_conn_info& about) const {
  // Requests are small, and answers are in memory already.
  about.want &= ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
                                       FUSE_CAP_SPLICE_MOVE | FUSE_CAP_AUTO_INVAL_DATA);
  about.want |= about.capable & static_cast<unsigned>(FUSE_CAP_CACHE_SYMLINKS);
  if (_options.allow_other) {
    // Else the mask of an access-control list would be taken for the group's rights.
    about.want |= about.capable & static_cast<unsigned>(FUSE_CAP_POSIX_ACL);
  }
  about.max_background = background_max;
  about.congestion_threshold = background_max * 3 / 4;
}

task<void> fuse_filesystem::serve(engine::stop_token until) {
  fuse_buf room{};
  bool over = false;
  while (!over) {
    auto polling = _with.loop.poll(fuse_session_fd(_session), POLLIN, until);
    const auto ready = co_await std::move(polling);
    over = !ready;
    for (int taken = 0; !over && taken < requests_at_once; ++taken) {
      const int got = fuse_session_receive_buf(_session, &room);
      if (got == -EINTR) {
        continue;
      }
      if (got == -EAGAIN) {
        break;
      }
      over = got <= 0;
      if (!over) {
        fuse_session_process_buf(_session, &room);
        over = fuse_session_exited(_session) != 0;
      }
    }
  }
  std::free(room.mem);
}

task<void> fuse_filesystem::close() {
  auto joining = _scope.join();
  co_await std::move(joining);
}

// Names the file, which the index knows, and says what is wrong.
task<void> fuse_filesystem::tell(node_id about, error failure) {
  std::function<result<std::string>(catalogue&)> call =
      [about, at = _at](catalogue& in) -> result<std::string> {
    auto paths = in.paths(about, at);
    if (!paths) {
      return std::move(paths.error());
    }
    return paths->empty() ? std::string("inode ") + std::to_string(about) : paths->front();
  };
  auto asking = _desk.answer(std::move(call));
  const auto path = co_await std::move(asking);
  _told.tell(path ? *path : "inode " + std::to_string(about), failure);
}

void fuse_filesystem::ask(request from, node_id about, answer call) {
  _desk.ask([this, from, about, call = std::move(call)](result<catalogue*> in) {
    result<void> done = in ? call(**in) : result<void>(std::move(in.error()));
    if (done) {
      return;
    }
    fuse_reply_err(from, EIO);
    if (done.error().what_now != engine::disposition::cancelled) {
      const std::string what = "inode " + std::to_string(about);
      _with.loop.post([this, what, failure = done.error()] { _told.tell(what, failure); });
    }
  });
}

void fuse_filesystem::look_up(request from, node_id directory, std::string name) {
  ask(from, directory,
      [from, directory, name = std::move(name), at = _at](catalogue& in) -> result<void> {
        auto found = btrfs::index::look_up(in, directory, name, at);
        if (!found) {
          return std::move(found.error());
        }
        if (!*found) {
          fuse_entry_param none{};  // inode 0: there is none, and the kernel may keep that
          none.entry_timeout = kept_seconds;
          fuse_reply_entry(from, &none);
          return engine::ok();
        }
        auto made = entry_of(in, **found, at);
        if (!made) {
          return std::move(made.error());
        }
        fuse_reply_entry(from, &*made);
        return engine::ok();
      });
}

void fuse_filesystem::attributes(request from, node_id id) {
  ask(from, id, [from, id, at = _at](catalogue& in) -> result<void> {
    auto found = in.stat(id, at);
    if (!found) {
      return std::move(found.error());
    }
    if (!*found) {
      fuse_reply_err(from, ENOENT);
      return engine::ok();
    }
    auto facts = stat_of(in, **found, at);
    if (!facts) {
      return std::move(facts.error());
    }
    fuse_reply_attr(from, &*facts, kept_seconds);
    return engine::ok();
  });
}

void fuse_filesystem::read_link(request from, node_id id) {
  ask(from, id, [from, id, at = _at](catalogue& in) -> result<void> {
    auto found = in.stat(id, at);
    if (!found) {
      return std::move(found.error());
    }
    if (!*found || (*found)->type != node_type::symlink) {
      fuse_reply_err(from, EINVAL);
    } else {
      fuse_reply_readlink(from, (*found)->target.c_str());
    }
    return engine::ok();
  });
}

void fuse_filesystem::open(request from, node_id id, const fuse_file_info& how) {
  if ((how.flags & O_ACCMODE) != O_RDONLY) {
    fuse_reply_err(from, EROFS);
    return;
  }
  ask(from, id, [this, from, id, how](catalogue& in) -> result<void> {
    auto found = in.stat(id, _at);
    if (!found) {
      return std::move(found.error());
    }
    if (!*found || (*found)->type != node_type::file) {
      fuse_reply_err(from, EINVAL);
      return engine::ok();
    }
    auto file = std::make_shared<open_file>();
    file->at = std::move(**found);
    _with.loop.post([this, from, how, file] {
      fuse_file_info made = how;
      made.fh = ++_last_handle;
      made.keep_cache = 1;
      _files.emplace(made.fh, file);
      fuse_reply_open(from, &made);
    });
    return engine::ok();
  });
}

void fuse_filesystem::read(request from, std::uint64_t handle, std::uint64_t offset,
                           std::size_t size) {
  const auto file = _files.find(handle);
  if (file == _files.end()) {
    fuse_reply_err(from, EBADF);
    return;
  }
  _scope.spawn(answer_read(from, file->second, offset, size));
}

task<void> fuse_filesystem::answer_read(request from, std::shared_ptr<open_file> file,
                                        std::uint64_t offset, std::size_t size) {
  interrupted_read reader(_with.stop);
  fuse_req_interrupt_func(from, interrupted_read::call, &reader);
  auto reading = _reading.read(file, offset, size, reader.stop.token());
  auto bytes = co_await std::move(reading);
  fuse_req_interrupt_func(from, nullptr, nullptr);
  if (bytes) {
    fuse_reply_buf(from, reinterpret_cast<const char*>(bytes->data()), bytes->size());
    co_return;
  }
  const bool cancelled = bytes.error().what_now == engine::disposition::cancelled;
  // Not where the mount ends: then its reader must not try again.
  fuse_reply_err(from, cancelled && !_with.stop.stop_requested() ? EINTR : EIO);
  if (!cancelled) {
    auto telling = tell(file->at.id, std::move(bytes.error()));
    co_await std::move(telling);
  }
}

void fuse_filesystem::list(request from, std::uint64_t handle, std::uint64_t position,
                           std::size_t size, bool with_attributes) {
  const auto cursor = _directories.find(handle);
  if (cursor == _directories.end()) {
    fuse_reply_err(from, EBADF);
    return;
  }
  ask(from, _directory_of[handle],
      [from, position, size, with_attributes, at = _at,
       directory = cursor->second](catalogue& in) -> result<void> {
        std::vector<char> room(size);
        std::size_t filled = 0;
        const directory_cursor::taker take = [&](const shown_entry& one) -> result<bool> {
          result<fuse_entry_param> made = fuse_entry_param{};
          if (with_attributes) {
            made = entry_of(in, *one.at, at);
          } else {
            made->attr.st_ino = one.at->id;
            made->attr.st_mode = mode_of(*one.at);
          }
          if (!made) {
            return std::move(made.error());
          }
          const std::string name(one.name);
          char* const to = room.data() + filled;
          const std::size_t left = room.size() - filled;
          const auto next = static_cast<off_t>(one.position);
          const std::size_t needed =
              with_attributes ? fuse_add_direntry_plus(from, to, left, name.c_str(), &*made, next)
                              : fuse_add_direntry(from, to, left, name.c_str(), &made->attr, next);
          filled += needed <= left ? needed : 0;
          return needed <= left;
        };
        auto read = directory->read(in, at, position, take);
        if (!read) {
          return read;
        }
        fuse_reply_buf(from, room.data(), filled);
        return engine::ok();
      });
}

void fuse_filesystem::attribute(request from, node_id id, std::string name, std::size_t size) {
  ask(from, id, [from, id, name = std::move(name), size, at = _at](catalogue& in) -> result<void> {
    auto all = in.xattrs(id, at);
    if (!all) {
      return std::move(all.error());
    }
    const auto found = all->find(name);
    if (found == all->end()) {
      fuse_reply_err(from, ENODATA);
    } else {
      reply_sized(from, found->second, size);
    }
    return engine::ok();
  });
}

void fuse_filesystem::attribute_names(request from, node_id id, std::size_t size) {
  ask(from, id, [from, id, size, at = _at](catalogue& in) -> result<void> {
    auto all = in.xattrs(id, at);
    if (!all) {
      return std::move(all.error());
    }
    std::string names;
    for (const auto& [name, value] : *all) {
      names += name;
      names += '\0';
    }
    reply_sized(from, names, size);
    return engine::ok();
  });
}

void fuse_filesystem::seek(request from, node_id id, std::int64_t offset, int whence) {
  ask(from, id, [from, id, offset, whence, at = _at](catalogue& in) -> result<void> {
    auto found = in.stat(id, at);
    if (!found) {
      return std::move(found.error());
    }
    if (whence != SEEK_DATA && whence != SEEK_HOLE) {
      fuse_reply_err(from, EINVAL);
      return engine::ok();
    }
    if (!*found || offset < 0 || static_cast<std::uint64_t>(offset) >= (*found)->size) {
      fuse_reply_err(from, ENXIO);
      return engine::ok();
    }
    auto next = btrfs::index::next_of(in, **found, at, static_cast<std::uint64_t>(offset),
                                      whence == SEEK_DATA);
    if (!next) {
      return std::move(next.error());
    }
    *next ? fuse_reply_lseek(from, static_cast<off_t>(**next)) : fuse_reply_err(from, ENXIO);
    return engine::ok();
  });
}

// As large as the backup, and full.
void fuse_filesystem::state(request from) const {
  struct statvfs made{};
  made.f_bsize = 4096;
  made.f_frsize = 4096;
  made.f_blocks = (_options.bytes + 4095) / 4096;
  made.f_namemax = 255;
  fuse_reply_statfs(from, &made);
}

}  // namespace bts3::app
