// One HTTP exchange, as the S3 client needs it: the interface, so that the client can be tested
// without sockets. curl_transport is the real one.
#pragma once

#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/http/request_body.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::s3 {

using header_list = std::vector<std::pair<std::string, std::string>>;

// Everything needed for one attempt. Has constructors on purpose: g++ 12 mishandles aggregate
// temporaries inside co_await expressions.
struct http_request {
  http_request() = default;
  http_request(std::string method_name, std::string address)
      : method(std::move(method_name)), url(std::move(address)) {}

  std::string method;
  std::string url;  // absolute, already percent-encoded; sent as it is
  // Sent as given; Host and Content-Length come from the transport, which adds nothing else but
  // Expect: 100-continue for large bodies. {"Expect", ""} keeps it from doing that.
  header_list headers;
  // Sent as the body of PUT and POST. Bytes and sources belong to the caller and stay untouched
  // until perform() has returned, also when it was stopped. A source is read from its start at
  // every perform(), and by one at a time.
  request_body body;
  // When set, a 2xx body is written here; a body longer than this is a protocol error.
  // Otherwise, for every other status, and when it says that it is HTML, it is collected in
  // http_response::body.
  std::optional<std::span<std::byte>> body_target;
  std::size_t collected_body_bytes_max = 64 * 1024 * 1024;
  // The answer has secrets in it: it is collected in memory that is reserved at once, so that no
  // shorter copy is left behind, and the caller wipes it.
  bool secret_answer = false;
  bool fresh_connection = false;  // do not reuse a pooled connection (after a failed attempt)
  // Never through a proxy: what is asked belongs to this machine, as the metadata service of an
  // instance does, and what it answers is a secret.
  bool direct = false;
  // No byte in either direction for this long: the exchange is cut, disposition retry. Time in
  // which the body's source has nothing to send does not count.
  std::chrono::milliseconds stall_timeout{60'000};
  // The exchange as a whole may take this long and a second more for each KiB of the answer: for
  // questions, whose answers are small. Without it a minimum rate holds (curl_options::crawl_...).
  std::optional<std::chrono::milliseconds> deadline;
};

struct http_response {
  int status = 0;
  header_list headers;  // names in lower case, values trimmed
  std::string body;     // what was collected; empty when body_target took it
  std::size_t body_target_bytes = 0;
  std::string proxy;  // what it came through, "http://host:port (https_proxy)"; empty: nothing

  // The first header of that (lower-case) name, or nullopt.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) {
        return value;
      }
    }
    return std::nullopt;
  }
};

class http_transport {
 public:
  virtual ~http_transport() = default;
  // One exchange, no retries, except that anything but a POST may be sent again when a pooled
  // connection turns out to be dead before the first byte of an answer. A complete answer of any
  // status is a value; an error means that no usable answer arrived (reason network: DNS, refused,
  // TLS, reset, stall, truncated), and its message names host and cause; that the request is none
  // (a header with a line end in it, an endless address); or that the body's source failed (its own
  // error). Resumes from the reactor's
  // run queue. `stop` ends it at once, with `cancelled`; the request's spans are no longer touched
  // after that.
  virtual engine::task<engine::result<http_response>> perform(http_request request,
                                                              engine::stop_token stop) = 0;
};

}  // namespace bts3::s3
