// What the journal keeps of a part's plain text: enough to tell that a later run's part is the
// same, and, to whoever has the fingerprint without its key, nothing at all.
//
// Poly1305 (RFC 8439 section 2.5) under a random key that is made for this part and kept beside the
// tag. Two texts that were not made to collide have the same tag with a chance of at most
// length / 2^107, 2^-80 for 128 MiB (Bernstein, "The Poly1305-AES message-authentication code":
// 8 * ceil(length / 16) / 2^106). Whoever knows the key can make such texts: that is who can write
// to the journal.
#pragma once

#include "engine/age/random.hh"
#include "engine/result.hh"

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

struct evp_mac_ctx_st;

namespace bts3::age {

// The key with the tag: as the journal has it, one token of 96 lower-case hexadecimal digits.
class recorded_fingerprint {
 public:
  [[nodiscard]] static std::optional<recorded_fingerprint> parse(std::string_view text);
  [[nodiscard]] std::string text() const;

  bool operator==(const recorded_fingerprint&) const = default;

 private:
  friend class plain_fingerprint;
  std::array<std::byte, 32> _key{};
  std::array<std::byte, 16> _tag{};
};

// Of one text, as it comes. For one thread at a time.
class plain_fingerprint {
 public:
  // Under a key that is made here.
  [[nodiscard]] static engine::result<plain_fingerprint> fresh(const random_source& random);
  // Under the key of one that was recorded, to compare a text with it.
  [[nodiscard]] static engine::result<plain_fingerprint> like(const recorded_fingerprint& before);

  [[nodiscard]] engine::result<void> update(std::span<const std::byte> bytes);
  // Of all that came; nothing may come afterwards, nor a second finish(): asserted.
  [[nodiscard]] engine::result<recorded_fingerprint> finish();

 private:
  struct freed {
    void operator()(evp_mac_ctx_st* context) const;
  };
  using context_pointer = std::unique_ptr<evp_mac_ctx_st, freed>;
  plain_fingerprint(context_pointer context, const recorded_fingerprint& made)
      : _context(std::move(context)), _made(made) {}

  context_pointer _context;  // null once finished
  recorded_fingerprint _made;
};

}  // namespace bts3::age
