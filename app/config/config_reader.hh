// Turns a document into a config, collecting every problem on the way. Of this folder alone; use
// load_config() and its like (config.hh).
#pragma once

#include "app/config/config.hh"
#include "app/config/key_rules.hh"
#include "engine/result.hh"

#include <toml++/toml.h>

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

class config_reader {
 public:
  // `file` stands for what is read in messages.
  config_reader(const engine::environment_lookup& environment, std::string file)
      : _environment(environment), _file(std::move(file)) {}

  // Once, and so is read_environment(). Every problem found is named in the one error.
  engine::result<config> read(const toml::table& document);
  // What the environment says, over `base`.
  engine::result<config> read_environment(config base, const std::vector<std::string>& except);

 private:
  // A key as the file has it.
  struct written_key {
    std::string name;                  // the former one where that stands there
    const toml::node* node = nullptr;  // null: it is not there
  };

  engine::result<config> finished();
  void problem(std::string_view text);
  void check_characters(const std::string& name, const std::string& text);

  // Keys and their values (config_reader.cc, config_values.cc).
  void check_names(const toml::table& document);
  void check_keys_of(const std::string& table, const toml::table& written);
  written_key written(const key_rule& rule, const toml::table& document);
  std::string variable_for(const key_rule& rule);
  std::optional<std::string> value_of(const key_rule& rule, const written_key& in_file,
                                      const std::string& variable);
  void read_key(const key_rule& rule, const written_key& in_file);
  template <typename Kind>
  void read_words(const Kind& kind, const std::string& key, const std::string& variable,
                  const toml::node* node);
  void assign_words(const command_value& kind, const std::string& name, const std::string& where,
                    const toml::node& node);
  void assign_words(const recipients_value& kind, const std::string& name, const std::string& where,
                    const toml::node& node);
  void assign(const command_value& kind, const std::string& name, const std::string& text);
  void assign(const recipients_value& kind, const std::string& name, const std::string& text);
  void assign(const bytes_value& kind, const std::string& name, const std::string& text);
  void assign(const number_value& kind, const std::string& name, const std::string& text);
  void assign(const duration_value& kind, const std::string& name, const std::string& text);
  void assign(const seconds_value& kind, const std::string& name, const std::string& text);
  void assign(const auto_or_number_value& kind, const std::string& name, const std::string& text);
  void assign(const time_of_day_value& kind, const std::string& name, const std::string& text);
  void assign(const flag_value& kind, const std::string& name, const std::string& text);
  void assign(const choice_value& kind, const std::string& name, const std::string& given);
  void assign(const text_value& kind, const std::string& name, const std::string& text);
  void assign(const storage_class_value& kind, const std::string& name, const std::string& text);
  void assign(const path_value& kind, const std::string& name, const std::string& text);
  void assign(const tags_value& kind, const std::string& name, const std::string& text);
  void assign(const proxy_value& kind, const std::string& name, const std::string& text);

  // subvolumes.paths (config_subvolumes.cc).
  void read_paths(const toml::node* node);
  void read_subvolumes(const std::string& from, const toml::node* node);
  std::optional<subvolume_config> read_entry(const std::string& where, const toml::node& entry);
  void name_entry(const std::string& where, bool named, subvolume_config& one);
  void read_ignored(const std::string& where, const toml::node& value, subvolume_config& into);

  // What values have to be beside one another (config_checks.cc).
  void check_whole();
  void check_values();
  void fit_part_size();
  void check_class(const std::string& name, const s3::storage_class& named);
  void check_prefix();
  void check_memory();
  void check_interval();
  [[nodiscard]] std::optional<std::string> home_directory() const;
  void expand_home();

  const engine::environment_lookup& _environment;
  std::string _file;
  config _config;
  std::set<std::string, std::less<>> _set;  // given in file or environment, also wrongly
  std::vector<std::string> _problems;
};

// " (line 12)"
[[nodiscard]] std::string place(const toml::node& node);
[[nodiscard]] std::string joined(const std::vector<std::string>& words);
[[nodiscard]] bool has_control_characters(std::string_view text);

}  // namespace bts3::app
