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
#include "s3/http/http_transport.hh"
#include "s3/http/proxy.hh"
#include "s3/http/rate_limit.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace bts3::s3 {

struct curl_options {
  curl_options() = default;
  // PEM file of the certificate authorities to trust, and no others. Empty: the first readable one
  // of the system's bundles and the system's directory of certificates, or else what libcurl was
  // built with. Verification itself cannot be switched off.
  std::string ca_bundle;
  std::string ca_bundle_from = "s3.ca_bundle";  // the key or variable that says so
  // Directories of hashed certificates, between colons, that are trusted besides `ca_bundle`, or,
  // where that is empty, alone.
  std::string ca_directory;
  // Where distributions keep their bundle, so that one static binary serves on all of them: Debian
  // and its kin, Arch and Gentoo; Fedora and RHEL, by both names; openSUSE; Alpine.
  std::vector<std::string> system_ca_bundles = {"/etc/ssl/certs/ca-certificates.crt",
                                                "/etc/pki/tls/certs/ca-bundle.crt",
                                                "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
                                                "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
  // Whatever the environment says besides, which libraries here do not read.
  proxy_rules proxies;
  std::string user_agent = "btrfs_to_s3";
  // Idle connections kept for reuse; at least the number of exchanges in flight, so that each finds
  // its connection again.
  unsigned connections_max = 16;
  // Upper bound for the bodies sent, all exchanges together; 0: none. Exchanges take turns.
  std::uint64_t send_bytes_per_second = 0;
  // The same for bodies received into a body_target.
  std::uint64_t receive_bytes_per_second = 0;
  // For name resolution, TCP and TLS together.
  std::chrono::milliseconds connect_timeout{30'000};
  // What a transfer moves at least; less is a stall.
  std::chrono::milliseconds crawl_window{300'000};
  std::uint64_t crawl_bytes_min = 32 * 1024;
};

// What has passed since the transport was made; read it at any time on the reactor's thread.
struct transfer_counters {
  std::uint64_t body_bytes_sent = 0;  // taken by libcurl: up to 512 KiB an exchange ahead of the
                                      // socket; repeated bodies count again
  std::uint64_t body_bytes_received = 0;
  std::uint64_t exchanges = 0;    // started
  std::uint64_t connections = 0;  // opened, by exchanges that have ended
  std::uint64_t stalls = 0;       // exchanges cut by the watchdog
  std::uint64_t pauses = 0;       // for want of something to send, or for a limit's sake
};

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
  struct exchange;
  struct socket_watch;
  struct handles;
  struct callbacks;
  struct socket_change {
    int fd;
    int what;  // CURL_POLL_*
  };
  using clock = std::chrono::steady_clock;
  struct limited_direction {
    explicit limited_direction(std::uint64_t bytes_per_second) : limit(bytes_per_second) {}
    rate_limit limit;
    std::deque<exchange*> held_back;                      // whoever waits longest first
    clock::time_point allows = clock::time_point::max();  // the next of them
  };

  curl_transport(engine::reactor& loop, curl_options options);

  engine::result<void> start(exchange& work);
  void finish(exchange& work);
  engine::result<http_response> outcome(exchange& work) const;
  [[nodiscard]] std::optional<engine::error> refused_by_proxy(const exchange& work) const;
  [[nodiscard]] engine::error broken_off(const exchange& work) const;

  void act(int fd, int readiness);
  void settle();
  void apply(const socket_change& change);
  void collect_finished();
  void wake_timer_by(clock::time_point when);
  void look_for_stalls(clock::time_point now);
  [[nodiscard]] std::chrono::milliseconds look_again_after(const exchange& work) const;
  // Why the exchange is to be cut; empty: it is not.
  std::string overdue(exchange& work, std::uint64_t progress, clock::time_point now) const;
  engine::task<void> feed(exchange& work);
  void resume(exchange& work);
  void go_on_within_limit(limited_direction& which, clock::time_point now);
  engine::task<void> watch(std::shared_ptr<socket_watch> watched);
  engine::task<void> run_timer();

  engine::reactor& _loop;
  curl_options _options;
  bool _own_authorities = false;  // s3.ca_bundle was given: nobody else is trusted
  std::unique_ptr<handles> _handles;
  engine::async_scope _scope;
  transfer_counters _counters;

  std::vector<exchange*> _exchanges;  // between start() and finish()
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
