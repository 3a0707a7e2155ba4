#include "app/host/cache_place.hh"

namespace bts3::app {

std::string cache_place(const engine::environment_lookup& environment, uid_t user,
                        const char* of_root) {
  const std::string cache = engine::value_of(environment, "XDG_CACHE_HOME");
  if (cache.starts_with('/')) {
    return cache + "/btrfs_to_s3";
  }
  const std::string home = engine::value_of(environment, "HOME");
  if (home.starts_with('/')) {
    return (home == "/" ? "" : home) + "/.cache/btrfs_to_s3";
  }
  return user == 0 ? of_root : "";
}

}  // namespace bts3::app
