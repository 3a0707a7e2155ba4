// Inside the server: its sockets, its threads, and what they share.
#pragma once

#include "tests/support/scripted_s3/peer.hh"
#include "tests/support/scripted_s3_server.hh"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <utility>

namespace bts3::testing {

struct scripted_s3_server::impl {
  struct connection {
    connection(int fd, unsigned serial, bool with_tls, int port)
        : socket(fd), id(serial), tls(with_tls), peer_port(port) {}
    scripted::peer socket;
    unsigned id;
    bool tls;
    int peer_port;
    bool ended = false;  // guarded by `mutex`
    std::thread thread;
  };

  explicit impl(scripted_s3_options options)
      : with_tls(options.tls),
        certificate_valid_from(options.certificate_valid_from),
        store(std::move(options), [this] { return now(); }) {}

  bool with_tls;
  std::chrono::seconds certificate_valid_from;
  int http_port = 0;
  int https_port = 0;
  int http_listener = -1;
  int https_listener = -1;
  SSL_CTX* tls_context = nullptr;
  std::string ca_file;
  std::vector<std::thread> acceptors;

  // The clock's time since the epoch; -1: the system's.
  std::atomic<std::int64_t> held_seconds = -1;
  std::atomic<std::int64_t> seconds_ahead = 0;  // of the system's
  std::atomic<bool> judges_time = false;        // refuses skewed signatures

  mutable std::mutex mutex;  // guards everything below
  std::condition_variable changed;
  bool stopping = false;
  unsigned stall_releases = 0;
  std::size_t stalls_begun = 0;
  std::chrono::milliseconds away{0};  // the plain listener is to close for that long
  bool is_away = false;               // and what arrives meanwhile arrives nowhere
  std::list<connection> connections;
  std::vector<recorded_request> log;
  std::size_t log_forgotten = 0;
  scripted::script rules;
  struct refused_key {
    std::string code;
    int status;
  };
  std::map<std::string, refused_key> refused_keys;
  scripted::store_state store;

  void accept_all(int listener, bool tls);
  void serve(connection& self);
  bool exchange(connection& self, recorded_request& request);
  std::optional<server_answer> early_refusal(const recorded_request& request);
  std::optional<server_answer> refused_signature(const recorded_request& request);
  bool read_body(connection& self, const recorded_request& request, std::string& body,
                 std::size_t limit, const scripted_action* action);
  bool send(connection& self, const recorded_request& request, server_answer answer, bool close,
            const scripted_action* action);
  void stall();
  void leave(std::chrono::milliseconds time);
  void update(std::size_t index, const std::function<void(recorded_request&)>& change);

  [[nodiscard]] scripted::time_point now() const {
    const std::int64_t held = held_seconds;
    return held < 0 ? std::chrono::system_clock::now() + std::chrono::seconds(seconds_ahead)
                    : scripted::time_point(std::chrono::seconds(held));
  }
};

}  // namespace bts3::testing
