#include "engine/reactor.hh"
#include "engine/ring_refusals.hh"

#include "engine/async_scope.hh"
#include "engine/child_process.hh"

#include "tests/engine/support.hh"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <thread>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

task<std::string> read_to_end(reactor& loop, int fd) {
  std::string text;
  std::array<std::byte, 7> piece;
  for (;;) {
    auto got = co_await loop.read(fd, piece);
    BOOST_REQUIRE(got.has_value());
    if (*got == 0) {
      co_return text;
    }
    text.append(reinterpret_cast<const char*>(piece.data()), *got);
  }
}

task<void> write_and_close(reactor& loop, unique_fd fd, std::string text) {
  co_await loop.yield();
  auto written = co_await loop.write_all(fd.get(), bytes_of(text));
  BOOST_REQUIRE(written.has_value());
}

task<std::string> through_a_pipe(reactor& loop, std::string text) {
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  BOOST_REQUIRE(set_nonblocking(ends->read_end.get()).has_value());
  async_scope scope(loop);
  scope.spawn(write_and_close(loop, std::move(ends->write_end), text));
  auto reading = read_to_end(loop, ends->read_end.get());
  std::string got = co_await std::move(reading);
  co_await scope.join();
  co_return got;
}

task<void> request_after_yields(reactor& loop, stop_source& stop) {
  co_await loop.yield();
  co_await loop.yield();
  stop.request_stop();
}

enum class waiting_for { data, readiness, time };

task<bool> is_cancelled(reactor& loop, waiting_for what) {
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  stop_source stop;
  async_scope scope(loop);
  scope.spawn(request_after_yields(loop, stop));
  std::array<std::byte, 16> piece;
  disposition end = disposition::fail;
  switch (what) {
    case waiting_for::data: {
      auto got = co_await loop.read(ends->read_end.get(), piece, stop.token());
      BOOST_REQUIRE(!got);
      end = got.error().what_now;
      break;
    }
    case waiting_for::readiness: {
      auto got = co_await loop.poll(ends->read_end.get(), POLLIN, stop.token());
      BOOST_REQUIRE(!got);
      end = got.error().what_now;
      break;
    }
    case waiting_for::time: {
      auto got = co_await loop.sleep_for(std::chrono::hours(1), stop.token());
      BOOST_REQUIRE(!got);
      end = got.error().what_now;
      break;
    }
  }
  co_await scope.join();
  co_return end == disposition::cancelled;
}

task<void> sleep_and_note(reactor& loop, int milliseconds, std::string& order) {
  auto slept = co_await loop.sleep_for(std::chrono::milliseconds(milliseconds));
  BOOST_REQUIRE(slept.has_value());
  order += std::to_string(milliseconds);
}

task<std::string> sleep_in_disorder(reactor& loop) {
  std::string order;
  async_scope scope(loop);
  scope.spawn(sleep_and_note(loop, 30, order));
  scope.spawn(sleep_and_note(loop, 10, order));
  scope.spawn(sleep_and_note(loop, 20, order));
  co_await scope.join();
  co_return order;
}

task<int> wait_for_posts(reactor& loop, int expected) {
  int count = 0;
  const auto on_thread = std::this_thread::get_id();
  std::thread poster([&] {
    for (int i = 0; i < expected; ++i) {
      loop.post([&count, on_thread] {
        BOOST_REQUIRE(std::this_thread::get_id() == on_thread);
        ++count;
      });
    }
  });
  while (count < expected) {
    auto slept = co_await loop.sleep_for(std::chrono::milliseconds(1));
    BOOST_REQUIRE(slept.has_value());
  }
  poster.join();
  co_return count;
}

task<void> many_polls(reactor& loop, int fd, stop_source& stop, int& cancelled) {
  auto got = co_await loop.poll(fd, POLLIN, stop.token());
  if (!got && got.error().what_now == disposition::cancelled) {
    ++cancelled;
  }
}

task<int> cancel_a_thousand(reactor& loop) {
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  stop_source stop;
  int cancelled = 0;
  async_scope scope(loop);
  for (int i = 0; i < 1000; ++i) {
    scope.spawn(many_polls(loop, ends->read_end.get(), stop, cancelled));
  }
  co_await loop.yield();
  stop.request_stop();
  co_await scope.join();
  co_return cancelled;
}

task<void> write_without_reader(reactor& loop) {
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  ends->read_end.reset();
  auto written = co_await loop.write(ends->write_end.get(), bytes_of("x"));
  BOOST_REQUIRE(!written);
  BOOST_TEST(written.error().status == EPIPE);
}

task<void> file_at_offsets(reactor& loop) {
  const unique_fd file(::memfd_create("offsets", MFD_CLOEXEC));
  BOOST_REQUIRE(file.valid());
  auto written = co_await loop.write_at(file.get(), bytes_of("hello"), 10);
  BOOST_REQUIRE(written.has_value());
  BOOST_TEST(*written == 5u);
  std::array<std::byte, 4> piece;
  auto got = co_await loop.read_at(file.get(), piece, 11);
  BOOST_REQUIRE(got.has_value());
  BOOST_TEST(std::string(reinterpret_cast<const char*>(piece.data()), *got) == "ello");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(reactor_suite)

BOOST_AUTO_TEST_CASE(what_is_written_to_a_pipe_is_read_from_it) {
  auto loop = make_reactor();
  const std::string text = "a sentence longer than one read of seven bytes";
  BOOST_TEST(loop->run(through_a_pipe(*loop, text)) == text);
  BOOST_TEST(loop->operations_in_flight() == 0u);
}

BOOST_AUTO_TEST_CASE(a_stop_cancels_a_pending_read) {
  auto loop = make_reactor();
  BOOST_TEST(loop->run(is_cancelled(*loop, waiting_for::data)));
  BOOST_TEST(loop->operations_in_flight() == 0u);
}

BOOST_AUTO_TEST_CASE(a_stop_cancels_a_pending_poll) {
  auto loop = make_reactor();
  BOOST_TEST(loop->run(is_cancelled(*loop, waiting_for::readiness)));
}

BOOST_AUTO_TEST_CASE(a_stop_cancels_a_pending_timer) {
  auto loop = make_reactor();
  BOOST_TEST(loop->run(is_cancelled(*loop, waiting_for::time)));
}

BOOST_AUTO_TEST_CASE(timers_fire_in_the_order_of_their_deadlines) {
  auto loop = make_reactor();
  BOOST_TEST(loop->run(sleep_in_disorder(*loop)) == "102030");
}

BOOST_AUTO_TEST_CASE(posted_functions_run_on_the_reactors_thread) {
  auto loop = make_reactor();
  BOOST_TEST(loop->run(wait_for_posts(*loop, 1000)) == 1000);
}

BOOST_AUTO_TEST_CASE(more_operations_than_ring_entries_are_all_submitted_and_cancelled) {
  auto loop = make_reactor();
  BOOST_TEST(loop->run(cancel_a_thousand(*loop)) == 1000);
  BOOST_TEST(loop->operations_in_flight() == 0u);
}

BOOST_AUTO_TEST_CASE(a_pipe_without_readers_gives_an_error_and_no_signal) {
  ::signal(SIGPIPE, SIG_IGN);
  auto loop = make_reactor();
  loop->run(write_without_reader(*loop));
}

BOOST_AUTO_TEST_CASE(files_are_read_and_written_at_offsets) {
  auto loop = make_reactor();
  loop->run(file_at_offsets(*loop));
}

BOOST_AUTO_TEST_CASE(a_reactor_leaves_no_descriptor_behind) {
  const std::size_t before = open_descriptors();
  {
    auto loop = make_reactor();
    (void)loop->run(through_a_pipe(*loop, "text"));
  }
  BOOST_TEST(open_descriptors() == before);
}

BOOST_AUTO_TEST_CASE(a_host_without_io_uring_is_told_what_to_change) {
  const std::pair<int, const char*> refusals[] = {{ENOSYS, "Linux 5.15"},
                                                  {EPERM, "kernel.io_uring_disabled"},
                                                  {EACCES, "seccomp"},
                                                  {ENOMEM, "LimitMEMLOCK="}};
  for (const auto& [err, words] : refusals) {
    const error failure = ring_refused(err);
    BOOST_TEST(failure.remedy.find(words) != std::string::npos, failure.text());
    BOOST_TEST((failure.what_now == disposition::fail));
    BOOST_TEST(failure.status == err);
  }
  BOOST_TEST(ring_refused(EINVAL).remedy.empty());
}

BOOST_AUTO_TEST_SUITE_END()
