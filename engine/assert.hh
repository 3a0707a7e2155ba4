// Assertions that stay on in release builds: a broken invariant in a backup tool must stop the
// program, never continue into somebody's only copy.
#pragma once

namespace bts3::engine {

// Prints the expression and its place to stderr and aborts.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace bts3::engine

#define BTS3_ASSERT(condition)        \
  ((condition) ? static_cast<void>(0) \
               : ::bts3::engine::assertion_failed(#condition, __FILE__, __LINE__))
