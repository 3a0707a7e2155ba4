// Which command was given, and what is wrong with words that are neither command nor option.
#pragma once

#include <optional>
#include <string>

namespace CLI {
class App;
}  // namespace CLI

namespace bts3::app {

// The last command among the words, with those before it: "keys show"; the program itself, without
// a name, where there is none.
struct named_command {
  const CLI::App* app;
  std::string name;
};
[[nodiscard]] named_command given_command(const CLI::App& app);

// A sentence with what may have been meant; nullopt where there is no such word.
[[nodiscard]] std::optional<std::string> unknown_option(const CLI::App& app);
// What the parser makes of a word in a command's place is that there is no command.
[[nodiscard]] std::optional<std::string> unknown_command(const CLI::App& app);

}  // namespace bts3::app
