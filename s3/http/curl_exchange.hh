// One perform() of curl_transport, as libcurl's callbacks see it: they take the request's body from
// it and put the answer into it, and record what is to be done. They never call libcurl, and resume
// nobody.
//
// Lives in the coroutine's frame. `easy` is libcurl's while the exchange is under way, null before
// and after. Secrets in headers and, where the request says so, in the answer are wiped at its end.
#pragma once

#include "engine/error.hh"
#include "engine/event.hh"
#include "engine/reactor.hh"
#include "engine/stop.hh"
#include "s3/http/curl_options.hh"
#include "s3/http/http_transport.hh"
#include "s3/http/limited_direction.hh"
#include "s3/http/progress_watch.hh"

#include <curl/curl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bts3::s3 {

struct curl_exchange {
  curl_exchange(engine::reactor& loop, http_request what)
      : request(std::move(what)), done(loop, "an answer of the store"), buffer_freed(loop) {}
  curl_exchange(const curl_exchange&) = delete;
  curl_exchange& operator=(const curl_exchange&) = delete;
  ~curl_exchange();

  http_request request;
  engine::event done;
  http_response response;
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  transfer_counters* counters = nullptr;
  limited_direction* sending = nullptr;
  limited_direction* receiving = nullptr;

  std::size_t body_bytes_taken = 0;
  std::size_t header_bytes = 0;
  std::string broken_rule;  // why a callback ended the exchange
  bool malformed = false;  // and whether its answer is none, rather than another than was asked for
  std::array<char, CURL_ERROR_SIZE> curl_text{};
  CURLcode code = CURLE_OK;
  const proxy_server* through = nullptr;
  bool finished = false;
  bool stalled = false;
  std::string stall_text;  // why it was cut

  int socket = -1;                // the one libcurl last waited for on behalf of this exchange
  std::uint64_t bytes_moved = 0;  // to and from libcurl
  std::uint64_t body_bytes_got = 0;
  std::optional<progress_watch> progress;  // since start()

  // A body that comes from a source: what feed() has fetched and libcurl not taken, in order.
  struct block {
    unsigned buffer;
    std::span<const std::byte> rest;
  };
  std::deque<block> fetched;
  std::vector<unsigned> free_buffers;
  std::uint64_t fetch_offset = 0;
  unsigned starts = 0;  // how often libcurl began anew; fetches from before are dropped
  bool paused = false;
  bool answered = false;       // an answer came while it was paused
  bool held_back = false;      // waits for its turn under a limit
  std::size_t turn_bytes = 0;  // that it may still receive in this turn
  std::optional<engine::error> source_failure;
  engine::event buffer_freed;  // there may be something to fetch
  engine::stop_source feed_stop;

  // What libcurl calls; `owner` is the exchange.
  static std::size_t on_read(char* into, std::size_t size, std::size_t count, void* owner);
  // libcurl rewinds when it repeats a request on a new connection by itself.
  static int on_seek(void* owner, curl_off_t offset, int origin);
  static std::size_t on_header(const char* data, std::size_t size, std::size_t count, void* owner);
  static std::size_t on_body(const char* data, std::size_t size, std::size_t count, void* owner);
};

}  // namespace bts3::s3
