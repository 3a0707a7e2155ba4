// The end of a program that cannot go on: memory or the ring refused.
//
// Not an assertion, since a system call can fail, and not an error value, since whoever would
// handle it needs what was refused. One line says so, and the process ends with exit status 1; for
// what it leaves behind it is a kill, which every next run is prepared for.
#pragma once

#include <string_view>

namespace bts3::engine {

// Prints "btrfs_to_s3: `what`: `problem`; `remedy`". Takes no memory.
[[noreturn]] void give_up(std::string_view what, std::string_view problem, std::string_view remedy);
// The same with the text of errno value `err`.
[[noreturn]] void give_up(std::string_view what, int err);

// From here on memory that cannot be had ends the program like this, and not with an exception that
// nothing can unwind.
void give_up_without_memory();

}  // namespace bts3::engine
