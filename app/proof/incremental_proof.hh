// Whether `btrfs receive` would take an incremental, found out before its pointer moves: the
// commands of its stream are applied to a model of its parent (parent_model.hh).
//
// It never fails a backup. What keeps it from an answer, a full disk or a parent that cannot be
// described, is the warning `not_proven`, and the backup is published without one.
#pragma once

#include "app/proof/parent_model.hh"
#include "app/records/journal_record.hh"
#include "app/store/services.hh"
#include "app/upload/index_making.hh"
#include "btrfs/index/catalogue.hh"
#include "btrfs/processes.hh"
#include "btrfs/subvolume.hh"
#include "engine/async_scope.hh"
#include "engine/error.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <memory>
#include <string>

namespace bts3::app {

struct proof_outcome {
  bool proven = false;
  std::string refused;  // why it must not be published; empty, and not proven: there is no answer
};

class incremental_proof {
 public:
  // Null where none is wanted: of a full, with --no-s3, and where the configuration says so.
  // References must outlive it.
  [[nodiscard]] static std::unique_ptr<incremental_proof> of(const services& with,
                                                             const backup_intent& intent);

  incremental_proof(const services& with, const backup_intent& intent);

  // Has the parent's model made where it is missing, beside whatever happens meanwhile. Once;
  // end() has to be awaited afterwards.
  void begin();
  // Of a stream that was whole, and of that snapshot. Logs what it finds, and keeps a refused one's
  // description. The only error is a stop (cancelled). Once for each sending, after begin().
  engine::task<engine::result<proof_outcome>> judge(const index_making& described,
                                                    btrfs::subvolume_info snapshot,
                                                    btrfs::capabilities host);
  // Nothing of it is under way any more.
  engine::task<void> end();

 private:
  using applied = std::optional<btrfs::index::refusal>;

  engine::task<void> prepare();
  engine::task<engine::result<applied>> apply(const index_making& described);
  void tell_unproven(const engine::error& why) const;

  const services& _with;
  const backup_intent& _intent;
  parent_model _model;
  engine::result<void> _prepared = engine::ok();
  engine::stop_source _ending;
  engine::async_scope _scope;
};

}  // namespace bts3::app
