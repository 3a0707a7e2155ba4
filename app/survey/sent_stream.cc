#include "app/survey/sent_stream.hh"

#include "engine/assert.hh"
#include "engine/told_command.hh"

#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;

// `btrfs receive` joins the place, the subvolume's name and each path in a buffer of PATH_MAX, its
// final zero included (path_cat_out() of btrfs-progs). The shortest place is its root directory.
constexpr std::size_t path_max = 4096;
constexpr std::size_t place_bytes = 2;  // "//"
// BTRFS_MAX_XATTR_SIZE with the nodes of 16 KiB that mkfs.btrfs makes: less the node's header, an
// item's and a directory entry's.
constexpr std::size_t xattr_bytes_max = 16 * 1024 - 101 - 25 - 30;

error differs(std::string message, std::string remedy) {
  error failure;
  failure.why = engine::reason::integrity;
  failure.message = std::move(message);
  failure.remedy = std::move(remedy);
  return failure;
}

}  // namespace

result<void> check_sent(const btrfs::stream_inspector& inspector,
                        const btrfs::subvolume_info& snapshot, const std::string& path) {
  const auto& found = inspector.identity();
  BTS3_ASSERT(found.has_value());  // of a stream that has come to its END
  const btrfs::uuid& known =
      snapshot.received_uuid.is_null() ? snapshot.own_uuid : snapshot.received_uuid;
  if (found->sent == known) {
    return engine::ok();
  }
  return differs("what was sent is of the snapshot " + found->sent.text() + ", and " + path +
                     " is " + known.text(),
                 "something has taken the snapshot's place: see what uses snapshots.base_dir");
}

expected_stream::expected_stream(const planner::manifest& link, const planner::manifest* parent,
                                 std::string name)
    : _name(std::move(name)), _snapshot(link.snapshot), _kind(link.kind) {
  if (parent != nullptr) {
    _parent = parent->snapshot;
  }
}

bool expected_stream::is(const planner::snapshot_record& record, const btrfs::uuid& found) {
  // A snapshot that had itself been received is sent under the UUID that it was received with.
  return !record.uuid || found.text() == *record.uuid ||
         (record.received_uuid && found.text() == *record.received_uuid);
}

result<void> expected_stream::check(const btrfs::stream_identity& found) const {
  auto same = compare(found);
  if (same || _name.empty()) {
    return same;
  }
  return std::move(same.error()).within(_name);
}

result<void> expected_stream::compare(const btrfs::stream_identity& found) const {
  const std::string remedy =
      "a chunk or the manifest belongs to another backup, or was replaced: restore another backup";
  if (!is(_snapshot, found.sent)) {
    return differs("the stream is of the snapshot " + found.sent.text() +
                       ", and the manifest describes " + *_snapshot.uuid,
                   remedy);
  }
  if (_snapshot.uuid && found.incremental != (_kind == planner::backup_kind::incremental)) {
    return differs(std::string("the stream is ") + (found.incremental ? "an incremental" : "full") +
                       ", and the manifest says that it is " +
                       (found.incremental ? "full" : "an incremental"),
                   remedy);
  }
  if (found.incremental && _parent && !is(*_parent, found.parent)) {
    return differs("the stream builds on the snapshot " + found.parent.text() +
                       ", and the parent's manifest describes " + *_parent->uuid,
                   remedy);
  }
  if (_snapshot.ctransid && found.ctransid != *_snapshot.ctransid) {
    return differs("the stream is of the snapshot's state in transaction " +
                       std::to_string(found.ctransid) + ", and the manifest describes that in " +
                       std::to_string(*_snapshot.ctransid),
                   remedy + ", or this one without the comparison: --verify none");
  }
  return engine::ok();
}

btrfs::receiver_limits limits_of_receivers(std::string_view snapshot_name) {
  btrfs::receiver_limits limits;
  limits.path_bytes = path_max - 2 - place_bytes - snapshot_name.size();
  limits.xattr_bytes = xattr_bytes_max;
  return limits;
}

std::vector<std::string> tell_what_cannot_be_received(engine::log_sink& log,
                                                      const std::string& subvolume,
                                                      const btrfs::stream_inspector& inspector) {
  std::vector<std::string> lines;
  for (const btrfs::oversized& one : inspector.beyond()) {
    const std::string bytes = std::to_string(one.bytes);
    const std::string what = one.xattr.empty()
                                 ? "its path of " + bytes + " bytes is too long for btrfs receive"
                                 : "its attribute " + one.xattr + " of " + bytes +
                                       " bytes is too large for a filesystem with nodes of 16 KiB "
                                       "(mkfs.btrfs's default)";
    const std::string remedy =
        one.xattr.empty()
            ? "shorten it and make a full backup (`" +
                  engine::told_command("backup --full", {{"--subvolume", subvolume}}) +
                  "`): with it no restore may work"
            : "restore to a filesystem made with mkfs.btrfs --nodesize 64K, or make it smaller";
    log.write(engine::log_level::warning, "backup", "cannot_be_received",
              {{"subvolume", subvolume}, {"path", one.path}, {"reason", what}, {"remedy", remedy}});
    lines.push_back(subvolume + ": " + one.path + " may not be restorable: " + what + "; " +
                    remedy);
  }
  if (const std::uint64_t more = inspector.beyond_count() - inspector.beyond().size(); more > 0) {
    lines.push_back(subvolume + ": and " + std::to_string(more) + " more");
  }
  return lines;
}

}  // namespace bts3::app
