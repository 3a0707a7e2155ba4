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
error unopened(error failure, const chain_link& link, const std::string& key) {
  if (age::fault_of(failure) == age::fault::no_match) {
    failure.message = "none of the identities opens backup " + link.key + " (" + key + ")";
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

task<result<age::x25519_identity>> read_backup_identity(
    s3::object_store& store, const chain_link& link,
    std::span<const age::x25519_identity> identities, engine::stop_token stop) {
  const planner::encryption_record& sealed = link.value.encryption.value();
  const auto id = age::backup_id::parse(sealed.backup_id).value();  // the codec has checked it
  const std::vector<std::string> places = planner::places_of(link.key, sealed.keys_key);
  error last;
  for (std::size_t i = 0; i < places.size(); ++i) {
    auto getting = store.get_object_text(s3::object_key(places[i]), keys_object_bytes_max, stop);
    auto object = co_await std::move(getting);
    if (object) {
      auto identity = age::open_backup_keys(bytes_of(object->body), identities, id);
      if (!identity) {
        co_return unopened(std::move(identity.error()), link, places[i]);
      }
      co_return std::move(*identity);
    }
    last = std::move(object.error());
    if (!is_absent(last, i > 0)) {
      co_return std::move(last).within("keys object " + places[i]);
    }
  }
  last.message = absent_text("the keys object " + places.front() + " of backup " + link.key +
                                 " is missing: nobody can open that backup",
                             last);
  last.what_now = engine::disposition::not_found;
  last.why = reason::unspecified;
  last.remedy = "restore another backup, or put a copy of that object in its place";
  co_return last;
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
