#include "btrfs/stream_inspector.hh"

#include "btrfs/send_format.hh"
#include "engine/assert.hh"
#include "engine/crc32.hh"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

namespace bts3::btrfs {

namespace {

using namespace send_format;

constexpr const char* command_names[] = {
    "",         "subvol",        "snapshot",     "mkfile", "mkdir",         "mknod",
    "mkfifo",   "mksock",        "symlink",      "rename", "link",          "unlink",
    "rmdir",    "set_xattr",     "remove_xattr", "write",  "clone",         "truncate",
    "chmod",    "chown",         "utimes",       "end",    "update_extent", "fallocate",
    "fileattr", "encoded_write", "enable_verity"};
constexpr std::size_t command_count = std::size(command_names);
static_assert(command_count == 27);

// Longer values are none that the kernel makes.
constexpr std::size_t path_bytes_max = 4096;
// Of what is too large for a receiver, so many are told by name.
constexpr std::size_t oversized_max = 20;

constexpr std::uint64_t bit(unsigned attribute) {
  return std::uint64_t{1} << attribute;
}

// Attributes whose values are looked at.
constexpr std::uint64_t looked_at =
    bit(attribute_uuid) | bit(attribute_ctransid) | bit(attribute_xattr_name) |
    bit(attribute_path) | bit(attribute_path_to) | bit(attribute_path_link) |
    bit(attribute_clone_uuid) | bit(attribute_clone_ctransid) | bit(attribute_clone_path);

// Without these `btrfs receive` refuses a command, and nobody knows where it would write.
constexpr std::uint64_t needed_by(std::uint16_t type) {
  switch (type) {
    case command_subvol:
      return bit(attribute_path) | bit(attribute_uuid) | bit(attribute_ctransid);
    case command_snapshot:
      return bit(attribute_path) | bit(attribute_uuid) | bit(attribute_ctransid) |
             bit(attribute_clone_uuid) | bit(attribute_clone_ctransid);
    case command_symlink:
    case command_link:
      return bit(attribute_path) | bit(attribute_path_link);
    case command_rename:
      return bit(attribute_path) | bit(attribute_path_to);
    case command_clone:
      return bit(attribute_path) | bit(attribute_clone_path) | bit(attribute_clone_uuid);
    case command_end:
      return 0;
    default:
      return bit(attribute_path);
  }
}

// The highest command of each version: 22 is UPDATE_EXTENT, 25 ENCODED_WRITE, 26 ENABLE_VERITY.
constexpr std::uint16_t command_max(std::uint32_t version) {
  return version == 1 ? 22 : version == 2 ? 25 : 26;
}

// The kernel builds a command in a buffer of 64 KiB (version 1, BTRFS_SEND_BUF_SIZE_V1), or of
// 16 KiB + 128 KiB of compressed extent (BTRFS_MAX_COMPRESSED) rounded up to the page size
// (BTRFS_SEND_BUF_SIZE_V2): 144 KiB with pages of 4 KiB, and 256 KiB with the largest pages that
// Linux has.
constexpr std::uint32_t command_bytes_max(std::uint32_t version) {
  return version == 1 ? 64 * 1024 : 256 * 1024;
}

std::uint32_t little_endian(const std::byte* at, std::size_t count) {
  std::uint32_t value = 0;
  for (std::size_t i = count; i > 0; --i) {
    value = value << 8 | std::to_integer<std::uint32_t>(at[i - 1]);
  }
  return value;
}

std::uint64_t number_in(std::string_view text) {
  std::uint64_t value = 0;
  for (std::size_t i = std::min<std::size_t>(text.size(), 8); i > 0; --i) {
    value = value << 8 | static_cast<unsigned char>(text[i - 1]);
  }
  return value;
}

uuid uuid_in(const std::string& text) {
  std::uint8_t raw[16] = {};
  BTS3_ASSERT(text.size() == sizeof raw);
  std::memcpy(raw, text.data(), sizeof raw);
  return uuid(raw);
}

// A path for a message.
std::string shown(std::string_view path) {
  std::string text(path.empty() ? "." : path);
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    c = byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  return text;
}

// Why a path of a command leads out of the subvolume; empty: it does not. The subvolume itself is
// the empty path.
std::string leads_out(const std::string& path) {
  if (path.find('\0') != std::string::npos) {
    return "has a path with a zero byte in it";
  }
  if (path.starts_with('/')) {
    return "has the absolute path " + shown(path);
  }
  for (std::size_t at = path.find(".."); at != std::string::npos; at = path.find("..", at + 1)) {
    const bool begins = at == 0 || path[at - 1] == '/';
    if (begins && (at + 2 == path.size() || path[at + 2] == '/')) {
      return "has a path with \"..\" in it: " + shown(path);
    }
  }
  return "";
}

engine::error damaged(std::string message) {
  engine::error failure;
  failure.why = engine::reason::integrity;
  failure.message = "send stream: " + std::move(message);
  return failure;
}

}  // namespace

std::string stream_command::text() const {
  std::string made = type < command_count ? command_names[type] : std::to_string(type);
  if (type != command_end) {
    made += " " + shown(path);
  }
  if (!other.empty()) {
    made += (type == command_clone || type == command_link ? " <- " : " -> ") + shown(other);
  }
  return made;
}

engine::result<void> stream_inspector::feed(std::span<const std::byte> bytes) {
  if (_failure) {
    return *_failure;
  }
  while (!bytes.empty()) {
    if (_state == state::ended) {
      return fail("data follows the END command, at byte " + std::to_string(_offset));
    }
    if (_state != state::payload) {
      if (auto understood = take_header(bytes); !understood) {
        return understood;
      }
      continue;
    }
    BTS3_ASSERT(_payload_left > 0);
    const auto payload = bytes.first(std::min<std::size_t>(_payload_left, bytes.size()));
    bytes = bytes.subspan(payload.size());
    _crc = engine::crc32c(_crc, payload);
    _offset += payload.size();
    _payload_left -= static_cast<std::uint32_t>(payload.size());
    if (auto understood = scan(payload); !understood) {
      return understood;
    }
    if (_payload_left == 0) {
      if (auto right = end_command(); !right) {
        return right;
      }
    }
  }
  return engine::ok();
}

engine::result<void> stream_inspector::finish() const {
  if (_failure) {
    return *_failure;
  }
  if (_state == state::ended) {
    return engine::ok();
  }
  if (_offset == 0) {
    return damaged("is empty");
  }
  return damaged("ends at byte " + std::to_string(_offset) + " without an END command (" +
                 std::to_string(_commands) + " commands seen)");
}

engine::result<void> stream_inspector::take_header(std::span<const std::byte>& bytes) {
  const std::size_t wanted =
      _state == state::stream_header ? stream_header_bytes : command_header_bytes;
  const std::size_t taken = std::min(wanted - _header_filled, bytes.size());
  std::memcpy(_header.data() + _header_filled, bytes.data(), taken);
  bytes = bytes.subspan(taken);
  _header_filled += taken;
  _offset += taken;
  if (_header_filled < wanted) {
    return engine::ok();
  }
  _header_filled = 0;
  return _state == state::stream_header ? take_stream_header() : take_command_header();
}

engine::result<void> stream_inspector::take_stream_header() {
  if (std::memcmp(_header.data(), magic, sizeof magic) != 0) {
    return fail("does not begin with 'btrfs-stream'");
  }
  _version = little_endian(_header.data() + sizeof magic, 4);
  if (_version < 1 || _version > version_max) {
    return fail("has version " + std::to_string(_version) + ", known are 1 to " +
                std::to_string(version_max));
  }
  _state = state::command_header;
  _sound = _offset;
  return engine::ok();
}

engine::result<void> stream_inspector::take_command_header() {
  const std::uint64_t at = _offset - command_header_bytes;
  const std::uint32_t length = little_endian(_header.data(), 4);
  _command = static_cast<std::uint16_t>(little_endian(_header.data() + 4, 2));
  if (_command == 0 || _command > command_max(_version)) {
    return fail("has unknown command " + std::to_string(_command) + " at byte " +
                std::to_string(at) + " (version " + std::to_string(_version) + ")");
  }
  if (length > command_bytes_max(_version) - command_header_bytes) {
    return fail("has a command of " + std::to_string(length) + " bytes at byte " +
                std::to_string(at) + ", at most " +
                std::to_string(command_bytes_max(_version) - command_header_bytes) +
                " are possible");
  }
  ++_commands;
  _payload_left = length;
  _expected_crc = little_endian(_header.data() + 6, 4);
  // It covers the header too, with zeros in its own place.
  std::memset(_header.data() + 6, 0, 4);
  _crc = engine::crc32c(0, std::span<const std::byte>(_header).first(command_header_bytes));
  _attribute_state = attribute_state::type;
  _attribute_filled = 0;
  _seen = 0;
  _xattr_bytes = 0;
  _state = state::payload;
  return length == 0 ? end_command() : engine::ok();
}

// The attributes, each with its type and, but for version 2's last one, its length.
engine::result<void> stream_inspector::scan(std::span<const std::byte> payload) {
  while (!payload.empty()) {
    if (_attribute_state == attribute_state::value) {
      const auto value = payload.first(std::min<std::size_t>(_value_left, payload.size()));
      payload = payload.subspan(value.size());
      take_value(value);
      continue;
    }
    if (_attribute_state == attribute_state::type && _attribute_filled == 0 &&
        payload.size() >= 4 && (_version < 2 || payload[0] != std::byte{attribute_data})) {
      // As below, at once.
      _attribute = little_endian(payload.data(), 2);
      _length = little_endian(payload.data() + 2, 2);
      payload = payload.subspan(4);
      if (_length > _payload_left + payload.size()) {
        return fail_command("has an attribute that is longer than the command");
      }
      if (auto begun = begin_value(payload.size()); !begun) {
        return begun;
      }
      continue;
    }
    const auto byte = std::to_integer<std::uint32_t>(payload.front());
    payload = payload.subspan(1);
    if (_attribute_state == attribute_state::type) {
      _attribute = _attribute_filled == 0 ? byte : _attribute | byte << 8;
    } else {
      _length = _attribute_filled == 0 ? byte : _length | byte << 8;
    }
    if (++_attribute_filled < 2) {
      continue;
    }
    _attribute_filled = 0;
    if (_attribute_state == attribute_state::type) {
      const bool rest = _attribute == attribute_data && _version >= 2;
      _attribute_state = attribute_state::length;
      if (!rest) {
        continue;
      }
      _length = _payload_left + static_cast<std::uint32_t>(payload.size());
    } else if (_length > _payload_left + payload.size()) {
      return fail_command("has an attribute that is longer than the command");
    }
    if (auto begun = begin_value(payload.size()); !begun) {
      return begun;
    }
  }
  return engine::ok();
}

// `behind`: so many bytes of what was fed begin with the value.
engine::result<void> stream_inspector::begin_value(std::size_t behind) {
  if (_attribute == 0 || _attribute > attribute_max) {
    return fail_command("has the unknown attribute " + std::to_string(_attribute));
  }
  _seen |= bit(_attribute);
  _value = nullptr;
  if ((bit(_attribute) & looked_at) != 0 && _length > path_bytes_max) {
    return fail_command("has an attribute " + std::to_string(_attribute) + " of " +
                        std::to_string(_length) + " bytes");
  }
  if (_attribute == attribute_data) {
    _data_offset = _offset - behind;
    _data_bytes = _length;
  } else if ((bit(_attribute) & (looked_at | _observed)) != 0) {
    _value = &_values[_attribute];
    _value->clear();
  }
  if (_attribute == attribute_xattr_data) {
    _xattr_bytes = _length;
  }
  _value_left = _length;
  _attribute_state = _length == 0 ? attribute_state::type : attribute_state::value;
  return engine::ok();
}

void stream_inspector::take_value(std::span<const std::byte> value) {
  if (_value != nullptr) {
    _value->append(reinterpret_cast<const char*>(value.data()), value.size());
  }
  _value_left -= static_cast<std::uint32_t>(value.size());
  if (_value_left == 0) {
    _attribute_state = attribute_state::type;
  }
}

bool stream_inspector::has(unsigned attribute) const {
  return (_seen & bit(attribute)) != 0;
}

const std::string& stream_inspector::value_of(unsigned attribute) const {
  static const std::string none;
  return has(attribute) ? _values[attribute] : none;
}

const std::string& stream_inspector::last_path() const {
  return _values[attribute_path];
}

engine::result<void> stream_inspector::end_command() {
  if (_crc != _expected_crc) {
    return fail_command("has a wrong checksum");
  }
  if (_attribute_state != attribute_state::type || _attribute_filled != 0) {
    return fail_command("ends within an attribute");
  }
  if (const std::uint64_t needed = needed_by(_command); (_seen & needed) != needed) {
    return fail_command("lacks an attribute");
  }
  if (_command == command_end) {
    if (!_identity) {
      return fail_command("comes before the subvolume that it is about");
    }
    _state = state::ended;
  } else {
    _state = state::command_header;
    auto judged = _commands == 1 ? judge_begin() : judge_paths();
    if (!judged) {
      return judged;
    }
    note_oversized();
  }
  if (_window > 0) {
    keep_command();
  }
  if (_observer != nullptr) {
    tell_observer();
  }
  _sound = _offset;
  return engine::ok();
}

// The subvolume that everything behind is about.
engine::result<void> stream_inspector::judge_begin() {
  if (_command != command_subvol && _command != command_snapshot) {
    return fail_command("comes before the subvolume that it is about");
  }
  const std::string& name = value_of(attribute_path);
  if (name.empty() || name == "." || name == ".." || name.size() > 255 ||
      name.find('/') != std::string::npos || name.find('\0') != std::string::npos) {
    return fail_command("makes a subvolume that has no plain name: " + shown(name));
  }
  const bool incremental = _command == command_snapshot;
  if (value_of(attribute_uuid).size() != 16 || value_of(attribute_ctransid).size() != 8 ||
      (incremental && value_of(attribute_clone_uuid).size() != 16)) {
    return fail_command("has an identity of another size");
  }
  stream_identity found;
  found.name = name;
  found.sent = uuid_in(value_of(attribute_uuid));
  found.ctransid = number_in(value_of(attribute_ctransid));
  found.incremental = incremental;
  if (incremental) {
    found.parent = uuid_in(value_of(attribute_clone_uuid));
  }
  _identity = std::move(found);
  return engine::ok();
}

engine::result<void> stream_inspector::judge_paths() {
  if (_command == command_subvol || _command == command_snapshot) {
    return fail_command("begins a second subvolume");
  }
  for (const unsigned one :
       {attribute_path, attribute_path_to, attribute_clone_path, attribute_path_link}) {
    // What a symbolic link says is content, and may be anything.
    if (!has(one) || (one == attribute_path_link && _command == command_symlink)) {
      continue;
    }
    if (std::string problem = leads_out(value_of(one)); !problem.empty()) {
      return fail_command(problem);
    }
  }
  return engine::ok();
}

void stream_inspector::note_oversized() {
  for (const unsigned one : {attribute_path, attribute_path_to, attribute_path_link}) {
    if (one == attribute_path_link && _command != command_link) {
      continue;
    }
    if (const std::string& path = value_of(one); path.size() > _limits.path_bytes) {
      note_oversized(path, "", path.size());
    }
  }
  if (_command == command_set_xattr) {
    const std::string& name = value_of(attribute_xattr_name);
    if (name.size() + _xattr_bytes > _limits.xattr_bytes) {
      note_oversized(value_of(attribute_path), name, name.size() + _xattr_bytes);
    }
  }
}

void stream_inspector::note_oversized(const std::string& path, const std::string& xattr,
                                      std::size_t bytes) {
  std::string what = xattr + '\0' + path;
  if (what == _last_beyond) {
    return;
  }
  _last_beyond = std::move(what);
  ++_beyond_count;
  if (_beyond.size() < oversized_max) {
    _beyond.push_back({path, xattr, bytes});
  }
}

void stream_inspector::keep_command() {
  stream_command one;
  one.number = _commands;
  one.end = _offset;
  one.offset = _sound;
  one.type = _command;
  one.path = value_of(attribute_path);
  for (const unsigned other : {attribute_path_to, attribute_path_link, attribute_clone_path}) {
    one.other += value_of(other);
  }
  _kept.push_back(std::move(one));
  while (_kept.front().end + _window < _offset) {
    _kept.pop_front();
  }
}

void stream_inspector::observe(command_observer* observer) {
  _observer = observer;
  _observed = observer == nullptr ? 0 : ~std::uint64_t{0};
}

void stream_inspector::tell_observer() {
  observed_command one;
  one.number = _commands;
  one.offset = _sound;
  one.end = _offset;
  one.type = _command;
  one.version = _version;
  one.seen = _seen;
  one.values = &_values;
  one.data_offset = _data_offset;
  one.data_bytes = (_seen & bit(attribute_data)) != 0 ? _data_bytes : 0;
  _observer->on_command(one);
}

const stream_command* stream_inspector::command_named(const std::string& sentence) const {
  const auto says = [&](std::string_view words) {
    return sentence.find(words) != std::string::npos;
  };
  // Paths stand between blanks and marks.
  const auto names = [&](const std::string& path) {
    constexpr std::string_view between = " '\":|\n";
    for (std::size_t at = sentence.find(path); at != std::string::npos;
         at = sentence.find(path, at + 1)) {
      const std::size_t end = at + path.size();
      if ((at == 0 || between.find(sentence[at - 1]) != std::string_view::npos) &&
          (end == sentence.size() || between.find(sentence[end]) != std::string_view::npos)) {
        return true;
      }
    }
    return false;
  };
  const bool opening = says("open");  // which of several commands does
  for (auto one = _kept.rbegin(); one != _kept.rend(); ++one) {
    // As btrfs-progs call what failed; the rest they call as it is called here.
    std::string_view verb = one->type == command_write ? "writ" : command_names[one->type];
    if (const std::size_t xattr = verb.find("xattr"); xattr != std::string_view::npos) {
      verb.remove_prefix(xattr);
    }
    if (!one->path.empty() && names(one->path) && (one->other.empty() || names(one->other)) &&
        (opening || says(verb))) {
      return &*one;
    }
  }
  return nullptr;
}

engine::result<void> stream_inspector::fail(std::string message) {
  _state = state::failed;
  _failure = damaged(std::move(message));
  return *_failure;
}

engine::result<void> stream_inspector::fail_command(const std::string& problem) {
  stream_command one;
  one.type = _command;
  one.path = value_of(attribute_path);
  // Behind what was right begins what is not.
  return fail("command " + std::to_string(_commands) + " (" + one.text() + ") at byte " +
              std::to_string(_sound) + " " + problem);
}

}  // namespace bts3::btrfs
