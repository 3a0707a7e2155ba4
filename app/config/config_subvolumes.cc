// subvolumes.paths, from the file or from the environment.
#include "app/config/config_reader.hh"
#include "app/config/setting_names.hh"
#include "app/text/subvolume_name.hh"

#include <utility>

namespace bts3::app {

// From the environment as in the file: ["/srv/data", {name = "root", path = "/"}].
void config_reader::read_paths(const toml::node* node) {
  const std::string variable = variable_of("subvolumes.paths");
  const std::optional<std::string> text = _environment(variable);
  if (!text) {
    read_subvolumes(std::string(shown_key("subvolumes.paths")), node);
    return;
  }
  try {
    const toml::table document = toml::parse("paths = " + *text);
    read_subvolumes(variable, document["paths"].node());
  } catch (const toml::parse_error&) {
    problem(variable + " = " + *text + " is no list; write [\"/srv/data\"]");
  }
}

void config_reader::read_subvolumes(const std::string& from, const toml::node* node) {
  if (node == nullptr) {
    problem(from + " is missing; write [subvolumes] and paths = [\"/srv/data\"]");
    return;
  }
  const toml::array* paths = node->as_array();
  if (paths == nullptr || paths->empty()) {
    problem(from + place(*node) + " must be a list with at least one entry, like [\"/srv/data\"]");
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
std::optional<subvolume_config> config_reader::read_entry(const std::string& where,
                                                          const toml::node& entry) {
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
  name_entry(where, named, one);
  return one;
}

// By the path where it was not `named`.
void config_reader::name_entry(const std::string& where, bool named, subvolume_config& one) {
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
}

// true, false, or a list of directories.
void config_reader::read_ignored(const std::string& where, const toml::node& value,
                                 subvolume_config& into) {
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

}  // namespace bts3::app
