// The state file: what was read can be written, and reads as the same.
#include "app/records/state_store.hh"

#include "tests/fuzz/input.hh"
#include "tests/fuzz/local_file.hh"

using namespace bts3;

namespace {

class no_log final : public engine::log_sink {
 public:
  using engine::log_sink::write;
  void write(engine::log_level, std::string_view, std::string_view,
             std::span<const engine::log_field>) override {}
};

}  // namespace

FUZZ(one) {
  static const fuzz::local_file file("state.json");
  static const engine::system_clock_source clock;
  static no_log log;
  file.hold(one.text());
  app::state_store store(file.path(), clock, log);
  const auto damaged = store.is_damaged();
  const auto read = store.peek();
  if (!read || !damaged || *damaged) {
    return;
  }
  one.accepted();
  BTS3_ASSERT(store.save(*read));
  const auto again = store.load();
  BTS3_ASSERT(again && again->subvolumes.size() == read->subvolumes.size());
  BTS3_ASSERT(again->last_run_at == read->last_run_at);
}
