#include "app/setup/init_outcome.hh"

#include "app/config/config.hh"
#include "app/doctor/doctor_command.hh"
#include "app/host/rights.hh"
#include "app/overview/plan_job.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"
#include "engine/told_command.hh"
#include "planner/json_text.hh"
#include "s3/credentials/host_credentials.hh"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;

constexpr const char* default_config_path = "/etc/btrfs_to_s3/config.toml";

std::vector<std::string> next_commands(const std::string& path, bool ready) {
  const std::string with =
      path == default_config_path ? "" : " --config " + engine::shell_word(path);
  if (!ready) {
    return {"btrfs_to_s3 doctor" + with};
  }
  std::vector<std::string> commands = {"btrfs_to_s3 backup" + with};
  if (path == default_config_path) {
    commands.emplace_back("systemctl enable --now btrfs_to_s3.timer");
  }
  return commands;
}

void print_document(const written_configuration& written, const doctor_report& report,
                    const result<exit_status>& status, const plan_job& planning,
                    const std::vector<std::string>& next) {
  nlohmann::ordered_json out;
  out["version"] = 1;
  out["config_path"] = written.path;
  out["credentials_path"] = written.with_credentials
                                ? nlohmann::ordered_json(s3::unit_credentials_file)
                                : nlohmann::ordered_json();
  out["doctor"] = nlohmann::ordered_json::parse(doctor_as_json(report));
  out["plan"] = status ? nlohmann::ordered_json::parse(plan_as_json(planning.planned()))
                       : nlohmann::ordered_json();
  out["next"] = next;
  print_json(planner::json_document(out));
}

void print_lines(const written_configuration& written, const result<exit_status>& status,
                 const plan_job& planning, const std::vector<std::string>& next, bool ready,
                 std::size_t columns) {
  const std::string problem =
      status ? std::string()
             : wrapped(for_user(status.error(), ::geteuid()).text() + ".", 0, columns);
  print_text(status ? plan_as_text(planning.planned(), system_time_zone(), columns) : problem);
  std::string text = ready ? "\nNext:\n" : "\nNext, when what failed is corrected:\n";
  for (const std::string& command : next) {
    text += "  " + command + "\n";
  }
  if (written.keys_hidden) {
    text += wrapped("The keys of this shell's environment count before those of " +
                        std::string(s3::unit_credentials_file) +
                        ": unset AWS_ACCESS_KEY_ID, AWS_PROFILE and "
                        "AWS_SHARED_CREDENTIALS_FILE.",
                    0, columns);
  }
  print_text(text);
}

}  // namespace

task<result<exit_status>> show_what_follows(const services& with, written_configuration written) {
  auto settings = load_config(written.path, with.environment);
  if (!settings) {
    co_return std::move(settings.error());
  }
  services here = {with.loop,           with.log, with.clock, *settings, with.host,
                   written.environment, with.stop};
  here.line = with.line;
  here.config_path = written.path;
  auto examining = examine(here, doctor_command());
  auto report = co_await std::move(examining);
  if (!report) {
    co_return std::move(report.error());
  }
  const std::size_t columns = terminal_columns(STDOUT_FILENO);
  if (!written.json) {
    print_text(written.path + " is written. What `btrfs_to_s3 doctor` says:\n\n" +
               doctor_as_text(*report, columns) + "\nAnd `btrfs_to_s3 plan`:\n\n");
  }
  plan_job planning(here, plan_command());
  auto looking = planning.look();
  auto status = co_await std::move(looking);
  if (!status && status.error().what_now == engine::disposition::cancelled) {
    co_return status;
  }
  const bool healthy = report->count(check_outcome::failed) == 0;
  const bool ready = healthy && status && *status == exit_status::done;
  const std::vector<std::string> next = next_commands(written.path, ready);
  if (written.json) {
    print_document(written, *report, status, planning, next);
  } else {
    print_lines(written, status, planning, next, ready, columns);
  }
  if (!status) {
    co_return written.json ? std::move(status) : result<exit_status>(status_of(status.error()));
  }
  co_return healthy ? *status : exit_status::failed;
}

}  // namespace bts3::app
