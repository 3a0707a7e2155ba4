#include "engine/pipe_writer.hh"

#include "engine/async_scope.hh"
#include "engine/child_process.hh"
#include "engine/stop_after.hh"

#include "tests/engine/support.hh"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <string>
#include <thread>
#include <utility>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

std::string numbered(std::size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) {
    text += std::to_string(i) + ' ';
  }
  text.resize(bytes);
  return text;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// What arrives when `text` is written in two calls and read in pieces of `piece` bytes, with a
// pause after every so many of them.
std::string through(const std::string& text, std::size_t pipe_bytes, std::size_t piece,
                    std::size_t pieces_to_pause) {
  const auto loop = make_reactor();
  auto ends = make_pipe(pipe_bytes);
  BOOST_REQUIRE(ends.has_value());
  BOOST_REQUIRE(set_nonblocking(ends->write_end.get()).has_value());
  std::string got;
  std::thread reader([&, fd = ends->read_end.get()] {
    std::string buffer(piece, '\0');
    std::size_t count = 0;
    for (ssize_t size = 0; (size = ::read(fd, buffer.data(), piece)) > 0;) {
      got.append(buffer, 0, static_cast<std::size_t>(size));
      if (++count % pieces_to_pause == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
  });
  {
    pipe_writer writer(*loop, ends->write_end.get());
    const auto bytes = bytes_of(text);
    for (const auto half : {bytes.first(text.size() / 3), bytes.subspan(text.size() / 3)}) {
      auto written = loop->run(writer.write_all(half));
      BOOST_TEST(written.has_value());
    }
  }
  ends->write_end.reset();
  reader.join();
  return got;
}

task<result<void>> write_until_stopped(reactor& loop, int fd, std::span<const std::byte> bytes) {
  stop_source stop;
  async_scope scope(loop);
  scope.spawn(stop_after(loop, std::chrono::milliseconds(20), stop, {}));
  pipe_writer writer(loop, fd);
  auto writing = writer.write_all(bytes, stop.token());
  auto written = co_await std::move(writing);
  auto joining = scope.join();
  co_await std::move(joining);
  co_return written;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pipe_writer_suite)

// Readers that are faster, slower, and fast by turns; pipes that hold less than a piece and more.
BOOST_AUTO_TEST_CASE(every_byte_arrives_in_order_whatever_the_reader_does) {
  const std::string text = numbered(3'000'001);
  for (const std::size_t pipe_bytes :
       {std::size_t{4096}, std::size_t{65'536}, std::size_t{1} << 20}) {
    for (const std::size_t piece :
         {std::size_t{1'000}, std::size_t{48} << 10, std::size_t{2} << 20}) {
      for (const std::size_t pieces_to_pause : {std::size_t{7}, std::size_t{1'000'000}}) {
        BOOST_TEST((through(text, pipe_bytes, piece, pieces_to_pause) == text));
      }
    }
  }
  BOOST_TEST(through("", 65'536, 10, 1).empty());
}

BOOST_AUTO_TEST_CASE(a_reader_that_has_gone_is_epipe) {
  std::signal(SIGPIPE, SIG_IGN);
  const auto loop = make_reactor();
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  BOOST_REQUIRE(set_nonblocking(ends->write_end.get()).has_value());
  ends->read_end.reset();
  pipe_writer writer(*loop, ends->write_end.get());
  auto written = loop->run(writer.write_all(bytes_of("nobody reads this")));
  BOOST_REQUIRE(!written.has_value());
  BOOST_TEST(written.error().code == "EPIPE");
}

BOOST_AUTO_TEST_CASE(a_full_pipe_can_be_stopped_at) {
  const auto loop = make_reactor();
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  BOOST_REQUIRE(set_nonblocking(ends->write_end.get()).has_value());
  const std::string text = numbered(500'000);
  auto written = loop->run(write_until_stopped(*loop, ends->write_end.get(), bytes_of(text)));
  BOOST_REQUIRE(!written.has_value());
  BOOST_TEST((written.error().what_now == disposition::cancelled));
}

// Its reader takes a page now and then, so that the writer is nearly always in a pause.
BOOST_AUTO_TEST_CASE(a_pause_for_a_slow_reader_can_be_stopped_at) {
  const auto loop = make_reactor();
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  BOOST_REQUIRE(set_nonblocking(ends->write_end.get()).has_value());
  std::thread reader([fd = ends->read_end.get()] {
    std::array<char, 4096> page{};
    while (::read(fd, page.data(), page.size()) > 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  });
  const std::string text = numbered(50'000'000);
  auto written = loop->run(write_until_stopped(*loop, ends->write_end.get(), bytes_of(text)));
  ends->write_end.reset();
  reader.join();
  BOOST_REQUIRE(!written.has_value());
  BOOST_TEST((written.error().what_now == disposition::cancelled));
  BOOST_TEST(loop->operations_in_flight() == 0U);
}

BOOST_AUTO_TEST_CASE(what_is_no_pipe_is_written_all_the_same) {
  const auto loop = make_reactor();
  std::array<int, 2> ends{};
  BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const unique_fd near(ends[0]);
  const unique_fd far(ends[1]);
  BOOST_REQUIRE(set_nonblocking(near.get()).has_value());
  const std::string text = numbered(3'000);
  pipe_writer writer(*loop, near.get());
  BOOST_REQUIRE(loop->run(writer.write_all(bytes_of(text))).has_value());
  std::string got(text.size(), '\0');
  BOOST_REQUIRE(::recv(far.get(), got.data(), got.size(), MSG_WAITALL) ==
                static_cast<ssize_t>(got.size()));
  BOOST_TEST(got == text);
}

BOOST_AUTO_TEST_SUITE_END()
