// mount: a backup as a directory.
#include "app/content/content_source.hh"
#include "app/files/asking.hh"
#include "app/host/disk_call.hh"
#include "app/mount/backup_content.hh"
#include "app/mount/file_reading.hh"
#include "app/mount/fuse_filesystem.hh"
#include "app/mount/mount_place.hh"
#include "app/mount/piece_cache.hh"
#include "app/mount/tree_desk.hh"
#include "app/mount/unreadable.hh"
#include "app/store/commands.hh"
#include "app/survey/chosen_backup.hh"
#include "app/text/output.hh"
#include "engine/async_scope.hh"
#include "engine/event.hh"
#include "engine/plain_text.hh"
#include "engine/told_command.hh"

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

// "btrfs_to_s3:data@20260102T030405Z", without what would mean something in a list of options.
std::string source_of(const chain_link& backup) {
  std::string text =
      "btrfs_to_s3:" + backup.value.subvolume + "@" + backup.value.created_at.compact();
  std::replace_if(
      text.begin(), text.end(),
      [](unsigned char c) { return c <= ' ' || c >= 0x7f || c == ',' || c == '\\'; }, '_');
  return text;
}

// What the other command that changes the cache takes away is not shown half.
tree_desk::check all_of(const opened_backup& backup) {
  return [&backup](btrfs::index::catalogue& in) -> result<void> {
    if (links_known(in, backup.chain()) == backup.chain().size()) {
      return in.tables().outcome();
    }
    error failure;
    failure.message = "another command has changed " + backup.path() + " meanwhile";
    failure.remedy = "unmount, and run the same command again";
    return failure;
  };
}

// A backup that is open, at a directory.
class mounting {
 public:
  // What is read ends when `ending` is stopped, which the signals' stop does, too.
  mounting(const services& with, opened_backup& backup, mount_command command)
      : _ending(with.stop),
        _with(with),
        _backup(backup),
        _command(std::move(command)),
        _over(with.loop, "the end of a mount") {
    _with.stop = _ending.token();
    _tools.path = _with.environment("PATH").value_or("");
  }

  // Until it is unmounted, or a stop.
  task<result<exit_status>> run(std::vector<readable_link> links, std::string directory,
                                engine::stop_token stop);

 private:
  task<result<void>> begin(fuse_filesystem& shown, std::string directory);
  task<void> serve(fuse_filesystem& shown);
  task<result<void>> take_away(std::string directory);
  void say(const std::string& directory) const;
  [[nodiscard]] std::uint64_t bytes() const;

  engine::linked_stop_source _ending;
  services _with;
  opened_backup& _backup;
  mount_command _command;
  mount_tools _tools;
  engine::event _over;  // the kernel asks nothing any more
  engine::stop_source _unmounted;
  std::string _device;
};

std::uint64_t mounting::bytes() const {
  std::uint64_t sum = 0;
  for (const chain_link& link : _backup.chain()) {
    sum += link.value.total_bytes;
  }
  return sum;
}

void mounting::say(const std::string& directory) const {
  print_text(_backup.chosen().value.subvolume + ": " + chosen_text(_backup.chosen()) +
             " is mounted at " + directory + "; Ctrl-C or `umount " +
             engine::shell_word(directory) + "` ends it\n");
  flush_output();
}

task<result<void>> mounting::begin(fuse_filesystem& shown, std::string directory) {
  std::function<result<void>()> call = [this, &shown, &directory]() -> result<void> {
    if (auto done = shown.mount(directory); !done) {
      return done;
    }
    _device = mounted_at(_tools, directory).value_or("");
    return engine::ok();
  };
  auto calling = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(calling);
}

task<void> mounting::serve(fuse_filesystem& shown) {
  auto serving = shown.serve(_unmounted.token());
  co_await std::move(serving);
  _over.set();
}

task<result<void>> mounting::take_away(std::string directory) {
  std::function<result<unmounted>()> call = [this, &directory] {
    return app::take_away(_tools, directory, _device);
  };
  auto calling = disk_call(_with.loop, std::move(call));
  const auto done = co_await std::move(calling);
  if (!done) {
    co_return done.error();
  }
  if (*done == unmounted::later) {
    _with.log.write(
        engine::log_level::warning, "mount", "still_in_use",
        {{"directory", directory},
         {"consequence", "it is gone from there; whoever has something of it open gets errors"}});
  }
  co_return engine::ok();
}

task<result<exit_status>> mounting::run(std::vector<readable_link> links, std::string directory,
                                        engine::stop_token stop) {
  auto desk = tree_desk::open(_with.loop, _backup.path(), all_of(_backup));
  if (!desk) {
    co_return std::move(desk.error());
  }
  backup_content content(_with, _backup.store(), std::move(links));
  piece_limits limits;
  limits.fetches_ahead = std::max<std::size_t>(_with.settings.s3.concurrency, 1);
  piece_cache pieces(_with.loop, _with.clock, content, limits);
  file_reading reading(_with.loop, **desk, pieces, _backup.link());
  unreadable told(_with, _backup.chosen().value.subvolume, _backup.chosen().key);
  mount_options options;
  options.allow_other = _command.allow_other;
  options.source = source_of(_backup.chosen());
  options.bytes = bytes();
  fuse_filesystem shown(_with, **desk, reading, told, _backup.link(), std::move(options));
  auto beginning = begin(shown, directory);
  auto outcome = co_await std::move(beginning);
  engine::async_scope scope(_with.loop);
  if (outcome) {
    scope.spawn(serve(shown));
    say(directory);
    auto waiting = _over.wait(stop);
    const auto over = co_await std::move(waiting);
    if (!over) {
      auto taking = take_away(directory);
      outcome = co_await std::move(taking);
    }
  }
  // What is still waited for ends with an error; then nobody asks any more.
  _ending.request_stop();
  _unmounted.request_stop();
  auto served = scope.join();
  co_await std::move(served);
  auto answered = shown.close();
  co_await std::move(answered);
  auto begun = reading.close();
  co_await std::move(begun);
  auto fetched = pieces.close();
  co_await std::move(fetched);
  auto asked = (*desk)->close();
  co_await std::move(asked);
  shown.end();
  if (!outcome) {
    co_return std::move(outcome.error());
  }
  _with.log.write(engine::log_level::info, "mount", "run_finished",
                  {{"bytes", std::to_string(content.bytes_read())},
                   {"requests", std::to_string(content.requests())}});
  if (stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  co_return exit_status::done;
}

task<result<exit_status>> mount_connected(const services& with, store_connection& connection,
                                          mount_command command, std::string directory) {
  auto opening = opened_backup::open(with, connection, command);
  const auto backup = co_await std::move(opening);
  if (!backup) {
    co_return backup.error();
  }
  // Now, while somebody is there to ask.
  auto keys = (*backup)->open_keys();
  auto opened = co_await std::move(keys);
  if (!opened) {
    co_return std::move(opened.error());
  }
  auto links = readable_links(**backup);
  if (!links) {
    co_return std::move(links.error());
  }
  mounting work(with, **backup, std::move(command));
  auto running = work.run(std::move(*links), std::move(directory), with.stop);
  co_return co_await std::move(running);
}

}  // namespace

task<result<exit_status>> run_command(const services& with, mount_command command) {
  mount_tools tools;
  tools.path = with.environment("PATH").value_or("");
  std::function<result<std::string>()> call = [&tools, &command] {
    return usable_mount_point(tools, command.directory, ::geteuid(), command.allow_other);
  };
  auto checking = disk_call(with.loop, std::move(call));
  auto directory = co_await std::move(checking);
  if (!directory) {
    co_return std::move(directory.error());
  }
  auto connection = store_connection::open(with, persistence::of_a_question);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto running = mount_connected(with, **connection, std::move(command), std::move(*directory));
  auto status = co_await std::move(running);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
