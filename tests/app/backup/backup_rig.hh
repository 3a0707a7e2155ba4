// A whole backup job over played Btrfs: for tests of what a run leaves behind, in the store, in the
// journal and in the process.
//
// Each run() is what a new process would do: a reactor, a connection and a job of its own over the
// files and the store that earlier runs left. After each, slots, permits, ring operations (timers
// and polls among them) and children are counted.
#pragma once

#include "app/backup/backup_job.hh"
#include "app/records/run_report.hh"
#include "engine/age/x25519.hh"
#include "engine/standstill.hh"
#include "engine/stop.hh"
#include "planner/manifest.hh"
#include "tests/app/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/played_host.hh"

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace bts3::testing {

// What this process holds, against what it held when this was made.
class leak_check {
 public:
  leak_check();
  // A line for each thing too many: descriptors, threads, children.
  [[nodiscard]] std::vector<std::string> found() const;

 private:
  std::multiset<std::string> _descriptors;
  std::size_t _threads;
};

// What a job still holds of its budget, a line each.
std::vector<std::string> held_of(const app::upload_budget& budget);
// And what the ring still holds.
std::vector<std::string> held_of(const engine::reactor& loop);

// An object as both kinds of store keep it.
struct bucket_contents {
  std::map<std::string, std::string> objects;         // by key
  std::map<std::string, std::set<unsigned>> uploads;  // open ones by "key id"; their parts
};

class backup_rig {
 public:
  // Parts of 64 KiB, chunks of three of them, two parts in flight.
  static constexpr std::size_t part_bytes = 64 * 1024;
  static constexpr std::size_t chunk_parts = 3;

  // The source's stream is of six parts and a half: two chunks of three parts, and one that is a
  // single PUT.
  explicit backup_rig(std::size_t stream_bytes = 6 * part_bytes + part_bytes / 2);

  // Runs `backup`; the clock goes on by a minute before each. `before` may wrap the job's services.
  using preparation = std::function<void(engine::reactor&)>;
  engine::result<app::exit_status> run(const preparation& before = {});
  // "done", "cancelled", "exit N: " and why each subvolume failed, or the error's text.
  std::string run_text(const preparation& before = {});

  // "none", or what the journal holds: "0: parts 1 2 3, stored; 1: parts 1".
  [[nodiscard]] std::string journal_text() const;
  // What keeps `there` from being one chain of published backups, each restorable to what its
  // snapshot sent, and nothing else, here or there; empty when it is that.
  [[nodiscard]] std::string published_problem(const bucket_contents& there) const;
  // The pointer's manifest and its parents, newest first; empty when something is missing.
  [[nodiscard]] std::vector<planner::manifest> chain_in(const bucket_contents& there) const;

  scratch_directory place;
  played_host disk;
  fixed_clock clock;
  line_log log;
  app::config settings;
  app::store_tuning tuning;
  std::map<std::string, std::string> environment;
  // Asked before `environment` where it is set.
  std::function<std::optional<std::string>(std::string_view)> look_up;
  // Set: the run ends when it stands still for that long.
  std::optional<engine::standstill_limits> standstill;
  // Whose sealed backups are opened to see what they restore to.
  const age::x25519_identity* identity = nullptr;
  engine::stop_source* stop = nullptr;  // of the run under way, on its reactor's thread
  engine::reactor* loop = nullptr;      // likewise
  app::backup_job* job = nullptr;       // likewise
  std::thread helper;                   // of the run under way: joined before its reactor goes
  std::vector<std::string> left;        // by runs so far, what their job or ring still held
  // Used by every run when set: for a store that is bound to a reactor.
  std::unique_ptr<engine::reactor> shared_loop;

 private:
  [[nodiscard]] std::string chunks_problem(const bucket_contents& there,
                                           const planner::manifest& manifest) const;
  // What is wrong with its index; empty: nothing, or it has none.
  [[nodiscard]] std::string index_problem(const bucket_contents& there,
                                          const planner::manifest& manifest) const;
  // The key of a sealed one; nullopt where the user's identity does not open it.
  [[nodiscard]] std::optional<age::x25519_identity> key_of(const bucket_contents& there,
                                                           const planner::manifest& manifest) const;
  // What the parts of a sealed one say; empty when one of them cannot be opened.
  [[nodiscard]] std::string opened(const bucket_contents& there,
                                   const planner::manifest& manifest) const;
};

}  // namespace bts3::testing
