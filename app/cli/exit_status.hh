// The program's exit statuses: one table, documented in README.md and --help.
#pragma once

#include "engine/error.hh"

namespace bts3::app {

enum class exit_status {
  done = 0,
  failed = 1,
  usage = 2,
  lock_held = 3,
  verification = 4,
  not_thawed = 5,
  partly = 6,
  hung_up = 129,      // 128 and the signal's number, as a shell has it: SIGHUP
  interrupted = 130,  // SIGINT
  terminated = 143,   // SIGTERM
};

// For a command that ended with `failure`. `cancelled` is for the caller, who knows the signal.
[[nodiscard]] inline exit_status status_of(const engine::error& failure) {
  switch (failure.why) {
    case engine::reason::configuration:
      return exit_status::usage;
    case engine::reason::lock_held:
      return exit_status::lock_held;
    case engine::reason::integrity:
      return exit_status::verification;
    case engine::reason::not_thawed:
      return exit_status::not_thawed;
    case engine::reason::unspecified:
    case engine::reason::system:
    case engine::reason::network:
    case engine::reason::protocol:
    case engine::reason::access:
    case engine::reason::clock_skew:
    case engine::reason::expired_token:
    case engine::reason::throttled:
    case engine::reason::bad_request:
    case engine::reason::precondition:
    case engine::reason::unsupported:
    case engine::reason::child_process:
      return exit_status::failed;
  }
  return exit_status::failed;
}

}  // namespace bts3::app
