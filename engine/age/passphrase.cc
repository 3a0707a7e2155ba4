#include "engine/age/passphrase.hh"

#include "engine/age/base64.hh"
#include "engine/age/fault.hh"
#include "engine/age/x25519.hh"
#include "engine/assert.hh"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <utility>
#include <vector>

namespace bts3::age {

namespace {

constexpr std::string_view salt_label = "age-encryption.org/v1/scrypt";

engine::error stanza_error(std::string what, std::string remedy = {}) {
  return make_error(
      fault::header, "the stanza of scrypt in the age header " + std::move(what),
      remedy.empty() ? "it was damaged or changed; restore another copy" : std::move(remedy));
}

engine::result<cipher_key> wrapping_key(std::string_view passphrase,
                                        std::span<const std::byte> salt, unsigned log_work) {
  std::vector<std::byte> whole;
  const auto label = bytes_of(salt_label);
  whole.insert(whole.end(), label.begin(), label.end());
  whole.insert(whole.end(), salt.begin(), salt.end());
  return scrypt(passphrase, whole, log_work);
}

// A decimal number without sign and leading zeros; nullopt for what is none, or too large for it.
std::optional<unsigned> log_work_of(std::string_view text) {
  unsigned found = 0;
  const char* const end = text.data() + text.size();
  if (text.empty() || text.front() < '1' || text.front() > '9') {
    return std::nullopt;
  }
  const auto [stopped, problem] = std::from_chars(text.data(), end, found);
  return problem == std::errc() && stopped == end ? std::optional(found) : std::nullopt;
}

}  // namespace

engine::result<stanza> wrap_with_passphrase(const file_key& key, std::string_view passphrase,
                                            const random_source& random, unsigned log_work) {
  BTS3_ASSERT(log_work >= 1 && log_work <= log_work_max);
  if (passphrase.empty()) {
    return make_error(fault::key, "the passphrase is empty");
  }
  std::array<std::byte, scrypt_salt_bytes> salt{};
  auto filled = fill_random(random, salt);
  if (!filled) {
    return std::move(filled.error());
  }
  auto with = wrapping_key(passphrase, salt, log_work);
  if (!with) {
    return std::move(with.error());
  }
  auto body = wrap_file_key(*with, key);
  if (!body) {
    return std::move(body.error());
  }
  stanza made;
  made.arguments = {std::string(scrypt_type), base64_encode(salt, padding::none),
                    std::to_string(log_work)};
  made.body = std::move(*body);
  return made;
}

engine::result<std::optional<file_key>> unwrap_with_passphrase(const stanza& one,
                                                               std::string_view passphrase,
                                                               unsigned log_work_limit) {
  if (one.type() != scrypt_type) {
    return std::optional<file_key>();
  }
  if (one.arguments.size() != 3) {
    return stanza_error("has not three arguments");
  }
  const auto salt = base64_decode(one.arguments[1], padding::none);
  if (!salt || salt->size() != scrypt_salt_bytes) {
    return stanza_error("has no salt of 16 bytes in canonical base64");
  }
  const auto log_work = log_work_of(one.arguments[2]);
  if (!log_work) {
    return stanza_error("has no work factor");
  }
  if (one.body.size() != wrapped_key_bytes) {
    return stanza_error("has a body of another length than 32 bytes");
  }
  if (*log_work > log_work_limit) {
    return stanza_error("asks for a work of 2^" + std::to_string(*log_work) + ", and 2^" +
                            std::to_string(log_work_limit) + " is the limit",
                        "write the file anew with a lower work factor: age makes 2^18");
  }
  auto with = wrapping_key(passphrase, *salt, *log_work);
  if (!with) {
    return std::move(with.error());
  }
  return unwrap_file_key(*with, one.body);
}

engine::result<bool> is_for_passphrase(const header& of) {
  const bool any = std::any_of(of.stanzas.begin(), of.stanzas.end(),
                               [](const stanza& one) { return one.type() == scrypt_type; });
  if (any && of.stanzas.size() != 1) {
    return stanza_error("is not the only one, as it has to be");
  }
  return any;
}

}  // namespace bts3::age
