// Which sanitizer this is built with: for what a sanitizer does in the program's place.
#pragma once

namespace bts3::testing {

#ifdef __has_feature
#define BTS3_HAS_FEATURE(name) __has_feature(name)
#else
#define BTS3_HAS_FEATURE(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || BTS3_HAS_FEATURE(address_sanitizer)
inline constexpr bool address_sanitized = true;
#else
inline constexpr bool address_sanitized = false;
#endif

#if defined(__SANITIZE_THREAD__) || BTS3_HAS_FEATURE(thread_sanitizer)
inline constexpr bool thread_sanitized = true;
#else
inline constexpr bool thread_sanitized = false;
#endif

#undef BTS3_HAS_FEATURE

}  // namespace bts3::testing
