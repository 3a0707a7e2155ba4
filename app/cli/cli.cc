#include "app/cli/cli.hh"

#include "app/cli/cli_content.hh"
#include "app/cli/cli_files.hh"
#include "app/cli/cli_keys.hh"
#include "app/cli/cli_options.hh"
#include "app/cli/completion.hh"
#include "app/cli/unknown_words.hh"
#include "app/text/human_units.hh"
#include "engine/assert.hh"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
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
    "others failed; 129, 130 or 143 interrupted, after a clean stop.";

constexpr const char* status_footer =
    "Exit status, as monitoring plugins have it: 0 ok; 1 warning; 2 critical; 3 unknown, also for\n"
    "errors of usage and configuration.";

// Global options may stand before or after the command, so each app gets them.
void add_common(CLI::App& app, common_options& into) {
  app.add_option("--config", into.config_path, "Configuration file")
      ->default_str(into.config_path)
      ->type_name("FILE");
  add_choice(app, "--log-level", into.log_level, log_level_words,
             "debug, info, warning, error or critical")
      ->type_name("LEVEL");
  app.add_flag("-q,--quiet", into.quiet,
               "Nothing but warnings and errors; results only where the exit status is not 0");
  app.add_flag("-v,--verbose", into.verbose, "What is done in detail, too: --log-level debug");
  app.add_option("--log-format", into.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->type_name("FORMAT");
}

void add_backup(CLI::App& app, backup_command& into) {
  app.add_option("--subvolume", into.subvolumes, "Only this one (repeatable); its name")
      ->type_name("NAME")
      ->allow_extra_args(false);
  app.add_flag("--dry-run", into.dry_run, "Print the plan and change nothing");
  app.add_flag("--once", into.once, "Also when no backup is due");
  app.add_flag("--full", into.full, "In full, due or not: a new chain begins");
  app.add_flag("--no-s3", into.no_s3,
               "Snapshot, send and hash, but upload nothing, and keep nothing");
  app.add_flag("--adopt", into.adopt, "Take over a prefix that another host wrote to");
  app.add_flag("--json", into.json, "At the end, what was done, in figures, as JSON");
}

void add_plan(CLI::App& app, plan_command& into) {
  app.add_option("--subvolume", into.subvolumes, "Only this one (repeatable); its name")
      ->type_name("NAME")
      ->allow_extra_args(false);
  app.add_flag("--once", into.once, "As if every subvolume were due");
  app.add_flag("--full", into.full, "As if a full backup were asked for");
  app.add_flag("--adopt", into.adopt, "As if the prefix were taken over");
  add_nothing_to_do(app);
  app.add_flag("--json", into.json, "As JSON");
}

void add_restore(CLI::App& app, restore_command& into) {
  add_selection(app, into);
  CLI::Option* target = app.add_option("--target", into.target,
                                       "Where to restore to; must not exist (default: "
                                       "restore.target_base_dir/NAME)")
                            ->type_name("PATH")
                            ->excludes("--all");
  app.add_option("--target-base", into.target_base, "Instead of restore.target_base_dir")
      ->type_name("DIR")
      ->excludes(target);
  add_choice(app, "--verify", into.verify, verify_mode_words,
             "Compare with the backup's snapshot, where it is on this host: full, sample or "
             "none (default: restore.verify_mode)")
      ->type_name("MODE");
  app.add_flag("--verify-first", into.verify_first,
               "Download chunks that cannot be verified in parts twice, the first time to hash");
  add_identities(app, into.identities);
  app.add_flag("--keep-received", into.keep_received,
               "Keep a read-only snapshot for the next incremental");
  app.add_flag("--discard", into.discard,
               "Remove what an interrupted restore to this target left, and start anew");
  app.add_flag("--no-space-check", into.no_space_check,
               "Begin although the target's free space is less than the streams need");
  add_waiting(app, into);
  add_tier(app, into.tier);
  add_download_rate(app, into.download_rate);
  app.add_flag("--dry-run", into.dry_run, "Print what would be done, change nothing");
  app.add_flag("--json", into.json, "The plan, or what was done, as JSON; one line a subvolume");
}

void add_status(CLI::App& app, status_command& into) {
  app.add_option("--subvolume", into.subvolumes, "Only this one (repeatable); its name")
      ->type_name("NAME")
      ->allow_extra_args(false);
  app.add_option_function<std::string>(
         "--max-age",
         [&into](const std::string& text) {
           const auto age = parse_duration(text);
           if (!age || *age < std::chrono::seconds(1)) {
             throw CLI::ValidationError("--max-age",
                                        "\"" + text + "\" is no time like 8d or 36h, up to 36500d");
           }
           into.max_age = std::chrono::ceil<std::chrono::seconds>(*age);
         },
         "A last backup older than this is critical (default: schedule.incremental_every_days "
         "and a day, or three times schedule.incremental_every)")
      ->type_name("TIME");
  add_place(app, into);
  add_nothing_to_do(app);
  app.add_flag("--json", into.json, "As JSON");
  app.footer(status_footer);
}

void add_prune(CLI::App& app, prune_command& into) {
  app.add_option("--subvolume", into.subvolumes, "Only this one (repeatable); its name")
      ->type_name("NAME")
      ->allow_extra_args(false);
  app.add_flag("--yes", into.yes, "Delete; without it nothing is changed");
  add_place(app, into);
  app.add_flag("--dry-run", into.dry_run, "Change nothing, which is the default");
  app.add_flag("--json", into.json, "As JSON");
}

void add_verify(CLI::App& app, verify_command& into) {
  CLI::Option* subvolume =
      app.add_option("--subvolume", into.subvolumes, "Only this one (repeatable); its name")
          ->type_name("NAME")
          ->allow_extra_args(false);
  CLI::Option* key =
      app.add_option("--manifest-key", into.manifest_key,
                     "Only the backup with this manifest, and its chain (needs --subvolume)")
          ->type_name("KEY")
          ->needs(subvolume);
  CLI::Option* quick = app.add_flag_callback(
      "--quick", [&into] { into.depth = verify_depth::quick; },
      "Objects, sizes, classes and the store's checksums, without reading them (the default)");
  CLI::Option* deep = app.add_flag_callback(
                             "--deep", [&into] { into.depth = verify_depth::deep; },
                             "Download everything, hash it and understand the streams")
                          ->excludes(quick);
  app.add_option_function<std::uint64_t>(
         "--sample",
         [&into](const std::uint64_t& parts) {
           into.depth = verify_depth::sample;
           into.sample_parts = parts;
         },
         "Download and hash so many parts, others at each run")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000).description(""))
      ->excludes(quick)
      ->excludes(deep)
      ->excludes(key);
  app.add_flag(
      "--prove", into.prove,
      "Also whether `btrfs receive` would take each backup, by its index (as --deep does)");
  app.add_option("--cache-dir", into.cache_dir,
                 "With --prove or --deep: where indexes are kept on this host (default: "
                 "~/.cache/btrfs_to_s3)")
      ->type_name("DIR");
  app.add_flag("--forget-missing", into.forget_missing,
               "Miss no longer what was there, is gone, and was not pruned here")
      ->excludes(key);
  app.add_option("--identity", into.identities,
                 "With --prove or --deep: the file with an identity that opens sealed backups, "
                 "whose indexes or streams are then understood, too (repeatable); - asks for it")
      ->type_name("FILE")
      ->allow_extra_args(false);
  app.parse_complete_callback([&into] {
    const bool understands = into.prove || into.depth == verify_depth::deep;
    if (!understands && !into.identities.empty()) {
      throw CLI::RequiresError("--identity", "--prove or --deep");
    }
    if (!understands && !into.cache_dir.empty()) {
      throw CLI::RequiresError("--cache-dir", "--prove or --deep");
    }
  });
  add_place(app, into);
  add_trusted_signers(app, into, "Fail where nobody in this file signed a backup");
  app.add_flag("--json", into.json, "As JSON");
}

void add_doctor(CLI::App& app, doctor_command& into) {
  app.add_option("--subvolume", into.subvolumes, "Only this one (repeatable); its name")
      ->type_name("NAME")
      ->allow_extra_args(false);
  app.add_flag_callback(
      "--no-write", [&into] { into.write = false; },
      "Without beginning, and aborting, an upload of one small part");
  app.add_flag_callback(
      "--dry-run", [&into] { into.write = false; }, "Change nothing: the same as --no-write");
  app.add_flag("--json", into.json, "As JSON");
}

void add_init(CLI::App& app, init_command& into) {
  app.add_option("--subvolume", into.subvolumes,
                 "What to back up (repeatable); its path, or NAME=PATH")
      ->type_name("PATH")
      ->allow_extra_args(false);
  app.add_option("--snapshots", into.snapshots, "snapshots.base_dir")->type_name("DIR");
  app.add_option("--endpoint-url", into.endpoint_url, "s3.endpoint_url; \"\" is AWS")
      ->type_name("URL");
  app.add_option("--region", into.region, "s3.region")->type_name("NAME");
  app.add_option("--bucket", into.bucket, "s3.bucket")->type_name("NAME");
  app.add_option("--prefix", into.prefix, "s3.prefix (default: hosts/ and this host's name)")
      ->type_name("PREFIX");
  app.add_option("--storage-class", into.storage_class,
                 "s3.storage_class_chunks (default: DEEP_ARCHIVE on AWS, else STANDARD)")
      ->type_name("CLASS");
  app.add_option("--full-every-days", into.full_every_days, "schedule.full_every_days")
      ->type_name("N");
  app.add_option("--incremental-every-days", into.incremental_every_days,
                 "schedule.incremental_every_days")
      ->type_name("N");
  app.add_option("--output", into.output, "The file to write (default: --config's)")
      ->type_name("FILE");
  app.add_flag("--write-credentials", into.write_credentials,
               "Write the keys that were found to /etc/btrfs_to_s3/aws_credentials, for the units");
  app.add_flag("--yes", into.yes, "Ask nothing; what was not said is the default");
  app.add_flag("--force", into.force, "Replace a file that is there");
  app.add_flag("--json", into.json, "What was written, doctor's report and the plan, as JSON");
}

early_exit misused(const std::string& problem) {
  early_exit end;
  end.status = 2;
  end.text = problem + "\nRun with --help for more information.\n";
  end.to_stderr = true;
  return end;
}

// What the options' own rules cannot say; the command as its word.
std::optional<std::string> misuse(const std::string& command, const backup_selection& wanted) {
  return !wanted.all && wanted.subvolume.empty()
             ? std::optional(command + " needs --subvolume NAME, or --all")
             : std::nullopt;
}

std::optional<std::string> misuse(const restore_command& restore) {
  if (!restore.from.empty() && restore.target.empty() && restore.target_base.empty()) {
    return "restore --from needs --target, or --target-base";
  }
  return misuse("restore", restore);
}

std::optional<std::string> misuse(const prune_command& prune) {
  if (prune.dry_run && prune.yes) {
    return "prune takes --dry-run or --yes, not both: --yes deletes";
  }
  return !prune.from.empty() && prune.yes
             ? std::optional<std::string>(
                   "prune --from shows what would be deleted, and deletes nothing: --yes needs the "
                   "configuration of the host whose backups they are")
             : std::nullopt;
}

std::optional<std::string> misuse(const backup_command& backup) {
  return backup.dry_run && backup.no_s3
             ? std::optional<std::string>(
                   "backup takes --dry-run or --no-s3, not both: with --no-s3 it makes a snapshot "
                   "and sends it, which a dry run does not")
             : std::nullopt;
}

command_line completion(CLI::App& app, std::vector<std::string> words) {
  command_line line = completion_of(app, std::move(words));
  line.common.config_path = absolute_path(line.common.config_path);
  return line;
}

void add_list(CLI::App& app, list_command& into) {
  app.add_option("--subvolume", into.subvolume, "Only this one; its name")->type_name("NAME");
  add_place(app, into);
  add_trusted_signers(app, into, "Say which backups somebody in this file signed");
  add_nothing_to_do(app);
  app.add_flag("--json", into.json, "As JSON");
}

void add_thaw(CLI::App& app, thaw_command& into) {
  add_selection(app, into);
  add_tier(app, into.tier);
  add_download_rate(app, into.download_rate);
  app.add_flag("--dry-run", into.dry_run, "Tell what would be requested, request nothing");
  app.add_flag("--json", into.json, "As JSON, one line a subvolume");
}

// What each command is given.
struct all_words {
  common_options common;
  backup_command backup;
  plan_command plan;
  restore_command restore;
  thaw_command thaw;
  list_command list;
  status_command status;
  prune_command prune;
  verify_command verify;
  doctor_command doctor;
  init_command init;
  keys_words keys;
  content_words content;
  files_words files;
};

void add_commands(CLI::App& app, all_words& into) {
  const auto add = [&app, &into](const char* name, const char* does) -> CLI::App& {
    CLI::App& made = *app.add_subcommand(name, does);
    add_common(made, into.common);
    return made;
  };
  add_backup(add("backup", "Make a backup of each subvolume"), into.backup);
  add_plan(add("plan", "Show what a backup would do now, and why"), into.plan);
  add_list(add("list", "Show the backups in the bucket"), into.list);
  add_status(add("status", "Tell monitoring whether the backups are as they should be"),
             into.status);
  add_restore(add("restore", "Restore one backup, or all"), into.restore);
  add_thaw(
      add("thaw", "Request the archived objects of a backup, and tell whether they can be read"),
      into.thaw);
  add_prune(add("prune",
                "Show which old generations of backups would be deleted; delete them with --yes"),
            into.prune);
  add_verify(
      add("verify", "Check that the bucket has what the manifests say, and say what it lacks"),
      into.verify);
  add_doctor(
      add("doctor", "Check whether this host is ready to back up and restore, and say what is not"),
      into.doctor);
  add_init(add("init", "Ask for a first configuration, check the answers, and write it"),
           into.init);

  const auto common = [&into](CLI::App& one) { add_common(one, into.common); };
  add_keys(app, common, into.keys);
  add_content(app, common, into.content);
  add_files(app, common, into.files);
}

// Of `status`, monitoring has to make something.
int status_of_misuse(const CLI::App& app) {
  return app.got_subcommand("status") ? 3 : 2;
}

// Why the words could not be taken, or what was asked for in place of a command.
early_exit not_taken(const CLI::App& app, const CLI::ParseError& problem) {
  const auto unknown = unknown_command(app);
  if (unknown && problem.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError)) {
    return misused(*unknown);
  }
  const auto option = unknown_option(app);
  if (option && problem.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError)) {
    early_exit end = misused(*option);
    end.status = status_of_misuse(app);
    return end;
  }
  std::ostringstream out;
  std::ostringstream err;
  const int code = app.exit(problem, out, err);
  early_exit end;
  end.status = code == 0 ? 0 : status_of_misuse(app);
  end.text = out.str() + err.str();
  end.to_stderr = code != 0;
  return end;
}

// What contradicts itself in words that were taken.
std::optional<std::string> misuse(const CLI::App& app, const all_words& taken) {
  const CLI::App* const given = given_command(app).app;
  const CLI::Option* const place = given->get_option_no_throw("--from");
  if (place != nullptr && place->count() > 0 &&
      app.count("--config") + given->count("--config") > 0) {
    return given->get_name() + " takes --config or --from, not both";
  }
  return app.got_subcommand("restore")  ? misuse(taken.restore)
         : app.got_subcommand("thaw")   ? misuse("thaw", taken.thaw)
         : app.got_subcommand("prune")  ? misuse(taken.prune)
         : app.got_subcommand("backup") ? misuse(taken.backup)
                                        : std::nullopt;
}

plan_command dry_run_of(const backup_command& backup) {
  plan_command plan;
  plan.subvolumes = backup.subvolumes;
  plan.once = backup.once;
  plan.full = backup.full;
  plan.adopt = backup.adopt;
  plan.json = backup.json;
  return plan;
}

command_line line_of(const CLI::App& app, const all_words& given) {
  const auto is = [&app](const char* name) { return app.got_subcommand(name); };
  command_line line;
  line.common = given.common;
  line.common.config_path = absolute_path(given.common.config_path);
  if (is("restore")) {
    line.command = given.restore;
  } else if (is("thaw")) {
    line.command = given.thaw;
  } else if (is("list")) {
    line.command = given.list;
  } else if (is("status")) {
    line.command = given.status;
  } else if (is("verify")) {
    verify_command verify = given.verify;
    verify.cache_dir = absolute_path(verify.cache_dir);
    line.command = verify;
  } else if (is("prune")) {
    line.command = given.prune;
  } else if (is("plan")) {
    line.command = given.plan;
  } else if (is("doctor")) {
    line.command = given.doctor;
  } else if (is("init")) {
    init_command init = given.init;
    init.output = absolute_path(init.output);
    line.command = init;
  } else if (is("backup") && given.backup.dry_run) {
    line.command = dry_run_of(given.backup);
  } else if (is("backup")) {
    line.command = given.backup;
  } else {
    const bool taken = take_keys(given.keys, line) || take_files(given.files, line) ||
                       take_content(given.content, line);
    BTS3_ASSERT(taken);
  }
  return line;
}

}  // namespace

std::variant<command_line, early_exit> parse_command_line(int argc, const char* const* argv) {
  all_words words;
  CLI::App app("Backs up Btrfs subvolumes to S3, and restores them.", "btrfs_to_s3");
  app.set_version_flag("--version", std::string("btrfs_to_s3 " BTS3_VERSION));
  app.footer(footer);
  app.require_subcommand(1);
  add_common(app, words.common);
  add_commands(app, words);
  if (argc > 2 && argv[1] == std::string_view("complete") && argv[2] == std::string_view("--")) {
    return completion(app, {argv + 3, argv + argc});
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return not_taken(app, problem);
  }
  if (const auto wrong = misuse(app, words)) {
    early_exit end = misused(*wrong);
    end.status = status_of_misuse(app);
    return end;
  }
  return line_of(app, words);
}

}  // namespace bts3::app
