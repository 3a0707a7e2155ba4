#include "btrfs/restored_mark.hh"

#include "engine/sha256.hh"

#include <fts.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <ctime>
#include <memory>
#include <span>

namespace bts3::btrfs {

namespace {

using engine::result;
using engine::system_error;

// Of a millisecond: the slowest kernels (100 Hz) take 10.
constexpr int ticks_max = 50;

// What nobody without the secret can tell of a subvolume with that UUID; never 0.
std::uint64_t proof_for(const uuid& target, const restored_mark& mark) {
  const std::string text =
      "btrfs_to_s3 restored\n" + target.text() + "\n" + std::to_string(mark.made_at) + "\n";
  engine::sha256_hasher hasher;
  hasher.update(std::as_bytes(std::span(text)));
  hasher.update(std::as_bytes(std::span(mark.secret)));
  const auto words = hasher.digest().words;
  const std::uint64_t proof = static_cast<std::uint64_t>(words[0]) << 32 | words[1];
  return proof == 0 ? 1 : proof;
}

bool carries(const subvolume_info& found, const restored_mark& mark) {
  return may_be_marked(found) && found.sent_ctransid == proof_for(found.own_uuid, mark);
}

// Whether `when` comes after the time of a mark.
bool is_later(const timespec& when, std::int64_t seconds, std::uint32_t nanoseconds) {
  return when.tv_sec != seconds ? when.tv_sec > seconds
                                : when.tv_nsec > static_cast<long>(nanoseconds);
}

// Whether anything below is younger than the mark. A change of content, of attributes or of what a
// directory holds moves a time that nobody can set (ctime); reading does not.
bool anything_is_later(const std::string& path, const subvolume_info& marked) {
  std::string root = path;
  char* const roots[] = {root.data(), nullptr};
  const std::unique_ptr<FTS, int (*)(FTS*)> walk(
      ::fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, nullptr), &::fts_close);
  if (!walk) {
    return true;
  }
  errno = 0;
  while (const FTSENT* entry = ::fts_read(walk.get())) {
    switch (entry->fts_info) {
      case FTS_DP:
        break;
      case FTS_DNR:
      case FTS_ERR:
      case FTS_NS:
      case FTS_NSOK:
        return true;
      default:
        if (is_later(entry->fts_statp->st_ctim, marked.received_at,
                     marked.received_at_nanoseconds)) {
          return true;
        }
    }
    errno = 0;
  }
  return errno != 0;
}

}  // namespace

bool may_be_marked(const subvolume_info& found) {
  return !found.read_only && found.received_uuid.is_null() && found.sent_ctransid != 0;
}

result<void> set_mark(int target, const restored_mark& mark, const std::string& shown) {
  auto found = inspect_subvolume(target, shown);
  if (!found) {
    return std::move(found.error());
  }
  if (carries(*found, mark)) {
    return engine::ok();
  }
  btrfs_ioctl_received_subvol_args arguments{};
  arguments.stransid = proof_for(found->own_uuid, mark);
  arguments.stime.sec = static_cast<std::uint64_t>(mark.made_at);
  if (::ioctl(target, BTRFS_IOC_SET_RECEIVED_SUBVOL, &arguments) < 0) {
    return system_error(errno, "marking " + shown);
  }
  // Times of files move in steps of some milliseconds, and since Linux 6.13 the mark's own time may
  // be ahead of this clock by such a step: what is changed once this clock is behind it has a later
  // one.
  timespec now{};
  for (int waited = 0; waited < ticks_max; ++waited) {
    const bool passed =
        ::clock_gettime(CLOCK_REALTIME_COARSE, &now) != 0 ||
        is_later(now, static_cast<std::int64_t>(arguments.rtime.sec), arguments.rtime.nsec);
    if (passed) {
      break;
    }
    const timespec step{0, 1'000'000};
    ::nanosleep(&step, nullptr);
  }
  return engine::ok();
}

mark_finding find_mark(const std::string& path, const restored_mark& mark) {
  const auto found = inspect_subvolume(path);
  if (!found || !carries(*found, mark)) {
    return mark_finding::none;
  }
  return found->ctransid > found->received_in && anything_is_later(path, *found)
             ? mark_finding::changed
             : mark_finding::as_made;
}

}  // namespace bts3::btrfs
