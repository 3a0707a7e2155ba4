// What the backups of a run share.
#pragma once

#include "app/backup/backup_events.hh"
#include "app/backup/remembered_state.hh"
#include "app/records/run_clock.hh"
#include "app/records/run_report.hh"
#include "app/store/manifest_signature.hh"
#include "app/store/services.hh"
#include "app/survey/observer.hh"
#include "app/upload/sealing.hh"
#include "app/upload/upload_budget.hh"
#include "btrfs/processes.hh"
#include "engine/semaphore.hh"

#include <map>
#include <memory>
#include <string>

namespace bts3::app {

struct backup_common {
  // References must outlive it.
  backup_common(const services& of, backup_events& to)
      : with(of),
        events(to),
        clock(of.clock),
        memory(of, clock),
        identity(this_host()),
        between_hooks(of.loop, 1) {}

  const services& with;
  backup_events& events;
  run_clock clock;
  remembered_state memory;
  btrfs::capabilities host;
  host_identity identity;
  backup_sealing sealing;
  engine::semaphore between_hooks;  // of before_snapshot and after_snapshot: one pair at a time
  run_totals totals;                // so far
  std::unique_ptr<store_connection> connection;  // null: nothing is uploaded (--no-s3)
  std::unique_ptr<upload_budget> budget;         // memory, spool and parts in flight
  std::unique_ptr<manifest_signer> signer;       // null: nothing is signed
  // By subvolume: why an incremental that this run made was not published.
  std::map<std::string, std::string> refused_incrementals;

  // Tells of it, and counts it: only what came to its end counts, and what was uploaded besides is
  // among the bytes sent.
  void note_made(const made_backup& made) {
    count(made.bytes, made.resumed_bytes);
    events.made(made);
  }
  void note_published(const published_backup& done) {
    count(done.bytes, done.bytes);
    events.published(done);
  }
  [[nodiscard]] bool uploads() const { return connection != nullptr; }
  // Several streams may be under way together.
  [[nodiscard]] bool parallel() const { return with.settings.global.parallel_subvolumes > 1; }

 private:
  void count(std::uint64_t bytes, std::uint64_t resumed_bytes) {
    ++totals.backups;
    totals.bytes += bytes;
    totals.resumed_bytes += resumed_bytes;
  }
};

}  // namespace bts3::app
