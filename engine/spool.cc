#include "engine/spool.hh"

#include "engine/assert.hh"
#include "engine/files.hh"
#include "engine/wording.hh"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace bts3::engine {

namespace {

// Of the file while it has a name, followed by "PID.N".
constexpr std::string_view name_prefix = ".btrfs_to_s3-spool.";

// Names tried before giving up: one is taken only by another run in the same instant.
constexpr int names_max = 100;

// Of 5 MiB, S3's least for a part, these are 5 TiB; their list takes 8 MiB of memory.
constexpr std::uint64_t regions_max = std::uint64_t{1} << 20;

std::string directory_remedy() {
  return setting::spool_directory +
         wording(" must name a writable directory on a local disk (is the disk mounted?); ") +
         setting::spool + " = false works without";
}

std::string space_remedy() {
  return "free space there, lower " + wording(setting::spool_size) + ", or set " + setting::spool +
         " = false";
}

bool no_space(const error& failure) {
  return failure.why == reason::system &&
         (failure.status == ENOSPC || failure.status == EDQUOT || failure.status == EFBIG);
}

error of_configuration(error failure) {
  failure.what_now = disposition::fail;
  failure.why = reason::configuration;
  return failure;
}

struct directory_closer {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Removes what runs left that died between creating their file and unlinking it.
result<void> remove_leftovers(const std::string& directory, log_sink& log) {
  const std::unique_ptr<DIR, directory_closer> listing(::opendir(directory.c_str()));
  if (!listing) {
    return of_configuration(system_error(errno, directory, directory_remedy()));
  }
  while (const dirent* entry = ::readdir(listing.get())) {
    const std::string name = entry->d_name;
    struct stat info{};
    if (!name.starts_with(name_prefix) ||
        ::fstatat(::dirfd(listing.get()), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(info.st_mode)) {
      continue;
    }
    if (::unlinkat(::dirfd(listing.get()), name.c_str(), 0) == 0) {
      log.write(log_level::info, "engine", "spool_leftover_removed",
                {{"file", directory + "/" + name}, {"bytes", std::to_string(info.st_size)}});
    } else if (errno != ENOENT) {  // else another run was quicker
      log.write(log_level::warning, "engine", "spool_leftover_not_removed",
                {{"file", directory + "/" + name}, {"error", ::strerrordesc_np(errno)}});
    }
  }
  return ok();
}

// A new file without a name in `directory`; errno says why not.
unique_fd open_unnamed(const std::string& directory, bool tmpfile, int flags) {
  flags |= O_RDWR | O_CLOEXEC;
  if (tmpfile) {
    // O_EXCL: can never be given a name.
    unique_fd file(::open(directory.c_str(), flags | O_TMPFILE | O_EXCL, 0600));
    if (file.valid() || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) {
      return file;
    }
  }
  for (int number = 0; number < names_max; ++number) {
    const std::string path = directory + "/" + std::string(name_prefix) +
                             std::to_string(::getpid()) + "." + std::to_string(number);
    unique_fd file(::open(path.c_str(), flags | O_CREAT | O_EXCL, 0600));
    if (file.valid() && ::unlink(path.c_str()) != 0 && errno != ENOENT) {
      return {};
    }
    if (file.valid() || errno != EEXIST) {
      return file;
    }
  }
  return {};
}

}  // namespace

std::string spool_disk_remedy() {
  return "the disk may be failing: look at the kernel's log, then point " +
         wording(setting::spool_directory) + " to another disk or set " + setting::spool +
         " = false";
}

void spool_lease::release() {
  if (spool* owner = std::exchange(_spool, nullptr)) {
    owner->give_back(_index);
  }
}

spool::spool(reactor& loop, spool_options options, log_sink& log)
    : _loop(loop),
      _options(std::move(options)),
      _log(log),
      _turn(loop, 1, "a place in the spool"),
      _freed(loop, "a place in the spool") {}

spool::~spool() {
  BTS3_ASSERT(_free.size() == _parts);
}

result<std::unique_ptr<spool>> spool::create(reactor& loop, spool_options options, log_sink& log) {
  BTS3_ASSERT(options.part_bytes > 0);
  auto made = std::unique_ptr<spool>(new spool(loop, std::move(options), log));
  auto opened = made->open();
  if (!opened) {
    return std::move(opened.error());
  }
  return made;
}

std::uint64_t spool::region_bytes() const {
  return (_options.part_bytes + _block_bytes - 1) / _block_bytes * _block_bytes;
}

error spool::trouble(error failure, const char* doing) const {
  if (failure.what_now == disposition::cancelled) {
    return failure;
  }
  failure.what_now = disposition::fail;
  failure.remedy = no_space(failure) ? space_remedy() : spool_disk_remedy();
  return std::move(failure).within(std::string(doing) + " in " + _options.directory);
}

result<void> spool::open() {
  if (make_last_directory(_options.directory)) {
    _log.write(
        log_level::info, "engine", "directory_made",
        {{"path", _options.directory}, {"key", std::string(name_of(setting::spool_directory))}});
  }
  auto directory = open_directory(_options.directory);
  if (!directory) {
    error failure = std::move(directory.error());
    failure.remedy = directory_remedy();
    return of_configuration(std::move(failure)).within("the spool's directory");
  }
  auto removed = remove_leftovers(_options.directory, _log);
  if (!removed) {
    return removed;
  }
  auto opened = open_file();
  if (!opened) {
    return opened;
  }
  auto learnt = learn_conduct();
  if (!learnt) {
    return learnt;
  }
  const std::uint64_t regions = std::min(_options.budget_bytes / region_bytes(), regions_max);
  if (regions == 0) {
    return configuration_error(
        std::string(name_of(setting::spool_size)) + " (" + std::to_string(_options.budget_bytes) +
            ") is smaller than one part (" + std::to_string(region_bytes()) + " bytes)",
        "raise it, lower " + wording(setting::part_size) + ", or set " + setting::spool +
            " = false");
  }
  auto room = check_free_space();
  if (!room) {
    return room;
  }
  _parts = static_cast<std::size_t>(regions);
  _allocated.resize(_parts);
  for (std::size_t index = _parts; index > 0; --index) {
    _free.push_back(index - 1);
  }
  return ok();
}

result<void> spool::open_file() {
  _direct = _options.direct;
  errno = EINVAL;
  if (_direct) {
    _file = open_unnamed(_options.directory, _options.unnamed_file, O_DIRECT);
  }
  if (!_file.valid() && errno == EINVAL) {
    _direct = false;
    _file = open_unnamed(_options.directory, _options.unnamed_file, 0);
  }
  if (!_file.valid()) {
    const int refused = errno;
    error failure =
        system_error(refused, "making a spool file in " + _options.directory,
                     refused == ENOSPC || refused == EDQUOT ? space_remedy() : directory_remedy());
    return refused == EACCES || refused == EPERM || refused == EROFS
               ? of_configuration(std::move(failure))
               : failure;
  }
  // Btrfs: write in place, without checksums. Copy-on-write would outgrow the preallocated space,
  // and direct writes with checksums are buffered since Linux 6.15. Others do not know the flag.
  int flags = 0;
  if (::ioctl(_file.get(), FS_IOC_GETFLAGS, &flags) == 0) {
    flags |= FS_NOCOW_FL;
    (void)::ioctl(_file.get(), FS_IOC_SETFLAGS, &flags);
  }
  return ok();
}

result<void> spool::check_free_space() {
  struct statvfs space{};
  if (::fstatvfs(_file.get(), &space) != 0) {
    return system_error(errno, "statvfs of " + _options.directory);
  }
  const std::uint64_t available = std::uint64_t{space.f_bavail} * space.f_frsize;
  if (available < region_bytes()) {
    return trouble(
        system_error(ENOSPC, "one part is " + std::to_string(region_bytes()) + " bytes, and " +
                                 std::to_string(available) + " are free"),
        "the spool");
  }
  if (available < _options.budget_bytes) {
    _log.write(log_level::warning, "engine", "spool_larger_than_free_space",
               {{"dir", _options.directory},
                {"budget_bytes", std::to_string(_options.budget_bytes)},
                {"free_bytes", std::to_string(available)},
                {"remedy", "the spool uses what there is; lower " +
                               std::string(name_of(setting::spool_size))}});
  }
  return ok();
}

// Finds out the alignment, and whether direct I/O is what the filesystem does.
result<void> spool::learn_conduct() {
  _block_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::string reason_why = "the filesystem refuses O_DIRECT";
  if (_direct) {
    auto why = why_not_direct();
    if (!why) {
      return std::move(why.error());
    }
    reason_why = std::move(*why);
    _direct = reason_why.empty();
  }
  if (_direct) {
    return ok();
  }
  const int flags = ::fcntl(_file.get(), F_GETFL);
  if (flags < 0 || ::fcntl(_file.get(), F_SETFL, flags & ~O_DIRECT) != 0) {
    return system_error(errno, "switching the spool in " + _options.directory + " to buffered");
  }
  // The kernel's own read-ahead would bring in what lies behind a part, and nobody drops that.
  const int advised = ::posix_fadvise(_file.get(), 0, 0, POSIX_FADV_RANDOM);
  if (advised != 0) {
    return system_error(advised, "posix_fadvise in " + _options.directory);
  }
  _log.write(log_level::info, "engine", "spool_buffered",
             {{"dir", _options.directory},
              {"reason", reason_why},
              {"consequence", "more CPU time and page cache for each byte"}});
  return ok();
}

// Writes one block and looks where it went: empty when to the disk.
result<std::string> spool::why_not_direct() {
#ifdef STATX_DIOALIGN
  // Linux 6.1; ext4, XFS and block devices fill it in.
  struct statx facts{};
  if (::statx(_file.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &facts) == 0 &&
      (facts.stx_mask & STATX_DIOALIGN) != 0) {
    if (facts.stx_dio_offset_align == 0) {
      return std::string("the filesystem does no direct I/O on this file");
    }
    const auto asked = std::max<std::size_t>(facts.stx_dio_offset_align, facts.stx_dio_mem_align);
    _block_bytes = std::max(_block_bytes, std::bit_ceil(asked));
  }
#endif
  struct mapping {
    mapping(std::size_t length, int flags, int fd)
        : bytes(length),
          memory(
              ::mmap(nullptr, length, fd < 0 ? PROT_READ | PROT_WRITE : PROT_READ, flags, fd, 0)) {}
    mapping(const mapping&) = delete;
    mapping& operator=(const mapping&) = delete;
    ~mapping() {
      if (memory != MAP_FAILED) {
        ::munmap(memory, bytes);
      }
    }
    std::size_t bytes;
    void* memory;
  };
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const mapping zeros(_block_bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  if (zeros.memory == MAP_FAILED) {
    return system_error(errno, "allocating a block");
  }
  std::memset(zeros.memory, 0, _block_bytes);
  const ssize_t written = ::pwrite(_file.get(), zeros.memory, _block_bytes, 0);
  if (written < 0 && errno == EINVAL) {
    return std::string("the filesystem refuses direct writes");
  }
  if (written != static_cast<ssize_t>(_block_bytes)) {
    return trouble(system_error(written < 0 ? errno : ENOSPC, "writing the first block"),
                   "the spool");
  }
  const mapping file(_block_bytes, MAP_SHARED, _file.get());
  std::vector<unsigned char> resident(_block_bytes / page);
  if (file.memory == MAP_FAILED || ::mincore(file.memory, _block_bytes, resident.data()) != 0) {
    return std::string();  // cannot be told; nothing depends on it but the cache
  }
  if (std::any_of(resident.begin(), resident.end(), [](unsigned char one) { return one & 1; })) {
    return std::string("the filesystem takes O_DIRECT and caches all the same");
  }
  return std::string();
}

task<result<spool_lease>> spool::acquire(stop_token stop) {
  // One at a time gets past here, in the order of asking.
  auto asking = _turn.acquire(stop);
  auto turn = co_await std::move(asking);
  if (!turn) {
    co_return std::move(turn.error());
  }
  for (;;) {
    while (_free.empty()) {
      auto waiting = _freed.wait(stop);
      const bool woken = co_await std::move(waiting);
      if (!woken) {
        co_return cancelled_error();
      }
    }
    const std::size_t index = _free.back();
    _free.pop_back();
    spool_lease lease(this, index);
    if (_allocated[index]) {
      co_return std::move(lease);
    }
    auto allocating = make_room(index, stop);
    auto allocated = co_await std::move(allocating);
    if (allocated) {
      _allocated[index] = true;
      co_return std::move(lease);
    }
    lease.release();
    const bool others = std::find(_allocated.begin(), _allocated.end(), true) != _allocated.end();
    if (!no_space(allocated.error()) || !others) {
      co_return trouble(std::move(allocated.error()), "making room for a part");
    }
    forget_unallocated(allocated.error());
  }
}

task<result<void>> spool::make_room(std::size_t index, stop_token stop) {
  const std::uint64_t start = index * region_bytes();
  for (;;) {
    auto allocating = _loop.allocate(_file.get(), start, region_bytes(), stop);
    auto allocated = co_await std::move(allocating);
    if (allocated || allocated.error().status == EINTR) {
      if (allocated) {
        co_return ok();
      }
      continue;
    }
    if (allocated.error().status != EOPNOTSUPP) {
      co_return allocated;
    }
    break;
  }
  // Without preallocation a full disk shows when a piece is written.
  struct stat info{};
  const auto end = static_cast<off_t>(start + region_bytes());
  if (::fstat(_file.get(), &info) != 0 ||
      (info.st_size < end && ::ftruncate(_file.get(), end) != 0)) {
    co_return system_error(errno, "ftruncate");
  }
  co_return ok();
}

// The disk has no more room than for the regions that are there.
void spool::forget_unallocated(const error& failure) {
  std::erase_if(_free, [this](std::size_t index) { return !_allocated[index]; });
  _parts = static_cast<std::size_t>(std::count(_allocated.begin(), _allocated.end(), true));
  _log.write(log_level::warning, "engine", "spool_shrunk",
             {{"dir", _options.directory},
              {"parts", std::to_string(_parts)},
              {"error", failure.message},
              {"remedy", space_remedy()}});
}

void spool::give_back(std::size_t index) {
  _free.push_back(index);
  _freed.wake_one();
}

task<result<void>> spool::write(const spool_lease& part, buffer_pool& pool, const slot_lease& slot,
                                std::size_t length, std::uint64_t offset, stop_token stop) {
  const std::size_t padded = (length + _block_bytes - 1) / _block_bytes * _block_bytes;
  BTS3_ASSERT(part._spool == this && offset % _block_bytes == 0 && length > 0);
  BTS3_ASSERT(padded <= slot.bytes().size() && offset + padded <= region_bytes());
  const std::span<std::byte> tail = slot.bytes().subspan(length, padded - length);
  std::fill(tail.begin(), tail.end(), std::byte{0});
  const std::uint64_t start = part._index * region_bytes() + offset;
  std::size_t done = 0;
  while (done < padded) {
    auto writing = pool.write_at(slot, done, padded - done, _file.get(), start + done, stop);
    auto written = co_await std::move(writing);
    if (!written) {
      if (written.error().status == EINTR) {
        continue;
      }
      co_return trouble(std::move(written.error()), "the spool");
    }
    if (*written == 0) {
      co_return trouble(system_error(EIO, "write took nothing"), "the spool");
    }
    done += *written;
  }
  if (!_direct) {
    // A piece is at most a slot, far below the 4 GiB that one call takes.
    const auto bytes = static_cast<std::uint32_t>(padded);
    auto flushing = _loop.write_back(_file.get(), start, bytes, stop);
    auto flushed = co_await std::move(flushing);
    if (!flushed) {
      co_return trouble(std::move(flushed.error()), "the spool");
    }
    auto dropping = _loop.drop_cached(_file.get(), start, bytes, stop);
    auto dropped = co_await std::move(dropping);
    if (!dropped) {
      co_return trouble(std::move(dropped.error()), "the spool");
    }
  }
  co_return ok();
}

task<result<void>> spool::read(const spool_lease& part, buffer_pool& pool, const slot_lease& slot,
                               std::size_t slot_offset, std::size_t length, std::uint64_t offset,
                               stop_token stop) {
  const std::size_t padded = (length + _block_bytes - 1) / _block_bytes * _block_bytes;
  BTS3_ASSERT(part._spool == this && offset % _block_bytes == 0 && length > 0);
  BTS3_ASSERT(slot_offset % _block_bytes == 0 && slot_offset + padded <= slot.bytes().size());
  BTS3_ASSERT(offset + padded <= region_bytes());
  const std::uint64_t start = part._index * region_bytes() + offset;
  std::size_t done = 0;
  while (done < padded) {
    auto reading =
        pool.read_at(slot, slot_offset + done, padded - done, _file.get(), start + done, stop);
    auto got = co_await std::move(reading);
    if (!got) {
      if (got.error().status == EINTR) {
        continue;
      }
      co_return trouble(std::move(got.error()), "the spool");
    }
    if (*got == 0) {
      co_return trouble(system_error(EIO, "the file ends before the part does"), "the spool");
    }
    done += *got;
  }
  if (!_direct) {
    auto dropping = _loop.drop_cached(_file.get(), start, static_cast<std::uint32_t>(padded), stop);
    auto dropped = co_await std::move(dropping);
    if (!dropped) {
      co_return trouble(std::move(dropped.error()), "the spool");
    }
  }
  co_return ok();
}

}  // namespace bts3::engine
