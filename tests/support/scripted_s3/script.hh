// What makes the server misbehave at a chosen request.
#pragma once

#include "tests/support/scripted_s3/answer.hh"
#include "tests/support/scripted_s3/request.hh"

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace bts3::testing {

// Which requests a rule is for.
struct request_match {
  request_match() = default;
  request_match(s3_verb which) : verb(which) {}
  request_match(s3_verb which, unsigned first, unsigned how_often)
      : verb(which), nth(first), times(how_often) {}

  s3_verb verb = s3_verb::any;
  std::string key_contains;
  std::string query_key;    // must be present, when named
  std::string query_value;  // and have this value, when given
  std::string header;       // likewise, in lower case
  std::string header_contains;
  unsigned nth = 1;    // the first matching request that it is for, from 1
  unsigned times = 1;  // how many in a row; 0: all that follow
};

// What happens to a request instead of, or after, being performed.
class scripted_action {
 public:
  // An answer with an S3 error body; the request's body has been read, nothing was performed.
  static scripted_action answer(int status, std::string code, server_headers headers = {});
  // A page of a web server that stands before the store: HTML, and nothing that a store sends.
  static scripted_action page(int status);
  // The same as answer() before the body is read; the connection is closed afterwards, as S3 does.
  static scripted_action answer_before_body(int status, std::string code,
                                            server_headers headers = {});
  // The connection is reset after that many bytes of the request's body; nothing was performed.
  static scripted_action reset_after(std::size_t body_bytes);
  // Performed, and the connection reset instead of an answer.
  static scripted_action perform_then_reset();
  // Performed, and the answer changed before it goes out.
  static scripted_action perform_then(std::function<void(server_answer&)> change);
  // Reads that many bytes of the request's body and then nothing, until released.
  static scripted_action stall_after(std::size_t body_bytes);
  // Reads everything and never answers, until released.
  static scripted_action stall_before_answer();
  // Performed; sends the head and that many bytes of the answer's body and then nothing.
  static scripted_action stall_in_answer(std::size_t body_bytes);
  // Reads the request's body in pieces with pauses between them, and performs it.
  static scripted_action read_slowly(std::size_t piece_bytes, std::chrono::milliseconds pause);
  // Performed; the answer goes out in pieces with pauses between them.
  static scripted_action answer_slowly(std::size_t piece_bytes, std::chrono::milliseconds pause);
  // Performed; the answer promises its whole length, and the connection is closed (or reset)
  // after that many bytes of its body.
  static scripted_action cut_answer(std::size_t body_bytes, bool reset = false);
  // 200, an XML declaration, and an error document: what S3 does when Complete fails late.
  static scripted_action error_in_200(std::string code);
  // The upload that the request names vanishes first; then it is performed.
  static scripted_action forget_upload();
  // The server goes away for that long: every connection breaks, new ones to the plain port are
  // refused. Nothing was performed.
  static scripted_action go_away(std::chrono::milliseconds time);
  // The object comes into being as if Complete had succeeded, and the answer is NoSuchUpload: what
  // a client sees that lost the first answer.
  static scripted_action perform_then_no_such_upload();

 private:
  friend class scripted_s3_server;
  enum class kind {
    answer,
    answer_before_body,
    reset_after,
    perform_then_reset,
    perform_then,
    stall_after,
    stall_before_answer,
    stall_in_answer,
    read_slowly,
    answer_slowly,
    cut_answer,
    forget_upload,
    go_away,
  };
  explicit scripted_action(kind what) : _kind(what) {}
  kind _kind;
  server_answer _answer;
  std::size_t _bytes = 0;
  std::chrono::milliseconds _pause{0};
  bool _reset = false;
  bool _of_the_store = true;  // with the headers that stores send
  std::function<void(server_answer&)> _change;
};

namespace scripted {

// The rules, in the order in which they came.
class script {
 public:
  void add(request_match match, scripted_action action);
  void clear() { _rules.clear(); }
  // Of the first rule that claims this request; all that match count it.
  [[nodiscard]] std::optional<scripted_action> pick(const recorded_request& request);

 private:
  struct rule {
    request_match match;
    scripted_action action;
    unsigned seen = 0;
  };
  std::vector<rule> _rules;
};

}  // namespace scripted

}  // namespace bts3::testing
