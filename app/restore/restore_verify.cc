#include "app/restore/restore_verify.hh"

#include "app/records/kept_copies.hh"
#include "app/text/human_units.hh"
#include "app/text/progress.hh"
#include "btrfs/host.hh"
#include "engine/offload.hh"

#include <atomic>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

error different(std::string message, std::string remedy) {
  error failure;
  failure.why = engine::reason::integrity;
  failure.message = std::move(message);
  failure.remedy = std::move(remedy);
  return failure;
}

// Stopping the comparing thread as any other operation is stopped.
struct set_flag {
  std::atomic<bool>* flag;
  void operator()() const { flag->store(true, std::memory_order_relaxed); }
};

}  // namespace

btrfs::recorded_identity identity_of(const planner::snapshot_record& snapshot) {
  const auto parsed = [](const std::optional<std::string>& text) {
    return text ? btrfs::uuid::parse(*text) : std::nullopt;
  };
  btrfs::recorded_identity recorded;
  recorded.own_uuid = parsed(snapshot.uuid);
  recorded.received_uuid = parsed(snapshot.received_uuid);
  recorded.ctransid = snapshot.ctransid;
  return recorded;
}

source_finding find_source(const services& with, const planner::manifest& backup) {
  btrfs::recorded_identity recorded = identity_of(backup.snapshot);
  recorded.copies = kept_copies(with.settings.global.state_path, backup.snapshot);
  source_finding finding;
  if (!recorded.own_uuid) {
    finding.because = "the manifest records no UUID to know the backup's snapshot by";
    return finding;
  }
  finding.because = "the backup's snapshot is not on this host";
  for (const std::string& path :
       {backup.snapshot.path, with.settings.snapshots.base_dir + "/" + backup.snapshot.name}) {
    if (!path.starts_with('/') || !with.host.subvolumes().is_subvolume(path)) {
      continue;
    }
    const auto info = with.host.subvolumes().inspect(path);
    if (!info) {
      continue;
    }
    const btrfs::identity_finding same = btrfs::compare_identity(recorded, *info);
    if (same.matches()) {
      finding.path = path;
      finding.because.clear();
      return finding;
    }
    finding.because = path + " is not the backup's snapshot: " + same.sentence;
  }
  return finding;
}

result<void> verify_identity(const chain_link& link, const btrfs::subvolume_info& received) {
  const auto& expected = link.value.snapshot;
  const std::string uuid = received.received_uuid.text();
  if (expected.uuid && uuid != *expected.uuid &&
      (!expected.received_uuid || uuid != *expected.received_uuid)) {
    return different(link.key + ": the stream carries the snapshot " + uuid +
                         ", and the manifest describes " + *expected.uuid,
                     "a chunk or the manifest belongs to another backup; restore another one");
  }
  if (!received.read_only) {
    return different(link.key + ": what was received is writable", "run the restore again");
  }
  return engine::ok();
}

task<result<void>> verify_content(const services& with, verify_mode mode, std::string subvolume,
                                  std::string source, std::string received) {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> compared{0};
  btrfs::compare_options options;
  if (mode == verify_mode::sample) {
    options.files_max = with.settings.restore.sample_max_files;
  }
  options.first_name = "the source";
  options.second_name = "what was restored";
  options.stop = &stop;
  options.bytes = &compared;

  std::optional<result<btrfs::compare_report>> outcome;
  progress shown(with.loop, with.log, with.line, "restore", "verifying " + subvolume);
  shown.follow([&compared] { return compared.load(std::memory_order_relaxed); });
  shown.start();
  {
    const engine::stop_callback<set_flag> on_stop(with.stop, set_flag{&stop});
    std::function<result<btrfs::compare_report>()> call = [&] {
      return with.host.receiving().compare(source, received, options);
    };
    auto comparing = engine::offload(with.loop, std::move(call));
    outcome = co_await std::move(comparing);
  }
  auto stopping = shown.stop();
  co_await std::move(stopping);
  if (!*outcome) {
    co_return std::move(outcome->error()).within("comparing with " + source);
  }
  const btrfs::compare_report& report = **outcome;
  if (report.difference) {
    co_return different("what was restored differs from " + source + ": " + *report.difference,
                        "the links that were received are kept: run it again with --discard to "
                        "receive them anew, or with --verify none to accept them");
  }
  with.log.write(log_level::info, "restore", "content_verified",
                 {{"source", source},
                  {"mode", word_of(verify_mode_words, mode)},
                  {"entries", std::to_string(report.entries)},
                  {"files", std::to_string(report.files)},
                  {"files_compared", std::to_string(report.files_compared)},
                  {"bytes_compared", std::to_string(report.bytes_compared)}});
  co_return engine::ok();
}

}  // namespace bts3::app
