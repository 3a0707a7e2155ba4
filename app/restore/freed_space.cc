#include "app/restore/freed_space.hh"

#include "app/host/disk_call.hh"
#include "app/text/progress.hh"
#include "btrfs/host.hh"
#include "engine/async_scope.hh"
#include "engine/child_process.hh"
#include "engine/stop_after.hh"

#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace bts3::app {

using engine::result;
using engine::task;

namespace {

void tell(const services& with, const std::string& directory, const std::string& why) {
  with.log.write(engine::log_level::warning, "restore", "space_not_back",
                 {{"directory", directory},
                  {"error", why},
                  {"consequence", "what was discarded may hold space a while longer"}});
}

}  // namespace

task<void> wait_for_freed_space(const services& with, std::string directory,
                                std::chrono::milliseconds at_most) {
  // The kernel's cleaner begins at once where the filesystem was asked to sync, and else within
  // half a minute. It is waited for in either case.
  std::function<result<void>()> commit = [&with, directory] {
    return with.host.receiving().sync_and_clean(directory);
  };
  auto committing = disk_call<void>(with.loop, std::move(commit));
  (void)co_await std::move(committing);
  engine::child_options options;
  options.argv = {"btrfs", "subvolume", "sync", directory};
  auto child = engine::child_process::spawn(with.loop, std::move(options));
  if (!child) {
    tell(with, directory, child.error().text());
    co_return;
  }
  if (with.line != nullptr) {
    with.line->show("waiting for the space of what was discarded");
  }
  engine::linked_stop_source ending(with.stop);
  engine::stop_source finished;
  engine::async_scope timer(with.loop);
  timer.spawn(engine::stop_after(with.loop, at_most, ending, finished.token()));
  std::optional<result<engine::child_exit>> end;
  {
    const engine::stop_callback on_ending(ending.token(), engine::terminate_child{&*child});
    auto waiting = child->wait();
    end = co_await std::move(waiting);
  }
  const bool early = ending.stop_requested();
  finished.request_stop();
  auto joining = timer.join();
  co_await std::move(joining);
  if (with.line != nullptr) {
    with.line->clear();
  }
  if (with.stop.stop_requested() || (*end && (*end)->success())) {
    co_return;
  }
  if (early) {
    tell(with, directory, "it is not back after " + std::to_string(at_most.count() / 1000) + " s");
  } else {
    tell(with, directory,
         *end ? "btrfs subvolume sync " + (*end)->describe() + ": " + (*end)->stderr_tail
              : end->error().text());
  }
}

}  // namespace bts3::app
