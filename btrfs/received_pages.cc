#include "btrfs/received_pages.hh"

#include "btrfs/subvolume.hh"

#include <dirent.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

namespace bts3::btrfs {

namespace {

// Between two looks at what has been received since.
constexpr std::chrono::milliseconds pause{200};
// From the begin of writing to letting go, and to the next attempt when the disk was slower.
constexpr std::chrono::seconds age{1};
// When all was received and written: what was held just then, as by the kernel's own reclaim, is
// free again soon.
constexpr int last_attempts = 5;
constexpr std::chrono::milliseconds last_pause{20};
// Of a file that still grows, so much more at a time. Larger than any extent of compressed data
// (128 KiB), and a quarter of the largest other one: writing early splits few extents.
constexpr off_t step = off_t{32} << 20;
// Looking up smaller files costs more than evicting them does later.
constexpr off_t smallest = off_t{256} << 10;
// After so many small ones only every so many-th is looked up, until a larger one is met: looking
// all of 60,000 files of 4 KiB up made receiving them 6 % slower.
constexpr std::uint64_t small_ones = 32;
constexpr std::uint64_t stride = 16;
// Ranges, each with a file held open.
constexpr std::size_t ranges_max = 256;

// Where in the subvolume an inode is at the moment; nullopt when there is none of that number.
std::optional<std::string> path_of(int subvolume, std::uint64_t inode) {
  btrfs_ioctl_ino_lookup_args lookup{};
  lookup.objectid = inode;
  if (::ioctl(subvolume, BTRFS_IOC_INO_LOOKUP, &lookup) < 0) {
    // Where it is may not fit the answer: then nothing can be opened, and the walk goes on.
    return errno == ENAMETOOLONG ? std::optional<std::string>("") : std::nullopt;
  }
  std::string path = lookup.name;
  if (path.ends_with('/')) {
    path.pop_back();
  }
  return path;
}

// Whether a page of these bytes of a file is in memory, by mincore(2): 15 ms of CPU time for a GiB
// of which nothing is. From the end, which the kernel writes last.
bool in_memory(int file, off_t offset, off_t length) {
  std::vector<unsigned char> pages(static_cast<std::size_t>(step / ::sysconf(_SC_PAGESIZE)));
  for (off_t end = offset + length; end > offset;) {
    const off_t begin = std::max(offset, (end - 1) / step * step);
    const auto bytes = static_cast<std::size_t>(end - begin);
    void* mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, begin);
    if (mapped == MAP_FAILED) {
      return false;
    }
    std::ranges::fill(pages, 0);
    (void)::mincore(mapped, bytes, pages.data());
    ::munmap(mapped, bytes);
    if (std::ranges::any_of(pages, [](unsigned char page) { return (page & 1) != 0; })) {
      return true;
    }
    end = begin;
  }
  return false;
}

}  // namespace

received_pages::received_pages(std::string directory, std::vector<std::string> others)
    : _directory(std::move(directory)),
      _others(std::move(others)),
      _inode(BTRFS_FIRST_FREE_OBJECTID + 1) {
  try {
    _thread = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    // No thread can be started: then the pages stay until the subvolume is deleted.
  }
}

received_pages::~received_pages() {
  if (!_thread.joinable()) {
    return;
  }
  {
    const std::lock_guard lock(_mutex);
    _stop = true;
  }
  _changed.notify_one();
  _thread.join();
}

void received_pages::finish() {
  if (!_thread.joinable()) {
    return;
  }
  {
    const std::lock_guard lock(_mutex);
    _received = true;
  }
  _changed.notify_one();
  _thread.join();
}

void received_pages::run() {
  for (;;) {
    bool received = false;
    {
      std::unique_lock lock(_mutex);
      _changed.wait_for(lock, pause, [this] { return _stop || _received; });
      if (_stop) {
        return;
      }
      received = _received;
    }
    if (_subvolume.valid() || find_subvolume()) {
      walk(received);
      let_go(received);
    }
    if (received) {
      for (int attempt = 0; attempt < last_attempts && !_ranges.empty(); ++attempt) {
        std::this_thread::sleep_for(last_pause);
        let_go(true);
      }
      return;
    }
  }
}

bool received_pages::find_subvolume() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(_directory.c_str()), &::closedir);
  if (!directory) {
    return false;
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string name = entry->d_name;
    const std::string path = _directory + "/" + name;
    if (name == "." || name == ".." || std::ranges::find(_others, name) != _others.end() ||
        !is_subvolume(path)) {
      continue;
    }
    _subvolume.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    return _subvolume.valid();
  }
  return false;
}

// From where the walk stands to the newest file, which may still be growing unless all was
// received.
void received_pages::walk(bool received) {
  auto path = path_of(_subvolume.get(), _inode);
  while (path) {
    std::uint64_t forward = _small_in_a_row < small_ones ? 1 : stride;
    auto next = path_of(_subvolume.get(), _inode + forward);
    if (!next && forward > 1) {
      forward = 1;
      next = path_of(_subvolume.get(), _inode + forward);
    }
    const bool growing = !next && !received;
    const bool small = !visit(*path, growing);
    if (!next) {
      return;
    }
    if (!small && forward > 1) {
      forward = 1;
      next = path_of(_subvolume.get(), _inode + forward);
    }
    _inode += forward;
    _small_in_a_row = small ? _small_in_a_row + 1 : 0;
    _begun = 0;
    _file.reset();
    path = std::move(next);
    if (_ranges.size() >= ranges_max) {
      let_go(false);
    }
  }
}

bool received_pages::visit(const std::string& path, bool growing) {
  struct stat entry{};
  if (::fstatat(_subvolume.get(), path.c_str(), &entry, AT_SYMLINK_NOFOLLOW) != 0 ||
      !S_ISREG(entry.st_mode) || entry.st_ino != _inode || entry.st_size < smallest) {
    return false;
  }
  const off_t end = growing ? entry.st_size / step * step : entry.st_size;
  if (end <= _begun) {
    return true;
  }
  if (!_file) {
    auto file = std::make_shared<engine::unique_fd>(
        ::openat(_subvolume.get(), path.c_str(),
                 O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOATIME | O_NONBLOCK));
    if (!file->valid()) {
      return true;
    }
    _file = std::move(file);
  }
  range one;
  one.file = _file;
  one.offset = std::exchange(_begun, end);
  one.length = end - one.offset;
  one.due = clock::now() + age;
  (void)::posix_fadvise(one.file->get(), one.offset, one.length, POSIX_FADV_DONTNEED);
  _ranges.push_back(std::move(one));
  return true;
}

void received_pages::let_go(bool all) {
  const auto now = clock::now();
  for (std::size_t left = _ranges.size(); left > 0; --left) {
    const bool full = _ranges.size() >= ranges_max;
    if (!all && !full && _ranges.front().due > now) {
      return;
    }
    range one = std::move(_ranges.front());
    _ranges.pop_front();
    (void)::posix_fadvise(one.file->get(), one.offset, one.length, POSIX_FADV_DONTNEED);
    if (!in_memory(one.file->get(), one.offset, one.length)) {
      _bytes.fetch_add(static_cast<std::uint64_t>(one.length), std::memory_order_relaxed);
    } else if (!full) {
      one.due = now + age;
      _ranges.push_back(std::move(one));
    }
  }
}

}  // namespace bts3::btrfs
