// Tells a receiver that is slow from one that will never go on.
//
// A full disk queue, a transaction that commits for minutes, a host that swaps: `btrfs receive` may
// rest for long, and a slow disk is no reason to throw away what was received. So a receiver counts
// as stalled only when, for the whole limit, there was something for it to do (unread bytes in its
// pipe, or the pipe's end) and it did nothing at all: took no byte, used no CPU time, made no read
// or write that /proc counts, and was neither waiting for a CPU (state R) nor inside a system call
// that waits for the disk (state D, which no signal would end either; it is told in the log). An
// empty pipe is our own delay: a thaw may take days.
//
// A stalled receiver is ended as by abort(), and the stop source is asked to stop, so that whatever
// feeds the pipe ends too.
#pragma once

#include "btrfs/processes.hh"
#include "engine/async_scope.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <sys/types.h>

namespace bts3::btrfs {

// A process at one moment.
struct process_signs {
  char state = '?';             // of /proc/PID/stat: R, S, D, T, Z, ...
  std::uint64_t cpu_ticks = 0;  // user and system time of all threads
  std::uint64_t io = 0;         // the counters of /proc/PID/io, summed; 0 where not readable
  friend bool operator==(const process_signs&, const process_signs&) = default;
};

// Nullopt when there is no such process.
std::optional<process_signs> signs_of(pid_t process);
// The same from the texts of the two files; nullopt when `stat` makes no sense.
std::optional<process_signs> parse_signs(const std::string& stat, const std::string& io);

// The judgement alone, with time as a parameter.
class stall_judge {
 public:
  using time_point = std::chrono::steady_clock::time_point;
  explicit stall_judge(std::chrono::milliseconds limit) : _limit(limit) {}

  // Whether nothing has happened for the limit. `unread`: bytes in its pipe; nullopt: its input has
  // ended. The first call only remembers.
  bool stalled(const process_signs& now, std::optional<std::size_t> unread, time_point when);

 private:
  struct look {
    process_signs signs;
    std::optional<std::size_t> unread;
  };
  std::chrono::milliseconds _limit;
  std::optional<look> _last;
  time_point _quiet_since{};
};

class receive_watch {
 public:
  // All references must outlive it. `limit`: at least 1 ms.
  receive_watch(engine::reactor& loop, receive_process& receiver, engine::log_sink& log,
                std::chrono::milliseconds limit, engine::stop_source& on_stall);

  // Looks twenty times in a limit, each 30 s at the latest, until stop(), which must be awaited.
  void start() { _scope.spawn(run()); }
  engine::task<void> stop();

  [[nodiscard]] bool stalled() const { return _stalled; }
  // What is said of it. `ended`: how the receiver ended, with its stderr.
  [[nodiscard]] engine::error failure(const engine::error& ended) const;

 private:
  engine::task<void> run();

  engine::reactor& _loop;
  receive_process& _receiver;
  engine::log_sink& _log;
  std::chrono::milliseconds _limit;
  engine::stop_source& _on_stall;
  engine::stop_source _stop;
  engine::async_scope _scope;
  bool _stalled = false;
};

}  // namespace bts3::btrfs
