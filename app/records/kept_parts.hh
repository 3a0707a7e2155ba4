// Verified parts of the link that a restore is receiving, on disk, so that an interrupted one need
// not pay for their download again.
//
// `btrfs receive` cannot continue what it left half done: the link under way begins anew. Its parts
// need not be downloaded anew: where there is a spool (s3.spool_enabled), each goes into a file
// before it is handed to the receiver, and the next restore of this backup to this target reads it
// there. Like a shopping list that is ticked off on paper: it says what is in the house already,
// and each thing is looked at again before it is used.
//
// What is read back counts for nothing until it has the SHA-256 that the manifest records, as a
// part from the store has to, so nothing here is synced: what a power cut or a failing disk has
// spoiled is downloaded. The files lie in a directory of root's alone below global.spool_dir,
//
//   .btrfs_to_s3-parts/{target}/{manifest}/{chunk}-{part}
//
// both names being digests, reached by descriptors and never through a link. They go when the link
// has been received, when another backup is restored to that target, and when nothing was added for
// s3.resume_for, as an interrupted backup is given up then. All together take no more than
// global.spool_size_bytes. A disk that is full or fails ends the keeping, with one warning, and
// never the restore.
//
// Confined to the reactor's thread; files are written, read and removed on threads of their own.
//
// Rejected: leaving parts in the engine's spool (its file has no name, so that a crash frees it);
// one file for all parts (holes and lengths would need an index that has to be trusted).
#pragma once

#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "engine/unique_fd.hh"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bts3::app {

class kept_parts {
 public:
  // Chunk (from 0) and part (from 1).
  using number = std::pair<std::size_t, std::uint32_t>;

  // For restores to `target`, of at most `limit_bytes` in all. References must outlive it. Does
  // nothing yet.
  kept_parts(const services& with, std::string target, std::uint64_t limit_bytes);

  // A link begins: finds what an earlier run kept of it, and removes what was kept for the target
  // of others, and what is too old. The rest is about this link, until the next begin() or
  // forget().
  engine::task<void> begin(std::string manifest_key);
  // Whether that part is there, by its length alone.
  [[nodiscard]] bool holds(number which, std::uint64_t length) const;
  // Into the front of `into`, which ends at a page's end or has room up to one. What was read has
  // to be verified.
  engine::task<engine::result<void>> read(number which, std::span<std::byte> into,
                                          std::uint64_t length);
  // A part that proved to be another one.
  void drop(number which);
  // The first `length` bytes of `slot`, as they were verified; bytes behind them up to the next
  // page are zeroed. Gives up in the middle some seconds after `stop` is requested.
  engine::task<void> keep(number which, std::span<std::byte> slot, std::uint64_t length,
                          engine::stop_token stop);
  // Of the link, all that could be read by the next run.
  [[nodiscard]] std::uint64_t bytes() const { return _bytes; }

  // Removes all that was kept for the target, as when a link was received whole.
  engine::task<void> forget();

 private:
  engine::result<void> open(const std::string& manifest_key, std::uint64_t& dropped);
  void give_up(std::string reason);

  const services& _with;
  std::string _target;
  std::uint64_t _limit;
  engine::unique_fd _link;                 // the link's directory; invalid: nothing is kept
  std::uint64_t _total = 0;                // bytes of all that is kept, for others too
  std::uint64_t _bytes = 0;                // of the link's
  std::map<number, std::uint64_t> _there;  // with their lengths
  bool _given_up = false;                  // of this link
  bool _told = false;                      // why, once
};

// What the next restore of that link to `target` would find. Changes nothing.
[[nodiscard]] std::uint64_t kept_bytes_of(const config& settings, const std::string& target,
                                          const std::string& manifest_key);
// Removes what was kept for restores that nobody has gone on with for s3.resume_for.
void remove_stale_parts(const services& with);

}  // namespace bts3::app
