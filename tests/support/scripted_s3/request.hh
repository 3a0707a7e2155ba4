// A request as it came, and what it asks for.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace bts3::testing {

enum class s3_verb {
  any,  // in a match: every verb
  put_object,
  get_object,
  head_object,
  delete_object,
  restore_object,
  list_objects,
  head_bucket,
  create_upload,
  upload_part,
  complete_upload,
  abort_upload,
  list_parts,
  list_uploads,
  other,
};

struct recorded_request {
  s3_verb verb = s3_verb::other;
  unsigned connection = 0;  // from 1, in the order of accepting
  bool tls = false;
  std::string method;
  std::string target;                          // as it came: path and query, percent-encoded
  std::string bucket;                          // decoded
  std::string key;                             // decoded
  std::map<std::string, std::string> query;    // decoded
  std::map<std::string, std::string> headers;  // names in lower case
  std::size_t body_bytes = 0;                  // that arrived
  std::string body_sha256;                     // hex, of what arrived
  int status = 0;                              // answered; 0 while or when none was

  [[nodiscard]] bool has_query(const std::string& name) const { return query.contains(name); }
  // Empty when absent.
  [[nodiscard]] std::string header(const std::string& name) const;
};

namespace scripted {

// Of the lines of a head without its empty one; false when they are no request.
[[nodiscard]] bool parse_head(std::string_view head, recorded_request& request);

// Empty when absent.
[[nodiscard]] std::string value_of(const std::map<std::string, std::string>& from,
                                   const std::string& name);

}  // namespace scripted

}  // namespace bts3::testing
