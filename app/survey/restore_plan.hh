// What a restore will do, as a value: found out before anything is downloaded, printed by
// --dry-run, and the ground on which a restore that cannot work is refused.
#pragma once

#include "app/prices/restore_prices.hh"
#include "app/store/backup_key.hh"
#include "app/store/chain_reader.hh"
#include "btrfs/processes.hh"
#include "engine/result.hh"
#include "planner/chunk_comparison.hh"
#include "s3/verbs/archive_thaw.hh"
#include "s3/verbs/object_store.hh"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// A chunk as it was found in the bucket.
struct located_chunk {
  planner::chunk_record record;
  s3::object_key key;  // where it is, which in a copied bucket differs from the record
  s3::object_info info;
  // As HEAD told it: "STANDARD", "DEEP_ARCHIVE", "INTELLIGENT_TIERING (ARCHIVE_ACCESS)".
  [[nodiscard]] std::string storage_class() const;
};

// By the HEAD that located it, at time `now`. A header that makes no sense is an error (reason
// protocol).
[[nodiscard]] engine::result<planner::chunk_comparison> compare_located(const located_chunk& chunk,
                                                                        s3::wall_time now);

struct planned_link {
  chain_link link;  // its manifest without the chunks
  std::vector<located_chunk> chunks;
  std::uint64_t plain_bytes = 0;          // of the stream, where it is sealed
  std::shared_ptr<const backup_key> key;  // of a sealed one that is to be received; else null
};

// What must be thawed before the download, by storage class as located_chunk names it. Only classes
// that have to be waited for or asked about are in it.
struct planned_thaw {
  struct row {
    s3::thaw_survey found;
    bool offered = true;  // the tier, for this class
  };
  s3::retrieval_tier tier = s3::retrieval_tier::standard;
  unsigned days = 0;       // that copies will live
  bool days_auto = false;  // they come from the size and the rate
  bool in_turn = false;    // and from what other subvolumes are read before
  std::map<std::string, row> classes;
  [[nodiscard]] s3::thaw_survey total() const;
};

// Where the rate that a download is estimated with comes from.
enum class rate_source {
  assumed,   // 10 MB/s
  stated,    // --download-rate, restore.download_bytes_per_sec
  limited,   // s3.max_bandwidth_bytes_per_sec, which is lower
  measured,  // by the download that is under way
};
[[nodiscard]] const char* name_of(rate_source source);

struct planned_time {
  std::chrono::seconds thaw{0};  // typically at most; 0: nothing is waited for
  std::chrono::seconds download{0};
  std::uint64_t bytes_per_sec = 0;
  rate_source from = rate_source::assumed;
};

struct restore_plan {
  std::string subvolume;
  std::string target;
  bool interrupted = false;  // an earlier restore to it left something
  // Of the link that is received next, on disk from an earlier run; how much of a link would be
  // kept there (0: nothing); and how much of it may be on its way there, at most.
  std::uint64_t kept_bytes = 0;
  std::uint64_t keep_limit_bytes = 0;
  std::uint64_t unkept_bytes_max = 0;
  std::vector<planned_link> links;  // full first
  planned_thaw thaw;
  planned_time time;
  std::optional<restore_cost> cost;
  std::uint64_t available_bytes = 0;  // at the target
  btrfs::capabilities host;
  std::string source;        // the backup's snapshot on this host; empty: not here
  std::string verification;  // "full", "sample", "none"

  [[nodiscard]] std::uint64_t bytes() const;  // of all streams, as they are stored
  [[nodiscard]] std::size_t objects() const;
  [[nodiscard]] int protocol() const;  // the highest of the links'
  struct class_total {
    std::size_t objects = 0;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] std::map<std::string, class_total> classes() const;
  // Without the lists of parts, which only the download needs.
  [[nodiscard]] std::vector<located_chunk> chunks_from(std::size_t link) const;
};

// Bytes that receiving streams of `stream_bytes` takes at most, unless the target's filesystem
// stores less than it is given (compression).
//   streams, as they are: file content is nearly all of them, and content that a later link
//     replaces stays until the restore has ended
//   1/64 for metadata: checksums of 4 bytes for each block of 4 KiB, twice (DUP), are 1/512; the
//     rest is for extent and inode items of trees of small files
//   16 MiB: what a new subvolume and a transaction take at once
[[nodiscard]] std::uint64_t space_needed(std::uint64_t stream_bytes);

// Reasons against restoring: a stream protocol that this host cannot receive (by the first such
// link); too little space for `stream_bytes`, with the sum.
engine::result<void> check_protocol(const restore_plan& plan);
engine::result<void> check_space(const restore_plan& plan, std::uint64_t stream_bytes);

// What several subvolumes take together, of what is not restored yet.
struct space_for_all {
  std::string where;                  // the directory of their targets
  std::size_t subvolumes = 0;         // of which something is to be received
  std::uint64_t stream_bytes = 0;     // of these
  std::uint64_t needed_bytes = 0;     // as space_needed() tells for each
  std::uint64_t available_bytes = 0;  // there
  void add(std::uint64_t one_streams_bytes);
  [[nodiscard]] bool enough() const { return needed_bytes <= available_bytes; }
};
// Refuses, with the sum, what fits singly and not together.
engine::result<void> check_space(const space_for_all& space);
// The last line of a dry run of several: for people, and as a JSON document.
[[nodiscard]] std::string space_text(const space_for_all& space);
[[nodiscard]] std::string space_json(const space_for_all& space);

// "in 3 hours to 5 hours", "within 12 hours".
[[nodiscard]] std::string thaw_time_text(const s3::thaw_time& typical);
// A line or more, each indented.
[[nodiscard]] std::string thaw_text(const planned_thaw& thaw);
[[nodiscard]] std::string time_text(const planned_time& time);

// What reading these chunks takes from the provider. Chunks without a part size are read in pieces
// of `part_bytes`.
[[nodiscard]] restore_demand demand_of(const std::vector<located_chunk>& chunks,
                                       const planned_thaw& thaw, std::uint64_t part_bytes);

// "thaw", "time" and "money" of a plan, as JSON objects on one line each.
[[nodiscard]] std::string thaw_json_text(const planned_thaw& thaw);
[[nodiscard]] std::string time_json_text(const planned_time& time);
[[nodiscard]] std::string cost_json_text(const restore_cost& cost);

// For people, several lines; and one JSON document on one line.
[[nodiscard]] std::string plan_text(const restore_plan& plan);
[[nodiscard]] std::string plan_json(const restore_plan& plan);

}  // namespace bts3::app
