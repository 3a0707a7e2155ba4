// Restoring one subvolume: resolve the chain, plan, refuse what cannot work, receive link after
// link, verify, and make the target. And the restore command, which does that for one or for all.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/restore/restore_verify.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "app/text/progress.hh"
#include "app/transfer/chain_thaw.hh"
#include "app/transfer/download_link.hh"
#include "app/transfer/received_proof.hh"
#include "btrfs/receive_watch.hh"
#include "btrfs/receive_workspace.hh"
#include "btrfs/restored_mark.hh"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// The restore command: connects, and restores one subvolume or with --all each; one that fails does
// not stop the others (exit status 6 when some succeeded). Prints results to standard output.
engine::task<engine::result<exit_status>> run_restore(const services& with,
                                                      restore_command command);

// What a run has restored, for the event that ends it.
struct restore_totals {
  std::uint64_t restored = 0;    // subvolumes
  std::uint64_t links = 0;       // received now
  std::uint64_t bytes = 0;       // released to `btrfs receive`
  std::uint64_t kept_bytes = 0;  // of these, that an earlier run had kept
  std::uint64_t parts = 0;
  std::uint64_t damaged_parts = 0;    // fetched again
  double transfer_seconds = 0;        // from the first download to the last link's record
  std::chrono::seconds thaw_wait{0};  // in all
};

// Of one subvolume among several, before anything of any is asked for.
struct restore_outlook {
  std::uint64_t bytes = 0;            // of the streams that are still to be received
  std::uint64_t available_bytes = 0;  // at the target
  bool interrupted = false;           // what an earlier restore left may still go
};

// What a target is marked with that holds this backup; of the manifest with its chunks.
[[nodiscard]] btrfs::restored_mark mark_of(const chain_link& backup);

class restore_job {
 public:
  // For command.subvolume and command.target, which must be set. References must outlive it.
  // Adds what it does to `totals`.
  restore_job(const services& with, store_connection& connection, restore_command command,
              restore_totals& totals);

  // With command.all the records of a target that is there stay, so that the same command can be
  // run again when others fail: a target that they prove to be of the wanted backup counts as
  // restored. forget() removes them when all are there.
  engine::task<engine::result<exit_status>> run();
  engine::task<engine::result<void>> forget();

  // Where several are restored: what run() will take. Nothing for a target that is there; errors
  // are run()'s.
  engine::task<engine::result<restore_outlook>> look_ahead();
  // So many bytes are downloaded for others before this one's.
  void comes_after(std::uint64_t bytes) { _thaw.bytes_before = bytes; }

  // It is the `position`th of so many; so many bytes are received for others after this one's.
  void is_one_of(std::size_t position, std::size_t count, std::uint64_t bytes_after) {
    _place =
        count > 1 ? " (" + std::to_string(position) + " of " + std::to_string(count) + ")" : "";
    _bytes_after = bytes_after;
  }

  // Before run(), where several are restored: asks for what must be thawed without waiting for it,
  // so that one does not wait for another's. Asks for nothing that run() would refuse, or where an
  // earlier restore was interrupted.
  engine::task<engine::result<void>> request_thaw();
  [[nodiscard]] bool waits_for_thaw() const { return _thaw.timeout.count() > 0; }

 private:
  engine::task<engine::result<restore_plan>> make_plan(const btrfs::target_report& target,
                                                       std::vector<chain_link> chain);
  engine::task<engine::result<exit_status>> carry_out(const btrfs::target_report& target,
                                                      restore_plan plan);
  engine::result<void> check_before_receiving(const btrfs::target_report& target,
                                              const restore_plan& plan,
                                              const btrfs::receive_workspace& workspace) const;
  // Takes the chunks out of the plan as they are downloaded.
  engine::task<engine::result<void>> receive_all(restore_plan& plan,
                                                 btrfs::receive_workspace& workspace,
                                                 chain_thaw& thaw);
  // What all links of a chain share.
  struct link_means {
    engine::buffer_pool& pool;
    engine::hash_worker& hashes;
    engine::spool* spool;  // may be null
    kept_parts* kept;      // may be null
    chain_thaw& thaw;
    progress& shown;
    std::uint64_t& bytes;  // that `shown` counts to
    bool read_again;       // every byte of what is received, for its verification
  };
  [[nodiscard]] std::unique_ptr<engine::spool> spool_for(const restore_plan& plan,
                                                         std::size_t first,
                                                         std::size_t piece_bytes) const;
  engine::task<engine::result<void>> receive_link(planned_link& planned, const chain_link* before,
                                                  btrfs::receive_workspace& workspace,
                                                  const link_means& means);
  engine::task<engine::result<void>> receive_once(planned_link& planned, const chain_link* before,
                                                  btrfs::receive_workspace& workspace,
                                                  const link_means& means);
  engine::task<engine::result<void>> feed(download_link& download, btrfs::receive_process& receive,
                                          const btrfs::receive_watch& watch);
  engine::task<engine::result<void>> take_received(const chain_link& link,
                                                   btrfs::receive_workspace& workspace,
                                                   received_proof& proof);
  engine::task<engine::result<void>> verify(const restore_plan& plan,
                                            const btrfs::receive_workspace& workspace);
  [[nodiscard]] engine::result<void> check_keep_received(const btrfs::target_report& target) const;
  [[nodiscard]] std::string kept_path(const chain_link& last) const;
  [[nodiscard]] engine::result<bool> kept_before(const chain_link& last,
                                                 const std::optional<btrfs::uuid>& received) const;
  engine::task<engine::result<void>> keep_received(const chain_link& last,
                                                   const btrfs::receive_workspace& workspace);
  engine::task<engine::result<bool>> keep_of_earlier(const chain_link& wanted,
                                                     btrfs::receive_workspace* workspace);
  engine::task<engine::result<exit_status>> finish_earlier(btrfs::target_report target,
                                                           const chain_link& wanted);
  engine::task<engine::result<exit_status>> recognise(btrfs::target_report target,
                                                      const chain_link& wanted);
  engine::task<engine::result<exit_status>> find_earlier(btrfs::target_report target,
                                                         const chain_link& wanted);
  void report_earlier(const btrfs::target_report& target, const chain_link& wanted,
                      bool kept) const;
  void report_broken_off(const chain_link& link, const download_link& download,
                         const kept_parts* kept) const;
  engine::task<std::unique_ptr<kept_parts>> open_kept_parts(const restore_plan& plan,
                                                            std::size_t first, bool with_spool);
  void plan_kept_parts(const btrfs::target_report& target, restore_plan& plan) const;
  void report_done(const restore_plan& plan, const restore_totals& before,
                   std::size_t links_kept) const;
  engine::task<engine::result<void>> make_target(const chain_link& last,
                                                 btrfs::receive_workspace& workspace);
  engine::task<void> tidy_up(btrfs::receive_workspace& workspace, btrfs::restored_mark mark);
  // The workspace's own, beside the event loop.
  engine::task<engine::result<btrfs::receive_workspace>> open_workspace(btrfs::target_report target,
                                                                        bool anew);
  engine::task<engine::result<void>> clean_workspace(btrfs::receive_workspace& workspace);
  engine::task<void> close_workspace(btrfs::receive_workspace& workspace);

  const services& _with;
  store_connection& _connection;
  restore_command _command;
  thaw_policy _thaw;
  verify_mode _verify;
  restore_totals& _totals;
  btrfs::restored_mark _mark;  // of the backup that is restored
  std::string _place;          // " (2 of 5)"
  std::uint64_t _bytes_after = 0;
  bool _content_verified = false;
  bool _decompress = false;        // encoded writes are not to be had, or not to be trusted
  std::uint64_t _lost_writes = 0;  // of the link that was received last
};

}  // namespace bts3::app
