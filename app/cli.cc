#include "app/cli.hh"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <sstream>

#ifndef BTS3_VERSION
#define BTS3_VERSION "unknown"
#endif

namespace bts3::app {

namespace {

constexpr const char* footer =
    "Exit status: 0 done; 1 failed; 2 usage or configuration; 3 another run holds the lock;\n"
    "4 verification found a difference; 5 archived objects are not ready; 6 some subvolumes done,\n"
    "others failed; 130 or 143 interrupted, after a clean stop.";

// Global options may stand before or after the command, so each app gets them.
void add_common(CLI::App& app, common_options& into) {
  app.add_option("--config", into.config_path, "Configuration file")
      ->default_str(into.config_path)
      ->type_name("FILE");
  app.add_option("--log-level", into.log_level, "debug, info, warning, error or critical")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "critical"}))
      ->type_name("LEVEL");
  app.add_option("--log-format", into.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->type_name("FORMAT");
}

}  // namespace

std::variant<command_line, early_exit> parse_command_line(int argc, const char* const* argv) {
  common_options common;
  backup_command backup;
  restore_command restore;
  CLI::App app("Backs up Btrfs subvolumes to S3, and restores them.", "btrfs_to_s3");
  app.set_version_flag("--version", std::string("btrfs_to_s3 " BTS3_VERSION));
  app.footer(footer);
  app.require_subcommand(1);
  add_common(app, common);

  CLI::App* backup_app = app.add_subcommand("backup", "Make a backup of each subvolume");
  add_common(*backup_app, common);
  backup_app->add_option("--subvolume", backup.subvolumes, "Only this one (repeatable); its name")
      ->type_name("NAME")
      ->allow_extra_args(false);
  backup_app->add_flag("--dry-run", backup.dry_run, "Print the plan and change nothing");
  backup_app->add_flag("--once", backup.once, "Also when no backup is due");
  backup_app->add_flag("--no-s3", backup.no_s3,
                       "Snapshot, send and hash, but upload nothing, and keep nothing");

  CLI::App* restore_app = app.add_subcommand("restore", "Restore one backup");
  add_common(*restore_app, common);
  restore_app->add_option("--subvolume", restore.subvolume, "Name of the subvolume")
      ->required()
      ->type_name("NAME");
  restore_app
      ->add_option("--target", restore.target,
                   "Where to restore to; must not exist (default: "
                   "restore.target_base_dir/NAME)")
      ->type_name("PATH");
  CLI::Option* key =
      restore_app
          ->add_option("--manifest-key", restore.manifest_key, "The backup with this manifest")
          ->type_name("KEY");
  bool current = false;
  restore_app->add_flag("--current", current, "The newest backup (the default)")->excludes(key);
  restore_app->add_flag("--keep-received", restore.keep_received,
                        "Keep a read-only snapshot for the next incremental");
  restore_app->add_flag("--discard", restore.discard,
                        "Remove what an interrupted restore to this target left, and start anew");
  restore_app->add_flag("--dry-run", restore.dry_run, "Print what would be done, change nothing");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    std::ostringstream out;
    std::ostringstream err;
    const int code = app.exit(problem, out, err);
    early_exit end;
    end.status = code == 0 ? 0 : 2;
    end.text = out.str() + err.str();
    end.to_stderr = code != 0;
    return end;
  }
  common.config_path = std::filesystem::absolute(common.config_path);
  command_line line;
  line.common = common;
  if (restore_app->parsed()) {
    line.command = restore;
  } else {
    line.command = backup;
  }
  return line;
}

}  // namespace bts3::app
