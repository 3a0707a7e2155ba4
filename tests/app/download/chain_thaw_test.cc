// Thawing a chain for a restore, over a memory store whose archives follow a clock that waiting
// moves.
#include "app/download/chain_thaw.hh"

#include "app/cli/exit_status.hh"
#include "app/restore/thaw_command.hh"
#include "app/text/progress.hh"
#include "planner/keys.hh"
#include "planner/pointer.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"
#include "tests/support/real_btrfs.hh"

#include <boost/test/unit_test.hpp>

#include <pty.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using namespace bts3::testing;
using engine::reason;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

memory_store_options rules_with(const engine::clock& clock) {
  memory_store_options rules;
  rules.clock = &clock;
  return rules;  // 12 hours
}

class scene {
 public:
  scene()
      : loop(engine::testing::make_reactor()),
        clock(reference_time),
        store(*loop, rules_with(clock)),
        with{*loop,
             log,
             clock,
             settings,
             bts3::testing::real_btrfs(),
             [](std::string_view) { return std::nullopt; },
             {}} {
    policy = thaw_policy_of(settings, std::nullopt, std::nullopt);
    policy.timeout = days(3);
    policy.sleep = [this](std::chrono::nanoseconds duration, engine::stop_token stop) {
      return nap(this, duration, stop);
    };
  }

  void add(const std::string& key, const std::string& stored_as, const std::string& archive = {}) {
    store.put(key, "body", stored_as, archive);
    keys.push_back(key);
  }
  // As a plan has just found them.
  std::vector<located_chunk> located() {
    std::vector<located_chunk> chunks;
    for (const std::string& key : keys) {
      located_chunk chunk;
      chunk.key = s3::object_key(key);
      chunk.record.key = key;
      chunk.record.size = 4;
      auto head = loop->run(store.head_object(chunk.key, {}));
      BOOST_REQUIRE_MESSAGE(head.has_value(), error_text(head));
      chunk.info = *head;
      chunks.push_back(std::move(chunk));
    }
    return chunks;
  }
  // A run of the program: new HEADs, a new thaw.
  engine::result<void> run() {
    chain_thaw thaw(with, store, "data", located(), policy);
    return loop->run(thaw.make_readable({}));
  }
  planned_thaw planned() {
    auto plan = loop->run(plan_thaw(with, store, located(), policy));
    BOOST_REQUIRE_MESSAGE(plan.has_value(), error_text(plan));
    return *plan;
  }
  engine::result<s3::text_object> read(const std::string& key) {
    return loop->run(store.get_object_text(s3::object_key(key), 100, {}));
  }
  [[nodiscard]] std::size_t requests() const { return store.count("RestoreObject"); }

  std::unique_ptr<engine::reactor> loop;
  fixed_clock clock;
  memory_store store;
  line_log log;
  config settings;
  services with;
  thaw_policy policy;
  std::vector<std::string> keys;
  std::size_t naps = 0;

 private:
  static engine::task<engine::result<void>> nap(scene* self, std::chrono::nanoseconds duration,
                                                engine::stop_token stop) {
    ++self->naps;
    self->clock.time += std::chrono::duration_cast<seconds>(duration);
    auto yielding = self->loop->yield();
    co_await std::move(yielding);
    if (stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    co_return engine::ok();
  }
};

// A full backup and an incremental onto it, a chunk each.
void publish(scene& one, const std::string& subvolume, const std::string& full_class,
             const std::string& incremental_class, std::size_t bytes = 4) {
  const planner::key_layout keys("p", subvolume);
  std::optional<std::string> parent;
  planner::pointer newest;
  for (const auto kind : {planner::backup_kind::full, planner::backup_kind::incremental}) {
    const bool full = kind == planner::backup_kind::full;
    const auto when = *planner::timestamp::parse(full ? "20130501T000000Z" : "20130502T000000Z");
    planner::manifest link;
    link.subvolume = subvolume;
    link.kind = kind;
    link.created_at = when;
    link.snapshot.name = link.snapshot.path = "/s";
    link.parent_manifest = parent;
    planner::chunk_record chunk;
    chunk.key = keys.chunk(kind, when, 0);
    chunk.size = link.total_bytes = link.chunk_size = bytes;
    chunk.sha256 = std::string(64, '0');
    link.chunks.push_back(chunk);
    link.storage_class = "GLACIER";
    one.store.put(chunk.key, std::string(bytes, 'b'), full ? full_class : incremental_class);
    parent = newest.manifest_key = keys.manifest(kind, when);
    newest.kind = kind;
    newest.created_at = when;
    one.store.put(*parent, planner::write_manifest(link));
  }
  one.store.put(keys.pointer(), planner::write_pointer(newest));
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

engine::task<void> notice(chain_thaw* thaw, std::uint64_t seen,
                          std::vector<engine::result<void>>* outcomes) {
  auto thawing = thaw->again(seen, {});
  auto thawed = co_await std::move(thawing);
  outcomes->push_back(std::move(thawed));
}

engine::task<void> notice_together(scene* one, chain_thaw* thaw,
                                   std::vector<engine::result<void>>* outcomes) {
  engine::async_scope scope(*one->loop);
  const std::uint64_t seen = thaw->age();
  for (int i = 0; i < 4; ++i) {
    scope.spawn(notice(thaw, seen, outcomes));
  }
  auto joining = scope.join();
  co_await std::move(joining);
}

// Four downloads that are refused at the same time.
std::vector<engine::result<void>> all_notice(scene& one, chain_thaw& thaw) {
  std::vector<engine::result<void>> outcomes;
  one.loop->run(notice_together(&one, &thaw, &outcomes));
  BOOST_TEST(outcomes.size() == 4u);
  return outcomes;
}

// With --download-rate.
thaw_policy asked_for(const config& settings,
                      std::optional<std::uint64_t> download_rate = std::nullopt) {
  return thaw_policy_of(settings, std::nullopt, download_rate);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(chain_thaw_suite)

BOOST_AUTO_TEST_CASE(copies_live_until_everything_can_have_been_read) {
  const thaw_policy policy = asked_for(config());
  BOOST_TEST(policy.bytes_per_sec == 10'000'000u);
  BOOST_TEST(days_to_live(policy, 0, hours(12)) == 7u);
  // 10 TB at 10 MB/s are 11.6 days, and 12 hours before them: 13 begun days, and one.
  BOOST_TEST(days_to_live(policy, 10'000'000'000'000, hours(12)) == 14u);
  BOOST_TEST(days_to_live(policy, ~std::uint64_t{0}, hours(12)) <= 36'500u);
  // 86.4 MB/s carry 7.5 TB a day: a day, half a day before it, and one.
  BOOST_TEST(days_to_live(asked_for(config(), 86'400'000), 86'400 * std::uint64_t{86'400'000},
                          hours(12)) == 7u);
  BOOST_TEST(days_to_live(asked_for(config(), 86'400'000), 10 * 86'400 * std::uint64_t{86'400'000},
                          hours(12)) == 12u);
  config stated;
  stated.restore.download_bytes_per_sec = 50'000'000;
  BOOST_TEST(asked_for(stated).bytes_per_sec == 50'000'000u);
  BOOST_TEST((asked_for(stated).rate_from == rate_source::stated));
  BOOST_TEST(asked_for(stated, 7'000'000).bytes_per_sec == 7'000'000u);
  stated.s3.max_bandwidth_bytes_per_sec = 20'000'000;
  BOOST_TEST(asked_for(stated).bytes_per_sec == 20'000'000u);
  BOOST_TEST((asked_for(stated).rate_from == rate_source::limited));
  BOOST_TEST(asked_for(stated, 1'000'000).bytes_per_sec == 1'000'000u);
  config slow;
  slow.s3.max_bandwidth_bytes_per_sec = 1'000'000;
  BOOST_TEST(days_to_live(asked_for(slow), 1'000'000'000'000, hours(12)) == 14u);
}

// Several chains are thawed together and read one after another.
BOOST_AUTO_TEST_CASE(copies_of_a_later_chain_outlive_the_download_of_the_earlier_ones) {
  thaw_policy behind = asked_for(config());
  behind.bytes_before = 10'000'000'000'000;  // 11.6 days at 10 MB/s
  BOOST_TEST(days_to_live(behind, 0, hours(12)) == 14u);
  BOOST_TEST(days_to_live(behind, 10'000'000'000'000, hours(12)) == 25u);
  scene one;
  one.add("glacier", "GLACIER");
  one.policy.bytes_before = 10'000'000'000'000;
  BOOST_TEST(one.planned().days == 13u);  // 5 hours at most
  BOOST_TEST(one.planned().in_turn);
  BOOST_REQUIRE(one.run().has_value());
  BOOST_TEST(one.log.contains("tier=Standard days=13 "));
  one.clock.time += days(11);
  BOOST_TEST(one.read("glacier").has_value());
  // A copy that would not live that long is kept longer, if nothing else has to be asked for.
  BOOST_TEST(one.planned().total().to_extend == 1u);
  one.policy.bytes_before = 0;  // it is its turn
  BOOST_TEST(one.planned().classes.empty());
  // Days that were set are taken as they are, and told when they are too few.
  scene two;
  two.add("glacier", "GLACIER");
  two.policy.days = 9;
  two.policy.bytes_before = 10'000'000'000'000;
  BOOST_REQUIRE(two.run().has_value());
  BOOST_TEST(two.log.contains("thaw_days_may_not_suffice days=9"));
}

BOOST_AUTO_TEST_CASE(what_is_in_no_archive_costs_nothing) {
  scene one;
  one.add("a", "STANDARD");
  one.add("b", "GLACIER_IR");
  one.policy.timeout = seconds(0);
  const auto done = one.run();
  BOOST_TEST(done.has_value(), error_text(done));
  BOOST_TEST(one.requests() == 0u);
  BOOST_TEST(one.store.count("HeadObject") == 2u);  // located()'s
  BOOST_TEST(one.planned().classes.empty());
}

BOOST_AUTO_TEST_CASE(mixed_classes_are_requested_at_once_and_waited_for) {
  scene one;
  one.add("standard", "STANDARD");
  one.add("glacier", "GLACIER");
  one.add("deep", "DEEP_ARCHIVE");
  one.add("tiered", "INTELLIGENT_TIERING", "ARCHIVE_ACCESS");
  BOOST_TEST(!one.read("deep").has_value());
  const auto done = one.run();
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST(one.requests() == 3u);
  BOOST_TEST(one.naps > 0u);
  BOOST_TEST(one.log.contains("thaw_needed subvolume=data to_request=3"));
  BOOST_TEST(one.log.contains("thawed subvolume=data objects=4 requested=3"));
  for (const std::string& key : one.keys) {
    BOOST_TEST(one.read(key).has_value(), key);
  }
  // All requests came before the first waiting.
  const auto& lines = one.log.lines;
  BOOST_TEST(has(lines.at(1), "thaw_requested objects=4 readable=1 ready=0 thawing=3"), lines[1]);
}

BOOST_AUTO_TEST_CASE(the_deadline_is_exit_status_5_and_a_rerun_goes_on) {
  scene one;
  one.add("glacier", "GLACIER");
  one.add("deep", "DEEP_ARCHIVE");
  one.policy.timeout = hours(6);
  const auto late = one.run();
  BOOST_REQUIRE(!late.has_value());
  BOOST_TEST((late.error().why == reason::not_thawed));
  BOOST_TEST((status_of(late.error()) == exit_status::not_thawed));
  const std::string text = late.error().text();
  BOOST_TEST(has(text, "2 objects of 2, 8 B, cannot be read yet: 2 requested now"), text);
  BOOST_TEST(has(text, "waited 21600 s"), text);
  BOOST_TEST(has(text, "run the same command again later, it continues from here"), text);
  BOOST_TEST(has(text, "Standard retrievals are typically ready within 12 hours"), text);
  BOOST_TEST(one.requests() == 2u);
  // The rerun asks for nothing again, and ends when they are there.
  const auto done = one.run();
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST(one.requests() == 2u);
  BOOST_TEST(one.log.contains("to_request=0 bytes_to_request=0 in_progress=2"));
  const auto now_ready = one.run();
  BOOST_TEST(now_ready.has_value(), error_text(now_ready));
  BOOST_TEST(one.requests() == 2u);
}

BOOST_AUTO_TEST_CASE(without_waiting_it_requests_and_says_at_once_what_is_missing) {
  scene one;
  one.add("ready", "GLACIER");
  BOOST_REQUIRE(one.run().has_value());
  const std::size_t naps = one.naps;
  one.policy.timeout = seconds(0);
  BOOST_TEST(one.run().has_value());  // downloads what is ready
  one.add("deep", "DEEP_ARCHIVE");
  for (int round = 0; round < 2; ++round) {
    const auto missing = one.run();
    BOOST_REQUIRE(!missing.has_value());
    BOOST_TEST((status_of(missing.error()) == exit_status::not_thawed));
    const std::string text = missing.error().text();
    BOOST_TEST(has(text, "1 object of 2, 4 B"), text);
    BOOST_TEST(has(text, "first: deep"), text);
    BOOST_TEST(!has(text, "waited"), text);
    BOOST_TEST(one.requests() == 2u);
  }
  BOOST_TEST(one.naps == naps);
}

BOOST_AUTO_TEST_CASE(surveying_for_a_plan_requests_nothing) {
  scene one;
  one.add("glacier", "GLACIER");
  one.add("deep", "DEEP_ARCHIVE");
  one.add("standard", "STANDARD");
  one.policy.tier = s3::retrieval_tier::expedited;
  const planned_thaw plan = one.planned();
  BOOST_TEST(one.requests() == 0u);
  BOOST_TEST(one.store.count("HeadObject") == 3u);  // located()'s
  BOOST_TEST(plan.classes.size() == 2u);
  BOOST_TEST(plan.classes.at("GLACIER").offered);
  BOOST_TEST(!plan.classes.at("DEEP_ARCHIVE").offered);
  BOOST_TEST(plan.total().to_request == 2u);
  BOOST_TEST(plan.days == 7u);
  // And the request that would be refused is an error before any other is made.
  const auto refused = one.run();
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST((refused.error().why == reason::configuration));
  BOOST_TEST(one.requests() == 0u);
}

BOOST_AUTO_TEST_CASE(days_that_were_set_are_taken_as_they_are) {
  scene one;
  one.add("deep", "DEEP_ARCHIVE");
  one.policy.days = 1;
  one.policy.bytes_per_sec = 1;  // four seconds
  auto done = one.run();
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST(!one.log.contains("thaw_days_may_not_suffice"));
  scene two;
  two.add("deep", "DEEP_ARCHIVE");
  two.policy.tier = s3::retrieval_tier::bulk;  // 48 hours
  two.policy.days = 1;
  done = two.run();
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST(two.log.contains("thaw_days_may_not_suffice days=1 estimated_hours=48"));
}

BOOST_AUTO_TEST_CASE(a_copy_that_expired_is_thawed_again_for_all_who_noticed) {
  scene one;
  one.add("read", "GLACIER");
  one.add("half", "GLACIER");
  one.add("unread", "DEEP_ARCHIVE");
  chain_thaw thaw(one.with, one.store, "data", one.located(), one.policy);
  BOOST_REQUIRE(one.loop->run(thaw.make_readable({})).has_value());
  BOOST_TEST(one.requests() == 3u);
  thaw.chunk_done();
  one.clock.time += days(30);
  BOOST_TEST(!one.read("half").has_value());
  const std::uint64_t seen = thaw.age();
  for (const auto& outcome : all_notice(one, thaw)) {
    BOOST_TEST(outcome.has_value(), error_text(outcome));
  }
  BOOST_TEST(one.requests() == 5u);  // not for what has been read
  BOOST_TEST(one.read("half").has_value());
  BOOST_TEST(one.read("unread").has_value());
  BOOST_TEST(!one.read("read").has_value());
  // Who noticed before that thaw has nothing to ask for.
  BOOST_TEST(one.loop->run(thaw.again(seen, {})).has_value());
  BOOST_TEST(one.requests() == 5u);
}

BOOST_AUTO_TEST_CASE(a_second_thaw_goes_by_the_rate_that_the_download_had) {
  scene one;
  one.add("read", "GLACIER");
  one.add("unread", "GLACIER");
  chain_thaw thaw(one.with, one.store, "data", one.located(), one.policy);
  BOOST_REQUIRE(one.loop->run(thaw.make_readable({})).has_value());
  BOOST_TEST((thaw.waited() >= hours(12)));
  const auto waited = thaw.waited();
  thaw.chunk_done();
  thaw.has_read(std::uint64_t{30 * 86'400} * 3);
  one.clock.time += days(30);
  BOOST_REQUIRE(one.loop->run(thaw.again(thaw.age(), {})).has_value());
  BOOST_TEST(one.log.contains("bytes_per_second=3 rate=measured"));
  BOOST_TEST((thaw.waited() >= waited + hours(12)));
  // Ten minutes are the least that a rate is believed of, and what is read counts from each thaw
  // on.
  scene two;
  two.add("unread", "GLACIER");
  chain_thaw brief(two.with, two.store, "data", two.located(), two.policy);
  BOOST_REQUIRE(two.loop->run(brief.make_readable({})).has_value());
  brief.has_read(1000);
  two.clock.time += minutes(9);
  BOOST_REQUIRE(two.loop->run(brief.again(brief.age(), {})).has_value());
  BOOST_TEST(two.log.contains("bytes_per_second=10000000 rate=assumed"));
}

BOOST_AUTO_TEST_CASE(waiting_shows_what_is_ready_and_for_how_long_on_a_terminal_and_in_the_log) {
  int master = -1;
  int terminal = -1;
  BOOST_REQUIRE(::openpty(&master, &terminal, nullptr, nullptr, nullptr) == 0);
  std::string drawn;
  std::thread reader([&drawn, master] {
    char piece[4096];
    for (ssize_t count = 0; (count = ::read(master, piece, sizeof piece)) > 0;) {
      drawn.append(piece, static_cast<std::size_t>(count));
    }
  });
  {
    scene one;
    live_line line(terminal);
    const services with{*one.loop,    one.log,       one.clock,
                        one.settings, one.with.host, one.with.environment,
                        {},           &line};
    one.add("near", "GLACIER");
    one.add("far", "STANDARD");
    chain_thaw thaw(with, one.store, "data", one.located(), one.policy);
    auto ready = one.loop->run(thaw.make_readable({}));
    BOOST_TEST(ready.has_value(), error_text(ready));
    BOOST_TEST(one.log.contains("waited_seconds=30"));
  }
  ::close(terminal);
  reader.join();
  ::close(master);
  BOOST_TEST(has(drawn, "\rthawing data: 1 of 2 objects can be read, waited 0 s\x1b[K"), drawn);
  BOOST_TEST(has(drawn, "\rthawing data: 1 of 2 objects can be read, waited 30 s\x1b[K"), drawn);
  BOOST_TEST(has(drawn, "2 of 2 objects can be read, waited 12 h 0"), drawn);
  BOOST_TEST(drawn.ends_with("\r\x1b[K"));
}

BOOST_AUTO_TEST_CASE(a_copy_that_cannot_be_had_again_in_time_ends_the_restore_for_all) {
  scene one;
  one.add("deep", "DEEP_ARCHIVE");
  BOOST_REQUIRE(one.run().has_value());
  one.policy.timeout = seconds(0);
  chain_thaw thaw(one.with, one.store, "data", one.located(), one.policy);
  BOOST_REQUIRE(one.loop->run(thaw.make_readable({})).has_value());
  one.clock.time += days(30);
  engine::stop_source stop;
  stop.request_stop();
  auto stopped = one.loop->run(thaw.again(thaw.age(), stop.token()));
  BOOST_REQUIRE(!stopped.has_value());
  BOOST_TEST((stopped.error().what_now == engine::disposition::cancelled));
  for (const auto& outcome : all_notice(one, thaw)) {
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_TEST((outcome.error().why == reason::not_thawed), error_text(outcome));
  }
  BOOST_TEST(one.requests() == 2u);
}

BOOST_AUTO_TEST_CASE(the_command_requests_whole_chains_and_exits_5_until_they_are_there) {
  scene one;
  one.settings.s3.prefix = "p";
  publish(one, "data", "DEEP_ARCHIVE", "GLACIER");
  publish(one, "home", "STANDARD", "STANDARD");
  thaw_command command;
  const auto thaw = [&](std::vector<std::string> names) {
    return one.loop->run(thaw_subvolumes(one.with, one.store, command, std::move(names)));
  };
  command.dry_run = true;
  auto status = thaw({"data"});
  BOOST_REQUIRE_MESSAGE(status.has_value(), error_text(status));
  BOOST_TEST((*status == exit_status::not_thawed));
  BOOST_TEST(one.requests() == 0u);
  command.dry_run = false;
  status = thaw({"home"});
  BOOST_TEST((status.value() == exit_status::done));
  for (int round = 0; round < 2; ++round) {
    status = thaw({"data", "home"});
    BOOST_TEST((status.value() == exit_status::not_thawed));
    BOOST_TEST(one.requests() == 2u);
  }
  BOOST_TEST(one.naps == 0u);
  one.clock.time += hours(13);
  status = thaw({"data", "home"});
  BOOST_TEST((status.value() == exit_status::done));
  BOOST_TEST(one.requests() == 2u);
  // One of several that fails stops no other; the only one does.
  one.clock.time += days(30);
  status = thaw({"absent", "data"});
  BOOST_TEST((status.value() == exit_status::partly));
  BOOST_TEST(one.requests() == 4u);
  status = thaw({"absent"});
  BOOST_REQUIRE(!status.has_value());
  BOOST_TEST(has(status.error().text(), "there is no backup of subvolume \"absent\""));
  command.manifest_key = "p/subvol/data/full/manifest-20130501T000000Z.json";
  one.clock.time += days(30);
  status = thaw({"data"});
  BOOST_TEST((status.value() == exit_status::not_thawed));
  BOOST_TEST(one.requests() == 5u);  // the full alone
}

BOOST_AUTO_TEST_CASE(the_command_counts_what_is_read_before_a_subvolume) {
  scene one;
  one.settings.s3.prefix = "p";
  publish(one, "data", "GLACIER", "GLACIER", 5 * 86'400);
  publish(one, "home", "GLACIER", "GLACIER", 5 * 86'400);
  thaw_command command;
  command.download_rate = 1;  // ten days for each chain
  BOOST_REQUIRE(
      one.loop->run(thaw_subvolumes(one.with, one.store, command, {"data", "home"})).has_value());
  std::map<std::string, std::chrono::system_clock::time_point> expires;
  for (const auto& [key, object] : one.store.objects()) {
    if (object.restored) {
      expires[key] = object.restored->expires;
    }
  }
  BOOST_REQUIRE(expires.size() == 4u);
  const std::string chunk = "/full/chunk-20130501T000000Z-0.bin";
  const auto longer = expires.at("p/subvol/home" + chunk) - expires.at("p/subvol/data" + chunk);
  BOOST_TEST((longer == days(10)));
}

BOOST_AUTO_TEST_SUITE_END()
