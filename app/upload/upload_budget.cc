#include "app/upload/upload_budget.hh"

#include "app/records/kept_parts.hh"
#include "engine/async_scope.hh"
#include "engine/spooled_part_stream.hh"

#include <algorithm>
#include <chrono>
#include <utility>

namespace bts3::app {

using engine::result;
using engine::task;

upload_budget::upload_budget(const services& with, std::size_t slot_bytes, std::size_t slot_count,
                             std::size_t uploads)
    : slots(with.loop, slot_bytes, slot_count, with.log),
      in_flight(with.loop, uploads, "a turn to upload"),
      _loop(with.loop),
      _log(with.log),
      _parts_with_room(std::min(slot_count, with.settings.global.parallel_subvolumes + 1)),
      _room(with.loop, _parts_with_room, "room for a part"),
      _patience(slot_bytes),
      _control(uploads) {}

task<result<engine::permit>> upload_budget::room(engine::stop_token stop) {
  if (disk) {
    co_return engine::permit();
  }
  if (_room.available() > 0 || _parts_with_room == slots.slots()) {
    auto taking = _room.acquire(stop);
    co_return co_await std::move(taking);
  }
  engine::stop_source arrived;
  engine::async_scope beside(_loop);
  beside.spawn(widen(arrived.token()));
  auto taking = _room.acquire(stop);
  auto taken = co_await std::move(taking);
  arrived.request_stop();
  auto joining = beside.join();
  co_await std::move(joining);
  co_return taken;
}

// Runs while somebody waits for room, once for each who does.
task<void> upload_budget::widen(engine::stop_token arrived) {
  while (_parts_with_room < slots.slots()) {
    const auto begin = _loop.now();
    auto sleeping = _loop.sleep_for(_patience.left(begin), arrived);
    auto slept = co_await std::move(sleeping);
    if (!slept) {
      _patience.waited(begin, _loop.now());
      co_return;
    }
    _patience.begin_anew();
    const std::size_t more = std::min(_parts_with_room, slots.slots() - _parts_with_room);
    _parts_with_room += more;
    _room.put_in(more);
  }
}

void upload_budget::throttled() {
  const std::size_t fewer = _control.throttled(_loop.now());
  if (fewer > 0) {
    in_flight.take_out(fewer);
    _log.write(engine::log_level::warning, "backup", "concurrency_lowered",
               {{"parts_in_flight", std::to_string(_control.limit())},
                {"reason", "the store asks to slow down"}});
  }
}

void upload_budget::part_arrived() {
  if (_control.succeeded()) {
    in_flight.put_in(1);
  }
}

result<std::unique_ptr<upload_budget>> upload_budget::create(const services& with) {
  const config& settings = with.settings;
  if (!settings.s3.spool_enabled) {
    const std::size_t uploads = settings.parts_in_flight(settings.s3.part_size_bytes);
    if (uploads < settings.s3.concurrency) {
      with.log.write(
          engine::log_level::info, "backup", "memory_limits_concurrency",
          {{"parts_in_flight", std::to_string(uploads)},
           {"memory_limit_bytes", std::to_string(settings.global.memory_limit_bytes.value_or(0))}});
    }
    return std::unique_ptr<upload_budget>(
        new upload_budget(with, settings.s3.part_size_bytes, uploads + 1, uploads));
  }
  const std::size_t uploads = settings.s3.concurrency;
  const std::size_t streams = settings.global.parallel_subvolumes;
  std::unique_ptr<upload_budget> made(new upload_budget(
      with, engine::spool_slot_bytes(uploads + engine::stream_slots * (streams - 1)),
      uploads + engine::stream_slots * streams, uploads));
  engine::spool_options options;
  options.directory = settings.global.spool_dir;
  options.budget_bytes = settings.global.spool_size_bytes;
  options.part_bytes = settings.s3.part_size_bytes;
  auto disk = engine::spool::create(with.loop, std::move(options), with.log);
  if (!disk) {
    disk.error().why = engine::reason::configuration;
    return std::move(disk.error()).within("global.spool_dir");
  }
  made->disk = std::move(*disk);
  // Of restores that nobody goes on with, which would take the room for ever.
  remove_stale_parts(with);
  return made;
}

}  // namespace bts3::app
