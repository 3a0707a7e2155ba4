// An upper bound for a rate, shared by whoever sends or receives: a token bucket, with time as a
// parameter.
//
// Tokens are bytes. They come in at the rate and are kept for a tenth of a second, so that a pause
// is not followed by a flood. take() hands them out in small portions, so that transfers which ask
// in turn get equal shares. Who receives learns only afterwards how much it was: spend() takes
// that, into debt if need be, and next() tells when the debt is paid.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace bts3::s3 {

class rate_limit {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  // 0: no limit.
  explicit rate_limit(std::uint64_t bytes_per_second);

  [[nodiscard]] bool limited() const { return _rate > 0; }
  // How many of `wanted` bytes may go now; 0: none, ask again at next(). Takes them.
  std::size_t take(std::size_t wanted, time_point now);
  // Of what take() gave, this was not used.
  void give_back(std::size_t bytes) { _tokens += static_cast<double>(bytes); }
  // Takes what has been used already.
  void spend(std::size_t bytes, time_point now);
  // When a portion will be there.
  [[nodiscard]] time_point next(time_point now) const;
  // The most that take() gives at once.
  [[nodiscard]] std::size_t portion() const { return _portion; }

 private:
  [[nodiscard]] double tokens_at(time_point now) const;

  double _rate;  // bytes a second
  std::size_t _portion = 0;
  double _capacity = 0;
  double _tokens = 0;
  time_point _counted_at{};
};

}  // namespace bts3::s3
