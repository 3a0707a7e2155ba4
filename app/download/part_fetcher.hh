// One part of a chunk from where it is, the bucket, the spool or the disk that an earlier run kept
// it on, into its slot, verified. What is damaged is fetched again, twice, on new connections; a
// thawed copy that has expired is thawed again.
#pragma once

#include "app/download/chain_thaw.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "app/text/progress.hh"
#include "engine/buffer_pool.hh"
#include "engine/event.hh"
#include "engine/hash_worker.hh"
#include "engine/semaphore.hh"
#include "engine/spool.hh"
#include "s3/verbs/object_store.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace bts3::app {

class kept_parts;

// A damaged part is fetched this often, each time on a new connection, before it counts as damaged
// in the bucket.
inline constexpr int downloads_max = 3;

// What is fetched with one GET and released at once.
struct link_part {
  explicit link_part(engine::reactor& loop) : ready(loop, "a part that is downloaded") {}
  std::size_t chunk = 0;
  std::uint32_t number = 1;  // within the chunk
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t ranges = 1;                    // that it is fetched in
  bool last = false;                           // of its chunk
  bool streaming = false;                      // verified in order, with the rest of its chunk
  std::optional<engine::sha256_state> before;  // absent for a first part
  engine::sha256_state expected;               // after this part; the digest for a last one
  engine::spool_lease stored;                  // valid: it comes from there
  engine::permit ahead;
  engine::slot_lease slot;
  engine::event ready;
};

using part_pointer = std::shared_ptr<link_part>;

class part_fetcher {
 public:
  // Of `chunks`, whose records may get part states until a part of them is fetched. References must
  // outlive it; `shown`, `thaw` and `spool` may be null. Everything ends with `stop`.
  part_fetcher(const services& with, s3::object_store& store, engine::buffer_pool& pool,
               engine::hash_worker& hashes, const std::vector<located_chunk>& chunks,
               progress* shown, chain_thaw* thaw, engine::spool* spool, engine::stop_token stop);

  // Parts that can be verified alone are kept there. Must outlive it.
  void keep_in(kept_parts& kept) { _kept = &kept; }
  // Every GET is made on a new connection.
  void distrust_connections() { _fresh = true; }

  // Into its slot; verified, unless it is streaming. Reason integrity, naming chunk and part, for
  // bytes that stay wrong.
  engine::task<engine::result<void>> fetch(part_pointer one);

  // Read from kept_parts.
  [[nodiscard]] std::uint64_t bytes_kept_before() const { return _bytes_kept_before; }
  // That had to be fetched again.
  [[nodiscard]] std::uint64_t damaged_parts() const { return _damaged; }

 private:
  struct range_of_part;
  engine::task<bool> take_kept(part_pointer one);
  engine::task<engine::result<void>> download(part_pointer one, bool fresh_connection);
  engine::task<void> download_into(part_pointer one, range_of_part& range);
  engine::task<engine::result<void>> download_range(part_pointer one, std::uint64_t start,
                                                    std::uint64_t length, bool fresh_connection);
  engine::task<engine::result<void>> is_still(const located_chunk& from);
  engine::task<engine::result<void>> verify(part_pointer one);

  const services& _with;
  s3::object_store& _store;
  engine::buffer_pool& _pool;
  engine::hash_worker& _hashes;
  const std::vector<located_chunk>& _chunks;
  progress* _shown;
  chain_thaw* _thaw;
  engine::spool* _spool;
  engine::stop_token _stop;
  kept_parts* _kept = nullptr;
  bool _fresh = false;
  bool _conditional = true;  // whether GETs carry If-Match
  std::uint64_t _damaged = 0;
  std::uint64_t _bytes_kept_before = 0;
};

}  // namespace bts3::app
