#include "app/backup/stream_sending.hh"

#include "app/survey/sent_stream.hh"
#include "app/text/human_units.hh"
#include "app/text/progress.hh"
#include "btrfs/host.hh"
#include "engine/async_scope.hh"
#include "engine/plain_text.hh"
#include "planner/keys.hh"

#include <utility>

namespace bts3::app {

using engine::result;
using engine::task;

namespace {

upload_stream::layout layout_of(const backup_common& common, const backup_intent& intent) {
  return upload_stream::layout(
      planner::key_layout(common.with.settings.s3.prefix, intent.subvolume), intent.kind,
      intent.when, intent.chunk_tag);
}

}  // namespace

stream_sending::stream_sending(backup_common& common, const backup_intent& intent,
                               std::optional<btrfs::subvolume_info> parent, upload_ledger& ledger,
                               upload_stream::earlier_chunks before, bool described)
    : _common(common),
      _intent(intent),
      _parent(std::move(parent)),
      _index(index_making::of(common.with, intent)),
      _seals(seals_of(intent)),
      _upload(common.with, *common.budget, common.connection.get(), layout_of(common, intent),
              ledger, std::move(before), _seals ? &*_seals : nullptr) {
  _inspector.note_beyond(limits_of_receivers(intent.snapshot_name));
  if (_index) {
    _inspector.observe(&_index->observer());
  }
  if (described && (!_index || _seals)) {
    describe();
  }
}

// The index is not there, or sealed for somebody else.
void stream_sending::describe() {
  _description = index_making::plain(_common.with);
  if (_index) {
    _both.emplace(_index->observer(), _description->observer());
    _inspector.observe(&*_both);
  } else {
    _inspector.observe(&_description->observer());
  }
}

const index_making* stream_sending::description() const {
  return _description ? _description.get() : _seals ? nullptr : _index.get();
}

result<void> stream_sending::start() {
  btrfs::send_options options;
  options.snapshot = _intent.snapshot_path;
  if (_intent.parent_manifest) {
    options.parent = _intent.parent_snapshot;
  }
  options.protocol = _intent.protocol;
  options.compressed_data = _intent.compressed_data;
  auto started = _common.with.host.sending().start(_common.with.loop, options);
  if (!started) {
    return std::move(started.error());
  }
  _send.emplace(std::move(*started));
  return engine::ok();
}

// The sender exited with status 0, and its stream ended in an END command.
task<result<void>> stream_sending::prove_whole() {
  _waited_for = true;
  auto finishing = _send->finish();
  auto finished = co_await std::move(finishing);
  if (!finished) {
    co_return finished;
  }
  co_return _inspector.finish();
}

std::string stream_sending::more_progress() const {
  std::string text = std::to_string(_upload.parts_in_flight()) + " parts in flight";
  if (_upload.resumed_bytes() > 0) {
    text += ", " + format_bytes(_upload.resumed_bytes()) + " were there";
  }
  const std::uint64_t retries = _common.connection->retries();
  if (retries > 0) {
    text += ", " + engine::counted(retries, "retry", "retries");
  }
  return text;
}

// For whoever watches: how large the stream will be, roughly, once that is known.
task<void> stream_sending::estimate_into(progress& shown, engine::stop_token stop) {
  btrfs::estimate_request what{_intent.snapshot_path, _parent, _intent.compressed_data};
  auto estimating = _common.with.host.sending().estimate(_common.with.loop, std::move(what), stop);
  if (auto estimate = co_await std::move(estimating)) {
    shown.set_total(estimate->bytes, estimate->at_least);
  }
}

task<stream_outcome> stream_sending::run() {
  const services& with = _common.with;
  store_connection* const connection = _common.connection.get();
  // Only one line can be live at a time.
  live_line* const line = _common.parallel() ? nullptr : with.line;
  const std::uint64_t sent_before = connection != nullptr ? connection->bytes_sent() : 0;
  progress shown(with.loop, with.log, line, "backup", "backing up " + _intent.subvolume,
                 [this] { return more_progress(); });
  shown.follow([&] {
    // What is on its way counts too: on a slow uplink a part takes minutes.
    return _common.parallel() ? _upload.acknowledged_bytes()
                              : _upload.resumed_bytes() + (connection->bytes_sent() - sent_before);
  });
  engine::stop_source estimate_end;
  engine::async_scope estimate(with.loop);
  if (connection != nullptr) {
    shown.start();
    if (line != nullptr && line->on_terminal()) {  // it costs reading; a timer's run needs none
      estimate.spawn(estimate_into(shown, estimate_end.token()));
    }
  }
  auto running = _upload.run(_send->pipe(), _inspector, [this] { return prove_whole(); });
  auto outcome = co_await std::move(running);
  estimate_end.request_stop();
  auto estimated = estimate.join();
  co_await std::move(estimated);
  if (connection != nullptr) {
    auto stopping = shown.stop();
    co_await std::move(stopping);
  }
  if (!_waited_for) {
    auto aborting = _send->abort();
    co_await std::move(aborting);
  }
  _send.reset();
  if (_index) {
    auto ending = _index->end(outcome.is_whole());
    co_await std::move(ending);
  }
  if (_description) {
    auto ending = _description->end(outcome.is_whole());
    co_await std::move(ending);
  }
  co_return outcome;
}

}  // namespace bts3::app
