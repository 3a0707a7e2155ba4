// The space of deleted subvolumes: Btrfs gives it back in the background, which may take minutes.
#pragma once

#include "app/store/services.hh"
#include "engine/task.hh"

#include <chrono>
#include <string>

namespace bts3::app {

// Waits until the filesystem that `directory` is on has got back what deleted subvolumes held
// (`btrfs subvolume sync`), or `at_most` has passed, or a stop is requested. What was deleted is
// deleted either way: a wait that fails or ends early is a warning (`space_not_back`).
engine::task<void> wait_for_freed_space(
    const services& with, std::string directory,
    std::chrono::milliseconds at_most = std::chrono::minutes(10));

}  // namespace bts3::app
