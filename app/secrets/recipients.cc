#include "app/secrets/recipients.hh"

#include "app/secrets/key_file.hh"
#include "engine/age/base64.hh"
#include "engine/age/key_files.hh"
#include "engine/age/primitives.hh"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace bts3::app {

namespace {

using age::x25519_recipient;
using engine::result;

void add(std::vector<x25519_recipient>& to, const x25519_recipient& one) {
  if (std::find(to.begin(), to.end(), one) == to.end()) {
    to.push_back(one);
  }
}

}  // namespace

result<std::vector<x25519_recipient>> read_recipients(const std::vector<std::string>& listed,
                                                      std::string_view name,
                                                      const std::string& file) {
  std::vector<x25519_recipient> found;
  for (std::size_t index = 0; index < listed.size(); ++index) {
    auto one = x25519_recipient::parse(listed[index]);
    if (!one) {
      return std::move(one.error())
          .within(std::string(name) + "[" + std::to_string(index + 1) + "]");
    }
    add(found, *one);
  }
  if (!file.empty()) {
    const auto text = read_trusted_file(file);
    if (!text) {
      return text.error();
    }
    auto its = age::parse_recipients(text->view());
    if (!its) {
      return std::move(its.error()).within(file);
    }
    for (const x25519_recipient& one : *its) {
      add(found, one);
    }
  }
  if (found.size() > age::recipients_max) {
    return engine::configuration_error(
        "there are more than " + std::to_string(age::recipients_max) + " recipients",
        "name the few who may read the backups");
  }
  return found;
}

result<std::string> fingerprint_of(const x25519_recipient& one) {
  const auto hash = age::sha256(age::bytes_of(one.text()));
  if (!hash) {
    return hash.error();
  }
  return "SHA256:" + age::base64_encode(*hash, age::padding::none);
}

result<std::vector<std::string>> fingerprints_of(std::vector<x25519_recipient> all) {
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a.text() < b.text(); });
  std::vector<std::string> made;
  for (const x25519_recipient& one : all) {
    auto fingerprint = fingerprint_of(one);
    if (!fingerprint) {
      return std::move(fingerprint.error());
    }
    made.push_back(std::move(*fingerprint));
  }
  return made;
}

}  // namespace bts3::app
