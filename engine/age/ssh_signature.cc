#include "engine/age/ssh_signature.hh"

#include "engine/age/base64.hh"
#include "engine/age/fault.hh"
#include "engine/plain_text.hh"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>

namespace bts3::age {

namespace {

constexpr std::string_view first_line = "-----BEGIN SSH SIGNATURE-----";
constexpr std::string_view last_line = "-----END SSH SIGNATURE-----";
constexpr std::string_view magic = "SSHSIG";
constexpr std::uint32_t version = 1;
constexpr std::size_t columns = 70;  // as ssh-keygen has it
constexpr std::string_view sha512_name = "sha512";
constexpr std::string_view sha256_name = "sha256";
constexpr std::string_view white_space = " \t\r\n";

engine::error form_error() {
  return make_error(fault::armor, "this is not a signature in the form of ssh-keygen -Y sign",
                    "it was cut or damaged, or is another file");
}

engine::error signature_error(std::string what) {
  return make_error(fault::signature, std::move(what),
                    "do not use what was signed, unless you know why; add the key to the trusted "
                    "signers if it is yours");
}

struct read_signature {
  ssh_public_key key;
  std::string name_space;
  std::string hash;
  ed25519_signature signature;
};

// What is signed in place of the message: PROTOCOL.sshsig, "Signed Data".
engine::result<std::vector<std::byte>> signed_data(std::string_view name_space,
                                                   std::string_view hash,
                                                   std::span<const std::byte> message) {
  std::vector<std::byte> made;
  const auto start = bytes_of(magic);
  made.insert(made.end(), start.begin(), start.end());
  append_ssh_string(made, bytes_of(name_space));
  append_ssh_string(made, {});  // reserved
  append_ssh_string(made, bytes_of(hash));
  if (hash == sha512_name) {
    const auto of = sha512(message);
    if (!of) {
      return of.error();
    }
    append_ssh_string(made, *of);
    return made;
  }
  const auto of = sha256(message);
  if (!of) {
    return of.error();
  }
  append_ssh_string(made, *of);
  return made;
}

std::optional<std::vector<std::byte>> unarmored(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(white_space);
  if (text.size() > signature_bytes_max || begin == std::string_view::npos) {
    return std::nullopt;
  }
  text = text.substr(begin, text.find_last_not_of(white_space) - begin + 1);
  if (text.size() < first_line.size() + last_line.size() || !text.starts_with(first_line) ||
      !text.ends_with(last_line)) {
    return std::nullopt;
  }
  text.remove_prefix(first_line.size());
  text.remove_suffix(last_line.size());
  std::string body;
  std::copy_if(text.begin(), text.end(), std::back_inserter(body),
               [](char one) { return one != '\n' && one != '\r'; });
  return base64_decode(body, padding::filled);
}

engine::result<read_signature> read(std::string_view text) {
  const auto bytes = unarmored(text);
  if (!bytes) {
    return form_error();
  }
  ssh_reader from(*bytes);
  const auto start = from.raw(magic.size());
  if (!start || text_of(*start) != magic || from.number() != version) {
    return form_error();
  }
  const auto blob = from.string();
  const auto name_space = from.string();
  const auto reserved = from.string();
  const auto hash = from.string();
  const auto inner = from.string();
  if (!blob || !name_space || !reserved || !hash || !inner || !from.rest().empty()) {
    return form_error();
  }
  const auto key = ssh_public_key::from_blob(*blob);
  if (!key) {
    return signature_error("the signature is by a key of another type than ssh-ed25519");
  }
  ssh_reader within(*inner);
  const auto type = within.string();
  const auto raw = within.string();
  read_signature found{*key, std::string(text_of(*name_space)), std::string(text_of(*hash)), {}};
  if (!type || text_of(*type) != ed25519_type || !raw || raw->size() != found.signature.size() ||
      !within.rest().empty()) {
    return form_error();
  }
  std::copy(raw->begin(), raw->end(), found.signature.begin());
  return found;
}

}  // namespace

engine::result<std::string> sign_message(const ssh_private_key& by,
                                         std::span<const std::byte> message,
                                         std::string_view name_space) {
  const auto data = signed_data(name_space, sha512_name, message);
  if (!data) {
    return data.error();
  }
  const auto signature = by.sign(*data);
  if (!signature) {
    return signature.error();
  }
  std::vector<std::byte> inner;
  append_ssh_string(inner, bytes_of(ed25519_type));
  append_ssh_string(inner, *signature);
  std::vector<std::byte> whole;
  const auto start = bytes_of(magic);
  whole.insert(whole.end(), start.begin(), start.end());
  append_ssh_number(whole, version);
  append_ssh_string(whole, by.public_key().blob());
  append_ssh_string(whole, bytes_of(name_space));
  append_ssh_string(whole, {});
  append_ssh_string(whole, bytes_of(sha512_name));
  append_ssh_string(whole, inner);
  return base64_block(first_line, whole, columns, last_line);
}

engine::result<allowed_signer> verify_message(std::string_view signature,
                                              std::span<const std::byte> message,
                                              std::string_view name_space,
                                              std::span<const allowed_signer> signers,
                                              std::chrono::sys_seconds when) {
  const auto found = read(signature);
  if (!found) {
    return found.error();
  }
  if (found->name_space != name_space) {
    return signature_error("the signature is for \"" +
                           engine::printable(found->name_space.substr(0, 60)) +
                           "\", and not for \"" + std::string(name_space) + "\"");
  }
  if (found->hash != sha512_name && found->hash != sha256_name) {
    return signature_error("the signature is over a hash that is not known");
  }
  const auto data = signed_data(name_space, found->hash, message);
  if (!data) {
    return data.error();
  }
  const auto sound = ed25519_verify(found->key.public_point(), found->signature, *data);
  if (!sound) {
    return sound.error();
  }
  if (!*sound) {
    return signature_error("the signature is not one of these bytes: they or it were changed");
  }
  const auto name = found->key.fingerprint();
  if (!name) {
    return name.error();
  }
  std::string_view why = "is not among the trusted signers";
  for (const allowed_signer& one : signers) {
    if (!(one.key == found->key)) {
      continue;
    }
    if (!one.is_for(name_space)) {
      why = "is trusted for other namespaces only";
    } else if (!one.is_valid_at(when)) {
      why = "was not valid at that time, or is not any more";
    } else {
      return one;
    }
  }
  return signature_error("the signature is by key " + *name + ", which " + std::string(why));
}

engine::result<ssh_public_key> claimed_signer(std::string_view signature) {
  const auto found = read(signature);
  if (!found) {
    return found.error();
  }
  return found->key;
}

}  // namespace bts3::age
