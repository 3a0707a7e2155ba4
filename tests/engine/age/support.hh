// Shared by the tests of engine/age.
#pragma once

#include "engine/age/fault.hh"
#include "engine/age/primitives.hh"
#include "engine/age/random.hh"
#include "engine/result.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::age {

inline std::ostream& operator<<(std::ostream& to, fault what) {
  return to << code_of(what);
}

}  // namespace bts3::age

namespace bts3::age::testing {

using bytes = std::vector<std::byte>;

// Which fault it is; fails the test for a result that is none.
template <typename T>
fault fault_in(const engine::result<T>& outcome) {
  BOOST_REQUIRE_MESSAGE(!outcome.has_value(), "it did not fail");
  const auto found = fault_of(outcome.error());
  BOOST_REQUIRE_MESSAGE(found.has_value(), outcome.error().text());
  BOOST_TEST(!outcome.error().message.empty());
  return *found;
}

template <typename T>
T value_of(engine::result<T> outcome) {
  BOOST_REQUIRE_MESSAGE(outcome.has_value(), bts3::testing::error_text(outcome));
  return std::move(*outcome);
}

inline void require(const engine::result<void>& outcome) {
  BOOST_REQUIRE_MESSAGE(outcome.has_value(), bts3::testing::error_text(outcome));
}

// The same bytes in every run.
inline random_source seeded(std::uint64_t seed) {
  return [state = std::make_shared<std::mt19937_64>(seed)](std::span<std::byte> to) {
    for (std::byte& one : to) {
      one = static_cast<std::byte>((*state)() & 0xffU);
    }
    return true;
  };
}

inline bytes random_bytes(std::size_t size, std::uint64_t seed) {
  bytes made(size);
  std::mt19937_64 state(seed);
  std::size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    const std::uint64_t eight = state();
    for (std::size_t index = 0; index < 8; ++index) {
      made[at + index] = static_cast<std::byte>(eight >> (8 * index) & 0xffU);
    }
  }
  for (; at < size; ++at) {
    made[at] = static_cast<std::byte>(state() & 0xffU);
  }
  return made;
}

inline bytes of_text(std::string_view text) {
  const auto view = bytes_of(text);
  return {view.begin(), view.end()};
}

// From digits of either case, blanks between them.
inline bytes from_hex(std::string_view text) {
  bytes made;
  std::string pair;
  for (const char one : text) {
    if (one != ' ' && one != '\n') {
      pair += one;
    }
    if (pair.size() == 2) {
      made.push_back(static_cast<std::byte>(std::stoi(pair, nullptr, 16)));
      pair.clear();
    }
  }
  BOOST_REQUIRE(pair.empty());
  return made;
}

template <std::size_t N>
std::span<const std::byte, N> fixed(const bytes& from) {
  BOOST_REQUIRE(from.size() == N);
  return std::span<const std::byte, N>(from.data(), N);
}

inline bytes read_data(const std::string& name) {
  const std::string path = std::string(BTS3_TEST_DATA) + "/age/" + name;
  std::FILE* const file = std::fopen(path.c_str(), "rb");
  BOOST_REQUIRE_MESSAGE(file != nullptr, path);
  bytes read;
  bytes piece(65536);
  for (std::size_t got = 0; (got = std::fread(piece.data(), 1, piece.size(), file)) > 0;) {
    read.insert(read.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(got));
  }
  std::fclose(file);
  return read;
}

}  // namespace bts3::age::testing
