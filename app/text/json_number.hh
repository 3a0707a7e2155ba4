// Whole numbers from JSON, which may be larger, negative or broken: nlohmann's get<>() would cut
// them to size without a word.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

namespace bts3::app {

// The number in `value`; nullopt when it is none, or not within `Number` and at most `most`.
template <typename Number, typename Json>
std::optional<Number> whole_number_in(const Json& value,
                                      Number most = std::numeric_limits<Number>::max()) {
  std::optional<Number> found;
  if (value.is_number_unsigned()) {
    const auto number = value.template get<std::uint64_t>();
    if (std::cmp_less_equal(number, most)) {
      found = static_cast<Number>(number);
    }
  } else if (value.is_number_integer()) {
    const auto number = value.template get<std::int64_t>();
    if (std::in_range<Number>(number) && std::cmp_less_equal(number, most)) {
      found = static_cast<Number>(number);
    }
  }
  return found;
}

}  // namespace bts3::app
