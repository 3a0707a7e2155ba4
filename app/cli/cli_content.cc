#include "app/cli/cli_content.hh"

#include "app/cli/cli_files.hh"
#include "app/cli/cli_options.hh"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <system_error>

namespace bts3::app {

namespace {

void add_extract(CLI::App& app, extract_command& into) {
  // "path", as completion knows paths of a backup by that name.
  app.add_option("path", into.paths, "Files and directories in the backup; . is all of it")
      ->type_name("PATH...")
      ->required();
  app.add_option("--target", into.target,
                 "The directory to put them in, below their paths; is made if it is missing")
      ->type_name("DIR")
      ->required();
  add_files_selection(app, into);
  app.add_flag("--overwrite", into.overwrite,
               "Replace what is there (default: write nothing then)");
  CLI::Option* const owner = app.add_flag_callback(
      "--owner", [&into] { into.owner = true; }, "Set owners and groups (default: as root)");
  app.add_flag_callback(
         "--no-owner", [&into] { into.owner = false; }, "Leave them to whoever runs this")
      ->excludes(owner);
  app.add_flag("--setuid", into.set_id,
               "Set setuid and setgid bits and file capabilities, where owners are set");
  app.add_flag("--skip-damaged", into.skip_damaged,
               "Leave out files that are not whole, name them, and exit with status 4");
  app.add_flag("--verify-parts", into.verify_parts,
               "Read whole parts, and compare them with the backup's SHA-256");
  add_waiting(app, into);
  add_tier(app, into.tier);
  add_download_rate(app, into.download_rate);
  app.add_flag("--dry-run", into.dry_run, "Tell what would be read and thawed, and what it takes");
  app.add_flag("--json", into.json, "The plan, or what was done, as JSON");
}

}  // namespace

void add_content(CLI::App& app, const std::function<void(CLI::App&)>& common, content_words& into) {
  CLI::App* const cat = app.add_subcommand("cat", "Write a file of a backup to standard output");
  common(*cat);
  cat->add_option("path", into.cat.path, "The file")->type_name("PATH")->required();
  add_files_selection(*cat, into.cat);
  into.cat_app = cat;

  CLI::App* const extract =
      app.add_subcommand("extract", "Get files and directories out of a backup");
  common(*extract);
  add_extract(*extract, into.extract);
  into.extract_app = extract;

  CLI::App* const mount =
      app.add_subcommand("mount", "Show a backup as a directory, until it is unmounted");
  common(*mount);
  // Not "path": it is one of this host.
  mount->add_option("directory", into.mount.directory, "An empty directory")
      ->type_name("DIR")
      ->required();
  add_files_selection(*mount, into.mount);
  mount->add_flag("--allow-other", into.mount.allow_other,
                  "For all users, as far as modes and owners in the backup allow");
  into.mount_app = mount;
}

bool take_content(const content_words& from, command_line& into) {
  if (from.cat_app->parsed()) {
    cat_command made = from.cat;
    made.cache_dir = absolute_path(made.cache_dir);
    into.command = std::move(made);
    return true;
  }
  if (from.extract_app->parsed()) {
    extract_command made = from.extract;
    made.cache_dir = absolute_path(made.cache_dir);
    made.target = absolute_path(made.target);
    into.command = std::move(made);
    return true;
  }
  if (from.mount_app->parsed()) {
    mount_command made = from.mount;
    made.cache_dir = absolute_path(made.cache_dir);
    made.directory = absolute_path(made.directory);
    into.command = std::move(made);
    return true;
  }
  return false;
}

}  // namespace bts3::app
