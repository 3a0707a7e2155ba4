// What was verified, when and how: a file beside the state file.
//
// Written by `verify`; read by `prune`, which deletes no old generation before the new full has
// been verified, and by whoever shows it. A cache like the state file: without it everything counts
// as not verified. Entries belong to one place (endpoint, bucket, keys): what is remembered of
// another place is not taken for this one's.
//
//   {"version":1,"subvolumes":{NAME:{"place":...,"at":...,"links":{MANIFEST KEY:{
//     "quick":{"at":...,"sound":true},"deep":{"at":...,"sound":false,"problem":...},...}},
//     "sample":{"manifest":...,"chunk":0,"part":7,"from_start":true}}}}
#pragma once

#include "app/services.hh"
#include "engine/result.hh"
#include "planner/timestamp.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace bts3::app {

// From the weakest to the strongest.
//   quick   every object is there, with size and, where the store tells it, checksum
//   sample  every part was read and hashed, in the course of several runs
//   deep    everything was read and hashed, and its stream understood, in one run
enum class verification_kind { quick, sample, deep };
[[nodiscard]] std::string_view to_string(verification_kind kind);

struct verification {
  planner::timestamp at;
  bool sound = false;
  std::string problem;  // the first that was found; empty when sound
};

// The last of each kind, of one manifest and its chunks.
struct verified_link {
  std::map<verification_kind, verification> by_kind;

  // The strongest sound one; nullopt when there is none, or a problem has been found that no
  // stronger and later verification refutes (one of its own kind replaces it).
  struct proof {
    verification_kind kind = verification_kind::quick;
    planner::timestamp at;
  };
  [[nodiscard]] std::optional<proof> proven() const;
  // A problem that stronger verifications than `kind` have found and none has refuted; null: none.
  [[nodiscard]] const verification* problem_beyond(verification_kind kind) const;

 private:
  [[nodiscard]] bool stands(verification_kind kind, const verification& found) const;
};

// Where sampling stands: the part that was read last.
struct sample_cursor {
  std::string manifest;     // its key; empty: at the beginning
  std::uint32_t chunk = 0;  // from 0
  std::uint32_t part = 0;   // from 0; a chunk without part states is one part
  bool from_start = false;  // all parts of this link before it were read as well, and are sound
};

struct verified_subvolume {
  std::string place;
  std::optional<planner::timestamp> at;        // when verify last ended, whatever it found
  std::map<std::string, verified_link> links;  // by key of the manifest
  sample_cursor cursor;
};

struct verify_record {
  std::map<std::string, verified_subvolume> subvolumes;
  // Of `subvolume` at that place; null: nothing is known.
  [[nodiscard]] const verified_subvolume* find(const std::string& subvolume,
                                               const std::string& place) const;
};

// "{directory}/{state file's stem}.verified.json"
[[nodiscard]] std::string verify_record_path(const std::string& state_path);
// The configured place of a subvolume's backups, as records name it.
[[nodiscard]] std::string place_of(const services& with, const std::string& subvolume);

// Empty when there is no file. One that makes no sense is an error (reason protocol) with the
// remedy.
[[nodiscard]] engine::result<verify_record> read_verify_record(const std::string& state_path);
// Temporary file, fsync, rename, fsync of the directory.
[[nodiscard]] engine::result<void> write_verify_record(const std::string& state_path,
                                                       const verify_record& record);

}  // namespace bts3::app
