// The member `index` of a manifest, read and written. Internal to the manifest's codec.
#pragma once

#include "planner/index_record.hh"
#include "planner/json_reader.hh"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string_view>

namespace bts3::planner::detail {

// Nullopt where the manifest has none. `sealed`: its backup is, and so must be the index.
std::optional<index_record> read_index(json_reader& reader, json_object root, bool sealed);
// Beside what `chunk_key` names; else it is told as the reader's failure.
void check_index_place(json_reader& reader, const index_record& index, std::string_view chunk_key);
nlohmann::ordered_json index_json(const index_record& index);

}  // namespace bts3::planner::detail
