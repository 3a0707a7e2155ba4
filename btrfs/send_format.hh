// The numbers of Btrfs's send stream: fs/btrfs/send.h of the kernel, and "Btrfs send stream format"
// of its documentation. Constants alone, for whoever reads, rewrites or makes one.
//
// A stream is a magic text and its version, then commands: length, command and CRC-32C (of the
// whole command, its own field counted as 0), then attributes: type, length, value. In WRITE and
// ENCODED_WRITE of version 2 the data comes last and has no length, as it goes to the command's
// end. All numbers are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bts3::btrfs::send_format {

inline constexpr char magic[] = "btrfs-stream";  // 13 bytes with its final zero
static_assert(sizeof magic == 13);
inline constexpr std::uint32_t version_max = 3;

inline constexpr std::size_t stream_header_bytes = sizeof magic + 4;
inline constexpr std::size_t command_header_bytes = 4 + 2 + 4;
inline constexpr std::size_t attribute_header_bytes = 2 + 2;
inline constexpr std::size_t uuid_bytes = 16;

inline constexpr std::uint16_t command_subvol = 1;
inline constexpr std::uint16_t command_snapshot = 2;
inline constexpr std::uint16_t command_mkfile = 3;
inline constexpr std::uint16_t command_mkdir = 4;
inline constexpr std::uint16_t command_mknod = 5;
inline constexpr std::uint16_t command_mkfifo = 6;
inline constexpr std::uint16_t command_mksock = 7;
inline constexpr std::uint16_t command_symlink = 8;
inline constexpr std::uint16_t command_rename = 9;
inline constexpr std::uint16_t command_link = 10;
inline constexpr std::uint16_t command_unlink = 11;
inline constexpr std::uint16_t command_rmdir = 12;
inline constexpr std::uint16_t command_set_xattr = 13;
inline constexpr std::uint16_t command_remove_xattr = 14;
inline constexpr std::uint16_t command_write = 15;
inline constexpr std::uint16_t command_clone = 16;
inline constexpr std::uint16_t command_truncate = 17;
inline constexpr std::uint16_t command_chmod = 18;
inline constexpr std::uint16_t command_chown = 19;
inline constexpr std::uint16_t command_utimes = 20;
inline constexpr std::uint16_t command_end = 21;
inline constexpr std::uint16_t command_update_extent = 22;
inline constexpr std::uint16_t command_fallocate = 23;
inline constexpr std::uint16_t command_fileattr = 24;
inline constexpr std::uint16_t command_encoded_write = 25;
inline constexpr std::uint16_t command_enable_verity = 26;
inline constexpr std::uint16_t command_last = 26;

inline constexpr std::uint16_t attribute_uuid = 1;
inline constexpr std::uint16_t attribute_ctransid = 2;
inline constexpr std::uint16_t attribute_ino = 3;
inline constexpr std::uint16_t attribute_size = 4;
inline constexpr std::uint16_t attribute_mode = 5;
inline constexpr std::uint16_t attribute_uid = 6;
inline constexpr std::uint16_t attribute_gid = 7;
inline constexpr std::uint16_t attribute_rdev = 8;
inline constexpr std::uint16_t attribute_ctime = 9;
inline constexpr std::uint16_t attribute_mtime = 10;
inline constexpr std::uint16_t attribute_atime = 11;
inline constexpr std::uint16_t attribute_otime = 12;
inline constexpr std::uint16_t attribute_xattr_name = 13;
inline constexpr std::uint16_t attribute_xattr_data = 14;
inline constexpr std::uint16_t attribute_path = 15;
inline constexpr std::uint16_t attribute_path_to = 16;
inline constexpr std::uint16_t attribute_path_link = 17;
inline constexpr std::uint16_t attribute_file_offset = 18;
inline constexpr std::uint16_t attribute_data = 19;
inline constexpr std::uint16_t attribute_clone_uuid = 20;
inline constexpr std::uint16_t attribute_clone_ctransid = 21;
inline constexpr std::uint16_t attribute_clone_path = 22;
inline constexpr std::uint16_t attribute_clone_offset = 23;
inline constexpr std::uint16_t attribute_clone_len = 24;
inline constexpr std::uint16_t attribute_fallocate_mode = 25;
inline constexpr std::uint16_t attribute_fileattr = 26;
inline constexpr std::uint16_t attribute_unencoded_file_len = 27;
inline constexpr std::uint16_t attribute_unencoded_len = 28;
inline constexpr std::uint16_t attribute_unencoded_offset = 29;
inline constexpr std::uint16_t attribute_compression = 30;
inline constexpr std::uint16_t attribute_encryption = 31;
inline constexpr std::uint16_t attribute_verity_algorithm = 32;
inline constexpr std::uint16_t attribute_verity_block_size = 33;
inline constexpr std::uint16_t attribute_verity_salt_data = 34;
inline constexpr std::uint16_t attribute_verity_sig_data = 35;
inline constexpr std::uint16_t attribute_max = 35;

}  // namespace bts3::btrfs::send_format
