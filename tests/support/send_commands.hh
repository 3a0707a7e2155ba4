// The commands of a Btrfs send stream, as the kernel makes them: for tests.
#pragma once

#include "engine/assert.hh"
#include "engine/crc32.hh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::testing::send {

inline std::string number(std::uint64_t value, unsigned count) {
  std::string text;
  for (unsigned i = 0; i < count; ++i) {
    text += static_cast<char>(value >> (8 * i) & 255);
  }
  return text;
}

inline std::string header(unsigned version = 1) {
  return std::string("btrfs-stream\0", 13) + number(version, 4);
}

// With its right checksum.
inline std::string command(unsigned type, const std::string& payload) {
  const std::string whole = number(payload.size(), 4) + number(type, 2) + number(0, 4) + payload;
  const std::uint32_t crc = engine::crc32c(0, std::as_bytes(std::span<const char>(whole)));
  return whole.substr(0, 6) + number(crc, 4) + payload;
}

inline std::string attribute(unsigned type, std::string_view value) {
  return number(type, 2) + number(value.size(), 2) + std::string(value);
}

inline std::string path(std::string_view value) {
  return attribute(15, value);
}

constexpr std::size_t head_bytes = 10;                          // of a command
constexpr std::size_t subvol_bytes = head_bytes + 4 + 20 + 12;  // and its name

// `id` is repeated in the UUID.
inline std::string subvol(std::string_view name = "s", char id = '\x01',
                          std::uint64_t ctransid = 7) {
  return command(
      1, path(name) + attribute(1, std::string(16, id)) + attribute(2, number(ctransid, 8)));
}
inline std::string snapshot(std::string_view name, char id, std::uint64_t ctransid, char parent) {
  return command(2, path(name) + attribute(1, std::string(16, id)) +
                        attribute(2, number(ctransid, 8)) + attribute(20, std::string(16, parent)) +
                        attribute(21, number(5, 8)));
}

constexpr std::size_t write_bytes = head_bytes + 5 + 12 + 4;  // and its content

inline std::string write(std::string_view content) {
  return command(15, path("f") + attribute(18, number(0, 8)) + attribute(19, content));
}

inline std::string end() {
  return command(21, "");
}

// `bytes` that `seed` chooses, and changes it.
inline std::string noise(std::size_t bytes, unsigned& seed) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) {
    seed = seed * 1664525 + 1013904223;
    text += static_cast<char>(seed >> 24);
  }
  return text;
}

// A stream of exactly `bytes`, at least 74: SUBVOL, WRITEs of at most `each` bytes of content, END.
// What no WRITE fits into is in the subvolume's name.
inline std::string stream(std::size_t bytes, unsigned seed = 1, std::size_t each = 1000) {
  const std::size_t least = header().size() + subvol_bytes + 1 + head_bytes;
  BTS3_ASSERT(bytes >= least);
  std::vector<std::size_t> contents;
  std::size_t left = bytes - least;
  while (left >= write_bytes) {
    contents.push_back(std::min(left - write_bytes, each));
    left -= write_bytes + contents.back();
  }
  std::string text = header() + subvol(std::string(1 + left, 's'));
  for (const std::size_t content : contents) {
    text += write(noise(content, seed));
  }
  text += end();
  BTS3_ASSERT(text.size() == bytes);
  return text;
}

// The same stream, a SUBVOL's of stream(), with another identity: as long, its checksum right.
inline std::string identified(const std::string& text, const std::string& raw_uuid,
                              std::uint64_t ctransid) {
  const std::size_t begin = header().size();
  if (text.size() < begin + subvol_bytes + 1 || text[begin + 4] != 1) {
    return text;
  }
  const auto length = static_cast<unsigned char>(text[begin + head_bytes + 2]);
  const std::string name = text.substr(begin + head_bytes + 4, length);
  const std::string made =
      command(1, path(name) + attribute(1, raw_uuid) + attribute(2, number(ctransid, 8)));
  return text.size() < begin + made.size() ? text
                                           : header() + made + text.substr(begin + made.size());
}

// The same stream as an incremental on the subvolume with that UUID: SNAPSHOT instead of SUBVOL, 32
// bytes longer. One that is already is given back.
inline std::string built_on(const std::string& text, const std::string& raw_parent,
                            std::uint64_t parent_ctransid) {
  const std::size_t begin = header().size();
  if (text[begin + 4] != 1) {
    return text;
  }
  const auto bytes = static_cast<unsigned char>(text[begin]) +
                     (static_cast<std::size_t>(static_cast<unsigned char>(text[begin + 1])) << 8);
  return header() +
         command(2, text.substr(begin + head_bytes, bytes) + attribute(20, raw_parent) +
                        attribute(21, number(parent_ctransid, 8))) +
         text.substr(begin + head_bytes + bytes);
}

}  // namespace bts3::testing::send
