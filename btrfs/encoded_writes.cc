#include "btrfs/encoded_writes.hh"

#include "btrfs/send_format.hh"
#include "btrfs/subvolume.hh"
#include "btrfs/tree_search.hh"
#include "engine/assert.hh"
#include "engine/crc32.hh"
#include "engine/files.hh"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

namespace bts3::btrfs {

namespace {

using engine::error;
using engine::result;
using engine::system_error;

using namespace send_format;

// Words in memory before they go to a file: a MiB.
constexpr std::size_t words_in_memory = std::size_t{128} << 10;
// Records compared at a time: of eight bytes on one side and of sixteen on the other.
constexpr std::uint64_t records_at_a_time = std::uint64_t{512} << 10;
// Of what was found, so many are looked up in the checksum tree together, in its order.
constexpr std::size_t extents_at_a_time = std::size_t{32} << 10;
std::uint64_t rounded_up(std::uint64_t value, std::uint64_t step) {
  return (value + step - 1) / step * step;
}

// splitmix64's finalizer over a running value.
std::uint64_t mixed(std::uint64_t so_far, std::uint64_t value) {
  std::uint64_t z = (so_far ^ value) + 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

// Where in its file data lies, and how it is packed; lengths in whole sectors.
struct place {
  std::uint64_t file_offset = 0;
  std::uint64_t bytes = 0;          // of the file
  std::uint64_t unpacked = 0;       // of what it was packed from
  std::uint64_t unpacked_from = 0;  // where in that the file's bytes begin
  std::uint64_t packed = 0;
  std::uint64_t compression = 0;  // as extents tell it

  [[nodiscard]] std::uint64_t digest() const {
    std::uint64_t made = 0;
    for (const std::uint64_t one :
         {file_offset, bytes, unpacked, unpacked_from, packed, compression}) {
      made = mixed(made, one);
    }
    return made;
  }
};

// How an extent names what the stream names so.
std::uint64_t extent_compression(std::uint64_t of_stream) {
  switch (of_stream) {
    case 1:  // BTRFS_ENCODED_IO_COMPRESSION_ZLIB
      return 1;
    case 2:  // BTRFS_ENCODED_IO_COMPRESSION_ZSTD
      return 3;
    default:  // LZO, with sectors of several sizes
      return 2;
  }
}

std::uint32_t block_checksum(std::span<const std::byte> block) {
  return ~engine::crc32c(~std::uint32_t{0}, block);
}

std::uint64_t with_checksums(std::uint64_t digest, std::span<const std::uint32_t> checksums) {
  for (const std::uint32_t one : checksums) {
    digest = mixed(digest, one);
  }
  return digest;
}

struct found_extent {
  std::uint64_t address = 0;
  place where;
};

// What of an extent item is needed; nullopt for one that is not compressed.
std::optional<found_extent> extent_in(std::span<const char> item, std::uint64_t file_offset,
                                      std::uint64_t sector_bytes) {
  btrfs_file_extent_item fields{};
  constexpr std::size_t inline_header = offsetof(btrfs_file_extent_item, disk_bytenr);
  if (item.size() < inline_header) {
    return std::nullopt;
  }
  std::memcpy(&fields, item.data(), std::min(item.size(), sizeof fields));
  found_extent made;
  made.where.file_offset = file_offset;
  made.where.compression = fields.compression;
  made.where.unpacked = rounded_up(little_endian(&fields.ram_bytes, 8), sector_bytes);
  if (fields.compression == 0) {
    return std::nullopt;
  }
  if (fields.type == BTRFS_FILE_EXTENT_INLINE) {
    made.where.bytes = made.where.unpacked;
    made.where.packed = rounded_up(item.size() - inline_header, sector_bytes);
    return made;
  }
  made.address = little_endian(&fields.disk_bytenr, 8);
  if (item.size() < sizeof fields || fields.type != BTRFS_FILE_EXTENT_REG || made.address == 0) {
    return std::nullopt;
  }
  made.where.bytes = little_endian(&fields.num_bytes, 8);
  made.where.unpacked_from = little_endian(&fields.offset, 8);
  made.where.packed = little_endian(&fields.disk_num_bytes, 8);
  return made;
}

struct attribute {
  std::uint64_t type = 0;
  std::span<const std::byte> value;
};

// The next one of a command, taken off its payload: two bytes of type and, but for the data, which
// is the rest, two of length.
std::optional<attribute> take_attribute(std::span<const std::byte>& payload) {
  if (payload.size() < attribute_header_bytes) {
    return std::nullopt;
  }
  attribute next;
  next.type = little_endian(payload.data(), 2);
  if (next.type == attribute_data) {
    next.value = std::exchange(payload, {}).subspan(2);
    return next;
  }
  const std::size_t length = std::min<std::size_t>(little_endian(payload.data() + 2, 2),
                                                   payload.size() - attribute_header_bytes);
  next.value = payload.subspan(attribute_header_bytes, length);
  payload = payload.subspan(attribute_header_bytes + length);
  return next;
}

std::uint64_t number_in(std::span<const std::byte> value) {
  return little_endian(value.data(), std::min(value.size(), sizeof(std::uint64_t)));
}

std::string_view text_in(std::span<const std::byte> value) {
  return {reinterpret_cast<const char*>(value.data()), value.size()};
}

std::uint64_t generation_in(std::span<const char> item) {
  return item.size() < sizeof(std::uint64_t) ? 0 : little_endian(item.data(), 8);
}

}  // namespace

result<data_checks> data_checks_of(const std::string& path) {
  auto fd = engine::open_directory(path);
  if (!fd) {
    return std::move(fd.error());
  }
  btrfs_ioctl_fs_info_args info{};
  info.flags = BTRFS_FS_INFO_FLAG_CSUM_INFO;
  if (::ioctl(fd->get(), BTRFS_IOC_FS_INFO, &info) != 0) {
    return system_error(errno, path + ": BTRFS_IOC_FS_INFO");
  }
  data_checks found;
  found.sector_bytes = info.sectorsize;
  // A kernel that does not tell has CRC-32C alone.
  found.crc32c = (info.flags & BTRFS_FS_INFO_FLAG_CSUM_INFO) == 0 ||
                 (info.csum_type == 0 && info.csum_size == sizeof(std::uint32_t));
  BTS3_ASSERT(found.sector_bytes >= 512 && found.sector_bytes % 512 == 0);
  return found;
}

result<void> record_list::add(std::span<const std::uint64_t> record) {
  BTS3_ASSERT(record.size() == _words);
  _last.insert(_last.end(), record.begin(), record.end());
  ++_size;
  return _last.size() < words_in_memory ? engine::ok() : flush();
}

result<void> record_list::flush() {
  if (!_file.valid()) {
    _file = engine::unique_fd(
        ::open(_directory.c_str(), O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600));
    if (!_file.valid()) {
      return system_error(errno, "a file without a name in " + _directory);
    }
  }
  const char* at = reinterpret_cast<const char*>(_last.data());
  std::size_t left = _last.size() * sizeof(std::uint64_t);
  while (left > 0) {
    const ssize_t written = ::pwrite(_file.get(), at, left, static_cast<off_t>(_flushed_bytes));
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return system_error(written < 0 ? errno : EIO, "a file without a name in " + _directory);
    }
    at += written;
    left -= static_cast<std::size_t>(written);
    _flushed_bytes += static_cast<std::uint64_t>(written);
  }
  _last.clear();
  return engine::ok();
}

result<std::size_t> record_list::read_at(std::uint64_t offset,
                                         std::vector<std::uint64_t>& into) const {
  auto* const data = reinterpret_cast<char*>(into.data());
  const std::size_t wanted =
      std::min<std::uint64_t>(into.size() * sizeof(std::uint64_t), _flushed_bytes - offset);
  for (std::size_t got = 0; got < wanted;) {
    const ssize_t count =
        ::pread(_file.get(), data + got, wanted - got, static_cast<off_t>(offset + got));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return system_error(count < 0 ? errno : EIO, "a file without a name in " + _directory);
    }
    got += static_cast<std::size_t>(count);
  }
  return wanted / sizeof(std::uint64_t);
}

template <typename Wanted, typename Take>
result<void> record_list::each(Wanted wanted, Take take) {
  const auto pass = [&](std::span<const std::uint64_t> words) {
    for (; !words.empty(); words = words.subspan(_words)) {
      if (wanted(words[0])) {
        take(words.first(_words));
      }
    }
  };
  std::vector<std::uint64_t> piece(_flushed_bytes == 0 ? 0 : std::size_t{64} << 10);
  for (std::uint64_t offset = 0; offset < _flushed_bytes;) {
    auto words = read_at(offset, piece);
    if (!words) {
      return std::move(words.error());
    }
    pass(std::span<const std::uint64_t>(piece).first(*words));
    offset += *words * sizeof(std::uint64_t);
  }
  pass(_last);
  return engine::ok();
}

encoded_writes::encoded_writes(std::string directory, data_checks checks)
    : _checks(checks),
      _directory(directory),
      _expected(directory, 1),
      _plain(std::move(directory), 1) {}

result<void> encoded_writes::feed(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (_payload_left == 0) {
      const std::size_t wanted = _in_stream ? command_header_bytes : stream_header_bytes;
      const auto piece = bytes.first(std::min(wanted - _header.size(), bytes.size()));
      _header.insert(_header.end(), piece.begin(), piece.end());
      bytes = bytes.subspan(piece.size());
      if (_header.size() == wanted) {
        auto taken = _in_stream ? take_header() : engine::ok();
        if (!taken) {
          return taken;
        }
        _in_stream = true;
        _header.clear();
      }
      continue;
    }
    const auto piece = bytes.first(std::min(_payload_left, bytes.size()));
    bytes = bytes.subspan(piece.size());
    _payload_left -= piece.size();
    if (!_matters) {
      continue;
    }
    if (_payload_left > 0 || !_pieces.empty()) {
      _pieces.insert(_pieces.end(), piece.begin(), piece.end());
    }
    if (_payload_left == 0) {
      auto taken = take_command(_pieces.empty() ? piece : std::span<const std::byte>(_pieces));
      _pieces.clear();
      if (!taken) {
        return taken;
      }
    }
  }
  return engine::ok();
}

result<void> encoded_writes::take_header() {
  _payload_left = little_endian(_header.data(), 4);
  _command = static_cast<std::uint16_t>(little_endian(_header.data() + 4, 2));
  _matters = _command == command_encoded_write || (_command == command_truncate && _open_end);
  return _command == command_truncate ? engine::ok() : keep_open_end();
}

result<void> encoded_writes::keep_open_end() {
  if (!_open_end) {
    return engine::ok();
  }
  const std::uint64_t digest = _open_end->digest;
  _open_end.reset();
  return _expected.add(std::span(&digest, 1));
}

result<void> encoded_writes::take_command(std::span<const std::byte> payload) {
  return _command == command_truncate ? take_truncation(payload) : take_write(payload);
}

result<void> encoded_writes::take_truncation(std::span<const std::byte> payload) {
  std::optional<std::uint64_t> size;
  std::string_view path;
  while (const auto next = take_attribute(payload)) {
    if (next->type == attribute_size) {
      size = number_in(next->value);
    } else if (next->type == attribute_path) {
      path = text_in(next->value);
    }
  }
  if (size != _open_end->end || path != _open_end->path) {
    return keep_open_end();
  }
  const std::uint64_t digest = _open_end->digest;
  _open_end.reset();
  return _plain.add(std::span(&digest, 1));
}

result<void> encoded_writes::take_write(std::span<const std::byte> payload) {
  place where;
  std::uint64_t compression = 0;
  std::uint64_t file_bytes = 0;
  std::string_view path;
  std::span<const std::byte> data;
  while (const auto next = take_attribute(payload)) {
    switch (next->type) {
      case attribute_data:
        data = next->value;
        break;
      case attribute_path:
        path = text_in(next->value);
        break;
      case attribute_file_offset:
        where.file_offset = number_in(next->value);
        break;
      case attribute_unencoded_file_len:
        file_bytes = number_in(next->value);
        break;
      case attribute_unencoded_len:
        where.unpacked = rounded_up(number_in(next->value), _checks.sector_bytes);
        break;
      case attribute_unencoded_offset:
        where.unpacked_from = number_in(next->value);
        break;
      case attribute_compression:
        compression = number_in(next->value);
        break;
      default:
        break;
    }
  }
  where.bytes = rounded_up(file_bytes, _checks.sector_bytes);
  where.compression = extent_compression(compression);
  where.packed = rounded_up(data.size(), _checks.sector_bytes);
  const std::uint64_t digest = digest_of(where.digest(), data);
  const std::uint64_t end = where.file_offset + file_bytes;
  if (end % _checks.sector_bytes != 0) {
    _open_end = open_end{digest, end, std::string(path)};
    return engine::ok();
  }
  return _expected.add(std::span(&digest, 1));
}

// With the checksums of its sectors, the last one filled up with zeros.
std::uint64_t encoded_writes::digest_of(std::uint64_t place_digest,
                                        std::span<const std::byte> data) const {
  if (!_checks.crc32c) {
    return place_digest;
  }
  const std::size_t step = _checks.sector_bytes;
  for (; data.size() >= step; data = data.subspan(step)) {
    place_digest = mixed(place_digest, block_checksum(data.first(step)));
  }
  if (!data.empty()) {
    std::vector<std::byte> last(data.begin(), data.end());
    last.resize(step);
    place_digest = mixed(place_digest, block_checksum(last));
  }
  return place_digest;
}

result<void> encoded_writes::find_extents(int subvolume, std::uint64_t since,
                                          record_list& found) const {
  std::vector<found_extent> batch;
  std::vector<std::uint32_t> checksums;
  checksum_reader reader(subvolume, _checks.sector_bytes);
  const auto look_up = [&]() -> result<void> {
    std::sort(batch.begin(), batch.end(), [](const found_extent& one, const found_extent& other) {
      return one.address < other.address;
    });
    for (const found_extent& extent : batch) {
      result<bool> there = true;
      if (_checks.crc32c) {
        there = reader.read(extent.address, extent.where.packed, checksums);
      }
      if (!there) {
        return std::move(there.error());
      }
      const std::uint64_t record[] = {with_checksums(extent.where.digest(), checksums),
                                      extent.address};
      if (auto added = *there ? found.add(record) : engine::ok(); !added) {
        return added;
      }
    }
    batch.clear();
    return engine::ok();
  };
  tree_items items(subvolume, 0, since);
  // Types beside that of extents come along where there are several objects.
  items.between(BTRFS_FIRST_FREE_OBJECTID, BTRFS_LAST_FREE_OBJECTID, BTRFS_EXTENT_DATA_KEY, 0);
  std::uint64_t inlined = 0;
  for (;;) {
    auto next = items.next();
    if (!next || !*next) {
      return next ? look_up() : result<void>(std::move(next.error()));
    }
    if (items.header.type != BTRFS_EXTENT_DATA_KEY || generation_in(items.item) < since) {
      continue;
    }
    const auto extent = extent_in(items.item, items.header.offset, _checks.sector_bytes);
    if (!extent) {
      continue;
    }
    if (extent->address != 0) {
      batch.push_back(*extent);
    } else {
      // No two of them are the same, and none is the address of an extent.
      const auto data =
          std::as_bytes(items.item.subspan(offsetof(btrfs_file_extent_item, disk_bytenr)));
      const std::uint64_t record[] = {digest_of(extent->where.digest(), data), ++inlined};
      if (auto added = found.add(record); !added) {
        return added;
      }
    }
    if (auto looked = batch.size() < extents_at_a_time ? engine::ok() : look_up(); !looked) {
      return looked;
    }
  }
}

result<std::uint64_t> encoded_writes::compare(record_list& found) {
  const std::uint64_t most = std::max({_expected.size(), _plain.size(), found.size()});
  const std::uint64_t passes = most / records_at_a_time + 1;
  std::uint64_t missing = 0;
  std::uint64_t others = 0;  // extents that no write answers for
  for (std::uint64_t pass = 0; pass < passes; ++pass) {
    const auto wanted = [&](std::uint64_t digest) { return digest % passes == pass; };
    std::vector<std::uint64_t> written;
    std::vector<std::uint64_t> plain;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> there;
    auto read = _expected.each(wanted, [&](auto record) { written.push_back(record[0]); });
    if (read) {
      read = _plain.each(wanted, [&](auto record) { plain.push_back(record[0]); });
    }
    if (read) {
      read = found.each(wanted, [&](auto record) { there.emplace_back(record[0], record[1]); });
    }
    if (!read) {
      return std::move(read.error());
    }
    std::sort(written.begin(), written.end());
    std::sort(plain.begin(), plain.end());
    std::sort(there.begin(), there.end());
    there.erase(std::unique(there.begin(), there.end()), there.end());
    auto at = there.begin();
    for (auto one = written.begin(); one != written.end();) {
      const auto same = std::equal_range(one, written.end(), *one);
      const auto same_plain = std::equal_range(plain.begin(), plain.end(), *one);
      for (; at != there.end() && at->first < *one; ++at) {
        ++others;
      }
      std::uint64_t extents = 0;
      for (; at != there.end() && at->first == *one; ++at) {
        ++extents;
      }
      const auto encoded = static_cast<std::uint64_t>(same.second - same.first);
      const std::uint64_t needed =
          encoded + static_cast<std::uint64_t>(same_plain.second - same_plain.first);
      missing += std::min(encoded, needed - std::min(needed, extents));
      others += extents - std::min(needed, extents);
      one = same.second;
    }
    others += static_cast<std::uint64_t>(there.end() - at);
  }
  return _checks.crc32c || missing > 0 ? missing : others;
}

result<std::uint64_t> encoded_writes::missing_in(const std::string& path) {
  if (auto kept = keep_open_end(); !kept) {
    return std::move(kept.error());
  }
  if (_expected.size() == 0) {
    return 0;
  }
  auto info = inspect_subvolume(path);
  if (!info) {
    return std::move(info.error());
  }
  auto subvolume = engine::open_directory(path);
  if (!subvolume) {
    return std::move(subvolume.error());
  }
  record_list found(_directory, 2);
  if (auto looked = find_extents(subvolume->get(), info->made_in, found); !looked) {
    return std::move(looked.error()).within(path);
  }
  return compare(found);
}

}  // namespace bts3::btrfs
