// The sealed backups of a bucket, and what becomes of each one's keys object: opened, or sealed
// anew for others. Nothing here prints.
#pragma once

#include "app/store/keys_object.hh"
#include "app/store/services.hh"
#include "engine/age/backup_keys.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/manifest.hh"
#include "planner/timestamp.hh"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::app {

enum class keys_outcome {
  not_reached,    // the command ended before
  opens,          // one of the identities opens it
  closed,         // it is sealed for others
  archived,       // its keys object cannot be read until it is thawed
  missing,        // there is no keys object: nobody opens it
  unusable,       // the keys object is damaged or exchanged, or must not be read
  already,        // sealed for just the wanted recipients
  rewritten,      // is now
  would_rewrite,  // would be
  refused,        // the store did not take it, or somebody else has changed it; all is as before
};

struct outcome_words {
  std::string_view name;   // in documents and in the log: "would_rewrite"
  std::string_view words;  // for people: "would be rewritten"
};
[[nodiscard]] outcome_words words_of(keys_outcome one);

struct sealed_backup {
  std::string subvolume;
  std::string manifest_key;
  planner::backup_kind kind = planner::backup_kind::full;
  planner::timestamp when;
  planner::encryption_record sealed;
  std::string storage_class;  // of the keys object, as it is listed; empty: it is not
  keys_outcome is = keys_outcome::not_reached;
  std::vector<std::string> recipients;  // that it is sealed for, by their fingerprints, now
  std::string problem;                  // with its remedy; empty: none
};

struct unread_manifest {
  std::string subvolume;
  std::string key;
  std::string problem;
};

struct sealed_backups {
  std::vector<sealed_backup> all;  // by subvolume and time
  std::size_t plain = 0;           // backups that are not sealed
  std::vector<unread_manifest> unread;

  [[nodiscard]] std::size_t count(keys_outcome one) const;
};

// Those of `subvolume`, or of all. Errors: of listing, of a store that does not answer; and that
// there is no backup at all.
engine::task<engine::result<sealed_backups>> find_sealed_backups(const services& with,
                                                                 s3::object_store& store,
                                                                 std::string subvolume);

// Reads each keys object and tries the identities. An error: the store does not answer.
engine::task<engine::result<void>> check_keys(const services& with, s3::object_store& store,
                                              std::span<const age::x25519_identity> identities,
                                              sealed_backups& into);

struct rewrap_wish {
  std::vector<age::named_recipient> to;  // each once
  bool dry_run = false;
};

// Seals for `wish.to` what one of the identities opens; what is sealed for just these stays as it
// is, so that this can be repeated. Nothing is deleted, and each object is replaced in one request:
// it is the old or the new one, whenever this ends. An error: the store does not answer.
engine::task<engine::result<void>> rewrap_keys(const services& with, store_connection& connection,
                                               std::span<const age::x25519_identity> identities,
                                               const rewrap_wish& wish, sealed_backups& into);

}  // namespace bts3::app
