#include "btrfs/stream_rewriter.hh"

#include "btrfs/send_format.hh"
#include "engine/crc32.hh"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

namespace bts3::btrfs {

namespace {

using engine::error;
using engine::result;

using namespace send_format;

// Two paths and some numbers.
constexpr std::uint32_t whole_command_bytes_max = 16 << 10;

template <typename Number>
Number number_at(std::span<const std::byte> bytes, std::size_t at) {
  Number value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i) {
    value = static_cast<Number>(value | static_cast<Number>(bytes[at + i]) << (8 * i));
  }
  return value;
}

void put_number(std::span<std::byte> bytes, std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < sizeof value; ++i) {
    bytes[at + i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
  }
}

bool seen_whole(std::uint16_t command) {
  return command == command_subvol || command == command_snapshot || command == command_clone;
}

// Of a whole command, whose own field counts as 0.
std::uint32_t crc_of(std::span<const std::byte> command) {
  constexpr std::array<std::byte, 4> none{};
  std::uint32_t crc = engine::crc32c(0, command.first(6));
  crc = engine::crc32c(crc, none);
  return engine::crc32c(crc, command.subspan(10));
}

// Where the value of that attribute is in a command; nullopt when it is not there, or no UUID.
std::optional<std::size_t> uuid_attribute(std::span<const std::byte> command,
                                          std::uint16_t wanted) {
  std::size_t at = 10;
  while (command.size() - at >= 4) {
    const auto kind = number_at<std::uint16_t>(command, at);
    const auto length = number_at<std::uint16_t>(command, at + 2);
    at += 4;
    if (length > command.size() - at) {
      return std::nullopt;
    }
    if (kind == wanted) {
      return length == uuid_bytes ? std::optional(at) : std::nullopt;
    }
    at += length;
  }
  return std::nullopt;
}

uuid uuid_at(std::span<const std::byte> command, std::size_t at) {
  std::uint8_t raw[uuid_bytes];
  std::memcpy(raw, command.data() + at, uuid_bytes);
  return uuid(raw);
}

}  // namespace

error stream_rewriter::refused(std::string what) const {
  error failure;
  failure.why = engine::reason::integrity;
  failure.message = "the stream " + std::move(what) + " (command at byte " +
                    std::to_string(_offset) + "), which no backup of this program does";
  failure.remedy =
      "a chunk or the manifest belongs to another backup, or was made up by somebody "
      "who can write to the bucket; restore another one";
  return failure;
}

result<void> stream_rewriter::replace(std::span<std::byte> command, std::size_t at) {
  // A command that is broken already must not become whole by this.
  if (number_at<std::uint32_t>(command, 6) != crc_of(command)) {
    return refused("has a wrong CRC");
  }
  std::uint8_t raw[uuid_bytes];
  _instead.copy_to(raw);
  std::memcpy(command.data() + at, raw, uuid_bytes);
  put_number(command, 6, crc_of(command));
  return engine::ok();
}

result<void> stream_rewriter::take_subvolume(std::span<std::byte> command, bool snapshot) {
  if (_own) {
    return refused("makes a second subvolume");
  }
  const auto own = uuid_attribute(command, attribute_uuid);
  const auto parent = uuid_attribute(command, attribute_clone_uuid);
  if (!own || (snapshot && !parent)) {
    return refused("makes a subvolume without its UUID");
  }
  _own = uuid_at(command, *own);
  if (!snapshot) {
    return _parent ? result<void>(refused("of an incremental builds on nothing")) : engine::ok();
  }
  const uuid named = uuid_at(command, *parent);
  if (named != _parent) {
    return refused("builds on the snapshot " + named.text() + " instead of on " +
                   (_parent ? _parent->text() + ", the link before it" : "nothing"));
  }
  return replace(command, *parent);
}

result<void> stream_rewriter::take_clone(std::span<std::byte> command) {
  const auto source = uuid_attribute(command, attribute_clone_uuid);
  if (!source) {
    return refused("takes data from a file without a UUID");
  }
  const uuid named = uuid_at(command, *source);
  if (named == _own) {
    return engine::ok();
  }
  if (named != _parent) {
    return refused("takes data from another subvolume, " + named.text());
  }
  return replace(command, *source);
}

result<void> stream_rewriter::take(std::span<std::byte> command) {
  const auto kind = number_at<std::uint16_t>(command, 4);
  return kind == command_clone ? take_clone(command)
                               : take_subvolume(command, kind == command_snapshot);
}

// How many bytes from the beginning of a command have to be together; `seen`: those that are.
std::size_t stream_rewriter::wanted_of(std::span<const std::byte> seen) const {
  if (seen.size() < command_header_bytes || !seen_whole(number_at<std::uint16_t>(seen, 4))) {
    return command_header_bytes;
  }
  return command_header_bytes + number_at<std::uint32_t>(seen, 0);
}

result<void> stream_rewriter::pass(std::span<std::byte> command) {
  if (seen_whole(number_at<std::uint16_t>(command, 4))) {
    if (auto taken = take(command); !taken) {
      return taken;
    }
  } else {
    _skip = number_at<std::uint32_t>(command, 0);
  }
  _offset += command.size();
  return engine::ok();
}

result<std::vector<std::span<const std::byte>>> stream_rewriter::feed(std::span<std::byte> bytes) {
  std::vector<std::span<const std::byte>> out;
  std::size_t at = 0;
  // What an earlier piece began. A piece completes one such command at most.
  while (!_held.empty()) {
    const std::size_t wanted = wanted_of(_held);
    if (wanted > whole_command_bytes_max) {
      return refused("has a command of " + std::to_string(wanted) + " bytes");
    }
    if (_held.size() == wanted) {
      if (auto passed = pass(_held); !passed) {
        return std::move(passed.error());
      }
      _passed = std::exchange(_held, {});
      out.emplace_back(_passed);
    } else if (at == bytes.size()) {
      return out;
    } else {
      const std::size_t step = std::min(bytes.size() - at, wanted - _held.size());
      const auto more = bytes.subspan(at, step);
      _held.insert(_held.end(), more.begin(), more.end());
      at += step;
    }
  }
  const std::size_t begin = at;
  while (at < bytes.size()) {
    const std::span<std::byte> rest = bytes.subspan(at);
    if (_skip > 0) {
      const auto step = static_cast<std::size_t>(std::min<std::uint64_t>(_skip, rest.size()));
      _skip -= step;
      _offset += step;
      at += step;
      continue;
    }
    const std::size_t wanted = wanted_of(rest);
    if (wanted > whole_command_bytes_max) {
      return refused("has a command of " + std::to_string(wanted) + " bytes");
    }
    if (wanted > rest.size()) {
      _held.assign(rest.begin(), rest.end());
      break;
    }
    if (auto passed = pass(rest.first(wanted)); !passed) {
      return std::move(passed.error());
    }
    at += wanted;
  }
  if (begin < at) {
    out.push_back(bytes.subspan(begin, at - begin));
  }
  return out;
}

}  // namespace bts3::btrfs
