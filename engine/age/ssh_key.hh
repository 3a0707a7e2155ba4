// Keys of Ed25519 in the forms of OpenSSH: what `ssh-keygen -t ed25519` writes.
#pragma once

#include "engine/age/primitives.hh"
#include "engine/age/secret_bytes.hh"
#include "engine/result.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::age {

inline constexpr std::string_view ed25519_type = "ssh-ed25519";  // RFC 8709

class ssh_public_key {
 public:
  explicit ssh_public_key(const curve_point& of) : _point(of) {}

  // "ssh-ed25519 AAAA..." and whatever follows behind a space; fault::key for other types.
  [[nodiscard]] static engine::result<ssh_public_key> parse(std::string_view line);
  // From the form in which it stands in files and signatures, RFC 8709; nullopt for anything else.
  [[nodiscard]] static std::optional<ssh_public_key> from_blob(std::span<const std::byte> blob);
  [[nodiscard]] std::vector<std::byte> blob() const;
  // "ssh-ed25519 AAAA...", without a comment.
  [[nodiscard]] std::string text() const;
  // "SHA256:..." as ssh-keygen shows it.
  [[nodiscard]] engine::result<std::string> fingerprint() const;
  [[nodiscard]] const curve_point& public_point() const { return _point; }

  bool operator==(const ssh_public_key&) const = default;

 private:
  curve_point _point;
};

// A private key, with the public one.
class ssh_private_key {
 public:
  // The text of a file that begins with "-----BEGIN OPENSSH PRIVATE KEY-----" (OpenSSH's
  // PROTOCOL.key), not protected with a passphrase, with one key of Ed25519; fault::key for
  // anything else. No message quotes it.
  [[nodiscard]] static engine::result<ssh_private_key> parse(std::string_view file);
  [[nodiscard]] const ssh_public_key& public_key() const { return _public; }
  [[nodiscard]] engine::result<ed25519_signature> sign(std::span<const std::byte> message) const {
    return ed25519_sign(_seed.view(), message);
  }

 private:
  ssh_private_key(secret_bytes<32> seed, const ssh_public_key& its)
      : _seed(std::move(seed)), _public(its) {}

  secret_bytes<32> _seed;
  ssh_public_key _public;
};

// The wire's forms, RFC 4251 section 5.
class ssh_reader {
 public:
  explicit ssh_reader(std::span<const std::byte> bytes) : _rest(bytes) {}
  // Nullopt where there are fewer bytes than that takes.
  [[nodiscard]] std::optional<std::uint32_t> number();
  [[nodiscard]] std::optional<std::span<const std::byte>> string();
  [[nodiscard]] std::optional<std::span<const std::byte>> raw(std::size_t size);
  [[nodiscard]] std::span<const std::byte> rest() const { return _rest; }

 private:
  std::span<const std::byte> _rest;
};

void append_ssh_number(std::vector<std::byte>& to, std::uint32_t number);
void append_ssh_string(std::vector<std::byte>& to, std::span<const std::byte> bytes);

}  // namespace bts3::age
