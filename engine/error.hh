// What went wrong, as a value: every operational failure in the program is one of these, made
// where it happened, given context on the way up, and translated to an exit status once, in app/.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace bts3::engine {

// What the caller may do about it. Retrying code looks at nothing else; `cancelled` is never
// retried and never reported as a failure of its own.
enum class disposition {
  retry,      // the same request may succeed later or on another connection
  fail,       // repeating it cannot help
  not_found,  // the named thing does not exist; often an answer rather than a failure
  cancelled,  // a stop was requested
};

// Why, as far as code has to tell cases apart.
enum class reason {
  unspecified,
  system,         // a system call failed; `status` is its errno
  configuration,  // bad input from the user: exit status 2
  lock_held,      // another run is active: exit status 3
  integrity,      // bytes differ from what was recorded: exit status 4
  not_thawed,     // an archived object cannot be read yet: exit status 5
  network,        // no usable answer arrived
  protocol,       // an answer arrived that makes no sense
  access,         // credentials missing, wrong or not allowed
  clock_skew,     // our clock and the server's differ too much
  expired_token,  // credentials ran out
  throttled,      // 429, 503 SlowDown
  bad_request,    // the server blames this request's bytes (digest, truncated body, timeout)
  precondition,   // 412 or 409
  unsupported,    // the server does not do this (501, or 400 naming the feature)
  child_process,  // a child exited with failure or died
};

struct error {
  disposition what_now = disposition::fail;
  reason why = reason::unspecified;
  int status = 0;       // HTTP status, errno or exit status, by `why`; 0 when there is none
  std::string code;     // the machine's name for it: "NoSuchKey", "ENOSPC"; may be empty
  std::string message;  // one line, names the culprit; no trailing full stop
  // To `retry`: it may pass when network and clock have come up after boot, and else never does:
  // worth minutes, whatever patience the request has besides.
  bool at_boot = false;
  std::chrono::seconds retry_after{0};  // the server asked to wait this long
  std::string remedy;                   // what to do about it; empty when nothing is known to help

  // The same error, with "`context`: " before its message.
  [[nodiscard]] error within(std::string_view context) &&;
  // Message and remedy on one line, as a person reads them.
  [[nodiscard]] std::string text() const;
};

// An error from errno value `err`; the message reads "`what`: <strerror>". ECANCELED gives
// `cancelled`, ENOENT `not_found`, everything else `fail`.
[[nodiscard]] error system_error(int err, std::string_view what, std::string remedy = {});

// That a thread could not be started, from errno value `err`.
[[nodiscard]] error thread_error(int err);

[[nodiscard]] error cancelled_error();

// What somebody has to change before it can work: reason `configuration`, not to be tried again.
[[nodiscard]] error configuration_error(std::string message, std::string remedy);

}  // namespace bts3::engine
