// The plain text of a sealed file, read by its offsets: a segment at a time is opened in memory,
// and nothing plain is written anywhere.
#pragma once

#include "engine/age/stream.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bts3::app {

class sealed_reading {
 public:
  // An age file of `bytes`, which has to stay open. Errors are those of engine/age.
  static engine::result<sealed_reading> open(int file, std::uint64_t bytes,
                                             const age::x25519_identity& with);

  [[nodiscard]] std::uint64_t plain_bytes() const { return _plain; }
  // Fills all of `into`. Reason integrity beyond the end, and for a segment that is not authentic.
  engine::result<void> read(std::uint64_t offset, std::span<std::byte> into);

 private:
  explicit sealed_reading(age::stream_opener opener) : _opener(std::move(opener)) {}
  engine::result<void> open_segment(std::uint64_t index);

  age::stream_opener _opener;
  int _file = -1;
  std::uint64_t _bytes = 0;     // of the file
  std::uint64_t _segments = 0;  // where they begin in it
  std::uint64_t _plain = 0;
  std::vector<std::byte> _room;
  std::span<const std::byte> _text;  // of the segment that is open
  std::uint64_t _open = UINT64_MAX;
};

}  // namespace bts3::app
