#include "engine/age/ssh_key.hh"

#include "engine/age/base64.hh"
#include "engine/age/fault.hh"
#include "engine/plain_text.hh"
#include "engine/secret_string.hh"

#include <algorithm>

namespace bts3::age {

namespace {

constexpr std::string_view first_line = "-----BEGIN OPENSSH PRIVATE KEY-----";
constexpr std::string_view last_line = "-----END OPENSSH PRIVATE KEY-----";
constexpr std::string_view magic{"openssh-key-v1\0", 15};  // PROTOCOL.key
constexpr std::string_view none = "none";
constexpr std::size_t file_bytes_max = 64 * 1024;  // one of Ed25519 has some 400
constexpr std::string_view white_space = " \t\r\n";

engine::error private_key_error(std::string_view what) {
  return make_error(fault::key, "the signing key " + std::string(what),
                    "make one with: ssh-keygen -t ed25519 -N '' -f FILE");
}

// The base64 between the two lines, without line ends, in memory that is wiped.
std::optional<engine::secret_string> body_of(std::string_view file) {
  const std::size_t begin = file.find_first_not_of(white_space);
  if (file.size() > file_bytes_max || begin == std::string_view::npos) {
    return std::nullopt;
  }
  file = file.substr(begin, file.find_last_not_of(white_space) - begin + 1);
  if (!file.starts_with(first_line) || !file.ends_with(last_line) ||
      file.size() < first_line.size() + last_line.size()) {
    return std::nullopt;
  }
  file.remove_prefix(first_line.size());
  file.remove_suffix(last_line.size());
  const auto is_line_end = [](char one) { return one == '\n' || one == '\r'; };
  const auto ends = std::count_if(file.begin(), file.end(), is_line_end);
  auto body = engine::secret_string::zeroes(file.size() - static_cast<std::size_t>(ends));
  std::size_t at = 0;
  for (const char one : file) {
    if (!is_line_end(one)) {
      body.writable()[at++] = static_cast<std::byte>(one);
    }
  }
  return body;
}

// Behind the last field come the bytes 1, 2, 3, ... up to a multiple of the cipher's block.
bool is_padding(std::span<const std::byte> rest) {
  for (std::size_t index = 0; index < rest.size(); ++index) {
    if (std::to_integer<std::size_t>(rest[index]) != index + 1) {
      return false;
    }
  }
  return rest.size() < 8;
}

struct private_section {
  std::span<const std::byte> point;  // 32 bytes
  std::span<const std::byte> both;   // 64: seed and point
};

std::optional<private_section> read_private_section(std::span<const std::byte> bytes) {
  ssh_reader from(bytes);
  const auto check_one = from.number();
  const auto check_two = from.number();
  const auto type = from.string();
  if (!check_one || check_one != check_two || !type || text_of(*type) != ed25519_type) {
    return std::nullopt;
  }
  const auto point = from.string();
  const auto both = from.string();
  const auto comment = from.string();
  if (!point || point->size() != point_bytes || !both || both->size() != 2 * point_bytes ||
      !comment || !is_padding(from.rest())) {
    return std::nullopt;
  }
  return private_section{*point, *both};
}

}  // namespace

std::optional<std::uint32_t> ssh_reader::number() {
  const auto four = raw(4);
  if (!four) {
    return std::nullopt;
  }
  std::uint32_t found = 0;
  for (const std::byte one : *four) {
    found = found << 8U | std::to_integer<std::uint32_t>(one);
  }
  return found;
}

std::optional<std::span<const std::byte>> ssh_reader::string() {
  const auto size = number();
  return size ? raw(*size) : std::nullopt;
}

std::optional<std::span<const std::byte>> ssh_reader::raw(std::size_t size) {
  if (size > _rest.size()) {
    return std::nullopt;
  }
  const auto found = _rest.first(size);
  _rest = _rest.subspan(size);
  return found;
}

void append_ssh_number(std::vector<std::byte>& to, std::uint32_t number) {
  for (unsigned shift = 32; shift > 0; shift -= 8) {
    to.push_back(static_cast<std::byte>(number >> (shift - 8) & 0xffU));
  }
}

void append_ssh_string(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  append_ssh_number(to, static_cast<std::uint32_t>(bytes.size()));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

engine::result<ssh_public_key> ssh_public_key::parse(std::string_view line) {
  const auto error = [&](std::string_view what) {
    return make_error(
        fault::key,
        "public key \"" + engine::printable(line.substr(0, 60)) + "\" " + std::string(what),
        "give one of Ed25519, as it stands in the .pub file of ssh-keygen -t ed25519");
  };
  const std::size_t space = line.find_first_of(" \t");
  if (line.substr(0, space) != ed25519_type) {
    return error("is not of type ssh-ed25519");
  }
  if (space == std::string_view::npos) {
    return error("has a type and nothing else");
  }
  std::string_view rest = line.substr(space);
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
  const auto blob = base64_decode(rest.substr(0, rest.find_first_of(" \t\r\n")), padding::filled);
  const auto found = blob ? from_blob(*blob) : std::nullopt;
  if (!found) {
    return error("is misspelt or cut");
  }
  return *found;
}

std::optional<ssh_public_key> ssh_public_key::from_blob(std::span<const std::byte> blob) {
  ssh_reader from(blob);
  const auto type = from.string();
  const auto its = from.string();
  if (!type || text_of(*type) != ed25519_type || !its || its->size() != point_bytes ||
      !from.rest().empty()) {
    return std::nullopt;
  }
  curve_point found{};
  std::copy(its->begin(), its->end(), found.begin());
  return ssh_public_key(found);
}

std::vector<std::byte> ssh_public_key::blob() const {
  std::vector<std::byte> made;
  append_ssh_string(made, bytes_of(ed25519_type));
  append_ssh_string(made, _point);
  return made;
}

std::string ssh_public_key::text() const {
  return std::string(ed25519_type) + " " + base64_encode(blob(), padding::filled);
}

engine::result<std::string> ssh_public_key::fingerprint() const {
  const auto hash = sha256(blob());
  if (!hash) {
    return hash.error();
  }
  return "SHA256:" + base64_encode(*hash, padding::none);
}

engine::result<ssh_private_key> ssh_private_key::parse(std::string_view file) {
  const auto body = body_of(file);
  const auto bytes = body ? base64_decode_secret(body->view(), padding::filled) : std::nullopt;
  if (!bytes || !bytes->view().starts_with(magic)) {
    return private_key_error("is not in the form that ssh-keygen writes");
  }
  ssh_reader from(bytes->bytes().subspan(magic.size()));
  const auto cipher = from.string();
  const auto kdf = from.string();
  const auto kdf_options = from.string();
  const auto keys = from.number();
  if (!cipher || !kdf || !kdf_options || !keys) {
    return private_key_error("is cut");
  }
  if (text_of(*cipher) != none || text_of(*kdf) != none) {
    return make_error(fault::key,
                      "the signing key is protected with a passphrase, which is not supported",
                      "nobody is there at night to type it; take the passphrase away with: "
                      "ssh-keygen -p -N '' -f FILE, and keep the file mode 0600");
  }
  const auto blob = from.string();
  const auto section = from.string();
  if (*keys != 1 || !blob || !section || !from.rest().empty()) {
    return private_key_error("is not one key");
  }
  const auto its = ssh_public_key::from_blob(*blob);
  if (!its) {
    return private_key_error("is not of type ssh-ed25519");
  }
  const auto read = read_private_section(*section);
  if (!read) {
    return private_key_error("is damaged");
  }
  secret_bytes<32> seed(read->both.first<32>());
  const auto derived = ed25519_point(seed.view());
  if (!derived) {
    return derived.error();
  }
  if (!same_bytes(*derived, its->public_point()) || !same_bytes(*derived, read->point) ||
      !same_bytes(*derived, read->both.last<32>())) {
    return private_key_error("is damaged: its public half is of another key");
  }
  return ssh_private_key(std::move(seed), *its);
}

}  // namespace bts3::age
