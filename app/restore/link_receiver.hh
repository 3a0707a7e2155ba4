// One link of a chain: its chunks are downloaded, `btrfs receive` takes them, and what it made of
// them is proven and recorded. A link counts as received only when every byte had its digest, the
// stream was whole, the receiver ended well, what it left is the snapshot that the manifest
// describes, the disk has all of it, and the record of it is durable.
//
// Where encoded writes are lost, it is received once more with ordinary ones, of which syncfs
// tells: it may be that this kernel or filesystem took none, or that the disk failed for a moment.
#pragma once

#include "app/download/chain_thaw.hh"
#include "app/download/download_link.hh"
#include "app/records/kept_parts.hh"
#include "app/restore/restore_request.hh"
#include "app/restore/restore_totals.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "app/text/progress.hh"
#include "btrfs/receive_workspace.hh"
#include "engine/buffer_pool.hh"
#include "engine/hash_worker.hh"
#include "engine/result.hh"
#include "engine/spool.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <cstdint>

namespace bts3::app {

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

class link_receiver {
 public:
  // Adds what it does to `totals`. References must outlive it.
  link_receiver(const services& with, s3::object_store& store, const restore_request& request,
                btrfs::receive_workspace& workspace, link_means means, restore_totals& totals);

  // Takes the chunks out of `planned`. `before`: the link that was received last, onto which this
  // one goes; null for the first. Errors: what was downloaded is not what is recorded (reason
  // integrity), the stream is refused, the receiver stalls, the disk loses data, a stop.
  engine::task<engine::result<void>> receive(planned_link& planned, const chain_link* before);

 private:
  struct attempt;
  engine::task<engine::result<void>> receive_once(planned_link& planned, const chain_link* before);
  engine::task<engine::result<void>> prepare(attempt& one);
  engine::task<engine::result<void>> run_receiver(attempt& one);
  engine::task<engine::error> failure_of(attempt& one, engine::error failure);
  engine::task<engine::result<void>> take_received(attempt& one);
  engine::task<void> forget_kept_parts();

  const services& _with;
  s3::object_store& _store;
  const restore_request& _request;
  btrfs::receive_workspace& _workspace;
  link_means _means;
  restore_totals& _totals;
  bool _decompress = false;        // encoded writes are not to be had, or not to be trusted
  std::uint64_t _lost_writes = 0;  // of the link that was received last
};

}  // namespace bts3::app
