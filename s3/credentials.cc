#include "s3/credentials.hh"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

namespace bts3::s3 {

namespace {

using engine::error;
using engine::result;

// Real files hold a few profiles of a few hundred bytes.
constexpr std::size_t file_bytes_max = 1024 * 1024;

// Settings by which a profile gets its keys from elsewhere; said in the message, so that nobody
// looks for a typing error in such a profile.
constexpr const char* unsupported_settings[] = {"credential_process", "role_arn",
                                                "sso_session",        "sso_start_url",
                                                "login_session",      "web_identity_token_file"};

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::string value_of(const environment_lookup& environment, std::string_view name) {
  return environment(name).value_or("");
}

std::string value_of(const std::map<std::string, std::string>& settings, const char* key) {
  const auto found = settings.find(key);
  return found == settings.end() ? std::string() : found->second;
}

std::string profile_name(const environment_lookup& environment) {
  std::string name = value_of(environment, "AWS_PROFILE");
  return name.empty() ? "default" : name;
}

struct shared_file {
  std::string path;
  std::string trouble;  // why nothing was read; empty when it was
  profile_map profiles;
};

shared_file read_shared_file(std::string path) {
  shared_file file;
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    file.trouble = errno != 0 ? ::strerrordesc_np(errno) : "cannot be opened";
  } else {
    std::string text(file_bytes_max + 1, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    if (stream.bad()) {
      file.trouble = "cannot be read";
    } else if (text.size() > file_bytes_max) {
      file.trouble = "is larger than 1 MiB";
    } else {
      file.profiles = parse_profiles(text);
    }
  }
  file.path = std::move(path);
  return file;
}

// The credentials file first: where both name a setting, it counts.
std::vector<shared_file> shared_files(const environment_lookup& environment) {
  const std::string home = value_of(environment, "HOME");
  const std::pair<const char*, const char*> places[] = {
      {"AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"}, {"AWS_CONFIG_FILE", "~/.aws/config"}};
  std::vector<shared_file> files;
  for (const auto& [variable, standard] : places) {
    std::string path = value_of(environment, variable);
    if (path.empty()) {
      path = standard;
    }
    if (path.starts_with("~/") && home.empty()) {
      shared_file file;
      file.path = path;
      file.trouble = "HOME is not set";
      files.push_back(std::move(file));
    } else {
      files.push_back(read_shared_file(path.starts_with("~/") ? home + path.substr(1) : path));
    }
  }
  return files;
}

error access_error(std::string message, std::string remedy) {
  error failure;
  failure.why = engine::reason::access;
  failure.message = std::move(message);
  failure.remedy = std::move(remedy);
  return failure;
}

struct key_names {
  const char* id;
  const char* secret;
};

// Nullopt when neither half is there.
result<std::optional<credentials>> pair_of(credentials found, const key_names& names) {
  const bool has_id = !found.access_key_id.empty();
  const bool has_secret = !found.secret_access_key.empty();
  if (!has_id && !has_secret) {
    return std::optional<credentials>();
  }
  if (!has_id || !has_secret) {
    const std::string missing = has_id ? names.secret : names.id;
    return access_error(
        found.source + " has " + (has_id ? names.id : names.secret) + " without " + missing,
        "set " + missing + " too, or neither of the two");
  }
  return std::optional<credentials>(std::move(found));
}

// Why a file yielded no keys.
std::string nothing_in(const shared_file& file, const std::string& profile) {
  if (!file.trouble.empty()) {
    return file.path + " (" + file.trouble + ")";
  }
  const auto section = file.profiles.find(profile);
  if (section == file.profiles.end()) {
    return file.path + " (has no profile \"" + profile + "\")";
  }
  for (const char* setting : unsupported_settings) {
    if (section->second.contains(setting)) {
      return file.path + " (profile \"" + profile + "\" relies on " + setting +
             ", which this program does not use)";
    }
  }
  return file.path + " (profile \"" + profile + "\" has no keys)";
}

}  // namespace

profile_map parse_profiles(std::string_view text) {
  profile_map profiles;
  std::map<std::string, std::string>* section = nullptr;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view raw = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const std::string_view line = trimmed(raw);
    const bool nested = raw.starts_with(' ') || raw.starts_with('\t');
    if (line.empty() || line.front() == '#' || line.front() == ';' || nested) {
      continue;
    }
    if (line.front() == '[') {
      std::string_view name = trimmed(line.substr(1, line.find(']') - 1));
      if (name.starts_with("profile ") || name.starts_with("profile\t")) {
        name = trimmed(name.substr(8));
      }
      if (name.size() >= 2 && name.front() == '"' && name.back() == '"') {
        name = name.substr(1, name.size() - 2);
      }
      section = &profiles[std::string(name)];
      continue;
    }
    const std::size_t equals = line.find('=');
    if (section != nullptr && equals != std::string_view::npos) {
      (*section)[std::string(trimmed(line.substr(0, equals)))] = trimmed(line.substr(equals + 1));
    }
  }
  return profiles;
}

result<credentials> find_credentials(const environment_lookup& environment) {
  credentials named;
  named.access_key_id = value_of(environment, "AWS_ACCESS_KEY_ID");
  named.secret_access_key = value_of(environment, "AWS_SECRET_ACCESS_KEY");
  named.session_token = value_of(environment, "AWS_SESSION_TOKEN");
  named.source = "the environment";
  auto found = pair_of(std::move(named), {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"});
  if (!found) {
    return std::move(found.error());
  }
  if (*found) {
    return std::move(**found);
  }
  const std::string profile = profile_name(environment);
  const std::vector<shared_file> files = shared_files(environment);
  std::string places = "the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set)";
  for (const shared_file& file : files) {
    places += ", " + nothing_in(file, profile);
    const auto section = file.profiles.find(profile);
    if (section == file.profiles.end()) {
      continue;
    }
    credentials stored;
    stored.access_key_id = value_of(section->second, "aws_access_key_id");
    stored.secret_access_key = value_of(section->second, "aws_secret_access_key");
    stored.session_token = value_of(section->second, "aws_session_token");
    stored.source = "profile \"" + profile + "\" in " + file.path;
    found = pair_of(std::move(stored), {"aws_access_key_id", "aws_secret_access_key"});
    if (!found) {
      return std::move(found.error());
    }
    if (*found) {
      return std::move(**found);
    }
  }
  return access_error("no S3 credentials found; looked in " + places,
                      "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or put aws_access_key_id "
                      "and aws_secret_access_key under [" +
                          profile + "] in " + files.front().path);
}

std::optional<std::string> find_region(const environment_lookup& environment) {
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    if (std::string region = value_of(environment, name); !region.empty()) {
      return region;
    }
  }
  const std::string profile = profile_name(environment);
  for (const shared_file& file : shared_files(environment)) {
    const auto section = file.profiles.find(profile);
    if (section != file.profiles.end()) {
      if (std::string region = value_of(section->second, "region"); !region.empty()) {
        return region;
      }
    }
  }
  return std::nullopt;
}

}  // namespace bts3::s3
