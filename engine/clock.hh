// The wall clock as a parameter, so that signing, schedules and names can be tested at any time.
#pragma once

#include <chrono>

namespace bts3::engine {

class clock {
 public:
  virtual ~clock() = default;
  [[nodiscard]] virtual std::chrono::system_clock::time_point now() const = 0;
};

class system_clock_source final : public clock {
 public:
  [[nodiscard]] std::chrono::system_clock::time_point now() const override {
    return std::chrono::system_clock::now();
  }
};

}  // namespace bts3::engine
