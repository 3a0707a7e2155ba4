#include "tests/simulation/played_kernel.hh"

#include "engine/assert.hh"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace bts3::simulation {

namespace {

// No process has that many descriptors.
constexpr int first_descriptor = 1'000'000'000;
// At one instant: a run that does not get on without time is one that turns on the spot.
constexpr std::uint64_t steps_at_once_max = 200'000;
constexpr std::uint64_t steps_max = 5'000'000;

using std::chrono::nanoseconds;

bool is_read(unsigned opcode) {
  return opcode == IORING_OP_READ || opcode == IORING_OP_READ_FIXED;
}

bool is_write(unsigned opcode) {
  return opcode == IORING_OP_WRITE || opcode == IORING_OP_WRITE_FIXED;
}

const char* name_of(unsigned opcode) {
  switch (opcode) {
    case IORING_OP_READ:
    case IORING_OP_READ_FIXED:
      return "read";
    case IORING_OP_WRITE:
    case IORING_OP_WRITE_FIXED:
      return "write";
    case IORING_OP_POLL_ADD:
      return "poll";
    case IORING_OP_TIMEOUT:
      return "timeout";
    case IORING_OP_FALLOCATE:
      return "fallocate";
    case IORING_OP_FSYNC:
      return "fsync";
    case IORING_OP_SYNC_FILE_RANGE:
      return "sync_file_range";
    case IORING_OP_FADVISE:
      return "fadvise";
    default:
      return "operation";
  }
}

}  // namespace

played_kernel::played_kernel(draw& random, chronicle& told)
    : _random(random), _told(told), _now(std::chrono::hours(1)) {
  _told.at(_now);
}

std::size_t played_kernel::make_pipe(std::size_t capacity) {
  _pipes.emplace_back(capacity);
  return _pipes.size() - 1;
}

int played_kernel::read_end(std::size_t which) {
  return first_descriptor + static_cast<int>(2 * which);
}

int played_kernel::write_end(std::size_t which) {
  return first_descriptor + static_cast<int>(2 * which + 1);
}

const played_kernel::pipe* played_kernel::pipe_of(int fd) const {
  return fd < first_descriptor ? nullptr
                               : &_pipes.at(static_cast<std::size_t>(fd - first_descriptor) / 2);
}

played_kernel::pipe* played_kernel::pipe_of(int fd) {
  return const_cast<pipe*>(std::as_const(*this).pipe_of(fd));
}

void played_kernel::tell_child(pipe& one) {
  if (one.on_change) {
    after(operation_time(), std::exchange(one.on_change, nullptr));
  }
}

std::size_t played_kernel::child_writes(std::size_t which, std::string_view bytes) {
  pipe& one = at_pipe(which);
  bytes = bytes.substr(0, one.capacity - std::min(one.capacity, one.bytes.size()));
  one.bytes.insert(one.bytes.end(), bytes.begin(), bytes.end());
  return bytes.size();
}

std::string played_kernel::child_reads(std::size_t which, std::size_t most) {
  pipe& one = at_pipe(which);
  const auto count = static_cast<std::ptrdiff_t>(std::min(most, one.bytes.size()));
  std::string taken(one.bytes.begin(), one.bytes.begin() + count);
  one.bytes.erase(one.bytes.begin(), one.bytes.begin() + count);
  return taken;
}

void played_kernel::close_read_end(std::size_t which) {
  at_pipe(which).reader_open = false;
  tell_child(at_pipe(which));
}

void played_kernel::close_write_end(std::size_t which) {
  at_pipe(which).writer_open = false;
  tell_child(at_pipe(which));
}

void played_kernel::after(duration time, std::function<void()> act) {
  _events.push_back(event{_now + time, std::move(act)});
}

void played_kernel::must_end_by(time_point when, const char* why) {
  if (when < _end) {
    set_end(when, why);
  }
}

void played_kernel::set_end(time_point when, const char* why) {
  _end = when;
  _end_why = why;
}

// Nearly always soon; now and then as late as this kernel can be.
played_kernel::duration played_kernel::operation_time() {
  const nanoseconds most = _random.chance(90) ? conduct.operation_max / 20 : conduct.operation_max;
  return _random.any_time(std::max<nanoseconds>(most, nanoseconds(1)));
}

// Of the operation that was submitted right before.
void played_kernel::limit(const io_uring_sqe& entry) {
  BTS3_ASSERT(!_operations.empty() && entry.timeout_flags == 0);
  const auto* const time = reinterpret_cast<const __kernel_timespec*>(entry.addr);
  const std::uint64_t whose = _operations.back().user_data;
  const std::int64_t number = _operations.back().number;
  after(std::chrono::seconds(time->tv_sec) + nanoseconds(time->tv_nsec), [this, whose, number] {
    const bool there = std::ranges::any_of(
        _operations, [number](const operation& one) { return one.number == number; });
    if (there) {
      cancel(whose);
    }
  });
}

void played_kernel::submit(const io_uring_sqe& entry) {
  if (entry.opcode == IORING_OP_LINK_TIMEOUT) {
    limit(entry);
    return;
  }
  operation one;
  one.user_data = entry.user_data;
  one.number = ++_numbers;
  one.opcode = entry.opcode;
  one.fd = entry.fd;
  one.address = entry.addr;
  one.length = entry.len;
  one.offset = entry.off;
  one.events = entry.poll32_events;
  one.ready = _now + operation_time();
  if (one.opcode == IORING_OP_TIMEOUT) {
    const auto* const when = reinterpret_cast<const __kernel_timespec*>(entry.addr);
    BTS3_ASSERT((entry.timeout_flags & IORING_TIMEOUT_ABS) != 0);
    const nanoseconds since_boot = std::chrono::seconds(when->tv_sec) + nanoseconds(when->tv_nsec);
    one.ready = std::max(_now, time_point(since_boot)) + operation_time();
  }
  _told.note(name_of(one.opcode), one.number, static_cast<std::int64_t>(one.length));
  _operations.push_back(one);
}

void played_kernel::cancel(std::uint64_t user_data) {
  for (operation& one : _operations) {
    if (one.user_data == user_data) {
      // What has begun to complete cannot be cancelled.
      one.cancelled = !_random.chance(conduct.late_cancel_percent) || !can_complete(one) ||
                      one.opcode == IORING_OP_TIMEOUT;
      one.ready = _now + operation_time();
      _told.note("cancel", one.number, one.cancelled ? 1 : 0);
      return;
    }
  }
}

void played_kernel::wake() {
  if (!_wake_pending) {
    _wake_pending = true;
    _wake_at = _now + _random.any_time(conduct.turn_max);
  }
}

void played_kernel::notify(engine::played_thread& one) {
  for (const thread_turn& turn : _turns) {
    if (turn.whose == &one) {
      return;
    }
  }
  _turns.push_back(thread_turn{_now + _random.any_time(conduct.turn_max), &one});
}

void played_kernel::forget(engine::played_thread& one) {
  std::erase_if(_turns, [&](const thread_turn& turn) { return turn.whose == &one; });
}

bool played_kernel::can_complete(const operation& one) const {
  const pipe* const at = pipe_of(one.fd);
  if (one.cancelled || one.opcode == IORING_OP_TIMEOUT || at == nullptr) {
    return true;
  }
  if (one.opcode == IORING_OP_POLL_ADD) {
    return poll_events(one) != 0;
  }
  if (is_read(one.opcode)) {
    return conduct.nonblocking_pipes || !at->bytes.empty() || !at->writer_open;
  }
  return conduct.nonblocking_pipes || at->bytes.size() < at->capacity || !at->reader_open;
}

unsigned played_kernel::poll_events(const operation& one) const {
  const pipe* const at = pipe_of(one.fd);
  if (at == nullptr) {
    return one.events;
  }
  unsigned there = 0;
  if ((one.events & POLLIN) != 0) {
    there |= !at->bytes.empty() ? POLLIN : 0U;
    there |= !at->writer_open ? POLLHUP : 0U;
  }
  if ((one.events & POLLOUT) != 0) {
    there |= at->bytes.size() < at->capacity ? POLLOUT : 0U;
    there |= !at->reader_open ? POLLERR : 0U;
  }
  return there;
}

std::size_t played_kernel::cut_short(std::size_t length) {
  return length > 1 && _random.chance(conduct.short_percent) ? _random.any_size(length) : length;
}

int played_kernel::read_outcome(const operation& one) {
  pipe* const at = pipe_of(one.fd);
  if (at == nullptr) {
    return disk_read(one);
  }
  if (at->bytes.empty()) {
    return at->writer_open ? -EAGAIN : 0;
  }
  const std::size_t count = cut_short(std::min(one.length, at->bytes.size()));
  const auto end = at->bytes.begin() + static_cast<std::ptrdiff_t>(count);
  std::copy(at->bytes.begin(), end, reinterpret_cast<char*>(one.address));
  at->bytes.erase(at->bytes.begin(), end);
  tell_child(*at);
  return static_cast<int>(count);
}

int played_kernel::write_outcome(const operation& one) {
  pipe* const at = pipe_of(one.fd);
  if (at == nullptr) {
    return disk_write(one);
  }
  if (!at->reader_open) {
    return -EPIPE;
  }
  const std::size_t room = at->capacity - std::min(at->capacity, at->bytes.size());
  if (room == 0) {
    return -EAGAIN;
  }
  const std::size_t count = cut_short(std::min(one.length, room));
  const auto* const from = reinterpret_cast<const char*>(one.address);
  at->bytes.insert(at->bytes.end(), from, from + count);
  tell_child(*at);
  return static_cast<int>(count);
}

int played_kernel::disk_read(const operation& one) {
  if (_random.per_mille(conduct.disk_errors_per_mille)) {
    return -EIO;
  }
  auto* const into = reinterpret_cast<char*>(one.address);
  const ssize_t count =
      ::pread(one.fd, into, cut_short(one.length), static_cast<off_t>(one.offset));
  if (count > 0 && _random.per_mille(conduct.disk_damage_per_mille)) {
    _told.note("the disk returns other bytes", one.number);
    into[_random.below(static_cast<std::uint64_t>(count))] ^= 1;
  }
  return count < 0 ? -errno : static_cast<int>(count);
}

int played_kernel::disk_write(const operation& one) {
  if (_random.per_mille(conduct.disk_errors_per_mille)) {
    return _random.chance(50) ? -EIO : -ENOSPC;
  }
  const ssize_t count = ::pwrite(one.fd, reinterpret_cast<const char*>(one.address),
                                 cut_short(one.length), static_cast<off_t>(one.offset));
  return count < 0 ? -errno : static_cast<int>(count);
}

int played_kernel::allocation(const operation& one) {
  if (!conduct.preallocates) {
    return -EOPNOTSUPP;
  }
  if (_random.chance(conduct.no_space_percent)) {
    _told.note("no space", one.number);
    return -ENOSPC;
  }
  // Its length stands where others have an address.
  const int code =
      ::posix_fallocate(one.fd, static_cast<off_t>(one.offset), static_cast<off_t>(one.address));
  return -code;
}

// Who was cancelled while a worker of the kernel had it is interrupted, or gets done.
int played_kernel::cancelled_outcome(const operation& one) {
  const bool with_worker = pipe_of(one.fd) == nullptr && one.opcode != IORING_OP_TIMEOUT;
  if (with_worker && _random.chance(30)) {
    return -EINTR;
  }
  return -ECANCELED;
}

int played_kernel::outcome_of(const operation& one) {
  if (one.cancelled) {
    return cancelled_outcome(one);
  }
  if (one.opcode == IORING_OP_TIMEOUT) {
    return -ETIME;
  }
  if (one.opcode == IORING_OP_POLL_ADD) {
    return static_cast<int>(poll_events(one));
  }
  const bool transfers = is_read(one.opcode) || is_write(one.opcode);
  if ((transfers || one.opcode == IORING_OP_FALLOCATE) &&
      _random.chance(conduct.interrupted_percent)) {
    return -EINTR;
  }
  if (transfers) {
    return is_read(one.opcode) ? read_outcome(one) : write_outcome(one);
  }
  if (one.opcode == IORING_OP_FALLOCATE) {
    return allocation(one);
  }
  return _random.per_mille(conduct.disk_errors_per_mille) ? -EIO : 0;
}

void played_kernel::find_due(std::vector<candidate>& due) const {
  due.clear();
  for (std::size_t index = 0; index < _operations.size(); ++index) {
    if (_operations[index].ready <= _now && can_complete(_operations[index])) {
      due.push_back(candidate{kind::operation, index});
    }
  }
  for (std::size_t index = 0; index < _events.size(); ++index) {
    if (_events[index].when <= _now) {
      due.push_back(candidate{kind::event, index});
    }
  }
  for (std::size_t index = 0; index < _turns.size(); ++index) {
    if (_turns[index].when <= _now) {
      due.push_back(candidate{kind::turn, index});
    }
  }
  if (_wake_pending && _wake_at <= _now) {
    due.push_back(candidate{kind::wake, 0});
  }
}

void played_kernel::perform(candidate one, std::vector<completion>& into, bool& woken) {
  switch (one.what) {
    case kind::operation: {
      const operation done = _operations[one.index];
      _operations.erase(_operations.begin() + static_cast<std::ptrdiff_t>(one.index));
      const int outcome = outcome_of(done);
      _told.note("done", done.number, outcome);
      into.push_back(completion{done.user_data, outcome});
      break;
    }
    case kind::event: {
      const std::function<void()> act = std::move(_events[one.index].act);
      _events.erase(_events.begin() + static_cast<std::ptrdiff_t>(one.index));
      act();
      break;
    }
    case kind::turn: {
      engine::played_thread* const whose = _turns[one.index].whose;
      _turns.erase(_turns.begin() + static_cast<std::ptrdiff_t>(one.index));
      _told.note("a thread's turn");
      whose->turn();
      break;
    }
    case kind::wake:
      _wake_pending = false;
      woken = true;
      break;
  }
}

// False: nothing will ever happen.
bool played_kernel::go_on_to_next() {
  time_point next = time_point::max();
  for (const operation& one : _operations) {
    next = can_complete(one) ? std::min(next, one.ready) : next;
  }
  for (const event& one : _events) {
    next = std::min(next, one.when);
  }
  for (const thread_turn& one : _turns) {
    next = std::min(next, one.when);
  }
  next = _wake_pending ? std::min(next, _wake_at) : next;
  if (next == time_point::max()) {
    return false;
  }
  if (next > _now) {
    _now = next;
    _steps_here = 0;
    _told.at(_now);
  }
  return true;
}

void played_kernel::step() {
  if (++_steps_here > steps_at_once_max || ++_steps > steps_max) {
    _told.fail("it turns on the spot");
  }
  if (_now > _end) {
    _told.fail(_end_why);
  }
}

bool played_kernel::reap(bool wait, std::vector<completion>& into) {
  bool woken = false;
  for (;;) {
    step();
    find_due(_due);
    const bool something = woken || !into.empty();
    if (_due.empty()) {
      if (something || !wait) {
        return woken;
      }
      if (!go_on_to_next()) {
        _told.fail("nothing can happen any more, and it has not ended: a wake-up was lost");
      }
      continue;
    }
    if ((something || !wait) && _random.chance(40)) {
      return woken;
    }
    perform(_due[_random.below(_due.size())], into, woken);
  }
}

std::string played_kernel::waits_text() const {
  std::string text;
  for (const operation& one : _operations) {
    text += (text.empty() ? "" : ", ") + std::string(name_of(one.opcode)) + " " +
            std::to_string(one.number);
  }
  return (text.empty() ? "nothing in the kernel" : "the kernel has " + text) + "; " +
         std::to_string(_events.size()) + " acts of others, " + std::to_string(_turns.size()) +
         " turns of threads" + (_wake_pending ? ", a wake-up" : "");
}

}  // namespace bts3::simulation
