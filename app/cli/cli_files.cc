#include "app/cli/cli_files.hh"

#include "app/cli/cli_options.hh"
#include "app/text/human_units.hh"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace bts3::app {

namespace {

void add_cache_and_identities(CLI::App& app, files_selection& into) {
  add_identities(app, into.identities);
  app.add_option("--cache-dir", into.cache_dir,
                 "Where indexes are kept on this host (default: ~/.cache/btrfs_to_s3)")
      ->type_name("DIR");
}

CLI::Option* add_path(CLI::App& app, std::string& into, const char* help) {
  return app.add_option("path", into, help)->type_name("PATH");
}

void add_null(CLI::App& app, shown_paths& into) {
  app.add_flag("-0,--null", into.null,
               "Names as they are, with a zero byte behind each, and nothing else");
}

// "+10M": more than that; "-10M": less; "10M": that. False for what is no number.
template <typename Number, typename Parse>
bool take_range(std::string_view text, Parse parse, std::optional<Number>& least,
                std::optional<Number>& most) {
  const char sign = text.empty() ? 0 : text.front();
  if (sign == '+' || sign == '-') {
    text.remove_prefix(1);
  }
  const std::optional<Number> value = parse(text);
  if (!value || (sign == '-' && *value == Number{})) {
    return false;
  }
  if (sign != '-') {
    least = sign == '+' ? *value + Number{1} : *value;
  }
  if (sign != '+') {
    most = sign == '-' ? *value - Number{1} : *value;
  }
  return true;
}

std::optional<std::chrono::seconds> seconds_of(std::string_view text) {
  // A number alone is of days, as find has it.
  const bool bare = text.find_first_not_of("0123456789") == std::string_view::npos;
  const auto time = parse_duration(bare ? std::string(text) + "d" : std::string(text));
  return time ? std::optional(std::chrono::floor<std::chrono::seconds>(*time)) : std::nullopt;
}

void add_find(CLI::App& app, find_command& into) {
  add_path(app, into.path, "Below which directory (default: everywhere)");
  add_files_selection(app, into);
  app.add_option("--name", into.name,
                 "Names like it, as a shell has it: \"*.jpg\"; with a / the whole path")
      ->type_name("GLOB");
  app.add_option_function<std::string>(
         "--size",
         [&into](const std::string& text) {
           if (!take_range<std::uint64_t>(text, parse_bytes, into.size_min, into.size_max)) {
             throw CLI::ValidationError("--size",
                                        "\"" + text + "\" is no size like +10MiB or -4096");
           }
         },
         "Files of more (+10MiB), less (-4096) or just so many bytes")
      ->type_name("SIZE");
  app.add_option_function<std::string>(
         "--mtime",
         [&into](const std::string& text) {
           if (!take_range<std::chrono::seconds>(text, seconds_of, into.age_min, into.age_max) ||
               (text.front() != '+' && text.front() != '-')) {
             throw CLI::ValidationError("--mtime",
                                        "\"" + text + "\" is no age like -7 (days), +90d or -12h");
           }
         },
         "Changed less (-7) or more (+90) days ago; also -12h")
      ->type_name("AGE");
  app.add_option("--newer", into.newer, "Changed after that, written as for --at")
      ->type_name("TIME");
  app.add_option("--older", into.older, "Changed before that")->type_name("TIME");
  app.add_option_function<std::string>(
         "--type", [&into](const std::string& text) { into.type = text.front(); },
         "f, d, l, p, s, c or b, as find has it")
      ->check(CLI::IsMember({"f", "d", "l", "p", "s", "c", "b"}).description(""))
      ->type_name("TYPE");
  app.add_flag("-l,--long", into.details, "With mode, links, owner, size and time");
  add_null(app, into);
  app.add_flag("--json", into.json, "As JSON, one line each");
}

void add_diff(CLI::App& app, diff_command& into) {
  add_path(app, into.path, "Only what is at or below it");
  app.add_option("--subvolume", into.subvolume, "Name of the subvolume")->type_name("NAME");
  CLI::Option* keys =
      app.add_option("--manifest-key", into.keys,
                     "The backup with this manifest (twice: from and to; once: from, to the "
                     "current one)")
          ->type_name("KEY")
          ->allow_extra_args(false);
  app.add_option("--at", into.times,
                 "The newest backup not after it, as for restore; once or twice")
      ->type_name("TIME")
      ->allow_extra_args(false)
      ->excludes(keys);
  add_place(app, into);
  add_trusted_signers(app, into, "Refuse a chain with a link that nobody in this file signed");
  add_cache_and_identities(app, into);
  add_null(app, into);
  app.add_flag("--json", into.json, "As JSON, one line each");
}

}  // namespace

void add_files_selection(CLI::App& app, files_selection& into) {
  add_one_backup(app, into);
  add_cache_and_identities(app, into);
}

void add_files(CLI::App& app, const std::function<void(CLI::App&)>& common, files_words& into) {
  CLI::App* const ls = app.add_subcommand("ls", "Show the files in a backup");
  common(*ls);
  add_path(*ls, into.ls.path, "A directory or file in the backup (default: all of it)");
  add_files_selection(*ls, into.ls);
  ls->add_flag("-l,--long", into.ls.details, "With mode, links, owner, size and time");
  ls->add_flag("-d,--directory", into.ls.directory, "A directory itself, not what is in it");
  add_null(*ls, into.ls);
  ls->add_flag("--json", into.ls.json, "As JSON");
  into.ls_app = ls;

  CLI::App* const find = app.add_subcommand("find", "Look for files in a backup");
  common(*find);
  add_find(*find, into.find);
  into.find_app = find;

  CLI::App* const history =
      app.add_subcommand("history", "Tell which backups of a chain changed a file");
  common(*history);
  add_path(*history, into.history.path, "A file or directory")->required();
  add_files_selection(*history, into.history);
  history->add_flag("--json", into.history.json, "As JSON");
  into.history_app = history;

  CLI::App* const diff = app.add_subcommand("diff", "Tell what differs between two backups");
  common(*diff);
  add_diff(*diff, into.diff);
  into.diff_app = diff;

  CLI::App* const index = app.add_subcommand("index", "Make indexes, by which files are found");
  index->require_subcommand(1);
  common(*index);
  CLI::App* const build = index->add_subcommand(
      "build", "Make the indexes that a backup lacks, from its chunks, for this host");
  common(*build);
  add_files_selection(*build, into.build);
  build->add_flag("--dry-run", into.build.dry_run, "Tell what would be read, and read nothing");
  build->add_flag("--json", into.build.json, "As JSON");
  into.build_app = build;
}

bool take_files(const files_words& from, command_line& into) {
  const auto take = [&into](const CLI::App* app, const auto& command) {
    if (app->parsed()) {
      auto made = command;
      made.cache_dir = absolute_path(made.cache_dir);
      into.command = std::move(made);
    }
    return app->parsed();
  };
  return take(from.ls_app, from.ls) || take(from.find_app, from.find) ||
         take(from.history_app, from.history) || take(from.diff_app, from.diff) ||
         take(from.build_app, from.build);
}

}  // namespace bts3::app
