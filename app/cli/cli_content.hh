// The words of the commands that get the content of files out of a backup.
#pragma once

#include "app/cli/cli.hh"

#include <functional>

namespace CLI {
class App;
}  // namespace CLI

namespace bts3::app {

// What is read into; must outlive the parsing.
struct content_words {
  cat_command cat;
  extract_command extract;
  mount_command mount;
  const CLI::App* cat_app = nullptr;
  const CLI::App* extract_app = nullptr;
  const CLI::App* mount_app = nullptr;
};

// `common` adds the options that every command has.
void add_content(CLI::App& app, const std::function<void(CLI::App&)>& common, content_words& into);

// The command, where one of these was given; false where not.
[[nodiscard]] bool take_content(const content_words& from, command_line& into);

}  // namespace bts3::app
