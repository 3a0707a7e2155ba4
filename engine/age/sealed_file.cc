#include "engine/age/sealed_file.hh"

#include "engine/age/armor.hh"
#include "engine/age/fault.hh"
#include "engine/age/passphrase.hh"
#include "engine/assert.hh"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

namespace bts3::age {

namespace {

using file_bytes = std::vector<std::byte>;
using unwrap_one = std::function<engine::result<std::optional<file_key>>(const stanza&)>;

engine::error payload_error(std::string what) {
  return make_error(fault::payload, std::move(what),
                    "it was damaged, cut or changed; fetch it again, or restore another copy");
}

engine::result<file_key> fresh_file_key(const random_source& random) {
  file_key made;
  auto filled = fill_random(random, made.writable());
  if (!filled) {
    return std::move(filled.error());
  }
  return made;
}

engine::error too_large() {
  return make_error(fault::payload, "the age file is larger than " +
                                        std::to_string(small_plain_bytes_max >> 20U) +
                                        " MiB, which none that is read whole may be");
}

// Header, nonce and segments.
engine::result<file_bytes> seal(std::span<const std::byte> plain,
                                const std::vector<stanza>& stanzas, const file_key& key,
                                const random_source& random) {
  auto head = write_header(stanzas, key);
  if (!head) {
    return std::move(head.error());
  }
  payload_nonce nonce{};
  auto filled = fill_random(random, nonce);
  if (!filled) {
    return std::move(filled.error());
  }
  auto sealer = stream_sealer::make(key, nonce);
  if (!sealer) {
    return std::move(sealer.error());
  }
  const std::size_t before = head->size() + nonce.size();
  file_bytes file(before + sealed_bytes(plain.size()));
  const auto text = bytes_of(*head);
  std::copy(nonce.begin(), nonce.end(), std::copy(text.begin(), text.end(), file.begin()));
  const std::uint64_t segments = segments_of(plain.size());
  for (std::uint64_t index = 0; index < segments; ++index) {
    const auto piece =
        plain.subspan(index * segment_plain_bytes,
                      std::min(segment_plain_bytes, plain.size() - index * segment_plain_bytes));
    const auto room = std::span(file).subspan(before + index * segment_bytes);
    std::copy(piece.begin(), piece.end(), room.begin());
    auto sealed = sealer->seal(room, piece.size(), index + 1 == segments);
    if (!sealed) {
      engine::wipe(file);
      return std::move(sealed.error());
    }
  }
  return file;
}

engine::result<opened_header> open_by(std::span<const std::byte> file, const unwrap_one& unwrap,
                                      std::string_view remedy) {
  auto read = read_header(file);
  if (!read) {
    return std::move(read.error());
  }
  auto passphrase = is_for_passphrase(*read);
  if (!passphrase) {
    return std::move(passphrase.error());
  }
  for (const stanza& one : read->stanzas) {
    auto key = unwrap(one);
    if (!key) {
      return std::move(key.error());
    }
    if (*key) {
      auto checked = check_header(*read, file, **key);
      if (!checked) {
        return std::move(checked.error());
      }
      return opened_header{std::move(*read), std::move(**key)};
    }
  }
  return make_error(fault::no_match,
                    *passphrase ? "the age file is sealed with a passphrase, which this is not"
                                : "the age file is for none of these identities",
                    std::string(remedy));
}

engine::result<engine::secret_string> open_payload(std::span<const std::byte> file,
                                                   const opened_header& head) {
  auto nonce = read_payload_nonce(file, head.read);
  if (!nonce) {
    return std::move(nonce.error());
  }
  const auto sealed = file.subspan(head.read.bytes + payload_nonce_bytes);
  const auto size = opened_bytes(sealed.size());
  if (!size) {
    return payload_error("the age file is cut: no segments have " + std::to_string(sealed.size()) +
                         " bytes");
  }
  if (*size > small_plain_bytes_max) {
    return too_large();
  }
  auto opener = stream_opener::make(head.key, *nonce);
  if (!opener) {
    return std::move(opener.error());
  }
  auto plain = engine::secret_string::zeroes(*size);
  auto segment = engine::secret_string::zeroes(segment_bytes);
  const std::uint64_t segments = segments_of(*size);
  for (std::uint64_t index = 0; index < segments; ++index) {
    const auto from = sealed.subspan(index * segment_bytes);
    const auto here = segment.writable().first(std::min(from.size(), segment_bytes));
    std::copy_n(from.begin(), here.size(), here.begin());
    auto text = opener->open(here, index, index + 1 == segments);
    if (!text) {
      return std::move(text.error());
    }
    std::copy(text->begin(), text->end(),
              plain.writable().subspan(index * segment_plain_bytes).begin());
  }
  return plain;
}

// The binary form, which `holder` keeps where it has to be made.
engine::result<std::span<const std::byte>> binary(std::span<const std::byte> file,
                                                  file_bytes& holder) {
  if (!is_armored(text_of(file))) {
    return file;
  }
  auto made = unarmor(text_of(file));
  if (!made) {
    return std::move(made.error());
  }
  holder = std::move(*made);
  return std::span<const std::byte>(holder);
}

template <typename Open>
engine::result<engine::secret_string> open_whole(std::span<const std::byte> file,
                                                 const Open& open) {
  file_bytes holder;
  const auto bytes = binary(file, holder);
  if (!bytes) {
    return bytes.error();
  }
  auto head = open(*bytes);
  if (!head) {
    return std::move(head.error());
  }
  return open_payload(*bytes, *head);
}

}  // namespace

engine::result<file_bytes> seal_file(std::span<const std::byte> plain,
                                     std::span<const x25519_recipient> to,
                                     const random_source& random,
                                     const std::vector<stanza>& beside) {
  if (to.empty() || to.size() > recipients_max) {
    return make_error(fault::key, to.empty() ? "there is no recipient to seal for"
                                             : "there are more than " +
                                                   std::to_string(recipients_max) + " recipients");
  }
  if (plain.size() > small_plain_bytes_max) {
    return too_large();
  }
  auto key = fresh_file_key(random);
  if (!key) {
    return std::move(key.error());
  }
  std::vector<stanza> stanzas;
  for (const x25519_recipient& one : to) {
    auto wrapped = one.wrap(*key, random);
    if (!wrapped) {
      return std::move(wrapped.error());
    }
    stanzas.push_back(std::move(*wrapped));
  }
  stanzas.insert(stanzas.end(), beside.begin(), beside.end());
  return seal(plain, stanzas, *key, random);
}

engine::result<file_bytes> seal_file_with_passphrase(std::span<const std::byte> plain,
                                                     std::string_view passphrase,
                                                     const random_source& random,
                                                     unsigned log_work) {
  if (plain.size() > small_plain_bytes_max) {
    return too_large();
  }
  auto key = fresh_file_key(random);
  if (!key) {
    return std::move(key.error());
  }
  auto wrapped = wrap_with_passphrase(*key, passphrase, random, log_work);
  if (!wrapped) {
    return std::move(wrapped.error());
  }
  return seal(plain, {std::move(*wrapped)}, *key, random);
}

engine::result<opened_header> open_header(std::span<const std::byte> file,
                                          std::span<const x25519_identity> with) {
  const auto unwrap = [&](const stanza& one) -> engine::result<std::optional<file_key>> {
    for (const x25519_identity& identity : with) {
      auto key = identity.unwrap(one);
      if (!key || *key) {
        return key;
      }
    }
    return std::optional<file_key>();
  };
  return open_by(file, unwrap, "give the identity of one of its recipients");
}

engine::result<opened_header> open_header_with_passphrase(std::span<const std::byte> file,
                                                          std::string_view passphrase) {
  return open_by(
      file, [&](const stanza& one) { return unwrap_with_passphrase(one, passphrase); },
      "give the passphrase that it was sealed with");
}

engine::result<engine::secret_string> open_file(std::span<const std::byte> file,
                                                std::span<const x25519_identity> with) {
  return open_whole(file,
                    [&](std::span<const std::byte> bytes) { return open_header(bytes, with); });
}

engine::result<engine::secret_string> open_file_with_passphrase(std::span<const std::byte> file,
                                                                std::string_view passphrase) {
  return open_whole(file, [&](std::span<const std::byte> bytes) {
    return open_header_with_passphrase(bytes, passphrase);
  });
}

engine::result<bool> wants_passphrase(std::span<const std::byte> file) {
  file_bytes holder;
  const auto bytes = binary(file, holder);
  if (!bytes) {
    return bytes.error();
  }
  const auto read = read_header(*bytes);
  if (!read) {
    return read.error();
  }
  return is_for_passphrase(*read);
}

engine::result<payload_nonce> read_payload_nonce(std::span<const std::byte> file,
                                                 const header& read) {
  BTS3_ASSERT(read.bytes <= file.size());
  if (file.size() - read.bytes < payload_nonce_bytes) {
    return make_error(fault::header, "the age file ends behind its header",
                      "it was cut; fetch it again, or restore another copy");
  }
  payload_nonce nonce{};
  std::copy_n(file.begin() + static_cast<std::ptrdiff_t>(read.bytes), nonce.size(), nonce.begin());
  return nonce;
}

}  // namespace bts3::age
