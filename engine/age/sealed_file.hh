// Whole small age files in memory: keys of a backup, the manifest's sealed member, identity files.
#pragma once

#include "engine/age/header.hh"
#include "engine/age/random.hh"
#include "engine/age/stream.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"
#include "engine/secret_string.hh"

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace bts3::age {

// What is small: the largest payload of a file that is sealed or opened here.
inline constexpr std::size_t small_plain_bytes_max = 4 * 1024 * 1024;
// More would not fit into a header that is read (header_bytes_max).
inline constexpr std::size_t recipients_max = 500;

// Binary, for each of `to`, of which there is at least one, under a file key that is made and
// forgotten here. `beside`: stanzas of other types, which come last.
[[nodiscard]] engine::result<std::vector<std::byte>> seal_file(
    std::span<const std::byte> plain, std::span<const x25519_recipient> to,
    const random_source& random, const std::vector<stanza>& beside = {});
[[nodiscard]] engine::result<std::vector<std::byte>> seal_file_with_passphrase(
    std::span<const std::byte> plain, std::string_view passphrase, const random_source& random,
    unsigned log_work);

// All of the plain text, or none. `file` is binary or armored. Each stanza is tried with each
// identity; stanzas of types that are not known are passed over.
[[nodiscard]] engine::result<engine::secret_string> open_file(
    std::span<const std::byte> file, std::span<const x25519_identity> with);
[[nodiscard]] engine::result<engine::secret_string> open_file_with_passphrase(
    std::span<const std::byte> file, std::string_view passphrase);

// The file key of a binary file by its header, whose MAC is checked: what the two above begin with.
struct opened_header {
  header read;
  file_key key;
};
[[nodiscard]] engine::result<opened_header> open_header(std::span<const std::byte> file,
                                                        std::span<const x25519_identity> with);
[[nodiscard]] engine::result<opened_header> open_header_with_passphrase(
    std::span<const std::byte> file, std::string_view passphrase);

// Whether a file, binary or armored, is sealed with a passphrase; for whoever has to ask for one.
[[nodiscard]] engine::result<bool> wants_passphrase(std::span<const std::byte> file);

// The nonce behind the header; fault::header where the file ends before its end.
[[nodiscard]] engine::result<payload_nonce> read_payload_nonce(std::span<const std::byte> file,
                                                               const header& read);

}  // namespace bts3::age
