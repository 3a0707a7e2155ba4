// The identities that open sealed backups: read when the first sealed one is met, once, however
// many are read. Plain backups need none, and nobody is asked for one.
#pragma once

#include "app/secrets/identities.hh"
#include "app/store/backup_key.hh"
#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

class identity_source {
 public:
  // `places`: files, or "-" for the terminal; none: a credential of the service manager. `with`
  // must outlive it.
  identity_source(const services& with, std::vector<std::string> places)
      : _with(with), _places(std::move(places)) {}

  // Reason configuration where nobody has given any: `what` needs one. Otherwise as
  // read_identities(). Not twice at a time.
  engine::task<engine::result<void>> read_for(std::string what);
  // After read_for() has succeeded.
  [[nodiscard]] std::span<const age::x25519_identity> identities() const { return _identities; }

 private:
  const services& _with;
  std::vector<std::string> _places;
  std::vector<age::x25519_identity> _identities;  // empty: not read yet
};

// Where identities are looked for: as the command `named` them, else as the configuration does.
[[nodiscard]] std::vector<std::string> identity_places(const config& settings,
                                                       std::vector<std::string> named);

// What opens a sealed link. Errors are those of identity_source::read_for() and of
// read_backup_identity(). References must outlive the task.
engine::task<engine::result<std::shared_ptr<const backup_key>>> open_backup_key(
    const services& with, s3::object_store& store, const chain_link& link,
    identity_source& identities);

}  // namespace bts3::app
