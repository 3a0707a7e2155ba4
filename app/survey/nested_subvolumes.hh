// Subvolumes below a configured one, which no backup of it has: which of them people are told of.
#pragma once

#include "app/config/config.hh"
#include "app/store/services.hh"
#include "engine/result.hh"

#include <cstddef>
#include <string>
#include <vector>

namespace bts3::app {

inline constexpr const char* nested_remedy =
    "list them in subvolumes.paths to back them up, or in ignore_nested to be told no more";

// Examples in a warning; what a long list adds is its length.
inline constexpr std::size_t nested_examples_max = 3;

// Their paths, relative to `which`: those that are neither configured themselves nor our snapshots
// nor ignored. Sorted.
engine::result<std::vector<std::string>> nested_left_out(const services& with,
                                                         const subvolume_config& which);

// "a, b, c and 7 more".
std::string examples_of(const std::vector<std::string>& paths,
                        std::size_t examples_max = nested_examples_max);

}  // namespace bts3::app
