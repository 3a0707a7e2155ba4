// A sealed stream from end to end, by either of the two part streams, for tests: feeds a text into
// a pipe in pieces of any size, takes the parts as an upload would, and keeps what it would have
// sent.
#pragma once

#include "engine/async_scope.hh"
#include "engine/buffer_pool.hh"
#include "engine/child_process.hh"
#include "engine/crc32.hh"
#include "engine/hash_worker.hh"
#include "engine/part_stream.hh"
#include "engine/spool.hh"
#include "engine/spooled_part_stream.hh"
#include "tests/engine/scratch_directory.hh"
#include "tests/engine/support.hh"

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bts3::engine::testing {

struct sent_part {
  std::uint32_t chunk = 0;
  std::uint32_t number = 0;
  std::size_t plain_bytes = 0;
  std::size_t length = 0;
  bool fills_chunk = false;
  bool full = false;
  part_digest digest;
  std::vector<std::byte> body;  // of one that is the same as before: empty
};

struct sent_stream {
  std::vector<sent_part> parts;
  std::optional<error> failure;
  std::uint64_t total = 0;
  std::uint64_t plain_total = 0;
};

using recorded_parts = std::map<std::pair<std::uint32_t, std::uint32_t>, recorded_part>;

// What a journal would have of it.
inline recorded_parts records_of(const sent_stream& stream) {
  recorded_parts made;
  for (const sent_part& part : stream.parts) {
    recorded_part& one = made[{part.chunk, part.number}];
    one.bytes = part.length;
    one.plain_bytes = part.plain_bytes;
    one.digest = part.digest;
    one.digest.same = false;
  }
  return made;
}

struct stream_setup {
  seal_factory* by = nullptr;
  part_stream_limits limits;
  std::size_t slot_bytes = 0;  // of the spool's small slots; 0: parts in memory
  std::size_t slots = 3;
  recorded_parts recorded;
  std::uint64_t seed = 1;
  std::size_t write_max = 5000;  // pieces that the pipe is fed with have 1 to so many bytes
};

// Everything that a stream needs.
class stream_bench {
 public:
  explicit stream_bench(stream_setup setup)
      : with(std::move(setup)),
        loop(make_reactor()),
        pool(*loop, with.slot_bytes > 0 ? with.slot_bytes : with.limits.part_bytes, with.slots,
             log),
        reading(*loop, 2 * 4096, 4, log),
        hashes(*loop) {
    std::signal(SIGPIPE, SIG_IGN);  // as the program does: a feeder may outlive the reader
    if (with.slot_bytes > 0) {
      spool_options options;
      options.directory = here.path();
      options.part_bytes = with.limits.part_bytes;
      options.budget_bytes = (with.limits.part_bytes + 4095) / 4096 * 4096 * 3;
      auto made = spool::create(*loop, options, log);
      BOOST_REQUIRE_MESSAGE(made.has_value(), bts3::testing::error_text(made));
      disk = std::move(*made);
    }
    auto ends = make_pipe();
    BOOST_REQUIRE(ends.has_value());
    read_end = std::move(ends->read_end);
    write_end = std::move(ends->write_end);
    BOOST_REQUIRE(set_nonblocking(read_end.get()).has_value());
  }
  ~stream_bench() {
    BOOST_TEST((!disk || disk->free_parts() == disk->parts()));
    BOOST_TEST(pool.free_slots() == pool.slots());
    BOOST_TEST(reading.free_slots() == reading.slots());
    BOOST_TEST(loop->operations_in_flight() == 0U);
  }
  stream_bench(const stream_bench&) = delete;
  stream_bench& operator=(const stream_bench&) = delete;

  [[nodiscard]] part_sealing sealing() {
    part_sealing made;
    made.by = with.by;
    if (!with.recorded.empty()) {
      made.recorded = [this](std::uint32_t chunk,
                             std::uint32_t part) -> std::optional<recorded_part> {
        const auto found = with.recorded.find({chunk, part});
        return found == with.recorded.end() ? std::nullopt : std::optional(found->second);
      };
    }
    return made;
  }
  [[nodiscard]] stream_observer watch() {
    return [this](std::span<const std::byte> piece) -> result<void> {
      observed.insert(observed.end(), piece.begin(), piece.end());
      return observed.size() > refuse_after ? result<void>(system_error(EPROTO, "refused")) : ok();
    };
  }
  [[nodiscard]] std::unique_ptr<part_stream> in_memory() {
    return std::make_unique<part_stream>(pool, hashes, read_end.get(), with.limits, watch(),
                                         sealing());
  }
  [[nodiscard]] std::unique_ptr<spooled_part_stream> spooled() {
    return std::make_unique<spooled_part_stream>(*loop, *disk, pool, hashes, read_end.get(),
                                                 with.limits, watch(), sealing());
  }

  stream_setup with;
  scratch_directory here;
  recording_log log;
  std::unique_ptr<reactor> loop;
  buffer_pool pool;
  buffer_pool reading;  // of bodies from the disk
  hash_worker hashes;
  std::unique_ptr<spool> disk;
  unique_fd read_end;
  unique_fd write_end;
  std::vector<std::byte> observed;
  std::size_t refuse_after = SIZE_MAX;
};

inline task<void> feed_text(stream_bench& bench, unique_fd pipe, std::span<const std::byte> text) {
  std::mt19937_64 random(bench.with.seed);
  while (!text.empty()) {
    const std::size_t step =
        std::min<std::size_t>(text.size(), random() % bench.with.write_max + 1);
    auto writing = bench.loop->write_all(pipe.get(), text.first(step));
    auto written = co_await std::move(writing);
    if (!written) {
      co_return;  // the reader has given up
    }
    text = text.subspan(step);
    if (random() % 4 == 0) {
      auto yielding = bench.loop->yield();
      co_await std::move(yielding);
    }
  }
}

template <typename Part>
sent_part noted(const Part& part) {
  sent_part made;
  made.chunk = part.chunk_index;
  made.number = part.part_number;
  made.plain_bytes = part.plain_bytes;
  made.length = part.bytes;
  made.fills_chunk = part.fills_chunk;
  made.full = part.full;
  return made;
}

inline task<void> send_from_memory(stream_bench& bench, sealed_part part, sent_stream& seen,
                                   std::size_t index) {
  auto finishing = part.finish();
  auto digest = co_await std::move(finishing);
  if (!digest) {
    seen.failure = seen.failure ? seen.failure : digest.error();
    co_return;
  }
  auto yielding = bench.loop->yield();
  co_await std::move(yielding);
  seen.parts[index].digest = *digest;
  if (!digest->same) {
    const auto body = part.body();
    seen.parts[index].body.assign(body.begin(), body.end());
  }
}

inline task<void> send_from_disk(stream_bench& bench, spooled_part part, sent_stream& seen,
                                 std::size_t index) {
  auto finishing = part.finish();
  auto digest = co_await std::move(finishing);
  if (!digest) {
    seen.failure = seen.failure ? seen.failure : digest.error();
    co_return;
  }
  seen.parts[index].digest = *digest;
  if (digest->same) {
    co_return;
  }
  auto acquiring = bench.reading.acquire();
  auto slot = co_await std::move(acquiring);
  BOOST_REQUIRE(slot.has_value());
  spooled_body body(*bench.disk, bench.reading, part, std::move(*slot));
  for (std::uint64_t at = 0; at < body.size();) {
    auto fetching = body.fetch(0, at, {});
    auto got = co_await std::move(fetching);
    BOOST_REQUIRE_MESSAGE(got.has_value(), bts3::testing::error_text(got));
    seen.parts[index].body.insert(seen.parts[index].body.end(), got->begin(), got->end());
    at += got->size();
  }
}

// Until the stream has ended or something has failed.
template <typename Stream, typename Send>
task<void> take_parts(stream_bench& bench, Stream& stream, Send send, sent_stream& seen) {
  async_scope scope(*bench.loop);
  while (!seen.failure) {
    auto reading = stream.next();
    auto next = co_await std::move(reading);
    if (!next) {
      seen.failure = seen.failure ? seen.failure : next.error();
      break;
    }
    if (!*next) {
      break;
    }
    seen.parts.push_back(noted(**next));
    scope.spawn(send(bench, std::move(**next), seen, seen.parts.size() - 1));
  }
  auto joining = scope.join();
  co_await std::move(joining);
  seen.total = stream.total_bytes();
  seen.plain_total = stream.plain_total_bytes();
}

inline task<sent_stream> send_stream(stream_bench& bench, std::span<const std::byte> text) {
  sent_stream seen;
  async_scope scope(*bench.loop);
  scope.spawn(feed_text(bench, std::move(bench.write_end), text));
  if (bench.disk) {
    const auto stream = bench.spooled();
    auto taking = take_parts(bench, *stream, send_from_disk, seen);
    co_await std::move(taking);
    auto closing = stream->close();
    co_await std::move(closing);
  } else {
    const auto stream = bench.in_memory();
    auto taking = take_parts(bench, *stream, send_from_memory, seen);
    co_await std::move(taking);
  }
  bench.read_end.reset();
  auto joining = scope.join();
  co_await std::move(joining);
  co_return seen;
}

// The observer must have seen the text, if all went well.
inline sent_stream run_stream(stream_setup setup, std::span<const std::byte> text) {
  stream_bench bench(std::move(setup));
  sent_stream seen = bench.loop->run(send_stream(bench, text));
  if (!seen.failure) {
    BOOST_TEST(
        (std::equal(text.begin(), text.end(), bench.observed.begin(), bench.observed.end())));
  }
  return seen;
}

// Digests as they must be of `bodies`, the parts as they are in the store: those of the same chunk
// before a part count as well as its own.
inline void check_digests(const sent_stream& seen, std::span<const std::vector<std::byte>> bodies,
                          bool with_payload) {
  BOOST_REQUIRE(seen.parts.size() == bodies.size());
  sha256_hasher chunk;
  std::uint64_t total = 0;
  for (std::size_t index = 0; index < bodies.size(); ++index) {
    const sent_part& part = seen.parts[index];
    if (part.number == 1) {
      chunk = sha256_hasher();
    }
    chunk.update(bodies[index]);
    total += bodies[index].size();
    BOOST_TEST_REQUIRE(part.length == bodies[index].size());
    BOOST_TEST((part.digest.state == chunk.state()));
    BOOST_TEST((part.digest.digest_if_last == chunk.digest()));
    BOOST_TEST(part.digest.crc32 == crc32(0, bodies[index]));
    if (with_payload && !part.digest.same) {
      sha256_hasher alone;
      alone.update(bodies[index]);
      BOOST_REQUIRE(part.digest.payload_sha256.has_value());
      BOOST_TEST((*part.digest.payload_sha256 == alone.digest()));
    }
  }
  BOOST_TEST(seen.total == total);
}

inline std::vector<std::vector<std::byte>> bodies_of(const sent_stream& seen) {
  std::vector<std::vector<std::byte>> made;
  for (const sent_part& part : seen.parts) {
    made.push_back(part.body);
  }
  return made;
}

}  // namespace bts3::engine::testing
