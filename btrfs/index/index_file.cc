#include "btrfs/index/index_file.hh"

#include "btrfs/index/index_format.hh"
#include "engine/assert.hh"

#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace bts3::btrfs::index {

namespace {

using engine::result;

std::uint32_t number_at(std::span<const std::byte> bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i > 0; --i) {
    value = value << 8 | std::to_integer<std::uint32_t>(bytes[at + i - 1]);
  }
  return value;
}

engine::error damaged(std::string problem) {
  engine::error failure;
  failure.why = engine::reason::integrity;
  failure.message = "index: " + std::move(problem);
  return failure;
}

}  // namespace

read_at reads_of(int file) {
  return [file](std::uint64_t offset, std::span<std::byte> into) -> result<void> {
    while (!into.empty()) {
      const ssize_t got = ::pread(file, into.data(), into.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got < 0) {
        return engine::system_error(errno, "reading an index");
      }
      if (got == 0) {
        return damaged("ends before its length");
      }
      into = into.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
    return engine::ok();
  };
}

result<index_file> index_file::open(read_at read, std::uint64_t bytes) {
  index_file made;
  made._read = std::move(read);
  if (auto understood = made.read_directory(bytes); !understood) {
    return understood.error();
  }
  if (auto understood = made.read_title(); !understood) {
    return understood.error();
  }
  return made;
}

result<void> index_file::read_directory(std::uint64_t bytes) {
  constexpr std::size_t least = skippable_header_bytes + directory_footer_bytes;
  if (bytes < least) {
    return damaged("is too short");
  }
  std::vector<std::byte> footer(directory_footer_bytes);
  if (auto got = _read(bytes - footer.size(), footer); !got) {
    return got;
  }
  const std::uint64_t count = number_at(footer, 0);
  if (number_at(footer, 5) != directory_magic || footer[4] != std::byte{0}) {
    return damaged("does not end with a directory of frames");
  }
  const std::uint64_t length = least + count * directory_entry_bytes;
  if (count == 0 || length > bytes) {
    return damaged("has a directory of " + std::to_string(count) + " frames, which cannot be");
  }
  _directory.resize(length);
  if (auto got = _read(bytes - length, _directory); !got) {
    return got;
  }
  if (number_at(_directory, 0) != skippable_magic ||
      number_at(_directory, 4) != length - skippable_header_bytes) {
    return damaged("has a directory without its beginning");
  }
  std::uint64_t offset = 0;
  for (std::size_t i = 0; i < count; ++i) {
    frame one;
    one.offset = offset;
    one.packed = number_at(_directory, skippable_header_bytes + i * directory_entry_bytes);
    one.plain = number_at(_directory, skippable_header_bytes + i * directory_entry_bytes + 4);
    if (one.plain == 0 || one.plain > frame_bytes_max || one.packed == 0 ||
        one.packed > ZSTD_COMPRESSBOUND(frame_bytes_max)) {
      return damaged("frame " + std::to_string(i) + " has a size that none has");
    }
    offset += one.packed;
    _frames.push_back(one);
  }
  if (offset != bytes - length) {
    return damaged("frames and directory are not all of it");
  }
  return engine::ok();
}

result<void> index_file::read_title() {
  auto plain = unpack(0);
  if (!plain) {
    return plain.error();
  }
  if (_plain.size() <= title_bytes || std::memcmp(_plain.data(), title, title_bytes) != 0) {
    return damaged("is none that this version reads");
  }
  _version = std::to_integer<std::uint32_t>(_plain[title_bytes]);
  if (_version < 1 || _version > send_format::version_max) {
    return damaged("is of a stream of version " + std::to_string(_version));
  }
  return engine::ok();
}

result<std::span<const std::byte>> index_file::unpack(std::size_t index) {
  const frame& one = _frames[index];
  _packed.resize(one.packed);
  _plain.resize(one.plain);
  if (auto got = _read(one.offset, _packed); !got) {
    return got.error();
  }
  // Nothing behind the frame, and as much as the directory says.
  const std::size_t whole = ZSTD_findFrameCompressedSize(_packed.data(), _packed.size());
  const std::size_t plain =
      ZSTD_isError(whole) || whole != _packed.size()
          ? 0
          : ZSTD_decompress(_plain.data(), _plain.size(), _packed.data(), _packed.size());
  if (ZSTD_isError(plain) || plain != _plain.size()) {
    return damaged("frame " + std::to_string(index) + " is damaged");
  }
  const std::size_t skipped = index == 0 ? std::min(title_bytes + 1, _plain.size()) : 0;
  return std::span<const std::byte>(_plain).subspan(skipped);
}

result<void> index_file::each(const std::function<result<void>(const record&)>& take) {
  engine::sha256_hasher digest;
  record_decoder decoder(_version);
  record one;
  std::uint64_t number = 1;
  std::uint64_t offset = send_format::stream_header_bytes;
  for (std::size_t i = 0; i < _frames.size(); ++i) {
    auto records = unpack(i);
    if (!records) {
      return records.error();
    }
    digest.update(_packed);
    if (auto begun = decoder.begin_frame(*records); !begun) {
      return begun;
    }
    if (decoder.number() != number || decoder.offset() != offset || decoder.at_end()) {
      return damaged("frame " + std::to_string(i) + " does not follow the one before");
    }
    while (!decoder.at_end()) {
      if (one.type == send_format::command_end) {
        return damaged("goes on after the stream's end");
      }
      if (auto got = decoder.next(one); !got) {
        return got;
      }
      if (auto taken = take(one); !taken) {
        return taken;
      }
    }
    number = decoder.number();
    offset = decoder.offset();
  }
  if (one.type != send_format::command_end) {
    return damaged("stops before the stream's end");
  }
  digest.update(_directory);
  _sha256 = digest.digest();
  _commands = one.number;
  _stream_bytes = one.end;
  return engine::ok();
}

result<void> index_file::from(std::uint64_t number,
                              const std::function<bool(const record&)>& take) {
  // The last frame that begins at or before it; each says itself where it begins.
  std::size_t low = 0;
  std::size_t high = _frames.size();
  record_decoder decoder(_version);
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    auto records = unpack(middle);
    if (!records) {
      return records.error();
    }
    if (auto begun = decoder.begin_frame(*records); !begun) {
      return begun;
    }
    (decoder.number() <= number ? low : high) = middle;
  }
  record one;
  for (std::size_t i = low; i < _frames.size(); ++i) {
    auto records = unpack(i);
    if (!records) {
      return records.error();
    }
    if (auto begun = decoder.begin_frame(*records); !begun) {
      return begun;
    }
    while (!decoder.at_end()) {
      if (auto got = decoder.next(one); !got) {
        return got;
      }
      if (!take(one)) {
        return engine::ok();
      }
    }
  }
  return engine::ok();
}

}  // namespace bts3::btrfs::index
