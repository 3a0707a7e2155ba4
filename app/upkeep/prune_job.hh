// The prune command: looks at what the bucket has of each subvolume, lets the planner judge it,
// prints that, and with --yes deletes.
//
// Deleting happens generation by generation, the oldest first: its manifests one at a time,
// children before their parents, then its chunks, several at a time; orphans and open uploads come
// last. Wherever it is interrupted, every manifest that is still there has all of its chunks and
// all of its ancestors; chunks that have lost their manifest are orphans, and go with a later run.
// When a manifest cannot be deleted, the rest of its generation stays. The pointer is read again
// before each step, and when it has changed since it was looked at, nothing more is deleted: what
// was judged is not what is there.
//
// What goes is noted before the first of it does: in the record of verifications, so that verify
// does not miss it, and in the state, so that the next backup knows its snapshot for one that was
// published, and keeps or removes it by snapshots.retain.
//
// Object Lock and policies: what the store refuses to delete is named, and stops nothing else. In
// a bucket with versioning a deletion adds a delete marker, and the bytes stay, and are charged,
// until a lifecycle rule removes noncurrent versions.
//
// Ages are judged by the earlier of the store's clock (the Date of its answers) and this host's:
// a clock that is ahead makes nothing old.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/records/verify_record.hh"
#include "app/store/services.hh"
#include "app/survey/inventory.hh"
#include "app/upkeep/prune_report.hh"
#include "planner/prune.hh"
#include "s3/verbs/object_store.hh"

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace bts3::app {

// One subvolume. References must outlive it.
class subvolume_pruner {
 public:
  using store_clock = std::function<std::optional<std::chrono::system_clock::time_point>()>;

  subvolume_pruner(const services& with, s3::object_store& store, store_clock time,
                   const price_table& prices, std::string subvolume);

  // Before look(): judges as the host whose the current backup is would (--from), and not as this
  // one, where the backups of others are held.
  void judge_as_its_host() { _as_its_host = true; }
  // Reads and judges; changes nothing. Errors end up in the report.
  engine::task<void> look(const std::set<planner::timestamp>& in_the_making,
                          const verify_record& verified);
  // After look(): deletes what was judged so. `cancelled` when stopped, between two deletions.
  engine::task<engine::result<void>> act();

  [[nodiscard]] pruned_subvolume& report() { return _report; }

 private:
  struct group;
  engine::task<engine::result<planner::prune_observation>> observe(
      const std::set<planner::timestamp>& in_the_making, const verify_record& verified);
  void take_pointer(const pointer_finding& pointer, planner::prune_observation& seen);
  engine::task<engine::result<void>> observe_uploads(planner::prune_observation& seen);
  void observe_proof(planner::prune_observation& seen, const verify_record& verified);
  [[nodiscard]] planner::timestamp now() const;
  [[nodiscard]] std::vector<group> groups() const;
  engine::task<engine::result<void>> pointer_unmoved();
  engine::task<engine::result<void>> note_what_goes();
  engine::task<engine::result<void>> delete_all();
  engine::task<engine::result<void>> delete_group(group one);
  engine::task<engine::result<void>> delete_chunks(std::vector<planner::removal> chunks);
  engine::task<engine::result<bool>> delete_one(planner::removal one);
  engine::task<engine::result<void>> abort_uploads();
  bool note_refusal(const std::string& key, const engine::error& failure);

  const services& _with;
  s3::object_store& _store;
  store_clock _time;
  const price_table& _prices;
  std::string _root;
  bool _as_its_host = false;
  std::optional<std::string> _pointer_text;  // as it was when all was judged
  // Of the manifests that go: keys, and what says which snapshot each is of.
  std::map<std::string, std::string> _going;
  pruned_subvolume _report;
};

}  // namespace bts3::app
