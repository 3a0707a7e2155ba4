// What tests of the transport over libcurl share.
#pragma once

#include "tests/s3/http/wire_support.hh"

#include <string>
#include <thread>
#include <vector>

namespace bts3::testing {

inline constexpr std::size_t mebibyte = std::size_t{1} << 20;

inline s3::http_request put(const wire& net, const std::string& key, const std::string& body) {
  s3::http_request made = net.request("PUT", key);
  made.body = bytes_of(body);
  return made;
}

inline void check_network_error(const engine::result<s3::http_response>& answer) {
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().what_now == engine::disposition::retry));
  BOOST_TEST((answer.error().why == engine::reason::network));
}

inline void check_contains(const std::string& text, const std::string& part) {
  BOOST_TEST(text.find(part) != std::string::npos, "\"" << part << "\" is not in: " << text);
}

inline engine::task<void> perform_one(s3::curl_transport& transport, s3::http_request request,
                                      engine::stop_token stop, std::vector<int>& statuses) {
  auto performing = transport.perform(std::move(request), stop);
  auto answer = co_await std::move(performing);
  statuses.push_back(answer ? answer->status : -1);
}

inline engine::task<void> perform_all(wire& net, std::vector<s3::http_request> requests,
                                      std::vector<int>& statuses) {
  engine::async_scope scope(*net.loop);
  for (s3::http_request& request : requests) {
    scope.spawn(perform_one(*net.transport, std::move(request), {}, statuses));
  }
  co_await scope.join();
}

// Stops a request once the server has stalled it, the `nth` that it stalls.
inline engine::result<s3::http_response> stop_when_stalled(wire& net, s3::http_request request,
                                                           std::size_t nth = 1) {
  engine::stop_source stop;
  std::thread watcher([&net, &stop, nth] {
    const bool stalled = net.server.wait_for_stalls(nth);
    net.loop->post([&stop, stalled] {
      BOOST_TEST(stalled);
      stop.request_stop();
    });
  });
  auto answer = net.perform(std::move(request), stop.token());
  watcher.join();
  return answer;
}

}  // namespace bts3::testing
