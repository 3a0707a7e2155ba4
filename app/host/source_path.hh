// Who else than root may put something else in the place of a subvolume that is backed up.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bts3::app {

// What decides that of one directory on the way, or of a link there.
struct path_step {
  std::string path;
  std::uint32_t owner = 0;
  std::uint32_t group = 0;
  std::uint32_t mode = 0;  // st_mode
};

// The steps from the root to `path`, which comes last: as it is written, and behind links. Ends
// where it cannot be looked at.
[[nodiscard]] std::vector<path_step> steps_to(const std::string& path);

// Empty where only root, or `user`, may exchange what lies at the last step; else who may. A
// directory that others may write to lets them, unless it is sticky and what it holds is not
// theirs.
[[nodiscard]] std::string who_may_exchange(const std::vector<path_step>& steps, std::uint32_t user);

}  // namespace bts3::app
