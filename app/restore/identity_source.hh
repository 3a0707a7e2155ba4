// The identities that open sealed backups: read when the first sealed one is met, once, however
// many are restored. Plain backups need none, and nobody is asked for one.
#pragma once

#include "app/secrets/identities.hh"
#include "app/store/services.hh"
#include "engine/age/x25519.hh"
#include "engine/result.hh"
#include "engine/task.hh"

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

}  // namespace bts3::app
