// The seal of the data path, made of sealed_part.hh and plain_fingerprint.hh: what engine's
// streams know as seal_factory, and the way back.
#pragma once

#include "engine/age/part_stanza.hh"
#include "engine/age/random.hh"
#include "engine/age/sealed_part.hh"
#include "engine/part_seal.hh"
#include "engine/result.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace bts3::age {

inline constexpr engine::seal_layout part_layout{part_segments_at, segment_bytes, tag_bytes};

// Seals a stream's parts with the public half of its backup's key. Chunks and parts stand in the
// headers as the streams count them: chunks from 0, parts from 1.
class part_seals final : public engine::seal_factory {
 public:
  // `fingerprints`: whether each part's is wanted, which costs another pass of Poly1305. `random`
  // is called on the hash worker's thread.
  part_seals(part_sealer sealer, random_source random, bool fingerprints)
      : _sealer(std::move(sealer)), _random(std::move(random)), _fingerprints(fingerprints) {}

  [[nodiscard]] engine::seal_layout layout() const override { return part_layout; }
  // fault::random when no key could be made.
  [[nodiscard]] engine::result<std::unique_ptr<engine::part_seal>> begin(
      std::uint32_t chunk, std::uint32_t part, std::uint64_t plain_offset) override;
  [[nodiscard]] engine::result<std::unique_ptr<engine::text_fingerprint>> fingerprint() override;
  // fault::key unless `recorded` is a recorded_fingerprint's text.
  [[nodiscard]] engine::result<std::unique_ptr<engine::text_fingerprint>> fingerprint_like(
      const std::string& recorded) override;

 private:
  part_sealer _sealer;
  random_source _random;
  bool _fingerprints;
};

// A part in its memory, which is opened where it lies.
class part_in_slot {
 public:
  // `part` is all of it, and stays as long as this. Whether its SHA-256 was checked before does not
  // matter here. Fails as part_opener::begin() does.
  [[nodiscard]] static engine::result<part_in_slot> begin(const part_opener& with,
                                                          std::span<std::byte> part,
                                                          const part_place& expected);

  // The next plain bytes, in order, where they lie; empty after the last. They are authentic, but
  // that the part ends where it should is known only with the last ones. fault::payload for a
  // segment that is not as it was written: it is wiped, and nothing is to be asked any more.
  [[nodiscard]] engine::result<std::span<std::byte>> next();
  // Opens what is left, so that next() only hands out: for another thread. The same failures.
  [[nodiscard]] engine::result<void> open_all();
  [[nodiscard]] std::uint64_t plain_bytes() const { return _opening.plain_bytes(); }

 private:
  part_in_slot(part_in_opening opening, std::span<std::byte> part)
      : _opening(std::move(opening)), _part(part) {}
  [[nodiscard]] engine::result<void> open_one();

  part_in_opening _opening;
  std::span<std::byte> _part;
  std::uint64_t _opened = 0;  // segments
  std::uint64_t _given = 0;
};

}  // namespace bts3::age
