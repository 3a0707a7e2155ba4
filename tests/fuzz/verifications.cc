// The record of verifications: what was read can be written, and reads as the same.
#include "app/records/verify_record.hh"

#include "tests/fuzz/input.hh"
#include "tests/fuzz/local_file.hh"

using namespace bts3;

// For place_of(), which nothing here calls: the real one would bring all of S3 along.
std::string app::configured_endpoint(const services& /*with*/) {
  engine::assertion_failed("nothing asks for a place", __FILE__, __LINE__);
}

FUZZ(one) {
  static const fuzz::local_file file("state.verified.json");
  static const std::string state = file.beside("state.json");
  file.hold(one.text());
  const auto read = app::read_verify_record(state);
  if (!read) {
    return;
  }
  one.accepted();
  for (const auto& [name, found] : read->subvolumes) {
    (void)app::summary_of(found);
  }
  BTS3_ASSERT(app::write_verify_record(state, *read));
  const auto again = app::read_verify_record(state);
  BTS3_ASSERT(again && again->subvolumes.size() == read->subvolumes.size());
}
