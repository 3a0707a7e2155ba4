// Shared by the tests that speak HTTP with the scripted server.
#pragma once

#include "engine/async_scope.hh"
#include "engine/reactor.hh"
#include "s3/http/curl_transport.hh"
#include "tests/engine/support.hh"
#include "tests/support/scripted_s3_server.hh"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <cstddef>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>

namespace bts3::testing {

inline std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string random_text(std::size_t bytes, unsigned seed = 1) {
  std::mt19937_64 source(seed);
  std::string text(bytes, '\0');
  for (std::size_t at = 0; at < bytes; ++at) {
    if (at % 8 == 0 && at + 8 <= bytes) {
      const std::uint64_t eight = source();
      std::char_traits<char>::copy(text.data() + at, reinterpret_cast<const char*>(&eight), 8);
      at += 7;
    } else {
      text[at] = static_cast<char>(source());
    }
  }
  return text;
}

// A scripted server, a reactor and a transport, torn down in the right order; the teardown checks
// that nothing is left in the ring.
class wire {
 public:
  explicit wire(scripted_s3_options server_options = {}, s3::curl_options options = {})
      : server(std::move(server_options)), loop(engine::testing::make_reactor()) {
    // As the program does: OpenSSL writes without MSG_NOSIGNAL.
    std::signal(SIGPIPE, SIG_IGN);
    auto made = s3::curl_transport::create(*loop, std::move(options));
    BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
    transport = std::move(*made);
  }
  ~wire() {
    loop->run(transport->close());
    transport.reset();
    BOOST_TEST(loop->operations_in_flight() == 0U);
  }
  wire(const wire&) = delete;
  wire& operator=(const wire&) = delete;

  // A request for /bucket/`key` that carries an Authorization header.
  [[nodiscard]] s3::http_request request(std::string method, const std::string& key) const {
    s3::http_request made(std::move(method), server.url() + "/bucket/" + key);
    made.headers.emplace_back("Authorization", "test");
    return made;
  }

  engine::result<s3::http_response> perform(s3::http_request what, engine::stop_token stop = {}) {
    return loop->run(transport->perform(std::move(what), stop));
  }

  scripted_s3_server server;
  std::unique_ptr<engine::reactor> loop;
  std::unique_ptr<s3::curl_transport> transport;
};

}  // namespace bts3::testing
