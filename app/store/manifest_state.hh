// What a manifest in the bucket comes to, in the same words for whoever reads it.
#pragma once

#include "engine/error.hh"

#include <optional>

namespace bts3::app {

enum class manifest_state {
  readable,
  absent,        // there is none, or it was deleted since it was listed
  contradicted,  // it is listed, and that twice, but the store says that it does not exist
  damaged,       // what is there is no manifest, or contradicts those that it belongs to
  too_large,     // for this host's memory: it was not read
  foreign,       // it is another subvolume's
  refused,       // the store does not give it to these credentials, or at all
};

// By the error with which reading it failed. Nullopt: that says nothing of the manifest, but of the
// store (it does not answer), or of this run (it is stopped).
[[nodiscard]] std::optional<manifest_state> state_of(const engine::error& failure);

// Whether reading a chain found out that there is none: a link is absent, or damaged. Everything
// else leaves it unknown.
[[nodiscard]] bool is_broken_chain(const engine::error& failure);

}  // namespace bts3::app
