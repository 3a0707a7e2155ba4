// What tests of app/ hand on that care about neither: the Btrfs of this machine, and no
// environment.
#pragma once

#include "btrfs/real_host.hh"

#include <optional>
#include <string>
#include <string_view>

namespace bts3::testing {

inline btrfs::host& real_btrfs() {
  static btrfs::real_host host;
  return host;
}

// An environment with nothing in it.
inline std::optional<std::string> no_environment(std::string_view) {
  return std::nullopt;
}

}  // namespace bts3::testing
