// Writes a long stream into a pipe whose reader is the slower side.
//
// A full pipe has room again as soon as its reader has taken one piece, and a writer that is woken
// for each of those costs both sides a switch every few pages: 25,000 a GiB before `btrfs receive`.
// So after a write that filled the pipe the reader is left alone for a moment. How long follows
// from how much there was room for then: about half of the pipe is aimed at, so that it never runs
// dry.
#pragma once

#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <chrono>
#include <cstddef>
#include <span>

namespace bts3::engine {

class pipe_writer {
 public:
  // `fd` is a pipe's write end with O_NONBLOCK, open for as long as this is used.
  pipe_writer(reactor& loop, int fd);

  // All of `bytes`, in order; they must stay until this ends. Fails as write(2) does (EPIPE when
  // the reader has gone), and with `cancelled`.
  task<result<void>> write_all(std::span<const std::byte> bytes, stop_token stop = {});

 private:
  void learn(std::size_t written);

  reactor& _loop;
  int _fd;
  std::size_t _capacity;
  std::chrono::microseconds _pause{0};
};

}  // namespace bts3::engine
