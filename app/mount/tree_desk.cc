#include "app/mount/tree_desk.hh"

#include "engine/assert.hh"
#include "engine/offload.hh"

#include <csignal>
#include <system_error>

namespace bts3::app {

using btrfs::index::statement;
using engine::result;
using engine::task;

result<std::unique_ptr<tree_desk>> tree_desk::open(engine::reactor& loop, std::string path,
                                                   check whole) {
  std::unique_ptr<tree_desk> made(new tree_desk(loop, std::move(path), std::move(whole)));
  // Signals belong to the reactor's thread.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::optional<engine::error> failure;
  try {
    made->_thread = std::thread([desk = made.get()] { desk->work(); });
  } catch (const std::system_error& problem) {
    failure = engine::thread_error(problem.code().value());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (failure) {
    return std::move(*failure);
  }
  return made;
}

tree_desk::~tree_desk() {
  BTS3_ASSERT(!_thread.joinable());
}

void tree_desk::ask(question one) {
  {
    const std::lock_guard held(_mutex);
    _waiting.push_back(std::move(one));
  }
  _changed.notify_one();
}

void tree_desk::work() {
  for (;;) {
    std::unique_lock held(_mutex);
    _changed.wait(held, [this] { return _closing || !_waiting.empty(); });
    if (_waiting.empty()) {
      return;
    }
    const question one = std::move(_waiting.front());
    _waiting.pop_front();
    const bool closing = _closing;
    held.unlock();
    if (closing) {
      one(engine::cancelled_error());
    } else {
      one(catalogue());
    }
  }
}

result<btrfs::index::catalogue*> tree_desk::catalogue() {
  if (_in && _in->tables().failure()) {
    _in.reset();
  }
  if (!_in) {
    auto opened = btrfs::index::catalogue::open(_path);
    if (!opened) {
      return std::move(opened.error());
    }
    _in.emplace(std::move(*opened));
    _version = 0;
  }
  // Another one after another connection's change.
  std::uint64_t version = 0;
  {
    statement ask(_in->tables(), "PRAGMA data_version");
    version = ask.with().next() ? ask.number(0) : 0;
  }
  if (_in->tables().failure()) {
    return *_in->tables().failure();
  }
  if (version == 0 || version != _version) {
    if (auto whole = _whole(*_in); !whole) {
      _in.reset();
      return std::move(whole.error());
    }
    _version = version;
  }
  return &*_in;
}

task<void> tree_desk::close() {
  {
    const std::lock_guard held(_mutex);
    _closing = true;
  }
  _changed.notify_one();
  std::function<result<void>()> call = [this]() -> result<void> {
    _thread.join();
    return engine::ok();
  };
  auto joining = engine::offload(_loop, call);
  auto joined = co_await std::move(joining);
  if (!joined) {
    _thread.join();  // no thread to wait on is to be had: here then
  }
}

}  // namespace bts3::app
