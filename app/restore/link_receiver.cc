#include "app/restore/link_receiver.hh"

#include "app/download/received_proof.hh"
#include "app/host/disk_call.hh"
#include "app/restore/restore_reports.hh"
#include "app/restore/workspace_calls.hh"
#include "app/survey/receive_refusal.hh"
#include "btrfs/processes.hh"
#include "btrfs/receive_watch.hh"
#include "btrfs/received_pages.hh"
#include "btrfs/stream_rewriter.hh"
#include "engine/told_command.hh"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

// What a receiver and its stream need, made on disk.
struct prepared_receiver {
  btrfs::stream_rewriter rewriter;  // for a link that is received onto the last one
  btrfs::receive_command command;
};

result<prepared_receiver> prepare_receiver(btrfs::receive_workspace& workspace, bool decompress) {
  prepared_receiver made;
  if (!workspace.records().empty()) {
    auto parent = workspace.stand_in_for_parent();
    if (!parent) {
      return std::move(parent.error()).within("making a stand-in for the link before");
    }
    made.rewriter = btrfs::stream_rewriter(parent->in_stream, parent->stand_in);
  }
  auto command = workspace.receiver(decompress);
  if (!command) {
    return std::move(command.error());
  }
  made.command = std::move(*command);
  return made;
}

// They walk behind a receiver until it has ended; when all was `received`, to the end of that.
// Returns the bytes that were let go of.
task<std::uint64_t> end_pages(engine::reactor& loop, std::optional<btrfs::received_pages>& pages,
                              bool received) {
  std::uint64_t released = 0;
  if (!pages) {
    co_return released;
  }
  std::function<result<void>()> call = [&pages, &released, received] {
    if (received) {
      pages->finish();
    }
    released = pages->bytes();
    pages.reset();
    return engine::ok();
  };
  auto ending = disk_call(loop, std::move(call));
  (void)co_await std::move(ending);
  co_return released;
}

// With another stop than the program's.
services stopped_by(const services& with, engine::stop_token stop) {
  services changed = with;
  changed.stop = std::move(stop);
  return changed;
}

// The whole stream, and the receiver's end.
task<result<void>> feed(const services& with, download_link& download,
                        btrfs::receive_process& receive, const btrfs::receive_watch& watch) {
  auto running = download.run(receive.fd());
  auto ran = co_await std::move(running);
  if (!ran && ran.error().code != "EPIPE" && !watch.stalled()) {
    auto aborting = receive.abort();
    co_await std::move(aborting);
    co_return ran;
  }
  // A receiver that has gone knows why better than the pipe.
  engine::stop_token stop = watch.stalled() ? engine::stop_token() : with.stop;
  auto finishing = receive.finish(stop);
  auto finished = co_await std::move(finishing);
  if (!finished && watch.stalled() && !with.stop.stop_requested()) {
    co_return watch.failure(finished.error());
  }
  if (!finished || ran) {
    co_return finished;
  }
  // It was content with what it had, and yet the stream went on.
  error failure = std::move(ran.error());
  failure.why = reason::child_process;
  co_return failure;
}

}  // namespace

// One attempt at a link, in the order in which its means are made.
struct link_receiver::attempt {
  attempt(const link_receiver& whose, const chain_link& of, const chain_link* onto,
          std::vector<located_chunk> chunks)
      : link(of),
        before(onto),
        stop(whose._with.stop),
        with_stall(stopped_by(whose._with, stop.token())),
        download(with_stall, whose._store, whose._means.pool, whose._means.hashes,
                 std::move(chunks), &whose._means.shown, &whose._means.thaw, whose._means.spool) {}

  const chain_link& link;
  const chain_link* before;
  engine::linked_stop_source stop;  // also when the receiver stalls
  services with_stall;
  download_link download;
  std::optional<received_proof> proof;
  prepared_receiver prepared;
  std::optional<btrfs::receive_process> receive;
  std::optional<btrfs::received_pages> pages;
};

link_receiver::link_receiver(const services& with, s3::object_store& store,
                             const restore_request& request, btrfs::receive_workspace& workspace,
                             link_means means, restore_totals& totals)
    : _with(with),
      _store(store),
      _request(request),
      _workspace(workspace),
      _means(means),
      _totals(totals) {}

task<result<void>> link_receiver::receive(planned_link& planned, const chain_link* before) {
  const std::vector<located_chunk> chunks = planned.chunks;
  if (_means.kept != nullptr) {
    auto beginning = _means.kept->begin(planned.link.key);
    co_await std::move(beginning);
  }
  auto receiving = receive_once(planned, before);
  auto received = co_await std::move(receiving);
  if (received) {
    auto forgetting = forget_kept_parts();
    co_await std::move(forgetting);
  }
  if (!received && received.error().what_now == disposition::not_found) {
    received.error().remedy =
        "choose a backup that stays (`" + engine::told_command("list") +
        "` shows what there is), and drop what was received of this one with --discard";
  }
  if (received || _lost_writes == 0 || _with.stop.stop_requested()) {
    co_return received;
  }
  _with.log.write(log_level::warning, "restore", "link_received_again",
                  {{"manifest", planned.link.key}, {"reason", received.error().message}});
  auto cleaning = clean_workspace(_with.loop, _workspace);
  auto cleaned = co_await std::move(cleaning);
  if (!cleaned) {
    co_return cleaned;
  }
  _decompress = true;
  _means.thaw.chunks_undone(chunks.size());
  _means.bytes += planned.link.value.total_bytes;
  _means.shown.set_total(_means.bytes);
  planned.chunks = chunks;
  auto again = receive_once(planned, before);
  received = co_await std::move(again);
  if (received) {
    auto forgetting = forget_kept_parts();
    co_await std::move(forgetting);
  }
  co_return received;
}

task<void> link_receiver::forget_kept_parts() {
  if (_means.kept != nullptr) {
    auto forgetting = _means.kept->forget();
    co_await std::move(forgetting);
  }
}

task<result<void>> link_receiver::receive_once(planned_link& planned, const chain_link* before) {
  const auto started = std::chrono::steady_clock::now();
  attempt one(*this, planned.link, before, std::exchange(planned.chunks, {}));
  if (planned.link.value.encryption) {
    one.download.is_sealed(planned.key.get(), planned.plain_bytes);
  }
  auto preparing = prepare(one);
  auto prepared = co_await std::move(preparing);
  if (!prepared) {
    co_return prepared;
  }
  auto running = run_receiver(one);
  auto ran = co_await std::move(running);
  _totals.bytes += one.download.bytes();
  _totals.kept_bytes += one.download.bytes_kept_before();
  _totals.parts += one.download.parts();
  _totals.damaged_parts += one.download.damaged_parts();
  if (!ran) {
    auto ending = end_pages(_with.loop, one.pages, false);
    co_await std::move(ending);
    auto explaining = failure_of(one, std::move(ran.error()));
    co_return co_await std::move(explaining);
  }
  auto taking = take_received(one);
  auto taken = co_await std::move(taking);
  auto ending = end_pages(_with.loop, one.pages, taken.has_value());
  const std::uint64_t released = co_await std::move(ending);
  if (!taken) {
    co_return taken;
  }
  ++_totals.links;
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - started);
  _with.log.write(log_level::info, "restore", "link_received",
                  {{"manifest", one.link.key},
                   {"bytes", std::to_string(one.download.bytes())},
                   {"kept_bytes", std::to_string(one.download.bytes_kept_before())},
                   {"milliseconds", std::to_string(took.count())},
                   {"pages_released_bytes", std::to_string(released)}});
  co_return engine::ok();
}

// Everything that comes before the first byte, the receiver itself included.
task<result<void>> link_receiver::prepare(attempt& one) {
  if (_request.verify != verify_mode::none) {
    one.download.expect(expected_stream(
        one.link.value, one.before == nullptr ? nullptr : &one.before->value, one.link.key));
  }
  if (_means.kept != nullptr) {
    one.download.keep_in(*_means.kept);
  }
  if (_request.verify_first) {
    auto looking = one.download.verify_first();
    auto sound = co_await std::move(looking);
    if (!sound) {
      co_return sound;
    }
  }
  auto proof = received_proof::begin(_with, _workspace.directory());
  if (!proof) {
    co_return std::move(proof.error());
  }
  one.proof.emplace(std::move(*proof));
  if (!_decompress) {
    one.download.show_to(*one.proof);
  }
  std::function<result<prepared_receiver>()> prepare = [this] {
    return prepare_receiver(_workspace, _decompress);
  };
  auto preparing = disk_call(_with.loop, std::move(prepare));
  auto prepared = co_await std::move(preparing);
  if (!prepared) {
    co_return std::move(prepared.error());
  }
  one.prepared = std::move(*prepared);
  one.download.rewrite_by(one.prepared.rewriter);
  auto receive = btrfs::receive_process::start(_with.loop, std::move(one.prepared.command));
  if (!receive) {
    co_return std::move(receive.error());
  }
  one.receive.emplace(std::move(*receive));
  if (one.link.value.kind == planner::backup_kind::full && !_means.read_again) {
    one.pages.emplace(_workspace.receiving_directory(), _workspace.names_before());
  }
  co_return engine::ok();
}

task<result<void>> link_receiver::run_receiver(attempt& one) {
  btrfs::receive_watch watch(_with.loop, *one.receive, _with.log,
                             _with.settings.restore.receive_stall_seconds, one.stop);
  watch.start();
  auto feeding = feed(_with, one.download, *one.receive, watch);
  auto fed = co_await std::move(feeding);
  auto stopping = watch.stop();
  co_await std::move(stopping);
  co_return fed;
}

// A stream that is refused is remembered; anything else is of this host, of the store, or a stop.
task<error> link_receiver::failure_of(attempt& one, error failure) {
  if (is_refusal(failure)) {
    const btrfs::stream_command* const command = one.download.refused_command(failure.message);
    error refused = refusal_of(std::move(failure), one.link, command, one.before);
    auto remembering =
        remember_refusal(_with, _request.wanted.subvolume, one.link.key, refused.message);
    co_await std::move(remembering);
    co_return refused;
  }
  log_broken_off(_with, one.link, one.download, _means.kept);
  failure = _workspace.in_known_paths(std::move(failure));
  if (failure.why == reason::child_process) {
    co_return one.proof->explained(std::move(failure)).within(one.link.key);
  }
  co_return failure;
}

// Identifies what `btrfs receive` left, checks it, and records it durably.
task<result<void>> link_receiver::take_received(attempt& one) {
  _lost_writes = 0;
  auto record = _workspace.identify_received(one.link.key);
  if (!record) {
    co_return std::move(record.error()).within(one.link.key);
  }
  auto info = _workspace.inspect(*record);
  if (!info) {
    co_return std::move(info.error());
  }
  if (_request.verify != verify_mode::none) {
    if (auto verified = verify_identity(one.link, *info); !verified) {
      co_return verified;
    }
  }
  auto proving = one.proof->lost(_workspace.directory() + "/" + record->subvolume);
  auto lost = co_await std::move(proving);
  if (!lost) {
    co_return _workspace.in_known_paths(std::move(lost.error())).within(one.link.key);
  }
  _lost_writes = *lost;
  if (*lost > 0) {
    error failure;
    failure.why = reason::integrity;
    failure.message = std::to_string(*lost) + " compressed writes of " + one.link.key +
                      " are not on the target's disk, although the kernel accepted them";
    co_return failure;
  }
  std::function<result<void>()> call = [this, &record] { return _workspace.record(*record); };
  auto recording = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(recording);
}

}  // namespace bts3::app
