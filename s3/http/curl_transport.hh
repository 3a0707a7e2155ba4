// http_transport over libcurl's multi interface, driven by the reactor.
//
// libcurl says which sockets it waits for and when it wants to be called; each such socket gets a
// coroutine of its own that polls it once, calls curl_multi_socket_action and polls again, because
// libcurl needs level-triggered readiness. Descriptors are reused, so a watch belongs to one
// registration of a descriptor, never to its number, and ends when libcurl drops the socket: a poll
// left behind would hold a reference to the closed file. libcurl's callbacks only record what is to
// be done; libcurl is called, and coroutines are resumed, from the run queue alone.
//
// One ring timer serves libcurl's timer and the progress watchdog. The watchdog cuts an exchange
// when nothing has moved for its stall_timeout: no byte passed to or from libcurl, and the peer's
// TCP neither acknowledged nor delivered any (TCP_INFO), so that a slow uplink that takes minutes
// over libcurl's 512 KiB buffer counts as alive. It looks four times in a stall_timeout, so the cut
// comes after 1 to 1.5 of it.
//
// A byte now and then is no progress either: an exchange without a deadline of its own has to move
// crawl_bytes_min in each crawl_window (32 KiB in five minutes, 109 bytes a second, which a modem
// of 1,200 baud exceeds). Time in which it waits for the disk or for a limit of rate does not
// count.
//
// Limits of rate are kept by pausing: whoever has had its portion goes to the end of the queue and
// is resumed in turn, so that exchanges share a limit equally. libcurl keeps what it has read of a
// paused download, a buffer's worth; the rest waits in the kernel, and slows the peer down.
//
// A body in memory is handed to libcurl as it asks; without a limit its transfer never pauses. A
// body from a source (a part on a disk) is fetched ahead into the source's buffers; when libcurl
// asks and none is there, and only then, the transfer pauses, and the fetch that ends resumes it,
// from the run queue. Time paused is the disk's and not the network's: the watchdog does not count
// it. It cannot hide a dead network either, as libcurl asks only when the socket has taken what it
// had. An answer that comes meanwhile resumes too: 7.88 never ends a transfer that is paused.
//
// Rejected: CURLOPT_LOW_SPEED_* (in 7.88 also counts the time in which libcurl waits for 100
// Continue or an answer, and knows nothing of acknowledged bytes); CURLOPT_AWS_SIGV4 (wrong for
// some S3 requests before 8.19); multishot polls (edge-triggered).
//
// The program must ignore SIGPIPE: OpenSSL writes to sockets without MSG_NOSIGNAL.
#pragma once

#include "engine/async_scope.hh"
#include "engine/event.hh"
#include "engine/reactor.hh"
#include "s3/http/curl_options.hh"
#include "s3/http/http_transport.hh"
#include "s3/http/limited_direction.hh"

#include <chrono>
#include <memory>
#include <unordered_map>
#include <vector>

namespace bts3::s3 {

class curl_transport final : public http_transport {
 public:
  // Fails (reason configuration) when the ca_bundle cannot be read.
  static engine::result<std::unique_ptr<curl_transport>> create(engine::reactor& loop,
                                                                curl_options options);
  // close() must have returned, unless perform() was never called.
  ~curl_transport() override;
  curl_transport(const curl_transport&) = delete;
  curl_transport& operator=(const curl_transport&) = delete;

  engine::task<engine::result<http_response>> perform(http_request request,
                                                      engine::stop_token stop) override;

  // Closes idle connections and waits until no watch is left. Every perform() must have returned;
  // none may follow.
  engine::task<void> close();

  [[nodiscard]] const transfer_counters& counters() const { return _counters; }

 private:
  struct socket_watch;
  struct handles;
  struct callbacks;
  struct socket_change {
    int fd;
    int what;  // CURL_POLL_*
  };
  using clock = std::chrono::steady_clock;

  curl_transport(engine::reactor& loop, curl_options options);

  engine::result<void> start(curl_exchange& work);
  void finish(curl_exchange& work);

  void act(int fd, int readiness);
  void settle();
  void apply(const socket_change& change);
  void collect_finished();
  void wake_timer_by(clock::time_point when);
  void look_for_stalls(clock::time_point now);
  engine::task<void> feed(curl_exchange& work);
  void resume(curl_exchange& work);
  void go_on_within_limit(limited_direction& which, clock::time_point now);
  engine::task<void> watch(std::shared_ptr<socket_watch> watched);
  engine::task<void> run_timer();

  engine::reactor& _loop;
  curl_options _options;
  bool _own_authorities = false;  // s3.ca_bundle was given: nobody else is trusted
  std::unique_ptr<handles> _handles;
  engine::async_scope _scope;
  transfer_counters _counters;

  std::vector<curl_exchange*> _exchanges;  // between start() and finish()
  std::unordered_map<int, std::shared_ptr<socket_watch>> _watches;
  std::vector<socket_change> _changes;  // recorded by libcurl's callback, not yet applied

  clock::time_point _curl_deadline = clock::time_point::max();
  clock::time_point _stall_check = clock::time_point::max();
  limited_direction _sending;
  limited_direction _receiving;
  engine::event _timer_poked;
  engine::stop_source* _timer_sleep = nullptr;  // set while the timer sleeps
  clock::time_point _timer_sleeps_until{};
  bool _timer_running = false;
  bool _inside_curl = false;
  bool _closing = false;
};

}  // namespace bts3::s3
