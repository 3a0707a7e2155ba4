// Pointers: what is read can be written, and reads as the same.
#include "planner/pointer.hh"

#include "tests/fuzz/input.hh"

using namespace bts3::planner;

FUZZ(one) {
  const auto read = parse_pointer(one.text());
  if (!read) {
    return;
  }
  one.accepted();
  const auto again = parse_pointer(write_pointer(*read));
  BTS3_ASSERT(again && again->manifest_key == read->manifest_key && again->kind == read->kind);
  BTS3_ASSERT(again->created_at == read->created_at);
}
