#include "planner/stream_places.hh"

#include <algorithm>
#include <string>

namespace bts3::planner {

namespace {

constexpr std::uint64_t segments_at = sealed_header_bytes + sealed_nonce_bytes;
constexpr std::uint64_t stride = sealed_segment_bytes + sealed_tag_bytes;

document_error of_chunk(std::size_t index, std::string what) {
  return {"chunks[" + std::to_string(index) + "]", std::move(what), ""};
}

}  // namespace

outcome<stream_places> stream_places::of(const manifest& backup) {
  stream_places made;
  made._sealed = backup.encryption.has_value();
  for (std::size_t i = 0; i < backup.chunks.size(); ++i) {
    const chunk_record& record = backup.chunks[i];
    if (record.size == 0 || record.size > chunk_bytes_max) {
      return of_chunk(i, "no chunk has " + std::to_string(record.size) + " bytes");
    }
    chunk one;
    one.begin = made._bytes;
    one.size = record.size;
    std::uint64_t plain = record.size;
    if (made._sealed) {
      one.part_size = record.part_size.value_or(0);
      const auto all = plain_bytes_of_chunk(record.size, one.part_size);
      if (!all || (record.size - 1) / one.part_size >= UINT32_MAX) {
        return of_chunk(i, "its size is none that sealed parts have");
      }
      plain = *all;
      one.part_plain = record.size <= one.part_size ? plain : *plain_bytes_of_part(one.part_size);
    }
    if (plain > stream_bytes_max - made._bytes) {
      return of_chunk(i, "the stream up to its end is larger than one can be");
    }
    made._bytes += plain;
    one.end = made._bytes;
    made._chunks.push_back(one);
  }
  return made;
}

void stream_places::add_sealed(const chunk& in, stored_range piece, std::uint64_t offset,
                               std::uint64_t end, std::vector<stored_range>& found) const {
  while (offset < end) {
    const std::uint64_t index = (offset - in.begin) / in.part_plain;
    piece.part = static_cast<std::uint32_t>(index + 1);
    piece.part_offset = index * in.part_size;
    piece.part_bytes = std::min(in.part_size, in.size - piece.part_offset);
    piece.part_plain = in.begin + index * in.part_plain;
    const std::uint64_t part_end = std::min(in.end, piece.part_plain + in.part_plain);
    piece.plain_bytes = std::min(end, part_end) - offset;
    const std::uint64_t within = offset - piece.part_plain;
    piece.segment = within / sealed_segment_bytes;
    piece.skip = within % sealed_segment_bytes;
    const std::uint64_t last = (within + piece.plain_bytes - 1) / sealed_segment_bytes;
    const std::uint64_t from = segments_at + piece.segment * stride;
    piece.offset = piece.part_offset + from;
    piece.bytes = std::min(piece.part_bytes, segments_at + (last + 1) * stride) - from;
    found.push_back(piece);
    offset += piece.plain_bytes;
  }
}

outcome<std::vector<stored_range>> stream_places::find(std::uint64_t offset,
                                                       std::uint64_t bytes) const {
  if (offset > _bytes || bytes > _bytes - offset) {
    return document_error{"",
                          std::to_string(bytes) + " bytes at byte " + std::to_string(offset) +
                              " are wanted of a stream of " + std::to_string(_bytes),
                          ""};
  }
  std::vector<stored_range> found;
  const std::uint64_t end = offset + bytes;
  auto at = std::upper_bound(_chunks.begin(), _chunks.end(), offset,
                             [](std::uint64_t value, const chunk& one) { return value < one.end; });
  for (; at != _chunks.end() && offset < end; ++at) {
    stored_range piece;
    piece.chunk = static_cast<std::size_t>(at - _chunks.begin());
    const std::uint64_t to = std::min(end, at->end);
    if (_sealed) {
      add_sealed(*at, piece, offset, to, found);
    } else {
      piece.offset = offset - at->begin;
      piece.bytes = piece.plain_bytes = to - offset;
      found.push_back(piece);
    }
    offset = to;
  }
  return found;
}

}  // namespace bts3::planner
