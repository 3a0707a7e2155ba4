// Journals: what is torn off counts as not written, and never as something else.
#include "app/records/journal_codec.hh"

#include "tests/fuzz/input.hh"

using namespace bts3::app;

FUZZ(one) {
  const auto text = one.text();
  const auto subject = subject_of_journal(text);
  const auto read = parse_journal(text, "state.data.journal");
  if (!read || !*read) {
    return;
  }
  one.accepted();
  BTS3_ASSERT(subject.has_value());
  // Of a line that is not whole nothing is known.
  const std::size_t last = text.rfind('\n');
  const auto shorter = parse_journal(text.substr(0, last + 1), "state.data.journal");
  BTS3_ASSERT(shorter && *shorter);
}
