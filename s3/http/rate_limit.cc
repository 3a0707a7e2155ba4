#include "s3/http/rate_limit.hh"

#include <algorithm>

namespace bts3::s3 {

namespace {

// A fiftieth of a second's bytes: small enough to be fair, large enough to be cheap.
constexpr std::uint64_t portions_per_second = 50;
constexpr std::size_t portion_min = 1024;
constexpr std::size_t portion_max = 256 * 1024;
constexpr double seconds_kept = 0.1;

double seconds_of(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

rate_limit::rate_limit(std::uint64_t bytes_per_second)
    : _rate(static_cast<double>(bytes_per_second)),
      _portion(std::clamp<std::uint64_t>(bytes_per_second / portions_per_second, portion_min,
                                         portion_max)),
      _capacity(std::max(_rate * seconds_kept, static_cast<double>(_portion))) {}

double rate_limit::tokens_at(time_point now) const {
  const double passed = now > _counted_at ? seconds_of(now - _counted_at) : 0;
  return std::min(_capacity, _tokens + passed * _rate);
}

std::size_t rate_limit::take(std::size_t wanted, time_point now) {
  if (!limited()) {
    return wanted;
  }
  _tokens = tokens_at(now);
  _counted_at = std::max(now, _counted_at);
  const std::size_t portion = std::min(wanted, _portion);
  if (_tokens < static_cast<double>(portion)) {
    return 0;
  }
  _tokens -= static_cast<double>(portion);
  return portion;
}

void rate_limit::spend(std::size_t bytes, time_point now) {
  if (!limited()) {
    return;
  }
  _tokens = tokens_at(now) - static_cast<double>(bytes);
  _counted_at = std::max(now, _counted_at);
}

rate_limit::time_point rate_limit::next(time_point now) const {
  const double missing = static_cast<double>(_portion) - tokens_at(now);
  if (!limited() || missing <= 0) {
    return now;
  }
  return now + std::chrono::ceil<std::chrono::milliseconds>(
                   std::chrono::duration<double>(missing / _rate));
}

}  // namespace bts3::s3
