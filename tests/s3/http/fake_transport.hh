// An http_transport without sockets: answers what the test put there, and keeps what was sent.
#pragma once

#include "engine/clock.hh"
#include "engine/reactor.hh"
#include "s3/http/http_transport.hh"
#include "tests/engine/support.hh"
#include "tests/support/gather.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::testing {

inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

struct sent_request {
  s3::http_request request;  // its body is not to be used
  std::string body;

  // The values of all headers of that name, joined by '|'; "(none)" without one.
  [[nodiscard]] std::string header(std::string_view name) const {
    std::string found = "(none)";
    for (const auto& [key, value] : request.headers) {
      if (key == name) {
        found = found == "(none)" ? value : found + "|" + value;
      }
    }
    return found;
  }
};

// From whoever it may be.
inline s3::http_response bare_answer(int status, s3::header_list headers = {},
                                     std::string body = {}) {
  s3::http_response made;
  made.status = status;
  made.headers = std::move(headers);
  made.body = std::move(body);
  return made;
}

// From an object store.
inline s3::http_response answer(int status, s3::header_list headers = {}, std::string body = {}) {
  headers.emplace_back("x-amz-request-id", "4442587FB7D0A2F9");
  return bare_answer(status, std::move(headers), std::move(body));
}

inline s3::http_response refusal(int status, const std::string& code,
                                 const std::string& message = "no", const std::string& more = {},
                                 s3::header_list headers = {}) {
  return answer(status, std::move(headers),
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" + code +
                    "</Code><Message>" + message + "</Message>" + more + "</Error>");
}

inline engine::error network_error() {
  engine::error failure;
  failure.what_now = engine::disposition::retry;
  failure.why = engine::reason::network;
  failure.message = "store.example: connection refused";
  return failure;
}

class fake_transport final : public s3::http_transport {
 public:
  using outcome = engine::result<s3::http_response>;

  explicit fake_transport(engine::reactor& loop) : _loop(loop) {}

  // The next answers, in order; used up one a request.
  void then(s3::http_response next) { _answers.emplace_back(std::move(next)); }
  void then(engine::error failure) { _answers.emplace_back(std::move(failure)); }
  // Instead: computes each answer.
  std::function<outcome(const sent_request&)> handler;

  std::vector<sent_request> sent;

  engine::task<outcome> perform(s3::http_request request, engine::stop_token stop) override {
    sent_request record;
    if (engine::body_source* source = request.body.source()) {
      auto gathering = gather(*source, stop);
      auto gathered = co_await std::move(gathering);
      if (!gathered) {
        co_return std::move(gathered.error());
      }
      record.body = std::move(*gathered);
    } else {
      const auto bytes = request.body.bytes();
      record.body.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    record.request = request;
    sent.push_back(record);
    auto yielding = _loop.yield();
    co_await std::move(yielding);
    if (stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    outcome next = answer_to(record);
    if (next && next->status / 100 == 2 && request.body_target) {
      BOOST_REQUIRE(next->body.size() <= request.body_target->size());
      std::memcpy(request.body_target->data(), next->body.data(), next->body.size());
      next->body_target_bytes = next->body.size();
      next->body.clear();
    }
    co_return next;
  }

 private:
  outcome answer_to(const sent_request& record) {
    if (handler) {
      return handler(record);
    }
    BOOST_REQUIRE_MESSAGE(!_answers.empty(),
                          "no answer left for " + record.request.method + " " + record.request.url);
    outcome next = std::move(_answers.front());
    _answers.pop_front();
    return next;
  }

  engine::reactor& _loop;
  std::deque<outcome> _answers;
};

class fixed_clock final : public engine::clock {
 public:
  explicit fixed_clock(std::time_t seconds)
      : time(std::chrono::system_clock::from_time_t(seconds)) {}
  [[nodiscard]] std::chrono::system_clock::time_point now() const override { return time; }
  std::chrono::system_clock::time_point time;
};

// 2013-05-24T00:00:00Z, the time of the S3 API Reference's worked examples.
inline constexpr std::time_t reference_time = 1'369'353'600;

// Keeps what was logged, a line an entry: "event key=value ...".
class line_log final : public engine::log_sink {
 public:
  using log_sink::write;
  void write(engine::log_level, std::string_view, std::string_view event,
             std::span<const engine::log_field> fields) override {
    std::string line(event);
    for (const auto& field : fields) {
      line += " " + std::string(field.key) + "=" + field.value;
    }
    lines.push_back(line);
    if (on_line) {
      on_line(line);
    }
  }
  [[nodiscard]] bool contains(std::string_view text) const {
    return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find(text) != std::string::npos;
    });
  }
  std::vector<std::string> lines;
  std::function<void(const std::string&)> on_line;
};

}  // namespace bts3::testing
