#include "app/upload/outgoing_part.hh"

namespace bts3::app {

using engine::result;
using engine::task;

task<result<engine::part_digest>> outgoing_part::digest(engine::stop_token stop) {
  if (in_memory) {
    auto finishing = in_memory->finish();
    co_return co_await std::move(finishing);
  }
  auto finishing = on_disk->finish(stop);
  co_return co_await std::move(finishing);
}

task<result<void>> open_body(upload_budget& budget, outgoing_part& part, part_body& into,
                             engine::stop_token stop) {
  if (part.in_memory) {
    into.body = s3::request_body(part.in_memory->body());
    co_return engine::ok();
  }
  auto acquiring = budget.slots.acquire(stop);
  auto slot = co_await std::move(acquiring);
  if (!slot) {
    co_return std::move(slot.error());
  }
  into.from_disk.emplace(*budget.disk, budget.slots, *part.on_disk, std::move(*slot));
  into.body = s3::request_body(*into.from_disk);
  co_return engine::ok();
}

part_source::part_source(const services& with, upload_budget& budget, engine::hash_worker& hashes,
                         engine::sender_pipe from, engine::part_stream_limits limits,
                         const engine::stream_observer& watch, const engine::part_sealing& sealing)
    : _budget(budget) {
  if (budget.disk) {
    _spooled.emplace(with.loop, *budget.disk, budget.slots, hashes, from, limits, watch, sealing);
  } else {
    _direct.emplace(budget.slots, hashes, from, limits, watch, sealing);
  }
}

task<result<std::optional<outgoing_part>>> part_source::next(engine::stop_token stop) {
  std::optional<outgoing_part> made;
  if (_direct) {
    // Its end is seen without room: a stream that has ended may hold its last part until it is
    // proven whole, and must not wait for others that do the same.
    if (_direct->ended()) {
      co_return std::move(made);
    }
    auto asking = _budget.room(stop);
    auto room = co_await std::move(asking);
    if (!room) {
      co_return std::move(room.error());
    }
    auto reading = _direct->next(stop);
    auto part = co_await std::move(reading);
    if (!part) {
      co_return std::move(part.error());
    }
    if (*part) {
      made.emplace(std::move(*room), std::move(**part));
    }
  } else {
    auto reading = _spooled->next(stop);
    auto part = co_await std::move(reading);
    if (!part) {
      co_return std::move(part.error());
    }
    if (*part) {
      made.emplace(std::move(**part));
    }
  }
  co_return std::move(made);
}

task<void> part_source::close() {
  if (_spooled) {
    auto closing = _spooled->close();
    co_await std::move(closing);
  }
}

}  // namespace bts3::app
