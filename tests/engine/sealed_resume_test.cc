#include "engine/part_stream.hh"
#include "engine/spooled_part_stream.hh"

#include "tests/engine/sealed_stream_checks.hh"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

// Sealed streams that are sent again, beside what an earlier attempt has noted.
BOOST_AUTO_TEST_SUITE(sealed_resume_suite)

namespace {

struct attempt {
  bytes text;
  sent_stream first;
  std::vector<bytes> bodies;
};

attempt send_first(const stream_setup& with, std::size_t text_bytes) {
  attempt made;
  made.text = text_of(text_bytes);
  made.first = run_stream(with, made.text);
  made.bodies = bodies_of(made.first);
  check_stream(made.first, made.bodies, made.text, with);
  return made;
}

}  // namespace

// Chunks of three parts; the stream is sent again, and differs in part `differs` from 0 (or not).
BOOST_AUTO_TEST_CASE(what_is_the_same_as_before_is_found_and_what_follows_a_difference_is_sent) {
  for (const std::size_t slot_bytes : {std::size_t{0}, std::size_t{8192}}) {
    played_factory by(odd);
    const stream_setup with = setup_of(by, 20'480, 60'000, slot_bytes);
    const attempt before = send_first(with, 170'000);
    const std::size_t parts = before.first.parts.size();
    BOOST_REQUIRE(parts == 9U);
    for (std::size_t differs = 0; differs <= parts; ++differs) {
      BOOST_TEST_CONTEXT("slots of " << slot_bytes << ", differs in " << differs) {
        played_factory again(odd, 5000);
        stream_setup second = with;
        second.by = &again;
        second.recorded = records_of(before.first);
        bytes text = before.text;
        std::uint64_t offset = 0;
        for (std::size_t index = 0; index < differs && index < parts; ++index) {
          offset += before.first.parts[index].plain_bytes;
        }
        if (differs < parts) {
          text[offset + 5] ^= std::byte{1};
        }
        const sent_stream seen = run_stream(second, text);
        BOOST_REQUIRE_MESSAGE(!seen.failure, seen.failure.value_or(error()).text());
        std::vector<bytes> bodies = bodies_of(seen);
        BOOST_REQUIRE(bodies.size() == parts);
        int sealed = 0;
        for (std::size_t index = 0; index < parts; ++index) {
          const bool expected = differs == parts || index < differs ||
                                seen.parts[index].chunk != seen.parts[differs].chunk;
          BOOST_TEST(seen.parts[index].digest.same == expected, index);
          BOOST_TEST(bodies[index].empty() == expected);
          if (expected) {
            BOOST_TEST(seen.parts[index].digest.fingerprint ==
                       before.first.parts[index].digest.fingerprint);
            bodies[index] = before.bodies[index];
          } else {
            ++sealed;
            BOOST_TEST(seen.parts[index].digest.fingerprint !=
                       before.first.parts[index].digest.fingerprint);
          }
        }
        check_stream(seen, bodies, text, second);
        if (slot_bytes == 0) {
          BOOST_TEST(again.calls.made["begin"] == sealed);
        }
      }
    }
  }
}

// An attempt that met other bytes for a while has left one of its parts among those before it.
BOOST_AUTO_TEST_CASE(parts_of_two_attempts_are_not_taken_for_those_of_one) {
  for (const std::size_t slot_bytes : {std::size_t{0}, std::size_t{8192}}) {
    played_factory by(odd);
    const stream_setup with = setup_of(by, 20'480, 1 << 20, slot_bytes);
    const attempt before = send_first(with, 70'000);
    played_factory other(odd, 5000);
    stream_setup between = with;
    between.by = &other;
    const sent_stream anew = run_stream(between, before.text);
    BOOST_REQUIRE(anew.parts.size() == 4U);
    for (const std::uint32_t number : {2U, 3U}) {
      played_factory again(odd, 9000);
      stream_setup third = with;
      third.by = &again;
      third.recorded = records_of(before.first);
      third.recorded.at({0, number}) = records_of(anew).at({0, number});
      const sent_stream seen = run_stream(third, before.text);
      std::vector<bytes> bodies = bodies_of(seen);
      BOOST_REQUIRE(bodies.size() == 4U);
      for (std::uint32_t index = 0; index < 4; ++index) {
        BOOST_TEST(seen.parts[index].digest.same == (index + 1 < number), index);
        bodies[index] = index + 1 < number ? before.bodies[index] : bodies[index];
      }
      check_stream(seen, bodies, before.text, third);
    }
  }
}

BOOST_AUTO_TEST_CASE(records_that_do_not_fit_make_no_part_the_same) {
  for (const std::size_t slot_bytes : {std::size_t{0}, std::size_t{8192}}) {
    played_factory by(odd);
    const stream_setup with = setup_of(by, 20'480, 1 << 20, slot_bytes);
    const attempt before = send_first(with, 70'000);
    BOOST_REQUIRE(before.first.parts.size() == 4U);
    using change = std::function<void(recorded_parts&)>;
    const std::vector<change> changes{
        [](recorded_parts& all) { all.erase({0, 2}); },
        [](recorded_parts& all) { all.at({0, 2}).plain_bytes -= 1; },
        [](recorded_parts& all) { all.at({0, 2}).bytes -= 64; },
        [](recorded_parts& all) { all.at({0, 2}).digest.state.reset(); },
        [](recorded_parts& all) { all.at({0, 2}).digest.fingerprint += "0"; },
    };
    for (const change& one : changes) {
      stream_setup second = with;
      second.recorded = records_of(before.first);
      one(second.recorded);
      const sent_stream seen = run_stream(second, before.text);
      std::vector<bytes> bodies = bodies_of(seen);
      BOOST_REQUIRE(bodies.size() == 4U);
      BOOST_TEST(seen.parts[0].digest.same);
      BOOST_TEST(!seen.parts[1].digest.same);
      BOOST_TEST(!seen.parts[2].digest.same);
      BOOST_TEST(!seen.parts[3].digest.same);
      bodies[0] = before.bodies[0];
      check_stream(seen, bodies, before.text, second);
    }
  }
}

// A stream that is longer or shorter than before.
BOOST_AUTO_TEST_CASE(another_length_makes_another_last_part) {
  for (const std::size_t slot_bytes : {std::size_t{0}, std::size_t{8192}}) {
    played_factory by(odd);
    const stream_setup with = setup_of(by, 20'480, 1 << 20, slot_bytes);
    const attempt before = send_first(with, 50'000);
    BOOST_REQUIRE(before.first.parts.size() == 3U);
    for (const std::size_t length : {49'999U, 50'001U, 90'000U}) {
      stream_setup second = with;
      second.recorded = records_of(before.first);
      bytes text = before.text;
      text.resize(length);
      const sent_stream seen = run_stream(second, text);
      BOOST_REQUIRE(seen.parts.size() >= 3U);
      std::vector<bytes> bodies = bodies_of(seen);
      for (std::size_t index = 0; index < bodies.size(); ++index) {
        BOOST_TEST(seen.parts[index].digest.same == (index < 2));
        if (index < 2) {
          bodies[index] = before.bodies[index];
        }
      }
      check_stream(seen, bodies, text, second);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_comparison_that_fails_ends_the_stream) {
  for (const std::size_t slot_bytes : {std::size_t{0}, std::size_t{8192}}) {
    played_factory by(odd);
    const stream_setup with = setup_of(by, 20'480, 1 << 20, slot_bytes);
    const attempt before = send_first(with, 70'000);
    for (const char* const name :
         {"fingerprint like", "fingerprint update", "fingerprint finish"}) {
      played_factory again(odd);
      again.calls.failing = name;
      again.calls.fails_at = 1;
      stream_setup second = with;
      second.by = &again;
      second.recorded = records_of(before.first);
      const sent_stream seen = run_stream(second, before.text);
      BOOST_REQUIRE(seen.failure.has_value());
      BOOST_TEST(seen.failure->message == std::string("played: ") + name);
      for (const sent_part& part : seen.parts) {
        BOOST_TEST(part.body.empty());
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
