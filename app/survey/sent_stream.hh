// What a send stream says of itself, beside what is known of it: whether it is of that snapshot,
// and what in it no `btrfs receive` has room for.
#pragma once

#include "btrfs/stream_inspector.hh"
#include "btrfs/subvolume.hh"
#include "engine/log_sink.hh"
#include "engine/result.hh"
#include "planner/manifest.hh"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

// Of a whole stream that is to be of the snapshot at `path`.
engine::result<void> check_sent(const btrfs::stream_inspector& inspector,
                                const btrfs::subvolume_info& snapshot, const std::string& path);

// Compares a stream with the manifest that names it and, for an incremental, its parent's: reason
// integrity. What older manifests do not record is not compared.
class expected_stream {
 public:
  // `name`: what errors call it, as its key; may be empty where the caller names it.
  expected_stream(const planner::manifest& link, const planner::manifest* parent,
                  std::string name = "");
  [[nodiscard]] engine::result<void> check(const btrfs::stream_identity& found) const;

 private:
  [[nodiscard]] engine::result<void> compare(const btrfs::stream_identity& found) const;
  [[nodiscard]] static bool is(const planner::snapshot_record& record, const btrfs::uuid& found);
  std::string _name;
  planner::snapshot_record _snapshot;
  planner::backup_kind _kind;
  std::optional<planner::snapshot_record> _parent;
};

// For a snapshot of that name.
btrfs::receiver_limits limits_of_receivers(std::string_view snapshot_name);

// Writes an event for each path; the lines for people.
std::vector<std::string> tell_what_cannot_be_received(engine::log_sink& log,
                                                      const std::string& subvolume,
                                                      const btrfs::stream_inspector& inspector);

}  // namespace bts3::app
