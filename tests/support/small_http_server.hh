// The smallest HTTP server for tests of metadata services and the like: real sockets on 127.0.0.1,
// one thread, one request a connection, a function that answers.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bts3::testing {

struct small_request {
  std::string method;
  std::string target;                          // path and query, as they came
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  // Empty when absent.
  [[nodiscard]] std::string header(const std::string& name) const;
  // The value of a form field in the body, not decoded; empty when absent.
  [[nodiscard]] std::string field(const std::string& name) const;
};

struct small_answer {
  small_answer(int code, std::string text,
               std::vector<std::pair<std::string, std::string>> more = {})
      : status(code), body(std::move(text)), headers(std::move(more)) {}
  int status;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

class small_http_server {
 public:
  // Called on the server's thread, one request at a time.
  using handler = std::function<small_answer(const small_request&)>;
  explicit small_http_server(handler answer);
  ~small_http_server();
  small_http_server(const small_http_server&) = delete;
  small_http_server& operator=(const small_http_server&) = delete;

  [[nodiscard]] std::string url() const;  // "http://127.0.0.1:port"
  [[nodiscard]] std::vector<small_request> requests() const;
  // "METHOD target" of each, in order.
  [[nodiscard]] std::vector<std::string> lines() const;

 private:
  struct impl;
  std::unique_ptr<impl> _impl;
};

// A socket that is listened on and never answered: connecting works, and then nothing comes.
class silent_server {
 public:
  silent_server();
  ~silent_server();
  silent_server(const silent_server&) = delete;
  silent_server& operator=(const silent_server&) = delete;
  [[nodiscard]] std::string url() const;

 private:
  int _listener = -1;
  int _port = 0;
};

}  // namespace bts3::testing
