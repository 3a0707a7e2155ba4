// Whether what a stream wrote already compressed lies on the disk.
//
// `btrfs receive` hands compressed data of protocol 2 to the kernel as it is
// (BTRFS_IOC_ENCODED_WRITE). The kernel answers before the disk has it, and should the disk refuse
// it, tells nobody: not the receiver, and not syncfs(2), since no page of the file is involved
// (read in Linux 6.18; measured there). The file then has a hole, or what its parent had. Ordinary
// writes are different: what becomes of them is told by syncfs.
//
// So each encoded write is noted as the stream passes, and looked for afterwards among the extents
// that the received subvolume has got since it was made. Btrfs inserts an extent only once the disk
// has taken it, with the checksums of its compressed bytes, and these can be computed from the
// stream. A write is there when an extent has its place in the file, its lengths, its compression
// and its checksums; each extent answers for one write, however often it was cloned since. From
// then on reading it gives what was sent, or an error. Paths play no part: a stream moves files
// after it wrote them.
//
// Where the filesystem's checksums are not CRC-32C (mkfs.btrfs --csum), they cannot be computed
// here. Then place, lengths and compression have to do, and every compressed extent that is new
// must have a write of its own, so that none of another origin answers for one that is lost.
//
// A kernel that does not take an encoded write makes the receiver decompress it and write it
// plainly. Such a write is not found, and may well be there. Whoever receives has to do it again
// with --force-decompress, and syncfs tells.
//
// One of these is an everyday matter, and known beforehand: the end of a file that has become
// shorter. Before the file is cut, an encoded write that ends there in the middle of a sector ends
// before the file does, which every kernel refuses (btrfs_do_encoded_write()). So what a TRUNCATE
// to its very end follows is written plainly, needs no extent, and is syncfs's to answer for. It
// may be packed once more by the target, to the same bytes: where an encoded write looks the same,
// there have to be extents for both.
//
// Cost, measured: 0.02 to 0.06 s of CPU time a GiB of such data out of a core's cache, 0.15 s out
// of memory, and about a millisecond for a thousand writes afterwards. Memory: a MiB, and 12 MiB
// while it compares; eight bytes for each encoded write, which has 128 KiB at most, are kept in a
// file without a name.
#pragma once

#include "engine/result.hh"
#include "engine/unique_fd.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bts3::btrfs {

// How a filesystem checks its data, as BTRFS_IOC_FS_INFO tells.
struct data_checks {
  std::uint32_t sector_bytes = 4096;
  bool crc32c = true;
};
engine::result<data_checks> data_checks_of(const std::string& path);

// Records of 64-bit words, more than memory should hold: in a file without a name in `directory`,
// where there are many.
class record_list {
 public:
  record_list(std::string directory, std::size_t words) : _directory(directory), _words(words) {}
  engine::result<void> add(std::span<const std::uint64_t> record);
  [[nodiscard]] std::uint64_t size() const { return _size; }
  // Record after record, all that `wanted` (of their first word) says yes to.
  template <typename Wanted, typename Take>
  engine::result<void> each(Wanted wanted, Take take);

 private:
  engine::result<void> flush();
  engine::result<std::size_t> read_at(std::uint64_t offset, std::vector<std::uint64_t>& into) const;

  std::string _directory;
  std::size_t _words;
  std::uint64_t _size = 0;
  std::uint64_t _flushed_bytes = 0;
  engine::unique_fd _file;
  std::vector<std::uint64_t> _last;
};

class encoded_writes {
 public:
  // `directory`: on the filesystem that receives.
  encoded_writes(std::string directory, data_checks checks);

  // The stream, in order, in pieces of any size, after stream_inspector has understood it. An
  // error of the file in `directory`.
  engine::result<void> feed(std::span<const std::byte> bytes);
  // Seen so far that need an extent; the last one is known when the next command begins.
  [[nodiscard]] std::uint64_t count() const { return _expected.size(); }

  // Of how many no extent of the subvolume at `path` answers for. It was synced after the stream
  // had been received, and nothing else writes to it. Blocks. Needs CAP_SYS_ADMIN.
  engine::result<std::uint64_t> missing_in(const std::string& path);

 private:
  // An encoded write that ends within a sector, until the next command tells what becomes of it.
  struct open_end {
    std::uint64_t digest = 0;
    std::uint64_t end = 0;
    std::string path;
  };

  engine::result<void> take_header();
  engine::result<void> take_command(std::span<const std::byte> payload);
  engine::result<void> take_write(std::span<const std::byte> payload);
  engine::result<void> take_truncation(std::span<const std::byte> payload);
  engine::result<void> keep_open_end();
  [[nodiscard]] std::uint64_t digest_of(std::uint64_t place_digest,
                                        std::span<const std::byte> data) const;
  engine::result<void> find_extents(int subvolume, std::uint64_t since, record_list& found) const;
  engine::result<std::uint64_t> compare(record_list& found);

  data_checks _checks;
  std::string _directory;
  record_list _expected;
  record_list _plain;  // those that the kernel refuses
  std::optional<open_end> _open_end;
  // Of the stream: its header and each command's, and the payload of a command that matters and
  // came in pieces.
  bool _in_stream = false;
  std::vector<std::byte> _header;
  std::vector<std::byte> _pieces;
  std::size_t _payload_left = 0;
  std::uint16_t _command = 0;
  bool _matters = false;  // its payload
};

}  // namespace bts3::btrfs
