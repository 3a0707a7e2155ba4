#include "engine/spooled_part_stream.hh"
#include "engine/async_scope.hh"
#include "engine/channel.hh"
#include "engine/child_process.hh"

#include "tests/engine/scratch_directory.hh"
#include "tests/engine/support.hh"

#include <fcntl.h>
#include <libdeflate.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

// A stream of any length without repetition at block or part boundaries: 1,000,003 is prime.
class endless_text {
 public:
  endless_text() : _tile(1'000'003, '\0') {
    std::mt19937 source(7);
    std::generate(_tile.begin(), _tile.end(), [&] { return static_cast<char>(source()); });
  }
  // Bytes from `offset` on without a break, at most `bytes`.
  [[nodiscard]] std::span<const std::byte> at(std::uint64_t offset, std::size_t bytes) const {
    const auto start = static_cast<std::size_t>(offset % _tile.size());
    return std::as_bytes(std::span(_tile).subspan(start, std::min(bytes, _tile.size() - start)));
  }
  [[nodiscard]] bool equal(std::span<const std::byte> bytes, std::uint64_t offset) const {
    while (!bytes.empty()) {
      const auto mine = at(offset, bytes.size());
      if (std::memcmp(mine.data(), bytes.data(), mine.size()) != 0) {
        return false;
      }
      bytes = bytes.subspan(mine.size());
      offset += mine.size();
    }
    return true;
  }

 private:
  std::string _tile;
};

// Everything a stream needs, and a pipe to feed it.
struct bench {
  bench(std::size_t slot_bytes, std::size_t slots, std::size_t part_bytes, std::size_t parts,
        std::uint64_t chunk_bytes)
      : loop(make_reactor()), pool(*loop, slot_bytes, slots, log), hashes(*loop) {
    // As the program does: a feeder may outlive the reader.
    std::signal(SIGPIPE, SIG_IGN);
    spool_options options;
    options.directory = here.path();
    options.part_bytes = part_bytes;
    options.budget_bytes = (part_bytes + 4095) / 4096 * 4096 * parts;
    auto made = spool::create(*loop, options, log);
    BOOST_REQUIRE_MESSAGE(made.has_value(), bts3::testing::error_text(made));
    disk = std::move(*made);
    auto ends = make_pipe();
    BOOST_REQUIRE(ends.has_value());
    read_end = std::move(ends->read_end);
    write_end = std::move(ends->write_end);
    BOOST_REQUIRE(set_nonblocking(read_end.get()).has_value());
    limits.part_bytes = part_bytes;
    limits.chunk_bytes = chunk_bytes;
  }
  ~bench() {
    BOOST_TEST(disk->free_parts() == disk->parts());
    BOOST_TEST(pool.free_slots() == pool.slots());
    BOOST_TEST(loop->operations_in_flight() == 0U);
  }
  bench(const bench&) = delete;
  bench& operator=(const bench&) = delete;

  [[nodiscard]] std::unique_ptr<spooled_part_stream> stream() {
    return std::make_unique<spooled_part_stream>(
        *loop, *disk, pool, hashes, read_end.get(), limits,
        [this](std::span<const std::byte> piece) -> result<void> {
          in_order = in_order && text.equal(piece, observed);
          observed += piece.size();
          return observed > refuse_after ? result<void>(system_error(EPROTO, "refused")) : ok();
        });
  }

  scratch_directory here;
  recording_log log;
  std::unique_ptr<reactor> loop;
  buffer_pool pool;
  hash_worker hashes;
  std::unique_ptr<spool> disk;
  part_stream_limits limits;
  unique_fd read_end;
  unique_fd write_end;
  endless_text text;
  std::uint64_t observed = 0;
  std::uint64_t refuse_after = UINT64_MAX;
  bool in_order = true;
};

task<void> feed(bench& with, unique_fd pipe, std::uint64_t bytes, std::size_t step) {
  for (std::uint64_t at = 0; at < bytes;) {
    const auto piece =
        with.text.at(at, static_cast<std::size_t>(std::min<std::uint64_t>(step, bytes - at)));
    auto writing = with.loop->write_all(pipe.get(), piece);
    auto written = co_await std::move(writing);
    if (!written) {
      BOOST_REQUIRE(written.error().status == EPIPE);  // the reader has given up
      co_return;
    }
    at += piece.size();
  }
}

// Reads a part back; whether it is what was sent from `offset` of the stream on.
task<bool> part_is_right(bench& with, spooled_part& part, std::uint64_t offset) {
  auto slot = co_await with.pool.acquire();
  BOOST_REQUIRE(slot.has_value());
  spooled_body body(*with.disk, with.pool, part, std::move(*slot));
  BOOST_TEST(body.size() == part.bytes);
  std::uint64_t at = 0;
  for (unsigned turn = 0; at < body.size(); ++turn) {
    auto fetching = body.fetch(turn % body.buffers(), at, {});
    auto got = co_await std::move(fetching);
    BOOST_REQUIRE_MESSAGE(got.has_value(), bts3::testing::error_text(got));
    BOOST_REQUIRE((!got->empty() && got->size() <= body.size() - at));
    if (!with.text.equal(*got, offset + at)) {
      co_return false;
    }
    at += got->size();
  }
  co_return true;
}

struct seen_part {
  std::size_t bytes = 0;
  std::uint32_t chunk = 0;
  std::uint32_t number = 0;
  bool fills_chunk = false;
  part_digest digest;
  bool right = false;
};

struct outcome {
  std::vector<seen_part> parts;
  std::optional<error> failure;
  std::uint64_t total = 0;
};

// What an upload does with a part, keeping its place meanwhile.
task<void> take_part(bench& with, spooled_part part, std::uint64_t offset, seen_part& seen) {
  auto finishing = part.finish();
  auto digest = co_await std::move(finishing);
  BOOST_REQUIRE_MESSAGE(digest.has_value(), bts3::testing::error_text(digest));
  seen.digest = *digest;
  auto reading = part_is_right(with, part, offset);
  seen.right = co_await std::move(reading);
}

task<outcome> cut(bench& with, std::uint64_t bytes, std::size_t step) {
  outcome seen;
  seen.parts.reserve(1000);  // references go out
  async_scope scope(*with.loop);
  scope.spawn(feed(with, std::move(with.write_end), bytes, step));
  const auto stream = with.stream();
  for (std::uint64_t offset = 0;;) {
    auto next = co_await stream->next();
    if (!next) {
      seen.failure = next.error();
      break;
    }
    if (!*next) {
      break;
    }
    spooled_part part = std::move(**next);
    BOOST_REQUIRE(seen.parts.size() < 1000U);
    seen.parts.push_back(
        {part.bytes, part.chunk_index, part.part_number, part.fills_chunk, {}, false});
    const std::size_t length = part.bytes;
    scope.spawn(take_part(with, std::move(part), offset, seen.parts.back()));
    offset += length;
  }
  seen.total = stream->total_bytes();
  BOOST_TEST(stream->ended() == !seen.failure.has_value());
  with.read_end.reset();
  co_await scope.join();
  co_await stream->close();
  co_return seen;
}

std::string layout(const outcome& seen) {
  std::string text;
  for (const seen_part& part : seen.parts) {
    text += std::to_string(part.chunk) + "." + std::to_string(part.number) + ":" +
            std::to_string(part.bytes) + (part.fills_chunk ? "! " : " ");
  }
  return text;
}

// Digests as they must be, computed over the stream in one piece.
void check_digests(const bench& with, const outcome& seen) {
  std::uint64_t offset = 0;
  sha256_hasher chunk;
  for (const seen_part& part : seen.parts) {
    BOOST_TEST(part.right);
    if (part.number == 1) {
      chunk = sha256_hasher();
    }
    sha256_hasher alone;
    std::uint32_t crc = 0;
    for (std::size_t done = 0; done < part.bytes;) {
      const auto piece = with.text.at(offset + done, part.bytes - done);
      chunk.update(piece);
      alone.update(piece);
      crc = ::libdeflate_crc32(crc, piece.data(), piece.size());
      done += piece.size();
    }
    offset += part.bytes;
    BOOST_TEST((part.digest.state == chunk.state()));
    BOOST_TEST((part.digest.digest_if_last == chunk.digest()));
    BOOST_TEST(part.digest.crc32 == crc);
    BOOST_TEST(part.digest.payload_sha256.has_value() == with.limits.payload_sha256);
    if (part.digest.payload_sha256) {
      BOOST_TEST((*part.digest.payload_sha256 == alone.digest()));
    }
  }
  BOOST_TEST(with.in_order);
  BOOST_TEST(with.observed == offset);
  BOOST_TEST(seen.total == offset);
}

// Parts of 20,480 bytes through slots of 8,192.
std::string cut_stream(std::uint64_t bytes, std::size_t step, std::uint64_t chunk_bytes) {
  bench with(4096 * 2, 4, 4096 * 5, 3, chunk_bytes);
  const outcome seen = with.loop->run(cut(with, bytes, step));
  BOOST_TEST(!seen.failure.has_value());
  check_digests(with, seen);
  return layout(seen);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(spooled_part_stream_suite)

BOOST_AUTO_TEST_CASE(parts_are_cut_as_those_in_memory_are) {
  BOOST_TEST(cut_stream(50'000, 80, 1 << 20) == "0.1:20480 0.2:20480 0.3:9040 ");
  BOOST_TEST(cut_stream(0, 1, 1 << 20).empty());
  BOOST_TEST(cut_stream(1, 1, 1 << 20) == "0.1:1 ");
  BOOST_TEST(cut_stream(40'960, 5000, 1 << 20) == "0.1:20480 0.2:20480 ");
  BOOST_TEST(cut_stream(100'000, 999, 40'960) ==
             "0.1:20480 0.2:20480! 1.1:20480 1.2:20480! 2.1:18080 ");
  BOOST_TEST(cut_stream(50'000, 999, 40'959) == "0.1:20480 0.2:20479! 1.1:9041 ");
  BOOST_TEST(cut_stream(50'000, 999, 40'961) == "0.1:20480 0.2:20480 0.3:1! 1.1:9039 ");
}

BOOST_AUTO_TEST_CASE(an_end_on_a_slot_boundary_within_a_part_is_none) {
  BOOST_TEST(cut_stream(8192, 8192, 1 << 20) == "0.1:8192 ");
  BOOST_TEST(cut_stream(20'480 + 16'384, 4096, 1 << 20) == "0.1:20480 0.2:16384 ");
}

BOOST_AUTO_TEST_CASE(payloads_are_hashed_alone_when_asked_for) {
  bench with(4096 * 2, 5, 4096 * 5, 3, 100'000);
  with.limits.payload_sha256 = true;
  const outcome seen = with.loop->run(cut(with, 230'001, 4096));
  BOOST_TEST(seen.parts.size() == 12U);
  check_digests(with, seen);
}

// Through 5 MiB of slots and a spool of 33 MiB; the parts are of no whole blocks.
BOOST_AUTO_TEST_CASE(two_hundred_mebibytes_arrive_unchanged_through_small_slots) {
  bench with(mebibyte, stream_slots + 2, 11 * mebibyte + 64, 3, 40 * mebibyte + 100);
  const outcome seen = with.loop->run(cut(with, 200 * mebibyte + 12'345, mebibyte));
  BOOST_TEST(!seen.failure.has_value());
  BOOST_TEST(seen.parts.size() == 21U);
  check_digests(with, seen);
}

BOOST_AUTO_TEST_CASE(one_slot_and_one_place_are_enough) {
  bench with(8192, 1, 20'480, 1, 1 << 20);
  const outcome seen = with.loop->run(cut(with, 100'000, 10'000));
  BOOST_TEST(seen.parts.size() == 5U);
  check_digests(with, seen);
}

BOOST_AUTO_TEST_CASE(an_observers_refusal_ends_the_stream) {
  bench with(8192, 4, 20'480, 3, 1 << 20);
  with.refuse_after = 30'000;
  const outcome seen = with.loop->run(cut(with, 100'000, 1000));
  BOOST_REQUIRE(seen.failure.has_value());
  BOOST_TEST(seen.failure->message.find("refused") != std::string::npos);
  BOOST_TEST(layout(seen) == "0.1:20480 ");
}

BOOST_AUTO_TEST_CASE(slots_fit_the_promised_memory) {
  BOOST_TEST(spool_slot_bytes(1) == 8 * mebibyte);
  BOOST_TEST(spool_slot_bytes(4) == 8 * mebibyte);
  BOOST_TEST(spool_slot_bytes(16) == 3 * mebibyte);
  for (std::size_t uploads = 1; uploads <= 61; ++uploads) {
    BOOST_TEST(spool_slot_bytes(uploads) * (uploads + stream_slots) <= 64 * mebibyte);
  }
  BOOST_TEST(spool_slot_bytes(1000) == mebibyte);
}

namespace {

task<void> expect_cancelled(spooled_part_stream& stream, stop_token stop, bool& cancelled) {
  auto next = co_await stream.next(stop);
  cancelled = !next && next.error().what_now == disposition::cancelled;
}

task<void> pass_time(reactor& loop) {
  auto sleeping = loop.sleep_for(std::chrono::milliseconds(20));
  static_cast<void>(co_await std::move(sleeping));
}

// Stops next() after a moment; whether that gave `cancelled`.
task<bool> stop_next(bench& with, spooled_part_stream& stream) {
  bool cancelled = false;
  stop_source stop;
  async_scope scope(*with.loop);
  scope.spawn(expect_cancelled(stream, stop.token(), cancelled));
  co_await pass_time(*with.loop);
  BOOST_TEST(scope.active() == 1U);
  stop.request_stop();
  co_await scope.join();
  co_return cancelled;
}

task<bool> stop_while_reading(bench& with) {
  BOOST_REQUIRE(::write(with.write_end.get(), "some", 4) == 4);
  with.observed = 0;
  const auto stream = with.stream();
  const bool cancelled = co_await stop_next(with, *stream);
  co_await stream->close();
  co_return cancelled;
}

task<bool> stop_while_full(bench& with) {
  async_scope scope(*with.loop);
  scope.spawn(feed(with, std::move(with.write_end), 100'000, 1000));
  const auto stream = with.stream();
  std::vector<spooled_part> parts;
  for (std::size_t i = 0; i < with.disk->parts(); ++i) {
    auto next = co_await stream->next();
    BOOST_REQUIRE((next.has_value() && next->has_value()));
    parts.push_back(std::move(**next));
  }
  const std::uint64_t read = with.observed;
  const bool cancelled = co_await stop_next(with, *stream);
  // A full spool holds the producer back.
  BOOST_TEST(with.observed == read);
  with.read_end.reset();
  co_await scope.join();
  co_await stream->close();
  co_return cancelled;
}

task<bool> stop_without_slot(bench& with) {
  std::vector<slot_lease> held;
  while (with.pool.free_slots() > 0) {
    auto slot = co_await with.pool.acquire();
    BOOST_REQUIRE(slot.has_value());
    held.push_back(std::move(*slot));
  }
  const auto stream = with.stream();
  const bool cancelled = co_await stop_next(with, *stream);
  co_await stream->close();
  co_return cancelled;
}

task<bool> stop_finish(bench& with) {
  with.write_end.reset();
  unique_fd keep;
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  with.read_end = std::move(ends->read_end);
  keep = std::move(ends->write_end);
  const auto piece = with.text.at(0, 20'480);
  BOOST_REQUIRE(::write(keep.get(), piece.data(), piece.size()) == 20'480);
  const auto stream = with.stream();
  auto next = co_await stream->next();
  BOOST_REQUIRE((next.has_value() && next->has_value()));
  stop_source stop;
  stop.request_stop();
  auto finishing = (*next)->finish(stop.token());
  const auto finished = co_await std::move(finishing);
  // Also a part that nobody wants gives its place back, once its writes have ended.
  next->reset();
  co_await stream->close();
  co_return !finished && finished.error().what_now == disposition::cancelled;
}

// Reads that begin anywhere, as after a rewind.
task<bool> fetch_from_anywhere(bench& with) {
  async_scope scope(*with.loop);
  scope.spawn(feed(with, std::move(with.write_end), 20'000, 1000));
  const auto stream = with.stream();
  auto next = co_await stream->next();
  BOOST_REQUIRE((next.has_value() && next->has_value()));
  spooled_part part = std::move(**next);
  auto done = co_await part.finish();
  BOOST_REQUIRE(done.has_value());
  auto slot = co_await with.pool.acquire();
  BOOST_REQUIRE(slot.has_value());
  bool right = true;
  {
    spooled_body body(*with.disk, with.pool, part, std::move(*slot));
    for (const std::uint64_t offset : {0U, 1U, 4095U, 4096U, 10'001U}) {
      auto fetching = body.fetch(1, offset, {});
      auto got = co_await std::move(fetching);
      right = right && got && !got->empty() && with.text.equal(*got, offset);
    }
    // But nobody gets to the end who did not begin at the beginning.
    auto fetching = body.fetch(1, 19'999, {});
    auto got = co_await std::move(fetching);
    right = right && !got && got.error().what_now == disposition::retry;
  }
  co_await scope.join();
  co_await stream->close();
  co_return right;
}

// Sends a part whose copy on the disk is spoiled at `at`, then puts right, as a disk that errs once
// in a while: how many bytes were given out by the first transfer, and how it and a second ended.
struct spoiled_transfers {
  std::size_t given = 0;
  std::optional<error> first;
  std::optional<error> second;
};

task<std::optional<error>> send_all(spooled_body& body, std::size_t& given) {
  for (unsigned turn = 0; given < body.size(); ++turn) {
    auto fetching = body.fetch(turn % body.buffers(), given, {});
    auto got = co_await std::move(fetching);
    if (!got) {
      co_return got.error();
    }
    given += got->size();
  }
  co_return std::nullopt;
}

task<spoiled_transfers> send_spoiled(bench& with, std::uint64_t at) {
  async_scope scope(*with.loop);
  scope.spawn(feed(with, std::move(with.write_end), 20'000, 1000));
  const auto stream = with.stream();
  auto next = co_await stream->next();
  BOOST_REQUIRE((next.has_value() && next->has_value()));
  spooled_part part = std::move(**next);
  auto done = co_await part.finish();
  BOOST_REQUIRE(done.has_value());
  // Its file has no name; the first region begins at 0.
  const std::string path = "/proc/self/fd/" + std::to_string(with.disk->descriptor());
  const unique_fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  BOOST_REQUIRE(file.valid());
  const auto flip = [&] {
    char byte = 0;
    BOOST_REQUIRE(::pread(file.get(), &byte, 1, static_cast<off_t>(at)) == 1);
    byte = static_cast<char>(byte ^ 1);
    BOOST_REQUIRE(::pwrite(file.get(), &byte, 1, static_cast<off_t>(at)) == 1);
    BOOST_REQUIRE(::fsync(file.get()) == 0);
  };
  auto slot = co_await with.pool.acquire();
  BOOST_REQUIRE(slot.has_value());
  spoiled_transfers seen;
  {
    spooled_body body(*with.disk, with.pool, part, std::move(*slot));
    flip();
    auto sending = send_all(body, seen.given);
    seen.first = co_await std::move(sending);
    flip();
    std::size_t again = 0;
    auto repeating = send_all(body, again);
    seen.second = co_await std::move(repeating);
  }
  co_await scope.join();
  co_await stream->close();
  co_return seen;
}

struct write_failure {
  error finish;
  error next;
};

task<write_failure> fail_writes(bench& with) {
  const unique_fd nothing(::open("/proc/self/mem", O_RDWR | O_CLOEXEC));
  BOOST_REQUIRE(nothing.valid());
  async_scope scope(*with.loop);
  scope.spawn(feed(with, std::move(with.write_end), 200'000, 1000));
  const auto stream = with.stream();
  auto first = co_await stream->next();
  BOOST_REQUIRE((first.has_value() && first->has_value()));
  auto first_done = co_await (*first)->finish();
  BOOST_REQUIRE(first_done.has_value());
  BOOST_REQUIRE(::dup3(nothing.get(), with.disk->descriptor(), O_CLOEXEC) ==
                with.disk->descriptor());
  write_failure seen;
  auto second = co_await stream->next();
  if (second) {
    BOOST_REQUIRE(second->has_value());
    auto finished = co_await (*second)->finish();
    BOOST_REQUIRE(!finished.has_value());
    seen.finish = finished.error();
    auto third = co_await stream->next();
    BOOST_REQUIRE(!third.has_value());
    seen.next = third.error();
  } else {
    seen.next = seen.finish = second.error();
  }
  with.read_end.reset();
  co_await scope.join();
  co_await stream->close();
  co_return seen;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_wait_can_be_stopped_and_loses_nothing) {
  for (const auto& waiting :
       {stop_while_reading, stop_while_full, stop_without_slot, stop_finish}) {
    bench with(8192, 4, 20'480, 2, 1 << 20);
    BOOST_TEST(with.loop->run(waiting(with)));
  }
}

BOOST_AUTO_TEST_CASE(a_body_can_be_fetched_from_anywhere) {
  bench with(8192, 4, 20'480, 2, 1 << 20);
  BOOST_TEST(with.loop->run(fetch_from_anywhere(with)));
}

BOOST_AUTO_TEST_CASE(a_part_that_the_disk_has_spoiled_is_never_sent_whole) {
  for (const std::uint64_t at : {0U, 4095U, 4096U, 10'000U, 19'999U}) {
    bench with(8192, 4, 20'480, 2, 1 << 20);
    const spoiled_transfers seen = with.loop->run(send_spoiled(with, at));
    BOOST_REQUIRE(seen.first.has_value());
    BOOST_TEST((seen.first->why == reason::integrity));
    BOOST_TEST((seen.first->what_now == disposition::fail));
    BOOST_TEST(seen.first->message.find(with.here.path()) != std::string::npos);
    BOOST_TEST(!seen.first->remedy.empty());
    BOOST_TEST(seen.given == 16'384U);  // all but the last piece
    BOOST_TEST(!seen.second.has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_failed_write_is_reported_by_its_part_and_by_the_stream) {
  bench with(8192, 4, 20'480, 4, 1 << 20);
  const write_failure seen = with.loop->run(fail_writes(with));
  for (const error& failure : {seen.finish, seen.next}) {
    BOOST_TEST((failure.what_now == disposition::fail));
    BOOST_TEST(failure.message.find(with.here.path()) != std::string::npos, failure.message);
    BOOST_TEST(!failure.remedy.empty());
  }
}

BOOST_AUTO_TEST_SUITE_END()
