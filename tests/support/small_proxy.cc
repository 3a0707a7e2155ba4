#include "tests/support/small_proxy.hh"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace bts3::testing {

namespace {

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

bool send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::string base64(std::string_view text) {
  constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string coded;
  for (std::size_t at = 0; at < text.size(); at += 3) {
    unsigned bits = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      coded += at + i > text.size() ? '=' : letters[bits >> (18 - 6 * i) & 63];
    }
  }
  return coded;
}

// The port in "host:port"; 80 without one.
int port_of(std::string_view authority) {
  int port = 80;
  const std::size_t colon = authority.rfind(':');
  if (colon != std::string_view::npos && authority.back() != ']') {
    const std::string_view digits = authority.substr(colon + 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), port);
  }
  return port;
}

std::string without_line(std::string head, std::string_view name) {
  const std::size_t at = head.find("\r\n" + std::string(name));
  return at == std::string::npos ? head : head.erase(at, head.find("\r\n", at + 2) - at);
}

}  // namespace

struct small_proxy::impl {
  small_proxy_options options;
  int listener = -1;
  int port = 0;
  std::atomic<bool> ending{false};
  mutable std::mutex guard;
  std::vector<std::string> seen;
  std::vector<std::thread> workers;
  std::thread accepter;

  void accept_all();
  void serve(int client);
  void serve_request(int client);
  void pump(int client, int server) const;
};

// Both ways, until one of them ends or the proxy does.
void small_proxy::impl::pump(int client, int server) const {
  std::array<char, 65536> piece;
  pollfd both[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
  while (!ending) {
    ::poll(both, 2, 50);
    for (int from = 0; from < 2; ++from) {
      if ((both[from].revents & (POLLIN | POLLHUP | POLLERR)) == 0) {
        continue;
      }
      const ssize_t got = ::recv(both[from].fd, piece.data(), piece.size(), 0);
      if (got <= 0 || !send_all(both[1 - from].fd, {piece.data(), static_cast<std::size_t>(got)})) {
        return;
      }
    }
  }
}

void small_proxy::impl::serve_request(int client) {
  std::string text;
  std::array<char, 4096> piece;
  while (text.find("\r\n\r\n") == std::string::npos) {
    const ssize_t got = ::recv(client, piece.data(), piece.size(), 0);
    if (got <= 0) {
      return;
    }
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
  const std::size_t blank = text.find(' ');
  const std::string method = text.substr(0, blank);
  const std::string target = text.substr(blank + 1, text.find(' ', blank + 1) - blank - 1);
  {
    const std::lock_guard lock(guard);
    seen.push_back(method + ' ' + target);
  }
  const bool known = options.login.empty() ||
                     text.find("Proxy-Authorization: Basic " + base64(options.login) + "\r\n") !=
                         std::string::npos;
  const bool tunnel = method == "CONNECT";
  const int refusal = !known ? 407 : tunnel ? options.refuses_connect_with : 0;
  if (refusal != 0) {
    send_all(client, "HTTP/1.1 " + std::to_string(refusal) +
                         " No\r\nProxy-Authenticate: Basic realm=\"test\"\r\n"
                         "Content-Type: text/html\r\nContent-Length: 13\r\n"
                         "Connection: close\r\n\r\n<html></html>");
    return;
  }
  const std::string rest = tunnel ? target : target.substr(7);
  const sockaddr_in address = loopback(port_of(rest.substr(0, rest.find('/'))));
  const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    send_all(client, "HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  } else if (tunnel) {
    send_all(client, "HTTP/1.1 200 Yes\r\n\r\n");
    pump(client, server);
  } else {
    // One request a connection, as the answer's end is not looked for.
    std::string head = without_line(text, "Proxy-Connection:");
    head.replace(blank + 1, target.size(), rest.substr(rest.find('/')));
    send_all(server, without_line(std::move(head), "Proxy-Authorization:"));
    pump(client, server);
  }
  ::close(server);
}

void small_proxy::impl::serve(int client) {
  serve_request(client);
  ::close(client);
}

void small_proxy::impl::accept_all() {
  while (!ending) {
    pollfd waiting{listener, POLLIN, 0};
    if (::poll(&waiting, 1, 20) <= 0) {
      continue;
    }
    const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (client >= 0) {
      timeval limit{5, 0};
      ::setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      workers.emplace_back([this, client] { serve(client); });
    }
  }
}

small_proxy::small_proxy(small_proxy_options options) : _impl(std::make_unique<impl>()) {
  _impl->options = std::move(options);
  _impl->listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (_impl->listener < 0 || ::bind(_impl->listener, generic, length) != 0 ||
      ::listen(_impl->listener, 64) != 0 || ::getsockname(_impl->listener, generic, &length) != 0) {
    throw std::runtime_error("small proxy: cannot listen");
  }
  _impl->port = ntohs(address.sin_port);
  _impl->accepter = std::thread([this] { _impl->accept_all(); });
}

small_proxy::~small_proxy() {
  _impl->ending = true;
  _impl->accepter.join();
  for (std::thread& one : _impl->workers) {
    one.join();
  }
  ::close(_impl->listener);
}

std::string small_proxy::host() const {
  return "127.0.0.1:" + std::to_string(_impl->port);
}

std::vector<std::string> small_proxy::lines() const {
  const std::lock_guard lock(_impl->guard);
  return _impl->seen;
}

}  // namespace bts3::testing
