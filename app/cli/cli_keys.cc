#include "app/cli/cli_keys.hh"

#include "app/cli/cli_options.hh"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <system_error>

namespace bts3::app {

namespace {

// What commands over the keys of a bucket's backups have in common.
template <typename Command>
void add_of_bucket(CLI::App& app, Command& into) {
  app.add_option("--subvolume", into.subvolume, "Only this one; its name")->type_name("NAME");
  add_identities(app, into.identities);
  add_place(app, into);
}

}  // namespace

void add_keys(CLI::App& app, const std::function<void(CLI::App&)>& common, keys_words& into) {
  CLI::App* const keys =
      app.add_subcommand("keys", "Make identities, tell keys apart, try and exchange them");
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

  CLI::App* const check =
      keys->add_subcommand("check", "Tell which sealed backups an identity opens");
  common(*check);
  add_of_bucket(*check, into.check);
  add_nothing_to_do(*check);
  check->add_flag("--json", into.check.json, "As JSON");
  into.check_app = check;

  CLI::App* const rewrap = keys->add_subcommand(
      "rewrap", "Seal the keys of the backups that an identity opens for other recipients");
  common(*rewrap);
  add_of_bucket(*rewrap, into.rewrap);
  rewrap
      ->add_option("--recipient", into.rewrap.recipients,
                   "Whom they are for from then on (repeatable): age1..., or a file (default: "
                   "encryption.recipients)")
      ->type_name("KEY")
      ->allow_extra_args(false);
  rewrap->add_flag("--dry-run", into.rewrap.dry_run, "Tell what would be rewritten");
  rewrap->add_flag("--json", into.rewrap.json, "As JSON");
  into.rewrap_app = rewrap;
}

bool take_keys(const keys_words& from, command_line& into) {
  if (from.generate_app->parsed()) {
    keys_generate_command made = from.generate;
    made.file = absolute_path(made.file.empty() ? std::string(keys_generate_command::usual_file)
                                                : made.file);
    into.command = made;
    return true;
  }
  if (from.show_app->parsed()) {
    into.command = from.show;
    return true;
  }
  if (from.check_app->parsed()) {
    into.command = from.check;
    return true;
  }
  if (from.rewrap_app->parsed()) {
    into.command = from.rewrap;
    return true;
  }
  return false;
}

}  // namespace bts3::app
