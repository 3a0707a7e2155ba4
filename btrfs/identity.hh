// Whether a local snapshot is the one that a manifest describes (the identity rule).
//
// Names prove nothing, and a UUID alone does not either: a snapshot flipped writable, changed and
// flipped back keeps it, its received UUID too, and then sends an incremental that restores wrongly
// with exit status 0. `ctransid` moves with every change of content and survives balance and
// snapshotting, where `generation` does not.
//
// The manifest knows the original's ctransid. A received copy has one of its own, so it is compared
// with what was recorded when the copy was made. Of a copy that nobody recorded the
// kernel's own notes must not contradict: it is a snapshot of what was received, never changed
// since it was made, its received UUID is older than it, and what was sent was the backup's state.
// What `btrfs receive` itself wrote never passes (its ctransid moves until all is on the disk).
#pragma once

#include "btrfs/subvolume.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bts3::btrfs {

// A received copy of a backup's snapshot, as it was when it was made here.
struct known_copy {
  uuid own_uuid;  // null: there is a record, and it cannot be read
  std::uint64_t ctransid = 0;
};

struct recorded_identity {
  std::optional<uuid> own_uuid;  // absent in manifests of the earlier tool
  std::optional<uuid> received_uuid;
  std::optional<std::uint64_t> ctransid;  // absent likewise: then it is not compared
  // Copies that this host remembers: where there are any, a received one must be one of them.
  std::vector<known_copy> copies;
};

enum class identity_verdict { matches, unknown, other_uuid, writable, changed };

struct identity_finding {
  identity_verdict verdict;
  std::string sentence;  // why not; empty when it matches
  [[nodiscard]] bool matches() const { return verdict == identity_verdict::matches; }
};

// `unknown`: the manifest records no UUID, and whoever asks needs other evidence.
identity_finding compare_identity(const recorded_identity& recorded, const subvolume_info& found);

// Empty where `source`, at `path`, is what the last backup was made of, whose snapshot is `parent`
// and has recorded `recorded` as the UUID of its source; else a sentence. A source that was made
// from that very snapshot goes on with its backups: a snapshot of it, or, of a received copy, a
// sibling, as a restore that keeps a copy makes its target.
[[nodiscard]] std::string compare_source(const std::optional<uuid>& recorded,
                                         const subvolume_info& source, const std::string& path,
                                         const subvolume_info* parent);

// That the content of a read-only snapshot is not what it was: what may have done that, and how it
// is kept away. `was`: its ctransid then.
[[nodiscard]] std::string was_changed(const subvolume_info& found, std::uint64_t was);

}  // namespace bts3::btrfs
