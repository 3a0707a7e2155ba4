// One connection: requests in, answers out, and what the script does to either.
#include "tests/support/scripted_s3/server_impl.hh"
#include "tests/support/scripted_s3/text.hh"

#include <openssl/err.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace bts3::testing {

using scripted::basic_time;
using scripted::failure;
using scripted::hex_digest;
using scripted::http_date;
using scripted::lower;
using scripted::number;

void scripted_s3_server::impl::serve(connection& self) {
  // OpenSSL writes without MSG_NOSIGNAL.
  sigset_t broken_pipe;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
  if (!self.tls || self.socket.handshake(tls_context)) {
    for (;;) {
      const std::string head = self.socket.read_head();
      recorded_request request;
      request.connection = self.id;
      request.tls = self.tls;
      if (head.empty() || !scripted::parse_head(head, request) || !exchange(self, request)) {
        break;
      }
    }
  }
  ERR_clear_error();
  self.socket.close();
  const std::lock_guard lock(mutex);
  self.ended = true;
  changed.notify_all();
}

void scripted_s3_server::impl::update(std::size_t index,
                                      const std::function<void(recorded_request&)>& change) {
  const std::lock_guard lock(mutex);
  if (index >= log_forgotten) {
    change(log[index - log_forgotten]);
  }
}

// Whose signature is no good any more, or made at another time.
std::optional<server_answer> scripted_s3_server::impl::refused_signature(
    const recorded_request& request) {
  const std::time_t signed_at = basic_time(request.header("x-amz-date"));
  if (judges_time && std::abs(signed_at - std::chrono::system_clock::to_time_t(now())) > 15 * 60) {
    return failure(403, "RequestTimeTooSkewed");
  }
  const std::string authorization = request.header("authorization");
  for (const auto& [id, refusal] : refused_keys) {
    if (authorization.find("Credential=" + id + '/') != std::string::npos) {
      return failure(refusal.status, refusal.code);
    }
  }
  return std::nullopt;
}

// What S3 refuses from the head alone.
std::optional<server_answer> scripted_s3_server::impl::early_refusal(
    const recorded_request& request) {
  if (request.header("authorization").empty()) {
    return failure(403, "AccessDenied");
  }
  const std::lock_guard lock(mutex);
  if (auto refusal = refused_signature(request)) {
    return refusal;
  }
  return store.early_refusal(request);
}

bool scripted_s3_server::impl::read_body(connection& self, const recorded_request& request,
                                         std::string& body, std::size_t limit,
                                         const scripted_action* action) {
  std::size_t declared = 0;
  const std::string length = request.header("content-length");
  std::from_chars(length.data(), length.data() + length.size(), declared);
  const std::size_t wanted = std::min(declared, limit);
  const bool slowly = action != nullptr && action->_kind == scripted_action::kind::read_slowly;
  const std::size_t piece_max = slowly ? action->_bytes : std::size_t{1} << 20;
  if (request.header("expect") == "100-continue" && wanted > 0 &&
      !self.socket.write("HTTP/1.1 100 Continue\r\n\r\n")) {
    return false;
  }
  body.reserve(wanted);
  std::vector<char> piece(std::min(piece_max, std::max<std::size_t>(wanted, 1)));
  while (body.size() < wanted) {
    const std::size_t got =
        self.socket.read(piece.data(), std::min(piece.size(), wanted - body.size()));
    if (got == 0) {
      return false;
    }
    body.append(piece.data(), got);
    if (slowly) {
      std::this_thread::sleep_for(action->_pause);
    }
  }
  return true;
}

bool scripted_s3_server::impl::send(connection& self, const recorded_request& request,
                                    server_answer answer, bool close,
                                    const scripted_action* action) {
  using kind = scripted_action::kind;
  const kind how = action != nullptr ? action->_kind : kind::answer;
  const bool head = request.method == "HEAD";
  const bool bodiless = head || answer.status == 204;
  std::string text = "HTTP/1.1 " + std::to_string(answer.status) + " Scripted\r\n";
  const auto has = [&answer](const char* name) {
    return std::any_of(answer.headers.begin(), answer.headers.end(),
                       [name](const auto& field) { return lower(field.first) == name; });
  };
  if (!has("date")) {
    answer.set("Date", http_date(std::chrono::system_clock::to_time_t(now())));
  }
  if (!has("content-length") && answer.status != 204) {
    answer.set("Content-Length", std::to_string(answer.body.size()));
  }
  if (action == nullptr || action->_of_the_store) {
    answer.set("x-amz-request-id", "4442587FB7D0A2F9");
    answer.set("Server", "ScriptedS3");
  }
  if (close) {
    answer.set("Connection", "close");
  }
  for (const auto& [name, value] : answer.headers) {
    text += name + ": " + value + "\r\n";
  }
  text += "\r\n";
  const std::string_view body = bodiless ? std::string_view() : std::string_view(answer.body);
  if (how == kind::answer_slowly) {
    const std::string all = text + std::string(body);
    for (std::size_t at = 0; at < all.size(); at += action->_bytes) {
      if (!self.socket.write(std::string_view(all).substr(at, action->_bytes))) {
        return false;
      }
      std::this_thread::sleep_for(action->_pause);
    }
  } else if (how == kind::cut_answer || how == kind::stall_in_answer) {
    self.socket.write(text);
    self.socket.write(body.substr(0, action->_bytes));
    if (how == kind::stall_in_answer) {
      stall();
    } else if (action->_reset) {
      self.socket.reset();
    }
    return false;
  } else {
    text.append(body);
    if (!self.socket.write(text)) {
      return false;
    }
  }
  if (close) {
    self.socket.linger();
  }
  return !close;
}

void scripted_s3_server::impl::stall() {
  std::unique_lock lock(mutex);
  const unsigned release = stall_releases;
  ++stalls_begun;
  changed.notify_all();
  changed.wait(lock, [&] { return stopping || stall_releases != release; });
}

// For that long.
void scripted_s3_server::impl::leave(std::chrono::milliseconds time) {
  const std::lock_guard lock(mutex);
  away = time;
  is_away = true;
  ::shutdown(http_listener, SHUT_RDWR);  // wakes accept()
  for (connection& other : connections) {
    other.socket.shut();
  }
}

// One request and its answer; false when the connection is over.
bool scripted_s3_server::impl::exchange(connection& self, recorded_request& request) {
  using kind = scripted_action::kind;
  std::size_t index = 0;
  std::optional<scripted_action> picked;
  {
    const std::lock_guard lock(mutex);
    if (is_away) {
      return false;
    }
    log.push_back(request);
    index = log_forgotten + log.size() - 1;
    picked = rules.pick(request);
  }
  const scripted_action* action = picked ? &*picked : nullptr;
  const auto is = [action](kind what) { return action != nullptr && action->_kind == what; };
  const auto answered = [&](int status) {
    update(index, [status](recorded_request& entry) { entry.status = status; });
  };
  if (is(kind::go_away)) {
    leave(action->_pause);
    return false;
  }
  if (is(kind::answer_before_body)) {
    answered(action->_answer.status);
    return send(self, request, action->_answer, true, nullptr);
  }
  if (is(kind::forget_upload)) {
    const std::lock_guard lock(mutex);
    store.forget_upload(request);
  }
  if (action == nullptr || is(kind::forget_upload)) {
    if (auto refusal = early_refusal(request)) {
      const bool has_body = number(request.header("content-length"), 0) > 0;
      answered(refusal->status);
      return send(self, request, std::move(*refusal), has_body, nullptr);
    }
  }

  const bool partly = is(kind::reset_after) || is(kind::stall_after);
  std::string body;
  const bool whole = read_body(self, request, body, partly ? action->_bytes : SIZE_MAX, action);
  request.body_bytes = body.size();
  request.body_sha256 = hex_digest("SHA256", body);
  update(index, [&request](recorded_request& entry) {
    entry.body_bytes = request.body_bytes;
    entry.body_sha256 = request.body_sha256;
  });
  if (partly || is(kind::stall_before_answer)) {
    if (is(kind::reset_after)) {
      self.socket.reset();
    } else {
      stall();
    }
    return false;
  }
  if (!whole) {
    return false;
  }
  if (is(kind::answer)) {
    answered(action->_answer.status);
    return send(self, request, action->_answer, false, action);
  }
  server_answer answer;
  {
    const std::lock_guard lock(mutex);
    answer = store.perform(request, std::move(body));
  }
  if (is(kind::perform_then_reset)) {
    self.socket.reset();
    return false;
  }
  if (is(kind::perform_then)) {
    action->_change(answer);
  }
  answered(answer.status);
  return send(self, request, std::move(answer), false, action);
}

}  // namespace bts3::testing
