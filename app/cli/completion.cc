#include "app/cli/completion.hh"

#include <CLI/CLI.hpp>

#include <sstream>
#include <utility>

namespace bts3::app {

namespace {

bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// What stands behind it and belongs to no option; null: nothing does.
const CLI::Option* words_of(const CLI::App& app) {
  const auto words = app.get_options([](const CLI::Option* one) { return one->get_positional(); });
  return words.empty() ? nullptr : words.front();
}

std::string help_line(const std::string& text) {
  constexpr std::size_t bytes_max = 60;
  return text.size() <= bytes_max ? text
                                  : text.substr(0, text.rfind(' ', bytes_max)) + " \xe2\x80\xa6";
}

// What the value of `option` may be.
void offer_values(const CLI::Option& option, complete_command& into) {
  const std::string type = option.get_type_name();  // "NAME", "LEVEL:{debug,info}"
  const std::string name = option.get_lnames().empty() ? "" : option.get_lnames().front();
  const std::size_t open = type.find('{');
  if (open != std::string::npos && type.ends_with('}')) {
    std::istringstream list(type.substr(open + 1, type.size() - open - 2));
    for (std::string word; std::getline(list, word, ',');) {
      into.candidates.push_back({word, ""});
    }
  } else if (name == "subvolume" && type == "NAME") {
    into.what = complete_command::kind::subvolumes;
  } else if (name == "at") {
    into.what = complete_command::kind::times;
  } else if (name == "manifest-key") {
    into.what = complete_command::kind::manifest_keys;
  } else if (type == "FILE") {
    into.what = complete_command::kind::files;
  } else if (type == "DIR" || type == "PATH") {
    into.what = complete_command::kind::directories;
  }
}

void offer_options(const CLI::App& app, complete_command& into) {
  for (const CLI::Option* option : app.get_options()) {
    if (is_former_name(*option)) {
      continue;
    }
    for (const std::string& name : option->get_lnames()) {
      into.candidates.push_back({"--" + name, help_line(option->get_description())});
    }
  }
}

// What is told of the place of the backups before the word that is being typed.
void note(const std::string& option, const std::string& value, common_options& common,
          complete_command& into) {
  const std::pair<const char*, std::string*> known[] = {{"--config", &common.config_path},
                                                        {"--subvolume", &into.subvolume},
                                                        {"--at", &into.at},
                                                        {"--manifest-key", &into.manifest_key},
                                                        {"--cache-dir", &into.cache_dir},
                                                        {"--from", &into.from},
                                                        {"--region", &into.region},
                                                        {"--endpoint-url", &into.endpoint_url},
                                                        {"--profile", &into.profile}};
  for (const auto& [name, to] : known) {
    if (option == name) {
      *to = value;
    }
  }
}

// Bash takes "s3://x" for three words.
std::vector<std::string> joined_at_colons(const std::vector<std::string>& words) {
  std::vector<std::string> joined;
  bool open = false;
  for (const std::string& word : words) {
    const bool colon = word == ":" && !joined.empty();
    if (colon || open) {
      joined.back() += word;
    } else {
      joined.push_back(word);
    }
    open = colon;
  }
  return joined;
}

}  // namespace

bool is_former_name(const CLI::Option& option) {
  return option.get_group().empty();
}

command_line completion_of(CLI::App& top, std::vector<std::string> words) {
  command_line line;
  complete_command made;
  std::string last = words.empty() ? std::string() : words.back();
  if (!words.empty()) {
    words.pop_back();
  }
  const CLI::App* app = &top;
  const CLI::Option* open = nullptr;  // whose value comes next
  std::string open_name;
  for (const std::string& word : joined_at_colons(words)) {
    if (open != nullptr && word == "=") {
      continue;
    }
    if (open != nullptr) {
      note(open_name, word, line.common, made);
      open = nullptr;
      continue;
    }
    const std::size_t sign = word.find('=');
    open_name = word.substr(0, sign);
    if (word.starts_with('-')) {
      open = app->get_option_no_throw(open_name);
      if (open != nullptr && sign != std::string::npos) {
        note(open_name, word.substr(sign + 1), line.common, made);
      }
      if (open != nullptr && (sign != std::string::npos || !takes_value(*open))) {
        open = nullptr;
      }
    } else {
      for (const CLI::App* command : commands_of(*app)) {
        app = command->get_name() == word ? command : app;
      }
    }
  }
  const std::size_t sign = last.starts_with("--") ? last.find('=') : std::string::npos;
  if (open != nullptr && last == "=") {
    last.clear();
  } else if (open == nullptr && sign != std::string::npos) {
    open = app->get_option_no_throw(last.substr(0, sign));
    made.stem = last.substr(0, sign + 1);
    last.erase(0, sign + 1);
    if (open == nullptr || !takes_value(*open)) {
      line.command = made;
      return line;
    }
  }
  made.begin = last;
  if (open != nullptr) {
    offer_values(*open, made);
  } else if (!commands_of(*app).empty() && !last.starts_with('-')) {
    for (const CLI::App* command : commands_of(*app)) {
      made.candidates.push_back({command->get_name(), command->get_description()});
    }
  } else if (words_of(*app) != nullptr && !last.starts_with('-')) {
    // A path of a backup is one of another host, and another day.
    made.what = words_of(*app)->get_name() == "path" ? complete_command::kind::paths
                                                     : complete_command::kind::files;
  } else {
    offer_options(*app, made);
  }
  std::erase_if(made.candidates, [&](const complete_command::candidate& one) {
    return !one.word.starts_with(made.begin);
  });
  line.command = made;
  return line;
}

}  // namespace bts3::app
