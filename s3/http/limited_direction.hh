// A limit of rate in one direction, and the exchanges that wait for their turn under it.
#pragma once

#include "s3/http/rate_limit.hh"

#include <chrono>
#include <cstdint>
#include <deque>

namespace bts3::s3 {

struct curl_exchange;

struct limited_direction {
  using time_point = std::chrono::steady_clock::time_point;
  explicit limited_direction(std::uint64_t bytes_per_second) : limit(bytes_per_second) {}
  rate_limit limit;
  std::deque<curl_exchange*> held_back;   // whoever waits longest first
  time_point allows = time_point::max();  // the next of them
};

}  // namespace bts3::s3
