// A setting as texts name it in this process.
#pragma once

#include "engine/setting.hh"

#include <string>

namespace bts3::testing {

inline std::string shown(engine::setting which) {
  return std::string(engine::name_of(which));
}

}  // namespace bts3::testing
