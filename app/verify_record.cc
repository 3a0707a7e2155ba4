#include "app/verify_record.hh"

#include "app/state_store.hh"
#include "engine/files.hh"
#include "planner/keys.hh"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using nlohmann::json;

constexpr verification_kind kinds[] = {verification_kind::quick, verification_kind::sample,
                                       verification_kind::deep};
constexpr int version = 1;

// The readers below throw json::exception or std::bad_optional_access for what is no record.
verification verification_from(const json& in) {
  verification one;
  one.at = planner::timestamp::parse(in.at("at").get<std::string>()).value();
  one.sound = in.at("sound").get<bool>();
  one.problem = in.value("problem", "");
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
    one.cursor.chunk = cursor->at("chunk").get<std::uint32_t>();
    one.cursor.part = cursor->at("part").get<std::uint32_t>();
    one.cursor.from_start = cursor->at("from_start").get<bool>();
    one.cursor.done = cursor->value("done", std::uint64_t{0});
    one.cursor.parts = cursor->value("parts", std::uint64_t{0});
  }
  if (const auto runs = in.find("runs"); runs != in.end()) {
    for (const verification_kind kind : kinds) {
      if (const auto found = runs->find(to_string(kind)); found != runs->end()) {
        one.runs[kind] = planner::timestamp::parse(found->get<std::string>()).value();
      }
    }
  }
  one.elsewhere = in.value("elsewhere", "");
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
  return out;
}

error damaged(const std::string& path, const std::string& problem) {
  error failure;
  failure.why = engine::reason::protocol;
  failure.message = "the record of verifications " + path + " makes no sense: " + problem;
  failure.remedy = "remove it, and run btrfs_to_s3 verify";
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

const verification* verified_link::problem_beyond(verification_kind kind) const {
  for (const auto& [other, found] : by_kind) {
    if (other > kind && stands(other, found)) {
      return &found;
    }
  }
  return nullptr;
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

std::string verify_record_path(const std::string& state_path) {
  const std::filesystem::path state(state_path);
  return (state.parent_path() / (state.stem().string() + ".verified.json")).string();
}

std::string place_of(const services& with, const std::string& subvolume) {
  const planner::key_layout keys(with.settings.prefix, subvolume);
  const std::string endpoint = configured_endpoint(with);
  return (endpoint.empty() ? "aws" : endpoint) + " s3://" + with.settings.bucket + "/" +
         keys.root();
}

result<verify_record> read_verify_record(const std::string& state_path) {
  const std::string path = verify_record_path(state_path);
  std::ifstream file(path);
  if (!file) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return verify_record();
    }
    return engine::system_error(errno, "reading " + path);
  }
  std::stringstream text;
  text << file.rdbuf();
  try {
    const json in = json::parse(text.str());
    if (in.at("version").get<int>() > version) {
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
    return damaged(path, "it has a time that is none");
  }
}

result<void> write_verify_record(const std::string& state_path, const verify_record& record) {
  const std::string path = verify_record_path(state_path);
  std::error_code code;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), code);
  if (code) {
    return state_not_writable(
        engine::system_error(code.value(), "global.state_path: making the directory of " + path));
  }
  json out;
  out["version"] = version;
  out["subvolumes"] = json::object();
  for (const auto& [name, one] : record.subvolumes) {
    out["subvolumes"][name] = json_of(one);
  }
  auto written =
      engine::write_durably(path, out.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  if (!written) {
    return state_not_writable(std::move(written.error()));
  }
  return written;
}

}  // namespace bts3::app
