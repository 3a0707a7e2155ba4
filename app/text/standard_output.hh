// The last word about what was printed.
#pragma once

#include <optional>
#include <string>

namespace bts3::app {

// Flushes and closes standard output; nothing may be printed there afterwards. Nullopt when it took
// everything. Else why it did not, for a person; empty where whoever read it went away (`| head`),
// and wants to hear no more. To be called once, last.
std::optional<std::string> close_standard_output();

// `code`, or, where the output was cut and all else went well, `cut`: exit status 0 says that what
// was asked for can be read. Says why on standard error.
int status_with_output(int code, int cut);

}  // namespace bts3::app
