#include "s3/credentials.hh"

#include <cstddef>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

namespace bts3::s3 {

namespace {

using engine::error;
using engine::result;

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

struct shared_file {
  std::string path;
  profile_map profiles;
};

std::vector<shared_file> shared_files(const environment_lookup& environment) {
  const std::string home = environment("HOME").value_or("");
  std::vector<shared_file> files;
  const std::pair<const char*, const char*> places[] = {
      {"AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials"}, {"AWS_CONFIG_FILE", "/.aws/config"}};
  for (const auto& [variable, standard] : places) {
    const std::string path =
        environment(variable).value_or(home.empty() ? std::string() : home + standard);
    if (path.empty()) {
      continue;
    }
    shared_file file;
    file.path = path;
    std::ifstream stream(path);
    std::stringstream text;
    text << stream.rdbuf();
    file.profiles = parse_profiles(text.str());
    files.push_back(std::move(file));
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

std::string value_of(const std::map<std::string, std::string>& settings, const char* key) {
  const auto found = settings.find(key);
  return found == settings.end() ? std::string() : found->second;
}

// Nullopt when neither half is there.
result<std::optional<credentials>> pair_of(std::string id, std::string secret, std::string token,
                                           const std::string& source, const char* id_name,
                                           const char* secret_name) {
  if (id.empty() && secret.empty()) {
    return std::optional<credentials>();
  }
  if (id.empty() || secret.empty()) {
    return access_error(source + " has " + (id.empty() ? secret_name : id_name) + " without " +
                            (id.empty() ? id_name : secret_name),
                        std::string("set both, or neither"));
  }
  credentials found;
  found.access_key_id = std::move(id);
  found.secret_access_key = std::move(secret);
  found.session_token = std::move(token);
  found.source = source;
  return std::optional<credentials>(std::move(found));
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
    const bool nested = !raw.empty() && (raw.front() == ' ' || raw.front() == '\t');
    if (line.empty() || line.front() == '#' || line.front() == ';' || nested) {
      continue;
    }
    if (line.front() == '[') {
      std::string_view name = trimmed(line.substr(1, line.find(']') - 1));
      if (name.starts_with("profile ")) {
        name = trimmed(name.substr(8));
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
  const auto wanted = environment("AWS_PROFILE");
  const std::string profile = wanted.value_or("default");
  const auto variable = [&](const char* name) { return environment(name).value_or(""); };
  if (!wanted) {
    auto found = pair_of(variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"),
                         variable("AWS_SESSION_TOKEN"), "the environment", "AWS_ACCESS_KEY_ID",
                         "AWS_SECRET_ACCESS_KEY");
    if (!found) {
      return std::move(found.error());
    }
    if (*found) {
      return std::move(**found);
    }
  }
  std::string places;
  for (const shared_file& file : shared_files(environment)) {
    places += ", profile \"" + profile + "\" in " + file.path;
    const auto section = file.profiles.find(profile);
    if (section == file.profiles.end()) {
      continue;
    }
    auto found = pair_of(value_of(section->second, "aws_access_key_id"),
                         value_of(section->second, "aws_secret_access_key"),
                         value_of(section->second, "aws_session_token"),
                         "profile \"" + profile + "\" in " + file.path, "aws_access_key_id",
                         "aws_secret_access_key");
    if (!found) {
      return std::move(found.error());
    }
    if (*found) {
      return std::move(**found);
    }
  }
  return access_error(
      "no S3 credentials found; looked in " +
          (wanted ? "AWS_PROFILE's places" + places
                  : "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)" + places),
      "set the two variables, or put a profile into the shared credentials file");
}

std::optional<std::string> find_region(const environment_lookup& environment) {
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    if (auto region = environment(name); region && !region->empty()) {
      return region;
    }
  }
  const std::string profile = environment("AWS_PROFILE").value_or("default");
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
