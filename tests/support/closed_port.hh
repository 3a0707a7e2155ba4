// Where connections are refused.
#pragma once

#include "engine/unique_fd.hh"

#include <boost/test/unit_test.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

namespace bts3::testing {

// A port on 127.0.0.1 that nobody listens on, held so that nobody else gets it.
class closed_port {
 public:
  closed_port() : _socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* where = reinterpret_cast<sockaddr*>(&address);
    BOOST_REQUIRE(::bind(_socket.get(), where, length) == 0);
    BOOST_REQUIRE(::getsockname(_socket.get(), where, &length) == 0);
    _port = ntohs(address.sin_port);
  }
  [[nodiscard]] std::string host() const { return "127.0.0.1:" + std::to_string(_port); }

 private:
  engine::unique_fd _socket;
  int _port = 0;
};

}  // namespace bts3::testing
