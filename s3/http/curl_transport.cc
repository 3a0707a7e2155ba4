#include "s3/http/curl_transport.hh"

#include "engine/assert.hh"
#include "engine/give_up.hh"
#include "engine/stop.hh"
#include "s3/http/curl_calls.hh"
#include "s3/http/curl_exchange.hh"
#include "s3/http/curl_outcome.hh"
#include "s3/http/curl_request.hh"

#include <curl/curl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <utility>

namespace bts3::s3 {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

namespace {

// The first that can be read; empty when none can.
std::string first_readable(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (::access(path.c_str(), R_OK) == 0) {
      return path;
    }
  }
  return {};
}

result<void> initialise_libcurl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) {
    error failure = not_given("setting it up", curl_easy_strerror(code));
    failure.what_now = disposition::fail;
    return failure;
  }
  return engine::ok();
}

// Bytes that the peer's TCP has acknowledged and delivered on this socket; 0 when it is none.
std::uint64_t bytes_moved_by_tcp(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (fd < 0 || ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 ||
      length < offsetof(tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received) {
    return 0;
  }
  return info.tcpi_bytes_acked + info.tcpi_bytes_received;
}

}  // namespace

// One registration of a descriptor by libcurl.
struct curl_transport::socket_watch {
  explicit socket_watch(int descriptor) : fd(descriptor) {}
  int fd;
  unsigned events = 0;  // POLLIN, POLLOUT
  bool removed = false;
  engine::stop_source* armed = nullptr;  // set while a poll is pending
};

// Everything of libcurl's that has to be cleaned up, in that order.
struct curl_transport::handles {
  handles() : share(curl_share_init()), multi(curl_multi_init()) {
    if (share == nullptr || multi == nullptr) {
      engine::give_up("libcurl", ENOMEM);
    }
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
  }
  handles(const handles&) = delete;
  handles& operator=(const handles&) = delete;
  ~handles() {
    for (CURL* easy : idle) {
      curl_easy_cleanup(easy);
    }
    curl_multi_cleanup(multi);
    curl_share_cleanup(share);
  }

  CURLSH* share;  // TLS sessions and DNS answers
  CURLM* multi;
  std::vector<CURL*> idle;  // reset, for reuse
};

struct curl_transport::callbacks {
  static int on_socket(CURL* easy, curl_socket_t fd, int what, void* self, void*) {
    static_cast<curl_transport*>(self)->_changes.push_back(socket_change{fd, what});
    char* owner = nullptr;
    if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, &owner) == CURLE_OK && owner != nullptr) {
      reinterpret_cast<curl_exchange*>(owner)->socket = what == CURL_POLL_REMOVE ? -1 : fd;
    }
    return 0;
  }

  static int on_timer(CURLM*, long timeout_ms, void* self) {
    static_cast<curl_transport*>(self)->_curl_deadline =
        timeout_ms < 0 ? clock::time_point::max()
                       : clock::now() + std::chrono::milliseconds(timeout_ms);
    return 0;
  }
};

result<std::unique_ptr<curl_transport>> curl_transport::create(engine::reactor& loop,
                                                               curl_options options) {
  BTS3_ASSERT(options.connections_max >= 1 && options.crawl_window.count() > 0);
  const bool own_authorities = !options.ca_bundle.empty() || !options.ca_directory.empty();
  if (!own_authorities) {
    options.ca_bundle = first_readable(options.system_ca_bundles);
  } else if (!options.ca_bundle.empty() && ::access(options.ca_bundle.c_str(), R_OK) != 0) {
    error failure =
        engine::system_error(errno, options.ca_bundle_from.text() + " " + options.ca_bundle,
                             "it must name a readable PEM file of certificates");
    failure.what_now = disposition::fail;
    failure.why = reason::configuration;
    return failure;
  }
  if (auto ready = initialise_libcurl(); !ready) {
    return std::move(ready.error());
  }
  std::unique_ptr<curl_transport> made(new curl_transport(loop, std::move(options)));
  made->_own_authorities = own_authorities;
  return made;
}

curl_transport::curl_transport(engine::reactor& loop, curl_options options)
    : _loop(loop),
      _options(std::move(options)),
      _handles(std::make_unique<handles>()),
      _scope(loop),
      _sending(_options.send_bytes_per_second),
      _receiving(_options.receive_bytes_per_second),
      _timer_poked(loop) {
  CURLM* multi = _handles->multi;
  set_option(multi, CURLMOPT_SOCKETFUNCTION, &callbacks::on_socket);
  set_option(multi, CURLMOPT_SOCKETDATA, this);
  set_option(multi, CURLMOPT_TIMERFUNCTION, &callbacks::on_timer);
  set_option(multi, CURLMOPT_TIMERDATA, this);
  set_option(multi, CURLMOPT_MAXCONNECTS, static_cast<long>(_options.connections_max));
  set_option(multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
}

curl_transport::~curl_transport() {
  BTS3_ASSERT(_exchanges.empty() && _watches.empty());
}

task<result<http_response>> curl_transport::perform(http_request request, engine::stop_token stop) {
  BTS3_ASSERT(!_closing);
  if (stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  if (auto sound = check_request(request); !sound) {
    co_return std::move(sound.error());
  }
  curl_exchange work(_loop, std::move(request));
  engine::async_scope feeding(_loop);
  if (const engine::body_source* source = work.request.body.source()) {
    BTS3_ASSERT(source->buffers() >= 2);
    for (unsigned buffer = source->buffers(); buffer > 0; --buffer) {
      work.free_buffers.push_back(buffer - 1);
    }
    feeding.spawn(feed(work));
  }
  result<http_response> answer = engine::cancelled_error();
  if (auto started = start(work); started) {
    auto waiting = work.done.wait(stop);
    auto ended = co_await std::move(waiting);
    answer = ended ? outcome_of(work, _options) : result<http_response>(std::move(ended.error()));
    finish(work);
  } else {
    answer = std::move(started.error());
  }
  // The kernel may still write to the source's buffers.
  work.feed_stop.request_stop();
  co_await feeding.join();
  co_return answer;
}

// Takes the exchange to libcurl; an error leaves nothing of it there.
result<void> curl_transport::start(curl_exchange& work) {
  const http_request& request = work.request;
  BTS3_ASSERT(request.stall_timeout.count() > 0);
  const auto refused = [&request](const char* why) {
    return not_given(host_and_port(request.url) + ": " + request.method, why);
  };
  if (!add_header_lines(request, work.headers)) {
    return refused("no memory for the request's headers");
  }
  if (_handles->idle.empty()) {
    work.easy = curl_easy_init();
    if (work.easy == nullptr) {
      return refused("no handle for a request");
    }
  } else {
    work.easy = _handles->idle.back();
    _handles->idle.pop_back();
  }
  work.counters = &_counters;
  work.sending = &_sending;
  work.receiving = &_receiving;
  work.through = request.direct ? nullptr : _options.proxies.for_url(request.url);
  set_up(work, _options, _own_authorities, _handles->share);

  if (!_timer_running) {
    _timer_running = true;
    _scope.spawn(run_timer());
  }
  BTS3_ASSERT(!_inside_curl);
  _inside_curl = true;
  const CURLMcode code = curl_multi_add_handle(_handles->multi, work.easy);
  _inside_curl = false;
  if (code != CURLM_OK) {
    curl_easy_cleanup(std::exchange(work.easy, nullptr));
    return refused(curl_multi_strerror(code));
  }
  ++_counters.exchanges;
  const clock::time_point now = clock::now();
  const progress_watch::limits limits = {request.stall_timeout, request.deadline,
                                         _options.crawl_window, _options.crawl_bytes_min};
  work.progress.emplace(limits, now);
  _exchanges.push_back(&work);
  _stall_check = std::min(_stall_check, now + work.progress->look_again_after());
  settle();
  return engine::ok();
}

// Takes the exchange away from libcurl: an unfinished one's connection is closed, a finished one's
// was put back for reuse before. Its spans are not touched any more.
void curl_transport::finish(curl_exchange& work) {
  BTS3_ASSERT(!_inside_curl && work.easy != nullptr);
  long connections = 0;
  curl_easy_getinfo(work.easy, CURLINFO_NUM_CONNECTS, &connections);
  _counters.connections += static_cast<std::uint64_t>(std::max(connections, 0L));
  std::erase(_exchanges, &work);
  std::erase(_sending.held_back, &work);
  std::erase(_receiving.held_back, &work);
  if (_exchanges.empty()) {
    _stall_check = clock::time_point::max();
  }
  _inside_curl = true;
  const CURLMcode code = curl_multi_remove_handle(_handles->multi, work.easy);
  _inside_curl = false;
  must(code);
  // A handle that failed may have kept its buffers (7.88 does after a malformed address) and then
  // refuses to have their sizes set.
  const bool reusable = work.finished && work.code == CURLE_OK;
  if (reusable && _handles->idle.size() < _options.connections_max) {
    curl_easy_reset(work.easy);
    _handles->idle.push_back(work.easy);
  } else {
    curl_easy_cleanup(work.easy);
  }
  work.easy = nullptr;
  settle();
}

// Hands one event to libcurl and does what its callbacks recorded meanwhile.
void curl_transport::act(int fd, int readiness) {
  BTS3_ASSERT(!_inside_curl);
  int running = 0;
  _inside_curl = true;
  const CURLMcode code = curl_multi_socket_action(_handles->multi, fd, readiness, &running);
  _inside_curl = false;
  must(code);
  settle();
}

void curl_transport::settle() {
  for (const socket_change& change : _changes) {
    apply(change);
  }
  _changes.clear();
  collect_finished();
  for (curl_exchange* work : _exchanges) {
    if (std::exchange(work->answered, false)) {
      resume(*work);
    }
  }
  wake_timer_by(std::min({_curl_deadline, _stall_check, _sending.allows, _receiving.allows}));
}

void curl_transport::apply(const socket_change& change) {
  const auto found = _watches.find(change.fd);
  if (change.what == CURL_POLL_REMOVE || change.what == CURL_POLL_NONE) {
    if (found != _watches.end()) {
      socket_watch& watched = *found->second;
      watched.removed = true;
      if (watched.armed != nullptr) {
        watched.armed->request_stop();
      }
      _watches.erase(found);
    }
    return;
  }
  const unsigned events =
      (change.what & CURL_POLL_IN ? POLLIN : 0U) | (change.what & CURL_POLL_OUT ? POLLOUT : 0U);
  if (found != _watches.end()) {
    socket_watch& watched = *found->second;
    if (watched.events != events) {
      watched.events = events;
      if (watched.armed != nullptr) {
        watched.armed->request_stop();  // its watch polls again, with the new events
      }
    }
    return;
  }
  auto watched = std::make_shared<socket_watch>(change.fd);
  watched->events = events;
  _watches.emplace(change.fd, watched);
  _scope.spawn(watch(std::move(watched)));
}

void curl_transport::collect_finished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(_handles->multi, &left)) {
    BTS3_ASSERT(message->msg == CURLMSG_DONE);
    char* owner = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
    BTS3_ASSERT(owner != nullptr);
    auto& work = *reinterpret_cast<curl_exchange*>(owner);
    work.finished = true;
    work.code = message->data.result;
    work.done.set();
  }
}

// Keeps the source's buffers full, ahead of libcurl.
task<void> curl_transport::feed(curl_exchange& work) {
  engine::body_source& source = *work.request.body.source();
  while (!work.feed_stop.stop_requested()) {
    if (work.free_buffers.empty() || work.fetch_offset == source.size()) {
      work.buffer_freed.reset();
      auto waiting = work.buffer_freed.wait(work.feed_stop.token());
      static_cast<void>(co_await std::move(waiting));  // stopped: the loop ends
      continue;
    }
    const unsigned buffer = work.free_buffers.back();
    work.free_buffers.pop_back();
    const unsigned start = work.starts;
    auto fetching = source.fetch(buffer, work.fetch_offset, work.feed_stop.token());
    auto got = co_await std::move(fetching);
    if (work.feed_stop.stop_requested()) {
      break;
    }
    if (start != work.starts) {
      work.free_buffers.push_back(buffer);  // not what is wanted any more
      continue;
    }
    if (!got) {
      work.source_failure = std::move(got.error());
      resume(work);
      break;
    }
    BTS3_ASSERT(!got->empty() && got->size() <= source.size() - work.fetch_offset);
    work.fetch_offset += got->size();
    work.fetched.push_back(curl_exchange::block{buffer, *got});
    resume(work);
  }
}

// Lets a paused transfer go on: libcurl will ask for its body again, or end it.
void curl_transport::resume(curl_exchange& work) {
  if (!work.paused || work.easy == nullptr || work.finished) {
    return;
  }
  BTS3_ASSERT(!_inside_curl);
  work.paused = false;
  _inside_curl = true;
  const CURLcode code = curl_easy_pause(work.easy, CURLPAUSE_CONT);
  _inside_curl = false;
  if (code != CURLE_OK) {
    work.finished = true;
    work.code = code;
    work.done.set();
  }
  settle();
}

// Whoever was held back longest takes a portion and, if it wants more, queues up again.
void curl_transport::go_on_within_limit(limited_direction& which, clock::time_point now) {
  which.allows = clock::time_point::max();
  for (std::size_t turns = which.held_back.size();
       turns > 0 && !which.held_back.empty() && which.limit.next(now) <= now; --turns) {
    curl_exchange& work = *which.held_back.front();
    which.held_back.pop_front();
    work.held_back = false;
    work.turn_bytes = which.limit.portion();
    resume(work);
  }
  if (!which.held_back.empty()) {
    which.allows = std::max(which.limit.next(now), now + std::chrono::milliseconds(1));
  }
}

task<void> curl_transport::watch(std::shared_ptr<socket_watch> watched) {
  while (!watched->removed) {
    engine::stop_source armed;
    watched->armed = &armed;
    auto polling = _loop.poll(watched->fd, watched->events, armed.token());
    const auto ready = co_await std::move(polling);
    watched->armed = nullptr;
    if (watched->removed) {
      break;
    }
    if (ready) {
      // An error or hang-up is for libcurl to find out by reading and writing.
      const bool broken = (*ready & (POLLERR | POLLHUP | POLLNVAL)) != 0;
      int readiness = 0;
      readiness |= broken || (*ready & POLLIN) != 0 ? CURL_CSELECT_IN : 0;
      readiness |= broken || (*ready & POLLOUT) != 0 ? CURL_CSELECT_OUT : 0;
      act(watched->fd, readiness);
    } else if (ready.error().what_now != disposition::cancelled) {
      act(watched->fd, CURL_CSELECT_ERR);
    }
  }
}

void curl_transport::wake_timer_by(clock::time_point when) {
  if (when == clock::time_point::max()) {
    return;
  }
  if (_timer_sleep == nullptr) {
    _timer_poked.set();
  } else if (when < _timer_sleeps_until) {
    _timer_sleep->request_stop();
  }
  // A sleep that ends too early only looks around and sleeps again: cheaper than cancelling it.
}

task<void> curl_transport::run_timer() {
  while (!_closing) {
    const clock::time_point due =
        std::min({_curl_deadline, _stall_check, _sending.allows, _receiving.allows});
    const clock::time_point now = clock::now();
    if (due == clock::time_point::max()) {
      _timer_poked.reset();
      auto waiting = _timer_poked.wait();
      static_cast<void>(co_await std::move(waiting));
    } else if (due > now) {
      engine::stop_source sleep;
      _timer_sleep = &sleep;
      _timer_sleeps_until = due;
      auto sleeping = _loop.sleep_until(due, sleep.token());
      static_cast<void>(co_await std::move(sleeping));
      _timer_sleep = nullptr;
    } else {
      if (_curl_deadline <= now) {
        _curl_deadline = clock::time_point::max();
        act(CURL_SOCKET_TIMEOUT, 0);
      }
      if (_stall_check <= now) {
        look_for_stalls(now);
      }
      for (limited_direction* which : {&_sending, &_receiving}) {
        if (which->allows <= now) {
          go_on_within_limit(*which, now);
        }
      }
      co_await _loop.yield();
    }
  }
}

void curl_transport::look_for_stalls(clock::time_point now) {
  _stall_check = clock::time_point::max();
  for (curl_exchange* work : _exchanges) {
    const std::uint64_t moved = work->bytes_moved + bytes_moved_by_tcp(work->socket);
    std::string why = work->progress->overdue(moved, work->body_bytes_got, work->paused, now);
    if (!why.empty() && !work->finished && !work->stalled) {
      work->stalled = true;
      work->stall_text = std::move(why);
      ++_counters.stalls;
      work->done.set();
    }
    _stall_check = std::min(_stall_check, now + work->progress->look_again_after());
  }
}

task<void> curl_transport::close() {
  BTS3_ASSERT(_exchanges.empty() && !_closing && !_inside_curl);
  _closing = true;
  _handles.reset();
  _changes.clear();  // every socket is closed now
  for (const auto& [fd, watched] : _watches) {
    watched->removed = true;
    if (watched->armed != nullptr) {
      watched->armed->request_stop();
    }
  }
  _watches.clear();
  if (_timer_sleep != nullptr) {
    _timer_sleep->request_stop();
  }
  _timer_poked.set();
  co_await _scope.join();
}

}  // namespace bts3::s3
