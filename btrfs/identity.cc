#include "btrfs/identity.hh"

#include "engine/setting.hh"

#include <algorithm>
#include <ctime>

namespace bts3::btrfs {

namespace {

std::string utc(std::int64_t seconds) {
  const std::time_t when = seconds;
  std::tm parts{};
  char text[32] = {};
  if (::gmtime_r(&when, &parts) == nullptr ||
      std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
    return "an unknown time";
  }
  return text;
}

// A copy is one of those that were recorded, as it was then.
identity_finding compare_with_copies(const std::vector<known_copy>& copies,
                                     const subvolume_info& found) {
  using enum identity_verdict;
  const auto same = std::find_if(copies.begin(), copies.end(), [&](const known_copy& one) {
    return !one.own_uuid.is_null() && one.own_uuid == found.own_uuid;
  });
  if (same != copies.end()) {
    return same->ctransid == found.ctransid
               ? identity_finding{matches, ""}
               : identity_finding{changed, was_changed(found, same->ctransid)};
  }
  if (copies.back().own_uuid.is_null()) {
    return {changed, "what was recorded of the copy that was kept cannot be read"};
  }
  return {changed, "it is another copy (UUID " + found.own_uuid.text() +
                       ") than the one that was kept, " + copies.back().own_uuid.text()};
}

// A copy of which nothing was recorded here, by what the kernel knows.
identity_finding compare_unrecorded(const std::optional<std::uint64_t>& sent,
                                    const subvolume_info& found) {
  using enum identity_verdict;
  if (found.ctransid > found.made_in) {
    return {changed, "it was changed after it was made (ctransid " +
                         std::to_string(found.ctransid) + ", made in " +
                         std::to_string(found.made_in) +
                         "), or is what `btrfs receive` wrote and not a snapshot of that"};
  }
  if (found.received_in > found.made_in) {
    return {changed, "its received UUID was set after it was made, by hand"};
  }
  if (sent && found.sent_ctransid != *sent) {
    return {changed, "it was received from another state of the snapshot (ctransid " +
                         std::to_string(found.sent_ctransid) + ", recorded " +
                         std::to_string(*sent) + "), or got its received UUID by hand"};
  }
  return {matches, ""};
}

}  // namespace

std::string was_changed(const subvolume_info& found, std::uint64_t was) {
  return "it was changed after the backup (ctransid " + std::to_string(found.ctransid) +
         ", recorded " + std::to_string(was) + "), the last time at " + utc(found.changed_at) +
         ": deduplication inside snapshots (bees, duperemove) does that to a read-only one, and "
         "so does whoever makes it writable for a while; docs/operations.md says how to keep such "
         "programs out of " +
         std::string(name_of(engine::setting::snapshot_directory));
}

std::string compare_source(const std::optional<uuid>& recorded, const subvolume_info& source,
                           const std::string& path, const subvolume_info* parent) {
  if (!recorded || recorded->is_null() || *recorded == source.own_uuid) {
    return "";
  }
  if (parent != nullptr && !source.parent_uuid.is_null()) {
    const bool of_parent = source.parent_uuid == parent->own_uuid;
    const bool sibling =
        !parent->received_uuid.is_null() && source.parent_uuid == parent->parent_uuid;
    if (of_parent || sibling) {
      return "";
    }
  }
  return path + " is another subvolume (UUID " + source.own_uuid.text() +
         ") than the one that the last backup was made of (UUID " + recorded->text() +
         "): it was replaced, or its volume is not mounted there now";
}

identity_finding compare_identity(const recorded_identity& recorded, const subvolume_info& found) {
  if (!recorded.own_uuid) {
    return {identity_verdict::unknown, "the manifest records no UUID of its snapshot"};
  }
  // A snapshot that was restored here carries the original's UUID as its received UUID; so does
  // the manifest of a snapshot that had itself been received.
  const auto names = [&](const uuid& id) {
    return !id.is_null() &&
           (id == *recorded.own_uuid || (recorded.received_uuid && id == *recorded.received_uuid));
  };
  if (!names(found.own_uuid) && !names(found.received_uuid)) {
    return {identity_verdict::other_uuid, "its UUID " + found.own_uuid.text() +
                                              " is not the recorded one, " +
                                              recorded.own_uuid->text()};
  }
  if (!found.read_only) {
    return {identity_verdict::writable, "it is writable, so its content may have changed"};
  }
  if (found.own_uuid == *recorded.own_uuid) {
    // The recorded ctransid is the original's: a received copy has one of its own filesystem.
    if (recorded.ctransid && *recorded.ctransid != found.ctransid) {
      return {identity_verdict::changed, was_changed(found, *recorded.ctransid)};
    }
    return {identity_verdict::matches, ""};
  }
  return recorded.copies.empty() ? compare_unrecorded(recorded.ctransid, found)
                                 : compare_with_copies(recorded.copies, found);
}

}  // namespace bts3::btrfs
