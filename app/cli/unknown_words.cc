#include "app/cli/unknown_words.hh"

#include "app/cli/completion.hh"
#include "app/text/nearest_word.hh"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace bts3::app {

namespace {

// The option that somebody may have meant by one that is none; empty where nothing is near.
std::string nearest_option(const CLI::App& app, const std::string& word) {
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) {
    if (is_former_name(*option)) {
      continue;
    }
    for (const std::string& name : option->get_lnames()) {
      known.push_back("--" + name);
    }
  }
  const std::string wanted = word.substr(0, word.find('='));
  const std::string found = known.empty() ? "" : nearest(wanted, known);
  return edit_distance(wanted, found) <= std::max<std::size_t>(2, wanted.size() / 4) ? found : "";
}

}  // namespace

named_command given_command(const CLI::App& app) {
  named_command found{&app, ""};
  while (!found.app->get_subcommands().empty()) {
    found.app = found.app->get_subcommands().front();
    found.name += (found.name.empty() ? "" : " ") + found.app->get_name();
  }
  return found;
}

std::optional<std::string> unknown_option(const CLI::App& app) {
  const named_command given = given_command(app);
  if (given.app == &app) {
    return std::nullopt;
  }
  for (const std::string& word : given.app->remaining()) {
    if (word.starts_with("--")) {
      const std::string meant = nearest_option(*given.app, word);
      return given.name + " has no option " + word +
             (meant.empty() ? "" : "; did you mean " + meant + "?");
    }
  }
  return std::nullopt;
}

std::optional<std::string> unknown_command(const CLI::App& app) {
  const named_command given = given_command(app);
  std::vector<std::string> commands;
  for (const CLI::App* command : given.app->get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(command->get_name());
  }
  if (commands.empty()) {
    return std::nullopt;
  }
  for (const std::string& word : given.app->remaining()) {
    if (word.starts_with('-')) {
      continue;
    }
    // Two letters that changed places are a distance of two.
    const std::string known = nearest(word, commands);
    return "there is no command \"" + (given.name.empty() ? "" : given.name + " ") + word + "\"" +
           (edit_distance(word, known) <= 2 ? "; did you mean " + known + "?" : "");
  }
  return std::nullopt;
}

}  // namespace bts3::app
