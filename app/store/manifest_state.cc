#include "app/store/manifest_state.hh"

namespace bts3::app {

using engine::disposition;
using engine::reason;

std::optional<manifest_state> state_of(const engine::error& failure) {
  if (failure.what_now == disposition::not_found) {
    return manifest_state::absent;
  }
  if (failure.what_now == disposition::cancelled || failure.what_now == disposition::retry) {
    return std::nullopt;
  }
  switch (failure.why) {
    case reason::network:
    case reason::throttled:
    case reason::expired_token:
    case reason::clock_skew:
      return std::nullopt;
    case reason::protocol:
    case reason::integrity:
      return manifest_state::damaged;
    case reason::configuration:
      return manifest_state::too_large;
    case reason::unspecified:
    case reason::system:
    case reason::lock_held:
    case reason::not_thawed:
    case reason::access:
    case reason::bad_request:
    case reason::precondition:
    case reason::unsupported:
    case reason::child_process:
      break;
  }
  return manifest_state::refused;
}

bool is_broken_chain(const engine::error& failure) {
  const auto state = state_of(failure);
  return state == manifest_state::absent || state == manifest_state::damaged;
}

}  // namespace bts3::app
