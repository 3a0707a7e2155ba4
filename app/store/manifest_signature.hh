// Detached signatures beside manifests: "{manifest's key}.sig", in the form of ssh-keygen -Y sign,
// over the manifest's exact bytes. Made when a backup is published, before the pointer moves;
// checked before a chain is believed, where there are signers that are trusted.
#pragma once

#include "app/secrets/signing.hh"
#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "engine/age/allowed_signers.hh"
#include "engine/age/ssh_key.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::app {

// Who signs what this host publishes, and whose manifests it builds upon: its own and those of
// signers that are trusted besides, as after a change of keys.
class manifest_signer {
 public:
  manifest_signer(age::ssh_private_key key, std::vector<age::allowed_signer> trusted);

  [[nodiscard]] engine::result<std::string> sign(std::string_view manifest) const;
  // Itself last.
  [[nodiscard]] const std::vector<age::allowed_signer>& accepted() const { return _accepted; }

 private:
  age::ssh_private_key _key;
  std::vector<age::allowed_signer> _accepted;
};

// By the configuration's encryption.signing_key_file and restore.trusted_signers_file; null where
// nothing is signed.
[[nodiscard]] engine::result<std::unique_ptr<manifest_signer>> signer_of(const config& settings);

// The text of the one beside the manifest at `key`; nullopt where there is none. What is larger
// than one can be is an empty text.
[[nodiscard]] engine::task<engine::result<std::optional<std::string>>> read_signature(
    s3::object_store& store, std::string key, engine::stop_token stop);

// SHA-256 of a manifest's bytes, as 64 lower-case hexadecimal digits.
[[nodiscard]] engine::result<std::string> digest_of(const std::string& manifest);

// A manifest as it lies in the bucket, and the signature beside it.
struct signed_manifest {
  std::string text;
  std::optional<std::string> signature;
  planner::manifest value;
};
[[nodiscard]] engine::task<engine::result<signed_manifest>> read_signed(s3::object_store& store,
                                                                        std::string key,
                                                                        manifest_bound bound,
                                                                        engine::stop_token stop);

// Signs `manifest`, the bytes at `key`. References must outlive the task.
[[nodiscard]] engine::task<engine::result<void>> put_signature(const services& with,
                                                               const manifest_signer& signer,
                                                               s3::object_store& store,
                                                               std::string key,
                                                               std::string manifest);

// SHA-256 of the manifest at the first of `places` where one is, as 64 digits; nullopt, with an
// event, where that is signed by nobody whom `signer` accepts: then nothing can be said for it.
[[nodiscard]] engine::task<engine::result<std::optional<std::string>>> digest_of_signed(
    const services& with, const manifest_signer& signer, s3::object_store& store,
    std::vector<std::string> places);

// `chain`, read once more as signed bytes, and made of those: each link lies where it belongs, is
// signed by one of `signers` and names the digest of the one before. Reason integrity else; the
// error names the link, the key that signed it, and the remedy. `store` must outlive it.
[[nodiscard]] engine::task<engine::result<std::vector<chain_link>>> trusted_chain(
    const services& with, s3::object_store& store, std::vector<chain_link> chain,
    std::vector<age::allowed_signer> signers);

}  // namespace bts3::app
