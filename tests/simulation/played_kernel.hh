// A kernel, a clock and threads that follow from a seed.
//
// Time stands still while anything happens, and then jumps to what comes next. Whatever may happen
// at a moment (an operation that can complete, a thread's turn, a wake-up, a child's act) happens
// in a drawn order, each as late as was drawn for it. Operations complete short, with EINTR and
// EAGAIN, after they were cancelled as if they had not been, and with EIO or ENOSPC where the disk
// is to fail.
//
// Pipes are played, with descriptors that no process has; files are real ones, which a spool makes
// in a filesystem in memory.
//
// When nothing can happen any more, and somebody waits, a wake-up was lost: the history has failed.
// So it has when it goes on beyond its end, or turns on the spot.
#pragma once

#include "engine/kernel_player.hh"
#include "tests/simulation/chronicle.hh"
#include "tests/simulation/draw.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::simulation {

// What this kernel is like.
struct kernel_conduct {
  bool nonblocking_pipes = true;  // O_NONBLOCK: EAGAIN where nothing is there
  std::chrono::nanoseconds operation_max = std::chrono::milliseconds(1);
  std::chrono::nanoseconds turn_max = std::chrono::milliseconds(1);  // of a thread, a wake-up
  unsigned short_percent = 30;                                       // of reads and writes
  unsigned interrupted_percent = 2;
  unsigned late_cancel_percent = 20;
  unsigned disk_errors_per_mille = 0;
  unsigned disk_damage_per_mille = 0;  // reads that return other bytes
  unsigned no_space_percent = 0;       // of allocations
  bool preallocates = true;
};

class played_kernel final : public engine::kernel_player {
 public:
  using time_point = std::chrono::steady_clock::time_point;
  using duration = std::chrono::nanoseconds;

  played_kernel(draw& random, chronicle& told);
  ~played_kernel() override = default;
  played_kernel(const played_kernel&) = delete;
  played_kernel& operator=(const played_kernel&) = delete;

  kernel_conduct conduct;

  // A pipe between the program and a child, and what the child does with its end.
  struct pipe {
    explicit pipe(std::size_t bytes) : capacity(bytes) {}
    std::deque<char> bytes;
    std::size_t capacity;
    bool writer_open = true;
    bool reader_open = true;
    std::function<void()> on_change;  // the child's: bytes, room or the other end's closing
  };
  // Its descriptors; valid until the kernel goes.
  std::size_t make_pipe(std::size_t capacity);
  [[nodiscard]] static int read_end(std::size_t which);
  [[nodiscard]] static int write_end(std::size_t which);
  [[nodiscard]] pipe& at_pipe(std::size_t which) { return _pipes.at(which); }
  // A child's: how many bytes it got rid of or got.
  std::size_t child_writes(std::size_t which, std::string_view bytes);
  std::string child_reads(std::size_t which, std::size_t most);
  // The program's, as close(2).
  void close_read_end(std::size_t which);
  void close_write_end(std::size_t which);

  // `act` happens after that time.
  void after(duration time, std::function<void()> act);
  // The history fails when it goes on then; the earliest counts. `why` is a constant.
  void must_end_by(time_point when, const char* why);
  void set_end(time_point when, const char* why);
  // Operations that the kernel holds.
  [[nodiscard]] std::size_t operations() const { return _operations.size(); }
  [[nodiscard]] std::string waits_text() const;

  // Of kernel_player.
  [[nodiscard]] time_point now() const override { return _now; }
  void submit(const io_uring_sqe& entry) override;
  void cancel(std::uint64_t user_data) override;
  void wake() override;
  [[nodiscard]] bool reap(bool wait, std::vector<completion>& into) override;
  void notify(engine::played_thread& one) override;
  void forget(engine::played_thread& one) override;

 private:
  struct operation {
    std::uint64_t user_data = 0;
    std::int64_t number = 0;
    unsigned opcode = 0;
    int fd = -1;
    std::uint64_t address = 0;
    std::size_t length = 0;
    std::uint64_t offset = 0;
    unsigned events = 0;  // of a poll
    time_point ready;
    bool cancelled = false;
  };
  struct event {
    time_point when;
    std::function<void()> act;
  };
  struct thread_turn {
    time_point when;
    engine::played_thread* whose = nullptr;
  };
  enum class kind { operation, event, turn, wake };
  struct candidate {
    kind what = kind::wake;
    std::size_t index = 0;
  };

  void limit(const io_uring_sqe& entry);
  [[nodiscard]] duration operation_time();
  [[nodiscard]] pipe* pipe_of(int fd);
  [[nodiscard]] const pipe* pipe_of(int fd) const;
  [[nodiscard]] bool can_complete(const operation& one) const;
  [[nodiscard]] int outcome_of(const operation& one);
  [[nodiscard]] int cancelled_outcome(const operation& one);
  [[nodiscard]] int read_outcome(const operation& one);
  [[nodiscard]] int write_outcome(const operation& one);
  [[nodiscard]] int disk_read(const operation& one);
  [[nodiscard]] int disk_write(const operation& one);
  [[nodiscard]] int allocation(const operation& one);
  [[nodiscard]] unsigned poll_events(const operation& one) const;
  [[nodiscard]] std::size_t cut_short(std::size_t length);
  void tell_child(pipe& one);
  void find_due(std::vector<candidate>& due) const;
  [[nodiscard]] bool go_on_to_next();
  void perform(candidate one, std::vector<completion>& into, bool& woken);
  void step();

  draw& _random;
  chronicle& _told;
  time_point _now;
  std::deque<pipe> _pipes;
  std::vector<operation> _operations;
  std::vector<event> _events;
  std::vector<thread_turn> _turns;
  bool _wake_pending = false;
  time_point _wake_at;
  time_point _end = time_point::max();
  const char* _end_why = "";
  std::int64_t _numbers = 0;
  std::uint64_t _steps = 0;
  std::uint64_t _steps_here = 0;  // since time went on
  std::vector<candidate> _due;
};

}  // namespace bts3::simulation
