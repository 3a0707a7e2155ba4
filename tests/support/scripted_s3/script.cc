#include "tests/support/scripted_s3/script.hh"

#include "tests/support/scripted_s3/text.hh"

#include <cstring>
#include <utility>

namespace bts3::testing {

using scripted::failure;

scripted_action scripted_action::answer(int status, std::string code, server_headers headers) {
  scripted_action made(kind::answer);
  made._answer = failure(status, code, std::move(headers));
  return made;
}
scripted_action scripted_action::page(int status) {
  scripted_action made(kind::answer);
  made._of_the_store = false;
  made._answer.status = status;
  made._answer.set("Content-Type", "text/html");
  made._answer.body = "<html><head><title>Refused</title></head><body>nginx</body></html>";
  return made;
}
scripted_action scripted_action::answer_before_body(int status, std::string code,
                                                    server_headers headers) {
  scripted_action made(kind::answer_before_body);
  made._answer = failure(status, code, std::move(headers));
  return made;
}
scripted_action scripted_action::reset_after(std::size_t body_bytes) {
  scripted_action made(kind::reset_after);
  made._bytes = body_bytes;
  return made;
}
scripted_action scripted_action::perform_then_reset() {
  return scripted_action(kind::perform_then_reset);
}
scripted_action scripted_action::perform_then(std::function<void(server_answer&)> change) {
  scripted_action made(kind::perform_then);
  made._change = std::move(change);
  return made;
}
scripted_action scripted_action::stall_after(std::size_t body_bytes) {
  scripted_action made(kind::stall_after);
  made._bytes = body_bytes;
  return made;
}
scripted_action scripted_action::stall_before_answer() {
  return scripted_action(kind::stall_before_answer);
}
scripted_action scripted_action::stall_in_answer(std::size_t body_bytes) {
  scripted_action made(kind::stall_in_answer);
  made._bytes = body_bytes;
  return made;
}
scripted_action scripted_action::read_slowly(std::size_t piece_bytes,
                                             std::chrono::milliseconds pause) {
  scripted_action made(kind::read_slowly);
  made._bytes = piece_bytes;
  made._pause = pause;
  return made;
}
scripted_action scripted_action::go_away(std::chrono::milliseconds time) {
  scripted_action made(kind::go_away);
  made._pause = time;
  return made;
}

scripted_action scripted_action::answer_slowly(std::size_t piece_bytes,
                                               std::chrono::milliseconds pause) {
  scripted_action made(kind::answer_slowly);
  made._bytes = piece_bytes;
  made._pause = pause;
  return made;
}
scripted_action scripted_action::cut_answer(std::size_t body_bytes, bool reset) {
  scripted_action made(kind::cut_answer);
  made._bytes = body_bytes;
  made._reset = reset;
  return made;
}
scripted_action scripted_action::error_in_200(std::string code) {
  scripted_action made = answer(200, std::move(code));
  // S3 sends the declaration at once and blanks while it works, to keep the connection alive.
  made._answer.body.insert(std::strlen(scripted::xml_declaration), "   \n");
  return made;
}
scripted_action scripted_action::forget_upload() {
  return scripted_action(kind::forget_upload);
}
scripted_action scripted_action::perform_then_no_such_upload() {
  return perform_then([](server_answer& answer) { answer = failure(404, "NoSuchUpload"); });
}

namespace scripted {

namespace {

bool matches(const request_match& match, const recorded_request& request) {
  return (match.verb == s3_verb::any || match.verb == request.verb) &&
         request.key.find(match.key_contains) != std::string::npos &&
         (match.query_key.empty() || request.has_query(match.query_key)) &&
         (match.query_value.empty() ||
          value_of(request.query, match.query_key) == match.query_value) &&
         (match.header.empty() ||
          (request.headers.contains(match.header) &&
           request.header(match.header).find(match.header_contains) != std::string::npos));
}

}  // namespace

void script::add(request_match match, scripted_action action) {
  _rules.push_back(rule{std::move(match), std::move(action)});
}

std::optional<scripted_action> script::pick(const recorded_request& request) {
  std::optional<scripted_action> chosen;
  for (rule& candidate : _rules) {
    const request_match& match = candidate.match;
    if (!matches(match, request)) {
      continue;
    }
    ++candidate.seen;
    if (!chosen && candidate.seen >= match.nth &&
        (match.times == 0 || candidate.seen < match.nth + match.times)) {
      chosen = candidate.action;
    }
  }
  return chosen;
}

}  // namespace scripted

}  // namespace bts3::testing
