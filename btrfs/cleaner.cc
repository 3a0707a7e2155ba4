#include "btrfs/cleaner.hh"

#include "btrfs/child_failure.hh"
#include "engine/child_process.hh"

#include <utility>

namespace bts3::btrfs {

using engine::result;
using engine::task;

std::vector<std::string> cleaning_arguments(const std::string& path) {
  return {"btrfs", "subvolume", "sync", path};
}

task<result<void>> wait_for_cleaner(engine::reactor& loop, std::vector<std::string> argv,
                                    engine::stop_token stop) {
  engine::child_options options;
  options.argv = std::move(argv);
  auto child = engine::child_process::spawn(loop, std::move(options));
  if (!child) {
    co_return std::move(child.error());
  }
  const engine::stop_callback on_stop(stop, engine::terminate_child{&*child});
  auto waiting = child->wait();
  auto end = co_await std::move(waiting);
  if (!end) {
    co_return std::move(end.error());
  }
  if (!end->success()) {
    if (stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    co_return child_failure("`btrfs subvolume sync`", *end);
  }
  co_return engine::ok();
}

}  // namespace bts3::btrfs
