// The credentials to sign with now, however often they change: what s3_client asks at each attempt.
#pragma once

#include "engine/clock.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/credentials/credential_source.hh"

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

namespace bts3::s3 {

class credential_provider {
 public:
  virtual ~credential_provider() = default;
  // Errors are the source's: `retry` where asking again may help.
  virtual engine::task<engine::result<credentials>> get(engine::stop_token stop) = 0;
  // The store refused a request signed with `refused` as expired or unknown: the next get() asks
  // the source. Without effect when others took their place meanwhile, so that each of the requests
  // that were refused together may say it.
  virtual void invalidate(const credentials& refused) = 0;
};

// Credentials that never change.
class fixed_credentials final : public credential_provider {
 public:
  explicit fixed_credentials(credentials who) : _who(std::move(who)) {}
  engine::task<engine::result<credentials>> get(engine::stop_token stop) override;
  void invalidate(const credentials&) override {}

 private:
  credentials _who;
};

// Keeps what a source gave and asks again five minutes before it expires, the window of AWS's SDKs.
//
// One caller asks at a time. While the old credentials last, the others go on with them; else they
// wait and share its outcome, a failure included; when it was stopped, one of them asks in its
// place. When asking fails the old credentials serve until they expire, with one warning, and the
// source is left alone for half a minute.
//
// The expiration only says when to ask. Whether credentials have expired is the store's to say:
// ours may be the clock that is wrong, and a metadata service that cannot renew hands out expired
// ones that are still accepted. So what a source has just given is used whatever its expiration; if
// that lies in the past already, or lets less than the five minutes, or the source gave what the
// store had refused, the source is asked again half a minute later and not for every request.
//
// Bound to the reactor's thread; everything referred to outlives it, and so does it every get().
class refreshing_credentials final : public credential_provider {
 public:
  refreshing_credentials(engine::reactor& loop, credential_source& source,
                         const engine::clock& clock, engine::log_sink& log)
      : _loop(loop), _source(source), _clock(clock), _log(log) {}

  engine::task<engine::result<credentials>> get(engine::stop_token stop) override;
  void invalidate(const credentials& refused) override;

 private:
  using time_point = std::chrono::system_clock::time_point;
  struct flight;
  engine::task<engine::result<credentials>> ask(engine::stop_token stop);
  void keep(credentials fresh);
  engine::result<credentials> fall_back(engine::error failure);
  [[nodiscard]] bool expired(time_point now) const;
  [[nodiscard]] bool due(time_point now) const;

  engine::reactor& _loop;
  credential_source& _source;
  const engine::clock& _clock;
  engine::log_sink& _log;
  std::optional<credentials> _current;
  bool _refused = false;       // the store refused _current, and the source was not asked since
  bool _given_again = false;   // the source gave _current after the store had refused it
  time_point _ask_not_before;  // unless _current has been refused for the first time
  bool _warned = false;        // that asking fails
  std::shared_ptr<flight> _flight;  // while somebody asks
};

}  // namespace bts3::s3
