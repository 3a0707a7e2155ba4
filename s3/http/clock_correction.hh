// The server's time, as far as ours is wrong: what signatures are made with.
//
// A request refused for its time, or with 400 or 403 while the answer's Date and our clock are more
// than five minutes apart (stores name skew differently, and the answer to a HEAD names nothing),
// is worth one repetition, signed with the server's time. Everything is signed with that from then
// on. The Date may be a proxy's and no help: when a time taken from it is refused as skewed, our
// own clock counts again and Dates are no longer believed.
#pragma once

#include "engine/clock.hh"
#include "engine/log_sink.hh"
#include "s3/http/http_transport.hh"

#include <chrono>
#include <optional>
#include <string_view>

namespace bts3::s3 {

// HTTP's date, as in the headers Date and Retry-After; nullopt when it is none.
std::optional<std::chrono::system_clock::time_point> http_date(std::string_view text);

class clock_correction {
 public:
  // Both must outlive it.
  clock_correction(const engine::clock& clock, engine::log_sink& log) : _clock(clock), _log(log) {}

  // What is added to our clock now. Take it once for a request: several may be refused together,
  // and each compares with what it was signed with itself.
  [[nodiscard]] std::chrono::seconds offset() const { return _offset; }
  [[nodiscard]] std::chrono::system_clock::time_point now_with(std::chrono::seconds offset) const {
    return _clock.now() + offset;
  }

  // Any answer; remembers what its Date tells.
  void note(const http_response& answer);
  // The server's time by the last Date that it answered with; nullopt: none was understood yet. It
  // may be a proxy's.
  [[nodiscard]] std::optional<std::chrono::system_clock::time_point> server_time() const;

  // After a refusal of a request signed with `used`; `named`: the answer blames its time. True:
  // sign and send again, once. A change of the offset is logged.
  [[nodiscard]] bool learn(const http_response& refusal, std::chrono::seconds used, bool named);

 private:
  const engine::clock& _clock;
  engine::log_sink& _log;
  std::chrono::seconds _offset{0};
  bool _dates_mislead = false;
  std::optional<std::chrono::system_clock::duration> _server_ahead;
};

}  // namespace bts3::s3
