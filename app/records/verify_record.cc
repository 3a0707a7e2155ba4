#include "app/records/verify_record.hh"

#include "app/host/whole_file.hh"
#include "app/records/state_store.hh"
#include "app/text/json_number.hh"
#include "engine/files.hh"
#include "engine/told_command.hh"
#include "engine/unique_fd.hh"
#include "planner/json_text.hh"
#include "planner/keys.hh"

#include <nlohmann/json.hpp>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using nlohmann::json;

constexpr verification_kind kinds[] = {verification_kind::quick, verification_kind::sample,
                                       verification_kind::deep, verification_kind::proof,
                                       verification_kind::received};
constexpr unsigned version = 1;

// The readers below throw json::exception or std::bad_optional_access for what is no record.
verification verification_from(const json& in) {
  verification one;
  one.at = planner::timestamp::parse(in.at("at").get<std::string>()).value();
  one.sound = in.at("sound").get<bool>();
  one.problem = in.value("problem", "");
  one.listed = in.value("listed", false);
  return one;
}

verified_subvolume subvolume_from(const json& in) {
  verified_subvolume one;
  one.place = in.at("place").get<std::string>();
  if (in.contains("at")) {
    one.at = planner::timestamp::parse(in.at("at").get<std::string>()).value();
  }
  for (const auto& [key, link] : in.at("links").items()) {
    verified_link& into = one.links[key];
    for (const verification_kind kind : kinds) {
      if (const auto found = link.find(to_string(kind)); found != link.end()) {
        into.by_kind[kind] = verification_from(*found);
      }
    }
  }
  if (const auto cursor = in.find("sample"); cursor != in.end()) {
    one.cursor.manifest = cursor->at("manifest").get<std::string>();
    one.cursor.chunk = whole_number_in<std::uint32_t>(cursor->at("chunk")).value();
    one.cursor.part = whole_number_in<std::uint32_t>(cursor->at("part")).value();
    one.cursor.from_start = cursor->at("from_start").get<bool>();
    const json none = 0;
    one.cursor.done = whole_number_in<std::uint64_t>(cursor->value("done", none)).value();
    one.cursor.parts = whole_number_in<std::uint64_t>(cursor->value("parts", none)).value();
  }
  if (const auto runs = in.find("runs"); runs != in.end()) {
    for (const verification_kind kind : kinds) {
      if (const auto found = runs->find(to_string(kind)); found != runs->end()) {
        one.runs[kind] = planner::timestamp::parse(found->get<std::string>()).value();
      }
    }
  }
  one.elsewhere = in.value("elsewhere", "");
  if (const auto pruned = in.find("pruned"); pruned != in.end()) {
    for (const auto& [key, when] : pruned->items()) {
      one.pruned[key] = planner::timestamp::parse(when.get<std::string>()).value();
    }
  }
  return one;
}

json json_of(const verified_subvolume& one) {
  json out;
  out["place"] = one.place;
  if (one.at) {
    out["at"] = one.at->rfc3339();
  }
  out["links"] = json::object();
  for (const auto& [key, link] : one.links) {
    json& into = out["links"][key];
    into = json::object();
    for (const auto& [kind, found] : link.by_kind) {
      json& entry = into[std::string(to_string(kind))];
      entry["at"] = found.at.rfc3339();
      entry["sound"] = found.sound;
      if (!found.problem.empty()) {
        entry["problem"] = found.problem;
      }
      if (found.listed) {
        entry["listed"] = true;
      }
    }
  }
  if (!one.cursor.manifest.empty()) {
    out["sample"] = {{"manifest", one.cursor.manifest}, {"chunk", one.cursor.chunk},
                     {"part", one.cursor.part},         {"from_start", one.cursor.from_start},
                     {"done", one.cursor.done},         {"parts", one.cursor.parts}};
  }
  out["runs"] = json::object();
  for (const auto& [kind, when] : one.runs) {
    out["runs"][std::string(to_string(kind))] = when.rfc3339();
  }
  if (!one.elsewhere.empty()) {
    out["elsewhere"] = one.elsewhere;
  }
  for (const auto& [key, when] : one.pruned) {
    out["pruned"][key] = when.rfc3339();
  }
  return out;
}

error damaged(const std::string& path, const std::string& problem) {
  error failure;
  failure.why = engine::reason::protocol;
  failure.message = "the record of verifications " + path + " makes no sense: " + problem;
  failure.remedy = "remove it, and run `" + engine::told_command("verify") + "`";
  return failure;
}

}  // namespace

std::string_view to_string(verification_kind kind) {
  switch (kind) {
    case verification_kind::quick:
      return "quick";
    case verification_kind::sample:
      return "sample";
    case verification_kind::deep:
      return "deep";
    case verification_kind::proof:
      return "proof";
    case verification_kind::received:
      return "received";
  }
  return "";
}

// Whether it is a problem that no stronger and later verification refutes.
bool verified_link::stands(verification_kind kind, const verification& found) const {
  bool refuted = found.sound;
  for (const auto& [other, later] : by_kind) {
    refuted = refuted || (other > kind && later.sound && later.at >= found.at);
  }
  return !refuted;
}

const verification* verified_link::problem_of(verification_kind kind) const {
  const auto found = by_kind.find(kind);
  return found != by_kind.end() && stands(kind, found->second) ? &found->second : nullptr;
}

std::optional<verification_kind> verified_link::damaged_by() const {
  std::optional<verification_kind> strongest;
  for (const auto& [kind, found] : by_kind) {
    if (stands(kind, found)) {
      strongest = kind;
    }
  }
  return strongest;
}

std::optional<verified_link::proof> verified_link::proven() const {
  if (damaged_by()) {
    return std::nullopt;
  }
  std::optional<proof> best;
  for (const auto& [kind, found] : by_kind) {
    if (found.sound) {
      best = proof{kind, found.at};
    }
  }
  return best;
}

std::vector<std::pair<verification_kind, planner::timestamp>> verification_summary::telling()
    const {
  std::vector<std::pair<verification_kind, planner::timestamp>> all(runs.begin(), runs.end());
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second, a.first) > std::pair(b.second, b.first);
  });
  std::vector<std::pair<verification_kind, planner::timestamp>> chosen;
  for (const auto& one : all) {
    if (chosen.empty() || one.first > chosen.back().first) {
      chosen.push_back(one);
    }
  }
  return chosen;
}

verification_summary summary_of(const verified_subvolume& one) {
  verification_summary made;
  made.runs = one.runs;
  for (const auto& [key, link] : one.links) {
    if (const auto kind = link.damaged_by()) {
      const verification& found = link.by_kind.at(*kind);
      made.damaged.push_back({key, *kind, found.at, found.problem});
    }
  }
  made.elsewhere = one.elsewhere;
  made.sample_done = one.cursor.done;
  made.sample_parts = one.cursor.parts;
  return made;
}

const verified_subvolume* verify_record::find(const std::string& subvolume,
                                              const std::string& place) const {
  const auto found = subvolumes.find(subvolume);
  return found == subvolumes.end() || found->second.place != place ? nullptr : &found->second;
}

namespace {

std::string beside_state(const std::string& state_path, const char* ending) {
  const std::filesystem::path state(state_path);
  return (state.parent_path() / (state.stem().string() + ending)).string();
}

result<void> make_directory_of(const std::string& path) {
  std::error_code code;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), code);
  if (code) {
    return state_not_writable(
        engine::system_error(code.value(), "global.state_path: making the directory of " + path));
  }
  return engine::ok();
}

// An open-file-description lock, which the kernel drops with the descriptor.
result<engine::unique_fd> lock_record(const std::string& state_path) {
  const std::string path = beside_state(state_path, ".verified.lock");
  if (auto made = make_directory_of(path); !made) {
    return std::move(made.error());
  }
  engine::unique_fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) {
    return state_not_writable(engine::system_error(errno, "opening " + path));
  }
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  while (::fcntl(fd.get(), F_OFD_SETLKW, &whole) != 0) {
    if (errno != EINTR) {
      return engine::system_error(errno, "locking " + path);
    }
  }
  return fd;
}

const verification* find_in(const verified_subvolume& all, const std::string& key,
                            verification_kind kind) {
  const auto link = all.links.find(key);
  if (link == all.links.end()) {
    return nullptr;
  }
  const auto found = link->second.by_kind.find(kind);
  return found == link->second.by_kind.end() ? nullptr : &found->second;
}

bool same(const verification* a, const verification* b) {
  return a == nullptr || b == nullptr ? a == b : *a == *b;
}

void merge_link(const std::string& key, const verified_subvolume& before,
                const verified_subvolume& mine, verified_subvolume& theirs) {
  for (const verification_kind kind : kinds) {
    const verification* was = find_in(before, key, kind);
    const verification* is = find_in(mine, key, kind);
    const verification* other = find_in(theirs, key, kind);
    const bool changed_there = !same(was, other);
    if (same(was, is)) {
      continue;
    }
    // Of two in the same second, the one that found something.
    const bool later_there = changed_there && other != nullptr && is != nullptr &&
                             (other->at > is->at || (other->at == is->at && !other->sound));
    if (is != nullptr && !later_there) {
      theirs.links[key].by_kind[kind] = *is;
    } else if (is == nullptr && !changed_there) {
      theirs.links[key].by_kind.erase(kind);
    }
  }
}

}  // namespace

verified_subvolume merged(const verified_subvolume& before, const verified_subvolume& mine,
                          verified_subvolume theirs) {
  for (const auto& [key, link] : before.links) {
    merge_link(key, before, mine, theirs);
  }
  for (const auto& [key, link] : mine.links) {
    if (!before.links.contains(key)) {
      merge_link(key, before, mine, theirs);
    }
  }
  std::erase_if(theirs.links, [](const auto& entry) { return entry.second.by_kind.empty(); });
  for (const auto& [kind, when] : mine.runs) {
    const auto was = before.runs.find(kind);
    const auto other = theirs.runs.find(kind);
    const bool changed_here = was == before.runs.end() || was->second != when;
    // A clock may have been set back since: only what another run wrote meanwhile is compared.
    const bool later_there = other != theirs.runs.end() && other->second > when &&
                             (was == before.runs.end() || other->second != was->second);
    if (changed_here && !later_there) {
      theirs.runs[kind] = when;
    }
  }
  for (const auto& [key, when] : before.pruned) {
    if (!mine.pruned.contains(key)) {
      theirs.pruned.erase(key);
    }
  }
  for (const auto& [key, when] : mine.pruned) {
    if (!before.pruned.contains(key)) {
      theirs.pruned[key] = when;
    }
  }
  if (mine.at != before.at) {
    theirs.at = mine.at;
  }
  if (mine.cursor != before.cursor) {
    theirs.cursor = mine.cursor;
  }
  if (mine.elsewhere != before.elsewhere) {
    theirs.elsewhere = mine.elsewhere;
  }
  return theirs;
}

std::string verify_record_path(const std::string& state_path) {
  return beside_state(state_path, ".verified.json");
}

std::string place_of(const services& with, const std::string& subvolume) {
  const planner::key_layout keys(with.settings.s3.prefix, subvolume);
  const std::string endpoint = configured_endpoint(with);
  return (endpoint.empty() ? "aws" : endpoint) + " s3://" + with.settings.s3.bucket + "/" +
         keys.root();
}

result<verify_record> read_verify_record(const std::string& state_path) {
  const std::string path = verify_record_path(state_path);
  auto text = read_whole(path);
  if (!text) {
    if (text.error().status == ENOTDIR) {
      return verify_record();
    }
    return std::move(text.error());
  }
  if (!*text) {
    return verify_record();
  }
  try {
    const json in = json::parse(**text);
    if (whole_number_in<std::uint64_t>(in.at("version")).value() > version) {
      return damaged(path, "it was written by a newer version");
    }
    verify_record record;
    for (const auto& [name, one] : in.at("subvolumes").items()) {
      record.subvolumes[name] = subvolume_from(one);
    }
    return record;
  } catch (const json::exception& problem) {
    return damaged(path, problem.what());
  } catch (const std::bad_optional_access&) {
    return damaged(path, "it has a time or a number that is none");
  }
}

result<void> write_verify_record(const std::string& state_path, const verify_record& record) {
  const std::string path = verify_record_path(state_path);
  if (auto made = make_directory_of(path); !made) {
    return made;
  }
  json out;
  out["version"] = version;
  out["subvolumes"] = json::object();
  for (const auto& [name, one] : record.subvolumes) {
    out["subvolumes"][name] = json_of(one);
  }
  auto written = engine::write_durably(path, planner::json_document(out));
  if (!written) {
    return state_not_writable(std::move(written.error()));
  }
  return written;
}

result<void> merge_into_record(const std::string& state_path, const std::string& subvolume,
                               const verified_subvolume& before, const verified_subvolume& mine) {
  auto locked = lock_record(state_path);
  if (!locked) {
    return std::move(locked.error());
  }
  auto record = read_verify_record(state_path);
  if (!record && record.error().why != engine::reason::protocol) {
    return std::move(record.error());
  }
  verify_record all = record ? std::move(*record) : verify_record();
  const verified_subvolume* theirs = all.find(subvolume, mine.place);
  all.subvolumes[subvolume] = theirs == nullptr ? mine : merged(before, mine, *theirs);
  return write_verify_record(state_path, all);
}

}  // namespace bts3::app
