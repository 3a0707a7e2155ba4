// Streams with commands of every kind, and their index.
#pragma once

#include "btrfs/index/index_file.hh"
#include "btrfs/index/writer.hh"
#include "btrfs/send_format.hh"
#include "btrfs/stream_inspector.hh"
#include "tests/support/send_commands.hh"

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bts3::btrfs::index::testing {

namespace send = bts3::testing::send;
using namespace send_format;

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

inline std::string u64(unsigned attribute, std::uint64_t value) {
  return send::attribute(attribute, send::number(value, 8));
}
inline std::string u32(unsigned attribute, std::uint64_t value) {
  return send::attribute(attribute, send::number(value, 4));
}
inline std::string time_of(unsigned attribute, std::uint64_t seconds, std::uint32_t nanoseconds) {
  return send::attribute(attribute, send::number(seconds, 8) + send::number(nanoseconds, 4));
}
inline std::string data_of(unsigned version, std::string_view content) {
  return version < 2 ? send::attribute(attribute_data, content)
                     : send::number(attribute_data, 2) + std::string(content);
}

inline std::string make(unsigned type, std::string_view path, std::uint64_t ino,
                        const std::string& more = "") {
  return send::command(type, send::path(path) + u64(attribute_ino, ino) + more);
}
inline std::string move_name(std::string_view from, std::string_view to) {
  return send::command(command_rename, send::path(from) + send::attribute(attribute_path_to, to));
}
inline std::string add_link(std::string_view path, std::string_view to) {
  return send::command(command_link, send::path(path) + send::attribute(attribute_path_link, to));
}
inline std::string take_away(unsigned type, std::string_view path) {
  return send::command(type, send::path(path));
}
inline std::string write_data(unsigned version, std::string_view path, std::uint64_t offset,
                              std::string_view content) {
  return send::command(command_write, send::path(path) + u64(attribute_file_offset, offset) +
                                          data_of(version, content));
}
inline std::string set_size(std::string_view path, std::uint64_t size) {
  return send::command(command_truncate, send::path(path) + u64(attribute_size, size));
}
inline std::string tell_extent(std::string_view path, std::uint64_t offset, std::uint64_t bytes) {
  return send::command(
      command_update_extent,
      send::path(path) + u64(attribute_file_offset, offset) + u64(attribute_size, bytes));
}
inline std::string set_mode(std::string_view path, std::uint64_t mode) {
  return send::command(command_chmod, send::path(path) + u64(attribute_mode, mode));
}
inline std::string set_owner(std::string_view path, std::uint64_t uid, std::uint64_t gid) {
  return send::command(command_chown,
                       send::path(path) + u64(attribute_uid, uid) + u64(attribute_gid, gid));
}
inline std::string utimes(std::string_view path, std::uint64_t seconds,
                          std::uint32_t nanoseconds = 0) {
  return send::command(command_utimes, send::path(path) +
                                           time_of(attribute_atime, seconds + 9, nanoseconds) +
                                           time_of(attribute_mtime, seconds, nanoseconds) +
                                           time_of(attribute_ctime, seconds + 5, 17));
}
inline std::string set_xattr(std::string_view path, std::string_view name, std::string_view value) {
  return send::command(command_set_xattr, send::path(path) +
                                              send::attribute(attribute_xattr_name, name) +
                                              send::attribute(attribute_xattr_data, value));
}
inline std::string remove_xattr(std::string_view path, std::string_view name) {
  return send::command(command_remove_xattr,
                       send::path(path) + send::attribute(attribute_xattr_name, name));
}
// From a subvolume whose UUID is `id` sixteen times.
inline std::string clone_range(std::string_view path, std::uint64_t offset, std::uint64_t bytes,
                               char id, std::string_view from, std::uint64_t from_offset) {
  return send::command(
      command_clone,
      u64(attribute_file_offset, offset) + u64(attribute_clone_len, bytes) + send::path(path) +
          send::attribute(attribute_clone_uuid, std::string(16, id)) +
          u64(attribute_clone_ctransid, 7) + send::attribute(attribute_clone_path, from) +
          u64(attribute_clone_offset, from_offset));
}
inline std::string encoded_write(std::string_view path, std::uint64_t offset, std::uint64_t bytes,
                                 std::uint64_t unencoded, std::uint64_t from,
                                 std::uint32_t compression, std::string_view content) {
  return send::command(
      command_encoded_write,
      send::path(path) + u64(attribute_file_offset, offset) +
          u64(attribute_unencoded_file_len, bytes) + u64(attribute_unencoded_len, unencoded) +
          u64(attribute_unencoded_offset, from) + u32(attribute_compression, compression) +
          u32(attribute_encryption, 0) + data_of(2, content));
}

// A full with every command that its version knows.
inline std::string every_command(unsigned version) {
  std::string made = send::header(version) + send::subvol("home");
  made += set_owner("", 0, 0) + set_mode("", 0755);
  made += make(command_mkdir, "o257-7-0", 257) + move_name("o257-7-0", "d");
  made += make(command_mkfile, "o258-7-0", 258) + move_name("o258-7-0", "d/file");
  made += write_data(version, "d/file", 0, std::string(40000, 'a'));
  made +=
      write_data(version, "d/file", 40000, "tail") + write_data(version, "d/file", 1 << 20, "far");
  made += set_size("d/file", 3 << 20) + set_xattr("d/file", "user.x", "value\0with zero");
  made += remove_xattr("d/file", "user.x") + add_link("d/other name\n", "d/file");
  made += make(command_symlink, "o259-7-0", 259, send::attribute(attribute_path_link, "/x/../y"));
  made += make(command_mknod, "o260-7-0", 260,
               u64(attribute_rdev, 0x103) + u64(attribute_mode, 020644));
  made +=
      make(command_mkfifo, "o261-7-0", 261, u64(attribute_rdev, 0) + u64(attribute_mode, 010644));
  made +=
      make(command_mksock, "o262-9-1", 262, u64(attribute_rdev, 0) + u64(attribute_mode, 0140644));
  made += utimes("d/file", 1'700'000'000, 123456789) + utimes("d/other name\n", UINT64_MAX - 5, 1);
  made += clone_range("d/file", 4096, 4096, '\x01', "d/file", 0) +
          take_away(command_unlink, "o261-7-0");
  made += make(command_mkdir, "o300-8-0", 300) + take_away(command_rmdir, "o300-8-0");
  made +=
      send::command(command_update_extent,
                    send::path("d/file") + u64(attribute_file_offset, 1) + u64(attribute_size, 2));
  if (version >= 2) {
    made += encoded_write("d/file", 8192, 100, 131072, 77, 2, std::string(5000, 'z'));
    made += send::command(command_fallocate,
                          send::path("d/file") + u32(attribute_fallocate_mode, 1) +
                              u64(attribute_file_offset, 0) + u64(attribute_size, 1 << 20));
    made += send::command(command_fileattr, send::path("d/file") + u64(attribute_fileattr, 16));
    made += send::command(command_utimes, send::path("d") + time_of(attribute_atime, 5, 6) +
                                              time_of(attribute_mtime, 1, 2) +
                                              time_of(attribute_ctime, 3, 4) +
                                              time_of(attribute_otime, 7, 8));
  }
  if (version >= 3) {
    made +=
        send::command(command_enable_verity,
                      send::path("d/file") + send::attribute(attribute_verity_algorithm, "\x01") +
                          u32(attribute_verity_block_size, 4096) +
                          send::attribute(attribute_verity_salt_data, "salt") +
                          send::attribute(attribute_verity_sig_data, ""));
  }
  return made + send::end();
}

// Through inspector and writer.
inline std::string index_of(std::string_view stream, index_summary* summary = nullptr) {
  std::string made;
  writer into([&](std::span<const std::byte> bytes) {
    made.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return engine::ok();
  });
  stream_inspector inspector;
  inspector.observe(&into);
  auto fed = inspector.feed(bytes_of(stream));
  auto done = into.finish();
  if (!fed || !done) {
    return "";
  }
  if (summary != nullptr) {
    *summary = *done;
  }
  return made;
}

inline read_at reads_of_text(std::string text) {
  return [text = std::move(text)](std::uint64_t offset,
                                  std::span<std::byte> into) -> engine::result<void> {
    if (offset > text.size() || into.size() > text.size() - offset) {
      engine::error failure;
      failure.message = "read beyond the end";
      return failure;
    }
    std::memcpy(into.data(), text.data() + offset, into.size());
    return engine::ok();
  };
}

inline engine::result<index_file> open_text(const std::string& text) {
  return index_file::open(reads_of_text(text), text.size());
}

}  // namespace bts3::btrfs::index::testing
