#include "engine/error.hh"

#include "engine/assert.hh"
#include "engine/wording.hh"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace bts3::engine {

error error::within(std::string_view context) && {
  std::string text(context);
  text += ": ";
  text += message;
  message = std::move(text);
  return std::move(*this);
}

std::string error::text() const {
  if (remedy.empty()) {
    return message;
  }
  return message + "; " + remedy;
}

namespace {

// What helps against errors that have nothing to do with what was tried.
std::string remedy_of_limit(int err) {
  switch (err) {
    case EMFILE:
      return "too many files are open at once: raise the limit (ulimit -n, or LimitNOFILE= in the "
             "unit), or lower " +
             wording(setting::concurrency);
    case ENFILE:
      return "the whole system has too many files open: raise sysctl fs.file-max";
    default:
      return {};
  }
}

}  // namespace

error system_error(int err, std::string_view what, std::string remedy) {
  error failure;
  failure.why = reason::system;
  failure.status = err;
  if (const char* name = ::strerrorname_np(err)) {
    failure.code = name;
  }
  if (err == ECANCELED) {
    failure.what_now = disposition::cancelled;
  } else if (err == ENOENT) {
    failure.what_now = disposition::not_found;
  }
  failure.message = std::string(what);
  failure.message += ": ";
  failure.message += ::strerrordesc_np(err) != nullptr ? ::strerrordesc_np(err) : "unknown error";
  failure.remedy = remedy_of_limit(err);
  if (failure.remedy.empty()) {
    failure.remedy = std::move(remedy);
  }
  return failure;
}

error thread_error(int err) {
  return system_error(
      err, "starting a thread",
      "the limit on processes and threads may be reached: TasksMax= of the unit, "
      "pids.max of the container, ulimit -u, or ulimit -s asks for too large stacks");
}

error configuration_error(std::string message, std::string remedy) {
  error failure;
  failure.why = reason::configuration;
  failure.message = std::move(message);
  failure.remedy = std::move(remedy);
  return failure;
}

error cancelled_error() {
  error failure;
  failure.what_now = disposition::cancelled;
  failure.message = "stopped on request";
  return failure;
}

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace bts3::engine
