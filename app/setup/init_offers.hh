// What this host has that somebody may want backed up.
#pragma once

#include "btrfs/host.hh"

#include <string>
#include <vector>

namespace bts3::app {

// One subvolume of this host that may be wanted.
struct offer {
  std::string path;
  bool proposed = false;
};

// What is mounted, and what hangs directly below it; no snapshots. Twenty at most: others are named
// by whoever knows them.
std::vector<offer> find_offers(const btrfs::subvolume_facts& facts);

// Where snapshots of `subvolume` may lie: the usual place, where that is on its filesystem.
std::string proposed_snapshots(btrfs::host& host, const std::string& subvolume);

}  // namespace bts3::app
