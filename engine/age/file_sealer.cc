#include "engine/age/file_sealer.hh"

#include "engine/age/header.hh"

#include <algorithm>
#include <string>

namespace bts3::age {

using engine::result;

result<file_sealer> file_sealer::begin(const x25519_recipient& to, const random_source& random,
                                       std::vector<std::byte>& out) {
  file_key key;
  if (auto filled = fill_random(random, key.writable()); !filled) {
    return std::move(filled.error());
  }
  auto wrapped = to.wrap(key, random);
  if (!wrapped) {
    return std::move(wrapped.error());
  }
  const std::vector<stanza> stanzas{std::move(*wrapped)};
  auto head = write_header(stanzas, key);
  if (!head) {
    return std::move(head.error());
  }
  payload_nonce nonce{};
  if (auto filled = fill_random(random, nonce); !filled) {
    return std::move(filled.error());
  }
  auto sealer = stream_sealer::make(key, nonce);
  if (!sealer) {
    return std::move(sealer.error());
  }
  const auto text = bytes_of(*head);
  out.insert(out.end(), text.begin(), text.end());
  out.insert(out.end(), nonce.begin(), nonce.end());
  return file_sealer(std::move(*sealer));
}

result<void> file_sealer::update(std::span<const std::byte> plain, std::vector<std::byte>& out) {
  while (!plain.empty()) {
    if (_filled == segment_plain_bytes) {
      if (auto sealed = seal(false, out); !sealed) {
        return sealed;
      }
    }
    const std::size_t taken = std::min(plain.size(), segment_plain_bytes - _filled);
    std::copy_n(plain.begin(), taken, _segment.begin() + static_cast<std::ptrdiff_t>(_filled));
    _filled += taken;
    plain = plain.subspan(taken);
  }
  return engine::ok();
}

result<void> file_sealer::finish(std::vector<std::byte>& out) {
  return seal(true, out);
}

result<void> file_sealer::seal(bool last, std::vector<std::byte>& out) {
  if (auto sealed = _by.seal(_segment, _filled, last); !sealed) {
    return sealed;
  }
  out.insert(out.end(), _segment.begin(),
             _segment.begin() + static_cast<std::ptrdiff_t>(_filled + tag_bytes));
  _filled = 0;
  return engine::ok();
}

}  // namespace bts3::age
