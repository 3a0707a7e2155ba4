// The restore of one subvolume: finds the backup and its chain, plans, refuses what cannot work,
// receives link after link, verifies, and makes the target.
//
// Where several are restored, each is looked at before anything of any is downloaded (look_ahead)
// and asked for (request_thaw), both by the chain that was found once; when it is its turn, hours
// later perhaps, run() looks again, as the bucket is by then. It does so once.
#pragma once

#include "app/cli/exit_status.hh"
#include "app/download/chain_thaw.hh"
#include "app/restore/chain_receiver.hh"
#include "app/restore/restore_reports.hh"
#include "app/restore/restore_request.hh"
#include "app/restore/restore_totals.hh"
#include "app/store/backup_key.hh"
#include "app/store/identity_source.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "btrfs/receive_workspace.hh"
#include "btrfs/restored_mark.hh"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// Of one subvolume among several: what run() will take.
struct restore_outlook {
  std::uint64_t bytes = 0;            // of the streams that are still to be received
  std::uint64_t available_bytes = 0;  // at the target
  bool interrupted = false;           // what an earlier restore left may still go
};

class restore_session {
 public:
  // Adds what it does to `totals`. `identities` are asked for when a sealed backup is met, before
  // anything is thawed or downloaded. References must outlive it.
  restore_session(const services& with, store_connection& connection, restore_request request,
                  identity_source& identities, restore_totals& totals);

  // Prints its result. With request.one_of_all the records of a target that is there stay, so that
  // the same command can be run again when others fail: a target that they prove to be of the
  // wanted backup counts as restored. forget() removes them when all are there.
  engine::task<engine::result<exit_status>> run();
  engine::task<engine::result<void>> forget();

  // Nothing for a target that is there; errors are run()'s.
  engine::task<engine::result<restore_outlook>> look_ahead();
  // The same as run() found it out, as far as a dry run did.
  [[nodiscard]] const std::optional<restore_outlook>& seen() const { return _seen; }

  // Before run(), where several are restored: asks for what must be thawed without waiting for it,
  // so that one does not wait for another's. Asks for nothing that run() would refuse, or where an
  // earlier restore was interrupted.
  engine::task<engine::result<void>> request_thaw();
  [[nodiscard]] bool waits_for_thaw() const { return _request.thaw.timeout.count() > 0; }

  // So many bytes are downloaded for others before this one's.
  void comes_after(std::uint64_t bytes) { _request.thaw.bytes_before = bytes; }
  void is_at(place_among here) { _here = here; }

 private:
  // A place and what is to be restored there.
  struct finding {
    btrfs::target_report target;
    std::vector<chain_link> chain;  // full first; empty: not looked for yet
  };
  [[nodiscard]] engine::result<restore_outlook> outlook_of(
      const btrfs::target_report& target, const std::vector<chain_link>& chain) const;
  engine::task<engine::result<std::vector<chain_link>>> find_backup();
  engine::task<engine::result<void>> open_keys(const std::vector<chain_link>& chain);
  [[nodiscard]] engine::result<void> check_kept(const chain_link& last) const;
  void print_plan(const restore_plan& plan) const;
  engine::task<engine::result<exit_status>> carry_out(const btrfs::target_report& target,
                                                      restore_plan plan);
  engine::task<engine::result<std::unique_ptr<btrfs::receive_workspace>>> prepare_workspace(
      btrfs::target_report target, const restore_plan& plan);
  [[nodiscard]] engine::result<void> check_before_receiving(
      const btrfs::target_report& target, const restore_plan& plan,
      const btrfs::receive_workspace& workspace) const;
  engine::task<engine::result<void>> receive(restore_plan& plan,
                                             btrfs::receive_workspace& workspace);
  engine::task<engine::result<void>> verify(const restore_plan& plan,
                                            const btrfs::receive_workspace& workspace);
  engine::task<engine::result<void>> make_target(const chain_link& last,
                                                 btrfs::receive_workspace& workspace);
  engine::task<engine::error> leave_for_the_next_run(const restore_plan& plan,
                                                     btrfs::receive_workspace& workspace,
                                                     engine::error failure);

  const services& _with;
  store_connection& _connection;
  restore_request _request;
  identity_source& _identities;
  restore_totals& _totals;  // of all
  restore_totals _did;      // of this one
  place_among _here;
  std::optional<restore_outlook> _seen;
  std::optional<finding> _found;  // by look_ahead(), for request_thaw()
  // Of sealed links, by their manifests' keys.
  std::map<std::string, std::shared_ptr<const backup_key>> _keys;
  btrfs::restored_mark _mark;  // of the backup that is restored
  bool _content_verified = false;
};

}  // namespace bts3::app
