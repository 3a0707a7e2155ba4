#include "app/setup/init_answers.hh"

#include "app/config/setting_names.hh"
#include "app/text/subvolume_name.hh"
#include "engine/plain_text.hh"
#include "engine/setting.hh"
#include "s3/credentials/endpoint.hh"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;

// A basic string of TOML ("String", TOML v1.0.0).
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      char escaped[7];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string default_name(const std::string& path) {
  return path == "/" ? "root" : path.substr(path.rfind('/') + 1);
}

std::string quoted(const subvolume_config& one) {
  return one.name == default_name(one.path) && one.path != "/"
             ? quoted(one.path)
             : "{ name = " + quoted(one.name) + ", path = " + quoted(one.path) + " }";
}

// Answers that were not given yet, as something that nobody can object to.
init_answers filled(init_answers answers) {
  if (answers.subvolumes.empty()) {
    answers.subvolumes = {{"data", "/srv/data"}};
  }
  const std::pair<std::string init_answers::*, const char*> usual[] = {
      {&init_answers::base_dir, "/srv/snapshots"},
      {&init_answers::region, "region"},
      {&init_answers::bucket, "bucket"},
      {&init_answers::storage_class, "STANDARD"}};
  for (const auto& [member, text] : usual) {
    if ((answers.*member).empty()) {
      answers.*member = text;
    }
  }
  return answers;
}

// What the parser has no words of its own for, or others than those of whoever is asked.
std::optional<error> own_problem(const init_answers& answers) {
  std::vector<std::pair<const char*, std::string>> texts = {
      {"snapshots.base_dir", answers.base_dir},
      {"s3.endpoint_url", answers.endpoint_url},
      {"s3.region", answers.region},
      {"s3.bucket", answers.bucket},
      {"s3.prefix", answers.prefix},
      {"s3.storage_class_chunks", answers.storage_class},
      {"global.state_path", answers.state_path}};
  for (const subvolume_config& one : answers.subvolumes) {
    texts.emplace_back("subvolumes.paths", one.path);
    texts.emplace_back("subvolumes.paths", one.name);
  }
  for (const auto& [key, text] : texts) {
    if (!engine::is_utf8(text)) {
      return engine::configuration_error(
          std::string(shown_key(key)) + ": \"" + text + "\" is no UTF-8, which the file has to be",
          "give it another name, or mount it at another place");
    }
  }
  const std::string of_paths = std::string(shown_key("subvolumes.paths")) + ": ";
  for (std::size_t i = 0; i < answers.subvolumes.size(); ++i) {
    const subvolume_config& one = answers.subvolumes[i];
    const auto other = std::find_if(
        answers.subvolumes.begin(), answers.subvolumes.begin() + static_cast<std::ptrdiff_t>(i),
        [&](const subvolume_config& before) { return before.name == one.name; });
    if (other - answers.subvolumes.begin() < static_cast<std::ptrdiff_t>(i)) {
      return other->path == one.path
                 ? engine::configuration_error(of_paths + one.path + " is named twice",
                                               "name it once")
                 : engine::configuration_error(of_paths + other->path + " and " + one.path +
                                                   " are both called \"" + one.name + "\"",
                                               "give one another name: NAME=" + one.path);
    }
  }
  if (!answers.endpoint_url.empty()) {
    if (auto where = s3::parse_endpoint_url(engine::setting::endpoint, answers.endpoint_url);
        !where) {
      return std::move(where.error());
    }
  }
  return std::nullopt;
}

// The environment without what stands for keys of the configuration.
engine::environment_lookup without_keys(const engine::environment_lookup& environment) {
  return [&environment](std::string_view name) {
    return name.starts_with("BTRFS_TO_S3_") ? std::nullopt : environment(name);
  };
}

// "\040" and the like of /proc/self/mountinfo.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](std::size_t at) {
      return at < text.size() && text[at] >= '0' && text[at] <= '7';
    };
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out +=
          static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  while (!line.empty()) {
    const std::size_t end = std::min(line.find(' '), line.size());
    fields.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return fields;
}

}  // namespace

result<subvolume_config> parse_subvolume(std::string_view answer, std::string_view home) {
  subvolume_config one;
  const std::size_t sign = answer.find('=');
  const bool named =
      !answer.starts_with('/') && !answer.starts_with('~') && sign != std::string_view::npos;
  one.path = named ? answer.substr(sign + 1) : answer;
  if ((one.path == "~" || one.path.starts_with("~/")) && home.starts_with('/')) {
    one.path = std::string(home) + one.path.substr(1);
  }
  while (one.path.size() > 1 && one.path.ends_with('/')) {
    one.path.pop_back();
  }
  if (!one.path.starts_with('/')) {
    return engine::configuration_error(
        "\"" + one.path + "\" is no absolute path",
        "write /srv/data, or NAME=/srv/data for another name than the path's last part");
  }
  one.name = named ? std::string(answer.substr(0, sign)) : default_name(one.path);
  if (!is_subvolume_name(one.name)) {
    return engine::configuration_error(
        "\"" + one.name + "\" cannot be the name of a subvolume here",
        "write NAME=" + one.path + " with another name, without slashes");
  }
  return one;
}

result<config> configured(const init_answers& answers,
                          const engine::environment_lookup& environment) {
  if (auto problem = own_problem(answers)) {
    return std::move(*problem);
  }
  auto read = parse_config(init_toml(answers), "not possible", without_keys(environment));
  if (!read) {
    return read;
  }
  const bool same =
      read->snapshots.base_dir == answers.base_dir &&
      read->s3.endpoint_url == answers.endpoint_url && read->s3.region == answers.region &&
      read->s3.bucket == answers.bucket && read->s3.prefix == answers.prefix &&
      as_written(read->s3.storage_class_chunks) == answers.storage_class &&
      read->schedule.full_every_days.count() == answers.full_every_days &&
      read->schedule.incremental_every_days.count() == answers.incremental_every_days &&
      read->global.state_path == answers.state_path &&
      std::equal(read->subvolumes.begin(), read->subvolumes.end(), answers.subvolumes.begin(),
                 answers.subvolumes.end(),
                 [](const subvolume_config& one, const subvolume_config& other) {
                   return one.name == other.name && one.path == other.path;
                 });
  if (!same) {
    return engine::configuration_error(
        "an answer would not be read as it was given",
        "write paths out, without \"~\" and without slashes at their end");
  }
  return read;
}

result<void> check_answers(const init_answers& answers,
                           const engine::environment_lookup& environment) {
  auto read = configured(filled(answers), environment);
  if (!read) {
    return std::move(read.error());
  }
  return {};
}

std::string init_toml(const init_answers& answers) {
  const bool archived =
      answers.storage_class == "DEEP_ARCHIVE" || answers.storage_class == "GLACIER";
  std::string text =
      "# Configuration of btrfs_to_s3, begun by `btrfs_to_s3 init`. btrfs_to_s3.toml(5) has every "
      "key.\n"
      "# Credentials never stand here: they are in the environment or in the AWS files.\n"
      "\n[global]\n"
      "# What was backed up last; the bucket can rebuild it.\n"
      "state_path = " +
      quoted(answers.state_path) +
      "\n"
      "\n[subvolumes]\n"
      "# What is backed up. The name becomes part of the keys.\n"
      "paths = [\n";
  for (const subvolume_config& one : answers.subvolumes) {
    text += "  " + quoted(one) + ",\n";
  }
  text +=
      "]\n"
      "\n[snapshots]\n"
      "# Where the read-only snapshots are kept, on the filesystem of the subvolumes.\n"
      "base_dir = " +
      quoted(answers.base_dir) + "\n\n[s3]\n";
  if (!answers.endpoint_url.empty()) {
    text += "# The store.\nendpoint_url = " + quoted(answers.endpoint_url) + "\n";
  }
  text += "# The bucket, and where it is.\nbucket = " + quoted(answers.bucket) +
          "\nregion = " + quoted(answers.region) +
          "\n# All keys begin with this. One host for each prefix.\nprefix = " +
          quoted(answers.prefix) + "\n# Class of the data" +
          (archived ? ": cheap to keep, and takes hours to read" : "") +
          ".\nstorage_class_chunks = " + quoted(answers.storage_class) +
          "\n\n[schedule]\n# A full backup when the last one is so many days old.\n"
          "full_every_days = " +
          std::to_string(answers.full_every_days) +
          "\n# An incremental when the last backup of either kind is so many days old.\n"
          "incremental_every_days = " +
          std::to_string(answers.incremental_every_days) + "\n";
  return text;
}

engine::secret_string credentials_file(std::string_view access_key_id,
                                       const engine::secret_string& secret_access_key) {
  const engine::secret_string secret("aws_secret_access_key = ", secret_access_key.view());
  const std::string id = "[default]\naws_access_key_id = " + std::string(access_key_id) + "\n";
  return {engine::secret_string(id, secret.view()).view(), "\n"};
}

std::string proposed_prefix(std::string_view host) {
  return "hosts/" + (host.empty() ? std::string("localhost") : std::string(host));
}

std::string proposed_class(const std::string& endpoint_url) {
  return endpoint_url.empty() ? config().s3.storage_class_chunks.str() : "STANDARD";
}

std::vector<btrfs_mount> btrfs_mounts(std::string_view mountinfo) {
  // "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG]... - TYPE SOURCE ..." (proc_pid_mountinfo(5))
  std::vector<btrfs_mount> found;
  while (!mountinfo.empty()) {
    const std::size_t end = std::min(mountinfo.find('\n'), mountinfo.size());
    const std::vector<std::string_view> fields = fields_of(mountinfo.substr(0, end));
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 6 || fields.end() - dash < 2) {
      continue;
    }
    btrfs_mount one{unescaped(fields[4]), unescaped(fields[3])};
    std::erase_if(found,
                  [&](const btrfs_mount& hidden) { return hidden.mount_point == one.mount_point; });
    if (*(dash + 1) == "btrfs") {
      found.push_back(std::move(one));
    }
  }
  return found;
}

bool worth_proposing(std::string_view path) {
  constexpr std::string_view none_of[] = {
      "/tmp",
      "/var/tmp",
      "/var/cache",
      "/var/lib/docker",
      "/var/lib/containers",
      "/var/lib/machines",
      "/var/lib/portables",
  };
  const bool below = std::any_of(std::begin(none_of), std::end(none_of), [&](std::string_view one) {
    return path == one || (path.starts_with(one) && path[one.size()] == '/');
  });
  return !below && (std::string(path) + "/").find("/.") == std::string::npos;
}

}  // namespace bts3::app
