#include "s3/credentials/credentials.hh"

#include "engine/text_lines.hh"
#include "s3/credentials/host_credentials.hh"
#include "s3/credentials/small_file.hh"
#include "s3/http/ascii_text.hh"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::error;
using engine::result;
using engine::value_of;

// A control character, or what is as little part of a word.
bool has_any_below(std::string_view text, unsigned char lowest) {
  return std::any_of(text.begin(), text.end(), [lowest](char letter) {
    const auto code = static_cast<unsigned char>(letter);
    return code < lowest || code == 0x7f;
  });
}

shared_profiles::file read_shared_file(std::string path) {
  shared_profiles::file file;
  auto text = read_small_file(path);
  if (text) {
    const engine::wiped afterwards(*text);
    file.profiles = parse_profiles(*text);
  } else {
    file.trouble = std::move(text.error().message);
  }
  file.path = std::move(path);
  return file;
}

constexpr key_names variables = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"};
constexpr key_names settings = {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"};

// Nullopt when neither half is there.
result<std::optional<credentials>> pair_of(const std::function<std::string(const char*)>& lookup,
                                           const key_names& names, std::string source) {
  credentials found;
  found.access_key_id = lookup(names.id);
  for (const auto& [name, into] : {std::pair(names.secret, &found.secret_access_key),
                                   std::pair(names.token, &found.session_token)}) {
    std::string text = lookup(name);
    const engine::wiped afterwards(text);
    *into = text;
  }
  found.source = std::move(source);
  trim_keys(found);
  const bool has_id = !found.access_key_id.empty();
  const bool has_secret = !found.secret_access_key.empty();
  if (!has_id && !has_secret) {
    return std::optional<credentials>();
  }
  if (!has_id || !has_secret) {
    const std::string missing = has_id ? names.secret : names.id;
    return unusable(
        found.source + " has " + (has_id ? names.id : names.secret) + " without " + missing,
        "set " + missing + " too, or neither of the two");
  }
  auto checked = checked_keys(std::move(found), names);
  if (!checked) {
    return std::move(checked.error());
  }
  return std::optional<credentials>(std::move(*checked));
}

// "" when it is not there.
std::string setting_in(const shared_profiles::file& file, const std::string& profile,
                       const char* key) {
  const auto section = file.profiles.find(profile);
  if (section == file.profiles.end()) {
    return "";
  }
  const auto found = section->second.find(key);
  return found == section->second.end() ? "" : std::string(found->second.view());
}

}  // namespace

bool credentials::same_keys(const credentials& other) const {
  return access_key_id == other.access_key_id && secret_access_key == other.secret_access_key &&
         session_token == other.session_token;
}

void trim_keys(credentials& found) {
  found.access_key_id = std::string(trimmed(found.access_key_id));
  for (engine::secret_string* text : {&found.secret_access_key, &found.session_token}) {
    *text = engine::secret_string(trimmed(text->view()));
  }
}

result<credentials> checked_keys(credentials found, const key_names& names) {
  const struct {
    const char* name;
    std::string_view text;
    unsigned char lowest;
  } fields[] = {{names.id, found.access_key_id, '!'},
                {names.secret, found.secret_access_key.view(), ' '},
                {names.token, found.session_token.view(), '!'}};
  for (const auto& [name, text, lowest] : fields) {
    if (has_any_below(text, lowest)) {
      return unusable(found.source + ": " + name + " has " + (lowest > ' ' ? "a blank, " : "") +
                          "a line end or another control character in it",
                      std::string("let ") + name + " be the bare text, in one line");
    }
  }
  return found;
}

error nothing_in(std::string place) {
  error failure;
  failure.what_now = engine::disposition::not_found;
  failure.why = engine::reason::access;
  failure.message = std::move(place);
  return failure;
}

error unusable(std::string message, std::string remedy) {
  error failure;
  failure.why = engine::reason::access;
  failure.message = std::move(message);
  failure.remedy = std::move(remedy);
  return failure;
}

profile_map parse_profiles(std::string_view text) {
  profile_map profiles;
  profile_map::mapped_type* section = nullptr;
  std::string block;  // the setting that nested ones belong to; empty: none
  while (!text.empty()) {
    const std::string_view raw = engine::next_line(text);
    const std::string_view line = trimmed(raw);
    const bool nested = raw.starts_with(' ') || raw.starts_with('\t');
    if (line.empty() || line.front() == '#' || line.front() == ';') {
      continue;
    }
    if (!nested) {
      block.clear();
    }
    if (line.front() == '[' && !nested) {
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
      const std::string name(trimmed(line.substr(0, equals)));
      const std::string_view value = trimmed(line.substr(equals + 1));
      if (!nested) {
        (*section)[name] = value;
        block = value.empty() ? name : "";
      } else if (!block.empty()) {
        (*section)[block + "." + name] = value;
      }
    }
  }
  return profiles;
}

shared_profiles shared_profiles::read(const engine::environment_lookup& environment) {
  shared_profiles all;
  all._chosen = value_of(environment, "AWS_PROFILE");
  all._explicitly = !all._chosen.empty();
  if (!all._explicitly) {
    all._chosen = "default";
  }
  const std::string home = value_of(environment, "HOME");
  const std::pair<const char*, const char*> places[] = {
      {"AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"}, {"AWS_CONFIG_FILE", "~/.aws/config"}};
  if (std::string path = value_of(environment, host_credentials_file); !path.empty()) {
    all._files.push_back(read_shared_file(std::move(path)));
  }
  for (const auto& [variable, standard] : places) {
    std::string path = value_of(environment, variable);
    if (path.empty()) {
      path = standard;
    }
    if (path.starts_with("~/") && home.empty()) {
      file unread;
      unread.path = path;
      unread.trouble = "HOME is not set";
      all._files.push_back(std::move(unread));
    } else {
      all._files.push_back(read_shared_file(path.starts_with("~/") ? home + path.substr(1) : path));
    }
  }
  return all;
}

bool shared_profiles::has(const std::string& profile) const {
  return std::any_of(_files.begin(), _files.end(),
                     [&](const file& one) { return one.profiles.contains(profile); });
}

std::string shared_profiles::setting(const std::string& profile, const char* key) const {
  for (const file& one : _files) {
    if (std::string value = setting_in(one, profile, key); !value.empty()) {
      return value;
    }
  }
  return "";
}

std::string shared_profiles::where(const std::string& profile, const char* key) const {
  const file* found = nullptr;
  for (const file& one : _files) {
    if (!setting_in(one, profile, key).empty()) {
      found = &one;
      break;
    }
    if (found == nullptr && one.profiles.contains(profile)) {
      found = &one;
    }
  }
  return "profile \"" + profile + "\"" + (found != nullptr ? " in " + found->path : "");
}

std::string shared_profiles::why_nothing(const std::string& profile) const {
  std::string places;
  for (const file& one : _files) {
    std::string why = one.trouble;
    if (why.empty()) {
      why = one.profiles.contains(profile) ? "profile \"" + profile + "\" has no keys"
                                           : "has no profile \"" + profile + "\"";
    }
    places += (places.empty() ? "" : ", ") + one.path + " (" + why + ")";
  }
  return places;
}

result<credentials> environment_keys(const engine::environment_lookup& environment) {
  auto found = pair_of([&](const char* name) { return value_of(environment, name); }, variables,
                       "the environment");
  if (!found) {
    return std::move(found.error());
  }
  if (!*found) {
    return nothing_in("the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set)");
  }
  return std::move(**found);
}

result<credentials> profile_keys(const shared_profiles& profiles, const std::string& profile) {
  for (const shared_profiles::file& file : profiles.files()) {
    auto found = pair_of([&](const char* key) { return setting_in(file, profile, key); }, settings,
                         "profile \"" + profile + "\" in " + file.path);
    if (!found) {
      return std::move(found.error());
    }
    if (*found) {
      return std::move(**found);
    }
  }
  return nothing_in(profiles.why_nothing(profile));
}

std::optional<std::string> find_region(const engine::environment_lookup& environment) {
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    if (std::string region(trimmed(value_of(environment, name))); !region.empty()) {
      return region;
    }
  }
  const shared_profiles profiles = shared_profiles::read(environment);
  std::string region = profiles.setting(profiles.chosen(), "region");
  return region.empty() ? std::nullopt : std::optional(std::move(region));
}

}  // namespace bts3::s3
