// A stream as a sealed backup stores it.
#pragma once

#include "app/store/backup_key.hh"
#include "engine/age/backup_keys.hh"
#include "engine/age/sealed_part.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::testing {

// Two segments, the second of which is short.
inline constexpr std::size_t part_bytes = 128 * 1024;
inline constexpr std::size_t plain_of_part =
    part_bytes - age::part_segments_at - 2 * age::tag_bytes;
inline constexpr std::size_t parts_of_chunk = 2;

struct sealed_backup {
  explicit sealed_backup(const age::x25519_identity& user) : keys(made(user)), key(opened(user)) {}

  static age::new_backup made(const age::x25519_identity& user) {
    return std::move(*age::make_backup_keys(std::array{user.recipient()}, age::system_random()));
  }
  [[nodiscard]] app::backup_key opened(const age::x25519_identity& user) const {
    return {keys.id,
            std::move(*age::open_backup_keys(keys.keys_object, std::span(&user, 1), keys.id))};
  }
  // One part as it is stored.
  [[nodiscard]] std::string sealed(std::string_view plain, std::uint32_t chunk, std::uint32_t part,
                                   std::uint64_t offset) const {
    auto one = keys.sealer(age::system_random()).begin(chunk, part, offset);
    BOOST_REQUIRE(one.has_value());
    std::vector<std::byte> body(age::part_sealed_bytes(plain.size()));
    BOOST_REQUIRE(one->write_header(std::span(body).first<age::part_segments_at>()).has_value());
    std::size_t to = age::part_segments_at;
    while (!plain.empty()) {
      const std::size_t count = std::min(plain.size(), age::segment_plain_bytes);
      std::memcpy(body.data() + to, plain.data(), count);
      const bool last = count == plain.size();
      BOOST_REQUIRE(
          one->seal(std::span(body).subspan(to, count + age::tag_bytes), count, last).has_value());
      to += count + age::tag_bytes;
      plain.remove_prefix(count);
    }
    return {reinterpret_cast<const char*>(body.data()), body.size()};
  }
  // A whole stream, in chunks of two parts.
  [[nodiscard]] std::vector<std::vector<std::string>> chunks(const std::string& stream) const {
    std::vector<std::vector<std::string>> made;
    for (std::size_t at = 0; at < stream.size(); at += plain_of_part) {
      if (made.empty() || made.back().size() == parts_of_chunk) {
        made.emplace_back();
      }
      made.back().push_back(sealed(std::string_view(stream).substr(at, plain_of_part),
                                   static_cast<std::uint32_t>(made.size() - 1),
                                   static_cast<std::uint32_t>(made.back().size() + 1), at));
    }
    return made;
  }

  age::new_backup keys;
  app::backup_key key;
};

}  // namespace bts3::testing
