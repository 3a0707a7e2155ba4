// What a run has restored, for its results and for the event that ends it.
#pragma once

#include <chrono>
#include <cstdint>

namespace bts3::app {

struct restore_totals {
  std::uint64_t restored = 0;    // subvolumes
  std::uint64_t links = 0;       // received now
  std::uint64_t bytes = 0;       // released to `btrfs receive`
  std::uint64_t kept_bytes = 0;  // of these, that an earlier run had kept
  std::uint64_t parts = 0;
  std::uint64_t damaged_parts = 0;    // fetched again
  double transfer_seconds = 0;        // from the first download to the last link's record
  std::chrono::seconds thaw_wait{0};  // in all

  void add(const restore_totals& other) {
    restored += other.restored;
    links += other.links;
    bytes += other.bytes;
    kept_bytes += other.kept_bytes;
    parts += other.parts;
    damaged_parts += other.damaged_parts;
    transfer_seconds += other.transfer_seconds;
    thaw_wait += other.thaw_wait;
  }
};

}  // namespace bts3::app
