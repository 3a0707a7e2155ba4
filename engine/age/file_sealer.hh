// An age file that is made piece by piece, of any length: for what is too large to be in memory as
// a whole (sealed_file.hh seals that).
#pragma once

#include "engine/age/random.hh"
#include "engine/age/stream.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace bts3::age {

// For one recipient, under a file key that is made and forgotten here. Holds one segment (64 KiB),
// whose plain text is wiped by being sealed where it lies. After an error nothing of it may be
// used.
class file_sealer {
 public:
  // Appends the header and the payload's nonce to `out`. fault::random when no key could be made.
  [[nodiscard]] static engine::result<file_sealer> begin(const x25519_recipient& to,
                                                         const random_source& random,
                                                         std::vector<std::byte>& out);

  // Appends what is sealed of it by now: a segment once something is known to come behind it.
  [[nodiscard]] engine::result<void> update(std::span<const std::byte> plain,
                                            std::vector<std::byte>& out);
  // Appends the last segment. Once, at the end.
  [[nodiscard]] engine::result<void> finish(std::vector<std::byte>& out);

 private:
  explicit file_sealer(stream_sealer by) : _by(std::move(by)), _segment(segment_bytes) {}
  [[nodiscard]] engine::result<void> seal(bool last, std::vector<std::byte>& out);

  stream_sealer _by;
  std::vector<std::byte> _segment;
  std::size_t _filled = 0;
};

}  // namespace bts3::age
