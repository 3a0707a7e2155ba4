// The index of the backup that is shown, asked on a thread of its own: a directory of a million
// names, and a disk that is slow, keep nobody waiting but who asked.
//
// It has a connection of its own to the catalogue. Another command may change that file meanwhile:
// where it did, the backup's links are looked for again before the next answer; where it is
// damaged or gone, questions are answered with the error, and a later one opens it again.
#pragma once

#include "btrfs/index/catalogue.hh"
#include "engine/event.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace bts3::app {

class tree_desk {
 public:
  // Whether a catalogue has what is shown. Called on the desk's thread.
  using check = std::function<engine::result<void>(btrfs::index::catalogue&)>;
  // Answered on the desk's thread, once, in the order of asking; with an error where there is no
  // catalogue (any more), `cancelled` once close() was called.
  using question = std::function<void(engine::result<btrfs::index::catalogue*>)>;

  // Starts the thread; the first question opens `path`.
  static engine::result<std::unique_ptr<tree_desk>> open(engine::reactor& loop, std::string path,
                                                         check whole);
  // close() comes before.
  ~tree_desk();
  tree_desk(const tree_desk&) = delete;
  tree_desk& operator=(const tree_desk&) = delete;

  // The reactor's thread.
  void ask(question one);

  // What `call` answers; it may touch the catalogue, what it owns, and what the caller keeps until
  // then.
  template <typename T>
  engine::task<engine::result<T>> answer(
      std::function<engine::result<T>(btrfs::index::catalogue&)> call) {
    std::optional<engine::result<T>> told;
    engine::event done(_loop, "an answer of the index");
    question one = [this, &told, &done, &call](engine::result<btrfs::index::catalogue*> in) {
      if (in) {
        told.emplace(call(**in));
      } else {
        told.emplace(std::move(in.error()));
      }
      _loop.post([&done] { done.set(); });
    };
    ask(std::move(one));
    auto waiting = done.wait();
    auto finished = co_await std::move(waiting);
    BTS3_ASSERT(finished.has_value());
    co_return std::move(*told);
  }

  // What was asked is answered first: `cancelled`, but for the question of the moment.
  engine::task<void> close();

 private:
  tree_desk(engine::reactor& loop, std::string path, check whole)
      : _loop(loop), _path(std::move(path)), _whole(std::move(whole)) {}
  void work();
  engine::result<btrfs::index::catalogue*> catalogue();

  engine::reactor& _loop;
  std::string _path;
  check _whole;
  std::mutex _mutex;
  std::condition_variable _changed;
  std::deque<question> _waiting;  // with the next, by the mutex
  bool _closing = false;
  std::thread _thread;
  // The thread's.
  std::optional<btrfs::index::catalogue> _in;
  std::uint64_t _version = 0;  // of the file, when it was found whole
};

}  // namespace bts3::app
