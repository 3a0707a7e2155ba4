// Where things are in the bucket.
#pragma once

#include "planner/manifest.hh"
#include "planner/timestamp.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::planner {

// A stream would have 2^32 chunks of 5 MiB or more, 20 PiB, before one had this index.
inline constexpr std::uint32_t probe_index = 4'294'967'295;
inline constexpr std::size_t chunk_tag_letters = 8;

// Keys of one subvolume below a prefix; the prefix's slashes at either end are optional.
class key_layout {
 public:
  key_layout(std::string_view prefix, std::string_view subvolume);

  [[nodiscard]] const std::string& root() const { return _root; }  // ".../subvol/{name}/"
  [[nodiscard]] std::string pointer() const { return _root + "current.json"; }
  [[nodiscard]] std::string manifest(backup_kind kind, timestamp when) const;
  // `tag`: the backup's, chunk_tag_letters of lower-case hexadecimal, or none, as before there were
  // tags. It tells chunks apart that two writers of one second make under one prefix: what is
  // aborted or deleted by a chunk's key is then never another writer's. (A condition at Complete
  // would need a store that honours it, and would come when everything has been uploaded.)
  [[nodiscard]] std::string chunk(backup_kind kind, timestamp when, std::uint32_t index,
                                  std::string_view tag = {}) const;
  // What the keys of all chunks of that backup begin with; without a tag, those of others with the
  // same time too.
  [[nodiscard]] std::string chunks(backup_kind kind, timestamp when, std::string_view tag) const;
  // The keys object of a sealed backup, which has a tag.
  [[nodiscard]] std::string keys_object(backup_kind kind, timestamp when,
                                        std::string_view tag) const;
  // For an upload that tries whether a chunk could be written, and is never completed: a chunk's
  // key, so that what judges open uploads knows it, with the index of no chunk (probe_index).
  [[nodiscard]] std::string probe(timestamp when) const;

 private:
  std::string _root;
};

// The index of a backup of the subvolume with that root; it has a tag.
[[nodiscard]] std::string index_key(std::string_view root, backup_kind kind, timestamp when,
                                    std::string_view tag, bool sealed);

// What the name of an object below a subvolume's root says of it.
struct object_name {
  enum class what { pointer, manifest, signature, chunk, keys, index, other };
  what is = what::other;
  backup_kind kind = backup_kind::full;  // of all but the pointer and what is not ours
  timestamp when;
  std::uint32_t index = 0;  // of chunks
  std::string tag;          // of chunks, keys objects and indexes; empty: none

  [[nodiscard]] bool is_probe() const { return is == what::chunk && index == probe_index; }
};

// Strict: `other` is whatever key_layout would not write, byte for byte. `root` ends in a slash.
[[nodiscard]] object_name name_of(std::string_view root, std::string_view key);

// Where the detached signature of a manifest lies, if there is one.
[[nodiscard]] std::string signature_of(std::string_view manifest_key);

// The time in a manifest's key, whatever its root; nullopt where it is none of ours.
[[nodiscard]] std::optional<timestamp> time_in_key(std::string_view manifest_key);

// Whether the object at `key` can be a chunk of the backup whose manifest is at `manifest_key`, by
// their names: below the same root, of the same kind and the same time. What a manifest says is not
// asked: it may be damaged, or planted.
[[nodiscard]] bool is_chunk_of(std::string_view root, std::string_view manifest_key,
                               std::string_view key);
// The same of its keys object.
[[nodiscard]] bool is_keys_object_of(std::string_view root, std::string_view manifest_key,
                                     std::string_view key);
// And of its index.
[[nodiscard]] bool is_index_of(std::string_view root, std::string_view manifest_key,
                               std::string_view key);

// Where an object recorded as `recorded_key` lies when its bucket was copied under another prefix:
// in the place that it had relative to its manifest, recorded as `recorded_manifest_key`'s folder
// layout {root}/{full|incremental}/name, now found at `manifest_key`.
std::string beside_manifest(std::string_view manifest_key, std::string_view recorded_key);

// Where an object that the manifest at `manifest_key` records is looked for, in this order: beside
// the manifest, and, where that is another place, under the recorded key. A copy comes before its
// original, which may be another's, or damaged, or out of reach. In a bucket that was not copied it
// is one place. For what a pointer names, `manifest_key` is any manifest's beside the pointer.
std::vector<std::string> places_of(std::string_view manifest_key, std::string_view recorded_key);

}  // namespace bts3::planner
