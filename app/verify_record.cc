#include "app/verify_record.hh"

#include "engine/files.hh"
#include "planner/keys.hh"

#include <nlohmann/json.hpp>

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
    }
  }
  if (!one.cursor.manifest.empty()) {
    out["sample"] = {{"manifest", one.cursor.manifest},
                     {"chunk", one.cursor.chunk},
                     {"part", one.cursor.part},
                     {"from_start", one.cursor.from_start}};
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

std::optional<verified_link::proof> verified_link::proven() const {
  for (const auto& [kind, found] : by_kind) {
    if (stands(kind, found)) {
      return std::nullopt;
    }
  }
  std::optional<proof> best;
  for (const auto& [kind, found] : by_kind) {
    if (found.sound) {
      best = proof{kind, found.at};
    }
  }
  return best;
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
    return engine::system_error(code.value(), "making the directory of " + path);
  }
  json out;
  out["version"] = version;
  out["subvolumes"] = json::object();
  for (const auto& [name, one] : record.subvolumes) {
    out["subvolumes"][name] = json_of(one);
  }
  return engine::write_durably(path,
                               out.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace bts3::app
