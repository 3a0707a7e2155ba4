#include "tests/support/small_http_server.hh"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <charconv>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace bts3::testing {

namespace {

int listen_locally(int& port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (fd < 0 || ::bind(fd, generic, length) != 0 || ::listen(fd, 128) != 0 ||
      ::getsockname(fd, generic, &length) != 0) {
    throw std::runtime_error("small HTTP server: cannot listen");
  }
  port = ntohs(address.sin_port);
  return fd;
}

std::string value_of(const std::map<std::string, std::string>& from, const std::string& name) {
  const auto found = from.find(name);
  return found != from.end() ? found->second : std::string();
}

bool receive(int fd, std::string& text) {
  std::array<char, 4096> piece;
  const ssize_t got = ::recv(fd, piece.data(), piece.size(), 0);
  if (got > 0) {
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
  return got > 0;
}

void parse_head(std::string_view head, small_request& request) {
  std::size_t end = head.find("\r\n");
  const std::string_view line = head.substr(0, end);
  const std::size_t first = line.find(' ');
  request.method = line.substr(0, first);
  request.target = line.substr(first + 1, line.rfind(' ') - first - 1);
  while (end != std::string_view::npos) {
    head.remove_prefix(end + 2);
    end = head.find("\r\n");
    const std::string_view field = head.substr(0, end);
    const std::size_t colon = field.find(": ");
    if (colon != std::string_view::npos) {
      std::string name(field.substr(0, colon));
      for (char& letter : name) {
        letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
      }
      request.headers[name] = field.substr(colon + 2);
    }
  }
}

// False when the other side left before it was whole.
bool read_request(int fd, small_request& request) {
  std::string text;
  std::size_t end = std::string::npos;
  while ((end = text.find("\r\n\r\n")) == std::string::npos) {
    if (!receive(fd, text)) {
      return false;
    }
  }
  parse_head(std::string_view(text).substr(0, end), request);
  request.body = text.substr(end + 4);
  const std::string length = request.header("content-length");
  std::size_t wanted = 0;
  std::from_chars(length.data(), length.data() + length.size(), wanted);
  while (request.body.size() < wanted) {
    if (!receive(fd, request.body)) {
      return false;
    }
  }
  return true;
}

void send_answer(int fd, const small_answer& answer) {
  std::string text = "HTTP/1.1 " + std::to_string(answer.status) +
                     " Small\r\nContent-Length: " + std::to_string(answer.body.size()) +
                     "\r\nConnection: close\r\n";
  for (const auto& [name, value] : answer.headers) {
    text += name + ": " + value + "\r\n";
  }
  text += "\r\n" + answer.body;
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t sent = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      return;
    }
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
}

}  // namespace

std::string small_request::header(const std::string& name) const {
  return value_of(headers, name);
}

std::string small_request::field(const std::string& name) const {
  const std::string text = "&" + body + "&";
  const std::size_t at = text.find("&" + name + "=");
  if (at == std::string::npos) {
    return {};
  }
  const std::size_t from = at + name.size() + 2;
  return text.substr(from, text.find('&', from) - from);
}

struct small_http_server::impl {
  handler answer;
  int listener = -1;
  int port = 0;
  std::thread thread;
  mutable std::mutex mutex;  // guards what follows
  std::vector<small_request> requests;
  bool stopping = false;
  int connected = -1;

  void serve();
};

void small_http_server::impl::serve() {
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    {
      const std::lock_guard lock(mutex);
      if (stopping) {
        ::close(fd);
        return;
      }
      connected = fd;
    }
    small_request request;
    if (fd >= 0 && read_request(fd, request)) {
      {
        const std::lock_guard lock(mutex);
        requests.push_back(request);
      }
      send_answer(fd, answer(request));
    }
    const std::lock_guard lock(mutex);
    connected = -1;
    ::close(fd);
  }
}

small_http_server::small_http_server(handler answer) : _impl(std::make_unique<impl>()) {
  _impl->answer = std::move(answer);
  _impl->listener = listen_locally(_impl->port);
  _impl->thread = std::thread([self = _impl.get()] { self->serve(); });
}

small_http_server::~small_http_server() {
  {
    const std::lock_guard lock(_impl->mutex);
    _impl->stopping = true;
    ::shutdown(_impl->listener, SHUT_RDWR);  // wakes accept()
    if (_impl->connected >= 0) {
      ::shutdown(_impl->connected, SHUT_RDWR);
    }
  }
  _impl->thread.join();
  ::close(_impl->listener);
}

std::string small_http_server::url() const {
  return "http://127.0.0.1:" + std::to_string(_impl->port);
}

std::vector<small_request> small_http_server::requests() const {
  const std::lock_guard lock(_impl->mutex);
  return _impl->requests;
}

std::vector<std::string> small_http_server::lines() const {
  std::vector<std::string> found;
  for (const small_request& one : requests()) {
    found.push_back(one.method + " " + one.target);
  }
  return found;
}

silent_server::silent_server() {
  _listener = listen_locally(_port);
}

silent_server::~silent_server() {
  ::close(_listener);
}

std::string silent_server::url() const {
  return "http://127.0.0.1:" + std::to_string(_port);
}

}  // namespace bts3::testing
