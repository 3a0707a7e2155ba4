// Receivers that do nothing, and receivers that are slow.
#include "btrfs/receive_watch.hh"

#include "tests/engine/support.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::btrfs;
using bts3::testing::error_text;
using std::chrono::milliseconds;

namespace {

using time_point = stall_judge::time_point;

process_signs signs(char state, std::uint64_t cpu = 7, std::uint64_t io = 1000) {
  process_signs made;
  made.state = state;
  made.cpu_ticks = cpu;
  made.io = io;
  return made;
}

time_point at(int seconds) {
  return time_point{} + std::chrono::seconds(seconds);
}

struct outcome {
  bool stalled = false;
  bool stop_requested = false;
  engine::result<void> written = engine::ok();
  engine::result<void> finished = engine::ok();
  std::string said;
};

// Writes `bytes` to a receiver under watch, as a restore does; a shell command stands in for it.
engine::task<outcome> feed(engine::reactor& loop, engine::log_sink& log, std::string script,
                           std::size_t bytes, milliseconds limit) {
  outcome made;
  receive_command command;
  command.argv = {"/bin/sh", "-c", std::move(script)};
  auto receiver = receive_process::start(loop, std::move(command));
  BOOST_REQUIRE_MESSAGE(receiver.has_value(), error_text(receiver));
  engine::stop_source stop;
  receive_watch watch(loop, *receiver, log, limit, stop);
  watch.start();
  const std::vector<std::byte> body(bytes);
  auto writing = loop.write_all(receiver->fd(), body, stop.token());
  made.written = co_await std::move(writing);
  auto finishing = receiver->finish();
  made.finished = co_await std::move(finishing);
  auto stopping = watch.stop();
  co_await std::move(stopping);
  made.stalled = watch.stalled();
  made.stop_requested = stop.stop_requested();
  if (!made.finished) {
    made.said = watch.failure(made.finished.error()).text();
  }
  co_return made;
}

outcome fed(const std::string& script, std::size_t bytes, milliseconds limit) {
  std::signal(SIGPIPE, SIG_IGN);
  auto loop = engine::testing::make_reactor();
  engine::testing::recording_log log;
  return loop->run(feed(*loop, log, script, bytes, limit));
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(receive_watch_suite)

BOOST_AUTO_TEST_CASE(what_proc_says_is_read_whatever_the_programs_name) {
  const std::string stat = "42 (a ) S (b) D 1 42 42 0 -1 4194560 1 2 3 4 150 30 5 6 20 0 1 0";
  const std::string io = "rchar: 5\nwchar: 7\nsyscr: 1\nsyscw: 2\nread_bytes: 0\nwrite_bytes: 4\n";
  const auto read = parse_signs(stat, io);
  BOOST_REQUIRE(read.has_value());
  BOOST_TEST(read->state == 'D');
  BOOST_TEST(read->cpu_ticks == 180u);
  BOOST_TEST(read->io == 19u);
  BOOST_TEST(parse_signs(stat, "")->io == 0u);
  BOOST_TEST(!parse_signs("", io).has_value());
  BOOST_TEST(!parse_signs("42 (x) S 1 2", io).has_value());
  const auto own = signs_of(::getpid());
  BOOST_REQUIRE(own.has_value());
  BOOST_TEST(own->state == 'R');
}

BOOST_AUTO_TEST_CASE(nothing_at_all_for_the_limit_is_a_stall) {
  for (const std::optional<std::size_t> unread :
       {std::optional<std::size_t>(1), std::optional<std::size_t>()}) {
    for (const char state : {'S', 'T'}) {
      stall_judge judge(std::chrono::seconds(600));
      BOOST_TEST(!judge.stalled(signs(state), unread, at(0)));
      BOOST_TEST(!judge.stalled(signs(state), unread, at(599)));
      BOOST_TEST(judge.stalled(signs(state), unread, at(600)));
    }
  }
}

BOOST_AUTO_TEST_CASE(whatever_moves_begins_the_limit_anew) {
  const auto stalls_after = [](process_signs then, std::size_t unread) {
    stall_judge judge(std::chrono::seconds(600));
    BOOST_TEST(!judge.stalled(signs('S'), 100, at(0)));
    BOOST_TEST(!judge.stalled(then, unread, at(599)));
    BOOST_TEST(!judge.stalled(signs('S', then.cpu_ticks, then.io), unread, at(1198)));
    return judge.stalled(signs('S', then.cpu_ticks, then.io), unread, at(1199));
  };
  BOOST_TEST(stalls_after(signs('S', 8), 100));        // used the CPU
  BOOST_TEST(stalls_after(signs('S', 7, 1001), 100));  // read or wrote
  BOOST_TEST(stalls_after(signs('S'), 99));            // took a byte
  BOOST_TEST(stalls_after(signs('S'), 101));           // was given one
  BOOST_TEST(stalls_after(signs('R'), 100));           // waited for a CPU
  BOOST_TEST(stalls_after(signs('D'), 100));           // waited for the disk
}

BOOST_AUTO_TEST_CASE(a_slow_disk_and_an_empty_pipe_are_no_stalls_however_long) {
  stall_judge disk(std::chrono::seconds(600));
  stall_judge pipe(std::chrono::seconds(600));
  for (int hour = 0; hour < 100; ++hour) {
    BOOST_TEST(!disk.stalled(signs('D'), 100, at(3600 * hour)));
    BOOST_TEST(!pipe.stalled(signs('S'), 0, at(3600 * hour)));
  }
}

BOOST_AUTO_TEST_CASE(a_receiver_that_stops_reading_is_ended_and_quoted) {
  const outcome made = fed("echo lost its way >&2; head -c 1000 > /dev/null; sleep 3600", 8 << 20,
                           milliseconds(200));
  BOOST_TEST(made.stalled);
  BOOST_TEST(made.stop_requested);
  BOOST_TEST(!made.written.has_value());
  BOOST_REQUIRE(!made.finished);
  BOOST_TEST(has(made.said, "stalled: for 200 ms it read nothing"), made.said);
  BOOST_TEST(has(made.said, "killed by signal 15 (Terminated): lost its way"), made.said);
}

BOOST_AUTO_TEST_CASE(a_receiver_that_has_read_everything_and_does_not_end_is_ended) {
  const outcome made = fed("cat > /dev/null; exec sleep 3600", 100'000, milliseconds(200));
  BOOST_TEST(made.stalled);
  BOOST_TEST(made.written.has_value());
  BOOST_TEST(!made.finished.has_value());
}

BOOST_AUTO_TEST_CASE(a_receiver_that_works_is_left_alone) {
  // Computes for many limits before it reads; waiting for a CPU on a busy machine is no stall
  // either.
  const std::string script =
      "i=0; while [ $i -lt 3000000 ]; do i=$((i + 1)); done; exec cat > /dev/null";
  const outcome made = fed(script, 8 << 20, milliseconds(100));
  BOOST_TEST(!made.stalled);
  BOOST_TEST(made.written.has_value(), error_text(made.written));
  BOOST_TEST(made.finished.has_value(), error_text(made.finished));
}

BOOST_AUTO_TEST_SUITE_END()
