// What the upload streams of a run share, however many are under way.
#pragma once

#include "app/store/services.hh"
#include "app/upload/part_patience.hh"
#include "engine/buffer_pool.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/semaphore.hh"
#include "engine/spool.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/verbs/concurrency_control.hh"

#include <cstddef>
#include <memory>

namespace bts3::app {

// The memory, the spool and the parts in flight.
struct upload_budget {
  // Fails when the spool cannot be used (s3.spool_enabled); the error names the key.
  static engine::result<std::unique_ptr<upload_budget>> create(const services& with);

  // Without a spool, slots of one part each, of which one fills while the others are uploaded; with
  // one, small slots on the way to the disk and back.
  engine::buffer_pool slots;
  engine::semaphore in_flight;
  std::unique_ptr<engine::spool> disk;  // null: no spool

  // Room for one more part, to be had before it is filled and kept until it is gone. Few parts have
  // room at first, one that fills for each stream and one that is sent: a store that is fast needs
  // no more, and memory that is not needed is never touched. While streams are kept waiting their
  // number doubles, up to that of the slots. With a spool there is always room.
  engine::task<engine::result<engine::permit>> room(engine::stop_token stop);
  // Parts that have room, taken or not.
  [[nodiscard]] std::size_t parts_with_room() const { return _parts_with_room; }
  [[nodiscard]] std::size_t room_taken() const { return _parts_with_room - _room.available(); }

  // The store asked to slow down; a part has arrived.
  void throttled();
  void part_arrived();

 private:
  upload_budget(const services& with, std::size_t slot_bytes, std::size_t slot_count,
                std::size_t uploads);
  engine::task<void> widen(engine::stop_token arrived);

  engine::reactor& _loop;
  engine::log_sink& _log;
  std::size_t _parts_with_room;
  engine::semaphore _room;
  part_patience _patience;  // of those who wait for room
  s3::concurrency_control _control;
};

}  // namespace bts3::app
