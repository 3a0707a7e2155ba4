#include "engine/age/sealed_part.hh"

#include "engine/age/fault.hh"
#include "engine/age/header.hh"
#include "engine/age/sealed_file.hh"
#include "engine/assert.hh"

#include <algorithm>
#include <string>
#include <vector>

namespace bts3::age {

namespace {

struct known_part {
  opened_header head;
  part_place place;
};

engine::result<known_part> known(std::span<const std::byte> beginning,
                                 const x25519_identity& with) {
  auto head = open_header(beginning, std::span(&with, 1));
  if (!head) {
    return std::move(head.error());
  }
  auto place = find_part_stanza(head->read);
  if (!place) {
    return std::move(place.error());
  }
  if (head->read.bytes != part_header_bytes) {
    return make_error(fault::header,
                      "the header of the part has " + std::to_string(head->read.bytes) +
                          " bytes, and " + std::to_string(part_header_bytes) + " were expected",
                      "was it written by a newer version of this program, or is it another file?");
  }
  return known_part{std::move(*head), *place};
}

}  // namespace

engine::result<void> part_in_sealing::write_header(std::span<std::byte, part_segments_at> to) {
  BTS3_ASSERT(!_key.empty());
  const auto text = age::write_header({_for_backup, part_stanza(_place)}, _key);
  _key.clear();
  if (!text) {
    return text.error();
  }
  BTS3_ASSERT(text->size() == part_header_bytes);
  const auto bytes = bytes_of(*text);
  std::copy(_nonce.begin(), _nonce.end(), std::copy(bytes.begin(), bytes.end(), to.begin()));
  return engine::ok();
}

engine::result<part_in_sealing> part_sealer::begin(std::uint32_t chunk, std::uint32_t part,
                                                   std::uint64_t offset) const {
  file_key key;
  payload_nonce nonce{};
  auto filled = fill_random(_random, key.writable());
  if (filled) {
    filled = fill_random(_random, nonce);
  }
  if (!filled) {
    return std::move(filled.error());
  }
  auto for_backup = _to.wrap(key, _random);
  if (!for_backup) {
    return std::move(for_backup.error());
  }
  auto segments = stream_sealer::make(key, nonce);
  if (!segments) {
    return std::move(segments.error());
  }
  return part_in_sealing(std::move(key), nonce, std::move(*for_backup),
                         part_place{_backup, chunk, part, offset}, std::move(*segments));
}

std::pair<std::uint64_t, std::size_t> part_in_opening::range_of(std::uint64_t index) const {
  BTS3_ASSERT(index < segments());
  const std::uint64_t from = part_segments_at + index * segment_bytes;
  return {from, static_cast<std::size_t>(
                    std::min<std::uint64_t>(segment_bytes, part_sealed_bytes(_plain) - from))};
}

engine::result<std::span<std::byte>> part_in_opening::open(std::span<std::byte> segment,
                                                           std::uint64_t index) {
  BTS3_ASSERT(segment.size() == range_of(index).second);
  return _segments.open(segment, index, index + 1 == segments());
}

engine::result<part_in_opening> part_opener::begin(std::span<const std::byte> beginning,
                                                   std::uint64_t part_bytes,
                                                   const part_place& expected) const {
  auto found = known(beginning, _with);
  if (!found) {
    return std::move(found.error());
  }
  auto checked = check_place(found->place, expected);
  if (!checked) {
    return std::move(checked.error());
  }
  const auto nonce = read_payload_nonce(beginning, found->head.read);
  if (!nonce) {
    return nonce.error();
  }
  const auto plain =
      part_bytes < part_segments_at ? std::nullopt : opened_bytes(part_bytes - part_segments_at);
  if (!plain) {
    return make_error(fault::payload,
                      "a sealed part cannot have " + std::to_string(part_bytes) + " bytes",
                      "it was cut; fetch it again, or restore another copy");
  }
  auto segments = stream_opener::make(found->head.key, *nonce);
  if (!segments) {
    return std::move(segments.error());
  }
  return part_in_opening(std::move(*segments), *plain);
}

}  // namespace bts3::age
