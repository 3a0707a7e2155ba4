#include "app/backup/settling.hh"

#include "app/backup/subvolume_backup.hh"
#include "app/host/disk_call.hh"
#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "app/store/publication.hh"
#include "app/upload/backup_journal.hh"
#include "app/upload/late_signature.hh"
#include "app/upload/removal.hh"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

// A bucket that is not configured any more is tried for this long.
constexpr std::chrono::seconds elsewhere_limit{30};

}  // namespace

// Where an unfinished backup was going.
struct settling::place {
  const services& with;
  store_connection* connection;  // null: it was not going anywhere (--no-s3)
  bool elsewhere;                // not the configured place
};

task<result<bool>> settling::of_subvolume(const subvolume_view& view) {
  bool changed = false;
  for (const bool local : {true, false}) {
    if (!_common.uploads() && !local) {
      continue;  // without the store nothing can be said of it
    }
    const std::string path = journal_path(_with.settings.global.state_path, view.which.name, local);
    if (owner_of_journal(_with.settings.global.state_path, path, {view.which.name}) ==
        journal_owner::another_state_file) {
      co_return engine::configuration_error(
          "journal " + path + " is of another configuration's backup",
          "name a file in a directory of its own in global.state_path");
    }
    auto loading = load(path);
    auto record = co_await std::move(loading);
    if (!record) {
      co_return std::move(record.error());
    }
    if (!*record) {
      continue;
    }
    auto settling = settle(path, std::move(**record), &view);
    auto settled = co_await std::move(settling);
    if (!settled) {
      co_return std::move(settled.error()).within("an unfinished backup of an earlier run");
    }
    changed = true;
  }
  co_return changed;
}

// Whether that journal is this configuration's, before anything is done about it. One that cannot
// be read, and whose name does not tell, is left alone.
bool settling::is_ours(const std::string& path) const {
  std::set<std::string> names;
  for (const subvolume_config& one : _with.settings.subvolumes) {
    names.insert(one.name);
  }
  if (owner_of_journal(_with.settings.global.state_path, path, names) ==
      journal_owner::this_state_file) {
    return true;
  }
  if (auto record = read_journal(path); !record) {  // an empty one is of no backup yet
    _with.log.write(log_level::warning, "backup", "journal_left_alone",
                    {{"error", record.error().text()},
                     {"reason", "it may be another configuration's"},
                     {"remedy", "run that one's backup; delete the file if there is none"}});
  }
  return false;
}

task<void> settling::of_others() {
  auto paths = list_journals(_with.settings.global.state_path);
  if (!paths) {
    _with.log.write(log_level::warning, "backup", "journals_not_listed",
                    {{"error", paths.error().text()}});
    co_return;
  }
  for (const std::string& path : *paths) {
    if (is_ours(path)) {
      auto settling = settle_other(path);
      co_await std::move(settling);
    }
  }
}

task<void> settling::settle_other(std::string path) {
  auto loading = load(path);
  auto record = co_await std::move(loading);
  if (record && !*record) {
    co_return;
  }
  const auto configured = [&](const subvolume_config& one) {
    return one.name == (*record)->intent.subvolume;
  };
  const auto& all = _with.settings.subvolumes;
  const bool others =
      is_set_aside(path) || !record || std::none_of(all.begin(), all.end(), configured);
  if (!others || (record && !_common.uploads() && !(*record)->intent.local_only)) {
    co_return;
  }
  result<void> settled;
  if (record) {
    auto settling = settle(path, std::move(**record), nullptr);
    settled = co_await std::move(settling);
  } else {
    settled = std::move(record.error());
  }
  if (!settled) {
    _with.log.write(log_level::warning, "backup", "unfinished_backup_left",
                    {{"journal", path}, {"error", settled.error().text()}});
  }
}

// Nullopt when there is none, or none that can be used: then it is moved aside and reported.
task<result<std::optional<journal_record>>> settling::load(std::string path) {
  auto record = read_journal(path);
  if (!record && record.error().why == reason::protocol) {
    std::function<result<std::string>()> call = [path, when = _common.clock.now()] {
      return set_damaged_journal_aside(path, when);
    };
    auto moving = disk_call(_with.loop, std::move(call));
    auto aside = co_await std::move(moving);
    if (!aside) {
      co_return std::move(aside.error());
    }
    _with.log.write(log_level::warning, "backup", "journal_damaged",
                    {{"error", record.error().text()},
                     {"moved_to", *aside},
                     {"consequence", "what that backup left is reported, not removed"}});
    co_return std::optional<journal_record>();
  }
  std::error_code code;
  if (record && !*record && std::filesystem::exists(path, code)) {
    // Its writer died before the intent was there, and so before anything was done.
    auto removing = remove_journal_at(_with.loop, path);
    auto removed = co_await std::move(removing);
    if (!removed) {
      co_return std::move(removed.error());
    }
  }
  co_return record;
}

task<result<void>> settling::leave(std::string path, const backup_intent& intent, std::string why) {
  return leave_to_later(_with, _common.clock.now(), std::move(path), intent, std::move(why));
}

task<result<void>> settling::settle(std::string path, journal_record record,
                                    const subvolume_view* view) {
  if (record.intent.local_only || place_problem(_with, record).empty()) {
    const place here{_with, _common.connection.get(), false};
    auto settling = settle_at(here, std::move(path), std::move(record), view);
    co_return co_await std::move(settling);
  }
  auto settling = settle_elsewhere(std::move(path), std::move(record), view);
  co_return co_await std::move(settling);
}

// In the bucket of before, with a patience that suits a place that may be gone for good.
task<result<void>> settling::settle_elsewhere(std::string path, journal_record record,
                                              const subvolume_view* view) {
  config settings = _with.settings;
  settings.s3.bucket = record.intent.bucket;
  settings.s3.region = record.intent.region;
  settings.s3.endpoint_url = record.intent.endpoint_url;
  settings.s3.retry_for =
      std::min<std::chrono::milliseconds>(settings.s3.retry_for, elsewhere_limit);
  const engine::environment_lookup environment = [this](std::string_view name) {
    return name == "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" ? std::optional<std::string>("true")
                                                         : _with.environment(name);
  };
  const services there{_with.loop, _with.log,   _with.clock, settings,
                       _with.host, environment, _with.stop};
  auto connection = store_connection::open(there);
  if (!connection) {
    auto leaving = leave(path, record.intent, connection.error().text());
    co_return co_await std::move(leaving);
  }
  const place where{there, connection->get(), true};
  auto settling = settle_at(where, std::move(path), std::move(record), view);
  auto settled = co_await std::move(settling);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return settled;
}

task<result<void>> settling::settle_at(place where, std::string path, journal_record record,
                                       const subvolume_view* view) {
  unfinished_finding found;
  if (record.intent.local_only) {
    found.facts.local_only = true;
  } else {
    stream_settings wanted = stream_settings_of(_with.settings, _common.host);
    wanted.sealed_for = _common.sealing.fingerprints();
    auto examining =
        examine_unfinished(where.with, *where.connection, record, view, std::move(wanted));
    auto examined = co_await std::move(examining);
    if (!examined && where.elsewhere && examined.error().what_now != disposition::cancelled) {
      // Perhaps it is published there: nothing of it is touched before that is known.
      auto leaving = leave(path, record.intent, examined.error().text());
      co_return co_await std::move(leaving);
    }
    if (!examined) {
      co_return std::move(examined.error());
    }
    found = std::move(*examined);
    found.facts.place_problem = place_problem(_with, record);
  }
  found.facts.set_aside = is_set_aside(path);
  planner::unfinished_verdict verdict = judge(where, record.intent, found);
  auto carrying =
      carry_out(where, std::move(path), std::move(record), view, found, std::move(verdict));
  co_return co_await std::move(carrying);
}

// Says what becomes of it, and why.
planner::unfinished_verdict settling::judge(place where, const backup_intent& intent,
                                            const unfinished_finding& found) const {
  const auto store_time =
      where.connection != nullptr ? where.connection->store_time() : std::nullopt;
  planner::unfinished_verdict verdict = planner::decide_unfinished(
      found.facts,
      store_time ? planner::timestamp(std::chrono::floor<std::chrono::seconds>(*store_time))
                 : _common.clock.now(),
      std::chrono::duration_cast<std::chrono::seconds>(_with.settings.s3.resume_for),
      "s3.resume_for");
  const bool given_up = verdict.what == planner::unfinished_action::abandon ||
                        verdict.what == planner::unfinished_action::release ||
                        verdict.what == planner::unfinished_action::leave;
  _with.log.write(given_up ? log_level::warning : log_level::info, "backup", "unfinished_backup",
                  {{"subvolume", intent.subvolume},
                   {"snapshot", intent.snapshot_name},
                   {"action", std::string(planner::to_string(verdict.what))},
                   {"reason", verdict.reason},
                   {"because", verdict.sentence}});
  return verdict;
}

task<result<void>> settling::carry_out(place where, std::string path, journal_record record,
                                       const subvolume_view* view, const unfinished_finding& found,
                                       planner::unfinished_verdict verdict) {
  switch (verdict.what) {
    case planner::unfinished_action::record: {
      auto recording = record_published(path, record, found);
      co_return co_await std::move(recording);
    }
    case planner::unfinished_action::publish: {
      auto publishing = publish(where, path, record, found);
      co_return co_await std::move(publishing);
    }
    case planner::unfinished_action::release: {
      auto removing = remove_journal_at(_with.loop, path);
      co_return co_await std::move(removing);
    }
    case planner::unfinished_action::leave: {
      auto leaving = leave(path, record.intent, verdict.sentence);
      co_return co_await std::move(leaving);
    }
    case planner::unfinished_action::resume: {
      auto resuming = resume(path, std::move(record), found, *view);
      co_return co_await std::move(resuming);
    }
    case planner::unfinished_action::abandon:
      break;
  }
  auto abandoning =
      abandon(where, std::move(path), std::move(record), found.facts.manifest_is_anothers);
  co_return co_await std::move(abandoning);
}

// The pointer names it already: only this host's memory of it is missing.
task<result<void>> settling::record_published(std::string path, const journal_record& record,
                                              const unfinished_finding& found) {
  snapshot_identity identity = record.snapshot.value_or(snapshot_identity());
  if (!record.snapshot && found.manifest) {
    identity.uuid = found.manifest->snapshot.uuid.value_or("");
    identity.ctransid = found.manifest->snapshot.ctransid.value_or(0);
  }
  if (found.pointer && found.pointer->value.manifest_key == record.intent.manifest_key) {
    auto remembering = _common.memory.remember(record.intent, identity, subvolume_standing());
    auto remembered = co_await std::move(remembering);
    if (!remembered) {
      co_return remembered;
    }
  }
  auto removing = remove_journal_at(_with.loop, path);
  co_return co_await std::move(removing);
}

task<result<void>> settling::publish(place where, std::string path, const journal_record& record,
                                     const unfinished_finding& found) {
  if (_common.signer != nullptr) {
    auto signing = sign_late(where.with, *_common.signer, where.connection->store(), record);
    auto is_signed = co_await std::move(signing);
    if (!is_signed) {
      co_return is_signed;
    }
  }
  planner::pointer value;
  value.manifest_key = record.intent.manifest_key;
  value.kind = record.intent.kind;
  value.created_at = record.intent.when;
  publication_trace trace;
  auto moving =
      move_pointer(where.with, *where.connection, record.intent.keys_root + "current.json",
                   std::move(value), found.pointer, trace);
  auto moved = co_await std::move(moving);
  if (!moved) {
    co_return std::move(moved.error())
        .within("moving the pointer to " + record.intent.manifest_key);
  }
  unfinished_finding published = found;
  published.pointer.emplace();
  published.pointer->value.manifest_key = record.intent.manifest_key;
  auto recording = record_published(path, record, published);
  auto recorded = co_await std::move(recording);
  if (recorded) {
    published_backup done(record.intent);
    done.bytes = found.manifest ? found.manifest->total_bytes : 0;
    done.chunks = found.manifest ? found.manifest->chunks.size() : 0;
    _common.note_published(done);
  }
  co_return recorded;
}

task<result<void>> settling::resume(std::string path, journal_record record,
                                    const unfinished_finding& found, const subvolume_view& view) {
  auto reopened = journal_file::reopen(_with.loop, _with.log, path);
  if (!reopened) {
    co_return std::move(reopened.error());
  }
  begun_backup begun;
  begun.intent = std::move(record.intent);
  begun.snapshot = *found.snapshot;
  begun.journal = std::make_unique<backup_journal>(_with.loop, std::move(*reopened));
  begun.resumed = true;
  begun.before = std::move(record.chunks);
  begun.index = std::move(record.index);
  subvolume_backup backup(_common, view, std::move(begun));
  auto running = backup.run();
  auto ended = co_await std::move(running);
  if (!ended) {
    co_return std::move(ended.error());
  }
  co_return engine::ok();
}

// Undoes everything of a backup that its place does not know. What cannot be removed, because
// deleting is denied or its place goes away, is left to later runs.
task<result<void>> settling::abandon(place where, std::string path, journal_record record,
                                     bool second_writer) {
  const backup_intent intent = record.intent;
  removal_order order;
  order.record = std::move(record);
  order.key_is_anothers = second_writer;
  removal undoing(where.with, std::move(order), _with.stop);
  result<void> removed;
  if (!intent.local_only) {
    auto removing = undoing.objects(where.connection->store());
    removed = co_await std::move(removing);
    const bool for_good = where.elsewhere || (!removed && removed.error().why == reason::access);
    if (!removed && (!for_good || removed.error().what_now == disposition::cancelled)) {
      co_return removed;
    }
  }
  std::string left = removed ? "" : removed.error().text();
  auto removing = undoing.snapshot();
  auto gone = co_await std::move(removing);
  if (gone && *gone) {
    _with.log.write(log_level::info, "backup", "snapshot_removed",
                    {{"path", intent.snapshot_path}, {"reason", "its backup was never finished"}});
  } else if (!gone) {
    left += (left.empty() ? "" : "; ") + gone.error().text();
  }
  if (left.empty()) {
    auto removing_journal = remove_journal_at(_with.loop, path);
    co_return co_await std::move(removing_journal);
  }
  auto leaving = leave(path, intent, left);
  co_return co_await std::move(leaving);
}

}  // namespace bts3::app
