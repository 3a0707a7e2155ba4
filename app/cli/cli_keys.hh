// The words of `keys`, which has commands of its own.
#pragma once

#include "app/cli/cli.hh"

#include <functional>

namespace CLI {
class App;
}  // namespace CLI

namespace bts3::app {

// What is read into; must outlive the parsing.
struct keys_words {
  keys_generate_command generate;
  keys_show_command show;
  keys_check_command check;
  keys_rewrap_command rewrap;
  const CLI::App* generate_app = nullptr;
  const CLI::App* show_app = nullptr;
  const CLI::App* check_app = nullptr;
  const CLI::App* rewrap_app = nullptr;
};

// `common` adds the options that every command has.
void add_keys(CLI::App& app, const std::function<void(CLI::App&)>& common, keys_words& into);

// The command, where one of these was given; false where not.
[[nodiscard]] bool take_keys(const keys_words& from, command_line& into);

}  // namespace bts3::app
