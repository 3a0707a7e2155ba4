// A stream in parts on their way to the store, from memory or by way of the spool.
#pragma once

#include "app/store/services.hh"
#include "app/upload/upload_budget.hh"
#include "engine/hash_worker.hh"
#include "engine/part_stream.hh"
#include "engine/result.hh"
#include "engine/semaphore.hh"
#include "engine/spooled_part_stream.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace bts3::app {

// A part that will not change any more, in a slot or in the spool.
struct outgoing_part {
  outgoing_part(engine::permit has_room, engine::sealed_part part)
      : room(std::move(has_room)),
        bytes(part.bytes),
        chunk_index(part.chunk_index),
        number(part.part_number),
        full(part.full),
        in_memory(std::move(part)) {}
  explicit outgoing_part(engine::spooled_part part)
      : bytes(part.bytes),
        chunk_index(part.chunk_index),
        number(part.part_number),
        full(part.full),
        on_disk(std::move(part)) {}

  engine::permit room;  // first: its slot is free when it goes
  std::size_t bytes;    // as it is stored
  std::uint32_t chunk_index;
  std::uint32_t number;
  bool full;                                     // if not, the stream ends with it
  std::optional<engine::sealed_part> in_memory;  // exactly one of the two
  std::optional<engine::spooled_part> on_disk;

  // Suspends until every byte is hashed, sealed where the stream is, and on the disk.
  engine::task<engine::result<engine::part_digest>> digest(engine::stop_token stop);
};

// What a request sends of a part: its slot, or a slot through which it comes from the disk.
struct part_body {
  std::optional<engine::spooled_body> from_disk;
  s3::request_body body;
};
// `part`, whose digest is there, and `budget` must outlive it.
engine::task<engine::result<void>> open_body(upload_budget& budget, outgoing_part& part,
                                             part_body& into, engine::stop_token stop);

// The parts of the stream that comes from a descriptor, by way of the spool where there is one.
class part_source {
 public:
  // References and descriptors must outlive it.
  part_source(const services& with, upload_budget& budget, engine::hash_worker& hashes,
              engine::sender_pipe from, engine::part_stream_limits limits,
              const engine::stream_observer& watch, const engine::part_sealing& sealing);

  // The next part, or nullopt after the last. Suspends until it has filled, and before that until
  // there is room for it.
  engine::task<engine::result<std::optional<outgoing_part>>> next(engine::stop_token stop);
  // Before it is destroyed, also after an error.
  engine::task<void> close();

  [[nodiscard]] std::uint64_t total_bytes() const {
    return _direct ? _direct->total_bytes() : _spooled->total_bytes();
  }

 private:
  upload_budget& _budget;
  std::optional<engine::part_stream> _direct;  // exactly one of the two
  std::optional<engine::spooled_part_stream> _spooled;
};

}  // namespace bts3::app
