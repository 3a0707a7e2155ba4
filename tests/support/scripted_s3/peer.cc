#include "tests/support/scripted_s3/peer.hh"

#include "tests/support/scripted_s3/text.hh"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <utility>

namespace bts3::testing::scripted {

namespace {

constexpr std::size_t head_bytes_max = 64 * 1024;

}  // namespace

int listen_locally(int& port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(fd >= 0, "socket");
  // So that the port can be taken again while connections of before linger.
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  require(::bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0, "bind");
  require(::listen(fd, 128) == 0, "listen");
  require(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0, "getsockname");
  port = ntohs(address.sin_port);
  return fd;
}

bool peer::handshake(SSL_CTX* context) {
  _tls = SSL_new(context);
  SSL_set_fd(_tls, _fd);
  return SSL_accept(_tls) == 1;
}

std::size_t peer::read(char* into, std::size_t bytes) {
  if (!_pending.empty()) {
    const std::size_t taken = std::min(bytes, _pending.size());
    std::memcpy(into, _pending.data(), taken);
    _pending.erase(0, taken);
    return taken;
  }
  const auto got =
      _tls != nullptr ? SSL_read(_tls, into, static_cast<int>(bytes)) : ::recv(_fd, into, bytes, 0);
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

std::string peer::read_head() {
  std::string head;
  std::array<char, 16384> piece;
  for (;;) {
    const std::size_t end = head.find("\r\n\r\n");
    if (end != std::string::npos) {
      _pending = head.substr(end + 4) + _pending;
      head.resize(end);
      return head;
    }
    const std::size_t got = head.size() < head_bytes_max ? read(piece.data(), piece.size()) : 0;
    if (got == 0) {
      return {};
    }
    head.append(piece.data(), got);
    if (std::isupper(static_cast<unsigned char>(head.front())) == 0) {
      return {};  // not HTTP: a TLS handshake, perhaps
    }
  }
}

bool peer::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t piece = std::min<std::size_t>(bytes.size(), 1 << 20);
    const auto sent = _tls != nullptr ? SSL_write(_tls, bytes.data(), static_cast<int>(piece))
                                      : ::send(_fd, bytes.data(), piece, MSG_NOSIGNAL);
    if (sent <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void peer::linger() {
  ::shutdown(_fd, SHUT_WR);
  std::array<char, 16384> piece;
  pollfd readable{_fd, POLLIN, 0};
  while (::poll(&readable, 1, 1000) > 0 && ::recv(_fd, piece.data(), piece.size(), 0) > 0) {
  }
}

void peer::reset() {
  const ::linger none{1, 0};
  ::setsockopt(_fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

void peer::shut() {
  const std::lock_guard lock(_mutex);
  if (_fd >= 0) {
    ::shutdown(_fd, SHUT_RDWR);
  }
}

void peer::close() {
  SSL_free(std::exchange(_tls, nullptr));
  const std::lock_guard lock(_mutex);
  if (_fd >= 0) {
    ::close(std::exchange(_fd, -1));
  }
}

}  // namespace bts3::testing::scripted
