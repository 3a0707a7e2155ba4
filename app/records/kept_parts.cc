#include "app/records/kept_parts.hh"

#include "app/host/disk_call.hh"
#include "engine/assert.hh"
#include "engine/files.hh"
#include "engine/sha256.hh"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <vector>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::result;
using engine::system_error;
using engine::task;
using engine::unique_fd;

constexpr char place_name[] = ".btrfs_to_s3-parts";
// Of direct reads and writes: no device has larger blocks, and slots are whole pages.
constexpr std::uint64_t page_bytes = 4096;
// Written and read at a time: a stop is seen in between.
constexpr std::uint64_t piece_bytes = std::uint64_t{8} << 20;
// A part that was paid for is still written after a stop, for so long: of the 10 s that a service
// has to end in, most are for what has to be undone.
constexpr std::chrono::seconds grace{3};

std::uint64_t whole_pages(std::uint64_t length) {
  return (length + page_bytes - 1) / page_bytes * page_bytes;
}

// Neither slashes nor length come from outside.
std::string name_for(const std::string& what) {
  engine::sha256_hasher hasher;
  hasher.update(std::as_bytes(std::span(what)));
  return hasher.digest().hex().substr(0, 32);
}

std::string name_of(const kept_parts::number& which) {
  return std::to_string(which.first) + "-" + std::to_string(which.second);
}

std::optional<kept_parts::number> number_in(std::string_view name) {
  kept_parts::number which;
  const char* const end = name.data() + name.size();
  const auto chunk = std::from_chars(name.data(), end, which.first);
  if (chunk.ec != std::errc() || chunk.ptr == end || *chunk.ptr != '-') {
    return std::nullopt;
  }
  const auto part = std::from_chars(chunk.ptr + 1, end, which.second);
  if (part.ec != std::errc() || part.ptr != end || name_of(which) != name) {
    return std::nullopt;
  }
  return which;
}

// A directory of ours alone; with `make` it is made. Nullopt: there is none.
result<std::optional<unique_fd>> open_own(int above, const std::string& name, bool make,
                                          const std::string& shown) {
  if (make && ::mkdirat(above, name.c_str(), 0700) != 0 && errno != EEXIST) {
    return system_error(errno, "making " + shown);
  }
  unique_fd there(::openat(above, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!there.valid()) {
    if (errno == ENOENT) {
      return std::nullopt;
    }
    return system_error(errno, shown);
  }
  struct stat entry{};
  if (::fstat(there.get(), &entry) != 0) {
    return system_error(errno, shown);
  }
  if (entry.st_uid != ::geteuid() || (entry.st_mode & 077) != 0) {
    error failure;
    failure.message = shown + " belongs to somebody else, or is open to others";
    failure.remedy = "look at what is in it, and remove it";
    return failure;
  }
  return std::optional<unique_fd>(std::move(there));
}

// A part while it is written: under its own name it is whole, however its writer ended.
std::string unfinished(const std::string& name) {
  return name + ".new";
}

result<std::optional<unique_fd>> open_place(const config& settings, bool make) {
  if (make) {
    (void)engine::make_last_directory(settings.global.spool_dir);  // else opening it says why not
  }
  auto above = engine::open_directory(settings.global.spool_dir);
  if (!above) {
    return std::move(above.error()).within("global.spool_dir");
  }
  return open_own(above->get(), place_name, make, settings.global.spool_dir + "/" + place_name);
}

std::vector<std::string> entries_of(int directory) {
  std::vector<std::string> names;
  unique_fd again(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::unique_ptr<DIR, int (*)(DIR*)> reading(
      again.valid() ? ::fdopendir(again.get()) : nullptr, &::closedir);
  if (reading) {
    (void)again.release();  // closedir() closes it
  }
  while (const dirent* entry = reading ? ::readdir(reading.get()) : nullptr) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") {
      names.push_back(name);
    }
  }
  return names;
}

std::uint64_t size_of(int directory, const std::string& name) {
  struct stat entry{};
  return ::fstatat(directory, name.c_str(), &entry, AT_SYMLINK_NOFOLLOW) == 0 &&
                 S_ISREG(entry.st_mode)
             ? static_cast<std::uint64_t>(entry.st_size)
             : 0;
}

// The link's directory, and what is in it; returns the bytes.
std::uint64_t remove_link(int target, const std::string& name) {
  std::uint64_t bytes = 0;
  const auto link = open_own(target, name, false, name);
  if (link && *link) {
    for (const std::string& part : entries_of((*link)->get())) {
      bytes += size_of((*link)->get(), part);
      (void)::unlinkat((*link)->get(), part.c_str(), 0);
    }
  }
  // An entry that is no directory of ours is none that this has made.
  (void)::unlinkat(target, name.c_str(), AT_REMOVEDIR);
  return bytes;
}

std::uint64_t remove_target(int place, const std::string& name) {
  std::uint64_t bytes = 0;
  const auto target = open_own(place, name, false, name);
  if (target && *target) {
    for (const std::string& link : entries_of((*target)->get())) {
      bytes += remove_link((*target)->get(), link);
    }
  }
  (void)::unlinkat(place, name.c_str(), AT_REMOVEDIR);
  return bytes;
}

// Of a target: its bytes, and when anything was added last.
struct usage_of_target {
  std::uint64_t bytes = 0;
  std::int64_t newest = 0;  // seconds of Unix time
};

usage_of_target usage_of(int place, const std::string& name) {
  usage_of_target found;
  const auto target = open_own(place, name, false, name);
  if (!target || !*target) {
    return found;
  }
  struct stat entry{};
  if (::fstat((*target)->get(), &entry) == 0) {
    found.newest = entry.st_mtim.tv_sec;
  }
  for (const std::string& one : entries_of((*target)->get())) {
    const auto link = open_own((*target)->get(), one, false, one);
    if (!link || !*link) {
      continue;
    }
    if (::fstat((*link)->get(), &entry) == 0) {
      found.newest = std::max<std::int64_t>(found.newest, entry.st_mtim.tv_sec);
    }
    for (const std::string& part : entries_of((*link)->get())) {
      found.bytes += size_of((*link)->get(), part);
    }
  }
  return found;
}

std::uint64_t remove_stale(int place, const std::string& but, std::int64_t now,
                           std::chrono::milliseconds age_max) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(age_max).count();
  std::uint64_t bytes = 0;
  for (const std::string& name : entries_of(place)) {
    if (name != but && usage_of(place, name).newest < now - seconds) {
      bytes += remove_target(place, name);
    }
  }
  return bytes;
}

std::int64_t seconds_now(const services& with) {
  return std::chrono::duration_cast<std::chrono::seconds>(with.clock.now().time_since_epoch())
      .count();
}

// Past the page cache, which a restore needs for other things, where the filesystem lets it.
unique_fd open_part(int link, const std::string& name, int flags, bool direct) {
  return unique_fd(::openat(link, name.c_str(),
                            flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (direct ? O_DIRECT : 0),
                            0600));
}

result<void> write_all(int file, std::span<const std::byte> bytes,
                       const std::atomic<bool>& stopped) {
  std::optional<std::chrono::steady_clock::time_point> until;
  for (std::uint64_t at = 0; at < bytes.size();) {
    const auto now = std::chrono::steady_clock::now();
    if (!until && stopped.load(std::memory_order_relaxed)) {
      until = now + grace;
    }
    if (until && now > *until) {
      return engine::cancelled_error();
    }
    const std::uint64_t count = std::min<std::uint64_t>(piece_bytes, bytes.size() - at);
    const ssize_t put = ::pwrite(file, bytes.data() + at, count, static_cast<off_t>(at));
    if (put < 0 && errno == EINTR) {
      continue;
    }
    if (put <= 0) {
      return system_error(put < 0 ? errno : ENOSPC, "keeping a part");
    }
    at += static_cast<std::uint64_t>(put);
  }
  return engine::ok();
}

result<void> write_part(int link, const std::string& name, std::span<std::byte> slot,
                        std::uint64_t length, const std::atomic<bool>& stopped) {
  const std::uint64_t padded = whole_pages(length);
  std::memset(slot.data() + length, 0, padded - length);
  result<void> written = engine::ok();
  const std::string being_written = unfinished(name);
  for (const bool direct : {true, false}) {
    (void)::unlinkat(link, being_written.c_str(), 0);
    const unique_fd file = open_part(link, being_written, O_WRONLY | O_CREAT | O_EXCL, direct);
    if (!file.valid()) {
      written = system_error(errno, "keeping a part");
    } else {
      written = write_all(file.get(), slot.first(padded), stopped);
      if (written && padded != length && ::ftruncate(file.get(), static_cast<off_t>(length)) != 0) {
        written = system_error(errno, "keeping a part");
      }
      if (written && !direct) {
        (void)::fdatasync(file.get());
        (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
      }
    }
    if (written || written.error().status != EINVAL) {
      break;
    }
  }
  if (written && ::renameat(link, being_written.c_str(), link, name.c_str()) != 0) {
    written = system_error(errno, "keeping a part");
  }
  if (!written) {
    (void)::unlinkat(link, being_written.c_str(), 0);
  }
  return written;
}

result<void> read_part(int link, const std::string& name, std::span<std::byte> into,
                       std::uint64_t length) {
  const std::string shown = "a part that was kept";
  result<void> outcome = engine::ok();
  for (const bool direct : {true, false}) {
    const unique_fd file = open_part(link, name, O_RDONLY, direct);
    struct stat entry{};
    if (!file.valid() || ::fstat(file.get(), &entry) != 0) {
      outcome = system_error(errno, shown);
    } else if (!S_ISREG(entry.st_mode) || static_cast<std::uint64_t>(entry.st_size) != length) {
      return system_error(EBADMSG, shown);
    } else {
      outcome = engine::ok();
      for (std::uint64_t at = 0; at < length;) {
        const std::uint64_t count = std::min(piece_bytes, whole_pages(length) - at);
        const ssize_t got = ::pread(file.get(), into.data() + at, count, static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) {
          continue;
        }
        if (got <= 0) {
          outcome = system_error(got < 0 ? errno : EBADMSG, shown);
          break;
        }
        at += static_cast<std::uint64_t>(got);
      }
      if (outcome && !direct) {
        (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
      }
    }
    if (outcome || outcome.error().status != EINVAL) {
      break;
    }
  }
  return outcome;
}

struct raise_flag {
  std::atomic<bool>* flag;
  void operator()() const { flag->store(true, std::memory_order_relaxed); }
};

}  // namespace

kept_parts::kept_parts(const services& with, std::string target, std::uint64_t limit_bytes)
    : _with(with), _target(std::move(target)), _limit(limit_bytes) {}

void kept_parts::give_up(std::string reason) {
  _given_up = true;
  if (!std::exchange(_told, true)) {
    _with.log.write(log_level::warning, "restore", "parts_not_kept",
                    {{"reason", std::move(reason)},
                     {"consequence",
                      "after an interruption the next run downloads again what is "
                      "not kept of this backup"}});
  }
}

// Blocks.
result<void> kept_parts::open(const std::string& manifest_key, std::uint64_t& dropped) {
  const std::string shown = _with.settings.global.spool_dir + "/" + place_name;
  auto place = open_place(_with.settings, true);
  if (!place) {
    return std::move(place.error());
  }
  const std::string target_name = name_for(_target);
  dropped +=
      remove_stale((*place)->get(), target_name, seconds_now(_with), _with.settings.s3.resume_for);
  auto target = open_own((*place)->get(), target_name, true, shown + "/" + target_name);
  if (!target) {
    return std::move(target.error());
  }
  const std::string link_name = name_for(manifest_key);
  for (const std::string& other : entries_of((*target)->get())) {
    if (other != link_name) {
      dropped += remove_link((*target)->get(), other);
    }
  }
  auto link =
      open_own((*target)->get(), link_name, true, shown + "/" + target_name + "/" + link_name);
  if (!link) {
    return std::move(link.error());
  }
  for (const std::string& name : entries_of((*place)->get())) {
    _total += usage_of((*place)->get(), name).bytes;
  }
  for (const std::string& name : entries_of((*link)->get())) {
    const auto which = number_in(name);
    const std::uint64_t size = size_of((*link)->get(), name);
    if (which && size > 0) {
      _there[*which] = size;
      _bytes += size;
    } else {
      (void)::unlinkat((*link)->get(), name.c_str(), 0);
    }
  }
  _link = std::move(**link);
  return engine::ok();
}

task<void> kept_parts::begin(std::string manifest_key) {
  _link.reset();
  _there.clear();
  _bytes = 0;
  _total = 0;
  _given_up = false;
  std::uint64_t dropped = 0;
  std::function<result<void>()> call = [this, &manifest_key, &dropped] {
    return open(manifest_key, dropped);
  };
  auto opening = disk_call(_with.loop, std::move(call));
  auto opened = co_await std::move(opening);
  if (dropped > 0) {
    _with.log.write(
        log_level::info, "restore", "kept_parts_removed",
        {{"bytes", std::to_string(dropped)}, {"reason", "they are of another backup, or too old"}});
  }
  if (!opened) {
    give_up(opened.error().text());
    co_return;
  }
  if (_bytes > 0) {
    _with.log.write(log_level::info, "restore", "parts_kept_from_before",
                    {{"manifest", manifest_key},
                     {"parts", std::to_string(_there.size())},
                     {"bytes", std::to_string(_bytes)}});
  }
}

bool kept_parts::holds(number which, std::uint64_t length) const {
  const auto found = _there.find(which);
  return found != _there.end() && found->second == length;
}

task<result<void>> kept_parts::read(number which, std::span<std::byte> into, std::uint64_t length) {
  BTS3_ASSERT(whole_pages(length) <= into.size());
  std::function<result<void>()> call = [this, which, into, length] {
    return read_part(_link.get(), name_of(which), into, length);
  };
  auto reading = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(reading);
}

void kept_parts::drop(number which) {
  const auto found = _there.find(which);
  if (found != _there.end()) {
    _bytes -= found->second;
    _total -= std::min(_total, found->second);
    _there.erase(found);
    (void)::unlinkat(_link.get(), name_of(which).c_str(), 0);
  }
}

task<void> kept_parts::keep(number which, std::span<std::byte> slot, std::uint64_t length,
                            engine::stop_token stop) {
  if (!_link.valid() || _given_up || whole_pages(length) > slot.size()) {
    co_return;
  }
  drop(which);  // of another length
  if (_total + length > _limit) {
    give_up("global.spool_size_bytes allows " + std::to_string(_limit) + " bytes, and " +
            std::to_string(_total) + " are kept");
    co_return;
  }
  _total += length;
  std::atomic<bool> stopped{false};
  const engine::stop_callback<raise_flag> on_stop(stop, raise_flag{&stopped});
  std::function<result<void>()> call = [this, which, slot, length, &stopped] {
    return write_part(_link.get(), name_of(which), slot, length, stopped);
  };
  auto writing = disk_call(_with.loop, std::move(call));
  auto written = co_await std::move(writing);
  if (written) {
    _there[which] = length;
    _bytes += length;
    co_return;
  }
  _total -= std::min(_total, length);
  if (written.error().what_now != engine::disposition::cancelled) {
    give_up(written.error().text() + " in " + _with.settings.global.spool_dir);
  }
}

task<void> kept_parts::forget() {
  _link.reset();
  _there.clear();
  _bytes = 0;
  std::function<result<void>()> call = [this] {
    const auto place = open_place(_with.settings, false);
    if (place && *place) {
      (void)remove_target((*place)->get(), name_for(_target));
      if (const auto above = engine::open_directory(_with.settings.global.spool_dir)) {
        (void)::unlinkat(above->get(), place_name, AT_REMOVEDIR);  // the last one's
      }
    }
    return engine::ok();
  };
  auto removing = disk_call(_with.loop, std::move(call));
  (void)co_await std::move(removing);
}

std::uint64_t kept_bytes_of(const config& settings, const std::string& target,
                            const std::string& manifest_key) {
  std::uint64_t bytes = 0;
  const auto place = open_place(settings, false);
  const std::string target_name = name_for(target);
  const auto there = place && *place ? open_own((*place)->get(), target_name, false, target_name)
                                     : result<std::optional<unique_fd>>(std::nullopt);
  const std::string link_name = name_for(manifest_key);
  const auto link = there && *there ? open_own((*there)->get(), link_name, false, link_name)
                                    : result<std::optional<unique_fd>>(std::nullopt);
  if (link && *link) {
    for (const std::string& name : entries_of((*link)->get())) {
      bytes += number_in(name) ? size_of((*link)->get(), name) : 0;
    }
  }
  return bytes;
}

void remove_stale_parts(const services& with) {
  const auto place = open_place(with.settings, false);
  if (!place || !*place) {
    return;
  }
  const std::uint64_t bytes =
      remove_stale((*place)->get(), "", seconds_now(with), with.settings.s3.resume_for);
  if (bytes > 0) {
    with.log.write(log_level::info, "restore", "kept_parts_removed",
                   {{"bytes", std::to_string(bytes)},
                    {"reason", "no restore went on with them for s3.resume_for"}});
  }
}

}  // namespace bts3::app
