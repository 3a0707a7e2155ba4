#include "app/download/received_proof.hh"

#include "btrfs/host.hh"
#include "engine/offload.hh"

#include <sys/utsname.h>

#include <functional>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

// Since then syncfs(2) tells of writes that failed before it was called.
constexpr btrfs::version_number syncfs_tells{5, 8};

bool told_by_syncfs() {
  utsname system{};
  return ::uname(&system) == 0 &&
         btrfs::parse_version(system.release).value_or(btrfs::version_number()) >= syncfs_tells;
}

error refused_by_disk(std::string message, const std::string& devices) {
  error failure;
  failure.message = std::move(message) + (devices.empty() ? "" : " (" + devices + ")");
  failure.remedy =
      "the target's disk fails: see the kernel's log and `btrfs device stats`, and choose another "
      "target; links that were proven to be on the disk are kept";
  return failure;
}

}  // namespace

result<received_proof> received_proof::begin(const services& with, std::string directory) {
  auto checks = with.host.receiving().checks_of(directory);
  if (!checks) {
    return std::move(checks.error());
  }
  auto before = with.host.receiving().errors_of(directory);
  if (!before) {
    return std::move(before.error());
  }
  return received_proof(with, std::move(directory), *checks, std::move(*before));
}

std::string received_proof::risen_errors() const {
  std::string text;
  const auto after = _with.host.receiving().errors_of(_directory);
  if (after) {
    for (const btrfs::device_errors& one : btrfs::risen(_before, *after)) {
      text += (text.empty() ? "" : "; ") + one.text();
    }
  }
  return text;
}

result<void> received_proof::judge_devices(bool all_there) const {
  const std::string devices = risen_errors();
  if (devices.empty()) {
    return engine::ok();
  }
  if (!told_by_syncfs()) {
    return refused_by_disk(
        "the target's disk refused something, and this kernel does not tell whether it was data",
        devices);
  }
  _with.log.write(log_level::warning, "restore", "target_device_errors",
                  {{"errors", devices},
                   {"reason", all_there ? "everything that was received is on the disk all the "
                                          "same, and the disk may soon refuse more"
                                        : "the disk refused data"}});
  return engine::ok();
}

error received_proof::explained(error failure) const {
  const std::string devices = risen_errors();
  return devices.empty() ? failure : refused_by_disk(failure.message, devices);
}

result<std::uint64_t> received_proof::look(const std::string& received) {
  if (auto synced = _with.host.receiving().sync(_directory); !synced) {
    return refused_by_disk("the target's disk refused what was received: " + synced.error().message,
                           risen_errors());
  }
  auto missing = _with.host.receiving().missing_in(_written, received);
  return missing ? missing : explained(std::move(missing.error()));
}

task<result<std::uint64_t>> received_proof::lost(std::string received) {
  std::function<result<std::uint64_t>()> call = [this, &received] { return look(received); };
  auto looking = engine::offload(_with.loop, std::move(call));
  auto missing = co_await std::move(looking);
  if (!missing) {
    co_return std::move(missing);
  }
  if (auto sound = judge_devices(*missing == 0); !sound) {
    co_return std::move(sound.error());
  }
  co_return std::move(missing);
}

}  // namespace bts3::app
