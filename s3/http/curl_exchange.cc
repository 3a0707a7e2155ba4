#include "s3/http/curl_exchange.hh"

#include "engine/assert.hh"
#include "engine/secret_string.hh"
#include "s3/http/ascii_text.hh"
#include "s3/http/web_page.hh"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <string_view>

namespace bts3::s3 {

namespace {

using clock = std::chrono::steady_clock;

// All header lines of an answer together. S3 sends below 2 KiB besides user metadata (2 KiB).
constexpr std::size_t response_header_bytes_max = 64 * 1024;

// Until the limit allows more; it is resumed from the timer, in turn.
void hold_back(curl_exchange& work, limited_direction& which) {
  work.paused = true;
  ++work.counters->pauses;
  if (!std::exchange(work.held_back, true)) {
    which.held_back.push_back(&work);
  }
  which.allows = std::min(which.allows, which.limit.next(clock::now()));
}

// Whether these bytes may be taken now. libcurl hands out 16 KiB at most, so a turn is overdrawn
// by little; the limit counts it all.
bool may_receive(curl_exchange& work, std::size_t bytes) {
  limited_direction& which = *work.receiving;
  if (!which.limit.limited()) {
    return true;
  }
  const clock::time_point now = clock::now();
  if (work.turn_bytes == 0) {
    if (!which.held_back.empty() || which.limit.next(now) > now) {
      hold_back(work, which);
      return false;
    }
    work.turn_bytes = which.limit.portion();
  }
  work.turn_bytes -= std::min(work.turn_bytes, bytes);
  which.limit.spend(bytes, now);
  return true;
}

std::size_t take_fetched(curl_exchange& work, char* into, std::size_t room) {
  if (work.source_failure) {
    return CURL_READFUNC_ABORT;
  }
  std::size_t taken = 0;
  while (taken < room && !work.fetched.empty()) {
    curl_exchange::block& first = work.fetched.front();
    const std::size_t bytes = std::min(room - taken, first.rest.size());
    std::memcpy(into + taken, first.rest.data(), bytes);
    first.rest = first.rest.subspan(bytes);
    taken += bytes;
    if (first.rest.empty()) {
      work.free_buffers.push_back(first.buffer);
      work.fetched.pop_front();
      work.buffer_freed.set();
    }
  }
  if (taken == 0 && work.body_bytes_taken < work.request.body.size()) {
    work.paused = true;
    ++work.counters->pauses;
    return CURL_READFUNC_PAUSE;
  }
  return taken;
}

}  // namespace

curl_exchange::~curl_exchange() {
  BTS3_ASSERT(easy == nullptr);
  // A token is sent as a header: there it is written down twice.
  for (const curl_slist* line = headers; line != nullptr; line = line->next) {
    engine::wipe(std::as_writable_bytes(std::span(line->data, std::strlen(line->data))));
  }
  curl_slist_free_all(headers);
  for (auto& [name, value] : request.headers) {
    engine::wipe(value);
  }
  if (request.secret_answer) {
    engine::wipe(response.body);
  }
}

std::size_t curl_exchange::on_read(char* into, std::size_t size, std::size_t count, void* owner) {
  auto& work = *static_cast<curl_exchange*>(owner);
  std::size_t taken = 0;
  std::size_t room = size * count;
  if (const std::uint64_t left = work.request.body.size() - work.body_bytes_taken; left > 0) {
    room = work.sending->limit.take(static_cast<std::size_t>(std::min<std::uint64_t>(room, left)),
                                    clock::now());
    if (room == 0) {
      hold_back(work, *work.sending);
      return CURL_READFUNC_PAUSE;
    }
  }
  if (work.request.body.source() != nullptr) {
    taken = take_fetched(work, into, room);
    const bool none = taken == CURL_READFUNC_PAUSE || taken == CURL_READFUNC_ABORT;
    work.sending->limit.give_back(room - (none ? 0 : taken));
    if (none) {
      return taken;
    }
  } else {
    const auto rest = work.request.body.bytes().subspan(work.body_bytes_taken);
    taken = std::min(room, rest.size());
    if (taken > 0) {
      std::memcpy(into, rest.data(), taken);
    }
  }
  work.body_bytes_taken += taken;
  work.bytes_moved += taken;
  work.counters->body_bytes_sent += taken;
  return taken;
}

int curl_exchange::on_seek(void* owner, curl_off_t offset, int origin) {
  auto& work = *static_cast<curl_exchange*>(owner);
  if (origin != SEEK_SET || offset < 0 ||
      static_cast<std::uint64_t>(offset) > work.request.body.size()) {
    return CURL_SEEKFUNC_FAIL;
  }
  if (work.request.body.source() != nullptr &&
      static_cast<std::size_t>(offset) != work.body_bytes_taken) {
    ++work.starts;
    for (const curl_exchange::block& dropped : work.fetched) {
      work.free_buffers.push_back(dropped.buffer);
    }
    work.fetched.clear();
    work.fetch_offset = static_cast<std::uint64_t>(offset);
    work.buffer_freed.set();
  }
  work.body_bytes_taken = static_cast<std::size_t>(offset);
  return CURL_SEEKFUNC_OK;
}

std::size_t curl_exchange::on_header(const char* data, std::size_t size, std::size_t count,
                                     void* owner) {
  auto& work = *static_cast<curl_exchange*>(owner);
  const std::string_view line(data, size * count);
  work.bytes_moved += line.size();
  work.header_bytes += line.size();
  if (work.header_bytes > response_header_bytes_max) {
    work.broken_rule = "the answer's headers are longer than 64 KiB";
    work.malformed = true;
    return 0;
  }
  if (line.starts_with("HTTP/")) {
    // A new answer: the one before was a 100 Continue or the like.
    work.response = http_response();
    if (const std::size_t blank = line.find(' '); blank != std::string_view::npos) {
      const std::string_view number = line.substr(blank + 1);
      std::from_chars(number.data(), number.data() + number.size(), work.response.status);
    }
  } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    const std::string_view value = trimmed(line.substr(colon + 1));
    // RFC 9110, section 5.5: such a field is dangerous, and its message may be refused.
    if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
      work.broken_rule = "a header of the answer has a line end in it";
      work.malformed = true;
      return 0;
    }
    work.response.headers.emplace_back(lower_case(trimmed(line.substr(0, colon))),
                                       std::string(value));
  } else if (trimmed(line).empty() && work.response.status >= 200) {
    work.answered = work.paused;
  }
  return line.size();
}

std::size_t curl_exchange::on_body(const char* data, std::size_t size, std::size_t count,
                                   void* owner) {
  auto& work = *static_cast<curl_exchange*>(owner);
  http_response& response = work.response;
  const std::size_t bytes = size * count;
  const bool wanted =
      work.request.body_target && response.status / 100 == 2 && !says_html(response);
  if (wanted && !may_receive(work, bytes)) {
    return CURL_WRITEFUNC_PAUSE;
  }
  work.bytes_moved += bytes;
  work.body_bytes_got += bytes;
  work.counters->body_bytes_received += bytes;
  if (wanted) {
    const std::span<std::byte> target = *work.request.body_target;
    if (bytes > target.size() - response.body_target_bytes) {
      work.broken_rule =
          "the answer is longer than the " + std::to_string(target.size()) + " bytes asked for";
      return 0;
    }
    if (bytes > 0) {
      std::memcpy(target.data() + response.body_target_bytes, data, bytes);
    }
    response.body_target_bytes += bytes;
    return bytes;
  }
  if (bytes > work.request.collected_body_bytes_max - response.body.size()) {
    work.broken_rule = "the answer is longer than " +
                       std::to_string(work.request.collected_body_bytes_max) + " bytes";
    return 0;
  }
  if (work.request.secret_answer) {
    response.body.reserve(work.request.collected_body_bytes_max);
  }
  response.body.append(data, bytes);
  return bytes;
}

}  // namespace bts3::s3
