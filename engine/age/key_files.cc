#include "engine/age/key_files.hh"

#include "engine/age/armor.hh"
#include "engine/age/fault.hh"
#include "engine/age/header.hh"
#include "engine/assert.hh"
#include "engine/text_lines.hh"

#include <algorithm>
#include <functional>
#include <utility>

namespace bts3::age {

namespace {

// Calls `one` with each line that holds something, until it fails.
engine::result<std::size_t> for_each_line(
    std::string_view text, std::string_view what,
    const std::function<engine::result<void>(std::string_view)>& one) {
  std::size_t number = 0;
  std::size_t keys = 0;
  while (!text.empty()) {
    const std::string_view line = engine::next_line(text);
    ++number;
    if (line.empty() || line.starts_with('#')) {
      continue;
    }
    if (++keys > keys_in_a_file_max) {
      return make_error(fault::key, "there are more than " + std::to_string(keys_in_a_file_max) +
                                        " " + std::string(what));
    }
    auto done = one(line);
    if (!done) {
      return std::move(done.error()).within("line " + std::to_string(number));
    }
  }
  return keys;
}

}  // namespace

engine::result<std::vector<x25519_identity>> parse_identities(std::string_view text) {
  std::vector<x25519_identity> found;
  const auto keys =
      for_each_line(text, "identities", [&](std::string_view line) -> engine::result<void> {
        auto one = x25519_identity::parse(line);
        if (!one) {
          return std::move(one.error());
        }
        found.push_back(std::move(*one));
        return engine::ok();
      });
  if (!keys) {
    return keys.error();
  }
  if (found.empty()) {
    return make_error(fault::key, "there is no identity in the file",
                      "give a file with a line AGE-SECRET-KEY-1..., as age-keygen writes it");
  }
  return found;
}

bool is_sealed(std::string_view file) {
  return is_armored(file) || file.starts_with(version_line);
}

engine::result<std::vector<x25519_identity>> open_identities(std::string_view file,
                                                             std::string_view passphrase) {
  const auto text = open_file_with_passphrase(bytes_of(file), passphrase);
  if (!text) {
    return text.error();
  }
  return parse_identities(text->view());
}

engine::result<std::vector<x25519_recipient>> parse_recipients(std::string_view text) {
  std::vector<x25519_recipient> found;
  const auto keys =
      for_each_line(text, "recipients", [&](std::string_view line) -> engine::result<void> {
        auto one = x25519_recipient::parse(line);
        if (!one) {
          return std::move(one.error());
        }
        if (std::find(found.begin(), found.end(), *one) == found.end()) {
          found.push_back(*one);
        }
        return engine::ok();
      });
  if (!keys) {
    return keys.error();
  }
  if (found.empty()) {
    return make_error(fault::key, "there is no recipient in the file",
                      "give a file with a line age1..., as age-keygen prints it");
  }
  return found;
}

engine::secret_string identity_file(const x25519_identity& one,
                                    std::span<const std::string> comments) {
  std::string before;
  for (const std::string& comment : comments) {
    BTS3_ASSERT(comment.find_first_of("\r\n") == std::string::npos);
    before += "# " + comment + "\n";
  }
  before += "# public key: " + one.recipient().text() + "\n";
  const engine::secret_string key = one.text();
  return engine::secret_string(engine::secret_string(before, key.view()).view(), "\n");
}

}  // namespace bts3::age
