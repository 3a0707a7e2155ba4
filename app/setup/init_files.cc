#include "app/setup/init_files.hh"

#include "app/host/whole_file.hh"
#include "app/setup/init_taker.hh"
#include "engine/files.hh"
#include "s3/credentials/host_credentials.hh"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;

// The configuration tells no secret, and monitoring reads it without being root; keys are root's.
constexpr mode_t config_mode = 0644;
constexpr mode_t directory_mode = 0755;
// The package's example, which stands where the configuration will be, and is none.
constexpr const char* packaged_example = "/usr/share/doc/btrfs-to-s3/config.toml";

// A file, with its directory where that is missing; which of them are new, `made` removes.
struct written_file {
  std::string path;
  bool directory = false;
};

result<written_file> write_file(const std::string& path, std::string_view text, mode_t mode) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  written_file made{path};
  made.directory = engine::make_last_directory(directory);
  if (made.directory) {
    (void)::chmod(directory.c_str(), directory_mode);  // writing says what is wrong with it
  }
  auto written = engine::write_durably(path, text, mode);
  if (!written) {
    if (made.directory) {
      (void)::rmdir(directory.c_str());
    }
    return std::move(written.error());
  }
  return made;
}

}  // namespace

result<bool> check_output(const std::string& path, bool force) {
  bool over_example = false;
  if (!path.starts_with('/')) {
    return engine::configuration_error("--output " + path + " cannot be made absolute",
                                       "name it with all its "
                                       "directories");
  }
  std::error_code code;
  const std::filesystem::path file = path;
  const auto status = std::filesystem::symlink_status(file, code);
  if (std::filesystem::is_directory(status)) {
    return engine::configuration_error(path + " is a directory", "name a file with --output");
  }
  if (std::filesystem::exists(status) && !force) {
    const auto there = read_whole(path);
    const auto example = read_whole(packaged_example);
    over_example = there && *there && example && *example && **there == **example;
    if (!over_example) {
      return engine::configuration_error(path + " exists already",
                                         "--force replaces it, --output names another");
    }
  }
  // The last directory is made.
  std::filesystem::path parent = file.parent_path();
  if (!std::filesystem::exists(parent, code)) {
    parent = parent.parent_path();
  }
  if (!std::filesystem::is_directory(parent, code)) {
    return engine::configuration_error("the directory of " + path + " does not exist",
                                       "make it, or name a file with --output");
  }
  if (::access(parent.c_str(), W_OK) != 0) {
    error failure = engine::system_error(errno, "writing to " + parent.string());
    failure.why = reason::configuration;
    failure.remedy = "run this as root, or name a file with --output";
    return failure;
  }
  return over_example;
}

result<void> write_configuration(const std::string& path, std::string_view text,
                                 const std::optional<engine::secret_string>& credentials) {
  std::optional<written_file> keys;
  const bool replaced = ::access(s3::unit_credentials_file, F_OK) == 0;
  if (credentials) {
    auto written = write_file(s3::unit_credentials_file, credentials->view(), 0600);
    if (!written) {
      return std::move(written.error());
    }
    keys = std::move(*written);
  }
  auto written = write_file(path, text, config_mode);
  if (!written) {
    if (keys && !replaced) {
      (void)::unlink(keys->path.c_str());
      if (keys->directory) {
        (void)::rmdir(std::filesystem::path(keys->path).parent_path().c_str());
      }
    }
    return std::move(written.error());
  }
  return {};
}

}  // namespace bts3::app
