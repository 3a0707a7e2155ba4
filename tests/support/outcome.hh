// A result's error as text for a failure message.
#pragma once

#include "engine/result.hh"

#include <string>

namespace bts3::testing {

template <typename T>
std::string error_text(const engine::result<T>& outcome) {
  return outcome.has_value() ? std::string("no error") : outcome.error().text();
}

}  // namespace bts3::testing
