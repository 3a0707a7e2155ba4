#include "app/upload/sealing.hh"

#include "app/secrets/recipients.hh"
#include "engine/age/backup_keys.hh"
#include "planner/manifest.hh"

#include <utility>

namespace bts3::app {

using engine::result;

result<backup_sealing> backup_sealing::of(const config& settings) {
  if (!settings.encryption.seals()) {
    return backup_sealing();
  }
  auto recipients = read_recipients(settings.encryption.recipients, "encryption.recipients",
                                    settings.encryption.recipients_file);
  if (!recipients) {
    return std::move(recipients.error());
  }
  if (recipients->empty()) {
    return engine::configuration_error("[encryption] names no recipient", "name one");
  }
  return for_recipients(std::move(*recipients), age::system_random());
}

result<backup_sealing> backup_sealing::for_recipients(std::vector<age::x25519_recipient> to,
                                                      age::random_source random) {
  if (to.size() > planner::sealed_recipients_max) {
    return engine::configuration_error(
        "there are " + std::to_string(to.size()) + " recipients, and backups are sealed for " +
            std::to_string(planner::sealed_recipients_max) + " at most",
        "name fewer in [encryption]");
  }
  auto fingerprints = fingerprints_of(to);
  if (!fingerprints) {
    return std::move(fingerprints.error());
  }
  backup_sealing made;
  made._to = std::move(to);
  made._random = std::move(random);
  made._fingerprints = std::move(*fingerprints);
  return made;
}

result<sealing_intent> backup_sealing::begin(std::string keys_key) const {
  auto keys = age::make_backup_keys(_to, _random);
  if (!keys) {
    return std::move(keys.error()).within("making a key for the backup");
  }
  return sealing_intent(keys->id, keys->recipient, std::move(keys_key),
                        std::move(keys->keys_object), _fingerprints);
}

std::optional<age::part_seals> seals_of(const backup_intent& intent) {
  if (!intent.sealing) {
    return std::nullopt;
  }
  const age::random_source random = age::system_random();
  return age::part_seals(
      age::part_sealer(intent.sealing->recipient, intent.sealing->backup, random), random, true);
}

result<void> check_sealed(const backup_sealing& wanted, const backup_intent& intent) {
  if (!wanted.wanted() || intent.local_only || intent.sealing) {
    return engine::ok();
  }
  engine::error failure;
  failure.message = "the backup of " + intent.subvolume +
                    " would not be sealed, although [encryption] has recipients: nothing was sent";
  failure.remedy = "run the backup again; if this stays, it is a defect of this program";
  return failure;
}

}  // namespace bts3::app
