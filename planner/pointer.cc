#include "planner/pointer.hh"

#include "planner/json_reader.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

namespace bts3::planner {

outcome<pointer> parse_pointer(std::string_view json) {
  simdjson::dom::parser parser;
  detail::json_object root;
  const auto code = parser.parse(simdjson::padded_string(json)).get_object().get(root);
  if (code != simdjson::SUCCESS) {
    return document_error{"", std::string("not a JSON object: ") + simdjson::error_message(code),
                          ""};
  }
  detail::json_reader reader;
  pointer value;
  value.manifest_key = reader.text(root, "manifest_key");
  if (!can_be_key(value.manifest_key)) {
    reader.fail("manifest_key", value.manifest_key.empty() ? "is empty" : "can be no key");
  }
  const std::string kind = reader.text(root, "kind");
  if (kind != "full" && kind != "incremental") {
    reader.fail("kind", "must be \"full\" or \"incremental\"");
  }
  value.kind = kind == "full" ? backup_kind::full : backup_kind::incremental;
  const auto created = timestamp::parse(reader.text(root, "created_at"));
  if (!created) {
    reader.fail("created_at", "is no UTC time");
  }
  value.created_at = created.value_or(timestamp());
  if (reader.failure()) {
    return *reader.failure();
  }
  return value;
}

std::string write_pointer(const pointer& value) {
  nlohmann::ordered_json out;
  out["manifest_key"] = value.manifest_key;
  out["kind"] = to_string(value.kind);
  out["created_at"] = value.created_at.rfc3339();
  return json_document(out);
}

}  // namespace bts3::planner
