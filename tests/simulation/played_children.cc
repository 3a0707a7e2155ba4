#include "tests/simulation/played_children.hh"

#include <algorithm>
#include <string_view>
#include <utility>

namespace bts3::simulation {

namespace {

constexpr std::chrono::seconds term_max{5};
constexpr std::chrono::minutes long_pause_max{10};

}  // namespace

played_child::played_child(played_kernel& kernel, chronicle& told, draw& random,
                           engine::reactor& loop, std::size_t pipe, child_conduct how)
    : _loop(loop),
      _kernel(kernel),
      _told(told),
      _random(random),
      _pipe(pipe),
      _conduct(how),
      _ended(loop, "a child's end") {}

std::size_t played_child::piece() {
  return std::min(left(), static_cast<std::size_t>(_random.any_size(_conduct.piece_max)));
}

std::chrono::nanoseconds played_child::pause() {
  return _random.any_time(_random.per_mille(_conduct.long_pause_per_mille)
                              ? std::chrono::nanoseconds(long_pause_max)
                              : _conduct.pause_max);
}

void played_child::start() {
  _kernel.after(pause(), [self = shared_from_this()] { self->go_on(); });
}

void played_child::go_on() {
  if (_over) {
    return;
  }
  if (act()) {
    _kernel.after(pause(), [self = shared_from_this()] { self->go_on(); });
  } else if (!_over) {
    pipe().on_change = [self = shared_from_this()] { self->go_on(); };
  }
}

void played_child::end(bool well) {
  if (!std::exchange(_over, true)) {
    _told.note(well ? "a child ends" : "a child fails", static_cast<std::int64_t>(_pipe),
               static_cast<std::int64_t>(_bytes));
    _well = well;
    pipe().on_change = nullptr;
    close();
    // What happens in the kernel, the program sees when it looks there.
    _loop.post([self = shared_from_this()] { self->_ended.set(); });
  }
}

void played_child::terminate() {
  if (!std::exchange(_terminated, true)) {
    _kernel.after(_random.any_time(term_max), [self = shared_from_this()] { self->end(false); });
  }
}

engine::task<engine::result<void>> played_child::wait() {
  const engine::outside_work of_another(_loop);  // in the program a pidfd in the ring
  auto waiting = _ended.wait();
  (void)co_await std::move(waiting);
  if (_well) {
    co_return engine::ok();
  }
  engine::error failure;
  failure.why = engine::reason::child_process;
  failure.message = "the child was killed by signal 15 (Terminated)";
  co_return failure;
}

played_sender::played_sender(played_kernel& kernel, chronicle& told, draw& random,
                             engine::reactor& loop, std::size_t pipe, child_conduct how,
                             std::string text)
    : played_child(kernel, told, random, loop, pipe, how), _text(std::move(text)) {}

bool played_sender::act() {
  if (!pipe().reader_open) {
    end(false);  // SIGPIPE
    return false;
  }
  const std::size_t count = std::min(piece(), _text.size() - _at);
  if (count == 0) {
    end_as_planned();
    return false;
  }
  const std::size_t written =
      kernel().child_writes(pipe_number(), std::string_view(_text).substr(_at, count));
  _at += written;
  moved(written);
  return written > 0;
}

void played_sender::close() {
  pipe().writer_open = false;
}

bool played_receiver::act() {
  if (left() == 0) {
    end_as_planned();
    return false;
  }
  const std::string got = kernel().child_reads(pipe_number(), piece());
  _received += got;
  moved(got.size());
  if (got.empty() && !pipe().writer_open) {
    end_as_planned();
    return false;
  }
  return !got.empty();
}

void played_receiver::close() {
  pipe().reader_open = false;
}

}  // namespace bts3::simulation
