#include "app/store/manifest_signature.hh"

#include "engine/age/hex.hh"
#include "engine/age/primitives.hh"
#include "engine/age/ssh_signature.hh"
#include "engine/told_command.hh"
#include "planner/keys.hh"

#include <cstddef>
#include <span>

namespace bts3::app {

namespace {

using age::bytes_of;
using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

error not_trusted(const std::string& key, const signature_finding& found) {
  error failure;
  failure.why = reason::integrity;
  failure.message = "manifest " + key + " is not believed: " + found.problem;
  if (!found.fingerprint.empty()) {
    failure.message += " (" + found.fingerprint + ")";
  }
  failure.remedy =
      found.is == signature_finding::what::other
          ? "if that key is yours, add it to the trusted signers; else take another backup: `" +
                engine::told_command("list") + "` shows who signed which"
          : "take a backup whose whole chain is signed: `" + engine::told_command("list") +
                "` shows who signed which";
  return failure;
}

error not_of_chain(const std::string& key, std::string what) {
  error failure;
  failure.why = reason::integrity;
  failure.message = "manifest " + key + " is not believed: " + std::move(what);
  failure.remedy = "take another backup: `" + engine::told_command("list") +
                   "` shows which there "
                   "are; `" +
                   engine::told_command("backup --full") + "` begins a new chain";
  return failure;
}

// Whether a signed manifest lies where it was published: whoever may write to the bucket may put
// one that is sound in another's place.
bool lies_in_place(const std::string& key, const planner::manifest& value) {
  const auto when = planner::time_in_key(key);
  const std::string folder = "/" + std::string(planner::to_string(value.kind)) + "/manifest-";
  return when && *when == value.created_at && key.find(folder) != std::string::npos;
}

}  // namespace

result<std::string> digest_of(const std::string& text) {
  const auto hash = age::sha256(bytes_of(text));
  if (!hash) {
    return hash.error();
  }
  return age::hex_of(*hash);
}

manifest_signer::manifest_signer(age::ssh_private_key key, std::vector<age::allowed_signer> trusted)
    : _key(std::move(key)), _accepted(std::move(trusted)) {
  _accepted.push_back({"", _key.public_key(), "", std::nullopt, std::nullopt});
}

result<std::string> manifest_signer::sign(std::string_view manifest) const {
  return age::sign_message(_key, age::bytes_of(manifest), age::signature_namespace);
}

result<std::unique_ptr<manifest_signer>> signer_of(const config& settings) {
  if (settings.encryption.signing_key_file.empty()) {
    return std::unique_ptr<manifest_signer>();
  }
  auto key = read_signing_key(settings.encryption.signing_key_file);
  if (!key) {
    return std::move(key.error()).within("encryption.signing_key_file");
  }
  std::vector<age::allowed_signer> trusted;
  if (!settings.restore.trusted_signers_file.empty()) {
    auto read = read_trusted_signers(settings.restore.trusted_signers_file);
    if (!read) {
      return std::move(read.error()).within("restore.trusted_signers_file");
    }
    trusted = std::move(*read);
  }
  return std::make_unique<manifest_signer>(std::move(*key), std::move(trusted));
}

task<result<std::optional<std::string>>> read_signature(s3::object_store& store, std::string key,
                                                        engine::stop_token stop) {
  auto getting = store.get_object_text(s3::object_key(planner::signature_of(key)),
                                       age::signature_bytes_max, stop);
  auto object = co_await std::move(getting);
  if (object) {
    co_return std::optional<std::string>(std::move(object->body));
  }
  if (object.error().what_now == disposition::not_found) {
    co_return std::optional<std::string>();
  }
  if (object.error().why == reason::protocol && object.error().what_now == disposition::fail) {
    co_return std::optional<std::string>(std::string());
  }
  co_return std::move(object.error()).within("signature " + planner::signature_of(key));
}

task<result<signed_manifest>> read_signed(s3::object_store& store, std::string key,
                                          manifest_bound bound, engine::stop_token stop) {
  signed_manifest made;
  auto getting = store.get_object_text(s3::object_key(key), bound.bytes_max, stop);
  auto object = co_await std::move(getting);
  if (!object) {
    co_return std::move(object.error());
  }
  made.text = std::move(object->body);
  auto value = planner::parse_manifest(made.text);
  if (!value) {
    co_return document_failure("manifest " + key, value.error().text());
  }
  made.value = std::move(*value);
  auto reading = read_signature(store, std::move(key), stop);
  auto signature = co_await std::move(reading);
  if (!signature) {
    co_return std::move(signature.error());
  }
  made.signature = std::move(*signature);
  co_return made;
}

task<result<void>> put_signature(const services& with, const manifest_signer& signer,
                                 s3::object_store& store, std::string key, std::string manifest) {
  const auto text = signer.sign(manifest);
  if (!text) {
    co_return text.error();
  }
  s3::put_request request(s3::object_key(planner::signature_of(key)), bytes_of(*text));
  request.options = document_options(with);
  auto putting = store.put_object(std::move(request), with.stop);
  auto put = co_await std::move(putting);
  if (!put) {
    co_return std::move(put.error()).within("writing signature " + planner::signature_of(key));
  }
  co_return engine::ok();
}

task<result<std::optional<std::string>>> digest_of_signed(const services& with,
                                                          const manifest_signer& signer,
                                                          s3::object_store& store,
                                                          std::vector<std::string> places) {
  error last;
  for (std::size_t i = 0; i < places.size(); ++i) {
    auto reading = read_signed(store, places[i], manifest_bound::of_host(with.settings), with.stop);
    const auto found = co_await std::move(reading);
    if (!found) {
      last = found.error();
      if (is_absent(last, i > 0)) {
        continue;
      }
      co_return last;
    }
    const signature_finding judged = judge_signature(
        found->text, found->signature, signer.accepted(), found->value.created_at.when());
    if (judged.is != signature_finding::what::trusted) {
      with.log.write(log_level::warning, "backup", "parent_not_signed",
                     {{"manifest", places[i]},
                      {"reason", judged.problem},
                      {"consequence", "nobody who asks for signatures will take this chain"},
                      {"remedy", "`" + engine::told_command("backup --full") +
                                     "` begins one that is signed from its beginning"}});
      co_return std::optional<std::string>();
    }
    auto digest = digest_of(found->text);
    if (!digest) {
      co_return std::move(digest.error());
    }
    co_return std::optional<std::string>(std::move(*digest));
  }
  co_return last;
}

task<result<std::vector<chain_link>>> trusted_chain(const services& with, s3::object_store& store,
                                                    std::vector<chain_link> chain,
                                                    std::vector<age::allowed_signer> signers) {
  std::vector<chain_link> believed;
  std::string before;  // digest of the link before
  for (const chain_link& link : chain) {
    auto reading = read_signed(store, link.key, manifest_bound::of_host(with.settings), with.stop);
    auto found = co_await std::move(reading);
    if (!found) {
      co_return std::move(found.error());
    }
    const signature_finding judged =
        judge_signature(found->text, found->signature, signers, found->value.created_at.when());
    if (judged.is != signature_finding::what::trusted) {
      co_return not_trusted(link.key, judged);
    }
    if (found->value.subvolume != link.value.subvolume || !lies_in_place(link.key, found->value)) {
      co_return not_of_chain(link.key, "it was made for another place, and put there");
    }
    const bool first = believed.empty();
    if (first != (found->value.kind == planner::backup_kind::full)) {
      co_return not_of_chain(link.key, "it was another one when it was first read");
    }
    if (!first && !found->value.parent_manifest_sha256) {
      co_return not_of_chain(link.key, "it does not say what its parent is: that was not signed");
    }
    if (!first && *found->value.parent_manifest_sha256 != before) {
      co_return not_of_chain(
          link.key, "its parent " + believed.back().key + " is not the one that it was made on");
    }
    auto digest = digest_of(found->text);
    if (!digest) {
      co_return std::move(digest.error());
    }
    before = std::move(*digest);
    chain_link one;
    one.key = link.key;
    one.value = std::move(found->value);
    believed.push_back(std::move(one));
  }
  co_return believed;
}

}  // namespace bts3::app
