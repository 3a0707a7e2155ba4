// Makes a send stream of any length out of a small real one, from files of a fixed size, so that a
// stream of hundreds of gigabytes needs room for two chunks:
//
//   bench_stream SMALL_STREAM FILE CHUNK_BYTES REPETITIONS DIRECTORY
//
// SMALL_STREAM is a whole protocol 1 stream in which FILE (a name at its top) is made. The long
// stream is that one with WRITE commands to FILE before its END: REPETITIONS (m) of a body of
// exactly CHUNK_BYTES. Cut at multiples of CHUNK_BYTES it consists of m + 1 pieces:
// DIRECTORY/first, m - 1 times DIRECTORY/middle, DIRECTORY/last. The data is pseudo-random; each
// repetition writes the same range again. The stream is valid, checksums included: `btrfs receive`
// takes it.
#include "btrfs/send_format.hh"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace {

using namespace bts3::btrfs::send_format;

// In one WRITE (BTRFS_SEND_READ_SIZE).
constexpr std::size_t data_bytes_max = 48 * 1024;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "bench_stream: %s\n", what.c_str());
  std::exit(1);
}

// CRC32C as Btrfs uses it in streams: from 0, not inverted; eight bytes a step.
class crc32c {
 public:
  crc32c() {
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) {
        value = value >> 1 ^ ((value & 1) != 0 ? 0x82F63B78U : 0U);
      }
      _tables[0][i] = value;
    }
    for (std::size_t table = 1; table < _tables.size(); ++table) {
      for (std::size_t i = 0; i < 256; ++i) {
        const std::uint32_t before = _tables[table - 1][i];
        _tables[table][i] = before >> 8 ^ _tables[0][before & 255];
      }
    }
  }
  [[nodiscard]] std::uint32_t operator()(std::string_view bytes) const {
    std::uint32_t crc = 0;
    std::size_t at = 0;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[at + i]); };
    for (; at + 8 <= bytes.size(); at += 8) {
      std::uint32_t next = 0;
      for (std::size_t i = 0; i < 8; ++i) {
        next ^= _tables[7 - i][byte(i) ^ (i < 4 ? crc >> (8 * i) & 255 : 0)];
      }
      crc = next;
    }
    for (; at < bytes.size(); ++at) {
      crc = crc >> 8 ^ _tables[0][(crc ^ byte(0)) & 255];
    }
    return crc;
  }

 private:
  std::array<std::array<std::uint32_t, 256>, 8> _tables{};
};

void append_number(std::string& to, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    to.push_back(static_cast<char>(value >> (8 * i) & 255));
  }
}

std::uint64_t number_at(std::string_view text, std::size_t at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes; i > 0; --i) {
    value = value << 8 | static_cast<unsigned char>(text[at + i - 1]);
  }
  return value;
}

// Where the END command of a whole stream begins.
std::size_t end_of_content(std::string_view stream) {
  if (stream.size() < stream_header_bytes || number_at(stream, 13, 4) != 1) {
    fail("the small stream is not one of protocol 1");
  }
  for (std::size_t at = stream_header_bytes; at + command_header_bytes <= stream.size();) {
    if (number_at(stream, at + 4, 2) == command_end) {
      return at;
    }
    at += command_header_bytes + number_at(stream, at, 4);
  }
  fail("the small stream has no END");
}

// splitmix64: fast, and nothing compresses it.
class noise {
 public:
  void append(std::string& to, std::size_t bytes) {
    for (; bytes >= 8; bytes -= 8) {
      append_number(to, next(), 8);
    }
    append_number(to, next(), bytes);
  }

 private:
  std::uint64_t next() {
    std::uint64_t value = _state += 0x9E3779B97F4A7C15U;
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9U;
    value = (value ^ value >> 27) * 0x94D049BB133111EBU;
    return value ^ value >> 31;
  }
  std::uint64_t _state = 1;
};

std::string write_command(std::string_view path, std::uint64_t offset, std::size_t bytes,
                          noise& data, const crc32c& checksum) {
  std::string body;
  append_number(body, attribute_path, 2);
  append_number(body, path.size(), 2);
  body += path;
  append_number(body, attribute_file_offset, 2);
  append_number(body, 8, 2);
  append_number(body, offset, 8);
  append_number(body, attribute_data, 2);
  append_number(body, bytes, 2);
  data.append(body, bytes);
  std::string command;
  append_number(command, body.size(), 4);
  append_number(command, command_write, 2);
  append_number(command, 0, 4);
  command += body;
  const std::uint32_t crc = checksum(command);
  std::string crc_bytes;
  append_number(crc_bytes, crc, 4);
  return command.replace(6, 4, crc_bytes);
}

void save(const std::string& path, std::string_view first, std::string_view second) {
  std::ofstream out(path, std::ios::binary);
  out.write(first.data(), static_cast<std::streamsize>(first.size()));
  out.write(second.data(), static_cast<std::streamsize>(second.size()));
  out.close();
  if (!out) {
    fail("cannot write " + path);
  }
}

// Commands that are exactly `bytes` long together.
std::string make_body(std::string_view path, std::size_t bytes) {
  const std::size_t overhead = command_header_bytes + 3 * attribute_header_bytes + path.size() + 8;
  const std::size_t command_bytes_max = overhead + data_bytes_max;
  const crc32c checksum;
  noise data;
  std::string body;
  body.reserve(bytes);
  std::uint64_t offset = 0;
  while (body.size() < bytes) {
    const std::size_t left = bytes - body.size();
    std::size_t length = std::min(left, command_bytes_max);
    if (left > length && left - length <= overhead) {
      length -= overhead;  // what is left must hold a command of its own
    }
    if (length <= overhead) {
      fail("chunks of so few bytes hold no WRITE command");
    }
    body += write_command(path, offset, length - overhead, data, checksum);
    offset += length - overhead;
  }
  return body;
}

}  // namespace

int main(int count, char** values) {
  if (count != 6) {
    fail("usage: bench_stream SMALL_STREAM FILE CHUNK_BYTES REPETITIONS DIRECTORY");
  }
  std::ifstream in(values[1], std::ios::binary);
  const std::string small((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::size_t chunk = std::strtoull(values[3], nullptr, 10);
  const std::size_t end = end_of_content(small);
  if (chunk <= end) {
    fail("a chunk must be larger than the small stream");
  }
  const std::string body = make_body(values[2], chunk);
  const std::string_view all = body;
  const std::string_view head = all.substr(0, chunk - end);
  const std::string_view rest = all.substr(chunk - end);
  const bool repeats = std::strtoull(values[4], nullptr, 10) > 1;
  const std::string directory = values[5];
  save(directory + "/first", std::string_view(small).substr(0, end), head);
  if (repeats) {
    save(directory + "/middle", rest, head);
  }
  save(directory + "/last", rest, std::string_view(small).substr(end));
  return 0;
}
