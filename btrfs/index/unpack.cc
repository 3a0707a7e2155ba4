#include "btrfs/index/unpack.hh"

#include "engine/assert.hh"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

namespace bts3::btrfs::index {

namespace {

using engine::result;

engine::error damaged(const char* how) {
  engine::error failure;
  failure.why = engine::reason::integrity;
  failure.message = std::string("an extent cannot be unpacked as ") + how;
  return failure;
}

// What packed data does not fill.
result<void> filled(std::span<std::byte> into, std::size_t from) {
  std::fill(into.begin() + static_cast<std::ptrdiff_t>(from), into.end(), std::byte{0});
  return engine::ok();
}

result<void> unpack_zlib(std::span<const std::byte> packed, std::span<std::byte> into) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) {
    return damaged("zlib");
  }
  // Behind the end of what is packed there may be the rest of a sector.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(into.data());
  stream.avail_out = static_cast<uInt>(into.size());
  const int code = inflate(&stream, Z_FINISH);
  const bool all = code == Z_STREAM_END || stream.avail_out == 0;
  const std::size_t got = into.size() - stream.avail_out;
  inflateEnd(&stream);
  return all ? filled(into, got) : damaged("zlib");
}

result<void> unpack_zstd(std::span<const std::byte> packed, std::span<std::byte> into) {
  const std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(),
                                                                             ZSTD_freeDStream);
  ZSTD_inBuffer from{packed.data(), packed.size(), 0};
  ZSTD_outBuffer to{into.data(), into.size(), 0};
  while (from.pos < from.size && to.pos < to.size) {
    const std::size_t code = ZSTD_decompressStream(stream.get(), &to, &from);
    if (ZSTD_isError(code)) {
      return damaged("zstd");
    }
    if (code == 0) {
      break;
    }
  }
  return filled(into, to.pos);
}

// One piece of LZO1X, which is at most a sector. Every byte is bounded on both sides.
class lzo_piece {
 public:
  lzo_piece(std::span<const std::byte> packed, std::span<std::byte> into)
      : _packed(packed), _into(into) {}

  // How much was unpacked; false: it makes no sense.
  bool run(std::size_t& made) {
    unsigned state = 0;  // literals behind the last match; 4: behind a run of literals
    if (!_packed.empty() && byte_at(0) > 17) {
      const std::size_t count = byte_at(0) - 17;
      _at = 1;
      if (!literals(count)) {
        return false;
      }
      state = count < 4 ? static_cast<unsigned>(count) : 4;
    }
    while (true) {
      if (_at >= _packed.size()) {
        return false;
      }
      const unsigned code = byte_at(_at++);
      bool last = false;
      if (!(code < 16 && state == 0 ? run_of_literals(code, state) : match(code, state, last))) {
        return false;
      }
      if (last) {
        made = _made;
        return true;
      }
    }
  }

 private:
  [[nodiscard]] unsigned byte_at(std::size_t at) const {
    return std::to_integer<unsigned>(_packed[at]);
  }

  bool literals(std::size_t count) {
    if (count > _packed.size() - _at || count > _into.size() - _made) {
      return false;
    }
    std::copy_n(_packed.begin() + static_cast<std::ptrdiff_t>(_at), count,
                _into.begin() + static_cast<std::ptrdiff_t>(_made));
    _at += count;
    _made += count;
    return true;
  }

  // A length that did not fit: zeros for 255 each, and a last byte.
  bool longer(std::size_t& count) {
    while (_at < _packed.size() && byte_at(_at) == 0) {
      count += 255;
      ++_at;
    }
    if (_at >= _packed.size()) {
      return false;
    }
    count += byte_at(_at++);
    return true;
  }

  bool run_of_literals(unsigned code, unsigned& state) {
    std::size_t count = code + 3;
    if (code == 0) {
      count = 3 + 15;
      if (!longer(count)) {
        return false;
      }
    }
    state = 4;
    return literals(count);
  }

  // Bytes that were there before, and up to three literals.
  bool match(unsigned code, unsigned& state, bool& last) {
    std::size_t count = 0;
    std::size_t distance = 0;
    unsigned behind = code & 3;
    if (code >= 64 || code < 16) {
      if (_at >= _packed.size()) {
        return false;
      }
      const std::size_t high = byte_at(_at++);
      if (code >= 64) {
        count = (code >> 5) + 1;
        distance = 1 + (code >> 2 & 7) + (high << 3);
      } else {
        count = state == 4 ? 3 : 2;
        distance = (state == 4 ? 0x801 : 1) + (code >> 2) + (high << 2);
      }
    } else {
      const unsigned mask = code >= 32 ? 31 : 7;
      count = (code & mask) + 2;
      if ((code & mask) == 0) {
        count = mask + 2;
        if (!longer(count)) {
          return false;
        }
      }
      if (_packed.size() - _at < 2) {
        return false;
      }
      const unsigned two = byte_at(_at) | byte_at(_at + 1) << 8;
      _at += 2;
      behind = two & 3;
      distance = two >> 2;
      if (code >= 32) {
        distance += 1;
      } else {
        distance += std::size_t{code & 8} << 11;
        if (distance == 0) {
          last = true;
          return count == 3;
        }
        distance += 0x4000;
      }
    }
    if (distance > _made || count > _into.size() - _made) {
      return false;
    }
    for (std::size_t i = 0; i < count; ++i, ++_made) {
      _into[_made] = _into[_made - distance];
    }
    state = behind;
    return literals(behind);
  }

  std::span<const std::byte> _packed;
  std::span<std::byte> _into;
  std::size_t _at = 0;
  std::size_t _made = 0;
};

std::size_t number_at(std::span<const std::byte> bytes, std::size_t at) {
  std::size_t value = 0;
  for (std::size_t i = 4; i > 0; --i) {
    value = value << 8 | std::to_integer<std::size_t>(bytes[at + i - 1]);
  }
  return value;
}

// The length of all, then pieces of a sector each, with their packed lengths before them. None of
// these lengths crosses the boundary of a sector.
result<void> unpack_lzo(std::span<const std::byte> packed, std::span<std::byte> into,
                        std::size_t sector) {
  if (packed.size() < 4 || number_at(packed, 0) > packed.size() || number_at(packed, 0) < 4) {
    return damaged("LZO");
  }
  packed = packed.first(number_at(packed, 0));
  std::size_t at = 4;
  std::size_t made = 0;
  while (at < packed.size() && made < into.size()) {
    const std::size_t left = (sector - at % sector) % sector;
    if (left != 0 && left < 4) {
      if (packed.size() - at <= left) {
        break;
      }
      at += left;
    }
    if (packed.size() - at < 4 || number_at(packed, at) > packed.size() - at - 4) {
      return damaged("LZO");
    }
    const std::size_t length = number_at(packed, at);
    at += 4;
    const auto piece = into.subspan(made, std::min(sector, into.size() - made));
    std::size_t got = 0;
    if (!lzo_piece(packed.subspan(at, length), piece).run(got)) {
      return damaged("LZO");
    }
    at += length;
    made += got;
    if (got < sector) {
      break;
    }
  }
  return filled(into, made);
}

}  // namespace

result<void> unpack(encoding how, std::span<const std::byte> packed, std::span<std::byte> into) {
  switch (how) {
    case encoding::none:
      break;
    case encoding::zlib:
      return unpack_zlib(packed, into);
    case encoding::zstd:
      return unpack_zstd(packed, into);
    case encoding::lzo_4k:
    case encoding::lzo_8k:
    case encoding::lzo_16k:
    case encoding::lzo_32k:
    case encoding::lzo_64k:
      return unpack_lzo(packed, into,
                        std::size_t{4096} << (static_cast<unsigned>(how) -
                                              static_cast<unsigned>(encoding::lzo_4k)));
  }
  BTS3_ASSERT(false);
  return engine::ok();
}

}  // namespace bts3::btrfs::index
