// Stopping, as a request that operations notice: stop_source, stop_token, stop_callback.
//
// Unlike std::stop_source these do not allocate and are confined to the reactor's thread. A
// source stays in place and must outlive every operation that was given one of its tokens; scopes
// that are joined before the source goes give that for free. A request is final.
#pragma once

#include "engine/assert.hh"

#include <utility>

namespace bts3::engine {

class stop_source;

namespace detail {

class stop_callback_base {
 public:
  stop_callback_base(const stop_callback_base&) = delete;
  stop_callback_base& operator=(const stop_callback_base&) = delete;

 protected:
  explicit stop_callback_base(stop_source* source) : _source(source) {}
  ~stop_callback_base() { unlink(); }
  // Called by derived constructors, which must be complete by then.
  void link();
  void unlink();
  virtual void invoke() = 0;

 private:
  friend stop_source;
  stop_source* _source;
  stop_callback_base* _previous = nullptr;
  stop_callback_base* _next = nullptr;
  bool _linked = false;
};

}  // namespace detail

// A view of a source; a default-constructed one never stops.
class stop_token {
 public:
  stop_token() = default;
  [[nodiscard]] inline bool stop_requested() const;

 private:
  friend stop_source;
  template <typename F>
  friend class stop_callback;
  explicit stop_token(stop_source* source) : _source(source) {}
  stop_source* _source = nullptr;
};

class stop_source {
 public:
  stop_source() = default;
  stop_source(const stop_source&) = delete;
  stop_source& operator=(const stop_source&) = delete;
  ~stop_source() { BTS3_ASSERT(_head == nullptr); }

  [[nodiscard]] stop_token token() { return stop_token(this); }
  [[nodiscard]] bool stop_requested() const { return _requested; }

  // Runs every registered callback once, synchronously. A callback may register and destroy
  // callbacks, itself included; what it starts must resume coroutines through the run queue.
  void request_stop() {
    _requested = true;
    while (_head != nullptr) {
      detail::stop_callback_base* callback = _head;
      callback->unlink();
      callback->invoke();
    }
  }

 private:
  friend detail::stop_callback_base;
  detail::stop_callback_base* _head = nullptr;
  bool _requested = false;
};

inline bool stop_token::stop_requested() const {
  return _source != nullptr && _source->stop_requested();
}

namespace detail {

inline void stop_callback_base::link() {
  _next = _source->_head;
  if (_next != nullptr) {
    _next->_previous = this;
  }
  _source->_head = this;
  _linked = true;
}

inline void stop_callback_base::unlink() {
  if (!_linked) {
    return;
  }
  (_previous != nullptr ? _previous->_next : _source->_head) = _next;
  if (_next != nullptr) {
    _next->_previous = _previous;
  }
  _previous = nullptr;
  _next = nullptr;
  _linked = false;
}

}  // namespace detail

// Runs `on_stop` inside request_stop(), or inside its own constructor when the request has been
// made already. Destroying it first means that it never runs.
template <typename F>
class stop_callback final : private detail::stop_callback_base {
 public:
  stop_callback(stop_token token, F on_stop)
      : stop_callback_base(token._source), _on_stop(std::move(on_stop)) {
    if (token._source == nullptr) {
      return;
    }
    if (token.stop_requested()) {
      _on_stop();
    } else {
      link();
    }
  }

 private:
  void invoke() override { _on_stop(); }
  F _on_stop;
};

// A source that also stops when its parent does. The parent must outlive it.
class linked_stop_source : public stop_source {
 public:
  explicit linked_stop_source(stop_token parent) : _link(parent, on_parent_stop{this}) {}

 private:
  struct on_parent_stop {
    linked_stop_source* self;
    void operator()() const { self->request_stop(); }
  };
  stop_callback<on_parent_stop> _link;
};

}  // namespace bts3::engine
