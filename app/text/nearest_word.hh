// Which of the known words somebody may have meant.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

// Letters to put in, take out or change until `a` is `b` (Levenshtein's distance).
std::size_t edit_distance(std::string_view a, std::string_view b);

// The first of the nearest; `known` is not empty.
std::string nearest(std::string_view wanted, const std::vector<std::string>& known);

}  // namespace bts3::app
