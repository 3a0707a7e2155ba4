// The hash worker's way through one part that is sealed: it follows the reader from segment to
// segment, takes the plain text's fingerprint, seals where it lies, and shows the cipher text to
// whoever hashes it, 16 KiB at a time, so that all of them find it in the first-level cache.
//
// A part lies in one piece of memory or in several, as it goes through small slots: segments, their
// tags and the head may begin in one and end in the next.
//
// Where it is recorded what an earlier attempt had as this part, the texts are compared:
// - in one piece of memory nothing is sealed until the part has ended; an equal one stays as it is;
// - in several it is sealed at once, as what leaves the memory must be; an equal one is of no use.
// Either way the outcome of an equal part is the recorded one, and what was sealed is never shown.
//
// The worker's alone, but for its construction and give_up().
#pragma once

#include "engine/hash_worker.hh"
#include "engine/part_seal.hh"
#include "engine/result.hh"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace bts3::engine::detail {

class seal_walk {
 public:
  // Called with the cipher text, in order and without a gap.
  using sink = std::function<void(std::span<const std::byte>)>;

  seal_walk(seal_order order, bool with_payload);

  // The earlier attempt's chunk is not this one any more: do not compare.
  void forget_recorded() { _order.recorded.reset(); }
  // The part goes on in `memory`, from where the piece before it ended.
  void go_on_in(std::span<std::byte> memory);
  // Plain bytes have been read up to `filled` bytes of the newest piece; with `ended` no more will
  // come, and the pieces have room for what the last segment needs. At least one plain byte is
  // there by then.
  [[nodiscard]] result<void> advance(std::size_t filled, bool ended, const sink& show);

  // The cipher text is final, and was shown, up to this byte of the part.
  [[nodiscard]] std::uint64_t done_to() const { return _done_to; }
  // Bytes of the pieces so far.
  [[nodiscard]] std::uint64_t room() const { return _room; }
  // After the end: whether the part is the recorded one.
  [[nodiscard]] bool same() const { return _same; }
  [[nodiscard]] const seal_order& order() const { return _order; }
  // After the end; empty where there is none.
  [[nodiscard]] const std::string& fingerprint() const { return _fingerprint; }

  // Nothing more is done: what holds keys goes.
  void end();

  const bool want_payload;  // its SHA-256 alone
  // Any thread: the part will not be finished.
  std::atomic<bool> given_up{false};

  // The digests so far, of what was shown.
  sha256_hasher chain;
  sha256_hasher payload;
  std::uint32_t crc32 = 0;

 private:
  struct piece {
    std::uint64_t offset = 0;  // in the part
    std::span<std::byte> memory;
  };
  template <typename Action>
  [[nodiscard]] result<void> for_each_block(std::uint64_t from, std::uint64_t to, Action act);
  [[nodiscard]] result<void> start(const sink& show);
  [[nodiscard]] result<void> begin_fingerprint(text_fingerprint& one) const;
  [[nodiscard]] result<void> seal_segments(bool ended, const sink& show);
  [[nodiscard]] result<void> seal_one(std::uint64_t from, std::uint64_t to, bool last,
                                      const sink& show);
  [[nodiscard]] result<void> put(std::uint64_t at, std::span<const std::byte> bytes,
                                 const sink& show);
  [[nodiscard]] result<void> look(std::uint64_t to);
  [[nodiscard]] result<bool> compare();

  seal_order _order;
  seal_layout _layout;
  std::deque<piece> _pieces;  // those that are not done
  std::uint64_t _room = 0;
  std::uint64_t _filled = 0;   // behind the last plain byte
  std::uint64_t _done_to = 0;  // 0 before the head is written
  std::uint64_t _looked_to = 0;
  std::unique_ptr<part_seal> _seal;              // null before the head is written
  std::unique_ptr<text_fingerprint> _own;        // of this part; null where nobody keeps it
  std::unique_ptr<text_fingerprint> _as_before;  // under the recorded one's key
  std::string _fingerprint;
  bool _same = false;
};

}  // namespace bts3::engine::detail
