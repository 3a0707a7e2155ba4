#include "app/restore/workspace_calls.hh"

#include "app/host/disk_call.hh"
#include "btrfs/host.hh"

#include <functional>
#include <utility>

namespace bts3::app {

using engine::log_level;
using engine::result;
using engine::task;

task<result<std::unique_ptr<btrfs::receive_workspace>>> open_workspace(const services& with,
                                                                       btrfs::target_report target,
                                                                       bool anew) {
  std::function<result<std::unique_ptr<btrfs::receive_workspace>>()> call = [&with, target, anew] {
    return with.host.receiving().open(target, anew);
  };
  auto opening = disk_call(with.loop, std::move(call));
  co_return co_await std::move(opening);
}

task<result<void>> clean_workspace(engine::reactor& loop, btrfs::receive_workspace& workspace) {
  std::function<result<void>()> call = [&workspace] { return workspace.delete_unrecorded(); };
  auto cleaning = disk_call(loop, std::move(call));
  co_return co_await std::move(cleaning);
}

task<void> close_workspace(engine::reactor& loop, btrfs::receive_workspace& workspace) {
  std::function<result<void>()> call = [&workspace] {
    workspace.close();
    return engine::ok();
  };
  auto closing = disk_call(loop, std::move(call));
  (void)co_await std::move(closing);
}

task<void> tidy_up(const services& with, const restore_request& request,
                   btrfs::receive_workspace& workspace, btrfs::restored_mark mark) {
  std::function<result<void>()> call = [&request, &workspace, &mark] {
    auto sealed = workspace.seal(mark);
    return !sealed ? sealed : request.one_of_all ? workspace.remove_received() : workspace.remove();
  };
  auto tidying = disk_call(with.loop, std::move(call));
  auto tidied = co_await std::move(tidying);
  if (!tidied) {
    with.log.write(log_level::warning, "restore", "restore_remains_left",
                   {{"target", request.target},
                    {"error", workspace.in_known_paths(tidied.error()).text()},
                    {"remedy",
                     "the target is complete; the same command once more, or removing "
                     "the subvolumes and the file in the directory beside it by hand, "
                     "removes what is left"}});
  }
}

}  // namespace bts3::app
