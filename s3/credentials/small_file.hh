// A text file that is read whole: shared AWS files, tokens.
#pragma once

#include "engine/result.hh"

#include <string>

namespace bts3::s3 {

// Its text without blanks and line ends around it, which nothing else in memory has a copy of.
// Errors say only why ("No such file or directory", "is larger than 1 MiB"); the caller names the
// file. Blocks; meant for files of a few KiB.
engine::result<std::string> read_small_file(const std::string& path);

}  // namespace bts3::s3
