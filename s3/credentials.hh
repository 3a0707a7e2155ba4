// Who signs the requests: the part of the AWS credential chain that needs no network.
//
// Looked at in this order, the first complete pair of keys wins: the environment
// (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), then the profile AWS_PROFILE (or
// "default") in the shared credentials file (AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials) and
// in the shared config file (AWS_CONFIG_FILE, ~/.aws/config). Variables beat a profile, also one
// that AWS_PROFILE names ("Environment variables support", AWS SDKs and Tools Reference Guide). A
// variable that is empty counts as not set.
#pragma once

#include "engine/result.hh"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::s3 {

struct credentials {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;  // empty for long-term credentials
  std::string source;         // for messages: "the environment", "profile \"x\" in /…"
};

// Looks up a variable of the environment; nullopt when it is not set.
using environment_lookup = std::function<std::optional<std::string>(std::string_view)>;

// Reads both files, at most 1 MiB of each; a missing file is no error of its own. Errors (reason
// access): half a pair of keys, naming the missing half and where; or no keys at all, listing every
// place looked at and what was found there.
engine::result<credentials> find_credentials(const environment_lookup& environment);

// The region that environment or profile name: AWS_REGION, AWS_DEFAULT_REGION, the profile's.
std::optional<std::string> find_region(const environment_lookup& environment);

// The sections of a shared AWS file: "[name]" and "[profile name]" become name; keys and values
// are trimmed; lines that begin with '#' or ';' and nested (indented) settings are left out. The
// dialect allows what INI readers refuse: repeated sections and keys (the last one counts) and
// settings whose value is a nested block.
using profile_map = std::map<std::string, std::map<std::string, std::string>>;
profile_map parse_profiles(std::string_view text);

}  // namespace bts3::s3
