// Reading single parts of a link's chunks, and hashing them: what a sample is made of.
//
// Parts are read several at a time, one slot each, and verified alone by the manifest's SHA-256
// states. A chunk without states counts as one part and is read whole. A part that is wrong is
// fetched three times before it counts as damaged.
#pragma once

#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "app/upkeep/verify_report.hh"
#include "engine/async_scope.hh"
#include "engine/buffer_pool.hh"
#include "engine/hash_worker.hh"
#include "s3/verbs/object_store.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace bts3::app {

// A part by its place; both from 0.
struct part_place {
  std::size_t chunk = 0;
  std::uint32_t part = 0;
};

// Parts of a chunk, as they are verified.
[[nodiscard]] std::uint32_t parts_of(const planner::chunk_record& chunk);

class part_verifier {
 public:
  // References must outlive it. The pool's slots are of slot_bytes_for().
  part_verifier(const services& with, s3::object_store& store, engine::buffer_pool& pool,
                engine::hash_worker& hashes, std::vector<located_chunk> chunks);

  // What is damaged. Everything that keeps a part from being read is an error (not_thawed for an
  // archived one). Once.
  engine::task<engine::result<std::vector<verify_finding>>> run(std::vector<part_place> parts);

  [[nodiscard]] std::uint64_t bytes() const { return _bytes; }

 private:
  engine::task<void> read_into(part_place where, engine::slot_lease slot);
  engine::task<engine::result<bool>> read(part_place where, engine::slot_lease& slot);

  const services& _with;
  s3::object_store& _store;
  engine::buffer_pool& _pool;
  engine::hash_worker& _hashes;
  std::vector<located_chunk> _chunks;
  engine::linked_stop_source _stop;
  engine::async_scope _scope;
  std::vector<verify_finding> _findings;
  std::optional<engine::error> _failure;
  std::uint64_t _bytes = 0;
};

}  // namespace bts3::app
