#include "app/host/file_body.hh"

#include "engine/assert.hh"
#include "engine/crc32.hh"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

constexpr std::size_t body_buffer_bytes = std::size_t{256} << 10;
constexpr std::size_t digest_piece_bytes = std::size_t{1} << 20;

error too_short() {
  error failure;
  failure.why = engine::reason::integrity;
  failure.message = "a file on this host became shorter while it was sent";
  return failure;
}

}  // namespace

file_body::file_body(engine::reactor& loop, int file, std::uint64_t bytes, std::uint64_t begin)
    : _loop(loop), _file(file), _bytes(bytes), _begin(begin) {
  for (std::vector<std::byte>& buffer : _buffers) {
    buffer.resize(static_cast<std::size_t>(std::min<std::uint64_t>(body_buffer_bytes, bytes)));
  }
}

task<result<std::span<const std::byte>>> file_body::fetch(unsigned buffer, std::uint64_t offset,
                                                          engine::stop_token stop) {
  BTS3_ASSERT(buffer < _buffers.size() && offset < _bytes);
  const auto length =
      static_cast<std::size_t>(std::min<std::uint64_t>(_buffers[buffer].size(), _bytes - offset));
  auto reading =
      _loop.read_at(_file, std::span(_buffers[buffer]).first(length), _begin + offset, stop);
  auto read = co_await std::move(reading);
  if (!read) {
    co_return std::move(read.error());
  }
  if (*read == 0) {
    co_return too_short();
  }
  if (_on_fetched) {
    _on_fetched(offset + *read);
  }
  co_return std::span<const std::byte>(_buffers[buffer]).first(*read);
}

result<range_digests> digests_of(int file, std::uint64_t begin, std::uint64_t bytes) {
  engine::sha256_hasher hasher;
  range_digests found;
  std::vector<std::byte> piece(
      static_cast<std::size_t>(std::min<std::uint64_t>(bytes, digest_piece_bytes)));
  while (bytes > 0) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, piece.size()));
    const ssize_t got = ::pread(file, piece.data(), wanted, static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return got < 0 ? engine::system_error(errno, "reading a file to send") : too_short();
    }
    const auto now = std::span<const std::byte>(piece).first(static_cast<std::size_t>(got));
    hasher.update(now);
    found.crc32 = engine::crc32(found.crc32, now);
    begin += now.size();
    bytes -= now.size();
  }
  found.sha256 = hasher.digest();
  return found;
}

}  // namespace bts3::app
