#include "app/records/journal_codec.hh"

#include "app/text/json_number.hh"
#include "engine/age/base64.hh"
#include "engine/age/plain_fingerprint.hh"
#include "planner/json_text.hh"
#include "planner/keys.hh"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using json = nlohmann::ordered_json;

// A sealed backup's has a version of its own: who does not know of seals must not go on with it.
constexpr unsigned plain_version = 1;
constexpr unsigned sealed_version = 2;

// No manifest lists more chunks, no object has more parts: numbers beyond are damage.
constexpr std::uint32_t chunks_max = 10'000'000;
constexpr std::uint32_t parts_max = 10'000;
// Of chunks, those with a line of their own apart: the parts that are in flight at a time.
constexpr std::uint32_t chunks_ahead = 1000;
constexpr std::uint16_t protocol_max = 1000;  // there are two

// Throws std::bad_optional_access for what is no such number.
template <typename Number>
Number number_of(const json& in, const char* field,
                 Number most = std::numeric_limits<Number>::max()) {
  return whole_number_in<Number>(in.at(field), most).value();
}

// The same for a size, which is never nothing.
std::uint64_t size_of(const json& in, const char* field, std::uint64_t most) {
  const auto size = number_of<std::uint64_t>(in, field, most);
  if (size == 0) {
    throw std::bad_optional_access();
  }
  return size;
}

error damaged(const std::string& name, const std::string& what) {
  error failure;
  failure.why = engine::reason::protocol;
  failure.message = "journal " + name + ": " + what;
  return failure;
}

// One line. Strings that are no UTF-8 cannot come from the configuration or from JSON; replacing
// beats throwing all the same.
std::string text_of(const json& out) {
  return planner::json_line(out) + "\n";
}

json to_json(const sealing_intent& sealing) {
  json out;
  out["backup_id"] = sealing.backup.text();
  out["recipient"] = sealing.recipient.text();
  out["keys_key"] = sealing.keys_key;
  out["recipients"] = sealing.recipients;
  out["keys_object"] = age::base64_encode(sealing.keys_object, age::padding::filled);
  return out;
}

json to_json(const backup_intent& intent) {
  json out;
  out["version"] = intent.sealing ? sealed_version : plain_version;
  out["event"] = "intent";
  out["subvolume"] = intent.subvolume;
  out["source"] = intent.source;
  out["kind"] = planner::to_string(intent.kind);
  out["when"] = intent.when.compact();
  out["snapshot_path"] = intent.snapshot_path;
  out["snapshot_name"] = intent.snapshot_name;
  out["manifest_key"] = intent.manifest_key;
  out["keys_root"] = intent.keys_root;
  if (!intent.chunk_tag.empty()) {
    out["chunk_tag"] = intent.chunk_tag;
  }
  if (intent.parent_manifest) {
    out["parent_manifest"] = *intent.parent_manifest;
    out["parent_snapshot"] = intent.parent_snapshot;
  }
  if (intent.pointer_before) {
    out["pointer_before"] = *intent.pointer_before;
  }
  out["endpoint_url"] = intent.endpoint_url;
  out["region"] = intent.region;
  out["bucket"] = intent.bucket;
  out["protocol"] = intent.protocol;
  out["compressed_data"] = intent.compressed_data;
  out["part_size"] = intent.part_size;
  out["chunk_size"] = intent.chunk_size;
  out["local_only"] = intent.local_only;
  if (intent.sealing) {
    out["sealing"] = to_json(*intent.sealing);
  }
  return out;
}

// Throws as intent_from() does.
sealing_intent sealing_from(const json& in) {
  const auto id = age::backup_id::parse(in.at("backup_id").get<std::string>());
  const auto to = age::x25519_recipient::parse(in.at("recipient").get<std::string>());
  auto keys = age::base64_decode(in.at("keys_object").get<std::string>(), age::padding::filled);
  std::string key = in.at("keys_key").get<std::string>();
  if (!to || !planner::can_be_key(key) || keys.value().empty()) {
    throw std::bad_optional_access();
  }
  return {id.value(), *to, std::move(key), std::move(*keys),
          in.at("recipients").get<std::vector<std::string>>()};
}

// Throws json::exception or std::bad_optional_access where a field is missing, of another type or
// out of bounds.
backup_intent intent_from(const json& in) {
  backup_intent intent;
  intent.subvolume = in.at("subvolume").get<std::string>();
  intent.source = in.at("source").get<std::string>();
  intent.kind = in.at("kind").get<std::string>() == "full" ? planner::backup_kind::full
                                                           : planner::backup_kind::incremental;
  intent.when = planner::timestamp::parse(in.at("when").get<std::string>()).value();
  intent.snapshot_path = in.at("snapshot_path").get<std::string>();
  intent.snapshot_name = in.at("snapshot_name").get<std::string>();
  intent.manifest_key = in.at("manifest_key").get<std::string>();
  intent.keys_root = in.at("keys_root").get<std::string>();
  intent.chunk_tag = in.value("chunk_tag", std::string());
  if (in.contains("parent_manifest")) {
    intent.parent_manifest = in.at("parent_manifest").get<std::string>();
    intent.parent_snapshot = in.at("parent_snapshot").get<std::string>();
  }
  if (in.contains("pointer_before")) {
    intent.pointer_before = in.at("pointer_before").get<std::string>();
  }
  intent.endpoint_url = in.at("endpoint_url").get<std::string>();
  intent.region = in.at("region").get<std::string>();
  intent.bucket = in.at("bucket").get<std::string>();
  intent.protocol = number_of<std::uint16_t>(in, "protocol", protocol_max);
  intent.compressed_data = in.at("compressed_data").get<bool>();
  intent.part_size = size_of(in, "part_size", planner::part_bytes_max);
  intent.chunk_size = size_of(in, "chunk_size", planner::chunk_bytes_max);
  intent.local_only = in.at("local_only").get<bool>();
  const bool sealed = number_of<std::uint64_t>(in, "version") == sealed_version;
  if (sealed != in.contains("sealing")) {
    throw std::bad_optional_access();
  }
  if (sealed) {
    intent.sealing = sealing_from(in.at("sealing"));
  }
  return intent;
}

engine::sha256_state state_from(const json& in, const char* field) {
  return engine::sha256_state::from_hex(in.at(field).get<std::string>()).value();
}

void note_written_as(const json& in, journalled_chunk& chunk) {
  if (in.contains("written_as")) {
    chunk.written_as = in.at("written_as").get<std::string>();
  }
}

// Where it belongs follows from the intent. Throws as intent_from() does.
planner::index_record index_from(const json& in, const backup_intent& intent) {
  const bool sealed = intent.sealing.has_value();
  if (intent.chunk_tag.empty()) {
    throw std::bad_optional_access();  // such a backup has none
  }
  planner::index_record index;
  index.key =
      planner::index_key(intent.keys_root, intent.kind, intent.when, intent.chunk_tag, sealed);
  index.size = size_of(in, "size", planner::index_bytes_max);
  index.sha256 = state_from(in, "sha256").hex();
  if (sealed) {
    index.plain_size = size_of(in, "plain_size", planner::index_bytes_max);
    index.plain_sha256 = state_from(in, "plain_sha256").hex();
  }
  return index;
}

// Applies one line after the intent. Throws as intent_from() does; false for an unknown event.
bool apply(const json& in, journal_record& to) {
  const std::string event = in.at("event").get<std::string>();
  if (in.contains("at")) {
    const auto at = planner::timestamp::parse(in.at("at").get<std::string>()).value();
    to.last_progress = std::max(to.last_progress.value_or(at), at);
  }
  if (event == "snapshot") {
    to.snapshot = snapshot_identity{in.at("uuid").get<std::string>(),
                                    number_of<std::uint64_t>(in, "ctransid")};
    return true;
  }
  if (event == "index") {
    to.index = index_from(in, to.intent);
    return true;
  }
  const auto number = number_of<std::uint32_t>(in, "chunk", chunks_max);
  if (event == "discard") {
    to.chunks.erase(number);
    return true;
  }
  journalled_chunk& chunk = to.chunks[number];
  if (event == "upload") {
    chunk.upload_begun = true;
    chunk.upload_id = in.at("id").get<std::string>();
    chunk.checksums = in.at("checksums").get<bool>();
    note_written_as(in, chunk);
  } else if (event == "part") {
    journalled_part part;
    part.size = size_of(in, "size", planner::part_bytes_max);
    part.etag = in.at("etag").get<std::string>();
    part.crc32 = number_of<std::uint32_t>(in, "crc32");
    if (in.contains("state")) {
      part.state = state_from(in, "state");
    }
    part.digest = state_from(in, "digest");
    if (to.intent.sealing) {
      const std::string text = in.at("fingerprint").get<std::string>();
      part.fingerprint = age::recorded_fingerprint::parse(text).value().text();
    }
    chunk.parts[number_of<std::uint32_t>(in, "part", parts_max)] = std::move(part);
  } else if (event == "whole") {
    chunk.size = size_of(in, "size", planner::chunk_bytes_max);
    chunk.sha256 = in.at("sha256").get<std::string>();
    note_written_as(in, chunk);
  } else if (event == "stored") {
    chunk.stored = true;
    chunk.etag = in.at("etag").get<std::string>();
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::string intent_line(const backup_intent& intent) {
  return text_of(to_json(intent));
}

std::string snapshot_line(const snapshot_identity& identity) {
  json out;
  out["event"] = "snapshot";
  out["uuid"] = identity.uuid;
  out["ctransid"] = identity.ctransid;
  return text_of(out);
}

std::string upload_line(std::uint32_t chunk, const std::string& id, bool checksums,
                        const std::string& written_as) {
  json out;
  out["event"] = "upload";
  out["chunk"] = chunk;
  out["id"] = id;
  out["checksums"] = checksums;
  out["written_as"] = written_as;
  return text_of(out);
}

std::string part_line(std::uint32_t chunk, std::uint32_t number, const journalled_part& part) {
  json out;
  out["event"] = "part";
  out["chunk"] = chunk;
  out["part"] = number;
  out["size"] = part.size;
  out["etag"] = part.etag;
  out["crc32"] = part.crc32;
  if (part.state) {
    out["state"] = part.state->hex();
  }
  out["digest"] = part.digest.hex();
  if (part.at) {
    out["at"] = part.at->compact();
  }
  if (!part.fingerprint.empty()) {
    out["fingerprint"] = part.fingerprint;
  }
  return text_of(out);
}

std::string whole_line(std::uint32_t chunk, std::uint64_t size, const std::string& sha256,
                       const std::string& written_as) {
  json out;
  out["event"] = "whole";
  out["chunk"] = chunk;
  out["size"] = size;
  out["sha256"] = sha256;
  out["written_as"] = written_as;
  return text_of(out);
}

std::string stored_line(std::uint32_t chunk, const std::string& etag) {
  json out;
  out["event"] = "stored";
  out["chunk"] = chunk;
  out["etag"] = etag;
  return text_of(out);
}

std::string discard_line(std::uint32_t chunk) {
  json out;
  out["event"] = "discard";
  out["chunk"] = chunk;
  return text_of(out);
}

std::string index_line(const planner::index_record& index) {
  json out;
  out["event"] = "index";
  out["size"] = index.size;
  out["sha256"] = index.sha256;
  if (index.plain_size) {
    out["plain_size"] = *index.plain_size;
    out["plain_sha256"] = index.plain_sha256.value_or("");
  }
  return text_of(out);
}

result<std::optional<journal_record>> parse_journal(std::string_view text,
                                                    const std::string& name) {
  std::string_view rest = text;
  journal_record record;
  bool first = true;
  std::size_t number = 1;
  for (;; ++number) {
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) {
      break;  // torn, or the end: a whole line ends in a newline
    }
    const json in = json::parse(rest.substr(0, end), nullptr, false);
    rest.remove_prefix(end + 1);
    const std::string where = "line " + std::to_string(number);
    try {
      if (first) {
        if (number_of<std::uint64_t>(in, "version") > sealed_version) {
          error failure = damaged(name, "written by a newer version");
          failure.remedy = "run that version to finish the backup";
          return failure;
        }
        record.intent = intent_from(in);
        first = false;
      } else if (!apply(in, record)) {
        return damaged(name, where + " has an unknown event");
      }
    } catch (const json::exception& problem) {
      return damaged(name, where + ": " + problem.what());
    } catch (const std::bad_optional_access&) {
      return damaged(name, where + " holds no time, hash or number where one is due");
    }
  }
  if (first) {
    return std::optional<journal_record>();
  }
  if (!record.chunks.empty() && record.chunks.rbegin()->first > number + chunks_ahead) {
    return damaged(name, "it names chunk " + std::to_string(record.chunks.rbegin()->first) +
                             " and hardly any before it");
  }
  return std::optional<journal_record>(std::move(record));
}

std::optional<journal_subject> subject_of_journal(std::string_view text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) {
    return std::nullopt;
  }
  const json in = json::parse(text.substr(0, end), nullptr, false);
  try {
    return journal_subject{in.at("subvolume").get<std::string>(), in.at("local_only").get<bool>()};
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

}  // namespace bts3::app
