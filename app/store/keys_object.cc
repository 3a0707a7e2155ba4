#include "app/store/keys_object.hh"

#include "engine/age/backup_keys.hh"
#include "engine/age/base64.hh"
#include "engine/age/fault.hh"
#include "engine/age/primitives.hh"
#include "engine/age/sealed_file.hh"
#include "planner/keys.hh"

#include <nlohmann/json.hpp>

#include <utility>

namespace bts3::app {

namespace {

using age::bytes_of;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;
using json = nlohmann::ordered_json;

// In the words of whoever restores.
error unopened(error failure, const std::string& manifest_key, const std::string& key) {
  if (age::fault_of(failure) == age::fault::no_match) {
    failure.message = "none of the identities opens backup " + manifest_key + " (" + key + ")";
    failure.remedy =
        "give the identity of one of those it was sealed for; `keys show` tells an identity's "
        "recipient";
    return failure;
  }
  return std::move(failure).within("keys object " + key);
}

}  // namespace

task<result<void>> put_keys_object(const services& with, store_connection& connection,
                                   std::string name, std::vector<std::byte> object) {
  s3::put_request request(s3::object_key(std::move(name)), std::span<const std::byte>(object));
  request.options = document_options(with);
  auto putting = connection.store().put_object(std::move(request), with.stop);
  auto put = co_await std::move(putting);
  if (!put) {
    co_return std::move(put.error());
  }
  co_return engine::ok();
}

task<result<stored_keys>> read_keys_object(s3::object_store& store, std::string manifest_key,
                                           const planner::encryption_record& sealed,
                                           engine::stop_token stop) {
  const std::vector<std::string> places = planner::places_of(manifest_key, sealed.keys_key);
  error last;
  for (std::size_t i = 0; i < places.size(); ++i) {
    auto getting = store.get_object_text(s3::object_key(places[i]), keys_object_bytes_max, stop);
    auto object = co_await std::move(getting);
    if (object) {
      stored_keys found{places[i], std::move(object->body), std::move(object->tag)};
      co_return std::move(found);
    }
    last = std::move(object.error());
    if (!is_absent(last, i > 0)) {
      co_return std::move(last).within("keys object " + places[i]);
    }
  }
  last.message = absent_text("the keys object " + places.front() + " of backup " + manifest_key +
                                 " is missing: nobody can open that backup",
                             last);
  last.what_now = engine::disposition::not_found;
  last.why = reason::unspecified;
  last.remedy = "restore another backup, or put a copy of that object in its place";
  co_return last;
}

namespace {

error changed_meanwhile(const std::string& key, bool gone) {
  error failure;
  failure.why = reason::precondition;
  failure.message = gone ? "it is gone from the bucket" : "somebody else has changed it meanwhile";
  failure.remedy = "run it again: what is there then is read anew";
  return std::move(failure).within("keys object " + key);
}

error not_written(error failure, const std::string& key) {
  if (failure.why == reason::access) {
    failure.remedy =
        "writing over it takes s3:PutObject on it; a lock or a retention on the object refuses it "
        "as well, until its end. The backup can be opened as before";
  }
  return std::move(failure).within("writing keys object " + key);
}

enum class sight_of_keys { as_before, as_wanted };

// What is there now: the bytes of before, or those that were to be written; or an error.
task<result<sight_of_keys>> look_at_keys(s3::object_store& store, const stored_keys& before,
                                         std::string_view wanted, engine::stop_token stop) {
  auto getting = store.get_object_text(s3::object_key(before.key), keys_object_bytes_max, stop);
  auto object = co_await std::move(getting);
  if (!object) {
    if (object.error().what_now == engine::disposition::not_found) {
      co_return changed_meanwhile(before.key, true);
    }
    co_return std::move(object.error()).within("keys object " + before.key);
  }
  if (object->body == wanted) {
    co_return sight_of_keys::as_wanted;
  }
  if (object->body != before.text) {
    co_return changed_meanwhile(before.key, false);
  }
  co_return sight_of_keys::as_before;
}

}  // namespace

// As move_pointer() compares and swaps: stores differ in how they compare, and answers get lost.
task<result<void>> replace_keys_object(const services& with, store_connection& connection,
                                       const stored_keys& before, std::vector<std::byte> now,
                                       s3::storage_class stored_as) {
  s3::put_request request(s3::object_key(before.key), std::span<const std::byte>(now));
  request.options = document_options(with);
  request.options.stored_as = std::move(stored_as);
  s3::optional_features& features = connection.features();
  bool conditional = features.sends(s3::feature::match_condition) && !before.tag.empty();
  if (conditional) {
    request.condition = s3::precondition::matches(before.tag);
  }
  std::optional<error> refused;  // of the condition itself
  std::string compares_badly;
  bool look = !conditional;
  for (int attempts = 0; attempts < 5; ++attempts) {
    if (std::exchange(look, true)) {
      auto looking = look_at_keys(connection.store(), before, age::text_of(now), with.stop);
      const auto there = co_await std::move(looking);
      if (!there) {
        co_return there.error();
      }
      if (*there == sight_of_keys::as_wanted) {
        co_return engine::ok();
      }
    }
    if (!compares_badly.empty()) {
      with.log.write(engine::log_level::warning, "keys", "keys_rewritten_unconditionally",
                     {{"key", before.key},
                      {"reason", "the store refuses a condition that holds: " +
                                     std::exchange(compares_badly, std::string())}});
    }
    s3::put_request copy = request;
    auto putting = connection.store().put_object(std::move(copy), with.stop);
    auto put = co_await std::move(putting);
    if (put) {
      if (refused) {
        features.note_refused(with.log, {s3::feature::match_condition}, *refused);
      }
      co_return engine::ok();
    }
    const error failure = std::move(put.error());
    if (conditional && failure.why == reason::unsupported) {
      refused = failure;
      conditional = false;
      request.condition = s3::precondition();
    } else if (failure.what_now == engine::disposition::not_found) {
      co_return changed_meanwhile(before.key, true);
    } else if (failure.why != reason::precondition) {
      co_return not_written(failure, before.key);
    } else if (failure.status == 409) {
      continue;  // another request at the same time: compare and try again
    } else if (request.condition.must_match && !request.condition.unquoted) {
      request.condition.unquoted = true;
    } else if (std::exchange(conditional, false)) {
      compares_badly = failure.message;
      request.condition = s3::precondition();
    }
  }
  error failure;
  failure.message = "the store refuses to replace keys object " + before.key;
  co_return failure;
}

result<std::vector<std::string>> recipients_of(const stored_keys& object,
                                               const planner::encryption_record& sealed) {
  auto named = age::recipients_named_in(bytes_of(object.text));
  if (!named) {
    return std::move(named.error()).within("keys object " + object.key);
  }
  return named->empty() ? sealed.recipients : std::move(*named);
}

result<age::x25519_identity> open_keys_object(const stored_keys& object,
                                              const std::string& manifest_key,
                                              const planner::encryption_record& sealed,
                                              std::span<const age::x25519_identity> identities) {
  const auto id = age::backup_id::parse(sealed.backup_id).value();  // the codec has checked it
  auto identity = age::open_backup_keys(bytes_of(object.text), identities, id);
  if (!identity) {
    return unopened(std::move(identity.error()), manifest_key, object.key);
  }
  return identity;
}

result<void> check_backup_identity(const age::x25519_identity& identity, const stored_keys& object,
                                   const planner::encryption_record& sealed) {
  if (sealed.sealed.empty()) {
    return engine::ok();
  }
  const auto member = age::base64_decode(sealed.sealed, age::padding::filled);
  if (member && age::open_file(*member, std::span(&identity, 1))) {
    return engine::ok();
  }
  error failure;
  failure.why = reason::integrity;
  failure.message = "the key in keys object " + object.key +
                    " does not open what the backup's manifest has sealed: one of the two was "
                    "exchanged or damaged";
  failure.remedy = "look for an older version of them, and who else writes to this prefix";
  return failure;
}

task<result<age::x25519_identity>> read_backup_identity(
    s3::object_store& store, const chain_link& link,
    std::span<const age::x25519_identity> identities, engine::stop_token stop) {
  const planner::encryption_record& sealed = link.value.encryption.value();
  auto reading = read_keys_object(store, link.key, sealed, stop);
  const auto object = co_await std::move(reading);
  if (!object) {
    co_return object.error();
  }
  co_return open_keys_object(*object, link.key, sealed, identities);
}

result<std::string> seal_member(const sealed_member& what, const age::x25519_recipient& to,
                                const age::random_source& random) {
  json out;
  out["source"] = what.source;
  out["snapshot_path"] = what.snapshot_path;
  out["host_name"] = what.host_name;
  const std::string plain = out.dump(-1, ' ', false, json::error_handler_t::replace);
  auto file = age::seal_file(bytes_of(plain), std::span(&to, 1), random);
  if (!file) {
    return std::move(file.error());
  }
  std::string text = age::base64_encode(*file, age::padding::filled);
  if (text.size() > planner::sealed_text_bytes_max) {
    return engine::configuration_error("the paths " + what.source + " and " + what.snapshot_path +
                                           " are too long for a sealed manifest",
                                       "choose shorter ones");
  }
  return text;
}

}  // namespace bts3::app
