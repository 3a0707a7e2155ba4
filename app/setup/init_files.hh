// The files that init writes: the configuration, and the keys beside it.
#pragma once

#include "engine/result.hh"
#include "engine/secret_string.hh"

#include <optional>
#include <string>
#include <string_view>

namespace bts3::app {

// Before anything is asked: refuses a `path` that cannot be written, or that exists, unless
// `force`, or it is the package's example. Whether it is that example.
engine::result<bool> check_output(const std::string& path, bool force);

// Durably, with directories where they are missing; `credentials`, where there are any, as the
// units' file. Where one cannot be written, none is new.
engine::result<void> write_configuration(const std::string& path, std::string_view text,
                                         const std::optional<engine::secret_string>& credentials);

}  // namespace bts3::app
