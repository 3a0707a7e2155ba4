#include "engine/paced_pipe.hh"
#include "engine/async_scope.hh"
#include "engine/child_process.hh"
#include "engine/part_stream.hh"

#include "tests/engine/support.hh"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;
const paced_pipe::time_point start{1h};
const sender_pipe no_pipe(-1);

// After a read at `start`, one of `bytes` that came `later`.
std::chrono::nanoseconds pause_after(std::size_t bytes, std::chrono::nanoseconds later,
                                     std::size_t pipe_bytes = mebibyte) {
  auto pace = paced_pipe(no_pipe, pipe_bytes);
  pace.note(bytes, start);
  pace.note(bytes, start + later);
  return pace.pause(start + later);
}

// Of a sender that would be waited for a long time.
paced_pipe patient(sender_pipe from) {
  paced_pipe made(from, std::size_t{1} << 50);
  const auto now = std::chrono::steady_clock::now();
  made.note(1, now - 1s);
  made.note(1, now);
  BOOST_REQUIRE(made.pause(now) > 1h);
  return made;
}

task<void> write_in_steps(reactor& loop, pipe_ends& pipe, pipe_ends& ending, std::string text) {
  for (const char& letter : text) {
    auto writing = loop.write_all(pipe.write_end.get(), std::as_bytes(std::span(&letter, 1)));
    const auto written = co_await std::move(writing);
    BOOST_REQUIRE(written.has_value());
    co_await loop.yield();
  }
  pipe.write_end.reset();
  auto telling = loop.write_all(ending.write_end.get(), std::as_bytes(std::span("x", 1)));
  const auto told = co_await std::move(telling);
  BOOST_REQUIRE(told.has_value());
}

struct filled_slot {
  result<std::size_t> bytes;
  std::vector<std::string> pieces;
};

task<filled_slot> fill(reactor& loop, paced_pipe& from, stop_token stop) {
  recording_log log;
  buffer_pool pool(loop, 4096, 1, log);
  hash_worker hashes(loop);
  filled_slot seen;
  auto lease = co_await pool.acquire();
  BOOST_REQUIRE(lease.has_value());
  const std::span<std::byte> memory = lease->bytes();
  auto hash = hashes.begin(memory);
  const stream_observer watch = [&seen](std::span<const std::byte> piece) -> result<void> {
    seen.pieces.emplace_back(reinterpret_cast<const char*>(piece.data()), piece.size());
    return ok();
  };
  slot_filling what;
  what.memory = memory;
  what.plain_max = memory.size();
  auto filling = fill_slot(pool, *lease, what, from, watch, hash, stop);
  seen.bytes = co_await std::move(filling);
  co_return seen;
}

pipe_ends nonblocking_pipe() {
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  BOOST_REQUIRE(set_nonblocking(ends->read_end.get()).has_value());
  return std::move(*ends);
}

// Writes all, while the reader pauses, and only then ends, which another pipe tells.
task<filled_slot> fill_while_written(reactor& loop, pipe_ends& pipe, std::string text) {
  pipe_ends ending = nonblocking_pipe();
  auto from = patient(sender_pipe(pipe.read_end.get(), ending.read_end.get()));
  async_scope scope(loop);
  scope.spawn(write_in_steps(loop, pipe, ending, std::move(text)));
  auto filling = fill(loop, from, {});
  auto outcome = co_await std::move(filling);
  co_await scope.join();
  co_return outcome;
}

task<void> stop_soon(reactor& loop, stop_source& stop) {
  co_await loop.yield();
  co_await loop.yield();
  stop.request_stop();
}

task<filled_slot> fill_until_stopped(reactor& loop, sender_pipe pipe, stop_source& stop) {
  auto from = patient(pipe);
  async_scope scope(loop);
  scope.spawn(stop_soon(loop, stop));
  auto filling = fill(loop, from, stop.token());
  auto outcome = co_await std::move(filling);
  co_await scope.join();
  co_return outcome;
}

task<void> pause_behind(reactor& loop, int pipe, int others, int& done) {
  for (int count = 0; count < others; ++count) {
    auto sleeping = loop.sleep_for(1ns);
    const auto slept = co_await std::move(sleeping);
    BOOST_TEST(slept.has_value());
  }
  auto polling = loop.poll_within(pipe, POLLIN, 1ms);
  const auto polled = co_await std::move(polling);
  BOOST_REQUIRE(polled.has_value());
  BOOST_TEST(*polled == 0U);
  ++done;
}

task<void> many_polls(reactor& loop, int pipe, int& done) {
  async_scope scope(loop);
  for (int index = 0; index < 50; ++index) {
    scope.spawn(pause_behind(loop, pipe, index % 8, done));
  }
  co_await scope.join();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(paced_pipe_suite)

BOOST_AUTO_TEST_CASE(a_slow_sender_is_waited_for_as_long_as_a_fast_one_would_fill_half_the_pipe) {
  BOOST_TEST((pause_after(80, 100us) == 524'288ns));
  BOOST_TEST((pause_after(80, 10s) == 524'288ns));
  BOOST_TEST((pause_after(80, 100us, mebibyte / 4) == 131'072ns));
}

BOOST_AUTO_TEST_CASE(a_fast_sender_is_waited_for_until_the_pipe_is_half_full) {
  // 32 KiB in 10 us: 512 KiB take 160.
  BOOST_TEST((pause_after(mebibyte / 32, 10us) == 160us));
  // 4 KiB in 10 us take longer than a sender of 1 GiB/s needs.
  BOOST_TEST((pause_after(mebibyte / 256, 10us) == 524'288ns));
}

BOOST_AUTO_TEST_CASE(a_read_that_found_much_is_followed_at_once) {
  BOOST_TEST((pause_after(mebibyte / 16, 100us) == 0ns));
  BOOST_TEST((pause_after(mebibyte, 100us) == 0ns));
}

BOOST_AUTO_TEST_CASE(nothing_is_known_of_a_sender_before_the_second_read) {
  auto pace = paced_pipe(no_pipe, mebibyte);
  BOOST_TEST((pace.pause(start) == 0ns));
  pace.note(80, start);
  BOOST_TEST((pace.pause(start) == 0ns));
}

BOOST_AUTO_TEST_CASE(what_the_reader_did_meanwhile_is_no_pause_more) {
  auto pace = paced_pipe(no_pipe, mebibyte);
  pace.note(80, start);
  pace.note(80, start + 1ms);
  BOOST_TEST((pace.pause(start + 1ms + 200us) == 324'288ns));
  // What is left would cost more than it saves.
  BOOST_TEST((pace.pause(start + 2ms) == 0ns));
  BOOST_TEST((pace.pause(start + 1h) == 0ns));
}

BOOST_AUTO_TEST_CASE(small_pipes_and_what_is_no_pipe_have_no_pauses) {
  BOOST_TEST((pause_after(80, 100us, 4096) == 0ns));
  BOOST_TEST((pause_after(80, 100us, 0) == 0ns));
  paced_pipe nobody(no_pipe);
  nobody.note(80, start);
  nobody.note(80, start + 1ms);
  BOOST_TEST((nobody.pause(start + 1ms) == 0ns));
}

BOOST_AUTO_TEST_CASE(what_is_written_in_a_pause_is_one_piece_and_the_end_of_the_stream_ends_it) {
  auto loop = make_reactor();
  pipe_ends ends = nonblocking_pipe();
  const auto seen = loop->run(fill_while_written(*loop, ends, "in many steps"));
  BOOST_REQUIRE(seen.bytes.has_value());
  BOOST_TEST(*seen.bytes == 13U);
  BOOST_REQUIRE(seen.pieces.size() == 1);
  BOOST_TEST(seen.pieces[0] == "in many steps");
}

BOOST_AUTO_TEST_CASE(a_stop_ends_a_pause_with_and_without_a_senders_end) {
  for (const bool end_is_known : {false, true}) {
    auto loop = make_reactor();
    const pipe_ends ends = nonblocking_pipe();
    const pipe_ends ending = nonblocking_pipe();
    const sender_pipe from(ends.read_end.get(), end_is_known ? ending.read_end.get() : -1);
    stop_source stop;
    const auto seen = loop->run(fill_until_stopped(*loop, from, stop));
    BOOST_REQUIRE(!seen.bytes.has_value());
    BOOST_TEST((seen.bytes.error().what_now == disposition::cancelled));
    BOOST_TEST(seen.pieces.empty());
    BOOST_TEST(loop->operations_in_flight() == 0U);
  }
}

// The time limit is an entry of its own, and must reach the kernel together with the wait.
BOOST_AUTO_TEST_CASE(a_time_limit_holds_however_few_places_the_submission_queue_has_left) {
  auto loop = make_reactor(8);
  const pipe_ends ends = nonblocking_pipe();
  int done = 0;
  loop->run(many_polls(*loop, ends.read_end.get(), done));
  BOOST_TEST(done == 50);
  BOOST_TEST(loop->operations_in_flight() == 0U);
}

BOOST_AUTO_TEST_CASE(a_time_limit_is_no_error_and_what_comes_before_it_is_told) {
  auto loop = make_reactor();
  const pipe_ends ends = nonblocking_pipe();
  const auto nothing = loop->run(loop->poll_within(ends.read_end.get(), POLLIN, 20ms));
  BOOST_REQUIRE(nothing.has_value());
  BOOST_TEST(*nothing == 0U);
  BOOST_REQUIRE(::write(ends.write_end.get(), "x", 1) == 1);
  const auto something = loop->run(loop->poll_within(ends.read_end.get(), POLLIN, 1h));
  BOOST_REQUIRE(something.has_value());
  BOOST_TEST((*something & POLLIN) != 0U);
  const auto closed = loop->run(loop->poll_within(-1, POLLIN, 1h));
  BOOST_REQUIRE(!closed.has_value());
  BOOST_TEST(closed.error().status == EBADF);
}

BOOST_AUTO_TEST_SUITE_END()
