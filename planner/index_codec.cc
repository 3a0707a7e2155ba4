#include "planner/index_codec.hh"

#include "planner/manifest.hh"

#include <nlohmann/json.hpp>

#include <string>

namespace bts3::planner::detail {

namespace {

constexpr std::string_view name_start = "index-";

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string_view folder_of(std::string_view key) {
  return key.substr(0, key.rfind('/') + 1);  // npos + 1 is 0
}

// The names differ, so that nobody takes the one for the other.
std::string_view name_end(bool sealed) {
  return sealed ? ".zst.age" : ".zst";
}

void read_plain_part(json_reader& reader, json_object from, index_record& index) {
  index.plain_size = reader.number(from, "plain_size");
  index.plain_sha256 = reader.text(from, "plain_sha256");
  if (*index.plain_size == 0 || *index.plain_size >= index.size) {
    reader.fail("plain_size", "must be less than size, and not zero");
  }
  if (!is_sha256(*index.plain_sha256)) {
    reader.fail("plain_sha256", "must be 64 lower-case hexadecimal digits");
  }
}

}  // namespace

std::optional<index_record> read_index(json_reader& reader, json_object root, bool sealed) {
  simdjson::dom::element member;
  if (root.at_key("index").get(member) != simdjson::SUCCESS || member.is_null()) {
    return std::nullopt;
  }
  json_object from;
  if (member.get_object().get(from) != simdjson::SUCCESS) {
    reader.fail("index", "must be an object");
    return std::nullopt;
  }
  json_reader inner("index");
  index_record index;
  index.key = inner.text(from, "key");
  index.size = inner.number(from, "size");
  index.sha256 = inner.text(from, "sha256");
  const std::string_view file = std::string_view(index.key).substr(folder_of(index.key).size());
  if (!can_be_key(index.key) || !file.starts_with(name_start) ||
      !file.ends_with(name_end(sealed))) {
    inner.fail("key", "can be no key of an index");
  }
  if (index.size == 0 || index.size > index_bytes_max) {
    inner.fail("size", "is none that an index has");
  }
  if (!is_sha256(index.sha256)) {
    inner.fail("sha256", "must be 64 lower-case hexadecimal digits");
  }
  if (sealed) {
    read_plain_part(inner, from, index);
  }
  if (inner.failure()) {
    reader.fail(inner.failure()->where, inner.failure()->what, inner.failure()->remedy);
  }
  return index;
}

void check_index_place(json_reader& reader, const index_record& index, std::string_view chunk_key) {
  if (folder_of(index.key) != folder_of(chunk_key)) {
    reader.fail("index.key", "is not beside the backup's chunks");
  }
}

nlohmann::ordered_json index_json(const index_record& index) {
  nlohmann::ordered_json out;
  out["key"] = index.key;
  out["size"] = index.size;
  out["sha256"] = index.sha256;
  if (index.plain_size) {
    out["plain_size"] = *index.plain_size;
    out["plain_sha256"] = index.plain_sha256.value_or("");
  }
  return out;
}

}  // namespace bts3::planner::detail
