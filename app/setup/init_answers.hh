// A first configuration as answers, and as the text of its file.
//
// Pure: nothing here looks at the host or at the bucket. What an answer has to be, the parser of
// the configuration decides (config.hh), so that no file is written that it would refuse.
#pragma once

#include "app/config/config.hh"
#include "engine/result.hh"
#include "engine/secret_string.hh"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

struct init_answers {
  std::vector<subvolume_config> subvolumes;  // names and paths alone
  std::string base_dir;
  std::string endpoint_url;  // empty: AWS
  std::string region;
  std::string bucket;
  std::string prefix;
  std::string storage_class;
  std::int64_t full_every_days = config().schedule.full_every_days.count();
  std::int64_t incremental_every_days = config().schedule.incremental_every_days.count();
  std::string state_path = "/var/lib/btrfs_to_s3/state.json";  // where the units may write
};

// "/srv/data", or "NAME=/srv/data". "~/" is put in by `home`, slashes at the end go, and the name
// is by default the path's last component, "root" for "/". Error (configuration): no absolute path.
engine::result<subvolume_config> parse_subvolume(std::string_view answer, std::string_view home);

// Whether the answers given so far can stand in a configuration: the first error is what its parser
// says (reason configuration). Those that are empty are not missed yet.
// `environment` may say where the store is; its BTRFS_TO_S3_... count for nothing.
engine::result<void> check_answers(const init_answers& answers,
                                   const engine::environment_lookup& environment);

// The configuration that the file will give. Errors: what is missing or wrong, by the parser.
engine::result<config> configured(const init_answers& answers,
                                  const engine::environment_lookup& environment);

// The file: every answer with a few words on it.
std::string init_toml(const init_answers& answers);

// A shared credentials file with one profile, "default".
engine::secret_string credentials_file(std::string_view access_key_id,
                                       const engine::secret_string& secret_access_key);

// "hosts/alpha" for a host of that name.
std::string proposed_prefix(std::string_view host);
// DEEP_ARCHIVE on AWS, STANDARD elsewhere, where there is hardly an archive.
std::string proposed_class(const std::string& endpoint_url);

// A mounted Btrfs filesystem, as /proc/self/mountinfo has it.
struct btrfs_mount {
  std::string mount_point;
  std::string root;  // of the mount, within the filesystem
  bool operator==(const btrfs_mount&) const = default;
};
// In the order of that file; what a later mount on the same place hides is left out.
std::vector<btrfs_mount> btrfs_mounts(std::string_view mountinfo);

// Whether somebody might want it backed up: not what snapshots, containers and temporary files are
// kept in.
bool worth_proposing(std::string_view path);

}  // namespace bts3::app
