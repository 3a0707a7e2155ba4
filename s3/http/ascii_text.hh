// Letters and blanks of protocols, whatever the locale.
#pragma once

#include <string>
#include <string_view>

namespace bts3::s3 {

// A to Z become a to z; nothing else changes.
[[nodiscard]] std::string lower_case(std::string_view text);
// Without blanks, tabs and line ends at both ends.
[[nodiscard]] std::string_view trimmed(std::string_view text);

}  // namespace bts3::s3
