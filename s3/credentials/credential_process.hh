// credential_process of a profile: a program that prints credentials.
//
// It is started from argv, never through a shell, with our environment, /dev/null as standard input
// and its standard error kept to be quoted when it fails ("Process credential provider", AWS SDKs
// and Tools Reference Guide, which warns such programs of exactly that).
#pragma once

#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/credentials/credential_source.hh"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::s3 {

// Words are separated by blanks; "..." and '...' keep blanks, a backslash keeps the next character
// (inside "..." only before " and \, inside '...' never), as POSIX shells and AWS's own SDKs split.
// Nothing is expanded: neither variables nor ~. Errors: nothing in it, an open quote, and an
// operator (| & ; < > and their doubles) standing alone, which only a shell would understand.
engine::result<std::vector<std::string>> split_command(std::string_view command);

// Runs `command` and reads what it prints, at most 64 KiB. It is ended after `time_max`, and when
// stopped. `source` names it in messages and becomes credentials::source.
engine::task<engine::result<credentials>> run_credential_process(
    engine::reactor& loop, std::string command, std::string source, engine::stop_token stop,
    std::chrono::milliseconds time_max = std::chrono::minutes(1));

}  // namespace bts3::s3
