#include "app/backup/hooks.hh"

#include "app/host/signals.hh"
#include "app/text/progress.hh"
#include "engine/async_scope.hh"
#include "engine/child_process.hh"
#include "engine/stop_after.hh"

#include <unistd.h>

#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::reactor;
using engine::result;
using engine::task;

constexpr std::size_t output_tail_bytes = 8 * 1024;

std::string lines(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "" : "\n") + name;
  }
  return text;
}

// The last bytes of what a hook prints; the rest is read and forgotten, so that it never blocks.
struct output_tail {
  std::string text;
  void add(const std::byte* bytes, std::size_t count) {
    text.append(reinterpret_cast<const char*>(bytes), count);
    if (text.size() > 2 * output_tail_bytes) {
      cut();
    }
  }
  void cut() {
    text.erase(0, text.size() - std::min(text.size(), output_tail_bytes));
    while (!text.empty() && std::strchr(" \t\r\n", text.back()) != nullptr) {
      text.pop_back();
    }
  }
};

task<void> read_tail(reactor& loop, int fd, output_tail& into, engine::stop_token stop) {
  std::array<std::byte, 4096> piece;
  for (;;) {
    auto reading = loop.read(fd, piece, stop);
    auto got = co_await std::move(reading);
    if (!got || *got == 0) {
      co_return;
    }
    into.add(piece.data(), *got);
  }
}

// What is in the pipe when the hook has ended. A daemon that it left behind may hold the pipe open
// for ever, so nothing waits for its end.
void read_rest(int fd, output_tail& into) {
  std::array<std::byte, 4096> piece;
  for (std::size_t turns = 0; turns < 1024; ++turns) {  // a pipe has 1 MiB at most
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got <= 0) {
      break;
    }
    into.add(piece.data(), static_cast<std::size_t>(got));
  }
  into.cut();
}

error failed_hook(const hook_call& call, const std::string& what) {
  error failure;
  failure.why = engine::reason::child_process;
  failure.message = "hooks." + call.name + ": " + call.argv.front() + " " + what;
  return failure;
}

std::string seconds_text(std::chrono::milliseconds time) {
  return std::to_string(std::llround(static_cast<double>(time.count()) / 1000)) + " s";
}

}  // namespace

std::vector<std::string> hook_environment(const std::string& hook, const std::string& config_path,
                                          const std::vector<std::string>& subvolumes,
                                          const run_report* after) {
  const std::string stem = "BTRFS_TO_S3_HOOK";
  std::vector<std::string> made = {stem + "=" + hook, stem + "_CONFIG=" + config_path,
                                   stem + "_SUBVOLUMES=" + lines(subvolumes)};
  if (after == nullptr) {
    return made;
  }
  std::string problem = after->error;
  std::vector<std::string> failed;
  for (const subvolume_report& one : after->subvolumes) {
    if (one.status == subvolume_status::failed) {
      failed.push_back(one.name);
      problem = problem.empty() ? one.name + ": " + one.error : problem;
    }
  }
  made.push_back(stem + "_STATUS=" + std::to_string(after->exit_status));
  made.push_back(stem + "_ERROR=" + problem);
  made.push_back(stem + "_FAILED=" + lines(failed));
  made.push_back(stem + "_BACKUPS=" + std::to_string(after->totals.backups));
  made.push_back(stem + "_BYTES=" + std::to_string(after->totals.bytes));
  made.push_back(stem + "_SECONDS=" + std::to_string(std::llround(after->totals.seconds)));
  return made;
}

std::vector<std::string> snapshot_hook_environment(const std::string& hook,
                                                   const std::string& config_path,
                                                   const subvolume_config& which,
                                                   const std::string* snapshot) {
  std::vector<std::string> made = hook_environment(hook, config_path, {which.name}, nullptr);
  made.push_back("BTRFS_TO_S3_HOOK_PATH=" + which.path);
  if (snapshot != nullptr) {
    made.push_back("BTRFS_TO_S3_HOOK_SNAPSHOT=" + *snapshot);
  }
  return made;
}

task<result<void>> run_configured_hook(const services& with, std::string name,
                                       std::vector<std::string> argv,
                                       std::vector<std::string> environment, backup_events& events,
                                       engine::stop_token stop) {
  if (argv.empty()) {
    co_return engine::ok();
  }
  if (with.line != nullptr) {
    with.line->announce("hook " + name);
  }
  hook_call call;
  call.name = name;
  call.argv = std::move(argv);
  call.environment_additions = std::move(environment);
  call.timeout = with.settings.hooks.timeout;
  engine::linked_stop_source ending(stop);
  const hastened by_signal(with.signals, ending);
  auto running = run_hook(with.loop, with.log, std::move(call), ending.token());
  auto ran = co_await std::move(running);
  hook_report ended;
  ended.name = std::move(name);
  ended.error = ran ? "" : ran.error().text();
  events.hook_ended(ended);
  co_return ran;
}

task<result<void>> run_hook(reactor& loop, engine::log_sink& log, hook_call call,
                            engine::stop_token stop) {
  if (stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  auto ends = engine::make_pipe();
  if (!ends) {
    co_return std::move(ends.error());
  }
  if (auto set = engine::set_nonblocking(ends->read_end.get()); !set) {
    co_return std::move(set.error());
  }
  engine::child_options options;
  options.argv = call.argv;
  options.stdout_fd = ends->write_end.get();
  options.environment_additions = call.environment_additions;
  auto child = engine::child_process::spawn(loop, std::move(options));
  if (!child) {
    error failure = std::move(child.error()).within("hooks." + call.name);
    failure.what_now = engine::disposition::fail;
    failure.why = engine::reason::child_process;
    failure.remedy = "name a program that exists and can be run; there is no shell";
    co_return failure;
  }
  ends->write_end.reset();
  const auto began = std::chrono::steady_clock::now();

  output_tail output;
  engine::linked_stop_source ending(stop);
  engine::stop_source finished;
  engine::async_scope beside(loop);
  beside.spawn(engine::stop_after(loop, call.timeout, ending, finished.token()));
  beside.spawn(read_tail(loop, ends->read_end.get(), output, finished.token()));
  std::optional<result<engine::child_exit>> end;
  {
    const engine::stop_callback on_ending(ending.token(), engine::terminate_child{&*child});
    auto waiting = child->wait();
    end = co_await std::move(waiting);
  }
  const bool ended_by_us = ending.stop_requested();
  finished.request_stop();
  auto joining = beside.join();
  co_await std::move(joining);
  read_rest(ends->read_end.get(), output);

  if (!*end) {
    co_return std::move(end->error());
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - began);
  log.write(log_level::info, "hooks", "hook_ended",
            {{"hook", call.name},
             {"program", call.argv.front()},
             {"ended", (*end)->describe()},
             {"milliseconds", std::to_string(took.count())},
             {"stdout", output.text},
             {"stderr", (*end)->stderr_tail}});
  // What a hook has done all the same has to be undone by the one after it.
  if (stop.stop_requested() && (*end)->success()) {
    co_return engine::ok();
  }
  if (stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  if (ended_by_us) {
    error failure = failed_hook(call, "took longer than " + seconds_text(call.timeout));
    failure.remedy = "make it faster, or raise hooks.timeout";
    co_return failure;
  }
  if ((*end)->success()) {
    co_return engine::ok();
  }
  const std::string& said = (*end)->stderr_tail;
  co_return failed_hook(call, (*end)->describe() + (said.empty() ? "" : ": " + said));
}

}  // namespace bts3::app
