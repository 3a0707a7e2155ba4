// Answers of S3.
#include "s3/verbs/xml.hh"

#include "tests/fuzz/input.hh"

using namespace bts3::s3;

FUZZ(one) {
  const auto text = one.text();
  bool valid = parse_error(text).has_value();
  std::optional<error_document> failure;
  valid = parse_create_upload(text).has_value() || valid;
  valid = parse_complete_upload(text, failure).has_value() || valid;
  valid = parse_listing(text).has_value() || valid;
  valid = parse_parts(text).has_value() || valid;
  valid = parse_uploads(text).has_value() || valid;
  valid = parse_attributes(text).has_value() || valid;
  if (valid) {
    one.accepted();
  }
}
