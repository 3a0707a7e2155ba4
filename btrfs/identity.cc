#include "btrfs/identity.hh"

namespace bts3::btrfs {

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
  // The recorded ctransid belongs to the original: a received copy has one of its own filesystem.
  const bool original = found.own_uuid == *recorded.own_uuid;
  if (original && recorded.ctransid && *recorded.ctransid != found.ctransid) {
    return {identity_verdict::changed, "it was changed after the backup (ctransid " +
                                           std::to_string(found.ctransid) + ", recorded " +
                                           std::to_string(*recorded.ctransid) + ")"};
  }
  return {identity_verdict::matches, ""};
}

}  // namespace bts3::btrfs
