// A backup whose store misbehaves by script, as rows of a table: the whole job over real sockets,
// from looking at the bucket to the state file.
//
// Every row says exactly which requests the run makes, what the server holds afterwards, what the
// journal holds, and how the run ends; where something stayed, what the next run makes of it. After
// every run the memory's slots, the ring and the children are counted, and after every row the
// process's descriptors and threads.
#pragma once

#include "tests/app/backup/backup_rig.hh"
#include "tests/support/scripted_s3_server.hh"

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace bts3::testing {

// How many requests of each kind.
using tally = std::map<std::string, int>;

// A first full of six parts and a half that nothing disturbs: the pointer is looked for and the
// keys are listed; two uploads of three parts are completed, each with a HEAD for size and ETag and
// a look for uploads left by repeated Creates; last chunk, manifest and pointer are put.
inline const tally undisturbed = {{"get", 1},      {"list", 1}, {"create", 2},       {"part", 6},
                                  {"complete", 2}, {"head", 2}, {"list_uploads", 2}, {"put", 3}};

// `counts`, and so many `more`.
tally with(tally counts, const tally& more);

std::string text_of(const tally& counts);
std::string text_of(const std::vector<std::string>& lines);

// A rig whose store is a scripted server; its backups are without an index (index_test.cc).
struct scripted_scene {
  explicit scripted_scene(const scripted_s3_options& options);

  tally requests() const;
  bucket_contents contents() const;
  // "2 objects; open 1: 1 2": how many objects, and of each open upload the chunk and its parts.
  std::string server_text() const;
  // Stops the run when that many requests are stalled.
  void stop_at_stall(std::size_t count);

  scripted_s3_server server;
  backup_rig rig;
  backup_rig::preparation before;  // of the first run
};

struct scenario {
  std::string title;
  std::function<void(scripted_scene&)> arrange;
  // What the first run makes.
  std::string outcome;  // "done", or a part of the error
  tally requests;
  std::string server;  // "" : published, and nothing else there
  std::string journal = "none";
  // The second run, without the script; no requests: there is none, as the first has published.
  tally again = {};
  // Requests that the first run may make in excess, where what is in flight together decides.
  tally at_most_more = {};
  std::function<void(scripted_scene&)> between = {};
  // A part of a line in the first run's log: that the trouble happened is seen there.
  std::string logged = {};
  scripted_s3_options options = [] {
    scripted_s3_options made;
    made.enforce_part_minimum = false;
    return made;
  }();
};

// Plays both runs of a row, and tests what it says.
void play(const scenario& row);

// Whatever is opened once and for good (libcurl's, OpenSSL's, the resolver's) is open after this.
void warm_up();

}  // namespace bts3::testing
