#include "tests/support/scripted_s3/request.hh"

#include "tests/support/scripted_s3/text.hh"

#include <algorithm>

namespace bts3::testing {

std::string recorded_request::header(const std::string& name) const {
  return scripted::value_of(headers, name);
}

namespace scripted {

namespace {

s3_verb verb_of(const recorded_request& request) {
  const std::string& method = request.method;
  if (request.key.empty()) {
    if (method == "HEAD") {
      return s3_verb::head_bucket;
    }
    if (method == "GET") {
      return request.has_query("uploads") ? s3_verb::list_uploads : s3_verb::list_objects;
    }
    return s3_verb::other;
  }
  const bool upload = request.has_query("uploadId");
  if (method == "PUT") {
    return upload ? s3_verb::upload_part : s3_verb::put_object;
  }
  if (method == "GET") {
    return upload ? s3_verb::list_parts : s3_verb::get_object;
  }
  if (method == "HEAD") {
    return s3_verb::head_object;
  }
  if (method == "DELETE") {
    return upload ? s3_verb::abort_upload : s3_verb::delete_object;
  }
  if (method == "POST") {
    if (request.has_query("uploads")) {
      return s3_verb::create_upload;
    }
    if (upload) {
      return s3_verb::complete_upload;
    }
    if (request.has_query("restore")) {
      return s3_verb::restore_object;
    }
  }
  return s3_verb::other;
}

void split_target(recorded_request& request) {
  const std::size_t mark = request.target.find('?');
  std::string_view path = std::string_view(request.target).substr(0, mark);
  path.remove_prefix(path.starts_with('/') ? 1 : 0);
  const std::size_t slash = path.find('/');
  request.bucket = decoded(path.substr(0, slash));
  request.key = slash == std::string_view::npos ? "" : decoded(path.substr(slash + 1));
  if (mark == std::string::npos) {
    return;
  }
  std::string_view query = std::string_view(request.target).substr(mark + 1);
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    request.query[decoded(pair.substr(0, equals))] =
        equals == std::string_view::npos ? "" : decoded(pair.substr(equals + 1));
  }
}

}  // namespace

std::string value_of(const std::map<std::string, std::string>& from, const std::string& name) {
  const auto found = from.find(name);
  return found != from.end() ? found->second : std::string();
}

bool parse_head(std::string_view head, recorded_request& request) {
  std::size_t end = head.find("\r\n");
  const std::string_view line = head.substr(0, end);
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || last <= first) {
    return false;
  }
  request.method = line.substr(0, first);
  request.target = line.substr(first + 1, last - first - 1);
  while (end != std::string_view::npos) {
    head.remove_prefix(end + 2);
    end = head.find("\r\n");
    const std::string_view field = head.substr(0, end);
    const std::size_t colon = field.find(':');
    if (colon != std::string_view::npos) {
      std::string_view value = field.substr(colon + 1);
      value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
      request.headers[lower(std::string(field.substr(0, colon)))] = value;
    }
  }
  split_target(request);
  request.verb = verb_of(request);
  return true;
}

}  // namespace scripted

}  // namespace bts3::testing
