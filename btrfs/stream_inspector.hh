// Follows a Btrfs send stream, command by command, while its bytes pass.
//
// Fed with pieces of any size, in order; nothing is kept of them but the paths of the command under
// way. It proves that every command has the CRC-32C that it carries and is made of whole
// attributes, that the stream begins with the subvolume that it makes, stays inside it, and ends in
// an END command. That is what can be told without carrying it out: whether `btrfs receive` finds
// the files that a command speaks of is not known here.
//
// Refused beside what is damaged: absolute paths and those with "..", a subvolume that is no plain
// name, a second one, a command before the first. The kernel sends none of these, and whoever made
// such a stream wants it to write elsewhere. An error is found before the last byte of its command
// has been passed on by whoever feeds before passing on, and `btrfs receive` carries out no command
// of which a byte is missing.
//
// Costs about 0.03 s of CPU time a GiB, nearly all of it the checksum, and 0.2 us a command.
//
// After an error every further call returns the same error.
#pragma once

#include "btrfs/send_format.hh"
#include "btrfs/stream_observer.hh"
#include "btrfs/subvolume.hh"
#include "engine/result.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bts3::btrfs {

// What a stream says of itself in its first command.
struct stream_identity {
  std::string name;  // of the subvolume that was sent
  uuid sent;         // its UUID, or the one that it was received with
  std::uint64_t ctransid = 0;
  bool incremental = false;
  uuid parent;  // of an incremental, likewise
};

// One command, as an error tells of it.
struct stream_command {
  std::uint64_t number = 0;  // from 1
  std::uint64_t offset = 0;  // where it begins in the stream
  std::uint64_t end = 0;     // where it ends
  std::uint16_t type = 0;
  std::string path;
  std::string other;  // where a rename, link, symlink or clone goes to or comes from; may be empty
  // "rename a/b -> c": type and paths.
  [[nodiscard]] std::string text() const;
};

// What may be too large for whoever receives.
struct receiver_limits {
  std::size_t path_bytes = SIZE_MAX;   // of a path below the subvolume
  std::size_t xattr_bytes = SIZE_MAX;  // of an extended attribute's name and value
};
struct oversized {
  std::string path;
  std::string xattr;  // its name; empty: it is the path that is long
  std::size_t bytes = 0;
};

class stream_inspector {
 public:
  // Errors have reason `integrity` and name the stream's byte offset.
  engine::result<void> feed(std::span<const std::byte> bytes);
  // To be called at the end of the input; an error when END was not seen.
  [[nodiscard]] engine::result<void> finish() const;

  // What a receiver may have no room for is noted from here on; it is no error.
  void note_beyond(receiver_limits limits) { _limits = limits; }
  // Each path once, the first of them by name.
  [[nodiscard]] const std::vector<oversized>& beyond() const { return _beyond; }
  [[nodiscard]] std::uint64_t beyond_count() const { return _beyond_count; }
  // Keeps the last commands: those that end in the last so many bytes.
  void keep_commands(std::uint64_t window) { _window = window; }
  // The last of them whose paths a sentence names; null: none is kept.
  [[nodiscard]] const stream_command* command_named(const std::string& sentence) const;

  // From here on `observer` is told of each command, once all of it was found right; null: nobody
  // is. Values are kept for it then, which costs 0.1 us a command. Before the first byte, or it
  // misses some; it has to live as long as commands are fed.
  void observe(command_observer* observer);

  // END was seen, and nothing after it.
  [[nodiscard]] bool complete() const { return _state == state::ended; }
  // Stream version; 0 until the stream header was seen.
  [[nodiscard]] std::uint32_t version() const { return _version; }
  // Command headers seen, END included.
  [[nodiscard]] std::uint64_t commands() const { return _commands; }
  // Bytes consumed.
  [[nodiscard]] std::uint64_t bytes() const { return _offset; }
  // Up to here every command was whole and right.
  [[nodiscard]] std::uint64_t sound_bytes() const { return _sound; }
  // Of the last command that had one.
  [[nodiscard]] const std::string& last_path() const;
  // Whether the stream made no sense (finish() was not asked).
  [[nodiscard]] bool failed() const { return _failure.has_value(); }
  // Once the first command was seen.
  [[nodiscard]] const std::optional<stream_identity>& identity() const { return _identity; }

 private:
  enum class state { stream_header, command_header, payload, ended, failed };
  enum class attribute_state { type, length, value };

  engine::result<void> take_header(std::span<const std::byte>& bytes);
  engine::result<void> take_stream_header();
  engine::result<void> take_command_header();
  engine::result<void> scan(std::span<const std::byte> payload);
  engine::result<void> begin_value(std::size_t behind);
  void take_value(std::span<const std::byte> value);
  engine::result<void> end_command();
  engine::result<void> judge_begin();
  engine::result<void> judge_paths();
  [[nodiscard]] const std::string& value_of(unsigned attribute) const;
  [[nodiscard]] bool has(unsigned attribute) const;
  void note_oversized();
  void note_oversized(const std::string& path, const std::string& xattr, std::size_t bytes);
  void keep_command();
  void tell_observer();
  engine::result<void> fail(std::string message);
  engine::result<void> fail_command(const std::string& problem);

  // 17 bytes: magic (13) and version (4). A command header has 10.
  static constexpr std::size_t stream_header_bytes = 17;
  static constexpr std::size_t command_header_bytes = 10;

  state _state = state::stream_header;
  std::array<std::byte, stream_header_bytes> _header{};
  std::size_t _header_filled = 0;
  std::uint32_t _payload_left = 0;
  std::uint32_t _version = 0;
  std::uint64_t _commands = 0;
  std::uint64_t _offset = 0;
  std::uint64_t _sound = 0;
  std::optional<engine::error> _failure;
  std::optional<stream_identity> _identity;

  // Of the command under way:
  std::uint16_t _command = 0;
  std::uint32_t _expected_crc = 0;
  std::uint32_t _crc = 0;
  attribute_state _attribute_state = attribute_state::type;
  unsigned _attribute_filled = 0;  // bytes of type or length
  unsigned _attribute = 0;
  std::uint32_t _length = 0;
  std::uint32_t _value_left = 0;
  std::string* _value = nullptr;  // where it goes; null: nowhere
  std::uint64_t _seen = 0;        // attributes, a bit each
  attribute_values _values;
  std::uint32_t _xattr_bytes = 0;
  std::uint64_t _data_offset = 0;
  std::uint32_t _data_bytes = 0;

  command_observer* _observer = nullptr;
  std::uint64_t _observed = 0;  // attributes whose values it is told, a bit each

  receiver_limits _limits;
  std::vector<oversized> _beyond;
  std::uint64_t _beyond_count = 0;
  std::string _last_beyond;  // commands about one file follow each other
  std::uint64_t _window = 0;
  std::deque<stream_command> _kept;
};

}  // namespace bts3::btrfs
