#include "app/records/harness_manifest.hh"

#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

namespace bts3::app {

std::string harness_manifest(planner::backup_kind kind,
                             const std::vector<planner::chunk_record>& chunks) {
  nlohmann::ordered_json document;
  document["backup_type"] = planner::to_string(kind);
  document["chunks"] = nlohmann::ordered_json::array();
  for (std::size_t index = 0; index < chunks.size(); ++index) {
    document["chunks"].push_back(
        {{"index", index}, {"key", chunks[index].key}, {"sha256", chunks[index].sha256}});
  }
  return planner::json_document(document);
}

}  // namespace bts3::app
