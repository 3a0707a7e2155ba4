#include "app/backup/subvolume_backup.hh"

#include "app/host/signals.hh"
#include "app/store/keys_object.hh"
#include "app/store/manifest_signature.hh"
#include "app/store/second_look.hh"
#include "app/survey/sent_stream.hh"
#include "app/upload/removal.hh"
#include "app/upload/send_failure.hh"
#include "engine/stop_after.hh"
#include "planner/keys.hh"

#include <utility>

#ifndef BTS3_VERSION
#define BTS3_VERSION "unknown"
#endif

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

// Cleaning up after a failure gives up after this long, so that a stop ends within 10 s also when
// the network is gone; what is left then is the next run's.
constexpr std::chrono::seconds clean_up_limit{6};

error broken_each_time(const error& broken) {
  error failure = broken;
  failure.message += "; it was sent " + std::to_string(stream_attempts::breaks_max) +
                     " times, and broke each time";
  failure.remedy =
      "run the backup again: what has arrived is kept; if the stream breaks each time, nothing "
      "may stop and continue `btrfs send` (suspend, a paused machine, a frozen cgroup, Ctrl-Z), "
      "and memory and kernel are worth a test";
  return failure;
}

// What is told of chunks once their manifest is written: without the records of their parts, of
// which a large backup has tens of thousands.
std::vector<planner::chunk_record> without_parts(const std::vector<planner::chunk_record>& chunks) {
  std::vector<planner::chunk_record> made;
  for (const planner::chunk_record& chunk : chunks) {
    planner::chunk_record one;
    one.key = chunk.key;
    one.size = chunk.size;
    one.sha256 = chunk.sha256;
    made.push_back(std::move(one));
  }
  return made;
}

}  // namespace

subvolume_backup::subvolume_backup(backup_common& common, const subvolume_view& view,
                                   begun_backup begun)
    : _common(common),
      _with(common.with),
      _view(view),
      _intent(std::move(begun.intent)),
      _keys(common.with.settings.s3.prefix, _intent.subvolume),
      _snapshot(std::move(begun.snapshot)),
      _journal(std::move(begun.journal)),
      _resumed(begun.resumed),
      _before(std::move(begun.before)),
      _index(_with, _intent, std::move(begun.index)),
      _proof(incremental_proof::of(_with, _intent)) {}

snapshot_identity subvolume_backup::identity() const {
  snapshot_identity made;
  made.uuid = _snapshot.info.own_uuid.text();
  made.ctransid = _snapshot.info.ctransid;
  return made;
}

// What is known of the subvolume once this backup has been published.
subvolume_standing subvolume_backup::standing() const {
  subvolume_standing known;
  known.last_backup = _intent.when;
  known.last_bytes = _sending->upload().total_bytes();
  known.last_seconds = _seconds;
  if (_intent.kind == planner::backup_kind::full) {
    known.last_full = _intent.when;
    known.links = 1;
  } else if (!_view.chain.empty()) {
    known.last_full = _view.chain.front().when;
    known.links = _view.chain.size() + 1;
  }
  return known;
}

made_backup subvolume_backup::told() const {
  made_backup made(_intent);
  made.chunks = without_parts(_chunks);
  made.bytes = _sending->upload().total_bytes();
  made.resumed_bytes = _sending->upload().resumed_bytes();
  made.seconds = _seconds;
  made.resumed = _resumed;
  made.proven = _proven;
  made.standing = standing();
  return made;
}

task<result<subvolume_backup::ending>> subvolume_backup::run() {
  auto working = work();
  auto outcome = co_await std::move(working);
  const bool nothing_gained = _journal->parts_noted() == 0 && _before.empty() && !_had_before;
  if (_published) {
    // What failed after the commit point does not undo it.
  } else if (_intent.local_only || _worthless || nothing_gained) {
    auto undoing = undo();
    co_await std::move(undoing);
  } else if (!outcome) {
    _with.log.write(log_level::warning, "backup", "kept_for_the_next_run",
                    {{"subvolume", _intent.subvolume},
                     {"snapshot", _intent.snapshot_path},
                     {"journal", _journal->path()},
                     {"remedy", "run the backup again: it goes on where this one stopped"}});
  }
  if (_published || (outcome && _intent.local_only)) {
    const made_backup made = told();
    _common.note_made(made);
    if (outcome) {
      _common.events.remembered(made);
    }
  }
  if (outcome) {
    co_return ending::done;
  }
  if (_start_again) {
    co_return _refused ? ending::refused : ending::start_again;
  }
  co_return std::move(outcome.error());
}

// With the proof beside it.
task<result<void>> subvolume_backup::work() {
  if (_proof) {
    _proof->begin();
  }
  auto working = stream_and_publish();
  auto outcome = co_await std::move(working);
  if (_proof) {
    auto ending = _proof->end();
    co_await std::move(ending);
  }
  co_return outcome;
}

task<result<void>> subvolume_backup::stream_and_publish() {
  if (auto sealed = check_sealed(_common.sealing, _intent); !sealed) {
    _worthless = true;
    co_return sealed;
  }
  auto streaming = stream();
  auto streamed = co_await std::move(streaming);
  if (!streamed || _intent.local_only) {
    co_return streamed;
  }
  if (_proof) {
    auto proving = prove();
    auto taken = co_await std::move(proving);
    if (!taken) {
      co_return taken;
    }
  }
  auto publishing = publish();
  auto published = co_await std::move(publishing);
  if (!published) {
    _worthless = _trace.second_writer;
    co_return published;
  }
  auto remembering = remember();
  auto remembered = co_await std::move(remembering);
  if (!remembered) {
    // The backup is complete and the bucket says so; the journal makes the next run catch up.
    co_return std::move(remembered.error()).within("the backup is complete, but");
  }
  co_return engine::ok();
}

// An error where it could not be received: a full takes its place. Or where it was stopped.
task<result<void>> subvolume_backup::prove() {
  auto judging = _proof->judge(*_sending->description(), _snapshot.info, _common.host);
  auto found = co_await std::move(judging);
  if (!found) {
    co_return std::move(found.error());
  }
  _proven = found->proven;
  if (found->refused.empty()) {
    co_return engine::ok();
  }
  _worthless = true;
  _start_again = true;
  _refused = true;
  error failure;
  failure.message = "`btrfs receive` would refuse the incremental: " + found->refused;
  _common.refused_incrementals[_intent.subvolume] = std::move(found->refused);
  co_return failure;
}

task<result<void>> subvolume_backup::remember() {
  auto remembering = _common.memory.remember(_intent, identity(), standing());
  auto remembered = co_await std::move(remembering);
  if (!remembered) {
    co_return remembered;
  }
  auto removing = _journal->remove();
  co_return co_await std::move(removing);
}

// Sends the stream, again where a repeated one differs from what was uploaded before.
task<result<void>> subvolume_backup::stream() {
  const auto started = std::chrono::steady_clock::now();
  stream_attempts attempts;
  for (;;) {
    auto sending = send_once();
    stream_outcome outcome = co_await std::move(sending);
    if (outcome.is_whole()) {
      if (auto taken = take_sent(); !taken) {
        co_return taken;
      }
      auto completing = _sending->upload().complete();
      outcome = co_await std::move(completing);
    }
    const after_stream next = attempts.judge(outcome, _with.stop.stop_requested());
    if (next == after_stream::go_on) {
      _chunks = outcome.as<stream_outcome::whole>()->chunks;
      note_streamed(started);
      co_return engine::ok();
    }
    auto preparing = prepare_again(outcome, next);
    auto prepared = co_await std::move(preparing);
    if (!prepared) {
      co_return prepared;
    }
  }
}

task<stream_outcome> subvolume_backup::send_once() {
  _had_before = !_before.empty();
  std::optional<btrfs::subvolume_info> parent;
  if (_intent.parent_manifest && _view.parent) {
    parent = _view.parent->info;
  }
  // What an earlier sending of it found out is not asked again, whatever comes of this one.
  _sending.reset();
  _sending = std::make_unique<stream_sending>(_common, _intent, std::move(parent), *_journal,
                                              std::exchange(_before, {}), _proof != nullptr);
  if (auto started = _sending->start(); !started) {
    stream_outcome::failed none;
    none.why = std::move(started.error());
    co_return stream_outcome(std::move(none));
  }
  auto running = _sending->run();
  co_return co_await std::move(running);
}

// What a whole stream said of itself.
result<void> subvolume_backup::take_sent() {
  const btrfs::stream_inspector& inspector = _sending->inspector();
  if (auto same = check_sent(inspector, _snapshot.info, _intent.snapshot_path); !same) {
    _worthless = true;
    return same;
  }
  // As it was sent, should it have been touched since it was made (deduplication does that).
  _snapshot.info.ctransid = inspector.identity()->ctransid;
  const std::vector<std::string> lines =
      tell_what_cannot_be_received(_with.log, _intent.subvolume, inspector);
  std::vector<std::string> paths;
  for (const btrfs::oversized& one : inspector.beyond()) {
    paths.push_back(one.path);
  }
  _common.events.cannot_be_received(_intent.subvolume, paths, lines);
  return engine::ok();
}

// Before the stream is sent again; an error where it is not.
task<result<void>> subvolume_backup::prepare_again(const stream_outcome& outcome,
                                                   after_stream next) {
  const error& why = *outcome.failure();
  if (next == after_stream::explain) {
    auto explaining = explain_send_failure(_with, why, _intent.snapshot_path, _intent.source,
                                           _sending->inspector().last_path());
    send_failure found = co_await std::move(explaining);
    // A new snapshot would have the same trouble, or is the way out of it.
    _worthless = found.judged && !found.in_source;
    _start_again = found.found && !found.in_source;
    co_return std::move(found.failure);
  }
  if (next == after_stream::keep) {
    co_return why;
  }
  if (next == after_stream::keep_broken) {
    co_return broken_each_time(why);
  }
  tell_why_again(outcome, next);
  if (next == after_stream::begin_anew) {
    _worthless = true;
    _start_again = true;
    co_return why;
  }
  if (next == after_stream::upload_again) {
    auto discarding = _sending->upload().discard_from(*outcome.chunk());
    auto discarded = co_await std::move(discarding);
    if (!discarded) {
      co_return discarded;
    }
  }
  if (_intent.local_only) {
    co_return engine::ok();
  }
  auto kept = read_journal(_journal->path());
  if (!kept) {
    co_return std::move(kept.error());
  }
  _before = *kept ? std::move((*kept)->chunks) : upload_stream::earlier_chunks();
  co_return engine::ok();
}

void subvolume_backup::tell_why_again(const stream_outcome& outcome, after_stream next) const {
  if (next == after_stream::send_again) {
    // The kernel begins anew in the middle when a sender is stopped and continued, as a laptop's
    // that is suspended.
    _with.log.write(log_level::warning, "backup", "stream_broken",
                    {{"subvolume", _intent.subvolume},
                     {"error", outcome.failure()->text()},
                     {"sound_bytes", std::to_string(_sending->inspector().sound_bytes())},
                     {"consequence", "the same snapshot is sent again; what has arrived is kept"}});
    return;
  }
  const bool dropped = outcome.as<stream_outcome::upload_gone>() != nullptr;
  _with.log.write(log_level::warning, "backup", dropped ? "upload_gone" : "stream_differs",
                  {{"subvolume", _intent.subvolume},
                   {"chunk", std::to_string(*outcome.chunk())},
                   {"reason", dropped ? "the store has not got all of the open upload any more"
                                      : "the same snapshot sends other bytes than before, as "
                                        "after a defragmentation or under another kernel"},
                   {"consequence", next == after_stream::begin_anew
                                       ? "the backup begins anew, with a new snapshot"
                                       : "that chunk is uploaded anew"}});
}

void subvolume_backup::note_streamed(std::chrono::steady_clock::time_point started) {
  const upload_stream& upload = _sending->upload();
  _common.totals.parts += upload.parts();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - started);
  _seconds = static_cast<double>(took.count()) / 1000;
  const std::uint64_t retries = _common.uploads() ? _common.connection->retries() : 0;
  _with.log.write(log_level::info, "backup", "stream_uploaded",
                  {{"subvolume", _intent.subvolume},
                   {"bytes", std::to_string(upload.total_bytes())},
                   {"resumed_bytes", std::to_string(upload.resumed_bytes())},
                   {"milliseconds", std::to_string(took.count())},
                   {"chunks", std::to_string(_chunks.size())},
                   {"retries", std::to_string(retries)}});
}

// The records of its parts go there, and are not kept beside.
result<planner::manifest> subvolume_backup::describe() {
  const btrfs::subvolume_info& info = _snapshot.info;
  const upload_stream& upload = _sending->upload();
  planner::manifest value;
  value.subvolume = _intent.subvolume;
  value.kind = _intent.kind;
  value.created_at = _intent.when;
  value.snapshot.name = _snapshot.name;
  value.snapshot.path = _snapshot.path;
  value.snapshot.uuid = info.own_uuid.text();
  if (!info.parent_uuid.is_null()) {
    value.snapshot.parent_uuid = info.parent_uuid.text();
  }
  if (!info.received_uuid.is_null()) {
    value.snapshot.received_uuid = info.received_uuid.text();
  }
  value.snapshot.ctransid = info.ctransid;
  value.parent_manifest = _intent.parent_manifest;
  value.chunks = std::exchange(_chunks, without_parts(_chunks));
  value.total_bytes = upload.total_bytes();
  value.chunk_size = _intent.chunk_size;
  value.storage_class =
      upload.stored_as().value_or(as_written(_with.settings.s3.storage_class_chunks));
  planner::stream_record stream;
  stream.protocol = _intent.protocol;
  stream.compressed_data = _intent.compressed_data;
  stream.commands = _sending->inspector().commands();
  value.stream = stream;
  value.tool_name = "btrfs_to_s3";
  value.tool_version = BTS3_VERSION;
  value.host_id = _common.identity.id;
  value.host_name = _common.identity.name;
  if (auto sealed = describe_sealing(value); !sealed) {
    return std::move(sealed.error());
  }
  return value;
}

// What tells of the host goes where only the backup's key opens it.
result<void> subvolume_backup::describe_sealing(planner::manifest& value) const {
  if (!_intent.sealing) {
    return check_sealed(_common.sealing, _intent);
  }
  const sealing_intent& sealing = *_intent.sealing;
  const sealed_member told{_intent.source, std::exchange(value.snapshot.path, std::string()),
                           std::exchange(value.host_name, std::string())};
  auto sealed = seal_member(told, sealing.recipient, age::system_random());
  if (!sealed) {
    return std::move(sealed.error());
  }
  value.encryption.emplace();
  value.encryption->backup_id = sealing.backup.text();
  value.encryption->keys_key = sealing.keys_key;
  value.encryption->recipients = sealing.recipients;
  value.encryption->sealed = std::move(*sealed);
  return engine::ok();
}

// Whether the pointer that was found instead names a backup that was there when this one was
// planned. Then no second writer moved it: what planning read of it was no answer of the store.
bool subvolume_backup::was_there(const std::optional<stored_pointer>& found) const {
  return found && (_view.objects.contains(found->value.manifest_key) ||
                   _view.seen.remembered_manifest == found->value.manifest_key);
}

// The manifest, and before it what it names.
task<result<void>> subvolume_backup::put_documents() {
  auto indexing = _index.put(*_common.connection, *_journal, _sending->index());
  auto index = co_await std::move(indexing);
  if (!index) {
    co_return std::move(index.error());
  }
  auto value = describe();
  if (!value) {
    co_return std::move(value.error());
  }
  value->index = std::move(*index);
  if (_common.signer != nullptr && value->parent_manifest) {
    auto asking =
        digest_of_signed(_with, *_common.signer, _common.connection->store(),
                         planner::places_of(_intent.manifest_key, *value->parent_manifest));
    auto digest = co_await std::move(asking);
    if (!digest) {
      co_return std::move(digest.error());
    }
    value->parent_manifest_sha256 = std::move(*digest);
  }
  if (_intent.sealing) {
    auto putting = put_keys_object(_with, *_common.connection, _intent.sealing->keys_key,
                                   _intent.sealing->keys_object);
    auto put = co_await std::move(putting);
    if (!put) {
      co_return std::move(put.error()).within("writing keys object " + _intent.sealing->keys_key);
    }
  }
  auto putting = put_manifest(_with, *_common.connection, _intent.manifest_key, std::move(*value),
                              _common.signer.get(), _trace);
  auto put = co_await std::move(putting);
  if (!put) {
    co_return std::move(put.error()).within("writing manifest " + _intent.manifest_key);
  }
  co_return engine::ok();
}

task<result<void>> subvolume_backup::publish() {
  auto putting = put_documents();
  auto put = co_await std::move(putting);
  if (!put) {
    co_return put;
  }
  auto moving = move_to_it();
  auto moved = co_await std::move(moving);
  if (!moved) {
    co_return std::move(moved.error()).within("moving " + _keys.pointer());
  }
  _published = true;
  co_return engine::ok();
}

task<result<void>> subvolume_backup::move_to_it() {
  planner::pointer value;
  value.manifest_key = _intent.manifest_key;
  value.kind = _intent.kind;
  value.created_at = _intent.when;
  auto moving =
      move_pointer(_with, *_common.connection, _keys.pointer(), value, _view.pointer, _trace);
  auto moved = co_await std::move(moving);
  if (!moved && was_there(_trace.found)) {
    _trace.second_writer = false;
    if (_intent.kind == planner::backup_kind::full) {
      auto again = move_pointer(_with, *_common.connection, _keys.pointer(), std::move(value),
                                _trace.found, _trace);
      moved = co_await std::move(again);
    }
  }
  co_return moved;
}

// Whether the pointer names this backup, or cannot be asked.
task<bool> subvolume_backup::may_be_pointed_at(engine::stop_token limit) {
  if (!_trace.pointer_may_have_moved) {
    co_return false;
  }
  auto looking = look_at_pointer(_with, _common.connection->store(), _keys.pointer(),
                                 absence::asked_for_twice, limit);
  auto sight = co_await std::move(looking);
  co_return !sight || !sight->understood() ||
      (sight->there && sight->there->value.manifest_key == _intent.manifest_key);
}

// False when something was left.
task<bool> subvolume_backup::undo_in_bucket(engine::stop_token limit) {
  if (!_common.uploads()) {
    co_return true;
  }
  removal_order order;
  order.record.intent = _intent;
  if (_sending) {
    order.record.chunks = _sending->upload().give_up();
  }
  order.record.index = _index.there();
  order.reach = removal_reach::named;
  order.manifest = _trace.manifest_may_exist;
  order.signature = _trace.signature_may_exist;
  order.key_is_anothers = _trace.manifest_is_anothers;
  removal undoing(_with, std::move(order), limit);
  auto removing = undoing.objects(_common.connection->store());
  auto removed = co_await std::move(removing);
  co_return removed.has_value();
}

// Leaves the world as it was before, unless the pointer may name this backup. Where that cannot be
// done now, the journal stays and the next run does it.
task<void> subvolume_backup::undo() {
  engine::stop_source limit;
  const hastened by_signal(_with.signals, limit);
  engine::stop_source finished;
  engine::async_scope timer(_with.loop);
  timer.spawn(engine::stop_after(_with.loop, clean_up_limit, limit, finished.token()));
  auto asking = may_be_pointed_at(limit.token());
  const bool keep = co_await std::move(asking);
  bool clean = !keep;
  if (!keep) {
    auto removing = undo_in_bucket(limit.token());
    clean = co_await std::move(removing);
  }
  finished.request_stop();
  auto joining = timer.join();
  co_await std::move(joining);
  if (!keep) {
    removal_order order;
    order.record.intent = _intent;
    order.record.snapshot = identity();
    removal undoing(_with, std::move(order), {});
    auto removing = undoing.snapshot();
    auto removed = co_await std::move(removing);
    if (!removed) {
      clean = false;
      _with.log.write(log_level::warning, "backup", "snapshot_left",
                      {{"path", _intent.snapshot_path}, {"error", removed.error().text()}});
    }
  }
  result<void> settled = engine::ok();
  if (clean) {
    auto removing = _journal->remove();
    settled = co_await std::move(removing);
  } else if (_start_again && !keep) {
    // The next backup is made at once, and needs the journal's place.
    auto leaving = leave_to_later(_with, _common.clock.now(), _journal->path(), _intent,
                                  "not all of it could be removed");
    settled = co_await std::move(leaving);
  } else {
    _with.log.write(log_level::warning, "backup", "clean_up_left_to_the_next_run",
                    {{"subvolume", _intent.subvolume}, {"journal", _journal->path()}});
  }
  if (!settled) {
    _with.log.write(log_level::warning, "backup", "journal_left",
                    {{"error", settled.error().text()}});
  }
}

}  // namespace bts3::app
