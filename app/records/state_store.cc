#include "app/records/state_store.hh"

#include "app/host/whole_file.hh"
#include "engine/files.hh"
#include "planner/json_text.hh"
#include "planner/timestamp.hh"

#include <nlohmann/json.hpp>
#include <simdjson.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::system_error;

std::string text_in(simdjson::dom::object from, const char* field) {
  std::string_view text;
  return from.at_key(field).get_string().get(text) == simdjson::SUCCESS ? std::string(text)
                                                                        : std::string();
}

std::optional<std::uint64_t> number_in(simdjson::dom::object from, const char* field) {
  std::uint64_t number = 0;
  return from.at_key(field).get_uint64().get(number) == simdjson::SUCCESS ? std::optional(number)
                                                                          : std::nullopt;
}

// Nullopt when the document is not a state file.
std::optional<run_state> parse_state(const std::string& json) {
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  simdjson::dom::object subvolumes;
  if (parser.parse(simdjson::padded_string(json)).get_object().get(root) != simdjson::SUCCESS ||
      root.at_key("subvolumes").get_object().get(subvolumes) != simdjson::SUCCESS) {
    return std::nullopt;
  }
  run_state state;
  state.last_run_at = text_in(root, "last_run_at");
  for (const auto& [name, value] : subvolumes) {
    simdjson::dom::object from;
    if (value.get_object().get(from) != simdjson::SUCCESS) {
      return std::nullopt;
    }
    subvolume_state& one = state.subvolumes[std::string(name)];
    one.last_snapshot = text_in(from, "last_snapshot");
    one.last_manifest = text_in(from, "last_manifest");
    one.last_full_at = text_in(from, "last_full_at");
    one.last_backup_at = text_in(from, "last_backup_at");
    if (std::string uuid = text_in(from, "snapshot_uuid"); !uuid.empty()) {
      one.snapshot_uuid = std::move(uuid);
    }
    one.snapshot_ctransid = number_in(from, "snapshot_ctransid");
    one.last_bytes = number_in(from, "last_bytes");
    one.last_milliseconds = number_in(from, "last_milliseconds");
    one.chain_links = number_in(from, "chain_links");
    simdjson::dom::array pruned;
    if (from.at_key("pruned_snapshots").get_array().get(pruned) == simdjson::SUCCESS) {
      for (const simdjson::dom::element entry : pruned) {
        std::string_view text;
        if (entry.get_string().get(text) == simdjson::SUCCESS) {
          one.pruned_snapshots.emplace_back(text);
        }
      }
    }
  }
  return state;
}

}  // namespace

state_store::state_store(std::string path, const engine::clock& clock, engine::log_sink& log)
    : _path(std::move(path)), _clock(clock), _log(log) {}

// Nullopt when the file is damaged.
result<std::optional<run_state>> state_store::read() const {
  auto text = read_whole(_path);
  if (!text) {
    return std::move(text.error()).within("global.state_path");
  }
  return *text ? parse_state(**text) : std::optional<run_state>(run_state());
}

result<bool> state_store::is_damaged() const {
  auto state = read();
  if (!state) {
    return std::move(state.error());
  }
  return !state->has_value();
}

result<run_state> state_store::peek() {
  auto state = read();
  if (!state) {
    return std::move(state.error());
  }
  if (!*state) {
    _log.write(engine::log_level::warning, "app", "state_damaged",
               {{"path", _path}, {"consequence", "a backup will move it aside"}});
  }
  return std::move(*state).value_or(run_state());
}

result<run_state> state_store::load() {
  auto state = read();
  if (!state) {
    return std::move(state.error());
  }
  if (*state) {
    return std::move(**state);
  }
  const auto now = std::chrono::floor<std::chrono::seconds>(_clock.now());
  const std::string aside = _path + ".damaged-" + planner::timestamp(now).compact();
  if (::rename(_path.c_str(), aside.c_str()) != 0) {
    return system_error(errno, "moving the damaged state file aside to " + aside);
  }
  _log.write(engine::log_level::warning, "app", "state_damaged",
             {{"path", _path}, {"moved_to", aside}, {"consequence", "rebuilt from the bucket"}});
  return run_state();
}

result<void> state_store::save(const run_state& state) {
  std::error_code code;
  std::filesystem::create_directories(std::filesystem::path(_path).parent_path(), code);
  if (code) {
    return state_not_writable(
        system_error(code.value(), "global.state_path: making the directory of " + _path));
  }
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  auto before = read_whole(_path);
  if (!before) {
    return std::move(before.error()).within("global.state_path");
  }
  if (*before) {
    auto parsed = nlohmann::ordered_json::parse(**before, nullptr, false);
    if (parsed.is_object()) {
      out = std::move(parsed);
    }
  }
  if (!out["subvolumes"].is_object()) {
    out["subvolumes"] = nlohmann::ordered_json::object();
  }
  for (const auto& [name, one] : state.subvolumes) {
    auto& entry = out["subvolumes"][name];
    entry["last_snapshot"] = one.last_snapshot;
    entry["last_manifest"] = one.last_manifest;
    entry["last_full_at"] = one.last_full_at;
    entry["last_backup_at"] = one.last_backup_at;
    if (one.snapshot_uuid) {
      entry["snapshot_uuid"] = *one.snapshot_uuid;
    }
    if (one.snapshot_ctransid) {
      entry["snapshot_ctransid"] = *one.snapshot_ctransid;
    }
    entry.erase("pruned_snapshots");
    if (!one.pruned_snapshots.empty()) {
      entry["pruned_snapshots"] = one.pruned_snapshots;
    }
    const std::pair<const char*, std::optional<std::uint64_t>> figures[] = {
        {"last_bytes", one.last_bytes},
        {"last_milliseconds", one.last_milliseconds},
        {"chain_links", one.chain_links}};
    for (const auto& [field, value] : figures) {
      if (value) {
        entry[field] = *value;
      } else {
        entry.erase(field);  // an older backup's would be wrong
      }
    }
  }
  out["last_run_at"] = state.last_run_at;
  auto written = engine::write_durably(_path, planner::json_document(out));
  if (!written) {
    return state_not_writable(std::move(written.error()).within("global.state_path"));
  }
  return written;
}

error state_not_writable(error failure) {
  const bool place = failure.status == EROFS || failure.status == EACCES ||
                     failure.status == EPERM || failure.status == ENOTDIR;
  if (failure.why == engine::reason::system && place && failure.remedy.empty()) {
    failure.remedy =
        "set global.state_path to a file that can be written; the systemd unit may write to "
        "/var/lib/btrfs_to_s3";
  }
  return failure;
}

}  // namespace bts3::app
