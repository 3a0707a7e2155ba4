// What values have to be beside one another.
#include "app/config/config_reader.hh"
#include "app/config/setting_names.hh"
#include "app/text/human_units.hh"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <variant>

namespace bts3::app {

namespace {

constexpr std::size_t class_bytes_max = 64;  // of a storage class's name
constexpr std::size_t key_bytes_max = 1024;  // S3's limit, in UTF-8
// What follows the prefix:
// "/subvol/NAME/incremental/chunk-YYYYMMDDTHHMMSSZ-01234567-0000000000.bin".
constexpr std::size_t key_bytes_beside_name = 8 + 13 + 6 + 16 + 9 + 11 + 4;

const std::vector<std::string> write_classes = {
    "STANDARD",   "STANDARD_IA", "ONEZONE_IA",   "INTELLIGENT_TIERING",
    "GLACIER_IR", "GLACIER",     "DEEP_ARCHIVE", "REDUCED_REDUNDANCY"};

}  // namespace

void config_reader::check_whole() {
  for (const char* name : {"s3.bucket", "s3.region"}) {
    if (!_set.contains(name)) {
      problem(std::string(shown_key(name)) + " is missing; set it in [s3]");
    }
  }
  if (_config.s3.bucket.find_first_of("/ ") != std::string::npos) {
    problem(std::string(shown_key("s3.bucket")) + " = \"" + _config.s3.bucket +
            "\" is no bucket name; the path goes to " + std::string(shown_key("s3.prefix")));
  }
  check_prefix();
  check_class("s3.storage_class_chunks", _config.s3.storage_class_chunks);
  check_class("s3.storage_class_manifest", _config.s3.storage_class_manifest);
  if (_config.thaw.tier == s3::retrieval_tier::expedited &&
      _config.s3.storage_class_chunks == s3::storage_class("DEEP_ARCHIVE")) {
    problem("thaw.tier = \"Expedited\" does not exist for DEEP_ARCHIVE; use Standard or Bulk");
  }
  check_values();
}

// A part that nobody asked for is no larger than what it has to fit into. Whole hash blocks: the
// limits of both are far above one.
void config_reader::fit_part_size() {
  if (_set.contains("s3.part_size_bytes")) {
    return;
  }
  std::uint64_t bytes = std::min(_config.s3.part_size_bytes, _config.s3.chunk_size_bytes);
  if (_config.s3.spool_enabled) {
    bytes = std::min(bytes, _config.global.spool_size_bytes);
  }
  _config.s3.part_size_bytes = bytes - bytes % hash_block_bytes;
}

// What holds wherever the bucket is named.
void config_reader::check_values() {
  fit_part_size();
  if (_config.s3.chunk_size_bytes < _config.s3.part_size_bytes) {
    problem("s3.chunk_size_bytes = " + std::to_string(_config.s3.chunk_size_bytes) +
            " must be at least s3.part_size_bytes = " + std::to_string(_config.s3.part_size_bytes));
  }
  check_memory();
  if (_config.s3.spool_enabled && _config.global.spool_size_bytes < _config.s3.part_size_bytes) {
    problem("global.spool_size_bytes = " + std::to_string(_config.global.spool_size_bytes) +
            " must be at least s3.part_size_bytes = " + std::to_string(_config.s3.part_size_bytes));
  }
  if (!_config.s3.sse_kms_key_id.empty() && _config.s3.sse != object_encryption::kms) {
    problem("s3.sse_kms_key_id needs s3.sse = \"aws:kms\"");
  }
  check_interval();
  expand_home();
}

// AWS's names are known; another store has its own.
void config_reader::check_class(const std::string& name, const s3::storage_class& named) {
  const std::string& text = named.str();
  const auto set = [this](const char* variable) {
    return !_environment(variable).value_or("").empty();
  };
  const bool elsewhere =
      !_config.s3.endpoint_url.empty() || set("AWS_ENDPOINT_URL_S3") || set("AWS_ENDPOINT_URL");
  const bool known =
      std::find(write_classes.begin(), write_classes.end(), text) != write_classes.end();
  const bool can_be_one =
      text.size() <= class_bytes_max && std::all_of(text.begin(), text.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == ':';
      });
  if (named.empty() || known || (elsewhere && can_be_one)) {
    return;
  }
  problem(std::string(shown_key(name)) + " = \"" + text + "\" must be one of " +
          joined(write_classes) + ", or none for no header" +
          (elsewhere ? ""
                     : "; other stores' names are taken where " +
                           std::string(shown_key("s3.endpoint_url")) + " names one"));
}

// Clients and proxies take ".." and empty segments out of a path, the signature then fits no
// more, or another object is meant.
void config_reader::check_prefix() {
  const std::string name(shown_key("s3.prefix"));
  if (!_set.contains("s3.prefix")) {
    problem(name + " is missing; set it in [s3], to \"\" for keys without one");
  }
  std::string_view rest = _config.s3.prefix;
  while (rest.starts_with('/')) {
    rest.remove_prefix(1);
  }
  while (rest.ends_with('/')) {
    rest.remove_suffix(1);
  }
  const std::size_t prefix_bytes = rest.size();
  while (!rest.empty()) {
    const std::string_view segment = rest.substr(0, rest.find('/'));
    if (segment.empty() || segment == "." || segment == "..") {
      problem(name + " = \"" + _config.s3.prefix + "\" has the segment \"" + std::string(segment) +
              "\", which not every store and proxy keeps; write names between single slashes, "
              "like \"hosts/alpha\"");
      break;
    }
    rest.remove_prefix(std::min(segment.size() + 1, rest.size()));
  }
  for (const subvolume_config& one : _config.subvolumes) {
    if (prefix_bytes + key_bytes_beside_name + one.name.size() > key_bytes_max) {
      problem(name + " = \"" + _config.s3.prefix + "\" is too long: with subvolume \"" + one.name +
              "\" keys have more than " + std::to_string(key_bytes_max) +
              " bytes; shorten one of them");
    }
  }
}

void config_reader::check_memory() {
  const std::optional<std::uint64_t>& limit = _config.global.memory_limit_bytes;
  if (!limit) {
    return;
  }
  const std::string name = "global.memory_limit_bytes = " + std::to_string(*limit);
  if (_config.s3.spool_enabled && *limit < spool_memory_bytes) {
    problem(name + " must be at least " + format_bytes(spool_memory_bytes) + " with the spool");
  }
  if (!_config.s3.spool_enabled && _config.parts_in_flight(_config.s3.part_size_bytes) == 0) {
    problem(name + " is too small: one part of " + format_bytes(_config.s3.part_size_bytes) +
            " (s3.part_size_bytes) that fills, one in flight and " +
            format_bytes(other_memory_bytes) + " for the rest make " +
            format_bytes(config::memory_for(1, _config.s3.part_size_bytes)) +
            "; use smaller parts, or s3.spool_enabled");
  }
}

void config_reader::check_interval() {
  if (_config.schedule.incremental_every && _set.contains("schedule.incremental_every_days")) {
    problem(
        "schedule.incremental_every and schedule.incremental_every_days contradict each other; "
        "remove one of them");
  }
}

// Without a slash at its end: "" for "/".
std::optional<std::string> config_reader::home_directory() const {
  auto home = _environment("HOME");
  if (!home || !home->starts_with('/')) {
    return std::nullopt;
  }
  while (home->ends_with('/')) {
    home->pop_back();
  }
  return home;
}

void config_reader::expand_home() {
  const auto home = home_directory();
  for (const key_rule& rule : rules()) {
    const auto* kind = std::get_if<path_value>(&rule.value);
    if (kind == nullptr || !kind->path(_config).starts_with("~/")) {
      continue;
    }
    std::string& path = kind->path(_config);
    if (home) {
      path = *home + path.substr(1);
    } else {
      problem(rule.name() + " = \"" + path +
              "\" cannot be expanded: HOME is no absolute path; give one here");
    }
  }
}

}  // namespace bts3::app
