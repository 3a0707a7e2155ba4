// Where what can be made again is kept between runs.
#pragma once

#include "engine/environment.hh"

#include <sys/types.h>

#include <string>

namespace bts3::app {

// "btrfs_to_s3" below $XDG_CACHE_HOME, else below ~/.cache; `of_root` for root without a home.
// Empty: nowhere.
[[nodiscard]] std::string cache_place(const engine::environment_lookup& environment, uid_t user,
                                      const char* of_root);

}  // namespace bts3::app
