#include "app/overview/sealed_for.hh"

#include "app/store/keys_object.hh"
#include "engine/age/backup_keys.hh"
#include "engine/age/fault.hh"
#include "engine/for_each_at_most.hh"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;
using engine::task;

constexpr std::size_t at_once_max = 8;  // small objects

bool is_of_one_object(const error& failure) {
  return failure.what_now == engine::disposition::not_found || failure.why == reason::not_thawed ||
         failure.why == reason::access || failure.why == reason::integrity ||
         failure.why == reason::protocol || age::fault_of(failure);
}

task<result<void>> ask(s3::object_store& store, const catalogued_backup& one,
                       known_recipients& into, engine::stop_token stop) {
  const planner::encryption_record& sealed = *one.sealed;
  auto reading = read_keys_object(store, one.key, sealed, stop);
  const auto object = co_await std::move(reading);
  if (!object) {
    if (is_of_one_object(object.error())) {
      co_return engine::ok();
    }
    co_return object.error();
  }
  if (auto recipients = recipients_of(*object, sealed)) {
    into[one.key] = std::move(*recipients);
  }
  co_return engine::ok();
}

}  // namespace

task<result<known_recipients>> find_recipients(engine::reactor& loop, s3::object_store& store,
                                               const catalogue& all, engine::stop_token stop) {
  known_recipients found;
  std::vector<const catalogued_backup*> to_ask;
  for (const catalogued_subvolume& one : all.subvolumes) {
    for (const catalogued_generation& generation : one.generations) {
      for (const catalogued_backup& backup : generation.backups) {
        if (!backup.sealed || backup.keys_object_bytes == 0) {
          continue;  // or nobody opens it: there is none
        }
        const std::vector<std::string>& made_for = backup.sealed->recipients;
        if (backup.keys_object_bytes == age::new_keys_object_bytes(made_for.size())) {
          found[backup.key] = made_for;
        } else {
          to_ask.push_back(&backup);
        }
      }
    }
  }
  auto asking = engine::for_each_at_most(
      loop, at_once_max, to_ask.size(),
      [&](std::size_t index) { return ask(store, *to_ask[index], found, stop); }, stop);
  const auto asked = co_await std::move(asking);
  if (!asked) {
    co_return asked.error();
  }
  co_return found;
}

}  // namespace bts3::app
