// Undoing a backup, from its record alone: its uploads, its objects, its snapshot.
//
// The one way in which this program takes back what it has put somewhere. It asks nothing of
// pointer and manifest: whoever calls has seen that nobody may need the backup.
#pragma once

#include "app/records/journal_record.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <string>
#include <vector>

namespace bts3::app {

// How far a removal looks in the bucket.
enum class removal_reach {
  // To what the record names, key by key: it is of this process, which has left nothing out. What
  // cannot be removed is logged, and the rest is removed all the same.
  named,
  // Besides, to whatever lies under the backup's keys, which carry its time and tag: the run that
  // wrote the record is dead, and the record may have missed something. The first failure ends it.
  keys,
};

struct removal_order {
  journal_record record;
  removal_reach reach = removal_reach::keys;
  bool manifest = false;   // it may be in the bucket, and is this backup's
  bool signature = false;  // likewise what signs it
  // The manifest at its key is another's. Chunks' keys without a tag (older versions') may then be
  // the other's too: of those only uploads that the record names are aborted (reach keys), or
  // nothing is touched (named: by then they are no uploads any more).
  bool key_is_anothers = false;
};

class removal {
 public:
  // References must outlive it. `limit` ends what is under way in the bucket.
  removal(const services& with, removal_order order, engine::stop_token limit);

  // In the bucket. A store that does not let us list open uploads, or does not know how to list or
  // abort them, is no failure: no later run could do better.
  engine::task<engine::result<void>> objects(s3::object_store& store);
  // The snapshot, when it is the one that the record names and not another of its name, which is
  // logged. True when it was there. While a sender that was stopped has not let go of it, the
  // kernel refuses with EPERM, and this waits for 2 s at most.
  engine::task<engine::result<bool>> snapshot();

 private:
  engine::task<engine::result<void>> named_objects(s3::object_store& store);
  engine::task<engine::result<void>> end_index_upload(s3::object_store& store);
  engine::task<engine::result<void>> end_named(s3::object_store& store, s3::object_key key,
                                               journalled_chunk chunk);
  engine::task<engine::result<void>> delete_named(s3::object_store& store, s3::object_key key);
  engine::task<engine::result<void>> objects_by_keys(s3::object_store& store);
  engine::task<engine::result<void>> end_by_keys(s3::object_store& store);
  engine::task<engine::result<void>> delete_by_keys(s3::object_store& store);
  engine::task<engine::result<void>> abort_all(s3::object_store& store,
                                               std::vector<s3::listed_upload> uploads);

  const services& _with;
  removal_order _order;
  engine::stop_token _limit;
  std::string _prefix;  // of its chunks' keys
};

// Deletes a snapshot, with the same patience.
engine::task<engine::result<void>> remove_snapshot(const services& with, std::string path);

}  // namespace bts3::app
