#include "btrfs/index/record_codec.hh"

#include "btrfs/index/varint.hh"
#include "engine/assert.hh"

#include <algorithm>
#include <cstring>
#include <utility>

namespace bts3::btrfs::index {

namespace {

using engine::result;
using namespace send_format;

// A record's first byte: the command, and
constexpr std::uint8_t command_mask = 0x1f;
constexpr std::uint8_t told = 0x20;       // what it has, and its length, are told
constexpr std::uint8_t same_path = 0x40;  // its path is the expected one
constexpr std::uint8_t first_byte_mask = 0x7f;

// A path's first number: an orphan's name, or how much is common (and this more).
constexpr std::uint64_t path_of_orphan = 0;
constexpr std::uint64_t path_in_common = 1;

// Room for what a record has beside its texts: a first byte, and for each of at most eight fields
// three numbers (an orphan's name).
constexpr std::size_t numbers_bytes_max = 2 + (3 + 8 * 3) * varint_bytes_max;

// A command's longest payload: 256 KiB and its header (stream_inspector knows why).
constexpr std::uint64_t command_bytes_max = std::uint64_t{256} * 1024;
// No stream is longer; sums of offsets stay below 2^64.
constexpr std::uint64_t stream_bytes_max = std::uint64_t{1} << 62;
// Of an attribute with a length of 16 bits.
constexpr std::size_t value_bytes_max = 65535;

constexpr std::uint64_t bit(unsigned attribute) {
  return std::uint64_t{1} << attribute;
}

std::uint64_t number_in(std::string_view value) {
  std::uint64_t number = 0;
  for (std::size_t i = value.size(); i > 0; --i) {
    number = number << 8 | static_cast<unsigned char>(value[i - 1]);
  }
  return number;
}

std::uint64_t header_bytes_of(const field& one, std::uint32_t version) {
  return one.how == packing::data && version >= 2 ? 2 : attribute_header_bytes;
}

// What a command has where nothing is told.
bool usual(const field& one, std::uint32_t version) {
  return one.attribute != attribute_otime || version >= 2;
}

// How long the bytes of a write are in the file.
std::uint64_t file_bytes(std::uint16_t type, std::uint64_t data_bytes, std::uint64_t unencoded,
                         std::uint64_t cloned, std::uint64_t size) {
  switch (type) {
    case command_write:
      return data_bytes;
    case command_encoded_write:
      return unencoded;
    case command_clone:
      return cloned;
    default:
      return size;
  }
}

std::byte* put_text(std::string_view text, std::byte* at) {
  std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

std::byte* put_moment(moment to, moment from, std::byte* at) {
  if (to.seconds == from.seconds) {
    return put_varint(at, folded(to.nanoseconds, from.nanoseconds) << 1);
  }
  const std::uint64_t seconds = folded(to.seconds, from.seconds);
  if (seconds >> 63 == 0) {
    at = put_varint(at, seconds << 1 | 1);
  } else {
    at = put_varint(at, 1);  // no difference has this code
    at = put_varint(at, to.seconds);
  }
  std::memcpy(at, &to.nanoseconds, sizeof to.nanoseconds);
  return at + sizeof to.nanoseconds;
}

moment moment_in(std::string_view value) {
  return {number_in(value.substr(0, 8)), static_cast<std::uint32_t>(number_in(value.substr(8)))};
}

// What a time is told as the difference to. They are told in the order of the fields: of files that
// are made one after the other changes follow each other closely, and what was never changed since
// was made and read then.
moment base_of(unsigned attribute, const expectation& expected) {
  return attribute == attribute_mtime ? expected.modified : expected.changed;
}
void remember(unsigned attribute, moment value, expectation& expected) {
  (attribute == attribute_mtime ? expected.modified : expected.changed) = value;
}

// Of what `expected` is told after each command.
void settle(std::uint16_t type, std::string_view to, expectation& expected) {
  if (type != command_rename) {
    return;
  }
  expected.path = to;
}

}  // namespace

void record_encoder::begin_frame(const observed_command& next, std::vector<std::byte>& to) {
  _expected = {};
  _expected.number = next.number;
  _expected.offset = next.offset;
  const std::size_t begin = to.size();
  to.resize(begin + 2 * varint_bytes_max);
  std::byte* at = put_varint(to.data() + begin, next.number);
  at = put_varint(at, next.offset);
  to.resize(static_cast<std::size_t>(at - to.data()));
}

std::byte* record_encoder::put_path(std::string_view path, std::byte* at) {
  orphan_name orphan;
  if (parse_orphan(path, orphan)) {
    at = put_varint(at, path_of_orphan);
    at = put_varint(at, folded(orphan.ino, _expected.ino));
    at = put_varint(at, folded(orphan.generation, _expected.generation));
    at = put_varint(at, orphan.number);
    _expected.ino = orphan.ino;
    _expected.generation = orphan.generation;
    return at;
  }
  std::string& settled = _expected.settled;
  const std::size_t most = std::min(path.size(), settled.size());
  const auto shared = static_cast<std::size_t>(
      std::mismatch(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(most), settled.begin())
          .first -
      path.begin());
  at = put_varint(at, path_in_common + shared);
  at = put_varint(at, path.size() - shared);
  at = put_text(path.substr(shared), at);
  settled.resize(shared);
  settled += path.substr(shared);
  return at;
}

void record_encoder::encode(const observed_command& command, std::vector<std::byte>& to) {
  std::size_t room = numbers_bytes_max;
  std::uint64_t explained = command_header_bytes;
  std::uint64_t present = 0;  // of the fields, a bit each
  bool as_usual = true;
  unsigned index = 0;
  const field_list fields = fields_of(command.type);
  for (const field& one : fields) {
    std::size_t bytes = command.data_bytes;
    bool has = command.has(one.attribute);
    if (one.how != packing::data) {
      bytes = command.value(one.attribute).size();
      room += bytes;
      // What has another size nobody can read: it is as if it were missing, and the length tells.
      has = has && (one.bytes == 0 || bytes == one.bytes);
    }
    if (has) {
      explained += header_bytes_of(one, _version) + bytes;
      present |= bit(index);
    }
    as_usual = as_usual && has == usual(one, _version);
    ++index;
  }
  const std::uint64_t length = command.end - command.offset;
  const bool has_data = command.has(attribute_data);
  as_usual = as_usual && explained == length &&
             (!has_data || command.data_offset + command.data_bytes == command.end);
  const std::size_t begin = to.size();
  to.resize(begin + room);
  std::byte* at = to.data() + begin;
  const std::string_view path = command.value(attribute_path);
  const bool same = command.has(attribute_path) && path == _expected.path;
  *at++ = static_cast<std::byte>(command.type | (as_usual ? 0 : told) | (same ? same_path : 0));
  if (!as_usual) {
    at = put_varint(at, present);
    at = put_varint(at, length);
    at = put_varint(at, has_data ? command.data_offset - command.offset : 0);
  }
  if (!same && command.has(attribute_path)) {
    _expected.file_end = 0;
  }
  at = put_fields(command, at);
  _expected.number = command.number + 1;
  _expected.offset = command.end;
  to.resize(static_cast<std::size_t>(at - to.data()));
}

std::byte* record_encoder::put_fields(const observed_command& command, std::byte* at) {
  const auto number = [&](unsigned attribute) { return number_in(command.value(attribute)); };
  for (const field& one : fields_of(command.type)) {
    const std::string_view value = command.value(one.attribute);
    if (!command.has(one.attribute) || (one.bytes != 0 && value.size() != one.bytes)) {
      continue;
    }
    switch (one.how) {
      case packing::number:
        at = put_varint(at, number_in(value));
        break;
      case packing::ino: {
        const std::uint64_t ino = number_in(value);
        at = put_varint(at, folded(ino, _expected.ino));
        _expected.ino = ino;
        break;
      }
      case packing::file_offset:
      case packing::size: {
        const std::uint64_t offset = number_in(value);
        at = put_varint(at, folded(offset, _expected.file_end));
        _expected.file_end =
            one.how == packing::size
                ? offset
                : offset + file_bytes(command.type, command.data_bytes,
                                      number(attribute_unencoded_file_len),
                                      number(attribute_clone_len), number(attribute_size));
        break;
      }
      case packing::time: {
        const moment to = moment_in(value);
        at = put_moment(to, base_of(one.attribute, _expected), at);
        remember(one.attribute, to, _expected);
        break;
      }
      case packing::uuid:
        at = put_text(value, at);
        break;
      case packing::path:
        if (one.attribute != attribute_path) {
          at = put_path(value, at);
        } else if (value != _expected.path) {
          at = put_path(value, at);
          _expected.path = value;
        }
        break;
      case packing::bytes:
        at = put_varint(at, value.size());
        at = put_text(value, at);
        break;
      case packing::data:
        at = put_varint(at, command.data_bytes);
        break;
    }
  }
  settle(command.type, command.value(attribute_path_to), _expected);
  return at;
}

engine::error record_decoder::damaged(const char* problem) const {
  engine::error failure;
  failure.why = engine::reason::integrity;
  failure.message =
      "index: the record of command " + std::to_string(_expected.number) + " " + problem;
  return failure;
}

result<void> record_decoder::begin_frame(std::span<const std::byte> frame) {
  _left = frame;
  _expected = {};
  if (!take_varint(_left, _expected.number) || !take_varint(_left, _expected.offset) ||
      _expected.number == 0 || _expected.offset > stream_bytes_max) {
    return damaged("has no place in the stream");
  }
  return engine::ok();
}

bool record_decoder::take_bytes(std::string& value, std::size_t limit) {
  std::uint64_t count = 0;
  if (!take_varint(_left, count) || count > limit || count > _left.size()) {
    return false;
  }
  value.assign(reinterpret_cast<const char*>(_left.data()), count);
  _left = _left.subspan(count);
  return true;
}

bool record_decoder::take_path(std::string& path) {
  std::uint64_t code = 0;
  if (!take_varint(_left, code)) {
    return false;
  }
  if (code == path_of_orphan) {
    std::uint64_t ino = 0;
    std::uint64_t generation = 0;
    orphan_name orphan;
    if (!take_varint(_left, ino) || !take_varint(_left, generation) ||
        !take_varint(_left, orphan.number)) {
      return false;
    }
    orphan.ino = _expected.ino = unfolded(ino, _expected.ino);
    orphan.generation = _expected.generation = unfolded(generation, _expected.generation);
    path = orphan.text();
    return true;
  }
  std::string& settled = _expected.settled;
  std::uint64_t rest = 0;
  if (code - path_in_common > settled.size() || !take_varint(_left, rest) ||
      rest > path_bytes_max || rest > _left.size()) {
    return false;
  }
  settled.resize(code - path_in_common);
  settled.append(reinterpret_cast<const char*>(_left.data()), rest);
  _left = _left.subspan(rest);
  path = settled;
  return plain_path(path);
}

bool record_decoder::take_time(record& found, unsigned attribute) {
  std::uint64_t code = 0;
  if (!take_varint(_left, code)) {
    return false;
  }
  const moment base = base_of(attribute, _expected);
  moment to;
  if ((code & 1) == 0) {
    const std::uint64_t nanoseconds = unfolded(code >> 1, base.nanoseconds);
    if (nanoseconds > UINT32_MAX) {
      return false;
    }
    to = {base.seconds, static_cast<std::uint32_t>(nanoseconds)};
  } else {
    to.seconds = unfolded(code >> 1, base.seconds);
    if ((code == 1 && !take_varint(_left, to.seconds)) || _left.size() < sizeof to.nanoseconds) {
      return false;
    }
    std::memcpy(&to.nanoseconds, _left.data(), sizeof to.nanoseconds);
    _left = _left.subspan(sizeof to.nanoseconds);
  }
  remember(attribute, to, _expected);
  found.numbers[attribute] = to.seconds;
  found.nanoseconds[attribute] = to.nanoseconds;
  return true;
}

result<void> record_decoder::next(record& found) {
  BTS3_ASSERT(!_left.empty());
  const auto first = std::to_integer<std::uint8_t>(_left.front());
  _left = _left.subspan(1);
  found.type = first & command_mask;
  found.number = _expected.number;
  found.has = 0;
  const field_list fields = fields_of(found.type);
  if ((first & ~first_byte_mask) != 0 || found.type == 0 || found.type > command_last) {
    return damaged("is of no command");
  }
  std::uint64_t mask = 0;
  std::uint64_t length = 0;
  std::uint64_t data_at = 0;
  if ((first & told) != 0) {
    if (!take_varint(_left, mask) || !take_varint(_left, length) || !take_varint(_left, data_at) ||
        mask >> fields.count != 0) {
      return damaged("does not say what it has");
    }
  } else {
    unsigned index = 0;
    for (const field& one : fields) {
      mask |= usual(one, _version) ? bit(index) : 0;
      ++index;
    }
  }
  if (auto taken = take_fields(found, mask, (first & same_path) != 0); !taken) {
    return taken;
  }
  return place(found, (first & told) != 0, length, data_at);
}

result<void> record_decoder::take_fields(record& found, std::uint64_t mask, bool same) {
  std::uint64_t sized = 0;  // the attribute that says where a write goes, if any
  unsigned index = 0;
  for (const field& one : fields_of(found.type)) {
    if ((mask & bit(index++)) == 0) {
      continue;
    }
    found.has |= bit(one.attribute);
    std::uint64_t& number = found.numbers[one.attribute];
    std::string& text = found.texts[one.attribute];
    bool taken = true;
    switch (one.how) {
      case packing::number:
        taken = take_varint(_left, number) && (one.bytes >= 8 || number >> (8 * one.bytes) == 0);
        break;
      case packing::ino:
        taken = take_varint(_left, number);
        _expected.ino = number = unfolded(number, _expected.ino);
        break;
      case packing::file_offset:
      case packing::size:
        taken = take_varint(_left, number);
        number = unfolded(number, _expected.file_end);
        sized = one.how == packing::size ? 0 : bit(one.attribute);
        if (one.how == packing::size) {
          _expected.file_end = number;
        }
        break;
      case packing::time:
        taken = take_time(found, one.attribute);
        break;
      case packing::uuid:
        text.assign(reinterpret_cast<const char*>(_left.data()),
                    std::min<std::size_t>(_left.size(), uuid_bytes));
        taken = text.size() == uuid_bytes;
        _left = _left.subspan(text.size());
        break;
      case packing::path:
        if (one.attribute == attribute_path && same) {
          text = _expected.path;
        } else {
          taken = take_path(text);
          if (one.attribute == attribute_path) {
            _expected.path = text;
            _expected.file_end = 0;
          }
        }
        break;
      case packing::bytes:
        taken = take_bytes(text, value_bytes_max);
        break;
      case packing::data:
        taken = take_varint(_left, found.data_bytes) && found.data_bytes <= command_bytes_max;
        break;
    }
    if (!taken) {
      return damaged("is cut off or has a value that no command has");
    }
  }
  if (sized != 0) {
    _expected.file_end = found.value(attribute_file_offset) +
                         file_bytes(found.type, found.with(attribute_data) ? found.data_bytes : 0,
                                    found.value(attribute_unencoded_file_len),
                                    found.value(attribute_clone_len), found.value(attribute_size));
  }
  settle(found.type, found.text(attribute_path_to), _expected);
  return engine::ok();
}

// Where the command and its data lie in the stream.
result<void> record_decoder::place(record& found, bool length_told, std::uint64_t length,
                                   std::uint64_t data_at) {
  if (!found.with(attribute_data)) {
    found.data_bytes = 0;
  }
  if (!length_told) {
    length = command_header_bytes;
    for (const field& one : fields_of(found.type)) {
      if (found.with(one.attribute)) {
        const std::uint64_t value = one.how == packing::data ? found.data_bytes
                                    : one.bytes != 0         ? one.bytes
                                                             : found.texts[one.attribute].size();
        length += header_bytes_of(one, _version) + value;
      }
    }
    data_at = length - found.data_bytes;
  }
  if (length < command_header_bytes || length > command_bytes_max || found.data_bytes > length ||
      data_at > length - found.data_bytes) {
    return damaged("has a length that no command has");
  }
  found.offset = _expected.offset;
  found.end = found.offset + length;
  found.data_offset = found.with(attribute_data) ? found.offset + data_at : 0;
  if (found.end > stream_bytes_max) {
    return damaged("lies beyond every stream");
  }
  _expected.offset = found.end;
  ++_expected.number;
  return engine::ok();
}

}  // namespace bts3::btrfs::index
