#include "app/config.hh"

#include "app/human_units.hh"

#include <toml++/toml.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <variant>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;

constexpr std::uint64_t part_bytes_min = 5 << 20;  // S3's limits for parts
constexpr std::uint64_t part_bytes_max = std::uint64_t{5} << 30;
constexpr std::uint64_t parts_max = 10'000;
constexpr std::uint64_t hash_block_bytes = 64;  // SHA-256 states exist there only

// What a key's value is, and where it goes.
struct bytes_value {
  std::uint64_t config::* member;
  std::uint64_t smallest = 0;
  std::uint64_t largest = UINT64_MAX;
};
struct number_value {
  std::int64_t config::* member;
  std::int64_t smallest;
  std::int64_t largest;
};
struct duration_value {
  std::chrono::milliseconds config::* member;
};
struct flag_value {
  bool config::* member;
};
struct text_value {
  std::string config::* member;
  std::vector<std::string> allowed = {};  // empty: anything
};
struct path_value {
  std::string config::* member;
};

struct key_rule {
  std::string_view table;
  std::string_view key;
  std::variant<bytes_value, number_value, duration_value, flag_value, text_value, path_value> value;
};

const std::vector<std::string> write_classes = {
    "STANDARD",   "STANDARD_IA", "ONEZONE_IA",   "INTELLIGENT_TIERING",
    "GLACIER_IR", "GLACIER",     "DEEP_ARCHIVE", "REDUCED_REDUNDANCY"};

const std::vector<key_rule>& rules() {
  static const std::vector<key_rule> all = {
      {"global", "parallel_subvolumes", number_value{&config::parallel_subvolumes, 1, 64}},
      {"global", "memory_limit_bytes", bytes_value{&config::memory_limit_bytes}},
      {"global", "log_level",
       text_value{&config::log_level, {"debug", "info", "warning", "error", "critical"}}},
      {"global", "state_path", path_value{&config::state_path}},
      {"global", "lock_path", path_value{&config::lock_path}},
      {"global", "spool_dir", path_value{&config::spool_dir}},
      {"global", "spool_size_bytes", bytes_value{&config::spool_size_bytes, part_bytes_min}},
      {"schedule", "full_every_days", number_value{&config::full_every_days, 1, 36'500}},
      {"schedule", "incremental_every_days",
       number_value{&config::incremental_every_days, 1, 36'500}},
      {"schedule", "run_at", text_value{&config::run_at}},
      {"snapshots", "base_dir", path_value{&config::base_dir}},
      {"snapshots", "retain", number_value{&config::retain, 1, 10'000}},
      {"s3", "bucket", text_value{&config::bucket}},
      {"s3", "region", text_value{&config::region}},
      {"s3", "prefix", text_value{&config::prefix}},
      {"s3", "chunk_size_bytes", bytes_value{&config::chunk_size_bytes, part_bytes_min}},
      {"s3", "part_size_bytes",
       bytes_value{&config::part_size_bytes, part_bytes_min, part_bytes_max}},
      {"s3", "storage_class_chunks", text_value{&config::storage_class_chunks, write_classes}},
      {"s3", "storage_class_manifest", text_value{&config::storage_class_manifest, write_classes}},
      {"s3", "concurrency", number_value{&config::concurrency, 1, 64}},
      {"s3", "spool_enabled", flag_value{&config::spool_enabled}},
      {"s3", "sse", text_value{&config::sse, {"AES256", "aws:kms", "none"}}},
      {"s3", "sse_kms_key_id", text_value{&config::sse_kms_key_id}},
      {"s3", "endpoint_url", text_value{&config::endpoint_url}},
      {"s3", "addressing_style",
       text_value{&config::addressing_style, {"auto", "path", "virtual"}}},
      {"s3", "payload_signing",
       text_value{&config::payload_signing, {"auto", "unsigned", "sha256"}}},
      {"s3", "checksum", text_value{&config::checksum, {"auto", "crc32", "none"}}},
      {"s3", "max_bandwidth_bytes_per_sec", bytes_value{&config::max_bandwidth_bytes_per_sec}},
      {"s3", "retry_for", duration_value{&config::retry_for}},
      {"s3", "resume_for", duration_value{&config::resume_for}},
      {"s3", "ca_bundle", path_value{&config::ca_bundle}},
      {"btrfs", "send_protocol", text_value{&config::send_protocol, {"auto", "1", "2"}}},
      {"btrfs", "compressed_data", text_value{&config::compressed_data, {"auto", "true", "false"}}},
      {"restore", "target_base_dir", path_value{&config::target_base_dir}},
      {"restore", "verify_mode", text_value{&config::verify_mode, {"full", "sample", "none"}}},
      {"restore", "sample_max_files", number_value{&config::sample_max_files, 1, 1'000'000'000}},
      {"restore", "wait_for_restore", flag_value{&config::wait_for_restore}},
      {"restore", "restore_timeout_seconds",
       number_value{&config::restore_timeout_seconds, 1, 31'536'000}},
      {"restore", "restore_tier",
       text_value{&config::restore_tier, {"Standard", "Bulk", "Expedited"}}},
      {"restore", "thaw_days", text_value{&config::thaw_days}},
      {"retention", "keep_generations", number_value{&config::keep_generations, 0, 10'000}},
      {"metrics", "textfile", path_value{&config::textfile}},
      {"hooks", "before", text_value{&config::hook_before}},
      {"hooks", "after", text_value{&config::hook_after}},
      {"hooks", "on_failure", text_value{&config::hook_on_failure}},
  };
  return all;
}

// They tune features to come: set, they change nothing yet, and whoever set them is told.
constexpr std::string_view tuning_only[] = {
    "global.spool_dir",         "global.spool_size_bytes",
    "schedule.full_every_days", "schedule.incremental_every_days",
    "schedule.run_at",          "s3.resume_for",
    "restore.wait_for_restore", "restore.restore_timeout_seconds",
    "restore.restore_tier",     "restore.thaw_days"};

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view wanted, const std::vector<std::string>& known) {
  return *std::min_element(known.begin(), known.end(), [&](const auto& a, const auto& b) {
    return edit_distance(wanted, a) < edit_distance(wanted, b);
  });
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : ", ") + word;
  }
  return text;
}

// Turns a document into a config, collecting every problem on the way.
class reader {
 public:
  reader(const environment_lookup& environment, std::string file)
      : _environment(environment), _file(std::move(file)) {}

  result<config> read(const toml::table& document) {
    check_names(document);
    for (const key_rule& rule : rules()) {
      const toml::node* node = nullptr;
      if (const toml::table* table = document[rule.table].as_table()) {
        node = table->get(rule.key);
      }
      read_key(rule, node);
    }
    read_subvolumes(document["subvolumes"]["paths"].node());
    check_whole();
    if (_problems.empty()) {
      return std::move(_config);
    }
    error failure;
    failure.why = engine::reason::configuration;
    failure.message = _file + ": ";
    for (const std::string& problem : _problems) {
      failure.message += (&problem == &_problems.front() ? "" : " | ") + problem;
    }
    return failure;
  }

 private:
  void problem(std::string text) { _problems.push_back(std::move(text)); }

  static std::string place(const toml::node& node) {
    return " (line " + std::to_string(node.source().begin.line) + ")";
  }

  void check_names(const toml::table& document) {
    std::vector<std::string> tables = {"subvolumes"};
    for (const key_rule& rule : rules()) {
      tables.emplace_back(rule.table);
    }
    for (const auto& [name, node] : document) {
      const std::string table(name.str());
      if (std::find(tables.begin(), tables.end(), table) == tables.end()) {
        problem("[" + table + "]" + place(node) +
                " is no table of this configuration; did you mean [" + nearest(table, tables) +
                "]?");
        continue;
      }
      if (!node.is_table()) {
        problem(table + place(node) + " must be a table: write [" + table + "]");
        continue;
      }
      std::vector<std::string> keys;
      if (table == "subvolumes") {
        keys.emplace_back("paths");
      }
      for (const key_rule& rule : rules()) {
        if (rule.table == table) {
          keys.emplace_back(rule.key);
        }
      }
      for (const auto& [key, value] : *node.as_table()) {
        if (std::find(keys.begin(), keys.end(), key.str()) == keys.end()) {
          problem("unknown key " + table + "." + std::string(key.str()) + place(value) +
                  "; did you mean " + table + "." + nearest(key.str(), keys) + "?");
        }
      }
    }
  }

  // The value as text, from the environment first; `shown` names where it came from.
  void read_key(const key_rule& rule, const toml::node* node) {
    std::string name = std::string(rule.table) + "." + std::string(rule.key);
    std::string variable = "BTRFS_TO_S3_" + name;
    std::transform(variable.begin(), variable.end(), variable.begin(), [](unsigned char c) {
      return c == '.' ? '_' : static_cast<char>(std::toupper(c));
    });
    std::optional<std::string> text = _environment(variable);
    if (text) {
      name = variable;
    } else if (node != nullptr) {
      if (const auto string = node->value_exact<std::string>()) {
        text = *string;
      } else if (const auto integer = node->value_exact<std::int64_t>()) {
        text = std::to_string(*integer);
      } else if (const auto flag = node->value_exact<bool>()) {
        text = *flag ? "true" : "false";
      } else {
        problem(name + place(*node) + " must be a string, a whole number or true or false");
      }
    }
    if (text) {
      const std::string key = std::string(rule.table) + "." + std::string(rule.key);
      if (std::find(std::begin(tuning_only), std::end(tuning_only), key) != std::end(tuning_only)) {
        _config.without_effect.push_back(key);
      }
      std::visit([&](const auto& kind) { assign(kind, name, *text); }, rule.value);
    }
  }

  void assign(const bytes_value& kind, const std::string& name, const std::string& text) {
    const auto value = parse_bytes(text);
    if (!value) {
      problem(name + " = \"" + text + "\" is no size; write bytes, or like \"128MiB\"");
    } else if (*value < kind.smallest || *value > kind.largest) {
      problem(name + " = " + text + " is out of range: at least " + format_bytes(kind.smallest) +
              (kind.largest == UINT64_MAX ? "" : ", at most " + format_bytes(kind.largest)));
    } else {
      _config.*kind.member = *value;
    }
  }
  void assign(const number_value& kind, const std::string& name, const std::string& text) {
    std::int64_t value = 0;
    std::istringstream stream(text);
    stream >> value;
    if (stream.fail() || !stream.eof() || value < kind.smallest || value > kind.largest) {
      problem(name + " = " + text + " must be a whole number from " +
              std::to_string(kind.smallest) + " to " + std::to_string(kind.largest));
    } else {
      _config.*kind.member = value;
    }
  }
  void assign(const duration_value& kind, const std::string& name, const std::string& text) {
    const auto value = parse_duration(text);
    if (!value) {
      problem(name + " = \"" + text + "\" is no duration; write seconds, or like \"6h\"");
    } else {
      _config.*kind.member = *value;
    }
  }
  void assign(const flag_value& kind, const std::string& name, const std::string& text) {
    if (text != "true" && text != "false") {
      problem(name + " = " + text + " must be true or false");
    } else {
      _config.*kind.member = text == "true";
    }
  }
  void assign(const text_value& kind, const std::string& name, const std::string& text) {
    if (!kind.allowed.empty() &&
        std::find(kind.allowed.begin(), kind.allowed.end(), text) == kind.allowed.end()) {
      problem(name + " = \"" + text + "\" must be one of " + joined(kind.allowed));
    } else {
      _config.*kind.member = text;
    }
  }
  void assign(const path_value& kind, const std::string& name, const std::string& text) {
    _config.*kind.member = text;
    if (!text.empty() && !text.starts_with('/') && !text.starts_with("~/")) {
      problem(name + " = \"" + text + "\" must be an absolute path (or begin with ~/)");
    }
  }

  void read_subvolumes(const toml::node* node) {
    const toml::array* paths = node != nullptr ? node->as_array() : nullptr;
    if (paths == nullptr || paths->empty()) {
      problem("subvolumes.paths is missing; write [subvolumes] and paths = [\"/srv/data\"]");
      return;
    }
    for (const toml::node& entry : *paths) {
      subvolume_config one;
      if (const auto path = entry.value_exact<std::string>()) {
        one.path = *path;
      } else if (const toml::table* table = entry.as_table()) {
        one.path = (*table)["path"].value_or(std::string());
        one.name = (*table)["name"].value_or(std::string());
      }
      while (one.path.size() > 1 && one.path.ends_with('/')) {
        one.path.pop_back();
      }
      if (!one.path.starts_with('/')) {
        problem("subvolumes.paths" + place(entry) +
                ": each entry is an absolute path, or {name = \"root\", path = \"/\"}");
        continue;
      }
      if (one.name.empty()) {
        one.name = one.path == "/" ? "root" : one.path.substr(one.path.rfind('/') + 1);
      }
      if (one.name.find_first_of("/\n") != std::string::npos || one.name == "." ||
          one.name == ".." || one.name.find("__") != std::string::npos) {
        problem("subvolumes.paths" + place(entry) + ": \"" + one.name +
                "\" cannot be a name here (no slash, no double underscore); give another with "
                "{name = ..., path = ...}");
      }
      for (const subvolume_config& other : _config.subvolumes) {
        if (other.name == one.name) {
          problem("subvolumes.paths" + place(entry) + ": " + other.path + " and " + one.path +
                  " are both called \"" + one.name +
                  "\"; give one another name with {name = ..., path = ...}");
        }
      }
      _config.subvolumes.push_back(std::move(one));
    }
  }

  void check_whole() {
    for (const auto& [name, value] :
         {std::pair("s3.bucket", &_config.bucket), std::pair("s3.region", &_config.region),
          std::pair("s3.prefix", &_config.prefix)}) {
      if (value->empty()) {
        problem(std::string(name) + " is missing");
      }
    }
    if (_config.bucket.find_first_of("/ ") != std::string::npos) {
      problem("s3.bucket = \"" + _config.bucket +
              "\" is no bucket name; the path goes to s3.prefix");
    }
    if (_config.part_size_bytes % hash_block_bytes != 0) {
      problem("s3.part_size_bytes = " + std::to_string(_config.part_size_bytes) +
              " must be a multiple of " + std::to_string(hash_block_bytes));
    }
    if (_config.chunk_size_bytes < _config.part_size_bytes) {
      problem("s3.chunk_size_bytes = " + std::to_string(_config.chunk_size_bytes) +
              " must be at least s3.part_size_bytes = " + std::to_string(_config.part_size_bytes));
    }
    if (_config.storage_class_manifest == "GLACIER" ||
        _config.storage_class_manifest == "DEEP_ARCHIVE") {
      problem("s3.storage_class_manifest = \"" + _config.storage_class_manifest +
              "\" would have to be thawed before anything can be planned; use STANDARD");
    }
    if (_config.restore_tier == "Expedited" && _config.storage_class_chunks == "DEEP_ARCHIVE") {
      problem(
          "restore.restore_tier = \"Expedited\" does not exist for DEEP_ARCHIVE; use Standard "
          "or Bulk");
    }
    if (!_config.sse_kms_key_id.empty() && _config.sse != "aws:kms") {
      problem("s3.sse_kms_key_id needs s3.sse = \"aws:kms\"");
    }
    check_time();
    check_supported();
    expand_home();
  }

  void check_time() {
    const std::string& at = _config.run_at;
    const auto digit = [&](std::size_t i) { return at[i] >= '0' && at[i] <= '9'; };
    const bool form =
        at.size() == 5 && at[2] == ':' && digit(0) && digit(1) && digit(3) && digit(4);
    if (!form || at.substr(0, 2) > "23" || at.substr(3) > "59") {
      problem("schedule.run_at = \"" + at + "\" must be a time like \"02:00\"");
    }
  }

  // Features to come: their keys are known, and asking for them is refused rather than ignored.
  void check_supported() {
    const config standard;
    const std::pair<const char*, bool> asked[] = {
        {"s3.spool_enabled", _config.spool_enabled},
        {"s3.max_bandwidth_bytes_per_sec", _config.max_bandwidth_bytes_per_sec > 0},
        {"global.parallel_subvolumes", _config.parallel_subvolumes > 1},
        {"global.memory_limit_bytes", _config.memory_limit_bytes > 0},
        {"retention.keep_generations", _config.keep_generations > 0},
        {"metrics.textfile", !_config.textfile.empty()},
        {"hooks.before", !_config.hook_before.empty()},
        {"hooks.after", !_config.hook_after.empty()},
        {"hooks.on_failure", !_config.hook_on_failure.empty()},
    };
    for (const auto& [name, used] : asked) {
      if (used) {
        problem(std::string(name) + " is not supported by this version; remove it");
      }
    }
  }

  void expand_home() {
    const auto home = _environment("HOME");
    for (std::string config::* member :
         {&config::state_path, &config::lock_path, &config::spool_dir, &config::base_dir,
          &config::target_base_dir, &config::ca_bundle}) {
      std::string& path = _config.*member;
      if (!path.starts_with("~/")) {
        continue;
      }
      if (!home || !home->starts_with('/')) {
        problem("\"" + path + "\" cannot be expanded: HOME is not set; give an absolute path");
        return;
      }
      path = *home + path.substr(1);
    }
  }

  const environment_lookup& _environment;
  std::string _file;
  config _config;
  std::vector<std::string> _problems;
};

}  // namespace

std::uint64_t config::chunk_limit_bytes() const {
  return std::min(chunk_size_bytes, parts_max * part_size_bytes);
}

std::vector<std::string> config_keys() {
  std::vector<std::string> keys;
  for (const key_rule& rule : rules()) {
    keys.push_back(std::string(rule.table) + "." + std::string(rule.key));
  }
  keys.emplace_back("subvolumes.paths");
  return keys;
}

result<config> parse_config(std::string_view text, const std::string& name,
                            const environment_lookup& environment) {
  try {
    const toml::table document = toml::parse(text);
    return reader(environment, name).read(document);
  } catch (const toml::parse_error& problem) {
    error failure;
    failure.why = engine::reason::configuration;
    failure.message = name + ", line " + std::to_string(problem.source().begin.line) + ": " +
                      std::string(problem.description());
    failure.remedy = "the file must be TOML; config.example.toml shows every key";
    return failure;
  }
}

result<config> load_config(const std::string& path, const environment_lookup& environment) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code)) {
    error failure;
    failure.why = engine::reason::configuration;
    failure.message = "configuration file " + path + " does not exist";
    failure.remedy = "name one with --config; config.example.toml is a start";
    return failure;
  }
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) {
    error failure = engine::system_error(errno, "reading " + path);
    failure.why = engine::reason::configuration;
    return failure;
  }
  return parse_config(text.str(), path, environment);
}

}  // namespace bts3::app
