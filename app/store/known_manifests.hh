// Manifests that need not be read from the bucket, as this host has them.
#pragma once

#include "app/store/chain_reader.hh"
#include "planner/manifest.hh"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// By their keys, which never get another content. Empty: there are none.
using manifests_known = std::function<std::optional<planner::manifest>(const std::string& key)>;

// `reader` for what `known` does not have, and for the chosen one, at one of `places`: that it is
// there the bucket says.
manifest_reader with_known(manifest_reader reader, manifests_known known,
                           std::vector<std::string> places);

}  // namespace bts3::app
