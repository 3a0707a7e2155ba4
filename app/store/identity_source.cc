#include "app/store/identity_source.hh"

#include "app/store/keys_object.hh"
#include "engine/age/part_stanza.hh"

namespace bts3::app {

using engine::result;
using engine::task;

task<result<void>> identity_source::read_for(std::string what) {
  if (!_identities.empty()) {
    co_return engine::ok();
  }
  if (_places.empty() && !identity_is_at_hand(_with.environment)) {
    co_return engine::configuration_error(
        what + " is sealed, and no identity was given that opens it",
        "name the file with it in --identity; \"-\" asks at the terminal");
  }
  secret_access access(_with.loop, _with.stop, _with.environment);
  auto reading = read_identities(std::move(access), _places);
  auto read = co_await std::move(reading);
  if (!read) {
    co_return std::move(read.error());
  }
  _identities = std::move(*read);
  co_return engine::ok();
}

std::vector<std::string> identity_places(const config& settings, std::vector<std::string> named) {
  if (!named.empty() || settings.restore.identity_file.empty()) {
    return named;
  }
  return {settings.restore.identity_file};
}

task<result<std::shared_ptr<const backup_key>>> open_backup_key(const services& with,
                                                                s3::object_store& store,
                                                                const chain_link& link,
                                                                identity_source& identities) {
  auto reading = identities.read_for("backup " + link.key);
  auto read = co_await std::move(reading);
  if (!read) {
    co_return std::move(read.error());
  }
  auto opening = read_backup_identity(store, link, identities.identities(), with.stop);
  auto identity = co_await std::move(opening);
  if (!identity) {
    co_return std::move(identity.error());
  }
  const auto id = age::backup_id::parse(link.value.encryption->backup_id).value();
  co_return std::make_shared<const backup_key>(id, std::move(*identity));
}

}  // namespace bts3::app
