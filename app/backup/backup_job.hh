// The backup command: for each subvolume settle what an earlier run left unfinished, observe,
// decide, snapshot, stream, publish.
//
// Order for one subvolume: intent journalled; snapshot; its identity journalled; parts, each
// journalled; proof that the stream is whole (END seen, exit status 0); objects completed;
// manifest; pointer; state; journal removed; surplus snapshots removed. `current.json` is the
// commit point. A stream that breaks although its sender is content is sent again at once. A
// failure of the producer undoes everything; an interruption, or a store that does not answer,
// leaves snapshot, uploads and journal for the next run to go on with.
#pragma once

#include "app/backup/backup_journal.hh"
#include "app/backup/stream_attempts.hh"
#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/records/run_report.hh"
#include "app/records/state_store.hh"
#include "app/store/services.hh"
#include "app/survey/observer.hh"
#include "app/survey/unfinished.hh"
#include "app/transfer/upload_stream.hh"
#include "btrfs/processes.hh"
#include "btrfs/snapshot_manager.hh"
#include "engine/semaphore.hh"
#include "planner/plan.hh"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

class progress;

class backup_job {
 public:
  // The caller holds the run lock. `report`, which must outlive the job, is filled in as things
  // happen.
  backup_job(const services& with, backup_command command, std::vector<subvolume_config> chosen,
             run_report& report);
  ~backup_job();

  // Runs everything; prints results to standard output, unless they are wanted as JSON. One
  // subvolume's failure does not stop the others.
  engine::task<engine::result<exit_status>> run();

  // Memory, spool and parts in flight of the run; null before it. For whoever counts what is left.
  [[nodiscard]] upload_budget* budget() const { return _budget.get(); }

 private:
  struct made_backup;
  enum class made { done, start_again };

  engine::task<engine::result<exit_status>> run_all();
  struct run_share;
  engine::task<void> run_into(observed& one, run_share& share);
  engine::task<engine::result<void>> run_one(observed& one);
  engine::result<exit_status> outcome_of(const run_share& share) const;
  engine::task<engine::result<void>> back_up(subvolume_view view);
  engine::task<engine::result<subvolume_view>> observe(const subvolume_config& which);

  engine::task<engine::result<bool>> settle(subvolume_view& view);
  [[nodiscard]] bool is_ours(const std::string& path) const;
  engine::task<void> settle_others();
  engine::task<engine::result<std::optional<journal_record>>> load_journal(std::string path);
  engine::task<engine::result<void>> settle_one(std::string path, journal_record record,
                                                subvolume_view* view);
  engine::task<engine::result<void>> settle_at(const services& there, store_connection* connection,
                                               std::string path, journal_record record,
                                               subvolume_view* view);
  engine::task<engine::result<void>> record_published(std::string path,
                                                      const journal_record& record,
                                                      const unfinished_finding& found);
  engine::task<engine::result<void>> publish_unfinished(const services& there,
                                                        store_connection& connection,
                                                        std::string path,
                                                        const journal_record& record,
                                                        const unfinished_finding& found);
  engine::task<engine::result<void>> resume(std::string path, journal_record record,
                                            const unfinished_finding& found, subvolume_view& view);
  engine::task<engine::result<void>> abandon(const services& there, store_connection* connection,
                                             std::string path, journal_record record,
                                             bool second_writer);
  engine::task<engine::result<void>> leave_to_later(std::string path, const backup_intent& intent,
                                                    std::string why);

  engine::task<engine::result<void>> make(subvolume_view view, planner::plan plan);
  engine::task<engine::result<btrfs::snapshot>> create_snapshot(const subvolume_view& view,
                                                                std::string time, bool full);
  engine::task<engine::result<std::unique_ptr<made_backup>>> begin_backup(subvolume_view& view,
                                                                          const planner::plan& plan,
                                                                          std::string& given_up);
  engine::task<engine::result<std::unique_ptr<made_backup>>> begin_between_hooks(
      subvolume_view& view, const planner::plan& plan, std::string& given_up,
      engine::result<void>& hooks_after);
  engine::task<engine::result<std::string>> free_time(const subvolume_view& view,
                                                      std::string given_up);
  [[nodiscard]] backup_intent intent_for(const subvolume_view& view, const planner::plan& plan,
                                         const std::string& time) const;
  engine::task<engine::result<made>> finish(made_backup& backup);
  engine::task<engine::result<void>> stream_and_publish(made_backup& backup);
  engine::task<engine::result<void>> stream(made_backup& backup);
  engine::task<engine::result<stream_outcome>> stream_once(made_backup& backup);
  engine::task<engine::result<void>> prepare_again(made_backup& backup,
                                                   const stream_outcome& outcome,
                                                   after_stream next);
  void tell_why_again(const made_backup& backup, const stream_outcome& outcome,
                      after_stream next) const;
  engine::result<void> take_sent(made_backup& backup, const btrfs::stream_inspector& inspector);
  engine::task<engine::result<void>> publish(made_backup& backup);
  engine::task<void> undo(made_backup& backup);
  engine::task<void> estimate_into(const made_backup& backup, progress& shown,
                                   engine::stop_token stop);
  [[nodiscard]] std::uint64_t sent_bytes() const;
  [[nodiscard]] std::string more_progress(const upload_stream& upload) const;
  void report_totals(std::chrono::steady_clock::time_point began);
  [[nodiscard]] planner::manifest describe(made_backup& backup) const;

  void report_nested(const subvolume_config& which);
  // `standing`: what is known of the backup beside that; may be empty.
  engine::task<engine::result<void>> remember(const backup_intent& intent,
                                              snapshot_identity identity,
                                              subvolume_standing standing);
  engine::task<void> adopt_into_state(const subvolume_view& view);
  // What waits for the state's disk, beside the event loop.
  engine::task<engine::result<std::unique_ptr<journal_file>>> begin_journal(
      const backup_intent& intent);
  engine::task<engine::result<void>> remove_record(backup_journal& record);
  engine::task<engine::result<void>> remove_journal_at(std::string path);
  engine::task<engine::result<void>> save_state();
  engine::task<void> remove_surplus(const subvolume_view& view, std::string newest);
  void report(const planner::plan& plan, const subvolume_view& view);
  // Of a selected subvolume, else null.
  [[nodiscard]] subvolume_report* report_of(const std::string& name);
  void report_standing(const subvolume_view& view);
  void report_finished(const made_backup& backup);
  void count_finished(const finished_backup& done);
  void tell_harness(const made_backup& backup);
  [[nodiscard]] static subvolume_standing standing_after(const made_backup& backup);
  [[nodiscard]] bool parallel() const { return _with.settings.parallel_subvolumes > 1; }
  // A line for people; nothing where JSON is wanted.
  void print(const std::string& line) const;
  [[nodiscard]] planner::timestamp now() const;

  const services& _with;
  backup_command _command;
  std::vector<subvolume_config> _chosen;
  run_report& _report;
  btrfs::snapshot_manager _snapshots;
  btrfs::capabilities _host;
  host_identity _identity;
  engine::semaphore _between_hooks;  // of before_snapshot and after_snapshot: one pair at a time
  planner::policy _policy;
  system_time_zone _zone;
  std::unique_ptr<store_connection> _connection;  // null with --no-s3
  std::unique_ptr<state_store> _states;
  std::unique_ptr<upload_budget> _budget;
  run_state _state;
  engine::semaphore _saving;                  // of the state, by one at a time
  std::chrono::seconds _clock_correction{0};  // of the last plan, to be added to now()
};

// Enters every configured subvolume into the report, as the state file remembers it.
void begin_report(run_report& report, const config& settings,
                  const std::vector<subvolume_config>& chosen, const run_state& state);

}  // namespace bts3::app
