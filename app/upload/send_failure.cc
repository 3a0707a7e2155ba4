#include "app/upload/send_failure.hh"

#include "btrfs/host.hh"
#include "engine/event.hh"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using btrfs::unsendable_file;
using engine::error;
using engine::task;

// The file is among the first that are read; a disk that is healthy after all is not read for days.
constexpr std::uint64_t read_bytes_max = std::uint64_t{64} << 30;

struct set_flag {
  std::atomic<bool>* flag;
  void operator()() const { flag->store(true); }
};

// What the thread works on.
struct search {
  explicit search(const btrfs::sending_side& side) : sending(side) {}

  const btrfs::sending_side& sending;
  std::string snapshot;
  std::string source;
  std::string last_path;
  bool by_length = false;
  std::vector<unsendable_file> found;
  bool in_source = false;
  std::atomic<bool> stop{false};

  void run() {
    found = by_length ? sending.long_paths(snapshot, stop)
                      : sending.unreadable(snapshot, last_path, read_bytes_max, stop);
    in_source = std::any_of(found.begin(), found.end(), [&](const unsendable_file& one) {
      return sending.is_unsendable(source, one.path, stop);
    });
  }
};

// Killed, as by the kernel when memory is short, or never begun: a shell's 126 and 127.
bool was_stopped(const std::string& message) {
  return message.find("was killed by signal") != std::string::npos ||
         message.find("exited with status 126") != std::string::npos ||
         message.find("exited with status 127") != std::string::npos;
}

error named(error failure, const search& done) {
  const unsendable_file& first = done.found.front();
  std::string what = first.path;
  if (first.inode > 0) {
    what = "inode " + std::to_string(first.inode) + ", " + what;
  }
  failure.message += "; it is " + what + ": " + first.problem;
  if (done.found.size() > 1) {
    failure.message += ", and " + std::to_string(done.found.size() - 1) + " more";
  }
  failure.remedy =
      done.by_length
          ? "shorten the path in " + done.source
          : "restore that file in " + done.source +
                " from a backup, or delete it; `btrfs scrub` and the kernel's log tell of others";
  failure.remedy += "; what is uploaded is kept until then";
  return failure;
}

}  // namespace

task<send_failure> explain_send_failure(const services& with, error failure, std::string snapshot,
                                        std::string source, std::string last_path) {
  send_failure told;
  const bool unreadable = failure.message.find("failed with -5:") != std::string::npos;
  told.judged = !was_stopped(failure.message);
  search looking(with.host.sending());
  looking.by_length = failure.message.find("failed with -36:") != std::string::npos;
  told.failure = std::move(failure);
  if ((!unreadable && !looking.by_length) || with.stop.stop_requested()) {
    co_return told;
  }
  with.log.write(engine::log_level::info, "backup", "looking_for_unsendable_files",
                 {{"snapshot", snapshot}, {"behind", last_path}});
  looking.snapshot = std::move(snapshot);
  looking.source = std::move(source);
  looking.last_path = std::move(last_path);
  engine::event done(with.loop);
  {
    const engine::stop_callback<set_flag> on_stop(with.stop, set_flag{&looking.stop});
    const engine::outside_work under_way(with.loop);
    std::thread worker;
    try {
      worker = std::thread([&looking, &done, &with] {
        looking.run();
        with.loop.post([&done] { done.set(); });
      });
    } catch (const std::system_error&) {
      co_return told;  // its own message has to do
    }
    auto waiting = done.wait();
    (void)co_await std::move(waiting);
    worker.join();
  }
  if (!looking.found.empty()) {
    told.failure = named(std::move(told.failure), looking);
    told.found = true;
    told.in_source = looking.in_source;
  }
  co_return told;
}

}  // namespace bts3::app
