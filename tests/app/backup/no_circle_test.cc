// Whatever the parts, slots, turns and places: no run waits for itself.
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/scripted_s3_server.hh"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::testing;

namespace {

constexpr std::size_t part = backup_rig::part_bytes;

// What a run may be short of.
struct shape {
  std::int64_t parallel = 1;
  std::int64_t concurrency = 1;
  std::uint64_t memory_parts = 0;  // 0: no limit
  std::uint64_t spool_parts = 0;   // 0: no spool
  std::vector<std::size_t> streams;

  [[nodiscard]] std::string text() const {
    std::string made = std::to_string(parallel) + "/" + std::to_string(concurrency) + " memory " +
                       std::to_string(memory_parts) + " spool " + std::to_string(spool_parts) +
                       " streams";
    for (const std::size_t bytes : streams) {
      made += " " + std::to_string(bytes);
    }
    return made;
  }
};

// "done", or what became of the run.
std::string outcome_of(const shape& of) {
  backup_rig rig;
  rig.shared_loop = std::move(*engine::reactor::create());
  memory_store store(*rig.shared_loop);
  rig.tuning.store = &store;
  rig.settings.global.parallel_subvolumes = of.parallel;
  rig.settings.s3.concurrency = of.concurrency;
  if (of.memory_parts > 0) {
    rig.settings.global.memory_limit_bytes = app::other_memory_bytes + of.memory_parts * part;
  }
  rig.settings.s3.spool_enabled = of.spool_parts > 0;
  rig.settings.global.spool_size_bytes = of.spool_parts * part;
  rig.settings.subvolumes.clear();
  for (std::size_t number = 0; number < of.streams.size(); ++number) {
    const std::string name = "v" + std::to_string(number);
    const std::string path = rig.place / name.c_str();
    rig.disk.add_subvolume(path);
    rig.disk.streams_of_sources[path] = send_stream(of.streams[number]);
    rig.settings.subvolumes.push_back({name, path});
  }
  std::string outcome = rig.run_text();
  for (const std::string& left : rig.left) {
    outcome += ", left: " + left;
  }
  if (outcome == "done" && store.count("PutObject") < 2 * of.streams.size()) {
    outcome = "not everything was published";
  }
  return outcome;
}

// Of every stream the same size, and one run of all sizes beside each other.
std::vector<std::vector<std::size_t>> stream_sizes(std::size_t count) {
  const std::size_t least = 74;  // of send_stream()
  const std::vector<std::size_t> sizes = {least, part, 3 * part + part / 2};
  std::vector<std::vector<std::size_t>> all;
  for (const std::size_t bytes : sizes) {
    all.emplace_back(count, bytes);
  }
  std::vector<std::size_t> mixed;
  while (mixed.size() < count) {
    mixed.push_back(sizes[(mixed.size() * 2 + 1) % sizes.size()]);
  }
  all.push_back(std::move(mixed));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(no_circle)

// The default size of parts and as many short streams as there are slots, and more.
BOOST_AUTO_TEST_CASE(more_short_streams_than_slots_end) {
  const std::vector<std::pair<std::int64_t, std::int64_t>> shapes = {{5, 4}, {8, 4}, {4, 3},
                                                                     {2, 1}, {4, 4}, {2, 2}};
  for (const auto& [parallel, concurrency] : shapes) {
    shape one;
    one.parallel = parallel;
    one.concurrency = concurrency;
    one.streams.assign(static_cast<std::size_t>(parallel), part / 2);
    BOOST_TEST(outcome_of(one) == "done", one.text());
  }
  shape little_memory;
  little_memory.parallel = 2;
  little_memory.concurrency = 4;
  little_memory.memory_parts = 2;
  little_memory.streams = {part / 2, part / 2};
  BOOST_TEST(outcome_of(little_memory) == "done");
}

BOOST_AUTO_TEST_CASE(every_product_of_small_limits_ends) {
  for (const std::int64_t parallel : {2, 4}) {
    for (const std::int64_t concurrency : {1, 3}) {
      // Without a spool memory is short, with one places are.
      for (const auto& [memory, spool] :
           std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0, 0}, {2, 0}, {0, 1}}) {
        for (auto& streams : stream_sizes(static_cast<std::size_t>(parallel) + 1)) {
          shape one;
          one.parallel = parallel;
          one.concurrency = concurrency;
          one.memory_parts = memory;
          one.spool_parts = spool;
          one.streams = streams;
          BOOST_TEST(outcome_of(one) == "done", one.text());
        }
      }
    }
  }
}

// Turns that are never given back: a circle of the simplest kind.
BOOST_AUTO_TEST_CASE(a_run_that_waits_for_itself_ends_and_says_for_what) {
  backup_rig rig;
  rig.shared_loop = std::move(*engine::reactor::create());
  memory_store store(*rig.shared_loop);
  rig.tuning.store = &store;
  rig.standstill = engine::standstill_limits{std::chrono::milliseconds(100), 5};
  store.judge_by([&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    if (call.verb == "UploadPart" && !rig.log.contains("standstill")) {
      rig.job->budget()->in_flight.take_out(2);
    }
    return std::nullopt;
  });
  const std::string outcome = rig.run_text();
  store.judge_by({});
  BOOST_TEST(outcome.find("the run waits for itself (") != std::string::npos, outcome);
  BOOST_TEST(outcome.find("for a turn to upload") != std::string::npos, outcome);
  BOOST_TEST(outcome.find("report it") != std::string::npos, outcome);
  BOOST_TEST(rig.left.empty());
  // What was acknowledged is kept, and the next run goes on with it.
  BOOST_TEST(rig.journal_text() != "none");
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.log.contains("action=resume"));
}

// A store that answers later than a run may stand still, and a sender that is as slow.
BOOST_AUTO_TEST_CASE(a_slow_store_and_a_slow_sender_are_no_standstill) {
  scripted_s3_options options;
  options.enforce_part_minimum = false;
  scripted_s3_server server(options);
  server.script(s3_verb::upload_part, scripted_action::read_slowly(backup_rig::part_bytes / 4,
                                                                   std::chrono::milliseconds(80)));
  server.script(s3_verb::list_objects,
                scripted_action::answer_slowly(100, std::chrono::milliseconds(80)));
  server.script(s3_verb::create_upload, scripted_action::answer(503, "SlowDown"));
  backup_rig rig;
  rig.settings.s3.endpoint_url = server.url();
  rig.tuning.retries.backoff_first = std::chrono::milliseconds(200);
  rig.tuning.retries.backoff_max = std::chrono::milliseconds(200);
  rig.disk.afterwards = "sleep 0.2";
  rig.standstill = engine::standstill_limits{std::chrono::milliseconds(40), 4};
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(!rig.log.contains("standstill"));
}

BOOST_AUTO_TEST_SUITE_END()
