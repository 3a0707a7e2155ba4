#include "app/cli/cli_keys.hh"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <system_error>

namespace bts3::app {

namespace {

// What cannot be made absolute stays as it is: writing says why it cannot be used.
std::string absolute(const std::string& path) {
  std::error_code code;
  const std::filesystem::path made = std::filesystem::absolute(path, code);
  return code ? path : made.lexically_normal().string();
}

}  // namespace

void add_keys(CLI::App& app, const std::function<void(CLI::App&)>& common, keys_words& into) {
  CLI::App* const keys = app.add_subcommand("keys", "Make identities, and tell keys apart");
  keys->require_subcommand(1);
  common(*keys);

  CLI::App* const generate =
      keys->add_subcommand("generate", "Make an identity; its recipient is what backups are for");
  common(*generate);
  generate
      ->add_option("file", into.generate.file,
                   "Where the identity goes; must not exist (default: " +
                       std::string(keys_generate_command::usual_file) + " here)")
      ->type_name("FILE");
  generate->add_flag("--passphrase", into.generate.passphrase,
                     "Seal it with a passphrase, which is asked for, or comes from the file in "
                     "BTRFS_TO_S3_IDENTITY_PASSPHRASE_FILE");
  generate->add_flag("--json", into.generate.json, "As JSON");
  into.generate_app = generate;

  CLI::App* const show = keys->add_subcommand("show", "Print recipients and their fingerprints");
  common(*show);
  show->add_option("key", into.show.keys,
                   "A recipient, a file of identities or recipients, or - to type an identity")
      ->type_name("KEY")
      ->required();
  show->add_flag("--json", into.show.json, "As JSON");
  into.show_app = show;
}

bool take_keys(const keys_words& from, command_line& into) {
  if (from.generate_app->parsed()) {
    keys_generate_command made = from.generate;
    made.file =
        absolute(made.file.empty() ? std::string(keys_generate_command::usual_file) : made.file);
    into.command = made;
    return true;
  }
  if (from.show_app->parsed()) {
    into.command = from.show;
    return true;
  }
  return false;
}

}  // namespace bts3::app
