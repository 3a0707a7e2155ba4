// What a shell may offer for the word that is being typed, by the options that there are.
#pragma once

#include "app/cli/cli.hh"

#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace bts3::app {

// Whether an option is taken by a name that it had once, and offered to nobody by it.
bool is_former_name(const CLI::Option& option);

// `words`: what stands behind the program's name, the last of them as far as it is typed. Bash may
// have split "--at=x" in three. A complete_command, with what was told before that word of the
// place of the backups.
command_line completion_of(CLI::App& top, std::vector<std::string> words);

}  // namespace bts3::app
