#include "engine/part_stream.hh"
#include "engine/async_scope.hh"
#include "engine/child_process.hh"

#include "tests/engine/support.hh"

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

constexpr std::size_t part_bytes = 4096;

struct seen_part {
  std::size_t bytes;
  std::uint32_t chunk;
  std::uint32_t number;
  bool fills_chunk;
  std::string digest;
};

struct outcome {
  std::vector<seen_part> parts;
  std::string stream;    // what the observer saw
  std::string contents;  // what the parts held
  error failure;
};

task<void> feed(reactor& loop, unique_fd pipe, std::string text, std::size_t step) {
  const auto all = std::as_bytes(std::span(text));
  for (std::size_t at = 0; at < text.size(); at += step) {
    auto written =
        co_await loop.write_all(pipe.get(), all.subspan(at, std::min(step, text.size() - at)));
    if (!written) {
      // The reader has refused and closed its end.
      BOOST_REQUIRE(written.error().status == EPIPE);
      co_return;
    }
    co_await loop.yield();
  }
}

task<outcome> cut(reactor& loop, std::string text, std::size_t step, std::uint64_t chunk_bytes,
                  std::size_t refuse_after) {
  recording_log log;
  outcome seen;
  buffer_pool pool(loop, part_bytes, 2, log);
  hash_worker hashes(loop);
  auto ends = make_pipe();
  BOOST_REQUIRE(ends.has_value());
  BOOST_REQUIRE(set_nonblocking(ends->read_end.get()).has_value());
  async_scope scope(loop);
  scope.spawn(feed(loop, std::move(ends->write_end), std::move(text), step));
  part_stream_limits limits;
  limits.part_bytes = part_bytes;
  limits.chunk_bytes = chunk_bytes;
  part_stream stream(pool, hashes, ends->read_end.get(), limits,
                     [&seen, refuse_after](std::span<const std::byte> piece) -> result<void> {
                       seen.stream.append(reinterpret_cast<const char*>(piece.data()),
                                          piece.size());
                       if (seen.stream.size() > refuse_after) {
                         return system_error(EPROTO, "refused");
                       }
                       return ok();
                     });
  for (;;) {
    auto next = co_await stream.next();
    if (!next) {
      seen.failure = next.error();
      break;
    }
    if (!*next) {
      break;
    }
    sealed_part part = std::move(**next);
    auto finishing = part.hash.finish();
    const part_digest digest = co_await std::move(finishing);
    seen.contents.append(reinterpret_cast<const char*>(part.body().data()), part.bytes);
    seen.parts.push_back({part.bytes, part.chunk_index, part.part_number, part.fills_chunk,
                          digest.digest_if_last.hex()});
  }
  // Whoever stops reading early must let the feeder end.
  ends->read_end.reset();
  co_await scope.join();
  co_return seen;
}

outcome cut_stream(std::size_t bytes, std::size_t step, std::uint64_t chunk_bytes,
                   std::size_t refuse_after = SIZE_MAX) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) {
    text += static_cast<char>('a' + i * 7 % 26);
  }
  auto loop = make_reactor();
  outcome seen = loop->run(cut(*loop, text, step, chunk_bytes, refuse_after));
  if (seen.failure.message.empty()) {
    BOOST_TEST((seen.stream == text));
    BOOST_TEST((seen.contents == text));
  }
  return seen;
}

std::string layout(const outcome& seen) {
  std::string text;
  for (const seen_part& part : seen.parts) {
    text += std::to_string(part.chunk) + "." + std::to_string(part.number) + ":" +
            std::to_string(part.bytes) + (part.fills_chunk ? "! " : " ");
  }
  return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(part_stream_suite)

BOOST_AUTO_TEST_CASE(short_reads_fill_parts_to_the_brim) {
  BOOST_TEST(layout(cut_stream(10'000, 80, 1 << 20)) == "0.1:4096 0.2:4096 0.3:1808 ");
}

BOOST_AUTO_TEST_CASE(an_empty_stream_makes_no_part) {
  BOOST_TEST(layout(cut_stream(0, 1, 1 << 20)).empty());
}

BOOST_AUTO_TEST_CASE(one_byte_makes_one_part) {
  BOOST_TEST(layout(cut_stream(1, 1, 1 << 20)) == "0.1:1 ");
}

BOOST_AUTO_TEST_CASE(an_end_exactly_on_a_part_boundary_makes_no_empty_part) {
  BOOST_TEST(layout(cut_stream(8192, 5000, 1 << 20)) == "0.1:4096 0.2:4096 ");
}

BOOST_AUTO_TEST_CASE(a_chunk_limit_on_before_and_after_a_part_boundary_is_kept_exactly) {
  BOOST_TEST(layout(cut_stream(20'000, 999, 8192)) ==
             "0.1:4096 0.2:4096! 1.1:4096 1.2:4096! 2.1:3616 ");
  BOOST_TEST(layout(cut_stream(10'000, 999, 8191)) == "0.1:4096 0.2:4095! 1.1:1809 ");
  BOOST_TEST(layout(cut_stream(10'000, 999, 8193)) == "0.1:4096 0.2:4096 0.3:1! 1.1:1807 ");
  BOOST_TEST(layout(cut_stream(8192, 999, 8192)) == "0.1:4096 0.2:4096! ");
}

BOOST_AUTO_TEST_CASE(each_chunk_has_a_digest_of_its_own) {
  const outcome two = cut_stream(8192 * 2, 4096, 8192);
  const outcome one = cut_stream(8192, 4096, 8192);
  BOOST_REQUIRE(two.parts.size() == 4u);
  BOOST_TEST(two.parts[1].digest == one.parts[1].digest);
  BOOST_TEST(two.parts[3].digest != two.parts[1].digest);
}

BOOST_AUTO_TEST_CASE(an_observers_refusal_ends_the_stream) {
  ::signal(SIGPIPE, SIG_IGN);
  const outcome seen = cut_stream(6000, 100, 1 << 20, 5000);
  BOOST_TEST(seen.failure.message.find("refused") != std::string::npos);
  BOOST_TEST(layout(seen) == "0.1:4096 ");
}

BOOST_AUTO_TEST_SUITE_END()
