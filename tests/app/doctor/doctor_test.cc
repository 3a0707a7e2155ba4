// What doctor reports, and what it says of the host: judgements over facts, and local files in a
// directory of their own.
#include "app/doctor/doctor_command.hh"

#include "app/doctor/doctor_host.hh"
#include "app/records/run_lock.hh"
#include "tests/app/doctor/doctor_scene.hh"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <linux/capability.h>
#include <sys/stat.h>

#include <filesystem>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::content_of;
using bts3::testing::denied;
using bts3::testing::has;
using bts3::testing::the;
using bts3::testing::write_file;
using scene = bts3::testing::doctor_scene;

namespace {

constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint64_t sys_admin = std::uint64_t{1} << CAP_SYS_ADMIN;
constexpr std::uint64_t ipc_lock = std::uint64_t{1} << CAP_IPC_LOCK;

}  // namespace

BOOST_AUTO_TEST_SUITE(doctor_suite)

BOOST_AUTO_TEST_CASE(a_report_is_a_line_for_each_check_with_the_remedy_below) {
  doctor_report report;
  report.checks.push_back(ok_check("privileges", "", "root"));
  report.checks.push_back(warned("nested_subvolumes", "data", "leaves out x", "do this"));
  report.checks.push_back(failed_check("bucket", "", "no answer\x1b[31m", "look\nthere"));
  report.checks.push_back(skipped("write", "", "because"));
  BOOST_TEST(doctor_as_text(report, 0) ==
             "ok       privileges: root\n"
             "warning  nested subvolumes data: leaves out x\n"
             "           remedy: do this\n"
             "failed   bucket: no answer\\x1b[31m\n"
             "           remedy: look\\x0athere\n"
             "skipped  write: because\n"
             "1 check failed, 1 warning, 1 ok, 1 skipped\n");
  BOOST_TEST(doctor_as_text(report, 30).substr(0, 98) ==
             "ok       privileges: root\n"
             "warning  nested subvolumes\n"
             "         data: leaves out x\n"
             "           remedy");
  report.checks.resize(1);
  report.checks.push_back(noted("lock", "", "held"));
  BOOST_TEST(doctor_summary(report) == "1 ok, 1 note");
  report.checks.push_back(report.checks.front());
  report.checks.push_back(failed_check("a", "", "b", "c"));
  report.checks.push_back(failed_check("a", "", "b", "c"));
  BOOST_TEST(doctor_summary(report) == "2 checks failed, 2 ok, 1 note");
}

BOOST_AUTO_TEST_CASE(the_json_has_the_same_checks) {
  doctor_report report;
  report.checks.push_back(ok_check("privileges", "", "root"));
  report.checks.push_back(failed_check("subvolume", "d\xff", "is \"none\"", "make it"));
  bts3::testing::check_golden("doctor.json", doctor_as_json(report));
  const auto json = nlohmann::json::parse(doctor_as_json(report));
  BOOST_TEST(json["version"] == 1);
  BOOST_TEST(json["summary"] == "1 check failed, 1 ok");
  BOOST_REQUIRE(json["checks"].size() == 2U);
  BOOST_TEST(json["checks"][0]["check"] == "privileges");
  BOOST_TEST(json["checks"][0]["subject"].is_null());
  BOOST_TEST(json["checks"][0]["remedy"].is_null());
  BOOST_TEST(json["checks"][1]["outcome"] == "failed");
  BOOST_TEST(json["checks"][1]["found"] == "is \"none\"");
  BOOST_TEST(json["checks"][1]["remedy"] == "make it");
}

BOOST_AUTO_TEST_CASE(an_errors_own_remedy_comes_first) {
  engine::error failure = denied();
  BOOST_TEST(failed_check("a", "", failure, "else").remedy == "else");
  failure.remedy = "own";
  BOOST_TEST(failed_check("a", "", failure, "else").remedy == "own");
}

BOOST_AUTO_TEST_CASE(the_capability_counts_not_the_name) {
  process_facts facts;
  facts.user = 1000;
  BOOST_TEST(judge_privileges(facts).how == check_outcome::failed);
  BOOST_TEST(has(judge_privileges(facts).found, "user 1000"));
  BOOST_TEST(has(judge_privileges(facts).remedy, "sudo"));
  facts.capabilities = sys_admin;
  BOOST_TEST(judge_privileges(facts).how == check_outcome::ok);
  facts.user = 0;
  facts.capabilities = ~sys_admin;
  BOOST_TEST(judge_privileges(facts).how == check_outcome::failed);
  BOOST_TEST(has(judge_privileges(facts).remedy, "container"));
}

BOOST_AUTO_TEST_CASE(memory_is_judged_by_what_a_backup_takes) {
  config settings;
  settings.s3.part_size_bytes = 128 * mib;
  settings.s3.concurrency = 4;
  process_facts facts;
  BOOST_TEST(judge_memory(facts, settings).how == check_outcome::note);
  facts.memory_available_bytes = 704 * mib;  // five parts and 64 MiB
  BOOST_TEST(judge_memory(facts, settings).how == check_outcome::ok);
  facts.memory_available_bytes = 704 * mib - 1;
  BOOST_TEST(judge_memory(facts, settings).how == check_outcome::warning);
  settings.s3.spool_enabled = true;
  BOOST_TEST(judge_memory(facts, settings).how == check_outcome::ok);
  facts.memory_available_bytes = 160 * mib - 1;
  BOOST_TEST(judge_memory(facts, settings).how == check_outcome::warning);
  settings.s3.spool_enabled = false;
  settings.global.memory_limit_bytes = 320 * mib;  // two parts
  facts.memory_available_bytes = 320 * mib;
  BOOST_TEST(judge_memory(facts, settings).how == check_outcome::ok);
}

BOOST_AUTO_TEST_CASE(locked_memory_must_hold_the_buffers) {
  config settings;
  settings.s3.part_size_bytes = 128 * mib;
  settings.s3.concurrency = 4;
  process_facts facts;
  BOOST_TEST(judge_locked_memory(facts, settings).how == check_outcome::ok);
  facts.locked_bytes_max = 640 * mib;
  BOOST_TEST(judge_locked_memory(facts, settings).how == check_outcome::ok);
  facts.locked_bytes_max = 8 * mib;
  BOOST_TEST(judge_locked_memory(facts, settings).how == check_outcome::warning);
  BOOST_TEST(has(judge_locked_memory(facts, settings).found, "8.0 MiB"));
  facts.capabilities = ipc_lock;
  BOOST_TEST(judge_locked_memory(facts, settings).how == check_outcome::ok);
}

BOOST_AUTO_TEST_CASE(the_kernels_own_words_are_read) {
  BOOST_TEST(available_memory("MemTotal: 10 kB\nMemAvailable:      20 kB\n").value() == 20480U);
  BOOST_TEST(!available_memory("MemTotal: 10 kB\n").has_value());
  BOOST_TEST(!available_memory("MemAvailable: much\n").has_value());
  const process_facts here = look_at_process();
  BOOST_TEST(here.memory_available_bytes.value_or(0) > mib);
}

BOOST_AUTO_TEST_CASE(a_protocol_that_is_asked_for_must_be_there) {
  btrfs::capabilities host;
  host.kernel = {6, 18};
  host.tools = {6, 2};
  config settings;
  BOOST_TEST(judge_tools(host, settings).how == check_outcome::ok);
  BOOST_TEST(has(judge_tools(host, settings).found, "btrfs-progs 6.2 and kernel 6.18"));
  settings.btrfs.send_protocol = 1;
  BOOST_TEST(judge_tools(host, settings).how == check_outcome::ok);
  host.kernel = {5, 15};
  settings.btrfs.send_protocol.reset();
  BOOST_TEST(judge_tools(host, settings).how == check_outcome::note);
  settings.btrfs.send_protocol = 2;
  BOOST_TEST(judge_tools(host, settings).how == check_outcome::failed);
  host.kernel = {6, 1};
  host.kernel_sends = 1;  // no /sys
  BOOST_TEST(judge_tools(host, settings).how == check_outcome::failed);
}

BOOST_AUTO_TEST_CASE(a_filesystem_with_little_room_is_a_warning) {
  disk_space space;
  space.total_bytes = 1000 * mib;
  space.free_bytes = 50 * mib;
  BOOST_TEST(judge_free_space("/s", space).how == check_outcome::ok);
  space.free_bytes = 50 * mib - 1;
  BOOST_TEST(judge_free_space("/s", space).how == check_outcome::warning);
}

BOOST_AUTO_TEST_CASE(a_spool_without_room_for_a_part_fails) {
  config settings;
  settings.global.spool_dir = "/spool";
  settings.s3.part_size_bytes = 128 * mib;
  settings.global.spool_size_bytes = 1000 * mib;
  disk_space space;
  space.free_bytes = 128 * mib - 1;
  BOOST_TEST(judge_spool_space(settings, space).how == check_outcome::failed);
  space.free_bytes = 128 * mib;
  BOOST_TEST(judge_spool_space(settings, space).how == check_outcome::warning);
  space.free_bytes = 1000 * mib;
  BOOST_TEST(judge_spool_space(settings, space).how == check_outcome::ok);
}

BOOST_AUTO_TEST_CASE(files_that_a_backup_would_make_are_not_made) {
  scene s;
  s.settings.global.state_path = s.directory / "new/deep/state.json";
  s.settings.global.lock_path = s.directory / "other/lock";
  const auto made = check_local_files(s.with);
  BOOST_TEST(the(made, "state").how == check_outcome::ok);
  BOOST_TEST(the(made, "lock").how == check_outcome::ok);
  BOOST_TEST(the(made, "journals").how == check_outcome::ok);
  BOOST_TEST(the(made, "restore_base").how == check_outcome::note);
  BOOST_TEST(made.size() == 4U);  // what is not configured is not looked at
  BOOST_TEST(!std::filesystem::exists(s.directory / "new"));
  BOOST_TEST(!std::filesystem::exists(s.directory / "other"));
}

BOOST_AUTO_TEST_CASE(places_that_cannot_be_written_to_are_named) {
  scene s;
  write_file(s.directory / "file", "");
  s.settings.global.state_path = s.directory / "file/state.json";
  s.settings.global.lock_path = s.directory / "file/deep/lock";
  s.settings.s3.spool_enabled = true;
  s.settings.global.spool_dir = s.directory / "not-mounted/spool";
  s.settings.metrics.textfile = s.directory / "no-metrics/backup.prom";
  const auto made = check_local_files(s.with);
  BOOST_TEST(the(made, "state").how == check_outcome::failed);
  BOOST_TEST(has(the(made, "state").found, "global.state_path " + s.settings.global.state_path));
  BOOST_TEST(has(the(made, "state").found, "Not a directory"));
  BOOST_TEST(the(made, "lock").how == check_outcome::failed);
  BOOST_TEST(has(the(made, "lock").found, "global.lock_path"));
  BOOST_TEST(the(made, "spool").how == check_outcome::failed);
  BOOST_TEST(has(the(made, "spool").found, s.directory / "not-mounted"));
  s.settings.global.spool_dir = s.directory / "made-by-the-first-run";
  BOOST_TEST(the(check_local_files(s.with), "spool").how != check_outcome::failed);
  BOOST_TEST(the(made, "metrics").how == check_outcome::warning);
  BOOST_TEST(has(the(made, "metrics").found, "no-metrics"));
}

BOOST_AUTO_TEST_CASE(damaged_files_are_named_and_left_alone) {
  scene s;
  write_file(s.settings.global.state_path, "{\"subvolumes\": [");
  s.settings.restore.price_table = s.directory / "prices.toml";
  write_file(s.settings.restore.price_table, "currency = 3");
  const auto made = check_local_files(s.with);
  BOOST_TEST(the(made, "state").how == check_outcome::warning);
  BOOST_TEST(content_of(s.settings.global.state_path) == "{\"subvolumes\": [");
  BOOST_TEST(the(made, "price_table").how == check_outcome::failed);
  BOOST_TEST(has(the(made, "price_table").found, "prices.toml"));
}

BOOST_AUTO_TEST_CASE(a_run_that_is_under_way_is_a_note) {
  scene s;
  {
    const auto lock = run_lock::acquire(s.settings.global.lock_path);
    BOOST_REQUIRE(lock.has_value());
    const health_check held = the(check_local_files(s.with), "lock");
    BOOST_TEST(held.how == check_outcome::note);
    BOOST_TEST(has(held.found, "PID " + std::to_string(::getpid())));
  }
  BOOST_TEST(the(check_local_files(s.with), "lock").how == check_outcome::ok);
}

BOOST_AUTO_TEST_CASE(hooks_must_be_programs) {
  scene s;
  s.settings.hooks.before = {"sh", "-c", "exit 1"};
  s.settings.hooks.after = {"/bin/sh"};
  s.settings.hooks.on_failure = {s.directory / "hook"};
  BOOST_TEST(the(check_local_files(s.with), "hook", "before").how == check_outcome::ok);
  BOOST_TEST(the(check_local_files(s.with), "hook", "after").how == check_outcome::ok);
  const health_check missing = the(check_local_files(s.with), "hook", "on_failure");
  BOOST_TEST(missing.how == check_outcome::failed);
  BOOST_TEST(has(missing.found, "hooks.on_failure: " + s.settings.hooks.on_failure.front()));
  write_file(s.settings.hooks.on_failure.front(), "#!/bin/sh\n");
  BOOST_TEST(the(check_local_files(s.with), "hook", "on_failure").how == check_outcome::failed);
  BOOST_REQUIRE(::chmod(s.settings.hooks.on_failure.front().c_str(), 0755) == 0);
  BOOST_TEST(the(check_local_files(s.with), "hook", "on_failure").how == check_outcome::ok);
  s.settings.hooks.before = {"no-such-program-anywhere"};
  BOOST_TEST(the(check_local_files(s.with), "hook", "before").how == check_outcome::failed);
}

BOOST_AUTO_TEST_CASE(what_is_not_on_btrfs_is_named_and_the_rest_is_looked_at) {
  scene s;
  s.settings.snapshots.base_dir = "/proc/no-snapshots";
  const std::vector<subvolume_config> chosen = {{"gone", "/proc/no-subvolume"}, {"proc", "/proc"}};
  const auto missing = check_subvolumes(s.with, chosen);
  BOOST_TEST(the(missing, "snapshots").how == check_outcome::failed);
  BOOST_TEST(has(the(missing, "snapshots").found, "snapshots.base_dir: /proc/no-snapshots"));
  BOOST_TEST(has(the(missing, "snapshots").remedy, "mkdir -p /proc/no-snapshots"));
  BOOST_TEST(the(missing, "free_space").how == check_outcome::skipped);
  BOOST_TEST(the(missing, "subvolume", "gone").how == check_outcome::failed);
  BOOST_TEST(has(the(missing, "subvolume", "gone").found, "/proc/no-subvolume"));
  BOOST_TEST(has(the(missing, "subvolume", "proc").found, "not on a Btrfs filesystem"));
  BOOST_TEST(the(missing, "nested_subvolumes", "proc").how == check_outcome::skipped);
  s.settings.snapshots.base_dir = "/proc";
  const auto elsewhere = check_subvolumes(s.with, chosen);
  BOOST_TEST(has(the(elsewhere, "snapshots").found, "/proc is not on a Btrfs filesystem"));
}

BOOST_AUTO_TEST_CASE(all_checks_are_made_whatever_one_finds) {
  scene s;
  write_file(s.directory / "file", "");
  s.settings.global.state_path = s.directory / "file/state.json";
  doctor_command command;
  const auto report = s.loop->run(examine(s.with, command));
  BOOST_REQUIRE(report.has_value());
  BOOST_TEST(the(report->checks, "state").how == check_outcome::failed);
  BOOST_TEST(the(report->checks, "subvolume", "data").how == check_outcome::failed);
  BOOST_TEST(the(report->checks, "write").how == check_outcome::ok);
  BOOST_TEST(the(report->checks, "backups", "data").how == check_outcome::note);
  command.subvolumes = {"other"};
  const auto unknown = s.loop->run(examine(s.with, command));
  BOOST_REQUIRE(!unknown.has_value());
  BOOST_TEST((unknown.error().why == engine::reason::configuration));
}

BOOST_AUTO_TEST_SUITE_END()
