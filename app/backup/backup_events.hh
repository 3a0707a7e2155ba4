// What a run of `backup` tells as it happens. Who makes the report, writes the log or prints
// implements it; those that back up know of nobody who listens.
#pragma once

#include "app/records/journal_record.hh"
#include "app/records/run_report.hh"
#include "app/records/state_store.hh"
#include "app/survey/observer.hh"
#include "engine/error.hh"
#include "planner/manifest.hh"
#include "planner/plan.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// A backup that this run brought to its end: its pointer has moved, or with --no-s3 its stream was
// whole.
struct made_backup {
  explicit made_backup(const backup_intent& meant) : intent(meant) {}
  const backup_intent& intent;
  std::vector<planner::chunk_record> chunks;  // without the records of their parts
  std::uint64_t bytes = 0;                    // of the stream
  std::uint64_t resumed_bytes = 0;            // of these, what was there already
  double seconds = 0;                         // of streaming
  bool resumed = false;                       // an earlier run had begun it
  // Of an incremental: it was found that it can be received, or that could not be found out.
  std::optional<bool> proven;
  subvolume_standing standing;  // with it
};

// One of an earlier run, of which only the pointer had to move.
struct published_backup {
  explicit published_backup(const backup_intent& meant) : intent(meant) {}
  const backup_intent& intent;
  std::uint64_t bytes = 0;  // of its stream; 0: its manifest is not known
  std::size_t chunks = 0;
};

// Each default does nothing. Called on the reactor's thread; nothing told may be kept by reference.
class backup_events {
 public:
  backup_events() = default;
  virtual ~backup_events() = default;
  backup_events(const backup_events&) = delete;
  backup_events& operator=(const backup_events&) = delete;

  // First of all; `known` is what the state file remembers.
  virtual void begun(const std::vector<subvolume_config>& chosen, const run_state& known);
  // What the bucket says, which counts more than the state file.
  virtual void seen(const subvolume_view& view);
  virtual void planned(const subvolume_view& view, const planner::plan& plan);
  // Subvolumes below it that its backup has not; may be none.
  virtual void nested_left_out(const subvolume_config& which,
                               const std::vector<std::string>& nested);
  // Paths in its stream that `btrfs receive` has no room for; `lines` says so to people.
  virtual void cannot_be_received(const std::string& subvolume,
                                  const std::vector<std::string>& paths,
                                  const std::vector<std::string>& lines);
  virtual void made(const made_backup& backup);
  // It is made, and this host remembers it.
  virtual void remembered(const made_backup& backup);
  virtual void published(const published_backup& backup);
  virtual void hook_ended(const hook_report& hook);
  // The end of a subvolume's turn; `failure` null: all that was due is done.
  virtual void ended(const std::string& subvolume, const engine::error* failure);
  // Last of all.
  virtual void totals(const run_totals& figures);
};

}  // namespace bts3::app
