#include "app/restore/freed_space.hh"

#include "app/host/disk_call.hh"
#include "app/text/progress.hh"
#include "btrfs/host.hh"
#include "engine/async_scope.hh"
#include "engine/stop_after.hh"

#include <functional>
#include <utility>

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
  if (with.line != nullptr) {
    with.line->show("waiting for the space of what was discarded");
  }
  engine::linked_stop_source ending(with.stop);
  engine::stop_source finished;
  engine::async_scope timer(with.loop);
  timer.spawn(engine::stop_after(with.loop, at_most, ending, finished.token()));
  auto waiting = with.host.receiving().wait_for_cleaner(with.loop, directory, ending.token());
  const auto cleaned = co_await std::move(waiting);
  const bool early = ending.stop_requested();
  finished.request_stop();
  auto joining = timer.join();
  co_await std::move(joining);
  if (with.line != nullptr) {
    with.line->clear();
  }
  if (with.stop.stop_requested() || cleaned) {
    co_return;
  }
  tell(with, directory,
       early ? "it is not back after " + std::to_string(at_most.count() / 1000) + " s"
             : cleaned.error().text());
}

}  // namespace bts3::app
