#include "app/records/journal.hh"

#include "app/host/whole_file.hh"
#include "app/records/state_store.hh"
#include "app/text/json_number.hh"
#include "app/text/subvolume_name.hh"
#include "engine/files.hh"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::system_error;
using engine::task;
using json = nlohmann::ordered_json;

constexpr unsigned journal_version = 1;

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

error damaged(const std::string& path, const std::string& what) {
  error failure;
  failure.why = engine::reason::protocol;
  failure.message = "journal " + path + ": " + what;
  return failure;
}

result<void> sync_directory_of(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  auto parent = engine::open_directory(directory);
  if (!parent) {
    return std::move(parent.error());
  }
  if (::fsync(parent->get()) != 0) {
    return system_error(errno, "fsync of " + directory);
  }
  return engine::ok();
}

// One line. Strings that are no UTF-8 cannot come from the configuration or from JSON; replacing
// beats throwing all the same.
std::string text_of(const json& out) {
  return out.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

json to_json(const backup_intent& intent) {
  json out;
  out["version"] = journal_version;
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
  return out;
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
  const auto number = number_of<std::uint32_t>(in, "chunk", chunks_max);
  if (event == "discard") {
    to.chunks.erase(number);
    return true;
  }
  journalled_chunk& chunk = to.chunks[number];
  if (event == "upload") {
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

result<void> write_all(int fd, const std::string& text, const std::string& path) {
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(fd, text.data() + written, text.size() - written);
    if (count < 0 && errno != EINTR) {
      return system_error(errno, "writing journal " + path);
    }
    written += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
  return engine::ok();
}

result<std::string> rename_durably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return system_error(errno, "renaming journal " + from);
  }
  if (auto synced = sync_directory_of(to); !synced) {
    return std::move(synced.error());
  }
  return to;
}

std::string stem_of(const std::string& state_path) {
  const std::filesystem::path path(state_path);
  return path.stem().string() + ".";
}

std::string file_name(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

constexpr std::string_view live_end = ".journal";

// Where the time of a journal set aside begins.
std::size_t aside_mark(const std::string& path) {
  const std::size_t at = path.rfind(std::string(live_end) + "-");
  return at == std::string::npos ? at : at + live_end.size() + 1;
}

// The path that it would have, or had, before it was set aside.
std::string live_path(const std::string& path) {
  return is_set_aside(path) ? path.substr(0, aside_mark(path) - 1) : path;
}

// Whom the journal at `path` is of. Also of one that is damaged further on, or that a newer version
// wrote; nullopt where the first line tells nothing.
struct journal_subject {
  std::string subvolume;
  bool local_only = false;
};
std::optional<journal_subject> subject_of(const std::string& path) {
  const auto text = read_whole(path);
  const std::size_t end = text && *text ? (*text)->find('\n') : std::string::npos;
  if (end == std::string::npos) {
    return std::nullopt;
  }
  const json in = json::parse((*text)->substr(0, end), nullptr, false);
  try {
    return journal_subject{in.at("subvolume").get<std::string>(), in.at("local_only").get<bool>()};
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

// `stem` with the first time from `when` on that no file carries: what is set aside twice in a
// second must not replace itself.
std::string free_name(const std::string& stem, planner::timestamp when) {
  for (;; when = planner::timestamp(when.when() + std::chrono::seconds(1))) {
    std::string name = stem + when.compact();
    std::error_code code;
    if (!std::filesystem::exists(std::filesystem::symlink_status(name, code))) {
      return name;
    }
  }
}

}  // namespace

std::string journal_path(const std::string& state_path, const std::string& subvolume,
                         bool local_only) {
  const std::string name = stem_of(state_path) + subvolume +
                           (local_only ? std::string(local_journal_suffix) : "") + ".journal";
  return (std::filesystem::path(state_path).parent_path() / name).string();
}

result<std::vector<std::string>> list_journals(const std::string& state_path) {
  std::vector<std::string> found;
  const std::filesystem::path directory = std::filesystem::path(state_path).parent_path();
  const std::string stem = stem_of(state_path);
  std::error_code code;
  for (std::filesystem::directory_iterator entry(directory, code), end; !code && entry != end;
       entry.increment(code)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(stem) && (name.ends_with(live_end) || is_set_aside(name)) &&
        owner_of_journal(state_path, entry->path().string()) != journal_owner::another_state_file) {
      found.push_back(entry->path().string());
    }
  }
  if (code && code != std::errc::no_such_file_or_directory) {
    return system_error(code.value(), directory.string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

journal_owner owner_of_journal(const std::string& state_path, const std::string& path,
                               const std::set<std::string>& subvolumes) {
  const std::string name = file_name(live_path(path));
  const auto is_of = [&](const std::string& subvolume, bool local_only) {
    return name == file_name(journal_path(state_path, subvolume, local_only));
  };
  if (const auto subject = subject_of(path)) {
    return is_of(subject->subvolume, subject->local_only) ? journal_owner::this_state_file
                                                          : journal_owner::another_state_file;
  }
  if (std::any_of(subvolumes.begin(), subvolumes.end(), [&](const std::string& subvolume) {
        return is_of(subvolume, false) || is_of(subvolume, true);
      })) {
    return journal_owner::this_state_file;
  }
  const std::string stem = stem_of(state_path);
  if (name.size() <= stem.size() + live_end.size() || !name.starts_with(stem)) {
    return journal_owner::another_state_file;
  }
  // One dot before the end: one state file, one subvolume.
  const auto end = name.end() - static_cast<std::ptrdiff_t>(live_end.size());
  return std::count(name.begin(), end, '.') == 1 ? journal_owner::this_state_file
                                                 : journal_owner::unknown;
}

bool is_set_aside(const std::string& path) {
  const std::size_t at = aside_mark(path);
  return at != std::string::npos && planner::timestamp::parse(path.substr(at)).has_value();
}

result<std::string> set_journal_aside(const std::string& path, planner::timestamp when) {
  return rename_durably(path, free_name(path + "-", when));
}

result<std::string> set_damaged_journal_aside(const std::string& path, planner::timestamp when) {
  return rename_durably(path, free_name(path + ".damaged-", when));
}

result<std::optional<journal_record>> read_journal(const std::string& path) {
  auto text = read_whole(path);
  if (!text) {
    return std::move(text.error()).within("the journal of an unfinished backup");
  }
  if (!*text) {
    return std::optional<journal_record>();
  }
  std::string_view rest = **text;
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
        if (number_of<std::uint64_t>(in, "version") > journal_version) {
          error failure = damaged(path, "written by a newer version");
          failure.remedy = "run that version to finish the backup";
          return failure;
        }
        record.intent = intent_from(in);
        first = false;
      } else if (!apply(in, record)) {
        return damaged(path, where + " has an unknown event");
      }
    } catch (const json::exception& problem) {
      return damaged(path, where + ": " + problem.what());
    } catch (const std::bad_optional_access&) {
      return damaged(path, where + " holds no time, hash or number where one is due");
    }
  }
  if (first) {
    return std::optional<journal_record>();
  }
  if (!record.chunks.empty() && record.chunks.rbegin()->first > number + chunks_ahead) {
    return damaged(path, "it names chunk " + std::to_string(record.chunks.rbegin()->first) +
                             " and hardly any before it");
  }
  return std::optional<journal_record>(std::move(record));
}

result<void> remove_journal(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return system_error(errno, "removing journal " + path);
  }
  return sync_directory_of(path);
}

result<std::unique_ptr<journal>> journal::begin(engine::reactor& loop, engine::log_sink& log,
                                                std::string path, const backup_intent& intent) {
  std::error_code code;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), code);
  if (code) {
    return state_not_writable(
        system_error(code.value(), "global.state_path: making the directory of " + path));
  }
  engine::unique_fd file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return state_not_writable(system_error(errno, "journal " + path));
  }
  const std::string line = text_of(to_json(intent));
  if (auto written = write_all(file.get(), line, path); !written) {
    return std::move(written.error());
  }
  if (::fsync(file.get()) != 0) {
    return system_error(errno, "fsync of journal " + path);
  }
  if (auto synced = sync_directory_of(path); !synced) {
    return std::move(synced.error());
  }
  return std::unique_ptr<journal>(
      new journal(loop, log, std::move(path), std::move(file), line.size()));
}

result<std::unique_ptr<journal>> journal::reopen(engine::reactor& loop, engine::log_sink& log,
                                                 std::string path) {
  engine::unique_fd file(::open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
  if (!file.valid()) {
    return system_error(errno, "journal " + path);
  }
  auto text = read_whole(path);
  if (!text) {
    return std::move(text.error()).within("journal");
  }
  const std::string all = std::move(*text).value_or("");
  const std::size_t last = all.rfind('\n');
  const std::size_t whole = last == std::string::npos ? 0 : last + 1;
  if (whole != all.size() && ::ftruncate(file.get(), static_cast<off_t>(whole)) != 0) {
    return system_error(errno, "truncating journal " + path);
  }
  return std::unique_ptr<journal>(new journal(loop, log, std::move(path), std::move(file), whole));
}

void journal::give_up(const error& failure) {
  _broken = true;
  _log.write(engine::log_level::warning, "backup", "journal_not_written",
             {{"path", _path},
              {"error", failure.text()},
              {"consequence", "if this run is interrupted, the next one repeats more of it"}});
  // Half a line in the middle would make the whole file unreadable.
  if (::ftruncate(_file.get(), static_cast<off_t>(_size)) != 0) {
    const int err = errno;
    _log.write(engine::log_level::warning, "backup", "journal_not_truncated",
               {{"error", system_error(err, _path).text()}});
  }
}

task<void> journal::append(std::string line) {
  if (_broken) {
    co_return;
  }
  // Written at once, in one piece: lines of parts that end at the same time do not mix.
  auto written = write_all(_file.get(), line, _path);
  if (!written) {
    give_up(written.error());
    co_return;
  }
  _size += line.size();
  auto syncing = _loop.sync_data(_file.get());
  auto synced = co_await std::move(syncing);
  if (!synced && !_broken) {
    give_up(synced.error());
  }
}

task<void> journal::note_snapshot(snapshot_identity identity) {
  json out;
  out["event"] = "snapshot";
  out["uuid"] = identity.uuid;
  out["ctransid"] = identity.ctransid;
  auto appending = append(text_of(out));
  co_await std::move(appending);
}

task<void> journal::note_upload(std::uint32_t chunk, std::string id, bool checksums,
                                std::string written_as) {
  json out;
  out["event"] = "upload";
  out["chunk"] = chunk;
  out["id"] = id;
  out["checksums"] = checksums;
  out["written_as"] = written_as;
  auto appending = append(text_of(out));
  co_await std::move(appending);
}

task<void> journal::note_part(std::uint32_t chunk, std::uint32_t number, journalled_part part) {
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
  ++_parts_noted;
  auto appending = append(text_of(out));
  co_await std::move(appending);
}

task<void> journal::note_whole(std::uint32_t chunk, std::uint64_t size, std::string sha256,
                               std::string written_as) {
  json out;
  out["event"] = "whole";
  out["chunk"] = chunk;
  out["size"] = size;
  out["sha256"] = sha256;
  out["written_as"] = written_as;
  auto appending = append(text_of(out));
  co_await std::move(appending);
}

task<void> journal::note_stored(std::uint32_t chunk, std::string etag) {
  json out;
  out["event"] = "stored";
  out["chunk"] = chunk;
  out["etag"] = etag;
  ++_parts_noted;
  auto appending = append(text_of(out));
  co_await std::move(appending);
}

task<void> journal::note_discarded(std::uint32_t chunk) {
  json out;
  out["event"] = "discard";
  out["chunk"] = chunk;
  auto appending = append(text_of(out));
  co_await std::move(appending);
}

result<void> journal::remove() {
  return remove_journal(_path);
}

}  // namespace bts3::app
