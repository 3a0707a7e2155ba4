#include "app/restore/identity_source.hh"

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

}  // namespace bts3::app
