// Hooks as real children.
#include "app/backup/hooks.hh"

#include "app/config/config.hh"
#include "engine/async_scope.hh"
#include "tests/app/support.hh"
#include "tests/engine/support.hh"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <filesystem>
#include <map>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::content_of;
using bts3::testing::error_text;
using bts3::testing::scratch_directory;
using engine::stop_source;
using std::chrono::milliseconds;

namespace {

// The fields of the last event.
class field_log final : public engine::log_sink {
 public:
  using engine::log_sink::write;
  void write(engine::log_level, std::string_view, std::string_view event,
             std::span<const engine::log_field> given) override {
    events.emplace_back(event);
    fields.clear();
    for (const engine::log_field& field : given) {
      fields[std::string(field.key)] = field.value;
    }
  }
  std::vector<std::string> events;
  std::map<std::string, std::string> fields;
};

struct scene {
  scene() : loop(engine::testing::make_reactor()) {}
  engine::result<void> run(std::vector<std::string> argv,
                           milliseconds timeout = milliseconds(60'000),
                           std::vector<std::string> environment = {}) {
    hook_call call;
    call.name = "before";
    call.argv = std::move(argv);
    call.environment_additions = std::move(environment);
    call.timeout = timeout;
    auto outcome = loop->run(run_hook(*loop, log, std::move(call), stop.token()));
    BOOST_TEST(loop->operations_in_flight() == 0u);
    return outcome;
  }
  engine::result<void> shell(const std::string& text, milliseconds timeout = milliseconds(60'000)) {
    return run({"/bin/sh", "-c", text}, timeout);
  }
  std::unique_ptr<engine::reactor> loop;
  field_log log;
  stop_source stop;
};

run_report failed_run() {
  run_report report;
  report.exit_status = 6;
  report.totals.backups = 2;
  report.totals.bytes = 1'000;
  report.totals.seconds = 59.7;
  report.subvolumes.resize(3);
  report.subvolumes[0].name = "data";
  report.subvolumes[0].status = subvolume_status::done;
  report.subvolumes[1].name = "home";
  report.subvolumes[1].status = subvolume_status::failed;
  report.subvolumes[1].error = "it broke";
  report.subvolumes[2].name = "mail";
  report.subvolumes[2].status = subvolume_status::failed;
  report.subvolumes[2].error = "so did this";
  return report;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(hooks_suite)

BOOST_AUTO_TEST_CASE(a_hook_gets_its_arguments_and_environment_and_is_logged_with_what_it_said) {
  scene s;
  auto ran = s.run({"/bin/sh", "-c", "echo \"$0 $BTRFS_TO_S3_HOOK\"; echo to stderr >&2", "a b"},
                   milliseconds(60'000), {"BTRFS_TO_S3_HOOK=before"});
  BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
  BOOST_TEST(s.log.events == std::vector<std::string>{"hook_ended"},
             boost::test_tools::per_element());
  BOOST_TEST(s.log.fields["stdout"] == "a b before");
  BOOST_TEST(s.log.fields["stderr"] == "to stderr");
  BOOST_TEST(s.log.fields["program"] == "/bin/sh");
}

BOOST_AUTO_TEST_CASE(there_is_no_shell_unless_one_is_named) {
  scene s;
  BOOST_TEST(s.run({"/bin/echo", "$HOME", "|", "*"}).has_value());
  BOOST_TEST(s.log.fields["stdout"] == "$HOME | *");
}

BOOST_AUTO_TEST_CASE(a_failing_hook_is_named_and_quoted) {
  scene s;
  auto failed = s.shell("echo the disk is full >&2; exit 3");
  BOOST_REQUIRE(!failed.has_value());
  BOOST_TEST((failed.error().why == engine::reason::child_process));
  BOOST_TEST(failed.error().text() ==
             "hooks.before: /bin/sh exited with status 3: the disk is full");
  auto killed = s.shell("kill -9 $$");
  BOOST_TEST(error_text(killed) == "hooks.before: /bin/sh was killed by signal 9 (Killed)");
  auto missing = s.run({"/no/such/program"});
  BOOST_TEST(error_text(missing).find("hooks.before: ") == 0u);
  BOOST_TEST(error_text(missing).find("/no/such/program") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_hook_that_takes_too_long_is_stopped_and_has_failed) {
  scene s;
  auto slow =
      s.shell("trap 'echo stopped; exit 0' TERM; echo began; sleep 60 & wait", milliseconds(300));
  BOOST_REQUIRE(!slow.has_value());
  BOOST_TEST(slow.error().text() ==
             "hooks.before: /bin/sh took longer than 0 s; make it faster, or raise hooks.timeout");
  // SIGTERM came to it: it ended by itself, and is quoted.
  BOOST_TEST(s.log.fields["ended"] == "exited with status 0");
  BOOST_TEST(s.log.fields["stdout"] == "began\nstopped");
}

BOOST_AUTO_TEST_CASE(a_stop_ends_a_hook) {
  scene s;
  const scratch_directory scratch;
  const auto stop_soon = [](engine::reactor& loop, stop_source& stop,
                            std::string witness) -> engine::task<void> {
    while (!std::filesystem::exists(witness)) {
      auto sleeping = loop.sleep_for(milliseconds(2));
      (void)co_await std::move(sleeping);
    }
    stop.request_stop();
  };
  engine::async_scope beside(*s.loop);
  beside.spawn(stop_soon(*s.loop, s.stop, scratch / "began"));
  hook_call call;
  call.name = "before";
  call.argv = {"/bin/sh", "-c", "echo > \"$0\"; sleep 60", scratch / "began"};
  call.timeout = milliseconds(60'000);
  auto stopped = s.loop->run(run_hook(*s.loop, s.log, call, s.stop.token()));
  s.loop->run(beside.join());
  BOOST_REQUIRE(!stopped.has_value());
  BOOST_TEST((stopped.error().what_now == engine::disposition::cancelled));
  // And one that was not begun is not begun any more.
  auto never = s.shell("echo > " + (scratch / "never"));
  BOOST_TEST((never.error().what_now == engine::disposition::cancelled));
  BOOST_TEST(!std::filesystem::exists(scratch / "never"));
}

BOOST_AUTO_TEST_CASE(floods_and_daemons_do_not_hold_the_run_up) {
  scene s;
  auto flood = s.shell("head -c 3000000 /dev/zero | tr '\\0' x; echo end");
  BOOST_REQUIRE_MESSAGE(flood.has_value(), error_text(flood));
  BOOST_TEST(s.log.fields["stdout"].size() <= 8u * 1024);
  BOOST_TEST(s.log.fields["stdout"].ends_with("xxxend"));
  // A daemon keeps both pipes; its PID tells how to end it.
  auto daemon = s.shell("setsid sleep 60 & echo $!");
  BOOST_REQUIRE_MESSAGE(daemon.has_value(), error_text(daemon));
  const pid_t pid = std::stoi(s.log.fields["stdout"]);
  BOOST_TEST(::kill(pid, SIGKILL) == 0);
}

BOOST_AUTO_TEST_CASE(the_environment_tells_of_the_run) {
  const std::vector<std::string> before =
      hook_environment("before", "/etc/c.toml", {"data", "home"}, nullptr);
  const std::vector<std::string> expected = {"BTRFS_TO_S3_HOOK=before",
                                             "BTRFS_TO_S3_HOOK_CONFIG=/etc/c.toml",
                                             "BTRFS_TO_S3_HOOK_SUBVOLUMES=data\nhome"};
  BOOST_TEST(before == expected, boost::test_tools::per_element());
  run_report report = failed_run();
  std::vector<std::string> after = hook_environment("on_failure", "/c", {"data"}, &report);
  const auto has = [&after](const std::string& entry) {
    return std::find(after.begin(), after.end(), entry) != after.end();
  };
  for (const char* entry : {"BTRFS_TO_S3_HOOK_STATUS=6", "BTRFS_TO_S3_HOOK_ERROR=home: it broke",
                            "BTRFS_TO_S3_HOOK_FAILED=home\nmail", "BTRFS_TO_S3_HOOK_BACKUPS=2",
                            "BTRFS_TO_S3_HOOK_BYTES=1000", "BTRFS_TO_S3_HOOK_SECONDS=60"}) {
    BOOST_TEST(has(entry), entry);
  }
  report.error = "no network";
  after = hook_environment("on_failure", "/c", {"data"}, &report);
  BOOST_TEST(has("BTRFS_TO_S3_HOOK_ERROR=no network"));
}

BOOST_AUTO_TEST_CASE(no_variable_of_a_hook_overrides_a_key) {
  const run_report report = failed_run();
  for (const std::string& entry : hook_environment("after", "/c", {"data"}, &report)) {
    for (std::string key : config_keys()) {
      for (char& c : key) {
        c = c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      }
      BOOST_TEST(!entry.starts_with("BTRFS_TO_S3_" + key + "="), entry);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
