// A small file, read as a whole.
#pragma once

#include "engine/result.hh"

#include <optional>
#include <string>

namespace bts3::app {

// Nullopt when there is none. What cannot be read to its end is an error, never a shorter file:
// half a journal, or none of it, would pass for one that ends there.
engine::result<std::optional<std::string>> read_whole(const std::string& path);

}  // namespace bts3::app
