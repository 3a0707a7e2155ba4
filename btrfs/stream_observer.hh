// Whole commands of a send stream, for whoever wants more of them than that they are right.
//
// `stream_inspector` calls an observer synchronously, in the order of the stream, on the thread
// that feeds it, once a command's checksum, attributes and paths were found right. So what a
// command says may be believed to be what the sender said; whether it makes sense is not known: a
// value may have any length, and offsets may be near 2^64.
#pragma once

#include "btrfs/send_format.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bts3::btrfs {

// By attribute. Those that the command under way does not have are what an earlier one left.
using attribute_values = std::array<std::string, send_format::attribute_max + 1>;

// One command with its attributes, but for its data, of which only the place is told. Valid during
// the call.
struct observed_command {
  std::uint64_t number = 0;  // from 1
  std::uint64_t offset = 0;  // of its header in the stream
  std::uint64_t end = 0;     // where it ends in the stream
  std::uint16_t type = 0;
  std::uint32_t version = 0;  // of the stream
  std::uint64_t seen = 0;     // attributes that it has, a bit each
  const attribute_values* values = nullptr;
  std::uint64_t data_offset = 0;  // of the DATA attribute's value in the stream
  std::uint32_t data_bytes = 0;   // its length; 0 without one

  [[nodiscard]] bool has(unsigned attribute) const { return (seen >> attribute & 1) != 0; }
  // Empty for one that it does not have, and for DATA.
  [[nodiscard]] std::string_view value(unsigned attribute) const {
    return has(attribute) ? std::string_view((*values)[attribute]) : std::string_view();
  }
};

class command_observer {
 public:
  command_observer() = default;
  command_observer(const command_observer&) = delete;
  command_observer& operator=(const command_observer&) = delete;
  virtual ~command_observer() = default;
  virtual void on_command(const observed_command& command) = 0;
};

}  // namespace bts3::btrfs
