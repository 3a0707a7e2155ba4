// The configuration file: every key, its default and its limits.
//
// Unknown keys are errors and name the nearest known one. Keys that were renamed are taken by their
// former names too, unless both are set in one place. Keys whose feature this version lacks are
// known, and refused by name. Each value may be overridden by the environment variable
// BTRFS_TO_S3_{TABLE}_{KEY}, a list being written as in the file; sizes and times take a human form
// as a string.
#pragma once

#include "engine/environment.hh"
#include "engine/result.hh"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::app {

struct subvolume_config {
  std::string name;
  std::string path;
  // Subvolumes below it that no warning tells of: all, or those at or below these directories,
  // which are relative to `path`.
  bool ignore_all_nested = false;
  std::vector<std::string> ignore_nested = {};
};

// What the program takes beside the parts (DESIGN.md, promise 4), and in all with the spool on.
inline constexpr std::uint64_t other_memory_bytes = std::uint64_t{64} << 20;
inline constexpr std::uint64_t spool_memory_bytes = std::uint64_t{160} << 20;

// Where the lock lies by default: where only root can write.
inline constexpr char default_lock_path[] = "/var/lib/btrfs_to_s3/lock";

// A struct for each table of the file; a member has its key's name.
struct global_settings {
  std::int64_t parallel_subvolumes = 1;
  std::uint64_t memory_limit_bytes = 0;
  std::string log_level = "info";
  std::string state_path = "~/.local/state/btrfs_to_s3/state.json";
  std::string lock_path = default_lock_path;
  std::string spool_dir = "/mnt/ssd/btrfs_to_s3_spool";
  std::uint64_t spool_size_bytes = std::uint64_t{200} << 30;
};

struct schedule_settings {
  std::int64_t full_every_days = 180;
  std::int64_t incremental_every_days = 7;
  std::chrono::milliseconds incremental_every{0};  // less than a day; 0: by days
  std::string run_at = "02:00";
};

struct snapshot_settings {
  std::string base_dir = "/srv/snapshots";
  std::int64_t retain = 2;
};

struct s3_settings {
  std::string bucket;
  std::string region;
  std::string prefix;
  std::uint64_t chunk_size_bytes = std::uint64_t{200} << 30;
  std::uint64_t part_size_bytes = std::uint64_t{128} << 20;
  // "none": no header, as the bucket wants it. Names that AWS lacks only where another store is.
  std::string storage_class_chunks = "DEEP_ARCHIVE";
  std::string storage_class_manifest = "STANDARD";
  std::int64_t concurrency = 4;
  bool spool_enabled = false;
  std::int64_t parts_max = 10'000;
  std::string sse = "auto";  // AES256 on AWS, nothing asked elsewhere
  std::string sse_kms_key_id;
  std::string endpoint_url;
  std::string addressing_style = "auto";
  std::string payload_signing = "auto";
  std::string checksum = "auto";
  std::string acl = "none";
  std::vector<std::pair<std::string, std::string>> tags;
  bool request_payer = false;
  std::uint64_t max_bandwidth_bytes_per_sec = 0;
  std::chrono::milliseconds retry_for{3'600'000};
  std::chrono::milliseconds resume_for{7 * 86'400'000};
  std::string ca_bundle;
  std::string proxy;  // may hold a password; "none": not even the environment's
};

struct btrfs_settings {
  std::string send_protocol = "auto";
  std::string compressed_data = "auto";
};

struct restore_settings {
  std::string target_base_dir = "/srv/restore";
  std::string verify_mode = "full";
  std::int64_t sample_max_files = 1000;
  std::uint64_t download_bytes_per_sec = 0;
  std::int64_t receive_stall_seconds = 900;
  std::string price_table;
};

struct thaw_settings {
  bool wait = true;
  std::int64_t timeout_seconds = 259'200;
  std::string tier = "Standard";
  std::string days = "auto";
};

struct retention_settings {
  std::int64_t keep_generations = 0;
};

struct metrics_settings {
  std::string textfile;
};

// A program and its arguments each; empty: none.
struct hook_settings {
  std::vector<std::string> before;
  std::vector<std::string> after;
  std::vector<std::string> before_snapshot;
  std::vector<std::string> after_snapshot;
  std::vector<std::string> on_failure;
  std::chrono::milliseconds timeout{600'000};
};

struct config {
  global_settings global;
  schedule_settings schedule;
  snapshot_settings snapshots;
  std::vector<subvolume_config> subvolumes;
  s3_settings s3;
  btrfs_settings btrfs;
  restore_settings restore;
  thaw_settings thaw;
  retention_settings retention;
  metrics_settings metrics;
  hook_settings hooks;

  // A chunk as it is made: at most s3.parts_max parts.
  [[nodiscard]] std::uint64_t chunk_limit_bytes() const;
  // Parts of `part_bytes` in flight at a time: concurrency, or what global.memory_limit_bytes
  // leaves room for beside one part that fills and other_memory_bytes. 0: not even one.
  [[nodiscard]] std::size_t parts_in_flight(std::uint64_t part_bytes) const;
  // The memory that parts need: one more than are in flight, and other_memory_bytes.
  [[nodiscard]] static std::uint64_t memory_for(std::size_t parts_in_flight,
                                                std::uint64_t part_bytes);
};

// Reads and checks `path`, which must be absolute. Every problem found is named in the one error
// (reason configuration; `not_found` where there is no such file).
engine::result<config> load_config(const std::string& path,
                                   const engine::environment_lookup& environment);
// The same from text; `name` stands for the file in messages.
engine::result<config> parse_config(std::string_view text, const std::string& name,
                                    const engine::environment_lookup& environment);

// `settings` with what BTRFS_TO_S3_... say of every key but `except` ("table.key") and
// subvolumes.paths, and "~" put in. Errors as load_config()'s.
engine::result<config> with_environment(config settings, const std::vector<std::string>& except,
                                        const engine::environment_lookup& environment);

// A variable that begins as those of keys do, and is none of them nor of this program's others.
struct unknown_variable {
  std::string name;
  std::string nearest;  // of the known ones
};
std::vector<unknown_variable> unknown_variables(const std::vector<std::string>& names);

// All keys as "table.key", in the order of the documentation.
std::vector<std::string> config_keys();

}  // namespace bts3::app
