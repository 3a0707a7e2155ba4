#include "app/restore/restore_all.hh"

#include "app/restore/restore_reports.hh"
#include "app/store/stored_subvolumes.hh"
#include "app/text/output.hh"

#include <utility>

namespace bts3::app {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

task<result<exit_status>> restore_all::run() {
  auto finding = find();
  auto found = co_await std::move(finding);
  if (!found) {
    co_return std::move(found.error());
  }
  if (_members.size() > 1 && !_command.dry_run) {
    auto preparing = prepare();
    auto prepared = co_await std::move(preparing);
    if (!prepared) {
      co_return std::move(prepared.error());
    }
  }
  auto restoring = restore_each();
  auto failures = co_await std::move(restoring);
  if (!failures) {
    co_return std::move(failures.error());
  }
  if (_command.dry_run && _members.size() > 1) {
    print_space();
  }
  if (failures->size() == _members.size()) {
    co_return std::move(failures->front());
  }
  if (failures->empty()) {
    if (!_command.dry_run) {
      auto forgetting = forget_all();
      co_await std::move(forgetting);
    }
    co_return exit_status::done;
  }
  if (!_command.json) {
    print_formatted("%zu of %zu subvolumes could not be restored\n", failures->size(),
                    _members.size());
  }
  co_return exit_status::partly;
}

// Which there are; all_subvolumes() makes none at all an error.
task<result<void>> restore_all::find() {
  auto listing = all_subvolumes(_connection.store(), _with.settings, _with.stop, &_with.log);
  auto names = co_await std::move(listing);
  if (!names) {
    co_return std::move(names.error());
  }
  for (std::string& name : *names) {
    restore_request request = request_of(_with.settings, _command, name);
    _space.where = request.target.substr(0, request.target.rfind('/'));
    member one;
    one.session = std::make_unique<restore_session>(_with, _connection, std::move(request),
                                                    _identities, _totals);
    one.name = std::move(name);
    _members.push_back(std::move(one));
  }
  co_return engine::ok();
}

// Before anything of any is downloaded.
task<result<void>> restore_all::prepare() {
  auto looking = look_ahead();
  auto looked = co_await std::move(looking);
  if (!looked) {
    co_return looked;
  }
  if (auto enough = check_space_of_all(); !enough) {
    co_return enough;
  }
  auto requesting = request_thaws();
  co_return co_await std::move(requesting);
}

task<result<void>> restore_all::look_ahead() {
  for (member& one : _members) {
    auto looking = look_ahead(one);
    auto looked = co_await std::move(looking);
    if (!looked) {
      co_return looked;
    }
  }
  co_return engine::ok();
}

// What fails here fails again, and is told, when that subvolume is restored.
task<result<void>> restore_all::look_ahead(member& one) {
  auto looking = one.session->look_ahead();
  auto seen = co_await std::move(looking);
  if (seen) {
    note(one, *seen);
  } else if (seen.error().what_now == disposition::cancelled) {
    co_return std::move(seen.error());
  } else {
    _with.log.write(log_level::debug, "restore", "not_looked_at",
                    {{"subvolume", one.name}, {"reason", seen.error().text()}});
  }
  co_return engine::ok();
}

void restore_all::note(member& one, const restore_outlook& seen) {
  one.bytes = seen.bytes;
  _space.add(seen.bytes);
  _space.available_bytes = seen.available_bytes;  // of the one place that all go to
  _space_may_grow = _space_may_grow || seen.interrupted;
}

// Each is checked again when it is its turn; here it is that they fit together.
result<void> restore_all::check_space_of_all() const {
  if (_space.subvolumes < 2) {
    return engine::ok();
  }
  auto enough = check_space(_space);
  if (enough || (!_command.no_space_check && !_space_may_grow)) {
    return enough;
  }
  _with.log.write(log_level::warning, "restore", "space_may_not_suffice",
                  {{"reason", enough.error().message}});
  return engine::ok();
}

// Everything is thawed at the same time, and read in this order: the copies of the last have to
// live until all others have been downloaded.
task<result<void>> restore_all::request_thaws() {
  std::uint64_t bytes_before = 0;
  for (member& one : _members) {
    if (!one.session->waits_for_thaw()) {
      break;  // each restore asks and goes on to the next at once
    }
    one.session->comes_after(bytes_before);
    bytes_before += one.bytes;
    auto requesting = one.session->request_thaw();
    auto requested = co_await std::move(requesting);
    if (requested) {
      continue;
    }
    if (requested.error().what_now == disposition::cancelled) {
      co_return requested;
    }
    _with.log.write(log_level::debug, "restore", "nothing_requested_yet",
                    {{"subvolume", one.name}, {"reason", requested.error().text()}});
  }
  co_return engine::ok();
}

// The errors of those that failed; an error of its own when that is a stop.
task<result<std::vector<error>>> restore_all::restore_each() {
  std::vector<error> failures;
  std::uint64_t bytes_before = 0;  // that are read before, of those that are not read now
  place_among here{0, _members.size(), 0};
  for (const member& one : _members) {
    here.bytes_after += one.bytes;
  }
  for (member& one : _members) {
    ++here.position;
    here.bytes_after -= one.bytes;
    one.session->comes_after(bytes_before);
    one.session->is_at(here);
    auto restoring = one.session->run();
    auto restored = co_await std::move(restoring);
    if (!restored && restored.error().what_now == disposition::cancelled) {
      co_return std::move(restored.error());
    }
    if (_command.dry_run && _members.size() > 1) {
      if (one.session->seen()) {
        note(one, *one.session->seen());
      } else {
        auto looking = look_ahead(one);
        auto looked = co_await std::move(looking);
        if (!looked) {
          co_return std::move(looked.error());
        }
      }
    }
    if (_command.dry_run || (!restored && restored.error().why == reason::not_thawed)) {
      bytes_before += one.bytes;
    }
    if (!restored) {
      report_failed(_with, _command.json, one.name, restored.error());
      failures.push_back(std::move(restored.error()).within(one.name));
    }
  }
  co_return failures;
}

void restore_all::print_space() const {
  if (_command.json) {
    print_json(space_json(_space));
  } else {
    print_text(space_text(_space));
  }
}

// All targets are there: the records, which have told that of each, are of no use any more. A run
// that is killed here leaves what is complete, and a rerun knows it by the marks of the targets.
task<void> restore_all::forget_all() {
  for (member& one : _members) {
    auto forgetting = one.session->forget();
    auto forgotten = co_await std::move(forgetting);
    if (!forgotten) {
      _with.log.write(log_level::warning, "restore", "restore_record_left",
                      {{"subvolume", one.name}, {"error", forgotten.error().text()}});
    }
  }
}

}  // namespace bts3::app
