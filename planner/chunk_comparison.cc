#include "planner/chunk_comparison.hh"

#include "planner/keys.hh"

#include <algorithm>
#include <utility>
#include <vector>

namespace bts3::planner {

namespace {

chunk_state state_of(readability reads) {
  switch (reads) {
    case readability::at_once:
      return chunk_state::present;
    case readability::archived:
      return chunk_state::archived;
    case readability::thawing:
      return chunk_state::thawing;
    case readability::thawed:
      return chunk_state::thawed;
  }
  return chunk_state::present;
}

}  // namespace

readability readability_of(std::string_view storage_class) {
  return storage_class == "GLACIER" || storage_class == "DEEP_ARCHIVE" ? readability::archived
                                                                       : readability::at_once;
}

object_sight sight_of(const listed_object& object) {
  object_sight sight;
  sight.size = object.size;
  sight.storage_class = object.storage_class;
  sight.reads = readability_of(object.storage_class);
  return sight;
}

std::string chunk_comparison::problem() const {
  switch (state) {
    case chunk_state::missing:
      return "missing";
    case chunk_state::contradicted:
      return "is listed, but the store says that it does not exist";
    case chunk_state::wrong_size:
      return "has " + std::to_string(found_bytes) + " bytes instead of " +
             std::to_string(recorded_bytes);
    case chunk_state::present:
    case chunk_state::archived:
    case chunk_state::thawing:
    case chunk_state::thawed:
      break;
  }
  return {};
}

std::string chunk_comparison::sentence(const std::string& manifest_key) const {
  const std::string chunk =
      "chunk " + key + (manifest_key.empty() ? "" : " of manifest " + manifest_key);
  switch (state) {
    case chunk_state::missing:
      return chunk + " is missing from the bucket";
    case chunk_state::contradicted:
      return chunk + " " + problem();
    case chunk_state::wrong_size:
      return chunk + " has " + std::to_string(found_bytes) + " bytes in the bucket, and " +
             std::to_string(recorded_bytes) + " were recorded";
    case chunk_state::present:
    case chunk_state::archived:
    case chunk_state::thawing:
    case chunk_state::thawed:
      break;
  }
  return {};
}

std::string chunk_comparison::class_problem(const std::string& recorded_class) const {
  if (state == chunk_state::missing || recorded_class.empty() || storage_class == recorded_class) {
    return {};
  }
  return "is stored as " + storage_class + " instead of " + recorded_class;
}

chunk_comparison compare_chunk(std::string key, std::uint64_t recorded_bytes,
                               const std::optional<object_sight>& found) {
  chunk_comparison made;
  made.key = std::move(key);
  made.recorded_bytes = recorded_bytes;
  if (found) {
    made.found_bytes = found->size;
    made.storage_class = found->storage_class;
    made.state = found->size != recorded_bytes ? chunk_state::wrong_size : state_of(found->reads);
  }
  return made;
}

chunk_comparison compare_chunk(const object_listing& listing, const std::string& manifest_key,
                               const chunk_record& recorded) {
  std::string key = place_in(listing, manifest_key, recorded.key);
  const auto there = listing.find(key);
  return compare_chunk(
      std::move(key), recorded.size,
      there == listing.end() ? std::nullopt : std::optional(sight_of(there->second)));
}

std::string place_in(const object_listing& listing, const std::string& manifest_key,
                     const std::string& recorded_key) {
  const std::vector<std::string> places = places_of(manifest_key, recorded_key);
  const auto there = std::find_if(places.begin(), places.end(), [&](const std::string& place) {
    return listing.contains(place);
  });
  return there == places.end() ? places.front() : *there;
}

}  // namespace bts3::planner
