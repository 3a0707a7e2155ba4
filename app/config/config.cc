#include "app/config/config.hh"

#include "app/text/human_units.hh"
#include "app/text/nearest_word.hh"
#include "app/text/subvolume_name.hh"
#include "engine/plain_text.hh"
#include "s3/http/proxy.hh"

#include <toml++/toml.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <variant>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;

constexpr std::uint64_t part_bytes_min = 5 << 20;  // S3's limits for parts
constexpr std::uint64_t part_bytes_max = std::uint64_t{5} << 30;
constexpr std::int64_t parts_max_max = 10'000;
constexpr std::size_t tags_max = 10;  // of an object, and of the key and value of one
constexpr std::size_t tag_key_bytes_max = 128;
constexpr std::size_t tag_value_bytes_max = 256;
constexpr std::size_t class_bytes_max = 64;                         // of a storage class's name
constexpr std::uint64_t object_bytes_max = std::uint64_t{5} << 40;  // more fails when all is sent
constexpr std::uint64_t bytes_max = std::uint64_t{1} << 50;         // more is a slip of the pen
// Less, and a part takes longer than any store waits; a terabyte a second is no limit at all.
constexpr std::uint64_t rate_min = 1024;
constexpr std::uint64_t rate_max = std::uint64_t{1} << 40;
constexpr std::uint64_t hash_block_bytes = 64;   // SHA-256 states exist there only
constexpr std::size_t file_bytes_max = 1 << 20;  // of a configuration; the example has 6 KiB
constexpr std::size_t key_bytes_max = 1024;      // S3's limit, in UTF-8
// What follows the prefix:
// "/subvol/NAME/incremental/chunk-YYYYMMDDTHHMMSSZ-01234567-0000000000.bin".
constexpr std::size_t key_bytes_beside_name = 8 + 13 + 6 + 16 + 9 + 11 + 4;

// Tables of the earlier tool that this program has no use for, and what to do with them.
struct former_table {
  std::string_view name;
  std::string_view remedy;
};
constexpr former_table former_tables[] = {
    {"filesystem", "Btrfs is all that is backed up; remove the table"},
    {"zfs",
     "ZFS is not backed up by this program; remove the table, and list the subvolumes in "
     "subvolumes.paths"},
};

// Names that keys had: what S3 calls restore is thawing here.
struct former_key {
  std::string_view table;
  std::string_view key;
  std::string_view now;

  [[nodiscard]] std::string name() const { return std::string(table) + "." + std::string(key); }
};
constexpr former_key former_keys[] = {
    {"restore", "wait_for_restore", "thaw.wait"},
    {"restore", "restore_timeout_seconds", "thaw.timeout_seconds"},
    {"restore", "restore_tier", "thaw.tier"},
    {"restore", "thaw_days", "thaw.days"},
};

// The name that a key had; null where it never had another.
const former_key* former_of(std::string_view name) {
  const auto* found = std::find_if(std::begin(former_keys), std::end(former_keys),
                                   [&](const former_key& one) { return one.now == name; });
  return found == std::end(former_keys) ? nullptr : found;
}

// Where to begin; the path is the package's (cmake/Install.cmake).
constexpr const char* example =
    "/usr/share/doc/btrfs-to-s3/config.toml (in the sources config.example.toml) shows every key";

// What a key's value is, and where it goes.
struct bytes_value {
  std::uint64_t config::* member;
  std::uint64_t smallest = 0;
  std::uint64_t largest = bytes_max;
  bool or_none = false;  // 0 as well
};
struct number_value {
  std::int64_t config::* member;
  std::int64_t smallest;
  std::int64_t largest;
};
struct duration_value {
  std::chrono::milliseconds config::* member;
  std::chrono::milliseconds largest = std::chrono::hours(24 * 3650);
};
struct seconds_value {  // whole seconds, which may be written like a duration
  std::int64_t config::* member;
  std::int64_t smallest;
  std::int64_t largest;
};
struct auto_or_number_value {
  std::string config::* member;
  std::int64_t smallest;
  std::int64_t largest;
};
struct flag_value {
  bool config::* member;
};
struct text_value {
  std::string config::* member;
  std::vector<std::string> allowed = {};  // empty: anything
  bool may_be_empty = true;
  bool any_case = false;  // "INFO" is "info"
};
struct proxy_value {
  std::string config::* member;
};
struct path_value {
  std::string config::* member;
  bool may_be_empty = false;
};

// "project=backup, host=alpha"
struct tags_value {
  std::vector<std::pair<std::string, std::string>> config::* member;
};

// A program as text, or a program and its arguments as a list.
struct command_value {
  std::vector<std::string> config::* member;
};

struct key_rule {
  std::string_view table;
  std::string_view key;
  std::variant<bytes_value, number_value, duration_value, seconds_value, auto_or_number_value,
               flag_value, text_value, path_value, tags_value, proxy_value, command_value>
      value;

  [[nodiscard]] std::string name() const { return std::string(table) + "." + std::string(key); }
};

const std::vector<std::string> write_classes = {
    "STANDARD",   "STANDARD_IA", "ONEZONE_IA",   "INTELLIGENT_TIERING",
    "GLACIER_IR", "GLACIER",     "DEEP_ARCHIVE", "REDUCED_REDUNDANCY"};

const std::vector<key_rule>& rules() {
  static const std::vector<key_rule> all = {
      {"global", "parallel_subvolumes", number_value{&config::parallel_subvolumes, 1, 64}},
      {"global", "memory_limit_bytes", bytes_value{&config::memory_limit_bytes}},
      {"global", "log_level",
       text_value{
           &config::log_level, {"debug", "info", "warning", "error", "critical"}, true, true}},
      {"global", "state_path", path_value{&config::state_path}},
      {"global", "lock_path", path_value{&config::lock_path}},
      {"global", "spool_dir", path_value{&config::spool_dir}},
      {"global", "spool_size_bytes", bytes_value{&config::spool_size_bytes, part_bytes_min}},
      {"schedule", "full_every_days", number_value{&config::full_every_days, 1, 36'500}},
      {"schedule", "incremental_every_days",
       number_value{&config::incremental_every_days, 1, 36'500}},
      {"schedule", "incremental_every", duration_value{&config::incremental_every}},
      {"schedule", "run_at", text_value{&config::run_at}},
      {"snapshots", "base_dir", path_value{&config::base_dir}},
      {"snapshots", "retain", number_value{&config::retain, 1, 10'000}},
      {"s3", "bucket", text_value{&config::bucket, {}, false}},
      {"s3", "region", text_value{&config::region, {}, false}},
      {"s3", "prefix", text_value{&config::prefix}},
      {"s3", "chunk_size_bytes",
       bytes_value{&config::chunk_size_bytes, part_bytes_min, object_bytes_max}},
      {"s3", "part_size_bytes",
       bytes_value{&config::part_size_bytes, part_bytes_min, part_bytes_max}},
      {"s3", "parts_max", number_value{&config::parts_max, 1, parts_max_max}},
      {"s3", "storage_class_chunks", text_value{&config::storage_class_chunks, {}, false}},
      {"s3", "storage_class_manifest", text_value{&config::storage_class_manifest, {}, false}},
      {"s3", "concurrency", number_value{&config::concurrency, 1, 64}},
      {"s3", "spool_enabled", flag_value{&config::spool_enabled}},
      {"s3", "sse", text_value{&config::sse, {"auto", "AES256", "aws:kms", "none"}}},
      {"s3", "sse_kms_key_id", text_value{&config::sse_kms_key_id}},
      {"s3", "endpoint_url", text_value{&config::endpoint_url}},
      {"s3", "addressing_style",
       text_value{&config::addressing_style, {"auto", "path", "virtual"}}},
      {"s3", "payload_signing",
       text_value{&config::payload_signing, {"auto", "unsigned", "sha256"}}},
      {"s3", "checksum", text_value{&config::checksum, {"auto", "crc32", "none"}}},
      {"s3", "acl",
       text_value{&config::acl,
                  {"none", "private", "bucket-owner-read", "bucket-owner-full-control"}}},
      {"s3", "tags", tags_value{&config::tags}},
      {"s3", "request_payer", flag_value{&config::request_payer}},
      {"s3", "max_bandwidth_bytes_per_sec",
       bytes_value{&config::max_bandwidth_bytes_per_sec, rate_min, rate_max, true}},
      {"s3", "retry_for", duration_value{&config::retry_for, std::chrono::hours(24 * 365)}},
      {"s3", "resume_for", duration_value{&config::resume_for, std::chrono::hours(24 * 3650)}},
      {"s3", "ca_bundle", path_value{&config::ca_bundle, true}},
      {"s3", "proxy", proxy_value{&config::proxy}},
      {"btrfs", "send_protocol", text_value{&config::send_protocol, {"auto", "1", "2"}}},
      {"btrfs", "compressed_data", text_value{&config::compressed_data, {"auto", "true", "false"}}},
      {"restore", "target_base_dir", path_value{&config::target_base_dir}},
      {"restore", "verify_mode", text_value{&config::verify_mode, {"full", "sample", "none"}}},
      {"restore", "sample_max_files", number_value{&config::sample_max_files, 1, 1'000'000'000}},
      {"restore", "download_bytes_per_sec",
       bytes_value{&config::download_bytes_per_sec, 1, rate_max, true}},
      {"restore", "receive_stall_seconds",
       seconds_value{&config::receive_stall_seconds, 1, 31'536'000}},
      {"restore", "price_table", path_value{&config::price_table, true}},
      {"thaw", "wait", flag_value{&config::thaw_wait}},
      {"thaw", "timeout_seconds", seconds_value{&config::thaw_timeout_seconds, 1, 31'536'000}},
      {"thaw", "tier", text_value{&config::thaw_tier, {"Standard", "Bulk", "Expedited"}}},
      {"thaw", "days", auto_or_number_value{&config::thaw_days, 1, 36'500}},
      {"retention", "keep_generations", number_value{&config::keep_generations, 0, 10'000}},
      {"metrics", "textfile", path_value{&config::textfile, true}},
      {"hooks", "before", command_value{&config::hook_before}},
      {"hooks", "after", command_value{&config::hook_after}},
      {"hooks", "before_snapshot", command_value{&config::hook_before_snapshot}},
      {"hooks", "after_snapshot", command_value{&config::hook_after_snapshot}},
      {"hooks", "on_failure", command_value{&config::hook_on_failure}},
      {"hooks", "timeout", duration_value{&config::hook_timeout, std::chrono::hours(24 * 365)}},
  };
  return all;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : ", ") + word;
  }
  return text;
}

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string without_blanks(std::string_view text) {
  const std::size_t first = text.find_first_not_of(' ');
  return first == std::string_view::npos
             ? std::string()
             : std::string(text.substr(first, text.find_last_not_of(' ') - first + 1));
}

bool can_be_tag(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view(" +-=._:/@").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

std::string variable_of(std::string_view key) {
  std::string variable = "BTRFS_TO_S3_" + std::string(key);
  std::transform(variable.begin(), variable.end(), variable.begin(), [](unsigned char c) {
    return c == '.' ? '_' : static_cast<char>(std::toupper(c));
  });
  return variable;
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

// Turns a document into a config, collecting every problem on the way.
class reader {
 public:
  reader(const environment_lookup& environment, std::string file)
      : _environment(environment), _file(std::move(file)) {}

  result<config> read(const toml::table& document) {
    check_names(document);
    for (const key_rule& rule : rules()) {
      read_key(rule, written(rule, document));
    }
    read_paths(document["subvolumes"]["paths"].node());
    check_whole();
    return finished();
  }

  // What the environment says, over `base`.
  result<config> read_environment(config base, const std::vector<std::string>& except) {
    _config = std::move(base);
    for (const key_rule& rule : rules()) {
      if (std::find(except.begin(), except.end(), rule.name()) == except.end()) {
        read_key(rule, {rule.name(), nullptr});
      }
    }
    check_values();
    return finished();
  }

 private:
  result<config> finished() {
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

  void problem(std::string_view text) { _problems.push_back(engine::printable(text)); }

  static std::string place(const toml::node& node) {
    return " (line " + std::to_string(node.source().begin.line) + ")";
  }

  // Of a key, also of one that is known by a former name.
  static std::string present_name(const std::string& table, const std::string& key) {
    for (const former_key& one : former_keys) {
      if (one.table == table && one.key == key) {
        return std::string(one.now);
      }
    }
    return table + "." + key;
  }

  void check_names(const toml::table& document) {
    std::vector<std::string> tables = {"subvolumes"};
    for (const key_rule& rule : rules()) {
      tables.emplace_back(rule.table);
    }
    for (const auto& [name, node] : document) {
      const std::string table(name.str());
      const auto* former = std::find_if(std::begin(former_tables), std::end(former_tables),
                                        [&](const former_table& one) { return one.name == table; });
      if (former != std::end(former_tables)) {
        problem("[" + table + "]" + place(node) +
                ", of the earlier tool, is not used any more: " + std::string(former->remedy));
        continue;
      }
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
      for (const former_key& one : former_keys) {
        if (one.table == table) {
          keys.emplace_back(one.key);
        }
      }
      for (const auto& [key, value] : *node.as_table()) {
        if (std::find(keys.begin(), keys.end(), key.str()) == keys.end()) {
          problem("unknown key " + table + "." + std::string(key.str()) + place(value) +
                  "; did you mean " + present_name(table, nearest(key.str(), keys)) + "?");
        }
      }
    }
  }

  // A key as the file has it.
  struct written_key {
    std::string name;                  // the former one where that stands there
    const toml::node* node = nullptr;  // null: it is not there
  };

  written_key written(const key_rule& rule, const toml::table& document) {
    written_key found{rule.name(), document[rule.table][rule.key].node()};
    const former_key* const former = former_of(found.name);
    if (former == nullptr) {
      return found;
    }
    const toml::node* const node = document[former->table][former->key].node();
    if (node != nullptr && found.node != nullptr) {
      problem(former->name() + place(*node) + " is the former name of " + found.name +
              ", which is set too; remove it");
    } else if (node != nullptr) {
      found = {former->name(), node};
    }
    return found;
  }

  // The variable that sets the key: by its former name where that is set alone.
  std::string variable_for(const key_rule& rule) {
    const std::string variable = variable_of(rule.name());
    const former_key* const former = former_of(rule.name());
    const std::string other = former != nullptr ? variable_of(former->name()) : "";
    if (other.empty() || !_environment(other)) {
      return variable;
    }
    if (_environment(variable)) {
      problem(other + " is the former name of " + variable + ", which is set too; remove it");
      return variable;
    }
    return other;
  }

  // The value as text, from the environment first; nullopt when it is not set, or of a wrong type.
  std::optional<std::string> value_of(const key_rule& rule, const written_key& in_file,
                                      const std::string& variable) {
    const toml::node* const node = in_file.node;
    if (auto text = _environment(variable)) {
      return text;
    }
    if (node == nullptr) {
      return std::nullopt;
    }
    const auto* words = std::get_if<text_value>(&rule.value);
    const bool only_text = std::holds_alternative<path_value>(rule.value) ||
                           std::holds_alternative<tags_value>(rule.value) ||
                           std::holds_alternative<proxy_value>(rule.value) ||
                           (words != nullptr && words->allowed.empty());
    if (const auto string = node->value_exact<std::string>()) {
      return *string;
    }
    if (only_text) {
      problem(in_file.name + place(*node) + " must be a string; put it between quotes");
    } else if (const auto integer = node->value_exact<std::int64_t>()) {
      return std::to_string(*integer);
    } else if (const auto flag = node->value_exact<bool>()) {
      return *flag ? "true" : "false";
    } else {
      problem(in_file.name + place(*node) + " must be a string, a whole number or true or false");
    }
    return std::nullopt;
  }

  void read_key(const key_rule& rule, const written_key& in_file) {
    const std::string& key = in_file.name;
    const std::string variable = variable_for(rule);
    if (const auto* command = std::get_if<command_value>(&rule.value)) {
      read_command(*command, key, variable, in_file.node);
      return;
    }
    const std::optional<std::string> text = value_of(rule, in_file, variable);
    if (text || in_file.node != nullptr) {
      _set.insert(rule.name());
    }
    if (!text) {
      return;
    }
    const std::string& name = _environment(variable) ? variable : key;
    std::visit([&](const auto& kind) { assign(kind, name, *text); }, rule.value);
  }

  // From the environment as in the file; there a single word needs no quotes.
  void read_command(const command_value& kind, const std::string& key, const std::string& variable,
                    const toml::node* node) {
    const std::optional<std::string> text = _environment(variable);
    if (!text) {
      if (node != nullptr) {
        assign_command(kind, key, key + place(*node), *node);
      }
      return;
    }
    if (!text->starts_with('[')) {
      assign_command(kind, variable, variable, toml::value<std::string>(*text));
      return;
    }
    try {
      const toml::table document = toml::parse("command = " + *text);
      assign_command(kind, variable, variable, *document.get("command"));
    } catch (const toml::parse_error&) {
      problem(variable + " = " + *text + " is no list; write [\"/usr/local/bin/hook\", \"-x\"]");
    }
  }

  // `where` is the name with its line.
  void assign_command(const command_value& kind, const std::string& name, const std::string& where,
                      const toml::node& node) {
    std::vector<std::string> words;
    if (const auto program = node.value_exact<std::string>()) {
      if (program->empty()) {
        return;  // none
      }
      if (program->find_first_of(" \t") != std::string::npos) {
        problem(name + " = \"" + *program +
                "\" has blanks, and no shell splits it; write a list: [\"program\", \"argument\"]");
        return;
      }
      words.push_back(*program);
    } else if (const toml::array* list = node.as_array()) {
      for (const toml::node& entry : *list) {
        const auto word = entry.value_exact<std::string>();
        if (!word) {
          problem(where + " must be a string, or a list of strings: a program and its arguments");
          return;
        }
        words.push_back(*word);
      }
      if (words.empty() || words.front().empty()) {
        problem(name + " names no program; write \"\" for none");
        return;
      }
    } else {
      problem(where + " must be a string, or a list of strings: a program and its arguments");
      return;
    }
    for (const std::string& word : words) {
      check_characters(name, word);
    }
    _config.*kind.member = std::move(words);
  }

  void assign(const command_value&, const std::string&, const std::string&) {}  // read_command()
  void assign(const bytes_value& kind, const std::string& name, const std::string& text) {
    const auto value = parse_bytes(text);
    const std::string most = ", at most " + format_bytes(kind.largest);
    if (!value) {
      problem(name + " = \"" + text + "\" is no size; write bytes, or like \"128MiB\"" + most);
    } else if ((*value < kind.smallest && !(kind.or_none && *value == 0)) ||
               *value > kind.largest) {
      problem(name + " = " + text + " is out of range: at least " + format_bytes(kind.smallest) +
              most + (kind.or_none ? ", or 0 for no limit" : ""));
    } else {
      _config.*kind.member = *value;
    }
  }
  void assign(const number_value& kind, const std::string& name, const std::string& text) {
    const auto value = whole_number(text);
    if (!value || *value < kind.smallest || *value > kind.largest) {
      problem(name + " = " + text + " must be a whole number from " +
              std::to_string(kind.smallest) + " to " + std::to_string(kind.largest));
    } else {
      _config.*kind.member = *value;
    }
  }
  void assign(const duration_value& kind, const std::string& name, const std::string& text) {
    const auto value = parse_duration(text);
    if (!value || *value > kind.largest) {
      problem(name + " = \"" + text + "\" is no duration; write seconds, or like \"6h\", at most " +
              std::to_string(std::chrono::floor<std::chrono::hours>(kind.largest).count() / 24) +
              "d");
    } else {
      _config.*kind.member = *value;
    }
  }
  void assign(const seconds_value& kind, const std::string& name, const std::string& text) {
    const auto value = parse_duration(text);
    const auto seconds =
        std::chrono::floor<std::chrono::seconds>(value.value_or(std::chrono::milliseconds(-1)));
    if (!value || seconds != *value || seconds.count() < kind.smallest ||
        seconds.count() > kind.largest) {
      problem(name + " = \"" + text + "\" must be from " + std::to_string(kind.smallest) + " to " +
              std::to_string(kind.largest) + " whole seconds; write these, or like \"72h\"");
    } else {
      _config.*kind.member = seconds.count();
    }
  }
  void assign(const auto_or_number_value& kind, const std::string& name, const std::string& text) {
    const auto value = whole_number(text);
    if (text != "auto" && (!value || *value < kind.smallest || *value > kind.largest)) {
      problem(name + " = \"" + text + "\" must be \"auto\" or a whole number from " +
              std::to_string(kind.smallest) + " to " + std::to_string(kind.largest));
    } else {
      _config.*kind.member = text;
    }
  }
  void assign(const flag_value& kind, const std::string& name, const std::string& text) {
    if (text != "true" && text != "false") {
      problem(name + " = " + text + " must be true or false");
    } else {
      _config.*kind.member = text == "true";
    }
  }
  void assign(const text_value& kind, const std::string& name, const std::string& given) {
    const std::string text = kind.any_case ? lower_case(given) : given;
    if (!kind.allowed.empty() &&
        std::find(kind.allowed.begin(), kind.allowed.end(), text) == kind.allowed.end()) {
      problem(name + " = \"" + text + "\" must be one of " + joined(kind.allowed));
    } else if (text.empty() && !kind.may_be_empty) {
      problem(name + " is empty; set it in [s3]");
    } else {
      _config.*kind.member = text;
      check_characters(name, text);
    }
  }
  void assign(const path_value& kind, const std::string& name, const std::string& text) {
    _config.*kind.member = text;
    const bool absolute = text.starts_with('/') || text.starts_with("~/");
    if (!absolute && !(text.empty() && kind.may_be_empty)) {
      problem(name + " = \"" + text + "\" must be an absolute path (or begin with ~/)");
    }
    check_characters(name, text);
  }
  // What S3 takes ("Tagging", Amazon S3 User Guide): ten of them, and among letters and digits only
  // these marks, so that a comma ends one.
  void assign(const tags_value& kind, const std::string& name, const std::string& text) {
    std::vector<std::pair<std::string, std::string>> tags;
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(','), rest.size());
      const std::string one = without_blanks(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      const std::size_t sign = one.find('=');
      const std::string key = without_blanks(one.substr(0, sign));
      const std::string value =
          sign == std::string::npos ? "" : without_blanks(one.substr(sign + 1));
      const bool twice = std::any_of(tags.begin(), tags.end(),
                                     [&](const auto& other) { return other.first == key; });
      if (key.empty() || sign == std::string::npos || twice || key.size() > tag_key_bytes_max ||
          value.size() > tag_value_bytes_max || !can_be_tag(one)) {
        problem(name + " = \"" + text + "\": \"" + one +
                "\" is no tag, or its key is there twice; write \"project=backup, "
                "host=alpha\", of letters, digits, blanks and + - = . _ : / @");
        return;
      }
      tags.emplace_back(key, value);
    }
    if (tags.size() > tags_max) {
      problem(name + " has " + std::to_string(tags.size()) + " tags; S3 takes " +
              std::to_string(tags_max));
      return;
    }
    _config.*kind.member = std::move(tags);
  }
  // It may hold a password, which no message quotes.
  void assign(const proxy_value& kind, const std::string& name, const std::string& text) {
    _config.*kind.member = text;
    if (text.empty() || text == "none") {
      return;
    }
    if (const auto parsed = s3::parse_proxy(name, text); !parsed) {
      problem(parsed.error().message + "; " + parsed.error().remedy);
    }
  }
  void check_characters(const std::string& name, const std::string& text) {
    if (has_control_characters(text)) {
      problem(name + " = \"" + text + "\" holds control characters; remove them");
    } else if (!engine::is_utf8(text)) {  // of the environment: what is no UTF-8 is no TOML
      problem(name + " = \"" + text + "\" is no UTF-8, which keys and documents are; write it so");
    }
  }

  // From the environment as in the file: ["/srv/data", {name = "root", path = "/"}].
  void read_paths(const toml::node* node) {
    const std::string variable = variable_of("subvolumes.paths");
    const std::optional<std::string> text = _environment(variable);
    if (!text) {
      read_subvolumes("subvolumes.paths", node);
      return;
    }
    try {
      const toml::table document = toml::parse("paths = " + *text);
      read_subvolumes(variable, document["paths"].node());
    } catch (const toml::parse_error&) {
      problem(variable + " = " + *text + " is no list; write [\"/srv/data\"]");
    }
  }

  void read_subvolumes(const std::string& from, const toml::node* node) {
    if (node == nullptr) {
      problem(from + " is missing; write [subvolumes] and paths = [\"/srv/data\"]");
      return;
    }
    const toml::array* paths = node->as_array();
    if (paths == nullptr || paths->empty()) {
      problem(from + place(*node) +
              " must be a list with at least one entry, like [\"/srv/data\"]");
      return;
    }
    for (const toml::node& entry : *paths) {
      auto one = read_entry(from + place(entry), entry);
      if (!one) {
        continue;
      }
      for (const subvolume_config& other : _config.subvolumes) {
        if (other.name == one->name) {
          problem(from + place(entry) + ": " + other.path + " and " + one->path +
                  " are both called \"" + one->name +
                  "\"; give one another name with {name = ..., path = ...}");
        }
      }
      _config.subvolumes.push_back(std::move(*one));
    }
  }

  // One entry of the list; nullopt when it has no usable path.
  std::optional<subvolume_config> read_entry(const std::string& where, const toml::node& entry) {
    subvolume_config one;
    bool named = false;
    if (const auto path = entry.value_exact<std::string>()) {
      one.path = *path;
    } else if (const toml::table* table = entry.as_table()) {
      for (const auto& [key, value] : *table) {
        const auto text = value.value_exact<std::string>();
        if (key.str() == "ignore_nested") {
          read_ignored(where, value, one);
        } else if (key.str() != "name" && key.str() != "path") {
          problem(where + ": unknown key " + std::string(key.str()) +
                  "; there are name, path and ignore_nested");
        } else if (!text) {
          problem(where + ": " + std::string(key.str()) + " must be a string");
        } else {
          (key.str() == "name" ? one.name : one.path) = *text;
          named = named || key.str() == "name";
        }
      }
    }
    if (one.path == "~" || one.path.starts_with("~/")) {
      const auto home = home_directory();
      if (!home) {
        problem(where + ": \"" + one.path +
                "\" cannot be expanded: HOME is no absolute path; give one here");
        return std::nullopt;
      }
      one.path = *home + one.path.substr(1);
    }
    while (one.path.size() > 1 && one.path.ends_with('/')) {
      one.path.pop_back();
    }
    if (!one.path.starts_with('/') || has_control_characters(one.path)) {
      problem(where + ": \"" + one.path +
              "\" is no absolute path; write \"/srv/data\", or {name = \"root\", path = \"/\"}");
      return std::nullopt;
    }
    if (!named) {
      one.name = one.path == "/" ? "root" : one.path.substr(one.path.rfind('/') + 1);
    }
    if (one.name.size() > name_bytes_max) {
      problem(where + ": the name \"" + one.name + "\" has more than " +
              std::to_string(name_bytes_max) +
              " bytes, too many for a snapshot's name; give another with {name = ..., path = ...}");
    } else if (!is_subvolume_name(one.name)) {
      problem(where + ": \"" + one.name +
              "\" cannot be a name here (no slash); give another with {name = ..., path = ...}");
    } else if (one.name.ends_with(local_journal_suffix)) {
      problem(where + ": \"" + one.name + "\" ends in \"" + std::string(local_journal_suffix) +
              "\", as the journals of backup --no-s3 do; give another name with {name = ..., path "
              "= ...}");
    }
    return one;
  }

  // true, false, or a list of directories.
  void read_ignored(const std::string& where, const toml::node& value, subvolume_config& into) {
    const std::string wrong = where +
                              ": ignore_nested must be true, or a list of directories below the "
                              "subvolume, like [\"var/lib/docker\"]";
    if (const auto all = value.value_exact<bool>()) {
      into.ignore_all_nested = *all;
      return;
    }
    const toml::array* list = value.as_array();
    if (list == nullptr) {
      problem(wrong);
      return;
    }
    for (const toml::node& entry : *list) {
      std::string directory = entry.value_exact<std::string>().value_or("");
      while (directory.ends_with('/')) {
        directory.pop_back();
      }
      if (directory.empty() || directory.starts_with('/') || has_control_characters(directory)) {
        problem(wrong);
        return;
      }
      into.ignore_nested.push_back(std::move(directory));
    }
  }

  void check_whole() {
    for (const char* name : {"s3.bucket", "s3.region"}) {
      if (!_set.contains(name)) {
        problem(std::string(name) + " is missing; set it in [s3]");
      }
    }
    if (_config.bucket.find_first_of("/ ") != std::string::npos) {
      problem("s3.bucket = \"" + _config.bucket +
              "\" is no bucket name; the path goes to s3.prefix");
    }
    check_prefix();
    check_class("s3.storage_class_chunks", _config.storage_class_chunks);
    check_class("s3.storage_class_manifest", _config.storage_class_manifest);
    if (_config.thaw_tier == "Expedited" && _config.storage_class_chunks == "DEEP_ARCHIVE") {
      problem("thaw.tier = \"Expedited\" does not exist for DEEP_ARCHIVE; use Standard or Bulk");
    }
    check_values();
  }

  // A part that nobody asked for is no larger than what it has to fit into. Whole hash blocks: the
  // limits of both are far above one.
  void fit_part_size() {
    if (_set.contains("s3.part_size_bytes")) {
      return;
    }
    std::uint64_t bytes = std::min(_config.part_size_bytes, _config.chunk_size_bytes);
    if (_config.spool_enabled) {
      bytes = std::min(bytes, _config.spool_size_bytes);
    }
    _config.part_size_bytes = bytes - bytes % hash_block_bytes;
  }

  // What holds wherever the bucket is named.
  void check_values() {
    fit_part_size();
    if (_config.part_size_bytes % hash_block_bytes != 0) {
      problem("s3.part_size_bytes = " + std::to_string(_config.part_size_bytes) +
              " must be a multiple of " + std::to_string(hash_block_bytes));
    }
    if (_config.chunk_size_bytes < _config.part_size_bytes) {
      problem("s3.chunk_size_bytes = " + std::to_string(_config.chunk_size_bytes) +
              " must be at least s3.part_size_bytes = " + std::to_string(_config.part_size_bytes));
    }
    check_memory();
    if (_config.spool_enabled && _config.spool_size_bytes < _config.part_size_bytes) {
      problem("global.spool_size_bytes = " + std::to_string(_config.spool_size_bytes) +
              " must be at least s3.part_size_bytes = " + std::to_string(_config.part_size_bytes));
    }
    if (_config.storage_class_manifest == "GLACIER" ||
        _config.storage_class_manifest == "DEEP_ARCHIVE") {
      problem("s3.storage_class_manifest = \"" + _config.storage_class_manifest +
              "\" would have to be thawed before anything can be planned; use STANDARD");
    }
    if (!_config.sse_kms_key_id.empty() && _config.sse != "aws:kms") {
      problem("s3.sse_kms_key_id needs s3.sse = \"aws:kms\"");
    }
    if (_config.hook_timeout < std::chrono::seconds(1)) {
      problem("hooks.timeout must be at least a second");
    }
    check_time();
    check_interval();
    expand_home();
  }

  // AWS's names are known; another store has its own.
  void check_class(const std::string& name, const std::string& stored_as) {
    const auto set = [this](const char* variable) {
      return !_environment(variable).value_or("").empty();
    };
    const bool elsewhere =
        !_config.endpoint_url.empty() || set("AWS_ENDPOINT_URL_S3") || set("AWS_ENDPOINT_URL");
    const bool known = stored_as == "none" || std::find(write_classes.begin(), write_classes.end(),
                                                        stored_as) != write_classes.end();
    const bool can_be_one =
        stored_as.size() <= class_bytes_max &&
        std::all_of(stored_as.begin(), stored_as.end(), [](unsigned char c) {
          return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == ':';
        });
    if (known || stored_as.empty() || (elsewhere && can_be_one)) {
      return;
    }
    problem(name + " = \"" + stored_as + "\" must be one of " + joined(write_classes) +
            ", or none for no header" +
            (elsewhere ? "" : "; other stores' names are taken where s3.endpoint_url names one"));
  }

  // Clients and proxies take ".." and empty segments out of a path, the signature then fits no
  // more, or another object is meant.
  void check_prefix() {
    if (!_set.contains("s3.prefix")) {
      problem("s3.prefix is missing; set it in [s3], to \"\" for keys without one");
    }
    std::string_view rest = _config.prefix;
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
        problem("s3.prefix = \"" + _config.prefix + "\" has the segment \"" + std::string(segment) +
                "\", which not every store and proxy keeps; write names between single slashes, "
                "like \"hosts/alpha\"");
        break;
      }
      rest.remove_prefix(std::min(segment.size() + 1, rest.size()));
    }
    for (const subvolume_config& one : _config.subvolumes) {
      if (prefix_bytes + key_bytes_beside_name + one.name.size() > key_bytes_max) {
        problem("s3.prefix = \"" + _config.prefix + "\" is too long: with subvolume \"" + one.name +
                "\" keys have more than " + std::to_string(key_bytes_max) +
                " bytes; shorten one of them");
      }
    }
  }

  void check_memory() {
    const std::uint64_t limit = _config.memory_limit_bytes;
    const std::string name = "global.memory_limit_bytes = " + std::to_string(limit);
    if (limit == 0) {
      return;
    }
    if (_config.spool_enabled && limit < spool_memory_bytes) {
      problem(name + " must be at least " + format_bytes(spool_memory_bytes) + " with the spool");
    }
    if (!_config.spool_enabled && _config.parts_in_flight(_config.part_size_bytes) == 0) {
      problem(name + " is too small: one part of " + format_bytes(_config.part_size_bytes) +
              " (s3.part_size_bytes) that fills, one in flight and " +
              format_bytes(other_memory_bytes) + " for the rest make " +
              format_bytes(config::memory_for(1, _config.part_size_bytes)) +
              "; use smaller parts, or s3.spool_enabled");
    }
  }

  void check_time() {
    std::string& at = _config.run_at;
    if (at.size() == 4 && at[1] == ':') {
      at.insert(0, "0");  // "2:00"
    }
    const auto digit = [&](std::size_t i) { return at[i] >= '0' && at[i] <= '9'; };
    const bool form =
        at.size() == 5 && at[2] == ':' && digit(0) && digit(1) && digit(3) && digit(4);
    if (!form || at.substr(0, 2) > "23" || at.substr(3) > "59") {
      problem("schedule.run_at = \"" + at + "\" must be a time like \"02:00\"");
    }
  }

  void check_interval() {
    const std::chrono::milliseconds every = _config.incremental_every;
    if (every.count() == 0) {
      return;
    }
    if (every < std::chrono::minutes(15) || every >= std::chrono::hours(24) ||
        every % std::chrono::minutes(1) != std::chrono::milliseconds(0)) {
      problem(
          "schedule.incremental_every must be whole minutes, from \"15m\" to less than a day; for "
          "longer there is schedule.incremental_every_days");
    }
    if (_set.contains("schedule.incremental_every_days")) {
      problem(
          "schedule.incremental_every and schedule.incremental_every_days contradict each other; "
          "remove one of them");
    }
  }

  // Without a slash at its end: "" for "/".
  std::optional<std::string> home_directory() const {
    auto home = _environment("HOME");
    if (!home || !home->starts_with('/')) {
      return std::nullopt;
    }
    while (home->ends_with('/')) {
      home->pop_back();
    }
    return home;
  }

  void expand_home() {
    const auto home = home_directory();
    for (const key_rule& rule : rules()) {
      const auto* kind = std::get_if<path_value>(&rule.value);
      if (kind == nullptr || !(_config.*kind->member).starts_with("~/")) {
        continue;
      }
      std::string& path = _config.*kind->member;
      if (home) {
        path = *home + path.substr(1);
      } else {
        problem(rule.name() + " = \"" + path +
                "\" cannot be expanded: HOME is no absolute path; give one here");
      }
    }
  }

  const environment_lookup& _environment;
  std::string _file;
  config _config;
  std::set<std::string, std::less<>> _set;  // given in file or environment, also wrongly
  std::vector<std::string> _problems;
};

}  // namespace

std::uint64_t config::chunk_limit_bytes() const {
  return std::min(chunk_size_bytes, static_cast<std::uint64_t>(parts_max) * part_size_bytes);
}

std::uint64_t config::memory_for(std::size_t parts_in_flight, std::uint64_t part_bytes) {
  return (parts_in_flight + 1) * part_bytes + other_memory_bytes;
}

std::size_t config::parts_in_flight(std::uint64_t part_bytes) const {
  auto parts = static_cast<std::size_t>(concurrency);
  while (memory_limit_bytes > 0 && parts > 0 &&
         memory_for(parts, part_bytes) > memory_limit_bytes) {
    --parts;
  }
  return parts;
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
                                    "BTRFS_TO_S3_CMD"};
  for (const std::string& key : config_keys()) {
    known.push_back(variable_of(key));
  }
  for (const former_key& one : former_keys) {
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
                            const environment_lookup& environment) {
  try {
    const toml::table document = toml::parse(text);
    return reader(environment, name).read(document);
  } catch (const toml::parse_error& problem) {
    error failure;
    failure.why = engine::reason::configuration;
    failure.message = name + ", line " + std::to_string(problem.source().begin.line) + ": " +
                      std::string(problem.description());
    failure.remedy = std::string("the file must be TOML; ") + example;
    return failure;
  }
}

result<config> with_environment(config settings, const std::vector<std::string>& except,
                                const environment_lookup& environment) {
  return reader(environment, "the environment").read_environment(std::move(settings), except);
}

result<config> load_config(const std::string& path, const environment_lookup& environment) {
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
