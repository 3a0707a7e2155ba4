// The journal of one backup in the making: what a later run needs to finish, resume or undo it.
//
// JSON lines in one file for each subvolume, beside the state file. The first line is the intent,
// durable before the snapshot is made; the others are appended and made durable as things happen:
// the snapshot's identity, each upload's id, each acknowledged part, each chunk about to be
// completed and each that is. A torn last line is ignored: what it tells had not been promised yet.
// The file is removed when the backup is published and remembered, or undone.
//
//   {"version":1,"event":"intent", ...}
//   {"event":"snapshot","uuid":...,"ctransid":...}
//   {"event":"upload","chunk":0,"id":...,"checksums":true,"written_as":...}
//   {"event":"part","chunk":0,"part":1,"size":...,"etag":...,"crc32":...,"state":...,"digest":...,
//    "at":...}                                             by the store's clock where it is known
//   {"event":"whole","chunk":0,"size":...,"sha256":...,"written_as":...}
//                                                          the stream has ended and was proven
//   {"event":"stored","chunk":0,"etag":...}                the object exists
//   {"event":"discard","chunk":0}                          its upload and parts count no more
#pragma once

#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/sha256.hh"
#include "engine/task.hh"
#include "engine/unique_fd.hh"
#include "planner/manifest.hh"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace bts3::app {

// What a backup set out to do.
struct backup_intent {
  std::string subvolume;
  std::string source;  // path of the live subvolume
  planner::backup_kind kind = planner::backup_kind::full;
  planner::timestamp when;
  std::string snapshot_path;
  std::string snapshot_name;
  std::string manifest_key;
  std::string keys_root;  // ".../subvol/{name}/"
  std::string chunk_tag;  // in its chunks' keys; empty in journals of older versions: none there
  std::optional<std::string> parent_manifest;
  std::string parent_snapshot;  // path; empty for a full
  // The text of current.json before; nullopt when there was none.
  std::optional<std::string> pointer_before;
  std::string endpoint_url;  // as configured; empty: AWS
  std::string region;
  std::string bucket;
  int protocol = 1;
  bool compressed_data = false;
  std::uint64_t part_size = 0;   // bytes
  std::uint64_t chunk_size = 0;  // bytes, the limit
  bool local_only = false;       // --no-s3
};

struct snapshot_identity {
  std::string uuid;
  std::uint64_t ctransid = 0;
};

struct journalled_part {
  std::uint64_t size = 0;
  std::string etag;
  std::uint32_t crc32 = 0;
  std::optional<engine::sha256_state> state;  // of the chunk after this part
  engine::sha256_state digest;                // of the chunk, if it ends with this part
  std::optional<planner::timestamp> at;       // when it was acknowledged
};

struct journalled_chunk {
  std::string upload_id;   // empty: none was recorded
  bool checksums = false;  // the upload was created with CRC32 declared
  // Storage class and encryption that it was or is to be written with, as one text; nullopt in
  // journals of older versions.
  std::optional<std::string> written_as;
  std::map<std::uint32_t, journalled_part> parts;
  std::optional<std::uint64_t> size;  // known once the stream was proven whole
  std::string sha256;
  bool stored = false;  // the object exists
  std::string etag;
};

struct journal_record {
  backup_intent intent;
  std::optional<snapshot_identity> snapshot;
  std::map<std::uint32_t, journalled_chunk> chunks;
  // When the last part was acknowledged, also of a chunk that was discarded since.
  std::optional<planner::timestamp> last_progress;
};

class journal {
 public:
  // Begins a new journal; the intent is durable when this returns. There must be none yet. All
  // references must outlive it.
  static engine::result<std::unique_ptr<journal>> begin(engine::reactor& loop,
                                                        engine::log_sink& log, std::string path,
                                                        const backup_intent& intent);
  // Goes on with the one at `path`, after dropping a torn last line.
  static engine::result<std::unique_ptr<journal>> reopen(engine::reactor& loop,
                                                         engine::log_sink& log, std::string path);

  // Each returns when its line is durable. A line that cannot be written is the last one, and a
  // warning says so: what is recorded stays true, and a later run repeats more than it had to.
  engine::task<void> note_snapshot(snapshot_identity identity);
  engine::task<void> note_upload(std::uint32_t chunk, std::string id, bool checksums,
                                 std::string written_as = {});
  engine::task<void> note_part(std::uint32_t chunk, std::uint32_t number, journalled_part part);
  engine::task<void> note_whole(std::uint32_t chunk, std::uint64_t size, std::string sha256,
                                std::string written_as = {});
  engine::task<void> note_stored(std::uint32_t chunk, std::string etag);
  engine::task<void> note_discarded(std::uint32_t chunk);

  [[nodiscard]] const std::string& path() const { return _path; }
  [[nodiscard]] std::size_t parts_noted() const { return _parts_noted; }
  // The backup is over, one way or the other.
  engine::result<void> remove();

 private:
  journal(engine::reactor& loop, engine::log_sink& log, std::string path, engine::unique_fd file,
          std::uint64_t size)
      : _loop(loop), _log(log), _path(std::move(path)), _file(std::move(file)), _size(size) {}
  engine::task<void> append(std::string line);
  void give_up(const engine::error& failure);

  engine::reactor& _loop;
  engine::log_sink& _log;
  std::string _path;
  engine::unique_fd _file;
  std::uint64_t _size;  // bytes, of whole lines
  std::size_t _parts_noted = 0;
  bool _broken = false;
};

// Where the journal of `subvolume` is kept; a --no-s3 run has one of its own.
std::string journal_path(const std::string& state_path, const std::string& subvolume,
                         bool local_only);
// The paths of all journals of this state file, of subvolumes that are configured or not, those
// that were set aside included. Left out are those of another state file in the same directory;
// those of which nobody can say whose they are, are there.
engine::result<std::vector<std::string>> list_journals(const std::string& state_path);
enum class journal_owner { this_state_file, another_state_file, unknown };
// Whose journal the file at `path` is, which need not exist. Journals of state.json and of
// state.media.json begin alike, and names of subvolumes may hold dots: what counts is the subvolume
// that the intent names. Without a readable intent the name has to do: it is certain where it can
// be read in one way only, or is that of a subvolume among `subvolumes`, whose journals can be
// nowhere else.
journal_owner owner_of_journal(const std::string& state_path, const std::string& path,
                               const std::set<std::string>& subvolumes = {});
// A journal set aside is of a backup that nobody goes on with, and of which something could not be
// removed yet: its place did not answer (so that it may be published there), deleting was denied, a
// dead run's sender still held the snapshot. Later runs try again.
bool is_set_aside(const std::string& path);
// Renames it so, with `when` in its name, or the next second that is free; returns the new path.
engine::result<std::string> set_journal_aside(const std::string& path, planner::timestamp when);
// The same for one that makes no sense; nobody looks at it again.
engine::result<std::string> set_damaged_journal_aside(const std::string& path,
                                                      planner::timestamp when);

// A file that cannot be read is an error of reason system: nothing follows from it. Reason protocol
// when the file makes no sense: its first line is damaged, or a newer version
// wrote it. Nullopt when there is no file, or it is empty: a crash came before the intent was
// written, so nothing was done.
engine::result<std::optional<journal_record>> read_journal(const std::string& path);
// Removes the file at `path`, durably.
engine::result<void> remove_journal(const std::string& path);

}  // namespace bts3::app
