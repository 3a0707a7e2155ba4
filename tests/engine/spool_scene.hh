// A spool that is written and read back, for the spool's own tests.
#pragma once

#include "engine/buffer_pool.hh"
#include "engine/spool.hh"
#include "tests/engine/support.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bts3::engine::testing {

inline constexpr std::size_t mebibyte = std::size_t{1} << 20;

inline spool_options options_for(const std::string& directory, std::uint64_t budget,
                                 std::size_t part) {
  spool_options options;
  options.directory = directory;
  options.budget_bytes = budget;
  options.part_bytes = part;
  return options;
}

inline std::unique_ptr<spool> make_spool(reactor& loop, spool_options options, log_sink& log) {
  auto made = spool::create(loop, std::move(options), log);
  BOOST_REQUIRE_MESSAGE(made.has_value(), bts3::testing::error_text(made));
  return std::move(*made);
}

inline error refusal(spool_options options) {
  auto loop = make_reactor();
  recording_log log;
  auto made = spool::create(*loop, std::move(options), log);
  BOOST_REQUIRE(!made.has_value());
  return made.error();
}

inline void check_contains(const std::string& text, const std::string& part) {
  BOOST_TEST(text.find(part) != std::string::npos, "\"" << part << "\" is not in: " << text);
}

// A byte that tells part, offset and seed apart.
inline std::byte pattern(std::size_t at, unsigned seed) {
  return static_cast<std::byte>((at * 2654435761U + seed * 97U) >> 7);
}

inline task<result<void>> write_part(spool& disk, buffer_pool& pool, const spool_lease& part,
                                     std::size_t bytes, unsigned seed) {
  auto slot = co_await pool.acquire();
  BOOST_REQUIRE(slot.has_value());
  for (std::size_t at = 0; at < bytes; at += pool.slot_bytes()) {
    const std::size_t length = std::min(pool.slot_bytes(), bytes - at);
    for (std::size_t i = 0; i < length; ++i) {
      slot->bytes()[i] = pattern(at + i, seed);
    }
    auto writing = disk.write(part, pool, *slot, length, at);
    auto written = co_await std::move(writing);
    if (!written) {
      co_return written;
    }
  }
  co_return ok();
}

// How many bytes differ from what write_part() wrote.
inline task<result<std::size_t>> differences(spool& disk, buffer_pool& pool,
                                             const spool_lease& part, std::size_t bytes,
                                             unsigned seed) {
  auto slot = co_await pool.acquire();
  BOOST_REQUIRE(slot.has_value());
  const std::size_t half = pool.slot_bytes() / 2;
  std::size_t wrong = 0;
  for (std::size_t at = 0; at < bytes; at += half) {
    const std::size_t length = std::min(half, bytes - at);
    auto reading = disk.read(part, pool, *slot, half, length, at);
    auto read = co_await std::move(reading);
    if (!read) {
      co_return std::move(read.error());
    }
    for (std::size_t i = 0; i < length; ++i) {
      wrong += slot->bytes()[half + i] != pattern(at + i, seed) ? 1 : 0;
    }
  }
  co_return wrong;
}

// Fills every region with a part of its own and reads all back, twice over.
inline task<void> fill_all(spool& disk, buffer_pool& pool, std::size_t bytes) {
  for (unsigned round = 0; round < 2; ++round) {
    std::vector<spool_lease> parts;
    while (disk.free_parts() > 0) {
      auto lease = co_await disk.acquire();
      BOOST_REQUIRE_MESSAGE(lease.has_value(), bts3::testing::error_text(lease));
      parts.push_back(std::move(*lease));
      const auto seed = static_cast<unsigned>(parts.size()) + round * 100;
      auto writing = write_part(disk, pool, parts.back(), bytes, seed);
      const auto written = co_await std::move(writing);
      BOOST_REQUIRE_MESSAGE(written.has_value(), bts3::testing::error_text(written));
    }
    BOOST_TEST(parts.size() == disk.parts());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto seed = static_cast<unsigned>(i + 1) + round * 100;
      auto comparing = differences(disk, pool, parts[i], bytes, seed);
      const auto wrong = co_await std::move(comparing);
      BOOST_REQUIRE_MESSAGE(wrong.has_value(), bts3::testing::error_text(wrong));
      BOOST_TEST(*wrong == 0U);
    }
  }
}

inline void check_round_trip(const std::string& directory, std::size_t part_bytes,
                             std::size_t bytes, bool direct) {
  auto loop = make_reactor();
  recording_log log;
  buffer_pool pool(*loop, mebibyte, 2, log);
  const auto disk = make_spool(*loop, options_for(directory, 4 * 3 * mebibyte, part_bytes), log);
  BOOST_TEST(disk->direct() == direct);
  BOOST_TEST(log.events ==
                 (direct ? std::vector<std::string>{} : std::vector<std::string>{"spool_buffered"}),
             boost::test_tools::per_element());
  loop->run(fill_all(*disk, pool, bytes));
  BOOST_TEST(disk->free_parts() == disk->parts());
  BOOST_TEST(pool.free_slots() == 2U);
}

}  // namespace bts3::engine::testing
