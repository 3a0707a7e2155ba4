#include "app/keys/sealed_backups.hh"

#include "app/store/manifest_turns.hh"
#include "app/store/stored_subvolumes.hh"
#include "app/survey/inventory.hh"
#include "engine/age/fault.hh"
#include "engine/age/random.hh"
#include "engine/for_each_at_most.hh"
#include "planner/keys.hh"
#include "planner/plan.hh"

#include <algorithm>
#include <optional>
#include <tuple>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;
using engine::task;

constexpr std::size_t at_once_max = 8;  // small objects, each with a request or two

// What `one` has in the listing as its keys object.
std::string class_of_keys(const subvolume_inventory& all, const std::string& manifest_key,
                          const planner::encryption_record& sealed) {
  const auto found =
      all.objects.find(planner::place_in(all.objects, manifest_key, sealed.keys_key));
  return found == all.objects.end() ? std::string() : found->second.storage_class;
}

void take(sealed_backups& into, const subvolume_inventory& all, const std::string& key,
          const manifest_finding& found) {
  if (!found.value || found.state != manifest_state::readable) {
    into.unread.push_back({all.name, key, found.problem});
    return;
  }
  if (!found.value->encryption) {
    ++into.plain;
    return;
  }
  sealed_backup made;
  made.subvolume = all.name;
  made.manifest_key = key;
  made.kind = found.value->kind;
  made.when = planner::time_of(*found.value, key);
  made.sealed = *found.value->encryption;
  made.storage_class = class_of_keys(all, key, made.sealed);
  into.all.push_back(std::move(made));
}

// Of what is wrong with one object alone; nullopt: it fails the command.
std::optional<keys_outcome> outcome_of(const error& failure) {
  if (failure.why == reason::not_thawed) {
    return keys_outcome::archived;
  }
  if (failure.what_now == engine::disposition::not_found) {
    return keys_outcome::missing;
  }
  if (age::fault_of(failure) == age::fault::no_match) {
    return keys_outcome::closed;
  }
  const bool of_this_object = failure.why == reason::integrity || age::fault_of(failure) ||
                              failure.why == reason::access || failure.why == reason::protocol;
  return of_this_object ? std::optional(keys_outcome::unusable) : std::nullopt;
}

// Errors that are the object's own are noted; true: it was.
bool note(sealed_backup& one, const error& failure) {
  const auto is = outcome_of(failure);
  if (is) {
    one.is = *is;
    one.problem = *is == keys_outcome::closed ? std::string() : failure.text();
  }
  return is.has_value();
}

// Reads it, and says for whom it is; nullopt: that it cannot be read is noted.
task<result<std::optional<stored_keys>>> read_one(const services& with, s3::object_store& store,
                                                  sealed_backup& one) {
  auto reading = read_keys_object(store, one.manifest_key, one.sealed, with.stop);
  auto object = co_await std::move(reading);
  if (!object) {
    if (!note(one, object.error())) {
      co_return std::move(object.error());
    }
    co_return std::optional<stored_keys>();
  }
  auto recipients = recipients_of(*object, one.sealed);
  if (!recipients) {
    note(one, recipients.error());
    co_return std::optional<stored_keys>();
  }
  one.recipients = std::move(*recipients);
  std::optional<stored_keys> found = std::move(*object);
  co_return found;
}

// Whether one of the identities opens it, and it is this backup's; noted.
bool try_open(const stored_keys& object, std::span<const age::x25519_identity> identities,
              sealed_backup& one) {
  const auto key = open_keys_object(object, one.manifest_key, one.sealed, identities);
  if (!key) {
    note(one, key.error());
    return false;
  }
  const auto proven = check_backup_identity(*key, object, one.sealed);
  if (!proven) {
    note(one, proven.error());
    return false;
  }
  one.is = keys_outcome::opens;
  return true;
}

task<result<void>> check_one(const services& with, s3::object_store& store,
                             std::span<const age::x25519_identity> identities, sealed_backup& one) {
  auto reading = read_one(with, store, one);
  const auto object = co_await std::move(reading);
  if (!object) {
    co_return object.error();
  }
  if (*object) {
    try_open(**object, identities, one);
  }
  co_return engine::ok();
}

std::vector<std::string> names_of(const rewrap_wish& wish) {
  std::vector<std::string> names;
  for (const age::named_recipient& one : wish.to) {
    names.push_back(one.fingerprint);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool is_for(std::vector<std::string> recipients, const rewrap_wish& wish) {
  std::sort(recipients.begin(), recipients.end());
  return recipients == names_of(wish);
}

// The class that it has; a listing that says nothing means STANDARD, which needs no word.
s3::storage_class class_to_keep(const sealed_backup& one) {
  return s3::storage_class(one.storage_class == "STANDARD" ? std::string() : one.storage_class);
}

task<result<void>> rewrap_one(const services& with, store_connection& connection,
                              std::span<const age::x25519_identity> identities,
                              const rewrap_wish& wish, sealed_backup& one) {
  auto reading = read_one(with, connection.store(), one);
  const auto object = co_await std::move(reading);
  if (!object) {
    co_return object.error();
  }
  if (!*object) {
    co_return engine::ok();
  }
  const bool wanted_already = is_for(one.recipients, wish);
  const bool opened = try_open(**object, identities, one);
  if (wanted_already && (opened || one.is == keys_outcome::closed)) {
    one.is = keys_outcome::already;
  }
  if (one.is != keys_outcome::opens) {
    co_return engine::ok();
  }
  if (wish.dry_run) {
    one.is = keys_outcome::would_rewrite;
    co_return engine::ok();
  }
  const auto id = age::backup_id::parse(one.sealed.backup_id).value();
  const auto before = std::as_bytes(std::span((*object)->text.data(), (*object)->text.size()));
  auto made = age::rewrap_backup_keys(before, identities, id, wish.to, age::system_random());
  if (!made) {
    co_return std::move(made.error());
  }
  auto replacing =
      replace_keys_object(with, connection, **object, std::move(*made), class_to_keep(one));
  const auto replaced = co_await std::move(replacing);
  if (replaced) {
    one.is = keys_outcome::rewritten;
    one.recipients = names_of(wish);
    co_return engine::ok();
  }
  const error& failure = replaced.error();
  one.is = keys_outcome::refused;
  one.problem = failure.text();
  if (failure.why == reason::network || failure.why == reason::throttled ||
      failure.what_now == engine::disposition::cancelled) {
    co_return failure;
  }
  co_return engine::ok();
}

}  // namespace

outcome_words words_of(keys_outcome one) {
  switch (one) {
    case keys_outcome::not_reached:
      return {"not_reached", "not reached"};
    case keys_outcome::opens:
      return {"opens", "opens"};
    case keys_outcome::closed:
      return {"closed", "does not open"};
    case keys_outcome::archived:
      return {"archived", "archived"};
    case keys_outcome::missing:
      return {"missing", "missing"};
    case keys_outcome::unusable:
      return {"unusable", "unusable"};
    case keys_outcome::already:
      return {"already", "already"};
    case keys_outcome::rewritten:
      return {"rewritten", "rewritten"};
    case keys_outcome::would_rewrite:
      return {"would_rewrite", "would be rewritten"};
    case keys_outcome::refused:
      return {"refused", "refused"};
  }
  return {};
}

std::size_t sealed_backups::count(keys_outcome one) const {
  return static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [&](const auto& backup) { return backup.is == one; }));
}

task<result<sealed_backups>> find_sealed_backups(const services& with, s3::object_store& store,
                                                 std::string subvolume) {
  inventory_request request(with.settings.s3.prefix, subvolume,
                            manifest_bound::of_host(with.settings), doubt::is_told);
  auto reading = read_bucket(with.loop, store, std::move(request), with.stop);
  const auto found = co_await std::move(reading);
  if (!found) {
    co_return found.error();
  }
  sealed_backups made;
  for (const subvolume_inventory& one : found->subvolumes) {
    for (const auto& [key, manifest] : one.manifests) {
      take(made, one, key, manifest);
    }
  }
  if (made.all.empty() && made.plain == 0 && made.unread.empty()) {
    error none;
    none.message = "there are no backups " +
                   (subvolume.empty() ? "" : "of subvolume \"" + subvolume + "\" ") + "at s3://" +
                   with.settings.s3.bucket + "/" + with.settings.s3.prefix;
    auto looking = where_to_look(store, with.settings, with.stop);
    none.remedy = co_await std::move(looking);
    co_return none;
  }
  std::sort(made.all.begin(), made.all.end(), [](const auto& a, const auto& b) {
    return std::tie(a.subvolume, a.when, a.manifest_key) <
           std::tie(b.subvolume, b.when, b.manifest_key);
  });
  co_return made;
}

task<result<void>> check_keys(const services& with, s3::object_store& store,
                              std::span<const age::x25519_identity> identities,
                              sealed_backups& into) {
  auto checking = engine::for_each_at_most(
      with.loop, at_once_max, into.all.size(),
      [&](std::size_t index) { return check_one(with, store, identities, into.all[index]); },
      with.stop);
  co_return co_await std::move(checking);
}

task<result<void>> rewrap_keys(const services& with, store_connection& connection,
                               std::span<const age::x25519_identity> identities,
                               const rewrap_wish& wish, sealed_backups& into) {
  auto rewriting = engine::for_each_at_most(
      with.loop, at_once_max, into.all.size(),
      [&](std::size_t index) {
        return rewrap_one(with, connection, identities, wish, into.all[index]);
      },
      with.stop);
  co_return co_await std::move(rewriting);
}

}  // namespace bts3::app
