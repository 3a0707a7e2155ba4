#include "app/config/config.hh"

#include "app/config/config_reader.hh"
#include "app/config/key_rules.hh"
#include "app/text/human_units.hh"
#include "app/text/nearest_word.hh"
#include "engine/plain_text.hh"
#include "s3/http/proxy.hh"

#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;

constexpr std::size_t file_bytes_max = 1 << 20;  // of a configuration; the example has 6 KiB

// Where to begin; the path is the package's (cmake/Install.cmake).
constexpr const char* example =
    "/usr/share/doc/btrfs-to-s3/config.toml (in the sources config.example.toml) shows every key";

}  // namespace

std::uint64_t config::chunk_limit_bytes() const {
  return std::min(s3.chunk_size_bytes, s3.parts_max * s3.part_size_bytes);
}

std::uint64_t config::memory_for(std::size_t parts_in_flight, std::uint64_t part_bytes) {
  return (parts_in_flight + 1) * part_bytes + other_memory_bytes;
}

std::size_t config::parts_in_flight(std::uint64_t part_bytes) const {
  std::size_t parts = s3.concurrency;
  while (global.memory_limit_bytes && parts > 0 &&
         memory_for(parts, part_bytes) > *global.memory_limit_bytes) {
    --parts;
  }
  return parts;
}

std::string as_written(const s3::storage_class& name) {
  return name.empty() ? "none" : name.str();
}

std::vector<std::string> config_keys() {
  std::vector<std::string> keys;
  for (const key_rule& rule : rules()) {
    keys.push_back(rule.name());
  }
  keys.emplace_back("subvolumes.paths");
  return keys;
}

std::vector<unknown_variable> unknown_variables(const std::vector<std::string>& names) {
  // The program's own, and those of the harness and of the earlier tool's.
  std::vector<std::string> known = {"BTRFS_TO_S3_HARNESS_RUN_DIR", "BTRFS_TO_S3_BACKUP_TYPE",
                                    "BTRFS_TO_S3_CMD", "BTRFS_TO_S3_IDENTITY_PASSPHRASE_FILE"};
  for (const std::string& key : config_keys()) {
    known.push_back(variable_of(key));
  }
  for (const former_key& one : former_keys()) {
    known.push_back(variable_of(one.name()));
  }
  std::vector<unknown_variable> found;
  for (const std::string& name : names) {
    // Hooks have variables that begin so, and may start this program.
    if (name.starts_with("BTRFS_TO_S3_") && !name.starts_with("BTRFS_TO_S3_HOOK_") &&
        name != "BTRFS_TO_S3_HOOK" && std::find(known.begin(), known.end(), name) == known.end()) {
      found.push_back({name, nearest(name, known)});
    }
  }
  return found;
}

result<config> parse_config(std::string_view text, const std::string& name,
                            const engine::environment_lookup& environment) {
  try {
    const toml::table document = toml::parse(text);
    return config_reader(environment, name).read(document);
  } catch (const toml::parse_error& problem) {
    return engine::configuration_error(name + ", line " +
                                           std::to_string(problem.source().begin.line) + ": " +
                                           std::string(problem.description()),
                                       std::string("the file must be TOML; ") + example);
  }
}

result<config> with_environment(config settings, const std::vector<std::string>& except,
                                const engine::environment_lookup& environment) {
  return config_reader(environment, "the environment")
      .read_environment(std::move(settings), except);
}

result<config> load_config(const std::string& path, const engine::environment_lookup& environment) {
  error failure;
  failure.why = engine::reason::configuration;
  if (!path.starts_with('/')) {
    failure.message = path.empty() ? "--config is empty"
                                   : "--config " + engine::printable(path) +
                                         " cannot be made absolute: the current directory is gone";
    failure.remedy = path.empty() ? "name a file" : "name it with all its directories";
    return failure;
  }
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status) || std::filesystem::is_directory(status)) {
    const bool directory = std::filesystem::is_directory(status);
    failure.what_now = directory ? engine::disposition::fail : engine::disposition::not_found;
    failure.message =
        "configuration file " + path + (directory ? " is a directory" : " does not exist");
    failure.remedy = std::string("name one with --config; ") + example;
    return failure;
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(file_bytes_max + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  // Half a file may be valid TOML: only one that was read to its end counts.
  if (!file.is_open() || file.bad()) {
    failure.message =
        engine::system_error(errno != 0 ? errno : EIO, "reading configuration file " + path)
            .message;
    failure.remedy = "check that this user may read it, and the disk";
    return failure;
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > file_bytes_max) {
    failure.message =
        "configuration file " + path + " has more than " + format_bytes(file_bytes_max);
    failure.remedy = std::string("name one with --config; ") + example;
    return failure;
  }
  return parse_config(text, path, environment);
}

}  // namespace bts3::app
