// The configuration file: every key, its default and its limits.
//
// Unknown keys are errors and name the nearest known one. Keys that were renamed are taken by their
// former names too, unless both are set in one place. Keys whose feature this version lacks are
// known, and refused by name. Each value may be overridden by the environment variable
// BTRFS_TO_S3_{TABLE}_{KEY}, a list being written as in the file; sizes and times take a human form
// as a string.
#pragma once

#include "app/cli/choices.hh"
#include "engine/environment.hh"
#include "engine/log_sink.hh"
#include "engine/result.hh"
#include "planner/schedule.hh"
#include "s3/credentials/endpoint.hh"
#include "s3/http/proxy.hh"
#include "s3/verbs/object_store.hh"
#include "s3/verbs/store_exchange.hh"

#include <chrono>
#include <cstddef>
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

// Whether and how the store is asked to encrypt. `automatic`: AES256 on AWS, nothing elsewhere.
enum class object_encryption { automatic, aes256, kms, none };
// Whether a CRC32 goes with what does not need one. `automatic`: as the AWS files say.
enum class checksum_choice { automatic, crc32, none };
// A canned ACL ("Canned ACL", Amazon S3 User Guide); `none`: no header.
enum class object_acl { none, only_owner, bucket_owner_read, bucket_owner_full_control };
inline constexpr choice_word<object_acl> acl_words[] = {
    {"none", object_acl::none},
    {"private", object_acl::only_owner},
    {"bucket-owner-read", object_acl::bucket_owner_read},
    {"bucket-owner-full-control", object_acl::bucket_owner_full_control}};

// A struct for each table of the file; a member has its key's name. What may be absent is not
// there where the file says nothing, 0 or "auto".
struct global_settings {
  std::size_t parallel_subvolumes = 1;
  std::optional<std::uint64_t> memory_limit_bytes;
  engine::log_level log_level = engine::log_level::info;
  std::string state_path = "~/.local/state/btrfs_to_s3/state.json";
  std::string lock_path = default_lock_path;
  std::string spool_dir = "/mnt/ssd/btrfs_to_s3_spool";
  std::uint64_t spool_size_bytes = std::uint64_t{200} << 30;
};

struct schedule_settings {
  std::chrono::days full_every_days{180};
  std::chrono::days incremental_every_days{7};
  std::optional<std::chrono::minutes> incremental_every;  // less than a day; in place of the days
  planner::time_of_day run_at = std::chrono::minutes(120);
};

struct snapshot_settings {
  std::string base_dir = "/srv/snapshots";
  std::size_t retain = 2;
};

struct s3_settings {
  std::string bucket;
  std::string region;
  std::string prefix;
  std::uint64_t chunk_size_bytes = std::uint64_t{200} << 30;
  std::uint64_t part_size_bytes = std::uint64_t{128} << 20;
  // Empty: no header, as the bucket wants it. Names that AWS lacks only where another store is.
  s3::storage_class storage_class_chunks{"DEEP_ARCHIVE"};
  s3::storage_class storage_class_manifest{"STANDARD"};
  std::size_t concurrency = 4;
  bool spool_enabled = false;
  std::uint64_t parts_max = 10'000;
  object_encryption sse = object_encryption::automatic;
  std::string sse_kms_key_id;  // empty: the bucket's
  std::string endpoint_url;    // empty: as the environment says, else AWS
  s3::addressing addressing_style = s3::addressing::automatic;
  s3::payload_signing payload_signing = s3::payload_signing::automatic;
  checksum_choice checksum = checksum_choice::automatic;
  object_acl acl = object_acl::none;
  std::vector<std::pair<std::string, std::string>> tags;
  bool request_payer = false;
  std::optional<std::uint64_t> max_bandwidth_bytes_per_sec;
  std::chrono::milliseconds retry_for = std::chrono::hours(1);
  std::chrono::milliseconds resume_for = std::chrono::days(7);
  std::string ca_bundle;   // empty: the system's
  s3::proxy_choice proxy;  // may hold a password
};

struct btrfs_settings {
  std::optional<int> send_protocol;     // absent: the newest that the host has
  std::optional<bool> compressed_data;  // absent: where the protocol can
};

struct restore_settings {
  std::string target_base_dir = "/srv/restore";
  app::verify_mode verify_mode = app::verify_mode::full;
  std::uint64_t sample_max_files = 1000;
  std::optional<std::uint64_t> download_bytes_per_sec;
  std::chrono::seconds receive_stall_seconds{900};
  std::string price_table;  // empty: the program's own
  std::string trusted_signers_file;
  std::string identity_file;  // empty: none; for sealed backups
};

struct thaw_settings {
  bool wait = true;
  std::chrono::seconds timeout_seconds = std::chrono::days(3);
  s3::retrieval_tier tier = s3::retrieval_tier::standard;
  std::optional<unsigned> days;  // that copies live; absent: by size and rate
};

struct encryption_settings {
  std::vector<std::string> recipients;  // for whom backups are sealed; nobody: they are not
  std::string recipients_file;
  std::string signing_key_file;

  [[nodiscard]] bool seals() const { return !recipients.empty() || !recipients_file.empty(); }
};

struct index_settings {
  bool enabled = true;  // a backup writes one beside its manifest
  bool prove = true;    // that an incremental can be received is found out before it is published
};

struct retention_settings {
  std::optional<std::size_t> keep_generations;  // absent: nothing is deleted
};

struct metrics_settings {
  std::string textfile;  // empty: none
};

// A program and its arguments each; empty: none.
struct hook_settings {
  std::vector<std::string> before;
  std::vector<std::string> after;
  std::vector<std::string> before_snapshot;
  std::vector<std::string> after_snapshot;
  std::vector<std::string> on_failure;
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
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
  encryption_settings encryption;
  index_settings index;
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

// As the file has it: "none" where no header is sent.
[[nodiscard]] std::string as_written(const s3::storage_class& name);

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
