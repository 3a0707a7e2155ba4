#include "app/indexes/sealed_reading.hh"

#include "btrfs/index/index_file.hh"
#include "engine/age/header.hh"
#include "engine/age/sealed_file.hh"

#include <algorithm>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;

error cut_off() {
  error failure;
  failure.why = engine::reason::integrity;
  failure.message = "it ends before its length";
  return failure;
}

}  // namespace

result<sealed_reading> sealed_reading::open(int file, std::uint64_t bytes,
                                            const age::x25519_identity& with) {
  std::vector<std::byte> beginning(
      std::min<std::uint64_t>(bytes, age::header_bytes_max + age::payload_nonce_bytes));
  if (auto read = btrfs::index::reads_of(file)(0, beginning); !read) {
    return std::move(read.error());
  }
  auto header = age::open_header(beginning, std::span(&with, 1));
  if (!header) {
    return std::move(header.error());
  }
  const auto nonce = age::read_payload_nonce(beginning, header->read);
  if (!nonce) {
    return nonce.error();
  }
  auto opener = age::stream_opener::make(header->key, *nonce);
  if (!opener) {
    return std::move(opener.error());
  }
  sealed_reading made(std::move(*opener));
  made._file = file;
  made._bytes = bytes;
  made._segments = header->read.bytes + age::payload_nonce_bytes;
  const auto plain =
      made._segments > bytes ? std::nullopt : age::opened_bytes(bytes - made._segments);
  if (!plain) {
    return cut_off();
  }
  made._plain = *plain;
  return made;
}

result<void> sealed_reading::open_segment(std::uint64_t index) {
  if (index == _open) {
    return engine::ok();
  }
  _open = UINT64_MAX;
  const std::uint64_t start = index * age::segment_bytes;
  const std::uint64_t left = _bytes - _segments - start;
  _room.resize(std::min<std::uint64_t>(age::segment_bytes, left));
  if (auto read = btrfs::index::reads_of(_file)(_segments + start, _room); !read) {
    return read;
  }
  auto text = _opener.open(_room, index, index + 1 == age::segments_of(_plain));
  if (!text) {
    return std::move(text.error());
  }
  _text = *text;
  _open = index;
  return engine::ok();
}

result<void> sealed_reading::read(std::uint64_t offset, std::span<std::byte> into) {
  if (offset > _plain || into.size() > _plain - offset) {
    return cut_off();
  }
  while (!into.empty()) {
    const age::segment_place place = age::place_of(offset);
    if (auto opened = open_segment(place.index); !opened) {
      return opened;
    }
    const auto from = _text.subspan(place.within);
    const std::size_t count = std::min(from.size(), into.size());
    std::copy_n(from.begin(), count, into.begin());
    into = into.subspan(count);
    offset += count;
  }
  return engine::ok();
}

}  // namespace bts3::app
