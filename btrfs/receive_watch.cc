#include "btrfs/receive_watch.hh"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

namespace bts3::btrfs {

namespace {

using engine::error;
using engine::task;
using std::chrono::milliseconds;

constexpr int looks_per_limit = 20;
constexpr milliseconds look_max{30'000};

// From the state on, utime and stime are the 12th and 13th field (proc(5): fields 14 and 15).
constexpr int fields_before_times = 10;

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string duration_text(milliseconds time) {
  return time.count() % 60'000 == 0 ? std::to_string(time.count() / 60'000) + " min"
         : time.count() % 1000 == 0 ? std::to_string(time.count() / 1000) + " s"
                                    : std::to_string(time.count()) + " ms";
}

}  // namespace

std::optional<process_signs> parse_signs(const std::string& stat, const std::string& io) {
  // The name may hold blanks and parentheses: what counts follows the last one.
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) {
    return std::nullopt;
  }
  std::istringstream fields(stat.substr(name_end + 1));
  process_signs signs;
  fields >> signs.state;
  std::string skipped;
  for (int i = 0; i < fields_before_times; ++i) {
    fields >> skipped;
  }
  std::uint64_t user = 0;
  std::uint64_t system = 0;
  if (!(fields >> user >> system)) {
    return std::nullopt;
  }
  signs.cpu_ticks = user + system;
  std::istringstream counters(io);
  std::string name;
  std::uint64_t count = 0;
  while (counters >> name >> count) {
    signs.io += count;
  }
  return signs;
}

std::optional<process_signs> signs_of(pid_t process) {
  const std::string directory = "/proc/" + std::to_string(process);
  return parse_signs(content_of(directory + "/stat"), content_of(directory + "/io"));
}

bool stall_judge::stalled(const process_signs& now, std::optional<std::size_t> unread,
                          time_point when) {
  const bool due = !unread || *unread > 0;
  const bool moved = !_last || _last->signs.cpu_ticks != now.cpu_ticks ||
                     _last->signs.io != now.io || _last->unread != unread;
  const bool held_up = now.state == 'R' || now.state == 'D' || now.state == 'Z';
  _last = look{now, unread};
  if (!due || moved || held_up) {
    _quiet_since = when;
    return false;
  }
  return when - _quiet_since >= _limit;
}

receive_watch::receive_watch(engine::reactor& loop, receive_process& receiver,
                             engine::log_sink& log, milliseconds limit,
                             engine::stop_source& on_stall)
    : _loop(loop),
      _receiver(receiver),
      _log(log),
      _limit(limit),
      _on_stall(on_stall),
      _scope(loop) {}

task<void> receive_watch::run() {
  using clock = std::chrono::steady_clock;
  const milliseconds pause = std::clamp(_limit / looks_per_limit, milliseconds(1), look_max);
  stall_judge judge(_limit);
  clock::time_point for_the_disk_since = clock::now();
  std::optional<process_signs> before;
  for (;;) {
    auto sleeping = _loop.sleep_aside(pause, _stop.token());
    auto slept = co_await std::move(sleeping);
    if (!slept) {
      co_return;
    }
    const auto signs = signs_of(_receiver.pid());
    if (!signs) {
      continue;  // it has ended, and whoever waits for it is told
    }
    const clock::time_point now = clock::now();
    if (judge.stalled(*signs, _receiver.unread_bytes(), now)) {
      _stalled = true;
      _receiver.terminate();
      _on_stall.request_stop();
      co_return;
    }
    if (signs->state != 'D' || signs != before) {
      for_the_disk_since = now;
    } else if (now - for_the_disk_since >= _limit) {
      for_the_disk_since = now;
      _log.write(engine::log_level::warning, "restore", "receiver_waits_for_the_disk",
                 {{"for", duration_text(_limit)}});
    }
    before = signs;
  }
}

task<void> receive_watch::stop() {
  _stop.request_stop();
  auto joining = _scope.join();
  co_await std::move(joining);
}

error receive_watch::failure(const error& ended) const {
  error made = ended;
  made.message = "`btrfs receive` stalled: for " + duration_text(_limit) +
                 " it read nothing, used no CPU time and did no input or output although there "
                 "was something to do; it was ended (" +
                 ended.message + ")";
  made.remedy =
      "look for errors of the disk or of Btrfs in the kernel's log, then run the restore again: "
      "links that were received whole are kept";
  return made;
}

}  // namespace bts3::btrfs
