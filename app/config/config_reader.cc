#include "app/config/config_reader.hh"

#include "app/config/setting_names.hh"
#include "app/text/nearest_word.hh"
#include "engine/plain_text.hh"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;

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

// Of a key, also of one that is known by a former name.
std::string present_name(const std::string& table, const std::string& key) {
  for (const former_key& one : former_keys()) {
    if (one.table == table && one.key == key) {
      return std::string(one.now);
    }
  }
  return table + "." + key;
}

}  // namespace

std::string place(const toml::node& node) {
  return " (line " + std::to_string(node.source().begin.line) + ")";
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

result<config> config_reader::read(const toml::table& document) {
  check_names(document);
  for (const key_rule& rule : rules()) {
    read_key(rule, written(rule, document));
  }
  read_paths(document["subvolumes"]["paths"].node());
  check_whole();
  return finished();
}

// What the environment says, over `base`.
result<config> config_reader::read_environment(config base,
                                               const std::vector<std::string>& except) {
  _config = std::move(base);
  for (const key_rule& rule : rules()) {
    if (std::find(except.begin(), except.end(), rule.name()) == except.end()) {
      read_key(rule, {rule.name(), nullptr});
    }
  }
  check_values();
  return finished();
}

result<config> config_reader::finished() {
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

void config_reader::problem(std::string_view text) {
  _problems.push_back(engine::printable(text));
}

void config_reader::check_names(const toml::table& document) {
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
              " is no table of this configuration; did you mean [" + nearest(table, tables) + "]?");
      continue;
    }
    if (!node.is_table()) {
      problem(table + place(node) + " must be a table: write [" + table + "]");
      continue;
    }
    check_keys_of(table, *node.as_table());
  }
}

void config_reader::check_keys_of(const std::string& table, const toml::table& written) {
  std::vector<std::string> keys;
  if (table == "subvolumes") {
    keys.emplace_back("paths");
  }
  for (const key_rule& rule : rules()) {
    if (rule.table == table) {
      keys.emplace_back(rule.key);
    }
  }
  for (const former_key& one : former_keys()) {
    if (one.table == table) {
      keys.emplace_back(one.key);
    }
  }
  for (const auto& [key, value] : written) {
    if (std::find(keys.begin(), keys.end(), key.str()) == keys.end()) {
      problem("unknown key " + table + "." + std::string(key.str()) + place(value) +
              "; did you mean " + present_name(table, nearest(key.str(), keys)) + "?");
    }
  }
}

config_reader::written_key config_reader::written(const key_rule& rule,
                                                  const toml::table& document) {
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
std::string config_reader::variable_for(const key_rule& rule) {
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
std::optional<std::string> config_reader::value_of(const key_rule& rule, const written_key& in_file,
                                                   const std::string& variable) {
  const toml::node* const node = in_file.node;
  if (auto text = _environment(variable)) {
    return text;
  }
  if (node == nullptr) {
    return std::nullopt;
  }
  const bool only_text = std::holds_alternative<path_value>(rule.value) ||
                         std::holds_alternative<tags_value>(rule.value) ||
                         std::holds_alternative<proxy_value>(rule.value) ||
                         std::holds_alternative<text_value>(rule.value) ||
                         std::holds_alternative<storage_class_value>(rule.value) ||
                         std::holds_alternative<time_of_day_value>(rule.value);
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

// From the environment as in the file; there a single word needs no quotes.
template <typename Kind>
void config_reader::read_words(const Kind& kind, const std::string& key,
                               const std::string& variable, const toml::node* node) {
  const std::optional<std::string> text = _environment(variable);
  if (!text) {
    if (node != nullptr) {
      assign_words(kind, key, key + place(*node), *node);
    }
    return;
  }
  if (!text->starts_with('[')) {
    assign_words(kind, variable, variable, toml::value<std::string>(*text));
    return;
  }
  try {
    const toml::table document = toml::parse("words = " + *text);
    assign_words(kind, variable, variable, *document.get("words"));
  } catch (const toml::parse_error&) {
    problem(variable + " = " + *text + " is no list; write " + Kind::example);
  }
}

void config_reader::read_key(const key_rule& rule, const written_key& in_file) {
  const std::string key(shown_key(in_file.name));
  const std::string variable = variable_for(rule);
  if (const auto* command = std::get_if<command_value>(&rule.value)) {
    read_words(*command, key, variable, in_file.node);
    return;
  }
  if (const auto* recipients = std::get_if<recipients_value>(&rule.value)) {
    read_words(*recipients, key, variable, in_file.node);
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

void config_reader::check_characters(const std::string& name, const std::string& text) {
  if (has_control_characters(text)) {
    problem(name + " = \"" + text + "\" holds control characters; remove them");
  } else if (!engine::is_utf8(text)) {  // of the environment: what is no UTF-8 is no TOML
    problem(name + " = \"" + text + "\" is no UTF-8, which keys and documents are; write it so");
  }
}

}  // namespace bts3::app
