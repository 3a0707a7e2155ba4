// The words of the commands that look at the files in a backup.
#pragma once

#include "app/cli/cli.hh"

#include <functional>

namespace CLI {
class App;
}  // namespace CLI

namespace bts3::app {

// What is read into; must outlive the parsing.
struct files_words {
  ls_command ls;
  find_command find;
  history_command history;
  diff_command diff;
  index_build_command build;
  const CLI::App* ls_app = nullptr;
  const CLI::App* find_app = nullptr;
  const CLI::App* history_app = nullptr;
  const CLI::App* diff_app = nullptr;
  const CLI::App* build_app = nullptr;
};

// Which backup's files, what opens it, and where its index is kept.
void add_files_selection(CLI::App& app, files_selection& into);

// `common` adds the options that every command has.
void add_files(CLI::App& app, const std::function<void(CLI::App&)>& common, files_words& into);

// The command, where one of these was given; false where not.
[[nodiscard]] bool take_files(const files_words& from, command_line& into);

}  // namespace bts3::app
