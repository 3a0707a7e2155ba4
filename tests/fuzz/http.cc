// Heads of answers: dates, states of archives, whose the answer is. The input is lines "name:
// value", an empty line, a body.
#include "s3/http/clock_correction.hh"
#include "s3/http/percent_encoding.hh"
#include "s3/http/proxy.hh"
#include "s3/verbs/archive_status.hh"
#include "s3/verbs/foreign_answer.hh"
#include "tests/fuzz/input.hh"

using namespace bts3;
using namespace bts3::s3;

FUZZ(one) {
  http_response answer;
  answer.status = 404;
  std::string_view rest = one.text();
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.empty()) {
      break;
    }
    const std::size_t colon = line.find(": ");
    answer.headers.emplace_back(line.substr(0, colon),
                                colon == std::string_view::npos ? "" : line.substr(colon + 2));
  }
  answer.body = rest;
  bool valid = http_date(answer.header("date").value_or("")).has_value();
  for (const auto kind : {answer_kind::object, answer_kind::document, answer_kind::nothing}) {
    for (const int status : {200, 302, 403, 404, 429, 503}) {
      answer.status = status;
      if (const auto somebody = foreign_answer(answer, "GET", kind)) {
        (void)foreign_error(answer, "https://host", *somebody);
      }
    }
  }
  object_info info;
  info.restore = answer.header("x-amz-restore").value_or("");
  info.archive_status = answer.header("x-amz-archive-status").value_or("");
  info.stored_as = storage_class(std::string(answer.header("x-amz-storage-class").value_or("")));
  valid = archive_status_of(object_key("a/key"), info, {}).has_value() && valid;
  (void)parse_proxy(engine::wording("proxy"), std::string(one.text()));
  (void)uri_encode(one.text(), true);
  if (valid) {
    one.accepted();
  }
}
