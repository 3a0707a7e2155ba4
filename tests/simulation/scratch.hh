// A directory for spools: in memory where that can be, and gone when the process ends well.
#pragma once

#include <string>

namespace bts3::simulation {

[[nodiscard]] const std::string& scratch_directory();

}  // namespace bts3::simulation
