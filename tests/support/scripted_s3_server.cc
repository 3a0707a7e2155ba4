#include "tests/support/scripted_s3_server.hh"

#include "tests/support/scripted_s3/server_impl.hh"
#include "tests/support/scripted_s3/text.hh"
#include "tests/support/tls_context.hh"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace bts3::testing {

using scripted::listen_locally;
using scripted::require;

scripted_s3_server::scripted_s3_server(scripted_s3_options options)
    : _impl(std::make_unique<impl>(std::move(options))) {
  impl& self = *_impl;
  self.http_listener = listen_locally(self.http_port);
  if (self.with_tls) {
    const char* directory = std::getenv("TMPDIR");
    self.ca_file = std::string(directory != nullptr ? directory : "/tmp") + "/scripted-s3-" +
                   std::to_string(::getpid()) + '-' + std::to_string(self.http_port) + ".pem";
    self.tls_context = make_tls_context(self.ca_file, self.certificate_valid_from);
    self.https_listener = listen_locally(self.https_port);
    self.acceptors.emplace_back([&self] { self.accept_all(self.https_listener, true); });
  }
  self.acceptors.emplace_back([&self] { self.accept_all(self.http_listener, false); });
}

scripted_s3_server::~scripted_s3_server() {
  stop();
}

void scripted_s3_server::stop() {
  impl& self = *_impl;
  {
    const std::lock_guard lock(self.mutex);
    if (std::exchange(self.stopping, true)) {
      return;
    }
    self.changed.notify_all();
  }
  // Wakes accept().
  ::shutdown(self.http_listener, SHUT_RDWR);
  if (self.https_listener >= 0) {
    ::shutdown(self.https_listener, SHUT_RDWR);
  }
  for (std::thread& acceptor : self.acceptors) {
    acceptor.join();
  }
  // No connection is added any more.
  for (impl::connection& one : self.connections) {
    one.socket.shut();
  }
  for (impl::connection& one : self.connections) {
    one.thread.join();
  }
  self.connections.clear();
  ::close(self.http_listener);
  if (self.https_listener >= 0) {
    ::close(self.https_listener);
    ::unlink(self.ca_file.c_str());
  }
  SSL_CTX_free(std::exchange(self.tls_context, nullptr));
}

void scripted_s3_server::impl::accept_all(int listener, bool tls) {
  for (;;) {
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const int fd = ::accept4(listener, reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC);
    std::unique_lock lock(mutex);
    if (fd < 0 || stopping) {
      if (fd >= 0) {
        ::close(fd);
      }
      if (stopping) {
        return;
      }
      if (away.count() > 0 && !tls) {
        ::close(std::exchange(http_listener, -1));
        changed.wait_for(lock, std::exchange(away, std::chrono::milliseconds(0)),
                         [this] { return stopping; });
        if (stopping) {
          return;
        }
        listener = http_listener = listen_locally(http_port);
        is_away = false;
      }
      continue;
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection& made = connections.emplace_back(fd, static_cast<unsigned>(connections.size() + 1),
                                                tls, ntohs(from.sin_port));
    made.thread = std::thread([this, &made] { serve(made); });
  }
}

std::string scripted_s3_server::url() const {
  return "http://127.0.0.1:" + std::to_string(_impl->http_port);
}
std::string scripted_s3_server::https_url() const {
  require(_impl->with_tls, "no TLS listener");
  return "https://127.0.0.1:" + std::to_string(_impl->https_port);
}
std::string scripted_s3_server::ca_path() const {
  return _impl->ca_file;
}
int scripted_s3_server::port() const {
  return _impl->http_port;
}

void scripted_s3_server::script(request_match match, scripted_action action) {
  const std::lock_guard lock(_impl->mutex);
  _impl->rules.add(std::move(match), std::move(action));
}

void scripted_s3_server::clear_script() {
  const std::lock_guard lock(_impl->mutex);
  _impl->rules.clear();
}

void scripted_s3_server::release_stalls() {
  const std::lock_guard lock(_impl->mutex);
  ++_impl->stall_releases;
  _impl->changed.notify_all();
}

bool scripted_s3_server::wait_for_stalls(std::size_t count) {
  std::unique_lock lock(_impl->mutex);
  return _impl->changed.wait_for(lock, std::chrono::seconds(10),
                                 [&] { return _impl->stalls_begun >= count; });
}

bool scripted_s3_server::settle() {
  release_stalls();
  // Connections are accepted in order: when this one has been, all before it have.
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(fd >= 0, "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(_impl->http_port));
  socklen_t length = sizeof address;
  require(::connect(fd, reinterpret_cast<sockaddr*>(&address), length) == 0, "connect");
  require(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0, "getsockname");
  ::close(fd);
  const int own_port = ntohs(address.sin_port);
  std::unique_lock lock(_impl->mutex);
  return _impl->changed.wait_for(lock, std::chrono::seconds(10), [&] {
    bool accepted = false;
    bool all_ended = true;
    for (const impl::connection& one : _impl->connections) {
      accepted = accepted || one.peer_port == own_port;
      all_ended = all_ended && one.ended;
    }
    return accepted && all_ended;
  });
}

void scripted_s3_server::refuse_access_key(const std::string& id, const std::string& code,
                                           int status) {
  const std::lock_guard lock(_impl->mutex);
  _impl->refused_keys[id] = {code, status};
}

void scripted_s3_server::set_clock(std::chrono::seconds ahead) {
  _impl->seconds_ahead = ahead.count();
  _impl->judges_time = true;
}

void scripted_s3_server::add_bucket(const std::string& name) {
  const std::lock_guard lock(_impl->mutex);
  _impl->store.add_bucket(name);
}

void scripted_s3_server::put(const std::string& bucket, const std::string& key, std::string body,
                             std::map<std::string, std::string> headers) {
  const std::lock_guard lock(_impl->mutex);
  _impl->store.put(bucket, key, std::move(body), std::move(headers));
}

std::optional<object_state> scripted_s3_server::object(const std::string& bucket,
                                                       const std::string& key) const {
  const std::lock_guard lock(_impl->mutex);
  const object_state* found = _impl->store.find(bucket, key);
  return found != nullptr ? std::optional(*found) : std::nullopt;
}

std::size_t scripted_s3_server::object_count() const {
  const std::lock_guard lock(_impl->mutex);
  return _impl->store.object_count();
}

std::map<std::string, std::string> scripted_s3_server::bodies(const std::string& bucket) const {
  const std::lock_guard lock(_impl->mutex);
  return _impl->store.bodies(bucket);
}

std::vector<upload_state> scripted_s3_server::open_uploads() const {
  const std::lock_guard lock(_impl->mutex);
  return _impl->store.open_uploads();
}

void scripted_s3_server::set_time(std::chrono::system_clock::time_point now) {
  _impl->held_seconds =
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
}

void scripted_s3_server::finish_restores() {
  const std::lock_guard lock(_impl->mutex);
  _impl->store.finish_restores();
}

std::vector<recorded_request> scripted_s3_server::requests() const {
  const std::lock_guard lock(_impl->mutex);
  return _impl->log;
}

std::size_t scripted_s3_server::count(s3_verb verb) const {
  const std::lock_guard lock(_impl->mutex);
  return static_cast<std::size_t>(
      std::count_if(_impl->log.begin(), _impl->log.end(), [verb](const recorded_request& entry) {
        return verb == s3_verb::any || entry.verb == verb;
      }));
}

std::size_t scripted_s3_server::connections() const {
  const std::lock_guard lock(_impl->mutex);
  return _impl->connections.size();
}

void scripted_s3_server::forget_requests() {
  const std::lock_guard lock(_impl->mutex);
  _impl->log_forgotten += _impl->log.size();
  _impl->log.clear();
}

}  // namespace bts3::testing
