// Whether a text has a part.
#pragma once

#include <string>

namespace bts3::testing {

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace bts3::testing
