// A target that is there already: whose it is, by what an earlier restore left, and what is still
// to be done for it. It is never written to.
//
// Facts come first, as a value; a function that asks nobody judges them; then what is left is
// finished. A dry run shows the verdict and does nothing.
#pragma once

#include "app/cli/exit_status.hh"
#include "app/restore/restore_request.hh"
#include "app/store/chain_reader.hh"
#include "app/store/services.hh"
#include "btrfs/receive_workspace.hh"
#include "btrfs/restored_mark.hh"
#include "engine/error.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <optional>
#include <string>

namespace bts3::app {

// What a target is marked with that holds this backup; of the manifest with its chunks.
[[nodiscard]] btrfs::restored_mark mark_of(const chain_link& backup);

// What tells whose a target is.
struct earlier_facts {
  // The manifest of the backup that it holds, by the records beside it: a restore was ended between
  // making the target and tidying up, or restored all and could not restore others.
  std::optional<std::string> recorded;
  // What it carries of the wanted backup's mark; looked at where no record tells.
  btrfs::mark_finding mark = btrfs::mark_finding::none;
};

enum class earlier_verdict {
  restored,    // it holds the wanted backup
  another,     // by the records it holds another one
  written_to,  // it held the wanted one, and has been written to since
  unknown,     // nothing tells of a restore of the wanted backup
};
[[nodiscard]] earlier_verdict judge(const earlier_facts& facts, const std::string& wanted_key);

// What is said of a target that does not count as restored (`verdict` is not that), with the
// remedy.
[[nodiscard]] engine::error refusal_of_target(earlier_verdict verdict, const earlier_facts& facts,
                                              const btrfs::target_report& target,
                                              const std::string& subvolume);

class earlier_restore {
 public:
  // Of a target that exists; `wanted` is the backup that is asked for, with its chunks. References
  // must outlive it.
  earlier_restore(const services& with, const restore_request& request, btrfs::target_report target,
                  const chain_link& wanted);

  // The facts as they are, without the lock: a restore may be under way there. Changes nothing. An
  // error when the records make no sense.
  engine::task<engine::result<earlier_facts>> find();

  // Prints that the target holds the wanted backup, or refuses it; for a dry run.
  engine::task<engine::result<exit_status>> show();

  // The same, and does what is left for a target that holds it: what --keep-received asks for, a
  // sync, the mark, and removing what is beside it. What --discard is about is removed, unless it
  // tells of a finished one of all.
  engine::task<engine::result<exit_status>> finish();

  // All targets are there: removes the records that have told that of this one. Nothing where there
  // are none.
  static engine::task<engine::result<void>> forget(const services& with, std::string target);

 private:
  struct recorded_outcome {
    std::optional<std::string> recorded;
    bool kept = false;
  };
  engine::task<engine::result<recorded_outcome>> finish_recorded();
  engine::task<engine::result<bool>> keep_received(btrfs::receive_workspace* workspace);
  engine::task<btrfs::mark_finding> look_at_mark();
  engine::task<void> forget_parts();

  const services& _with;
  const restore_request& _request;
  btrfs::target_report _target;
  const chain_link& _wanted;
};

}  // namespace bts3::app
