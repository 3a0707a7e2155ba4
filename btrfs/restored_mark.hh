// What tells of a restored target whose it is when nothing else of the restore is left.
//
// The last step of a restore removes its records, and a process can be ended behind every step: the
// same command once more then finds a target and nothing beside it. So the target carries a mark,
// made before the records go: in the fields of its root item where a received subvolume has the
// transaction and the time of what was sent ("Send transid" and "Send time" of `btrfs subvolume
// show`), without a received UUID. Nothing of the content is touched, no stream and no snapshot is
// taken for another by it, and snapshots of the target do not carry it, since its UUID is part of
// the proof.
//
// Whoever owns a subvolume may set these fields, so the proof is a digest of the target's UUID with
// a secret, which only those know who can read the bucket.
//
// Setting it commits a transaction, whose number the kernel puts beside it (rtransid): what changed
// later, by writing or by access times alone, has a higher one (ctransid).
//
// Rejected: an extended attribute (content, which the next backup would take along); a file in the
// state directory (a recovery host has none); a received UUID (then whatever is made of the target
// would be taken for a copy of it).
#pragma once

#include "btrfs/subvolume.hh"
#include "engine/result.hh"

#include <cstdint>
#include <string>

namespace bts3::btrfs {

// Of one backup.
struct restored_mark {
  std::string secret;
  std::int64_t made_at = 0;  // seconds of Unix time
};

enum class mark_finding {
  none,     // no restore of that backup made it, as far as can be told
  as_made,  // nothing was written to it since
  changed,  // something was, or it cannot be told
};

// Whether it is worth looking who made it: no other subvolume but a marked one looks like that.
[[nodiscard]] bool may_be_marked(const subvolume_info& found);

// Marks the writable subvolume that is open as `target`, durably. What has the mark keeps it as it
// is, and with it what it tells of changes.
engine::result<void> set_mark(int target, const restored_mark& mark, const std::string& shown);

// Of the subvolume at `path`, whose last component is not followed. Where its content may have
// changed it is walked, to tell whether more than access times did: that takes a look at every
// file.
[[nodiscard]] mark_finding find_mark(const std::string& path, const restored_mark& mark);

}  // namespace bts3::btrfs
