#include "app/doctor/doctor_keys.hh"

#include "app/secrets/recipients.hh"
#include "app/secrets/signing.hh"
#include "app/store/manifest_signature.hh"
#include "engine/plain_text.hh"

#include <algorithm>

namespace bts3::app {

namespace {

engine::result<std::vector<age::x25519_recipient>> recipients_of(const config& settings) {
  return read_recipients(settings.encryption.recipients, "encryption.recipients",
                         settings.encryption.recipients_file);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : ", ") + word;
  }
  return text;
}

health_check check_recipients(const config& settings) {
  constexpr const char* correct =
      "correct encryption.recipients or encryption.recipients_file, or leave both empty";
  const auto recipients = recipients_of(settings);
  if (!recipients) {
    return failed_check("recipients", "", recipients.error(), correct);
  }
  if (recipients->size() > planner::sealed_recipients_max) {
    return failed_check("recipients", "",
                        "there are " + std::to_string(recipients->size()) +
                            " recipients, and backups are sealed for " +
                            std::to_string(planner::sealed_recipients_max) + " at most",
                        correct);
  }
  const auto names = fingerprints_of(*recipients);
  if (!names) {
    return failed_check("recipients", "", names.error(), correct);
  }
  if (names->size() == 1) {
    return warned("recipients", "",
                  "backups are sealed for one recipient, " + names->front() +
                      ": where its identity is lost, so are they",
                  "make a second identity, keep it in another place, and add its recipient; `keys "
                  "rewrap` gives it the backups that are there");
  }
  return ok_check("recipients", "", joined(*names));
}

// The key that signs, and whether a restore here would believe it.
void check_signing_key(const config& settings, std::vector<health_check>& into) {
  const auto signer = signer_of(settings);
  if (!signer) {
    into.push_back(failed_check("signing_key", "", signer.error(),
                                "correct encryption.signing_key_file, or leave it empty"));
    return;
  }
  const std::vector<age::allowed_signer>& accepted = (*signer)->accepted();
  const age::ssh_public_key& ours = accepted.back().key;
  const auto fingerprint = ours.fingerprint();
  const std::string key = fingerprint ? *fingerprint : fingerprint.error().message;
  const auto trusted =
      std::count_if(accepted.begin(), accepted.end(),
                    [&](const age::allowed_signer& one) { return one.key == ours; });
  if (!settings.restore.trusted_signers_file.empty() && trusted == 1) {
    into.push_back(warned("signing_key", "",
                          key + " is not among those of restore.trusted_signers_file, and a "
                                "restore would refuse what this host signs",
                          "add the public key to that file"));
    return;
  }
  into.push_back(ok_check("signing_key", "", key));
}

void check_trusted_signers(const config& settings, std::vector<health_check>& into) {
  const auto signers = read_trusted_signers(settings.restore.trusted_signers_file);
  into.push_back(signers ? ok_check("trusted_signers", "", engine::counted(signers->size(), "key"))
                         : failed_check("trusted_signers", "", signers.error(),
                                        "correct restore.trusted_signers_file, or leave it empty"));
}

}  // namespace

std::vector<health_check> check_keys_of(const config& settings) {
  std::vector<health_check> made;
  if (settings.encryption.seals()) {
    made.push_back(check_recipients(settings));
  }
  if (!settings.encryption.signing_key_file.empty()) {
    check_signing_key(settings, made);
  }
  if (!settings.restore.trusted_signers_file.empty()) {
    check_trusted_signers(settings, made);
  }
  return made;
}

std::vector<std::string> wanted_recipients(const config& settings) {
  const auto recipients = recipients_of(settings);
  auto names = recipients ? fingerprints_of(*recipients)
                          : engine::result<std::vector<std::string>>(recipients.error());
  return names ? std::move(*names) : std::vector<std::string>();
}

std::optional<health_check> judge_sealing(const std::string& name,
                                          const std::vector<std::string>& wanted,
                                          const std::optional<std::vector<std::string>>& last) {
  constexpr const char* check = "sealing";
  if (wanted.empty() && !last) {
    return std::nullopt;
  }
  if (!last) {
    return noted(check, name,
                 "the last backup is not sealed: the next one is, and what it rests on is not");
  }
  if (wanted.empty()) {
    return warned(check, name,
                  "the last backup is sealed for " + joined(*last) + ", and the next will not be",
                  "name its recipients in encryption.recipients again, unless that is meant");
  }
  std::vector<std::string> now = wanted;
  std::vector<std::string> then = *last;
  std::sort(now.begin(), now.end());
  std::sort(then.begin(), then.end());
  if (now != then) {
    return warned(
        check, name,
        "the last backup is sealed for " + joined(then) +
            ", and the next will be for the configured recipients",
        "`keys rewrap --identity FORMER` seals the keys of the backups that are there for "
        "these as well; until then a restore takes identities of both");
  }
  return ok_check(check, name, "the last backup is sealed for the configured recipients");
}

}  // namespace bts3::app
