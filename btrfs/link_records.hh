// The record in a restore's private directory of the links that are received and on the disk.
#pragma once

#include "btrfs/restore_target.hh"
#include "engine/result.hh"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::btrfs {

// What was received for one link of the chain.
struct link_record {
  std::string manifest_key;
  std::string subvolume;  // its path below the private directory
  std::string own_uuid;
};

struct loaded_records {
  std::vector<link_record> there;           // of links that are there
  std::optional<link_record> last_written;  // the file's last record, there or not any more
};

// Whether a link may lie there, below the private directory: "name", where older versions received,
// or "received/name".
bool is_place_of_link(std::string_view path);

// The records in the private directory that is open as `place`; none where there is no file of
// them. An error when the file makes no sense.
engine::result<loaded_records> read_records(int place, const target_report& target);

// Replaces the file by one with these records, so that a power cut leaves the old content or the
// new. Errors call the directory `shown`.
engine::result<void> write_records(int place, const std::vector<link_record>& records,
                                   const std::string& shown);

// Removes the file; errors likewise.
engine::result<void> remove_records(int place, const std::string& shown);

}  // namespace bts3::btrfs
