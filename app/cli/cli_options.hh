// Options that several commands have.
#pragma once

#include "app/cli/choices.hh"
#include "app/cli/cli.hh"

#include <CLI/CLI.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// An option with one of `words`.
template <typename Choice, std::size_t N>
CLI::Option* add_choice(CLI::App& app, const char* name, std::optional<Choice>& into,
                        const choice_word<Choice> (&words)[N], const char* help) {
  std::vector<std::string> allowed;
  for (const choice_word<Choice>& one : words) {
    allowed.emplace_back(one.word);
  }
  return app
      .add_option_function<std::string>(
          name, [&into, &words](const std::string& text) { into = chosen(words, text); }, help)
      ->check(CLI::IsMember(allowed));
}

// `path` from the root on; nothing of it is resolved, as ".." behind a link leads elsewhere than
// its text says. What cannot be made absolute, and what is empty, stays as it is: whoever opens it
// says why it cannot be used.
[[nodiscard]] std::string absolute_path(const std::string& path);

// A bucket in place of a configuration.
void add_place(CLI::App& app, bucket_place& into);
// Whose backups are believed; of commands that show them: whose signatures count.
void add_trusted_signers(CLI::App& app, bucket_place& into, const std::string& does);
// --dry-run where it changes nothing: a habit is no error.
void add_nothing_to_do(CLI::App& app);
// Which backup of one subvolume, and where; and the same of one or all.
void add_one_backup(CLI::App& app, backup_selection& into);
void add_selection(CLI::App& app, backup_selection& into);
// Whether to wait for archived objects.
void add_waiting(CLI::App& app, thaw_options& into);
void add_tier(CLI::App& app, std::optional<s3::retrieval_tier>& into);
void add_download_rate(CLI::App& app, std::optional<std::uint64_t>& into);
void add_identities(CLI::App& app, std::vector<std::string>& into);

}  // namespace bts3::app
