// Whether a secret is still somewhere in this process: a search of its writable memory.
#pragma once

#include "engine/secret_string.hh"
#include "tests/support/sanitizers.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <span>
#include <string>

namespace bts3::testing {

// A text of small letters, by default, that is computed and never kept, so that the test itself has
// no copy.
class sought {
 public:
  static constexpr std::size_t length_usual = 40;
  // Computes the character at an index from a seed: for what is sought in another form.
  using spelling = char (*)(std::uint64_t seed, std::size_t index);
  explicit sought(std::uint64_t seed, std::size_t size = length_usual, spelling spelt = letter)
      : _length(size), _seed(seed), _spelt(spelt) {}

  [[nodiscard]] static char letter(std::uint64_t seed, std::size_t index) {
    std::uint64_t mixed = (seed + index + 1) * 0x9e3779b97f4a7c15U;
    mixed ^= mixed >> 29;
    return static_cast<char>('a' + (mixed * 0xbf58476d1ce4e5b9U >> 40) % 26);
  }
  [[nodiscard]] char at(std::size_t index) const { return _spelt(_seed, index); }
  // The caller's to wipe; too long for a string's own buffer.
  [[nodiscard]] std::string text() const {
    std::string made;
    made.reserve(_length);
    for (std::size_t index = 0; index < _length; ++index) {
      made += at(index);
    }
    return made;
  }
  // As ROT13 has it, for what must not contain it.
  [[nodiscard]] std::string disguised() const {
    std::string made;
    for (std::size_t index = 0; index < _length; ++index) {
      made += static_cast<char>('a' + (at(index) - 'a' + 13) % 26);
    }
    return made;
  }
  // `before`, the text and `after`, without leaving a copy beside.
  [[nodiscard]] std::string within(const std::string& before, const std::string& after) const {
    std::string made;
    made.reserve(before.size() + _length + after.size());
    made += before;
    for (std::size_t index = 0; index < _length; ++index) {
      made += at(index);
    }
    made += after;
    return made;
  }

  // Whether there are so many in everything that this process can write to. Under AddressSanitizer,
  // which keeps stacks of functions that have returned, nothing is proven: then it is always so.
  [[nodiscard]] bool has_copies(std::size_t expected) const {
    return address_sanitized || copies() == expected;
  }

 private:
  [[nodiscard]] std::size_t copies() const {
    constexpr std::size_t piece = std::size_t{1} << 20;
    // Regions beyond are a sanitizer's.
    constexpr std::size_t region_max = std::size_t{256} << 20;
    static char* const buffer = own_region(piece);
    const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    BOOST_REQUIRE(memory >= 0);
    std::size_t found = 0;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      std::uintptr_t begin = 0;
      std::uintptr_t end = 0;
      char writable[5] = {};
      if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, writable) != 3 ||
          writable[1] != 'w' || end - begin > region_max ||
          begin == reinterpret_cast<std::uintptr_t>(buffer)) {
        continue;
      }
      for (std::uintptr_t from = begin; from < end; from += piece - _length + 1) {
        const ssize_t got = ::pread(memory, buffer, std::min<std::size_t>(piece, end - from),
                                    static_cast<off_t>(from));
        found += got > 0 ? count_in(buffer, static_cast<std::size_t>(got)) : 0;
        engine::wipe(std::as_writable_bytes(std::span(buffer, piece)));
      }
    }
    ::close(memory);
    return found;
  }

  // Between pages that nobody can touch, so that it is no part of a larger region.
  static char* own_region(std::size_t bytes) {
    constexpr std::size_t page = 4096;
    void* const all =
        ::mmap(nullptr, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    BOOST_REQUIRE(all != MAP_FAILED);
    char* const inside = static_cast<char*>(all) + page;
    BOOST_REQUIRE(::mprotect(inside, bytes, PROT_READ | PROT_WRITE) == 0);
    return inside;
  }

  [[nodiscard]] std::size_t count_in(const char* bytes, std::size_t size) const {
    const char first = at(0);
    std::size_t found = 0;
    for (std::size_t start = 0; start + _length <= size; ++start) {
      std::size_t same = 0;
      if (bytes[start] == first) {
        while (same < _length && bytes[start + same] == at(same)) {
          ++same;
        }
      }
      found += same == _length ? 1 : 0;
    }
    return found;
  }

  std::size_t _length;
  std::uint64_t _seed;
  spelling _spelt;
};

}  // namespace bts3::testing
