#include "app/cli/cli_options.hh"

#include "app/text/human_units.hh"

#include <array>
#include <chrono>
#include <filesystem>
#include <system_error>

namespace bts3::app {

std::string absolute_path(const std::string& path) {
  std::error_code code;
  const std::filesystem::path made = std::filesystem::absolute(path, code);
  return path.empty() || code ? path : made.string();
}

void add_place(CLI::App& app, bucket_place& into) {
  CLI::Option* from =
      app.add_option("--from", into.from, "Without a configuration file: s3://bucket/prefix")
          ->type_name("URL");
  app.add_option("--region", into.region, "With --from (default: AWS_REGION, the profile's)")
      ->type_name("NAME")
      ->needs(from);
  app.add_option("--endpoint-url", into.endpoint_url, "With --from (default: AWS_ENDPOINT_URL)")
      ->type_name("URL")
      ->needs(from);
  app.add_option("--profile", into.profile, "With --from: of ~/.aws (default: AWS_PROFILE)")
      ->type_name("NAME")
      ->needs(from);
}

void add_trusted_signers(CLI::App& app, bucket_place& into, const std::string& does) {
  app.add_option("--trusted-signers", into.trusted_signers,
                 does +
                     ", in the form of allowed_signers (default: "
                     "restore.trusted_signers_file)")
      ->type_name("FILE");
}

void add_nothing_to_do(CLI::App& app) {
  app.add_flag_callback("--dry-run", [] {}, "Change nothing, which this command never does");
}

namespace {

void add_choice_of_backup(CLI::App& app, backup_selection& into, bool or_all) {
  CLI::Option* subvolume =
      app.add_option("--subvolume", into.subvolume, "Name of the subvolume")->type_name("NAME");
  CLI::Option* all = or_all ? app.add_flag("--all", into.all,
                                           "Every subvolume that is configured or in the bucket")
                            : nullptr;
  CLI::Option* key =
      app.add_option("--manifest-key", into.manifest_key, "The backup with this manifest")
          ->type_name("KEY");
  CLI::Option* at = app.add_option("--at", into.at,
                                   "The newest backup not after it: 2026-01-02T03:04:05Z, "
                                   "20260102T030405Z, as list prints it, \"2026-01-02 03:04+01\", "
                                   "or without a zone local "
                                   "(the whole minute; 2026-01-02 is the day)")
                        ->type_name("TIME")
                        ->excludes(key);
  app.add_flag("--current", into.current, "The newest backup (the default)")
      ->excludes(key)
      ->excludes(at);
  if (all != nullptr) {
    all->excludes(subvolume)->excludes(key);
  }

  add_place(app, into);
  add_trusted_signers(app, into, "Refuse a chain with a link that nobody in this file signed");
}

}  // namespace

void add_one_backup(CLI::App& app, backup_selection& into) {
  add_choice_of_backup(app, into, false);
}

void add_selection(CLI::App& app, backup_selection& into) {
  add_choice_of_backup(app, into, true);
}

// For archived objects; by their former names too, which no help shows. A year at most, as
// thaw.timeout_seconds.
void add_waiting(CLI::App& app, thaw_options& into) {
  const auto add = [&](const std::string& wait, const std::string& no_wait,
                       const std::string& timeout) {
    CLI::Option* waits = app.add_flag_callback(
        wait, [&into] { into.wait_thaw = true; },
        "Wait until archived objects are thawed (default: thaw.wait)");
    CLI::Option* waits_not = app.add_flag_callback(
        no_wait, [&into] { into.wait_thaw = false; },
        "Request archived objects, and exit with status 5 unless all are thawed");
    waits_not->excludes(waits);
    CLI::Option* limit =
        app.add_option_function<std::string>(
               timeout,
               [&into, timeout](const std::string& text) {
                 const auto duration = parse_duration(text);
                 if (!duration || *duration > std::chrono::hours(365 * 24)) {
                   throw CLI::ValidationError(
                       timeout, "\"" + text + "\" is no time like 21600 or 6h, up to 365d");
                 }
                 into.thaw_timeout = std::chrono::ceil<std::chrono::seconds>(*duration);
               },
               "Wait, and so long, for archived objects; seconds, or like 6h (default: "
               "thaw.timeout_seconds)")
            ->type_name("TIME");
    return std::array<CLI::Option*, 3>{waits, waits_not, limit};
  };
  const auto now = add("--wait-thaw", "--no-wait-thaw", "--thaw-timeout");
  const auto former = add("--wait-restore", "--no-wait-restore", "--restore-timeout");
  for (CLI::Option* one : former) {
    one->group("");
  }
  former[0]->excludes(now[1]);
  former[1]->excludes(now[0]);
  former[2]->excludes(now[2]);
}

void add_tier(CLI::App& app, std::optional<s3::retrieval_tier>& into) {
  add_choice(app, "--tier", into, tier_words,
             "How fast, and how dear, archived objects are thawed: Standard, Bulk or Expedited "
             "(default: thaw.tier)")
      ->type_name("TIER");
}

void add_download_rate(CLI::App& app, std::optional<std::uint64_t>& into) {
  app.add_option_function<std::string>(
         "--download-rate",
         [&into](const std::string& text) {
           into = parse_bytes(text);
           if (!into || *into < 1 || *into > std::uint64_t{1} << 40) {
             throw CLI::ValidationError(
                 "--download-rate", "\"" + text + "\" is no rate like 50MB, up to 1TiB a second");
           }
         },
         "Bytes a second, or like 50MB: estimates the time, and for how long thawed copies are "
         "kept "
         "(default: restore.download_bytes_per_sec)")
      ->type_name("RATE");
}

void add_identities(CLI::App& app, std::vector<std::string>& into) {
  app.add_option("--identity", into,
                 "The file with an identity that opens sealed backups (repeatable); - asks for it "
                 "(default: restore.identity_file)")
      ->type_name("FILE")
      ->allow_extra_args(false);
}

}  // namespace bts3::app
