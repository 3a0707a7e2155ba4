// Documents with credentials, the shared files of AWS, times.
#include "s3/credentials/credentials.hh"
#include "s3/credentials/credential_document.hh"
#include "tests/fuzz/input.hh"

using namespace bts3::s3;

FUZZ(one) {
  bool valid = false;
  for (const auto dialect : {credential_dialect::process, credential_dialect::metadata}) {
    if (const auto read = parse_credential_document(one.text(), dialect, "somewhere")) {
      valid = true;
      BTS3_ASSERT(!read->access_key_id.empty());
    }
  }
  valid = parse_iso8601(one.text()).has_value() || valid;
  valid = !parse_profiles(one.text()).empty() || valid;
  if (valid) {
    one.accepted();
  }
}
