// What a subvolume is, asked of the kernel.
#pragma once

#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::btrfs {

// A UUID as Btrfs stores it; all zero means "none".
class uuid {
 public:
  uuid() = default;
  explicit uuid(const std::uint8_t (&raw)[16]);
  // "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", hexadecimal in either case.
  static std::optional<uuid> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  [[nodiscard]] bool is_null() const;
  template <typename Byte>
  void copy_to(Byte (&raw)[16]) const {
    std::copy(_bytes.begin(), _bytes.end(), raw);
  }
  [[nodiscard]] const std::array<std::uint8_t, 16>& bytes() const { return _bytes; }
  bool operator==(const uuid&) const = default;

 private:
  std::array<std::uint8_t, 16> _bytes{};
};

// BTRFS_IOC_GET_SUBVOL_INFO, as far as identity needs it.
struct subvolume_info {
  std::uint64_t id = 0;
  std::string name;  // of the subvolume's own directory entry; empty for the top level
  uuid own_uuid;
  uuid parent_uuid;    // what it is a snapshot of
  uuid received_uuid;  // what `btrfs receive` made it from
  std::uint64_t generation = 0;
  std::uint64_t ctransid = 0;  // the last transaction that changed its content
  std::uint64_t made_in = 0;   // the transaction that made it (otransid)
  // Of a received one: `ctransid` of what was sent (stransid), and the transaction that gave it its
  // received UUID (rtransid). A read-only snapshot of a received one has these of its source.
  std::uint64_t sent_ctransid = 0;
  std::uint64_t received_in = 0;
  std::int64_t received_at = 0;  // when that was, in seconds of Unix time, and the rest
  std::uint32_t received_at_nanoseconds = 0;
  std::int64_t made_at = 0;     // in seconds of Unix time
  std::int64_t changed_at = 0;  // when `ctransid` moved last, in seconds of Unix time
  bool read_only = false;
};

// Errors: the path is missing or cannot be opened, is a symbolic link (its last component is not
// followed: whoever may change the link would choose), is not on Btrfs, or is an ordinary
// directory; each with its remedy.
engine::result<subvolume_info> inspect_subvolume(const std::string& path);

// The same of an open directory, which errors call `shown`.
engine::result<subvolume_info> inspect_subvolume(int directory, const std::string& shown);

// What is to be backed up: the last component of its path is not followed where it is a symbolic
// link, since whoever may change the link would choose. Errors as above, with the remedy.
engine::result<engine::unique_fd> open_source(const std::string& path);
engine::result<subvolume_info> inspect_source(const std::string& path);

// Whether `path` is a subvolume's root; false for anything else, missing paths included.
bool is_subvolume(const std::string& path);
bool is_subvolume(int directory);

// The directory at `path` below an open one, never by a symbolic link, upwards, or into another
// mount: openat2(2), which tells these by ELOOP and EXDEV.
engine::result<engine::unique_fd> open_beneath(int directory, const std::string& path,
                                               const std::string& shown);

// The filesystem's UUID; an error with its remedy when `path` is missing or not on Btrfs.
engine::result<uuid> filesystem_id(const std::string& path);

// Paths, relative to `path`, of the subvolumes directly inside the subvolume at `path`, which a
// snapshot of it leaves out: nothing of them is sent, nor, depending on the kernel, the empty
// directories where they hang. Sorted; what is deleted meanwhile is not named.
engine::result<std::vector<std::string>> nested_subvolumes(const std::string& path);
engine::result<std::vector<std::string>> nested_subvolumes(int directory, const std::string& shown);

}  // namespace bts3::btrfs
