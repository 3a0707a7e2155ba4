// Sockets: who listens, and one connection, plain or TLS.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>

namespace bts3::testing::scripted {

// A listening socket on 127.0.0.1; port 0: any, which is told.
[[nodiscard]] int listen_locally(int& port);

// shut() is for other threads; the rest for the connection's own.
class peer {
 public:
  explicit peer(int fd) : _fd(fd) {}
  ~peer() { close(); }
  peer(const peer&) = delete;
  peer& operator=(const peer&) = delete;

  bool handshake(SSL_CTX* context);
  // 0: the other side is gone.
  std::size_t read(char* into, std::size_t bytes);
  // The next request's head without its empty line; empty when there is none.
  std::string read_head();
  bool write(std::string_view bytes);
  // Says that nothing more comes and waits (up to a second) for the other side to close, so that
  // unread input does not turn the close into a reset that destroys the answer on its way.
  void linger();
  // From close() on.
  void reset();
  void shut();
  void close();

 private:
  std::mutex _mutex;  // guards closing against shut()
  int _fd;
  SSL* _tls = nullptr;
  std::string _pending;
};

}  // namespace bts3::testing::scripted
