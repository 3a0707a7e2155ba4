// Whether a local snapshot is the one that a manifest describes (the identity rule).
//
// Names prove nothing, and a UUID alone does not either: a snapshot flipped writable, changed and
// flipped back keeps it, and then sends an incremental that restores wrongly with exit status 0.
// `ctransid` moves with every change of content and survives balance and snapshotting, where
// `generation` does not.
#pragma once

#include "btrfs/subvolume.hh"

#include <cstdint>
#include <optional>
#include <string>

namespace bts3::btrfs {

struct recorded_identity {
  std::optional<uuid> own_uuid;  // absent in manifests of the earlier tool
  std::optional<uuid> received_uuid;
  std::optional<std::uint64_t> ctransid;  // absent likewise: then it is not compared
};

enum class identity_verdict { matches, unknown, other_uuid, writable, changed };

struct identity_finding {
  identity_verdict verdict;
  std::string sentence;  // why not; empty when it matches
  [[nodiscard]] bool matches() const { return verdict == identity_verdict::matches; }
};

// `unknown`: the manifest records no UUID, and whoever asks needs other evidence.
identity_finding compare_identity(const recorded_identity& recorded, const subvolume_info& found);

}  // namespace bts3::btrfs
