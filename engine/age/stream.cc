#include "engine/age/stream.hh"

#include "engine/age/fault.hh"
#include "engine/assert.hh"
#include "engine/secret_string.hh"

#include <string>
#include <utility>

namespace bts3::age {

namespace {

engine::result<cipher_key> payload_key(const file_key& key, const payload_nonce& nonce) {
  return hkdf_sha256(key.view(), nonce, "payload");
}

// age.md: eleven bytes that count, the most significant first, and one that marks the last.
aead_nonce nonce_of(std::uint64_t index, bool last) {
  aead_nonce made{};
  for (std::size_t at = nonce_bytes - 1; at > 3; --at) {
    made.at(at - 1) = static_cast<std::byte>(index & 0xff);
    index >>= 8;
  }
  made.back() = static_cast<std::byte>(last ? 1 : 0);
  return made;
}

engine::error payload_error(std::string what) {
  return make_error(fault::payload, std::move(what),
                    "it was damaged, cut or changed; fetch it again, or restore another copy");
}

}  // namespace

engine::result<stream_sealer> stream_sealer::make(const file_key& key, const payload_nonce& nonce) {
  auto derived = payload_key(key, nonce);
  if (!derived) {
    return std::move(derived.error());
  }
  auto cipher = aead::sealing(derived->view());
  if (!cipher) {
    return std::move(cipher.error());
  }
  return stream_sealer(std::move(*cipher));
}

engine::result<void> stream_sealer::seal(std::span<std::byte> room, std::size_t plain, bool last) {
  BTS3_ASSERT(plain + tag_bytes <= room.size());
  auto sealed = begin(last);
  if (sealed) {
    sealed = update(room.first(plain));
  }
  return sealed ? end(room.subspan(plain).first<tag_bytes>()) : sealed;
}

engine::result<void> stream_sealer::begin(bool last) {
  BTS3_ASSERT(!_open && !_last);
  const aead_nonce with = nonce_of(_next, last);
  ++_next;  // before it is used, so that a failure does not use it again
  _open = true;
  _last = last;
  _filled = 0;
  return _cipher.begin_seal(with);
}

engine::result<void> stream_sealer::update(std::span<std::byte> text) {
  BTS3_ASSERT(_open && text.size() <= segment_plain_bytes - _filled);
  _filled += text.size();
  return _cipher.update_seal(text);
}

engine::result<void> stream_sealer::end(std::span<std::byte, tag_bytes> tag) {
  BTS3_ASSERT(_open);
  BTS3_ASSERT(_last ? _filled > 0 || _next == 1 : _filled == segment_plain_bytes);
  _open = false;
  return _cipher.end_seal(tag);
}

engine::result<stream_opener> stream_opener::make(const file_key& key, const payload_nonce& nonce) {
  auto derived = payload_key(key, nonce);
  if (!derived) {
    return std::move(derived.error());
  }
  auto cipher = aead::opening(derived->view());
  if (!cipher) {
    return std::move(cipher.error());
  }
  return stream_opener(std::move(*cipher));
}

engine::result<std::span<std::byte>> stream_opener::open(std::span<std::byte> segment,
                                                         std::uint64_t index, bool last) {
  const bool fits =
      last ? segment.size() >= tag_bytes + (index == 0 ? 0U : 1U) && segment.size() <= segment_bytes
           : segment.size() == segment_bytes;
  if (!fits) {
    engine::wipe(segment);
    return payload_error("segment " + std::to_string(index) + " of the age file has " +
                         std::to_string(segment.size()) + " bytes, which none can have there");
  }
  const std::span<std::byte> text = segment.first(segment.size() - tag_bytes);
  auto sound = _cipher.open(nonce_of(index, last), text, segment.last<tag_bytes>());
  if (!sound) {
    return std::move(sound.error());
  }
  if (!*sound) {
    return payload_error("segment " + std::to_string(index) +
                         " of the age file is not as it was written" +
                         (last ? ", or not the last one" : ""));
  }
  return text;
}

}  // namespace bts3::age
