#include "app/doctor/doctor_command.hh"

#include "app/config/selection.hh"
#include "app/doctor/doctor_host.hh"
#include "app/doctor/doctor_store.hh"
#include "app/store/commands.hh"
#include "app/survey/nested_subvolumes.hh"
#include "app/survey/retired.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"
#include "btrfs/host.hh"
#include "engine/told_command.hh"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;

// What does not answer by then is not there: a person waits for this.
constexpr std::chrono::milliseconds patience{15'000};

void append(std::vector<health_check> more, std::vector<health_check>& to) {
  std::move(more.begin(), more.end(), std::back_inserter(to));
}

task<void> check_host(const services& with, std::vector<health_check>& into) {
  const process_facts facts = look_at_process();
  into.push_back(judge_privileges(facts));
  auto detecting = with.host.detect(with.loop);
  auto host = co_await std::move(detecting);
  into.push_back(host ? judge_tools(*host, with.settings)
                      : failed_check("btrfs_progs", "", host.error(),
                                     "install btrfs-progs, or see what keeps it from running"));
  into.push_back(judge_memory(facts, with.settings));
  into.push_back(judge_locked_memory(facts, with.settings));
  append(check_local_files(with), into);
}

// Where there are none, or nobody can tell, nothing is said: most hosts never had any.
void check_retired_snapshots(const services& with, std::vector<health_check>& into) {
  const auto retired = retired_snapshots(with);
  if (!retired || retired->empty()) {
    return;
  }
  std::vector<std::string> paths;
  for (const btrfs::snapshot& one : *retired) {
    paths.push_back(one.path);
  }
  into.push_back(warned("retired_snapshots", "",
                        examples_of(paths, paths.size()) +
                            (paths.size() == 1 ? " holds" : " hold") +
                            " space for subvolumes that are not configured any more",
                        "`" + engine::told_command("prune --yes") + "` removes them"));
}

task<void> check_bucket(const services& with, std::vector<subvolume_config> chosen, bool writes,
                        std::vector<health_check>& into) {
  into.push_back(
      judge_endpoint(configured_endpoint(with), with.settings.s3.region, described_route(with)));
  auto connection = store_connection::open(with, persistence::of_a_question);
  if (!connection) {
    if (into.back().how != check_outcome::failed) {
      into.back() =
          failed_check("endpoint", "", connection.error(), "correct the table s3 of the file");
    }
    append(skipped_store_checks(chosen, true, "because the store cannot be connected to"), into);
    co_return;
  }
  store_doctor looking(with, **connection, std::move(chosen), writes);
  auto running = looking.run();
  auto found = co_await std::move(running);
  append(std::move(found), into);
  auto closing = (*connection)->close();
  co_await std::move(closing);
}

}  // namespace

task<result<doctor_report>> examine(const services& with, doctor_command command) {
  auto chosen = select_subvolumes(with.settings, command.subvolumes);
  if (!chosen) {
    co_return std::move(chosen.error());
  }
  config settings = with.settings;
  settings.s3.retry_for = std::min(settings.s3.retry_for, patience);
  services here = {with.loop, with.log,         with.clock, settings,
                   with.host, with.environment, with.stop};
  here.tuning = with.tuning;
  here.line = with.line;
  doctor_report report;
  auto host = check_host(here, report.checks);
  co_await std::move(host);
  append(check_subvolumes(here, *chosen), report.checks);
  check_retired_snapshots(here, report.checks);
  auto bucket = check_bucket(here, std::move(*chosen), command.write, report.checks);
  co_await std::move(bucket);
  if (with.stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  co_return report;
}

task<result<exit_status>> run_command(const services& with, doctor_command command) {
  const bool json = command.json;
  auto examining = examine(with, std::move(command));
  auto report = co_await std::move(examining);
  if (!report) {
    co_return std::move(report.error());
  }
  if (json) {
    print_json(doctor_as_json(*report));
  } else {
    print_text(doctor_as_text(*report, terminal_columns(STDOUT_FILENO)));
  }
  co_return report->count(check_outcome::failed) == 0 ? exit_status::done : exit_status::failed;
}

}  // namespace bts3::app
