// Manifests: what is read can be written, and reads as the same.
#include "planner/manifest.hh"

#include "tests/fuzz/input.hh"

using namespace bts3::planner;

FUZZ(one) {
  const auto read = parse_manifest(one.text());
  if (!read) {
    return;
  }
  one.accepted();
  const std::string written = write_manifest(*read);
  const auto again = parse_manifest(written);
  BTS3_ASSERT(again);
  BTS3_ASSERT(write_manifest(*again) == written);
}
