// Where the bytes of a backup's stream lie in its chunks: arithmetic over its manifest.
//
// The stream is the text of all chunks, one behind the other. Of a backup that is sealed, each part
// is a file of its own, of which whole segments can be read once its head is known; so a range of
// such a stream comes in as many pieces as parts have a share in it.
#pragma once

#include "planner/error.hh"
#include "planner/manifest.hh"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bts3::planner {

// Of one chunk, and of one part where the backup is sealed.
struct stored_range {
  std::size_t chunk = 0;  // in the manifest's order
  // Of the object: what has to be read.
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  // Of the plain text in it: what is left out in front, and how much is wanted.
  std::uint64_t skip = 0;
  std::uint64_t plain_bytes = 0;

  // Where the backup is sealed, else 0: the part, counted from 1, its place in the object, the
  // offset of its first plain byte in the stream, and which of its segments come first.
  std::uint32_t part = 0;
  std::uint64_t part_offset = 0;
  std::uint64_t part_bytes = 0;
  std::uint64_t part_plain = 0;
  std::uint64_t segment = 0;

  bool operator==(const stored_range&) const = default;
};

class stream_places {
 public:
  // Needs of the chunks their sizes alone. An error where they are none that a backup can have.
  static outcome<stream_places> of(const manifest& backup);

  [[nodiscard]] bool sealed() const { return _sealed; }
  [[nodiscard]] std::uint64_t stream_bytes() const { return _bytes; }
  // In order and without a gap. Any numbers: an error where the stream has no such bytes.
  [[nodiscard]] outcome<std::vector<stored_range>> find(std::uint64_t offset,
                                                        std::uint64_t bytes) const;

 private:
  struct chunk {
    std::uint64_t begin = 0;  // in the stream
    std::uint64_t end = 0;
    std::uint64_t size = 0;  // of the object
    std::uint64_t part_size = 0;
    std::uint64_t part_plain = 0;  // plain bytes of each part but the last
  };
  void add_sealed(const chunk& in, stored_range piece, std::uint64_t offset, std::uint64_t end,
                  std::vector<stored_range>& found) const;

  std::vector<chunk> _chunks;
  std::uint64_t _bytes = 0;
  bool _sealed = false;
};

}  // namespace bts3::planner
