// Who signs the requests: the keys themselves, and the two places that need no conversation, the
// environment and the shared AWS files.
//
// A variable that is empty counts as not set. The files are the shared credentials file
// (AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials) and the shared config file (AWS_CONFIG_FILE,
// ~/.aws/config); where both name a setting, the credentials file counts.
#pragma once

#include "engine/environment.hh"
#include "engine/result.hh"
#include "engine/secret_string.hh"

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::s3 {

struct credentials {
  std::string access_key_id;
  engine::secret_string secret_access_key;
  engine::secret_string session_token;  // empty for long-term credentials
  std::string source;                   // for messages: "the environment", "profile \"x\" in /…"
  // When they run out; nullopt: never, or nobody knows.
  std::optional<std::chrono::system_clock::time_point> expiration;

  // Whether a signature made with either is the same.
  [[nodiscard]] bool same_keys(const credentials& other) const;
};

// What a source calls the three.
struct key_names {
  const char* id;
  const char* secret;
  const char* token;
};

// Of what a source gave: drops blanks and line ends around the three. `echo`, a secrets' file and
// an editor leave them there; they belong to none of the three and would spoil every signature.
void trim_keys(credentials& found);
// `found`, unless what is inside of one of the three cannot be signed with or sent as a header:
// then an error that names it, and quotes nothing. A secret may have blanks, which some stores
// allow.
engine::result<credentials> checked_keys(credentials found, const key_names& names);

// The two errors of everything that looks for credentials, both with reason access.
//
// Nothing is configured there (not_found): the search goes on; `place` says where it looked and
// what it found, as in "/root/.aws/config (has no profile "x")".
engine::error nothing_in(std::string place);
// Something is, but it gives no credentials (fail): the search ends.
engine::error unusable(std::string message, std::string remedy);

// The sections of a shared AWS file: "[name]" and "[profile name]" become name; keys and values
// are trimmed; lines that begin with '#' or ';' are left out. The dialect allows what INI readers
// refuse: repeated sections and keys (the last one counts) and settings whose value is a nested
// (indented) block: "endpoint_url" nested in "s3" becomes the key "s3.endpoint_url".
using profile_map = std::map<std::string, std::map<std::string, engine::secret_string>>;
profile_map parse_profiles(std::string_view text);

// Both shared files, as they stood when they were read.
class shared_profiles {
 public:
  struct file {
    std::string path;
    std::string trouble;  // why nothing was read; empty when it was
    profile_map profiles;
  };

  // At most 1 MiB of each; a file that is missing or cannot be read only says so in `trouble`.
  static shared_profiles read(const engine::environment_lookup& environment);

  // AWS_PROFILE, or "default".
  [[nodiscard]] const std::string& chosen() const { return _chosen; }
  // Whether AWS_PROFILE said so.
  [[nodiscard]] bool explicitly_chosen() const { return _explicitly; }
  // The credentials file first.
  [[nodiscard]] const std::vector<file>& files() const { return _files; }
  // Whether either file has it.
  [[nodiscard]] bool has(const std::string& profile) const;
  // "" when neither file has it.
  [[nodiscard]] std::string setting(const std::string& profile, const char* key) const;
  // "profile "x" in /…": the file that has that setting of it, else the first that has the profile.
  [[nodiscard]] std::string where(const std::string& profile, const char* key) const;
  // Both files and why they give no credentials for it, as a message lists places.
  [[nodiscard]] std::string why_nothing(const std::string& profile) const;

 private:
  std::string _chosen;
  bool _explicitly = false;
  std::vector<file> _files;
};

// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. Half a pair is an error that
// names the missing half.
engine::result<credentials> environment_keys(const engine::environment_lookup& environment);

// aws_access_key_id, aws_secret_access_key and aws_session_token of a profile, all from one file;
// half a pair likewise.
engine::result<credentials> profile_keys(const shared_profiles& profiles,
                                         const std::string& profile);

// The region that environment or profile name: AWS_REGION, AWS_DEFAULT_REGION, the profile's;
// without blanks and line ends around it.
std::optional<std::string> find_region(const engine::environment_lookup& environment);

}  // namespace bts3::s3
