// For whom the backups of a run are sealed, and the key of each.
//
// The private half of a backup's key exists here for a moment: it is sealed for the recipients in
// the keys object, and wiped. What the journal keeps, and what a resumed run goes on with, can seal
// and open nothing.
#pragma once

#include "app/config/config.hh"
#include "app/records/journal_record.hh"
#include "engine/age/part_seals.hh"
#include "engine/age/random.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"

#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

class backup_sealing {
 public:
  // Not sealed.
  backup_sealing() = default;
  // For whom the configuration says. Blocks.
  [[nodiscard]] static engine::result<backup_sealing> of(const config& settings);
  // For each of `to`, at least one; at most as many as a manifest has (reason configuration).
  // `random` is called on threads of hash workers, too.
  [[nodiscard]] static engine::result<backup_sealing> for_recipients(
      std::vector<age::x25519_recipient> to, age::random_source random);

  [[nodiscard]] bool wanted() const { return !_to.empty(); }
  // Fingerprints of the recipients, in the order of their texts; none where it is not wanted.
  [[nodiscard]] const std::vector<std::string>& fingerprints() const { return _fingerprints; }
  // A fresh key for a backup that begins, whose keys object belongs at `keys_key`.
  [[nodiscard]] engine::result<sealing_intent> begin(std::string keys_key) const;

 private:
  std::vector<age::x25519_recipient> _to;
  std::vector<std::string> _fingerprints;
  age::random_source _random;
};

// What seals the parts of that backup; nullopt where it is not sealed.
[[nodiscard]] std::optional<age::part_seals> seals_of(const backup_intent& intent);

// Fails where backups have to be sealed, and this one would not be. Asked before anything of it is
// sent, and again before it is published.
[[nodiscard]] engine::result<void> check_sealed(const backup_sealing& wanted,
                                                const backup_intent& intent);

}  // namespace bts3::app
