// Commands that people are told to run: remedies, next steps. What is printed can be copied into a
// shell, whatever is in the names, and is complete: it leads to the same bucket and configuration.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bts3::engine {

// `word` as a shell reads it back: as it is where nothing in it means anything, else in single
// quotes, which any shell reads. Control characters, backquotes and what printable() would change
// are spelled out in
// $'...', which bash, zsh, ksh and busybox read: so a command stays one line, and fits between
// backquotes.
[[nodiscard]] std::string shell_word(std::string_view word);

struct told_option {
  std::string_view name;  // "--target"
  std::string value;
};

// "btrfs_to_s3 restore --subvolume data --target '/srv/a b' --config /root/c.toml": `words` are the
// command, and options without names in them; a value that begins with '-' is put behind a '='.
// Ends with the options of told_place.
[[nodiscard]] std::string told_command(std::string_view words,
                                       const std::vector<told_option>& options = {});

// How this process was told where to work, which a command that it prints has to be told too.
struct told_place {
  std::string config;               // of --config; empty: the default one
  std::vector<told_option> bucket;  // --from and its companions
};
// Once, by main(), before there is a second thread.
void set_told_place(told_place place);

}  // namespace bts3::engine
