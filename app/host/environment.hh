// The environment as a function: a test brings its own.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::app {

// Looks up a variable of the environment; nullopt when it is not set.
using environment_lookup = std::function<std::optional<std::string>(std::string_view)>;

}  // namespace bts3::app
