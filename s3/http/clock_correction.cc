#include "s3/http/clock_correction.hh"

#include "engine/wall_time.hh"

#include <curl/curl.h>

#include <ctime>
#include <string>

namespace bts3::s3 {

namespace {

// Further apart than this, and S3 refuses with RequestTimeTooSkewed ("Authenticating Requests",
// Amazon S3 API Reference). STS allows five minutes.
constexpr std::chrono::minutes skew_max{15};
// A difference that may explain a refusal: skew_max less what others are stricter by.
constexpr std::chrono::seconds skew_suspicious = skew_max / 3;

}  // namespace

std::optional<std::chrono::system_clock::time_point> http_date(std::string_view text) {
  const std::time_t seconds = ::curl_getdate(std::string(text).c_str(), nullptr);
  if (seconds == -1) {
    return std::nullopt;
  }
  return engine::exact_wall_time(std::chrono::sys_seconds(std::chrono::seconds(seconds)));
}

void clock_correction::note(const http_response& answer) {
  if (const auto server = http_date(answer.header("date").value_or(""))) {
    _server_ahead = *server - _clock.now();
  }
}

std::optional<std::chrono::system_clock::time_point> clock_correction::server_time() const {
  if (!_server_ahead) {
    return std::nullopt;
  }
  return _clock.now() + *_server_ahead;
}

bool clock_correction::learn(const http_response& refusal, std::chrono::seconds used, bool named) {
  const bool perhaps = named || refusal.status == 400 || refusal.status == 403;
  const auto server = http_date(refusal.header("date").value_or(""));
  if (!perhaps || !server || _dates_mislead) {
    // Refused together with the request after which Dates were given up: our own clock was not
    // tried.
    return named && _dates_mislead && used != _offset;
  }
  const auto needed = std::chrono::duration_cast<std::chrono::seconds>(*server - _clock.now());
  if (std::chrono::abs(needed - used) >= skew_suspicious) {
    if (std::chrono::abs(needed - _offset) >= skew_suspicious) {
      _offset = needed;
      _log.write(engine::log_level::warning, "s3", "clock_skew_corrected",
                 {{"seconds", std::to_string(needed.count())},
                  {"remedy", "set this machine's clock (NTP)"}});
    }
    return true;
  }
  if (!named || used == std::chrono::seconds(0)) {
    return false;
  }
  _dates_mislead = true;
  _offset = std::chrono::seconds(0);
  _log.write(engine::log_level::warning, "s3", "clock_skew_correction_withdrawn",
             {{"seconds", std::to_string(used.count())},
              {"reason", "the server's Date is not the time that it checks signatures with"}});
  return true;
}

}  // namespace bts3::s3
