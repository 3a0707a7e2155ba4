// complete: what a shell may offer for a word that is being typed. Hidden, for the shells'
// completions alone (cmake/packaging/completion.*).
//
// Names of subvolumes come from the configuration, dates and keys of backups from the bucket, by a
// cache that is kept for a minute. Whoever presses a key waits: two seconds at most, and whatever
// goes wrong is nothing to offer, never a message.
#pragma once

#include "app/cli/cli.hh"
#include "app/config/config.hh"

#include <string>

namespace bts3::app {

// First a line that says what follows: "words", or "files" or "directories", which the shell knows
// better. Then a line for each candidate, in the order to be shown in: the word, and, after a tab
// character, what it is, where that is known. No word has a tab or a line end.
std::string completed(const complete_command& command, const common_options& common,
                      const engine::environment_lookup& environment);

// Where lists of a bucket are kept: below XDG_CACHE_HOME or ~/.cache; for root without a home in
// /run. Empty: nowhere.
std::string completion_cache(const engine::environment_lookup& environment, unsigned user);

}  // namespace bts3::app
