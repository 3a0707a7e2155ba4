#include "planner/manifest.hh"

#include "planner/index_codec.hh"
#include "planner/json_reader.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

namespace bts3::planner {

namespace {

using detail::json_object;
using detail::json_reader;

constexpr std::uint64_t plain_version = 1;
constexpr std::uint64_t sealed_version = 2;
constexpr std::string_view sealed_format = "age-v1";
constexpr std::size_t backup_id_letters = 32;
// A chunk of 5 TiB (S3's largest object) in parts of 5 MiB.
constexpr std::uint64_t parts_max = 1'100'000;

constexpr std::string_view hex_digits = "0123456789abcdef";

// 64 lower-case hexadecimal digits, each word big-endian.
std::optional<sha256_words> words_of(std::string_view text) {
  sha256_words words{};
  if (text.size() != 8 * words.size()) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool decimal = c >= '0' && c <= '9';
    if (!decimal && (c < 'a' || c > 'f')) {
      return std::nullopt;
    }
    words[i / 8] = words[i / 8] << 4 | static_cast<std::uint32_t>(decimal ? c - '0' : c - 'a' + 10);
  }
  return words;
}

void append_hex(std::string& text, const sha256_words& words) {
  for (const std::uint32_t word : words) {
    for (int shift = 28; shift >= 0; shift -= 4) {
      text += hex_digits[(word >> shift) & 0xf];
    }
  }
}

bool is_digest(std::string_view text) {
  return words_of(text).has_value();
}

bool is_backup_id(std::string_view text) {
  return text.size() == backup_id_letters &&
         text.find_first_not_of(hex_digits) == std::string_view::npos;
}

constexpr std::string_view base64_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Four bytes, big-endian, in base64: the form of x-amz-checksum-crc32.
std::string crc32_text(std::uint32_t crc) {
  const std::uint64_t bits = static_cast<std::uint64_t>(crc) << 4;  // 36 bits, six digits
  std::string text;
  for (int shift = 30; shift >= 0; shift -= 6) {
    text += base64_digits[(bits >> shift) & 0x3f];
  }
  return text + "==";
}

std::optional<std::uint32_t> crc32_of(std::string_view text) {
  if (text.size() != 8 || !text.ends_with("==")) {
    return std::nullopt;
  }
  std::uint64_t bits = 0;
  for (const char c : text.substr(0, 6)) {
    const std::size_t digit = base64_digits.find(c);
    if (digit == std::string_view::npos) {
      return std::nullopt;
    }
    bits = bits << 6 | digit;
  }
  return static_cast<std::uint32_t>(bits >> 4);
}

// Whether it can be base64 of something; what of, whoever opens it will see.
bool is_base64(std::string_view text) {
  const std::size_t end = text.find_last_not_of('=') + 1;
  return !text.empty() && text.size() % 4 == 0 && text.size() - end <= 2 &&
         text.substr(0, end).find_first_not_of(base64_digits) == std::string_view::npos;
}

bool is_recipient(std::string_view text) {
  return text.size() == recipient_letters && text.starts_with("SHA256:") &&
         text.substr(7).find_first_not_of(base64_digits) == std::string_view::npos;
}

template <typename Take>
void read_texts(json_reader& reader, json_object from, const char* field, const Take& take) {
  simdjson::dom::array values;
  if (from.at_key(field).get_array().get(values) != simdjson::SUCCESS) {
    reader.fail(field, "must be an array of strings");
    return;
  }
  std::size_t index = 0;
  for (const simdjson::dom::element value : values) {
    std::string_view text;
    if (value.get_string().get(text) != simdjson::SUCCESS || !take(text)) {
      reader.fail(std::string(field) + "[" + std::to_string(index) + "]", "is malformed");
      return;
    }
    ++index;
  }
}

void read_parts(json_reader& reader, json_object from, chunk_record& chunk) {
  chunk.part_size = reader.optional_number(from, "part_size");
  if (!chunk.part_size) {
    return;
  }
  if (*chunk.part_size == 0 || *chunk.part_size % 64 != 0 || *chunk.part_size > part_bytes_max) {
    reader.fail("part_size", "must be a multiple of 64, and 5 GiB at most");
    return;
  }
  if (chunk.size > chunk_bytes_max) {
    return;  // said by whoever read it
  }
  read_texts(reader, from, "part_crc32", [&](std::string_view text) {
    const auto crc = crc32_of(text);
    chunk.part_crc32.push_back(crc.value_or(0));
    return crc.has_value();
  });
  read_texts(reader, from, "part_sha256_states", [&](std::string_view text) {
    const auto words = words_of(text);
    chunk.part_states.push_back(words.value_or(sha256_words()));
    return words.has_value();
  });
  const std::uint64_t parts = (chunk.size + *chunk.part_size - 1) / *chunk.part_size;
  if (parts > parts_max) {
    reader.fail("part_size", "gives more parts than an object can have");
  } else if (chunk.part_crc32.size() != parts) {
    reader.fail("part_crc32", "has " + std::to_string(chunk.part_crc32.size()) + " entries for " +
                                  std::to_string(parts) + " parts");
  } else if (chunk.part_states.size() + 1 != parts) {
    reader.fail("part_sha256_states", "has " + std::to_string(chunk.part_states.size()) +
                                          " entries for " + std::to_string(parts) + " parts");
  }
}

// What is in a sealed chunk follows from its size and that of its parts, so it has to be just that.
void read_plain_size(json_reader& reader, json_object from, chunk_record& chunk) {
  chunk.plain_size = reader.number(from, "plain_size");
  if (!chunk.part_size) {
    reader.fail("part_size", "is missing");
    return;
  }
  if (reader.failure()) {
    return;
  }
  const auto plain = plain_bytes_of_chunk(chunk.size, *chunk.part_size);
  if (!plain) {
    reader.fail("size", "is none that sealed parts have");
  } else if (chunk.plain_size != *plain) {
    reader.fail("plain_size", "is " + std::to_string(chunk.plain_size) + ", and the parts have " +
                                  std::to_string(*plain));
  }
}

outcome<chunk_record> read_chunk(const simdjson::dom::element& element, std::size_t index,
                                 bool sealed) {
  json_reader reader("chunks[" + std::to_string(index) + "]");
  json_object from;
  chunk_record chunk;
  if (element.get_object().get(from) != simdjson::SUCCESS) {
    reader.fail("", "must be an object");
  } else {
    chunk.key = reader.text(from, "key");
    chunk.size = reader.number(from, "size");
    chunk.sha256 = reader.text(from, "sha256");
    chunk.etag = reader.optional_text(from, "etag");
    if (!can_be_key(chunk.key)) {
      reader.fail("key", chunk.key.empty() ? "is empty" : "can be no key");
    }
    if (chunk.size == 0) {
      reader.fail("size", "is zero");
    }
    if (chunk.size > chunk_bytes_max) {
      reader.fail("size", "is larger than an object can be");
    }
    if (!is_digest(chunk.sha256)) {
      reader.fail("sha256", "must be 64 lower-case hexadecimal digits");
    }
    read_parts(reader, from, chunk);
    if (sealed) {
      read_plain_size(reader, from, chunk);
    }
  }
  if (reader.failure()) {
    return *reader.failure();
  }
  return chunk;
}

void read_snapshot(json_reader& reader, json_object root, manifest& value) {
  const auto from = reader.optional_object(root, "snapshot");
  if (!from) {
    reader.fail("snapshot", "is missing");
    return;
  }
  json_reader inner("snapshot");
  value.snapshot.name = inner.text(*from, "name");
  if (!value.encryption) {
    value.snapshot.path = inner.text(*from, "path");
  }
  value.snapshot.uuid = inner.optional_text(*from, "uuid");
  value.snapshot.parent_uuid = inner.optional_text(*from, "parent_uuid");
  value.snapshot.received_uuid = inner.optional_text(*from, "received_uuid");
  value.snapshot.ctransid = inner.optional_number(*from, "ctransid");
  if (inner.failure()) {
    reader.fail(inner.failure()->where, inner.failure()->what);
  }
}

void read_additions(json_reader& reader, json_object root, manifest& value) {
  if (const auto s3 = reader.optional_object(root, "s3")) {
    value.storage_class = reader.optional_text(*s3, "storage_class").value_or("");
  }
  if (const auto stream = reader.optional_object(root, "stream")) {
    stream_record record;
    const std::uint64_t protocol = reader.optional_number(*stream, "protocol").value_or(1);
    if (protocol == 0 || protocol > stream_protocol_max) {
      reader.fail("stream.protocol", "is none");
    }
    record.protocol = static_cast<int>(std::min(protocol, stream_protocol_max));
    record.compressed_data = reader.flag(*stream, "compressed_data");
    record.commands = reader.optional_number(*stream, "commands").value_or(0);
    value.stream = record;
  }
  if (const auto tool = reader.optional_object(root, "tool")) {
    value.tool_name = reader.optional_text(*tool, "name").value_or("");
    value.tool_version = reader.optional_text(*tool, "version").value_or("");
  }
  if (const auto host = reader.optional_object(root, "host")) {
    value.host_id = reader.optional_text(*host, "id").value_or("");
    if (!value.encryption) {
      value.host_name = reader.optional_text(*host, "name").value_or("");
    }
  }
}

void read_encryption(json_reader& reader, json_object root, manifest& value) {
  value.encryption.emplace();
  const auto from = reader.optional_object(root, "encryption");
  if (!from) {
    reader.fail("encryption", "is missing");
    return;
  }
  json_reader inner("encryption");
  if (inner.text(*from, "format") != sealed_format) {
    inner.fail("format", "is none that this version knows", "use a newer version to read it");
  }
  value.encryption->backup_id = inner.text(*from, "backup_id");
  if (!is_backup_id(value.encryption->backup_id)) {
    inner.fail("backup_id", "must be 32 lower-case hexadecimal digits");
  }
  value.encryption->keys_key = inner.text(*from, "keys_key");
  if (!can_be_key(value.encryption->keys_key)) {
    inner.fail("keys_key", "can be no key");
  }
  if (inner.number(*from, "header_bytes") != sealed_header_bytes) {
    inner.fail("header_bytes", "must be " + std::to_string(sealed_header_bytes));
  }
  read_texts(inner, *from, "recipients", [&value](std::string_view text) {
    value.encryption->recipients.emplace_back(text);
    return is_recipient(text) && value.encryption->recipients.size() <= sealed_recipients_max;
  });
  value.encryption->sealed =
      reader.optional_text(root, "sealed", sealed_text_bytes_max).value_or("");
  if (!is_base64(value.encryption->sealed)) {
    reader.fail("sealed", "must be base64");
  }
  if (inner.failure()) {
    reader.fail(inner.failure()->where, inner.failure()->what, inner.failure()->remedy);
  }
}

void check_whole(json_reader& reader, const manifest& value) {
  if (value.subvolume.empty()) {
    reader.fail("subvolume", "is empty");
  }
  if (value.chunks.empty()) {
    reader.fail("chunks", "is empty");
  }
  if (value.index && !value.chunks.empty()) {
    detail::check_index_place(reader, *value.index, value.chunks.front().key);
  }
  std::uint64_t sum = 0;
  for (const chunk_record& chunk : value.chunks) {
    sum += chunk.size;  // a million of 2^50 would not fit, so each step is looked at
    if (sum > stream_bytes_max) {
      reader.fail("chunks", "are larger together than a stream can be");
      break;
    }
  }
  if (sum != value.total_bytes) {
    reader.fail("total_bytes", "is " + std::to_string(value.total_bytes) +
                                   ", and the chunks have " + std::to_string(sum));
  }
  if ((value.kind == backup_kind::incremental) != value.parent_manifest.has_value()) {
    reader.fail("parent_manifest",
                value.parent_manifest ? "is set in a full backup" : "is missing in an incremental");
  }
}

}  // namespace

std::string_view to_string(backup_kind kind) {
  switch (kind) {
    case backup_kind::full:
      return "full";
    case backup_kind::incremental:
      return "incremental";
  }
  return "";
}

std::optional<std::uint64_t> plain_bytes_of_part(std::uint64_t part_bytes) {
  constexpr std::uint64_t segments_at = sealed_header_bytes + sealed_nonce_bytes;
  constexpr std::uint64_t stride = sealed_segment_bytes + sealed_tag_bytes;
  if (part_bytes <= segments_at) {
    return std::nullopt;
  }
  const std::uint64_t rest = (part_bytes - segments_at) % stride;
  if (rest != 0 && rest <= sealed_tag_bytes) {
    return std::nullopt;
  }
  return (part_bytes - segments_at) / stride * sealed_segment_bytes +
         (rest == 0 ? 0 : rest - sealed_tag_bytes);
}

std::optional<std::uint64_t> plain_bytes_of_chunk(std::uint64_t size, std::uint64_t part_size) {
  if (size == 0 || part_size == 0) {
    return std::nullopt;
  }
  const std::uint64_t before_last = (size - 1) / part_size;
  const auto each =
      before_last == 0 ? std::optional<std::uint64_t>(0) : plain_bytes_of_part(part_size);
  const auto last = plain_bytes_of_part(size - before_last * part_size);
  return each && last ? std::optional(before_last * *each + *last) : std::nullopt;
}

bool can_be_key(std::string_view text) {
  return !text.empty() && text.size() <= manifest_key_bytes_max &&
         !detail::has_control_characters(text);
}

namespace {

void read_chunks(json_reader& reader, json_object root, manifest& value) {
  simdjson::dom::array chunks;
  if (root.at_key("chunks").get_array().get(chunks) != simdjson::SUCCESS) {
    reader.fail("chunks", "must be an array");
    return;
  }
  for (const simdjson::dom::element element : chunks) {
    if (value.chunks.size() == chunks_max) {
      reader.fail("chunks", "has more than " + std::to_string(chunks_max) + " entries");
      return;
    }
    auto chunk = read_chunk(element, value.chunks.size(), value.encryption.has_value());
    if (!chunk) {
      reader.fail(chunk.error().where, chunk.error().what, chunk.error().remedy);
      return;
    }
    value.chunks.push_back(std::move(*chunk));
  }
}

void read_parent(json_reader& reader, json_object root, manifest& value) {
  value.parent_manifest = reader.optional_text(root, "parent_manifest");
  if (value.parent_manifest && !can_be_key(*value.parent_manifest)) {
    reader.fail("parent_manifest", "can be no key");
  }
  value.parent_manifest_sha256 = reader.optional_text(root, "parent_manifest_sha256");
  if (value.parent_manifest_sha256 && !is_digest(*value.parent_manifest_sha256)) {
    reader.fail("parent_manifest_sha256", "must be 64 lower-case hexadecimal digits");
  }
}

}  // namespace

outcome<manifest> parse_manifest(std::string_view json, std::uint64_t bytes_max) {
  if (json.size() > bytes_max) {
    return document_error{"", "the manifest has more than " + std::to_string(bytes_max) + " bytes",
                          ""};
  }
  simdjson::dom::parser parser;
  json_object root;
  const auto code = parser.parse(simdjson::padded_string(json)).get_object().get(root);
  if (code != simdjson::SUCCESS) {
    return document_error{"", std::string("not a JSON object: ") + simdjson::error_message(code),
                          ""};
  }
  json_reader reader;
  const std::uint64_t version = reader.number(root, "version");
  if (reader.failure()) {
    return *reader.failure();
  }
  const bool sealed = version == sealed_version;
  if (!sealed && version != plain_version) {
    return document_error{"version",
                          std::to_string(version) + ": written by a newer version of this program",
                          "use that version to read it"};
  }
  manifest value;
  value.subvolume = reader.text(root, "subvolume");
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
  if (sealed) {
    read_encryption(reader, root, value);
  }
  read_snapshot(reader, root, value);
  read_parent(reader, root, value);
  value.total_bytes = reader.number(root, "total_bytes");
  value.chunk_size = reader.optional_number(root, "chunk_size").value_or(0);
  read_additions(reader, root, value);
  value.index = detail::read_index(reader, root, sealed);
  read_chunks(reader, root, value);
  check_whole(reader, value);
  if (reader.failure()) {
    return *reader.failure();
  }
  return value;
}

namespace {

using json = nlohmann::ordered_json;

json or_null(const std::optional<std::string>& text) {
  return text ? json(*text) : json();
}

// `value`, an object, without its closing brace: more may follow.
std::string opened(const json& value) {
  std::string text = json_line(value);
  text.pop_back();
  return text;
}

// Written by hand, as values of a JSON library would take several times the memory of their text.
void append_parts(std::string& text, const chunk_record& chunk) {
  text += ",\"part_crc32\":[";
  const char* between = "\"";
  for (const std::uint32_t crc : chunk.part_crc32) {
    text += std::exchange(between, ",\"");
    text += crc32_text(crc);
    text += '"';
  }
  text += "],\"part_sha256_states\":[";
  between = "\"";
  for (const sha256_words& state : chunk.part_states) {
    text += std::exchange(between, ",\"");
    append_hex(text, state);
    text += '"';
  }
  text += ']';
}

void append_chunk(std::string& text, const chunk_record& chunk) {
  json out;
  out["key"] = chunk.key;
  out["size"] = chunk.size;
  if (chunk.plain_size > 0) {
    out["plain_size"] = chunk.plain_size;
  }
  out["sha256"] = chunk.sha256;
  out["etag"] = or_null(chunk.etag);
  if (chunk.part_size) {
    out["part_size"] = *chunk.part_size;
  }
  text += opened(out);
  if (chunk.part_size) {
    append_parts(text, chunk);
  }
  text += '}';
}

}  // namespace

std::string write_manifest(const manifest& value) {
  json head;
  head["version"] = value.encryption ? sealed_version : plain_version;
  head["subvolume"] = value.subvolume;
  head["kind"] = to_string(value.kind);
  head["created_at"] = value.created_at.rfc3339();
  json& snapshot = head["snapshot"];
  snapshot["name"] = value.snapshot.name;
  if (!value.encryption) {
    snapshot["path"] = value.snapshot.path;
  }
  snapshot["uuid"] = or_null(value.snapshot.uuid);
  snapshot["parent_uuid"] = or_null(value.snapshot.parent_uuid);
  snapshot["received_uuid"] = or_null(value.snapshot.received_uuid);
  if (value.snapshot.ctransid) {
    snapshot["ctransid"] = *value.snapshot.ctransid;
  }
  head["parent_manifest"] = or_null(value.parent_manifest);
  if (value.parent_manifest_sha256) {
    head["parent_manifest_sha256"] = *value.parent_manifest_sha256;
  }
  if (value.encryption) {
    head["encryption"] = {{"format", sealed_format},
                          {"backup_id", value.encryption->backup_id},
                          {"keys_key", value.encryption->keys_key},
                          {"header_bytes", sealed_header_bytes},
                          {"recipients", value.encryption->recipients}};
    head["sealed"] = value.encryption->sealed;
  }
  json tail;
  tail["total_bytes"] = value.total_bytes;
  tail["chunk_size"] = value.chunk_size;
  tail["s3"] = {{"storage_class", value.storage_class}};
  if (value.stream) {
    tail["stream"] = {{"protocol", value.stream->protocol},
                      {"compressed_data", value.stream->compressed_data},
                      {"commands", value.stream->commands}};
  }
  tail["tool"] = {{"name", value.tool_name}, {"version", value.tool_version}};
  tail["host"] = {{"id", value.host_id}};
  if (!value.encryption) {
    tail["host"]["name"] = value.host_name;
  }
  if (value.index) {
    tail["index"] = detail::index_json(*value.index);
  }
  std::uint64_t parts = 0;
  for (const chunk_record& chunk : value.chunks) {
    parts += chunk.part_crc32.size();
  }
  std::string text = opened(head);
  text.reserve(text.size() + manifest_bytes_for(parts, value.chunks.size()));
  text += ",\"chunks\":[";
  const char* between = "";
  for (const chunk_record& chunk : value.chunks) {
    text += std::exchange(between, ",");
    append_chunk(text, chunk);
  }
  text += "],";
  text += opened(tail).substr(1);
  text += "}\n";
  return text;
}

}  // namespace bts3::planner
