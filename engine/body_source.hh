// Bytes of known length that are fetched piece by piece while they are sent: a part that lies on a
// disk, for whoever sends it.
//
// A source has a few buffers of its own, and one transfer at a time uses it: it fetches ahead into
// the buffers that it has sent already. Nothing is remembered between fetches, so that a repeated
// transfer simply starts again at offset 0. The source outlives every transfer, and stays where it
// is meanwhile.
#pragma once

#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <cstddef>
#include <cstdint>
#include <span>

namespace bts3::engine {

class body_source {
 public:
  virtual ~body_source() = default;

  // Bytes in all; never changes.
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  // How many buffers fetch() may be called with, at least two.
  [[nodiscard]] virtual unsigned buffers() const = 0;
  // Brings the bytes from `offset` (below size()) into buffer `buffer` and returns them: at least
  // one, at most what the buffer holds and size() allows. They stay valid until that buffer is
  // fetched into again or the source is destroyed. One fetch at a time. An error is final for this
  // transfer; `stop` ends the wait with `cancelled` as soon as the kernel lets go of the buffer.
  virtual task<result<std::span<const std::byte>>> fetch(unsigned buffer, std::uint64_t offset,
                                                         stop_token stop) = 0;
};

}  // namespace bts3::engine
