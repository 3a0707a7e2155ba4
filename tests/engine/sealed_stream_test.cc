#include "engine/crc32.hh"
#include "engine/part_stream.hh"
#include "engine/spooled_part_stream.hh"

#include "tests/engine/sealed_stream_checks.hh"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <set>
#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

void send_and_check(const seal_layout& layout, std::size_t part_bytes, std::uint64_t chunk_bytes,
                    std::size_t slot_bytes, std::size_t text_bytes, std::uint64_t seed,
                    std::size_t write_max = 5000) {
  BOOST_TEST_CONTEXT("layout " << layout.head << "/" << layout.stride << "/" << layout.gap
                               << ", parts of " << part_bytes << ", chunks of " << chunk_bytes
                               << ", slots of " << slot_bytes << ", text of " << text_bytes
                               << ", seed " << seed) {
    played_factory by(layout);
    stream_setup with = setup_of(by, part_bytes, chunk_bytes, slot_bytes);
    with.seed = seed;
    with.write_max = write_max;
    with.limits.payload_sha256 = seed % 2 == 0;
    const bytes text = text_of(text_bytes);
    const sent_stream seen = run_stream(with, text);
    check_stream(seen, bodies_of(seen), text, with);
    // Never one key for two parts, and none that was not needed.
    BOOST_TEST(by.calls.made["begin"] == static_cast<int>(seen.parts.size()));
    BOOST_TEST(by.calls.made["fingerprint like"] == 0);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sealed_stream_suite)

BOOST_AUTO_TEST_CASE(an_empty_stream_makes_no_part) {
  for (const std::size_t slot_bytes : {std::size_t{0}, std::size_t{8192}}) {
    send_and_check(odd, 20'480, 1 << 20, slot_bytes, 0, 1);
  }
}

BOOST_AUTO_TEST_CASE(every_end_around_segments_parts_slots_and_chunks_is_met) {
  constexpr std::size_t part_bytes = 20'480;
  for (const seal_layout& layout : {odd, wide}) {
    for (const std::uint64_t chunk_bytes : {50'000U, 40'960U, 40'961U}) {
      part_stream_limits limits;
      limits.part_bytes = part_bytes;
      limits.chunk_bytes = chunk_bytes;
      part_cutter cutter(limits, layout);
      std::set<std::size_t> ends{1, layout.segment_plain()};
      ends.insert(2 * layout.segment_plain());
      // Behind each slot of the spool, and 1 to a tag before.
      for (std::size_t slot = 8192; slot < part_bytes; slot += 8192) {
        ends.insert(layout.plain_before(slot));
      }
      for (std::uint64_t plain = 0; ends.size() < 14;) {
        const std::size_t most = cutter.plain_bytes_max();
        cutter.cut(most);
        plain += most;
        ends.insert(plain);
      }
      for (const std::size_t end : ends) {
        for (const std::size_t length : {end - 1, end, end + 1}) {
          for (const std::size_t slot_bytes : {0U, 8192U, 12'288U}) {
            send_and_check(layout, part_bytes, chunk_bytes, slot_bytes, length, length);
          }
        }
      }
    }
  }
}

// Ends that leave the tag before, across and behind the end of a slot.
BOOST_AUTO_TEST_CASE(a_tag_may_lie_in_two_slots) {
  constexpr std::size_t slot_bytes = 4096;
  for (std::size_t stride = 4096 - 32 - 40; stride <= 4096 - 32 + 8; ++stride) {
    const seal_layout layout{32, stride, 17};
    for (const std::size_t text_bytes : {stride - 17, stride - 16, 2 * (stride - 17)}) {
      send_and_check(layout, 20'480, 60'000, slot_bytes, text_bytes, stride);
    }
  }
}

BOOST_AUTO_TEST_CASE(part_sizes_that_leave_a_tag_or_less_over_lose_no_byte) {
  // 64 bytes a stride, so that each remainder is met.
  for (std::size_t head = 32; head < 32 + 64; ++head) {
    const seal_layout layout{head, 320, 16};
    send_and_check(layout, 4096, 9000, 0, 20'000, head);
  }
}

BOOST_AUTO_TEST_CASE(random_streams_come_back) {
  std::mt19937_64 random(20'261'129);
  for (int round = 0; round < 150; ++round) {
    const seal_layout layout =
        std::array{tiny, odd, wide, seal_layout{100, 1000 + random() % 3000, 16}}[random() % 4];
    const std::size_t part_bytes = 4096 + 64 * (random() % 1000);
    const std::uint64_t chunk_bytes = part_bytes + random() % (4 * part_bytes);
    const std::size_t slot_bytes = random() % 2 == 0 ? 0 : 4096 * (1 + random() % 5);
    send_and_check(layout, part_bytes, chunk_bytes, slot_bytes, random() % 300'000, random(),
                   random() % 2 == 0 ? 100 + random() % 100 : 70'000);
  }
}

BOOST_AUTO_TEST_CASE(two_small_slots_are_enough) {
  played_factory by(wide);
  stream_setup with = setup_of(by, 20'480, 100'000, 4096);
  with.slots = 2;
  const bytes text = text_of(150'000);
  const sent_stream seen = run_stream(with, text);
  check_stream(seen, bodies_of(seen), text, with);
}

BOOST_AUTO_TEST_CASE(equal_texts_in_two_parts_share_nothing) {
  played_factory by(odd);
  const stream_setup with = setup_of(by, 20'480, 1 << 20, 0);
  const bytes text(60'000, std::byte{0});
  const sent_stream seen = run_stream(with, text);
  std::set<std::string> blocks;
  for (const sent_part& part : seen.parts) {
    for (std::size_t at = odd.head; at + 16 <= part.body.size(); at += 16) {
      BOOST_TEST_REQUIRE(
          blocks.insert(std::string(reinterpret_cast<const char*>(part.body.data()) + at, 16))
              .second);
    }
  }
}

BOOST_AUTO_TEST_CASE(whatever_fails_ends_the_stream_with_its_error_and_shows_no_body) {
  for (const std::size_t slot_bytes : {std::size_t{0}, std::size_t{8192}}) {
    for (const char* const name : {"begin", "head", "segment", "seal", "tag", "fingerprint",
                                   "fingerprint update", "fingerprint finish"}) {
      for (const int at : {1, 2, 3}) {
        BOOST_TEST_CONTEXT("slots of " << slot_bytes << ", " << name << " " << at) {
          played_factory by(wide);
          by.calls.failing = name;
          by.calls.fails_at = at;
          const sent_stream seen =
              run_stream(setup_of(by, 20'480, 1 << 20, slot_bytes), text_of(100'000));
          BOOST_REQUIRE(seen.failure.has_value());
          BOOST_TEST(seen.failure->message == std::string("played: ") + name);
          // In the order of the stream: whole parts, and then none.
          std::size_t whole = 0;
          while (whole < seen.parts.size() && !seen.parts[whole].body.empty()) {
            ++whole;
          }
          for (std::size_t index = whole; index < seen.parts.size(); ++index) {
            BOOST_TEST(seen.parts[index].body.empty());
          }
          const std::string one = name;
          const bool once_a_part = one == "begin" || one == "head" || one == "fingerprint" ||
                                   one == "fingerprint finish";
          BOOST_TEST(whole == (once_a_part ? static_cast<std::size_t>(at - 1) : 0U));
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(an_observers_refusal_ends_the_stream) {
  for (const std::size_t slot_bytes : {std::size_t{0}, std::size_t{8192}}) {
    for (const std::size_t after : {100U, 10'000U, 21'000U, 45'000U}) {
      played_factory by(wide);
      stream_bench bench(setup_of(by, 20'480, 1 << 20, slot_bytes));
      bench.refuse_after = after;
      const sent_stream seen = bench.loop->run(send_stream(bench, text_of(100'000)));
      BOOST_REQUIRE(seen.failure.has_value());
      BOOST_TEST(seen.failure->message.find("refused") != std::string::npos);
    }
  }
}

namespace {

task<void> expect_cancelled(std::function<task<bool>(stop_token)> next, stop_token stop,
                            bool& cancelled) {
  auto waiting = next(stop);
  cancelled = co_await std::move(waiting);
}

template <typename Stream>
task<bool> is_cancelled(Stream& stream, stop_token stop) {
  auto reading = stream.next(stop);
  auto next = co_await std::move(reading);
  co_return !next && next.error().what_now == disposition::cancelled;
}

task<void> hold_slots(stream_bench& bench, std::size_t count, std::vector<slot_lease>& held) {
  while (held.size() < count) {
    auto acquiring = bench.pool.acquire();
    auto slot = co_await std::move(acquiring);
    BOOST_REQUIRE(slot.has_value());
    held.push_back(std::move(*slot));
  }
}

// `written` bytes are in the pipe, whose other end stays open, and `held` slots are taken; next()
// is stopped while it waits for more of either. Parts that it gave before are dropped unfinished.
template <typename Stream>
task<bool> stop_while_waiting(stream_bench& bench, Stream& stream, const bytes& text,
                              std::size_t held_slots) {
  std::vector<slot_lease> held;
  auto holding = hold_slots(bench, held_slots, held);
  co_await std::move(holding);
  stop_source stop;
  bool cancelled = false;
  async_scope scope(*bench.loop);
  scope.spawn(feed_text(bench, unique_fd(::dup(bench.write_end.get())), text));
  for (;;) {
    auto before = bench.observed.size();
    scope.spawn(
        expect_cancelled([&stream](stop_token token) { return is_cancelled(stream, token); },
                         stop.token(), cancelled));
    for (int calm = 0; calm < 3;) {
      auto sleeping = bench.loop->sleep_for(std::chrono::milliseconds(5));
      static_cast<void>(co_await std::move(sleeping));
      calm = bench.observed.size() == before ? calm + 1 : 0;
      before = bench.observed.size();
    }
    break;
  }
  stop.request_stop();
  bench.read_end.reset();  // the feeder may still wait
  auto joining = scope.join();
  co_await std::move(joining);
  co_return cancelled;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_stop_while_a_part_fills_leaves_nobody_in_its_memory) {
  // With so much of a part of 20,480 bytes there, in slots of 8,192: nothing, a byte, less than a
  // segment, one and a byte, a slot whose last segment waits for the next slot's first byte, ...
  for (const std::size_t there : {0U, 1U, 3000U, 4000U, 7500U, 8100U, 8192U, 12'000U, 16'000U}) {
    for (const std::size_t slot_bytes : {std::size_t{0}, std::size_t{8192}}) {
      for (const bool recorded : {false, true}) {
        BOOST_TEST_CONTEXT(there << " bytes, slots of " << slot_bytes) {
          played_factory by(wide);
          stream_setup with = setup_of(by, 20'480, 1 << 20, slot_bytes);
          if (recorded) {
            with.recorded[{0, 1}].digest.fingerprint = "key1:5";
          }
          stream_bench bench(with);
          const bytes text = text_of(there);
          if (slot_bytes == 0) {
            const auto stream = bench.in_memory();
            BOOST_TEST(bench.loop->run(stop_while_waiting(bench, *stream, text, 0)));
          } else {
            const auto stream = bench.spooled();
            BOOST_TEST(bench.loop->run(stop_while_waiting(bench, *stream, text, 0)));
            bench.loop->run(stream->close());
          }
        }
      }
    }
  }
}

// The first slot is full and not final, and there is no second one.
BOOST_AUTO_TEST_CASE(a_stop_while_a_piece_waits_for_the_next_slot_leaves_nobody_in_its_memory) {
  played_factory by(wide);
  stream_bench bench(setup_of(by, 20'480, 1 << 20, 8192));
  const auto stream = bench.spooled();
  BOOST_TEST(bench.loop->run(stop_while_waiting(bench, *stream, text_of(20'000), 2)));
  bench.loop->run(stream->close());
}

namespace {

template <typename Stream>
task<void> drop_parts(stream_bench& bench, Stream& stream) {
  const bytes text = text_of(100'000);
  async_scope scope(*bench.loop);
  scope.spawn(feed_text(bench, std::move(bench.write_end), text));
  for (int count = 0; count < 2; ++count) {
    auto reading = stream.next();
    auto next = co_await std::move(reading);
    // And nobody takes it. The one behind it in memory cannot be sealed then.
    BOOST_REQUIRE((count == 0 || bench.disk
                       ? next.has_value() && next->has_value()
                       : next.has_value() || next.error().what_now == disposition::cancelled));
  }
  bench.read_end.reset();
  auto joining = scope.join();
  co_await std::move(joining);
}

}  // namespace

BOOST_AUTO_TEST_CASE(parts_that_nobody_takes_give_back_what_they_hold) {
  for (int round = 0; round < 20; ++round) {
    for (const std::size_t slot_bytes : {std::size_t{0}, std::size_t{8192}}) {
      played_factory by(wide);
      stream_bench bench(setup_of(by, 20'480, 1 << 20, slot_bytes));
      if (slot_bytes == 0) {
        const auto stream = bench.in_memory();
        bench.loop->run(drop_parts(bench, *stream));
      } else {
        const auto stream = bench.spooled();
        bench.loop->run(drop_parts(bench, *stream));
        bench.loop->run(stream->close());
      }
    }
  }
}

namespace {

// Looks at the body of the first part, with or without waiting for its seal; whether it is the
// recorded part.
task<bool> look_too_early(stream_bench& bench, bool waits) {
  const auto stream = bench.in_memory();
  async_scope scope(*bench.loop);
  const bytes text = text_of(30'000);
  scope.spawn(feed_text(bench, std::move(bench.write_end), text));
  auto reading = stream->next();
  auto next = co_await std::move(reading);
  sealed_part part = std::move(**next);
  bool same = false;
  if (waits) {
    auto finishing = part.finish();
    const auto digest = co_await std::move(finishing);
    same = digest->same;
  }
  const bool there = part.body().size() == part.bytes;
  bench.read_end.reset();
  auto joining = scope.join();
  co_await std::move(joining);
  co_return there || same;
}

// In a child: the signal that ended it, or 0.
int signal_of(const stream_setup& with, bool waits) {
  const pid_t child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);
    stream_bench bench(with);
    const bool there = bench.loop->run(look_too_early(bench, waits));
    ::_exit(there ? 0 : 1);
  }
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_REQUIRE((WIFSIGNALED(status) || WEXITSTATUS(status) == 0));
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(there_is_no_body_before_the_seal_is_done_nor_of_a_part_that_is_the_same) {
  played_factory by(odd);
  stream_setup with = setup_of(by, 20'480, 1 << 20, 0);
  BOOST_TEST(signal_of(with, false) == SIGABRT);
  BOOST_TEST(signal_of(with, true) == 0);
  const sent_stream seen = run_stream(with, text_of(30'000));
  with.recorded = records_of(seen);
  BOOST_TEST(signal_of(with, true) == SIGABRT);
  with.by = nullptr;  // not sealed: at any time
  with.recorded.clear();
  BOOST_TEST(signal_of(with, false) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
