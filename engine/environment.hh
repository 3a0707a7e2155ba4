// The environment as a function: only main() reads it by itself, and a test brings its own.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::engine {

// Looks up a variable of the environment; nullopt when it is not set.
using environment_lookup = std::function<std::optional<std::string>(std::string_view)>;

// The variable's value, "" when it is not set; where it is a secret, the caller's to wipe.
std::string value_of(const environment_lookup& environment, std::string_view name);

}  // namespace bts3::engine
