// The command line as values.
#pragma once

#include "app/cli/choices.hh"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bts3::app {

struct common_options {
  std::string config_path =
      "/etc/btrfs_to_s3/config.toml";  // absolute after parsing, where it can be
  std::optional<engine::log_level> log_level;
  bool quiet = false;    // nothing at all where the exit status is 0, but warnings
  bool verbose = false;  // what is usually of no interest, too
  std::string log_format = "text";
};

struct backup_command {
  std::vector<std::string> subvolumes;  // names; empty: all
  bool dry_run = false;
  bool once = false;  // also when not due
  bool full = false;  // in full, due or not
  bool no_s3 = false;
  bool adopt = false;  // take over a prefix that another host wrote to
  bool json = false;   // one document on standard output instead of lines
};

// What `backup` would do; --dry-run gives the same.
struct plan_command {
  std::vector<std::string> subvolumes;
  bool once = false;
  bool full = false;
  bool adopt = false;
  bool json = false;
};

// Instead of a configuration file.
struct bucket_place {
  std::string from;  // "s3://bucket/prefix"; empty: there is a configuration
  std::string region;
  std::string endpoint_url;
  std::string profile;
  // Where a backup is read: a file of those who may have signed it; absent:
  // restore.trusted_signers_file.
  std::optional<std::string> trusted_signers;
};

// Which backup, of what, where.
struct backup_selection : bucket_place {
  std::string subvolume;     // empty with `all`
  bool all = false;          // every subvolume that is configured or in the bucket
  std::string manifest_key;  // empty: by `at`
  std::string at;            // a point in time as written; empty: the current backup
  bool current = false;      // said explicitly
};

// What a command does about archived objects, and how long it may take then.
struct thaw_options {
  std::optional<bool> wait_thaw;                     // absent: by a timeout, else thaw.wait
  std::optional<std::chrono::seconds> thaw_timeout;  // absent: thaw.timeout_seconds
  std::optional<s3::retrieval_tier> tier;            // absent: thaw.tier
  std::optional<std::uint64_t> download_rate;        // absent: restore.download_bytes_per_sec
};

struct restore_command : backup_selection, thaw_options {
  std::vector<std::string> identities;  // files, or "-"; for sealed backups
  std::string target;                   // empty: below the target base
  std::string target_base;              // empty: restore.target_base_dir
  std::optional<verify_mode> verify;    // absent: restore.verify_mode
  bool verify_first = false;
  bool keep_received = false;
  bool discard = false;  // what an interrupted restore left is removed first
  bool no_space_check = false;
  bool dry_run = false;
  bool json = false;
};

// Requests archived objects, and tells whether they can be read.
struct thaw_command : backup_selection {
  std::optional<s3::retrieval_tier> tier;      // absent: thaw.tier
  std::optional<std::uint64_t> download_rate;  // absent: restore.download_bytes_per_sec
  bool dry_run = false;
  bool json = false;
};

// What can be restored. Of the selection only the place and the subvolume count; empty: all.
struct list_command : backup_selection {
  bool json = false;
};

// For monitoring: whether the backups are as young as they should be.
struct status_command : bucket_place {
  std::vector<std::string> subvolumes;
  std::optional<std::chrono::seconds> max_age;  // absent: by the schedule
  bool json = false;
};

// Deletes what retention.keep_generations leaves no place for.
struct prune_command : bucket_place {
  std::vector<std::string> subvolumes;  // names; empty: all
  bool yes = false;                     // act, instead of telling what would be done
  bool dry_run = false;                 // said explicitly
  bool json = false;
};

enum class verify_depth { quick, deep, sample };

// Looks whether what is in the bucket is what was put there.
struct verify_command : bucket_place {
  std::vector<std::string> subvolumes;  // names; empty: all
  std::string manifest_key;             // only this backup and its chain; empty: everything
  verify_depth depth = verify_depth::quick;
  std::uint64_t sample_parts = 0;       // for `sample`
  bool prove = false;                   // that they can be received; `deep` does in any case
  std::string cache_dir;                // for indexes; absolute, where it can be; empty: the usual
  std::vector<std::string> identities;  // files, or "-"; for `deep` and proofs of sealed backups
  bool forget_missing = false;          // what is gone was meant to go
  bool json = false;
};

// Whether this host is ready to back up and to restore.
struct doctor_command {
  std::vector<std::string> subvolumes;  // names; empty: all
  bool write = true;                    // with the write check
  bool json = false;
};

// Asks for a first configuration, checks the answers, writes it. What is empty was not said.
struct init_command {
  std::vector<std::string> subvolumes;  // PATH, or NAME=PATH
  std::string snapshots;
  std::optional<std::string> endpoint_url;  // empty: AWS
  std::string region;
  std::string bucket;
  std::optional<std::string> prefix;
  std::string storage_class;
  std::optional<std::int64_t> full_every_days;
  std::optional<std::int64_t> incremental_every_days;
  std::string output;              // absolute, where it can be; empty: --config's
  bool write_credentials = false;  // the keys that were found, for the units
  bool yes = false;                // ask nothing
  bool force = false;              // over a file that is there
  bool json = false;
};

// Makes an identity, with which backups that are sealed for its recipient are read.
struct keys_generate_command {
  static constexpr std::string_view usual_file = "btrfs_to_s3-identity.txt";
  std::string file;         // absolute, where it can be; must not exist
  bool passphrase = false;  // sealed with one
  bool json = false;
};

// Which keys these are.
struct keys_show_command {
  std::vector<std::string> keys;  // recipients, files of identities or recipients, or "-"
  bool json = false;
};

// A backup whose files are looked at, by its index.
struct files_selection : backup_selection {
  std::vector<std::string> identities;  // files, or "-"; for sealed backups
  std::string cache_dir;                // for indexes; absolute, where it can be; empty: the usual
};

// How paths are shown.
struct shown_paths {
  bool details = false;  // as ls -l has it
  bool null = false;     // raw, each with a zero byte behind it
  bool json = false;
};

struct ls_command : files_selection, shown_paths {
  std::string path;        // empty: all of it
  bool directory = false;  // itself, and not what is in it
};

// What counts is more than `least`, or less than `most`, or within both.
struct find_command : files_selection, shown_paths {
  std::string path;
  std::string name;  // as a shell writes it; empty: any
  std::optional<std::uint64_t> size_min;
  std::optional<std::uint64_t> size_max;
  std::optional<std::chrono::seconds> age_min;  // since it was changed
  std::optional<std::chrono::seconds> age_max;
  std::string newer;  // changed after that point in time, as written
  std::string older;
  char type = 0;  // as find has it: f, d, l, p, s, c, b; 0: any
};

// Which backups changed a path.
struct history_command : files_selection {
  std::string path;
  bool json = false;
};

// What differs between two backups.
struct diff_command : files_selection, shown_paths {
  std::string path;
  std::vector<std::string> times;  // one or two of these,
  std::vector<std::string> keys;   // or of these; the other is the current backup
};

// The content of a file, to standard output.
struct cat_command : files_selection {
  std::string path;
};

// Files and directories of a backup, into a directory of this host.
struct extract_command : files_selection, thaw_options {
  std::vector<std::string> paths;
  std::string target;  // absolute, where it can be
  bool overwrite = false;
  std::optional<bool> owner;  // absent: as root
  bool set_id = false;        // setuid and setgid bits, and file capabilities
  bool skip_damaged = false;
  bool verify_parts = false;
  bool dry_run = false;
  bool json = false;
};

// A backup as a directory of this host, until it is unmounted.
struct mount_command : files_selection {
  std::string directory;     // absolute, where it can be
  bool allow_other = false;  // not for this user alone
};

// Makes the indexes that a chain lacks, from its chunks, for this host.
struct index_build_command : files_selection {
  bool dry_run = false;
  bool json = false;
};

// Which backups the identities open.
struct keys_check_command : bucket_place {
  std::vector<std::string> identities;  // files, or "-"; empty: restore.identity_file
  std::string subvolume;                // empty: all
  bool json = false;
};

// Seals the keys of backups for other recipients.
struct keys_rewrap_command : bucket_place {
  std::vector<std::string> identities;  // files, or "-"; empty: restore.identity_file
  std::vector<std::string> recipients;  // age1..., or files; empty: encryption.recipients
  std::string subvolume;                // empty: all
  bool dry_run = false;
  bool json = false;
};

// What a shell may offer for the last word of a line that is being typed. Hidden: `complete --
// WORD...` is for the shells' completions alone, which so know no option themselves.
struct complete_command : files_selection {
  enum class kind { words, files, directories, subvolumes, times, manifest_keys, paths };
  struct candidate {
    std::string word;
    std::string help;  // may be empty
  };
  kind what = kind::words;
  std::string begin;                  // of the word, as far as it is typed, without `stem`
  std::string stem;                   // "--at=", which each candidate begins with
  std::vector<candidate> candidates;  // for `words`, those that begin so
};

struct command_line {
  common_options common;
  std::variant<backup_command, plan_command, restore_command, thaw_command, list_command,
               status_command, prune_command, verify_command, doctor_command, init_command,
               keys_generate_command, keys_show_command, keys_check_command, keys_rewrap_command,
               ls_command, find_command, history_command, diff_command, index_build_command,
               cat_command, extract_command, mount_command, complete_command>
      command;
};

// What to print and exit with instead of running: help, version, a usage error.
struct early_exit {
  int status = 0;
  std::string text;
  bool to_stderr = false;
};

std::variant<command_line, early_exit> parse_command_line(int argc, const char* const* argv);

}  // namespace bts3::app
