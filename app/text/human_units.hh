// Sizes and durations as people write them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::app {

// "128MiB", "1.5 GB", "4096": KB, MB, GB, TB are powers of 1000; KiB to TiB, and K, M, G, T, of
// 1024. Nullopt for anything else, negative numbers and what does not fit 64 bits.
std::optional<std::uint64_t> parse_bytes(std::string_view text);
// "90", "90s", "15m", "6h", "7d", "250ms".
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

std::string format_bytes(std::uint64_t bytes);  // "1.2 GiB"
// "34 s", "5 min 07 s", "3 h 12 min".
std::string format_duration(std::chrono::seconds time);

}  // namespace bts3::app
