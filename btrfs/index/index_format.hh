// The frame around the records: zstd's seekable format, so that `zstd -d` reads it as one and any
// part can be read alone. docs/format.md describes it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bts3::btrfs::index {

// What the first frame begins with; the stream's version (a byte) follows.
inline constexpr char title[] = "btrfs_to_s3 index 1\n";
inline constexpr std::size_t title_bytes = sizeof title - 1;

// A frame is closed once it has so much. Larger ones pack little better, and each has to be held
// whole; 256 KiB are some 4,000 files.
inline constexpr std::size_t frame_bytes = std::size_t{256} << 10;
// And the longest record: two paths of 4 KiB, an extended attribute of 64 KiB or a signature and
// its salt, some numbers.
inline constexpr std::size_t frame_bytes_max = std::size_t{512} << 10;

// The directory of frames is one that readers skip: two numbers of 32 bits for each frame (packed
// and unpacked bytes), how many there are, a byte of flags and the format's magic number.
inline constexpr std::uint32_t skippable_magic = 0x184D2A5E;
inline constexpr std::uint32_t directory_magic = 0x8F92EAB1;
inline constexpr std::size_t skippable_header_bytes = 8;
inline constexpr std::size_t directory_entry_bytes = 8;
inline constexpr std::size_t directory_footer_bytes = 9;

}  // namespace bts3::btrfs::index
