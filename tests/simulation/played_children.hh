// The children at the program's pipes: one that sends a stream, and one that receives it.
//
// They write and read in pieces of any size, pause, and end in every way that a child has. Each is
// told to end by terminate(), as by SIGTERM, and takes up to five seconds over it.
#pragma once

#include "engine/event.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "tests/simulation/chronicle.hh"
#include "tests/simulation/draw.hh"
#include "tests/simulation/played_kernel.hh"

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace bts3::simulation {

// What a child is going to do.
struct child_conduct {
  std::size_t piece_max = std::size_t{64} * 1024;
  std::chrono::nanoseconds pause_max = std::chrono::milliseconds(1);
  unsigned long_pause_per_mille = 0;  // of up to 10 minutes
  std::size_t bytes_max = SIZE_MAX;   // it ends behind them
  bool dies = false;                  // then by a signal; else with status 0
};

// Shared with the acts that are still to come when its owner has gone.
class played_child : public std::enable_shared_from_this<played_child> {
 public:
  played_child(played_kernel& kernel, chronicle& told, draw& random, engine::reactor& loop,
               std::size_t pipe, child_conduct how);
  virtual ~played_child() = default;
  played_child(const played_child&) = delete;
  played_child& operator=(const played_child&) = delete;

  void start();
  void terminate();
  // Suspends until it has ended. Its failure has reason child_process.
  engine::task<engine::result<void>> wait();

 protected:
  // One act; false: there is nothing to do before the pipe changes.
  virtual bool act() = 0;
  void end(bool well);
  [[nodiscard]] std::size_t piece();
  [[nodiscard]] std::size_t left() const { return _conduct.bytes_max - _bytes; }
  void moved(std::size_t bytes) { _bytes += bytes; }
  void end_as_planned() { end(!_conduct.dies); }
  [[nodiscard]] played_kernel::pipe& pipe() { return _kernel.at_pipe(_pipe); }
  [[nodiscard]] std::size_t pipe_number() const { return _pipe; }
  [[nodiscard]] played_kernel& kernel() { return _kernel; }
  [[nodiscard]] chronicle& told() { return _told; }
  virtual void close() = 0;

 private:
  void go_on();
  [[nodiscard]] std::chrono::nanoseconds pause();
  engine::reactor& _loop;
  played_kernel& _kernel;
  chronicle& _told;
  draw& _random;
  std::size_t _pipe;
  child_conduct _conduct;
  engine::event _ended;  // the program knows
  bool _over = false;
  std::size_t _bytes = 0;
  bool _terminated = false;
  bool _well = false;
};

// Writes `text` and closes.
class played_sender final : public played_child {
 public:
  played_sender(played_kernel& kernel, chronicle& told, draw& random, engine::reactor& loop,
                std::size_t pipe, child_conduct how, std::string text);

 private:
  bool act() override;
  void close() override;
  std::string _text;
  std::size_t _at = 0;
};

// Reads to the end; keeps what it got.
class played_receiver final : public played_child {
 public:
  using played_child::played_child;
  [[nodiscard]] const std::string& received() const { return _received; }

 private:
  bool act() override;
  void close() override;
  std::string _received;
};

}  // namespace bts3::simulation
