// A real HTTP proxy for tests, on 127.0.0.1: tunnels (CONNECT) and forwards requests in absolute
// form. Every host name is this machine, so that names nobody resolves can be asked for through it.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace bts3::testing {

struct small_proxy_options {
  std::string login;             // "user:password"; empty: none is asked for
  int refuses_connect_with = 0;  // a status, to every CONNECT; 0: connects
};

class small_proxy {
 public:
  explicit small_proxy(small_proxy_options options = {});
  ~small_proxy();
  small_proxy(const small_proxy&) = delete;
  small_proxy& operator=(const small_proxy&) = delete;

  [[nodiscard]] std::string host() const;  // "127.0.0.1:port"
  // "CONNECT host:port" or "GET http://host:port/path" of each request, in order.
  [[nodiscard]] std::vector<std::string> lines() const;

 private:
  struct impl;
  std::unique_ptr<impl> _impl;
};

}  // namespace bts3::testing
