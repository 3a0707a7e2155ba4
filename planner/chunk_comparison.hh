// What a manifest recorded of a chunk, against what the bucket says of the object: by a listing,
// which knows size and class, or by a HEAD, which knows also whether an archived one can be read.
#pragma once

#include "planner/manifest.hh"
#include "planner/timestamp.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::planner {

// An object as the bucket lists it.
struct listed_object {
  std::uint64_t size = 0;
  std::string storage_class;  // "STANDARD" when the listing says nothing
  timestamp modified;         // by the store's clock
};
using object_listing = std::map<std::string, listed_object>;  // by full key

enum class readability { at_once, archived, thawing, thawed };
// What a listing tells: whether an object of INTELLIGENT_TIERING has been archived, or one of an
// archive class been thawed, only a HEAD does.
[[nodiscard]] readability readability_of(std::string_view storage_class);

// What a HEAD, or a listing, says of an object.
struct object_sight {
  std::uint64_t size = 0;
  std::string storage_class;  // "STANDARD" when nothing is said
  readability reads = readability::at_once;
};
[[nodiscard]] object_sight sight_of(const listed_object& object);

enum class chunk_state {
  present,
  missing,
  contradicted,  // it is listed, and that twice, but the store says that it does not exist
  wrong_size,
  // Those below have the recorded size.
  archived,
  thawing,
  thawed,
};

struct chunk_comparison {
  std::string key;  // where it is, or would be
  chunk_state state = chunk_state::missing;
  std::uint64_t recorded_bytes = 0;
  std::uint64_t found_bytes = 0;
  std::string storage_class;  // of what is there

  // It is there with its size: what is left to ask is when it can be read, and its content.
  [[nodiscard]] bool as_recorded() const {
    return state != chunk_state::missing && state != chunk_state::contradicted &&
           state != chunk_state::wrong_size;
  }
  [[nodiscard]] bool can_be_read() const {
    return state == chunk_state::present || state == chunk_state::thawed;
  }
  // Why it is not as recorded, to stand behind its key ("missing", "has 3 bytes instead of 4"), and
  // as a sentence, which names `manifest_key` where it is given; empty where it is.
  [[nodiscard]] std::string problem() const;
  [[nodiscard]] std::string sentence(const std::string& manifest_key = {}) const;
  // "is stored as GLACIER instead of STANDARD"; empty where it is of the class that its manifest
  // records, or none is recorded, or it is missing.
  [[nodiscard]] std::string class_problem(const std::string& recorded_class) const;
};

// `found`: nullopt where nothing is at `key`.
[[nodiscard]] chunk_comparison compare_chunk(std::string key, std::uint64_t recorded_bytes,
                                             const std::optional<object_sight>& found);
// By a listing, at the chunk's place in it (place_in()).
[[nodiscard]] chunk_comparison compare_chunk(const object_listing& listing,
                                             const std::string& manifest_key,
                                             const chunk_record& recorded);

// Where in the listing the object is that the manifest at `manifest_key` records: the first of its
// places (places_of()) where something is; the first of all when nothing is anywhere.
[[nodiscard]] std::string place_in(const object_listing& listing, const std::string& manifest_key,
                                   const std::string& recorded_key);

}  // namespace bts3::planner
