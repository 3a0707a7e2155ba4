// The Btrfs of this machine, for tests of what does not care or wants to see a filesystem that is
// none.
#pragma once

#include "btrfs/real_host.hh"

namespace bts3::testing {

inline btrfs::host& real_btrfs() {
  static btrfs::real_host host;
  return host;
}

}  // namespace bts3::testing
