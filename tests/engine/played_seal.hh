// A seal without cryptography, for tests of the data path: each part under a number of its own,
// each byte under a pad of number, segment, place and whether it is the last segment; the tag a
// checksum of the same. It asserts that it is called in order: Boost's macros are for the main
// thread, and this is called on the worker's.
#pragma once

#include "engine/assert.hh"
#include "engine/crc32.hh"
#include "engine/part_seal.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bts3::engine::testing {

using bytes = std::vector<std::byte>;

struct played_place {
  std::uint64_t number = 0;  // of the key
  std::uint64_t chunk = 0;
  std::uint64_t part = 0;
  std::uint64_t offset = 0;
};

class played_cipher {
 public:
  played_cipher(std::uint64_t number, std::uint64_t segment, bool last)
      : _seed(number * 0x9e3779b97f4a7c15ULL + segment * 2 + (last ? 1 : 0)) {}
  // In place, both ways; the checksum is of the plain bytes.
  void seal(std::span<std::byte> text) {
    _sum = crc32(_sum, text);
    pad(text);
  }
  void open(std::span<std::byte> text) {
    pad(text);
    _sum = crc32(_sum, text);
  }
  void tag(std::span<std::byte> to) const {
    for (std::size_t at = 0; at < to.size(); ++at) {
      to[at] = static_cast<std::byte>((mix(_seed + _sum + 77) >> (at % 8 * 8)) & 0xffU);
    }
  }

 private:
  static std::uint64_t mix(std::uint64_t value) {
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31U);
  }
  void pad(std::span<std::byte> text) {
    for (std::byte& one : text) {
      if (_at % 8 == 0) {
        _pad = mix(_seed + 1000 + _at);
      }
      one ^= static_cast<std::byte>(_pad >> (_at % 8 * 8) & 0xffU);
      ++_at;
    }
  }
  std::uint64_t _seed;
  std::uint64_t _at = 0;
  std::uint64_t _pad = 0;
  std::uint32_t _sum = 0;
};

// Which call fails, counted over all parts; 0: none. Read and written on the worker's thread while
// a stream is under way.
struct played_calls {
  std::map<std::string, int> made;
  std::string failing;
  int fails_at = 0;

  result<void> call(const std::string& name) {
    const int count = ++made[name];
    if (name == failing && count == fails_at) {
      error failure;
      failure.message = "played: " + name;
      return failure;
    }
    return ok();
  }
};

class played_part_seal final : public part_seal {
 public:
  played_part_seal(played_calls& calls, seal_layout layout, played_place place)
      : _calls(calls), _layout(layout), _place(place) {}

  result<void> write_head(std::span<std::byte> to) override {
    BTS3_ASSERT(to.size() == _layout.head && !_headed);
    _headed = true;
    const std::array<std::uint64_t, 4> words{_place.number, _place.chunk, _place.part,
                                             _place.offset};
    BTS3_ASSERT(to.size() >= sizeof words);
    std::memset(to.data(), 0x5a, to.size());
    std::memcpy(to.data(), words.data(), sizeof words);
    return _calls.call("head");
  }
  result<void> begin_segment(bool last) override {
    BTS3_ASSERT(_headed && !_cipher && !_ended);
    BTS3_ASSERT(_segment == 0 || _filled == _layout.segment_plain());
    _cipher.emplace(_place.number, _segment++, last);
    _ended = last;
    _filled = 0;
    return _calls.call("segment");
  }
  result<void> seal(std::span<std::byte> text) override {
    BTS3_ASSERT(_cipher && !text.empty());
    _filled += text.size();
    _cipher->seal(text);
    return _calls.call("seal");
  }
  result<void> end_segment(std::span<std::byte> tag) override {
    BTS3_ASSERT(_cipher && tag.size() == _layout.gap && _filled > 0);
    BTS3_ASSERT(_filled == _layout.segment_plain() ||
                (_ended && _filled < _layout.segment_plain()));
    _cipher->tag(tag);
    _cipher.reset();
    return _calls.call("tag");
  }

 private:
  played_calls& _calls;
  seal_layout _layout;
  played_place _place;
  std::optional<played_cipher> _cipher;
  std::uint64_t _segment = 0;
  std::size_t _filled = 0;
  bool _headed = false;
  bool _ended = false;
};

class played_fingerprint final : public text_fingerprint {
 public:
  played_fingerprint(played_calls& calls, std::string key) : _calls(calls), _key(std::move(key)) {
    _sum = crc32(0, std::as_bytes(std::span(_key)));
  }
  result<void> update(std::span<const std::byte> plain) override {
    _sum = crc32(_sum, plain);
    return _calls.call("fingerprint update");
  }
  result<std::string> finish() override {
    if (auto called = _calls.call("fingerprint finish"); !called) {
      return std::move(called.error());
    }
    return _key + ":" + std::to_string(_sum);
  }

 private:
  played_calls& _calls;
  std::string _key;
  std::uint32_t _sum = 0;
};

class played_factory final : public seal_factory {
 public:
  // `keys`: numbers of keys begin behind it, so that two factories need not share any.
  explicit played_factory(seal_layout layout, std::uint64_t keys = 1000)
      : _layout(layout), _numbers(keys) {}

  [[nodiscard]] seal_layout layout() const override { return _layout; }
  result<std::unique_ptr<part_seal>> begin(std::uint32_t chunk, std::uint32_t part,
                                           std::uint64_t plain_offset) override {
    if (auto called = calls.call("begin"); !called) {
      return std::move(called.error());
    }
    return std::unique_ptr<part_seal>(std::make_unique<played_part_seal>(
        calls, _layout, played_place{++_numbers, chunk, part, plain_offset}));
  }
  result<std::unique_ptr<text_fingerprint>> fingerprint() override {
    if (auto called = calls.call("fingerprint"); !called) {
      return std::move(called.error());
    }
    return std::unique_ptr<text_fingerprint>(
        std::make_unique<played_fingerprint>(calls, "key" + std::to_string(++_numbers)));
  }
  result<std::unique_ptr<text_fingerprint>> fingerprint_like(const std::string& recorded) override {
    if (auto called = calls.call("fingerprint like"); !called) {
      return std::move(called.error());
    }
    return std::unique_ptr<text_fingerprint>(
        std::make_unique<played_fingerprint>(calls, recorded.substr(0, recorded.find(':'))));
  }

  played_calls calls;

 private:
  seal_layout _layout;
  std::uint64_t _numbers;
};

// The plain text of a part; fails the test unless it is one, at that place.
inline bytes open_played(const seal_layout& layout, bytes part, std::uint64_t chunk,
                         std::uint64_t number, std::uint64_t offset) {
  std::array<std::uint64_t, 4> head{};
  BOOST_REQUIRE(part.size() > layout.head + layout.gap);
  std::memcpy(head.data(), part.data(), sizeof head);
  BOOST_REQUIRE((head[1] == chunk && head[2] == number && head[3] == offset));
  bytes plain;
  std::uint64_t segment = 0;
  for (std::size_t at = layout.head; at < part.size(); at += layout.stride, ++segment) {
    const std::size_t length = std::min(layout.stride, part.size() - at);
    BOOST_REQUIRE(length > layout.gap);
    played_cipher cipher(head[0], segment, at + length == part.size());
    const auto text = std::span(part).subspan(at, length - layout.gap);
    cipher.open(text);
    bytes tag(layout.gap);
    cipher.tag(tag);
    BOOST_REQUIRE(
        (std::equal(tag.begin(), tag.end(),
                    part.begin() + static_cast<std::ptrdiff_t>(at + length - layout.gap))));
    plain.insert(plain.end(), text.begin(), text.end());
  }
  return plain;
}

}  // namespace bts3::engine::testing
