#include "s3/credentials/credential_provider.hh"

#include "engine/assert.hh"
#include "engine/event.hh"

#include <algorithm>
#include <string>

namespace bts3::s3 {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

namespace {

// How long before the expiration to ask for the next ones.
constexpr std::chrono::minutes refresh_before{5};
// Between two questions that the expiration alone does not justify. Ten of them fit into the
// window.
constexpr std::chrono::seconds ask_pause{30};

std::string seconds_until(std::chrono::system_clock::time_point when,
                          std::chrono::system_clock::time_point now) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(when - now).count());
}

}  // namespace

task<result<credentials>> fixed_credentials::get(engine::stop_token) {
  co_return _who;
}

// One question to the source and those who wait for its outcome.
struct refreshing_credentials::flight {
  explicit flight(engine::reactor& loop) : landed(loop, "credentials") {}
  engine::event landed;
  std::optional<result<credentials>> outcome;
};

bool refreshing_credentials::expired(time_point now) const {
  return _current->expiration && now >= *_current->expiration;
}

bool refreshing_credentials::due(time_point now) const {
  const bool near = _current->expiration && now >= *_current->expiration - refresh_before;
  return near && now >= _ask_not_before;
}

task<result<credentials>> refreshing_credentials::get(engine::stop_token stop) {
  for (;;) {
    if (stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    const time_point now = _clock.now();
    if (_current && !_refused && !due(now)) {
      co_return *_current;
    }
    if (!_flight) {
      auto asking = ask(stop);
      co_return co_await std::move(asking);
    }
    if (_current && !_refused && !expired(now)) {
      co_return *_current;
    }
    const std::shared_ptr<flight> shared = _flight;
    auto waiting = shared->landed.wait(stop);
    auto landed = co_await std::move(waiting);
    if (!landed) {
      co_return std::move(landed.error());
    }
    BTS3_ASSERT(shared->outcome.has_value());
    const result<credentials>& outcome = *shared->outcome;
    if (outcome || outcome.error().what_now != disposition::cancelled) {
      co_return outcome;
    }
  }
}

task<result<credentials>> refreshing_credentials::ask(engine::stop_token stop) {
  const auto mine = std::make_shared<flight>(_loop);
  _flight = mine;
  auto asking = _source.find(stop);
  auto found = co_await std::move(asking);
  if (found) {
    keep(std::move(*found));
    mine->outcome = *_current;
  } else {
    mine->outcome = fall_back(std::move(found.error()));
  }
  _flight.reset();
  mine->landed.set();
  co_return *mine->outcome;
}

void refreshing_credentials::keep(credentials fresh) {
  const time_point now = _clock.now();
  const bool changed = !_current || !_current->same_keys(fresh);
  if (changed) {
    const std::string expires_in_s =
        fresh.expiration ? seconds_until(*fresh.expiration, now) : "never";
    _log.write(log_level::debug, "s3", "credentials_obtained",
               {{"source", fresh.source},
                {"access_key", fresh.access_key_id},
                {"expires_in_s", expires_in_s}});
  }
  _ask_not_before = now + ask_pause;
  // Short-lived ones are asked for again when they have run out, if that comes first.
  if (fresh.expiration && *fresh.expiration > now) {
    _ask_not_before = std::min(_ask_not_before, *fresh.expiration);
  }
  _given_again = _refused && !changed;
  _current = std::move(fresh);
  _refused = false;
  _warned = false;
}

// What a failed question comes to: the old credentials while they last.
result<credentials> refreshing_credentials::fall_back(error failure) {
  const time_point now = _clock.now();
  const bool usable = _current && !_refused && !expired(now);
  if (failure.what_now == disposition::cancelled || !usable) {
    return failure;
  }
  _ask_not_before = std::min(now + ask_pause, *_current->expiration);
  if (!std::exchange(_warned, true)) {
    _log.write(log_level::warning, "s3", "credentials_not_refreshed",
               {{"error", failure.text()},
                {"source", _current->source},
                {"expires_in_s", seconds_until(*_current->expiration, now)}});
  }
  return *_current;
}

void refreshing_credentials::invalidate(const credentials& refused) {
  if (!_current || !_current->same_keys(refused)) {
    return;
  }
  _refused = !_given_again || _clock.now() >= _ask_not_before;
}

}  // namespace bts3::s3
