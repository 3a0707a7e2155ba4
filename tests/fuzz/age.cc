// Sealed files, binary and armored, identities and recipients, headers, base64 and bech32: what is
// read is the one text of what it says.
#include "engine/age/armor.hh"
#include "engine/age/base64.hh"
#include "engine/age/bech32.hh"
#include "engine/age/header.hh"
#include "engine/age/key_files.hh"
#include "engine/age/part_stanza.hh"
#include "engine/age/sealed_file.hh"
#include "tests/fuzz/input.hh"

using namespace bts3;
using namespace bts3::age;

namespace {

// The one that the corpus is sealed for.
std::span<const x25519_identity> identities() {
  static const auto some = parse_identities(
      "AGE-SECRET-KEY-1AS8YWJZJDM7K5SJRK2WFYMKL97C88J9QVNH7GTD7Y3JDC9SZY9PQXA8CYF\n");
  return some ? std::span<const x25519_identity>(*some) : std::span<const x25519_identity>();
}

void texts(std::string_view text) {
  for (const auto how : {padding::none, padding::filled}) {
    if (const auto read = base64_decode(text, how)) {
      BTS3_ASSERT(base64_encode(*read, how) == text);
    }
  }
  if (const auto read = bech32_decode(text)) {
    const auto written = bech32_encode(read->prefix, read->data.bytes());
    BTS3_ASSERT(written.view() == text);
  }
}

void headers(std::span<const std::byte> bytes) {
  const auto read = read_header(bytes);
  if (!read) {
    return;
  }
  BTS3_ASSERT(read->covered < read->bytes && read->bytes <= bytes.size());
  std::string written(version_line);
  for (const auto& one : read->stanzas) {
    written += one.text();
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  BTS3_ASSERT(text.starts_with(written));
  (void)find_part_stanza(*read);
}

}  // namespace

FUZZ(one) {
  texts(one.text());
  headers(one.bytes());
  bool valid = false;
  if (is_armored(one.text())) {
    const auto binary = unarmor(one.text());
    valid = static_cast<bool>(binary);
    if (binary) {
      headers(*binary);
      BTS3_ASSERT(unarmor(armor(*binary)).value() == *binary);
    }
  }
  // A passphrase's work is what its header asks for, which is bounded and slow: only the header.
  if (!wants_passphrase(one.bytes()).value_or(true)) {
    valid = open_file(one.bytes(), identities()).has_value() || valid;
  }
  valid = parse_identities(one.text()).has_value() || valid;
  if (const auto to = parse_recipients(one.text())) {
    valid = true;
    BTS3_ASSERT(!to->empty());
  }
  if (valid) {
    one.accepted();
  }
}
