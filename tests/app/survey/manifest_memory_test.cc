// What manifests may take of memory, whoever reads them and however large they are in the bucket.
#include "app/store/commands.hh"
#include "app/store/manifest_turns.hh"
#include "app/survey/catalogue.hh"
#include "app/survey/chosen_backup.hh"
#include "app/survey/inventory.hh"
#include "app/survey/observer.hh"
#include "app/upkeep/verify_job.hh"
#include "engine/async_scope.hh"
#include "planner/manifest.hh"
#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_backups;
using bts3::testing::error_text;

namespace {

constexpr std::uint64_t mib = 1024 * 1024;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Who reads, in the order in which they got their turns, and how many at most at once.
struct readers {
  std::vector<std::size_t> order;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_max = 0;
  std::size_t now = 0;
  std::size_t most = 0;
};

engine::task<void> read_one(engine::reactor& loop, manifest_turns& turns, readers& all,
                            std::size_t number, std::uint64_t bytes) {
  auto waiting = turns.acquire(bytes, {});
  const auto turn = co_await std::move(waiting);
  BOOST_REQUIRE(turn.has_value());
  all.order.push_back(number);
  all.bytes += bytes;
  all.most = std::max(all.most, ++all.now);
  all.bytes_max = std::max(all.bytes_max, all.bytes);
  for (int step = 0; step < 3; ++step) {
    auto yielding = loop.yield();
    co_await std::move(yielding);
  }
  all.bytes -= bytes;
  --all.now;
}

engine::task<void> read_all(engine::reactor& loop, readers& all, std::vector<std::uint64_t> sizes) {
  manifest_turns turns(loop);
  engine::async_scope scope(loop);
  for (std::size_t number = 0; number < sizes.size(); ++number) {
    scope.spawn(read_one(loop, turns, all, number, sizes[number]));
  }
  auto joining = scope.join();
  co_await std::move(joining);
}

readers readers_of(std::vector<std::uint64_t> sizes) {
  auto loop = engine::testing::make_reactor();
  readers all;
  loop->run(read_all(*loop, all, std::move(sizes)));
  return all;
}

// A full, whose manifest has grown to `bytes` by blanks, which JSON does not mind.
struct scene : bucket_of_backups {
  explicit scene(std::uint64_t bytes) {
    chain = add_generation({20, 13});
    std::string body = store.find(chain[0])->body;
    body.resize(bytes, ' ');
    store.put(chain[0], body);
  }
  void allow(std::uint64_t bytes) { settings.global.memory_limit_bytes = 4 * bytes; }

  std::string listed() {
    catalogue_request request(settings.s3.prefix, "data", manifest_bound::of_host(settings));
    const auto all = loop->run(read_catalogue(*loop, store, std::move(request), {}));
    BOOST_REQUIRE_MESSAGE(all.has_value(), error_text(all));
    // What it is, nobody knows: it lies about.
    std::string details;
    for (const stray_object& one : all->subvolumes.at(0).strays) {
      details += one.key == chain[0] ? one.detail : "";
    }
    return details;
  }
  std::string inventoried() {
    inventory_request wanted(settings.s3.prefix, "data", manifest_bound::of_host(settings),
                             doubt::fails);
    const auto all = loop->run(read_subvolume(*loop, store, std::move(wanted), {}));
    BOOST_REQUIRE_MESSAGE(all.has_value(), error_text(all));
    const manifest_finding& found = all->manifests.at(chain[0]);
    return found.value ? "read" : found.problem;
  }
  std::string chosen() {
    wanted_backup wanted;
    wanted.subvolume = "data";
    const auto found = loop->run(find_chain(with, store, wanted));
    return found ? std::to_string(found->size()) + " links" : found.error().text();
  }

  std::vector<std::string> chain;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(manifest_memory_suite)

BOOST_AUTO_TEST_CASE(twelve_mebibytes_of_manifests_are_read_at_once) {
  const readers small = readers_of(std::vector<std::uint64_t>(40, 1000));
  BOOST_TEST(small.most == 12U);
  const readers middling = readers_of(std::vector<std::uint64_t>(40, 3 * mib - 1));
  BOOST_TEST(middling.most == 4U);
  BOOST_TEST(middling.bytes_max <= 12 * mib);
  const readers just_above = readers_of(std::vector<std::uint64_t>(40, mib));
  BOOST_TEST(just_above.most == 6U);
}

BOOST_AUTO_TEST_CASE(one_that_is_larger_than_all_is_read_alone_and_is_not_passed_for_ever) {
  std::vector<std::uint64_t> sizes(30, 1000);
  sizes[5] = 700 * mib;
  const readers all = readers_of(sizes);
  BOOST_TEST(all.bytes_max == 700 * mib);
  for (std::size_t place = 0; place < all.order.size(); ++place) {
    BOOST_TEST(all.order[place] == place);
  }
  const readers two = readers_of({20 * mib, 30 * mib, 1000});
  BOOST_TEST(two.bytes_max == 30 * mib);
}

BOOST_AUTO_TEST_CASE(the_bound_is_a_quarter_of_the_limit_and_no_more_than_a_manifest_can_have) {
  config settings;
  settings.global.memory_limit_bytes = 100 * mib;
  BOOST_TEST(manifest_bound::of_host(settings).bytes_max == 25 * mib);
  settings.global.memory_limit_bytes = std::uint64_t{1} << 60;
  BOOST_TEST(manifest_bound::of_host(settings).bytes_max == planner::manifest_bytes_max);
  settings.global.memory_limit_bytes.reset();  // half of the host's
  const std::uint64_t of_host = manifest_bound::of_host(settings).bytes_max;
  BOOST_TEST(of_host > 0U);
  BOOST_TEST(of_host <= planner::manifest_bytes_max);
}

BOOST_AUTO_TEST_CASE(every_reader_refuses_what_is_larger_and_says_what_to_raise) {
  scene made(3 * mib);
  made.allow(2 * mib);
  for (const std::string& text : {made.listed(), made.inventoried(), made.chosen()}) {
    BOOST_TEST(has(text, "it has 3.0 MiB"), text);
    BOOST_TEST(has(text, "more than 2.0 MiB are not read here"), text);
    BOOST_TEST(has(text, "set global.memory_limit_bytes = \"12MiB\" or more"), text);
  }
  BOOST_TEST(has(made.chosen(), "manifest " + made.chain[0] + ": "));
  // What the remedy says is enough.
  made.allow(3 * mib);
  BOOST_TEST(!has(made.listed(), "global.memory_limit_bytes"));
  BOOST_TEST(made.inventoried() == "read");
  BOOST_TEST(made.chosen() == "2 links");
}

// The bound is not what a listing or a HEAD says, but what comes.
BOOST_AUTO_TEST_CASE(one_that_is_larger_than_listed_is_not_read_either) {
  scene made(3 * mib);
  made.allow(4 * mib);
  bool grown = false;
  made.store.judge_by(
      [&](const bts3::testing::memory_store::recorded_call& call) -> std::optional<engine::error> {
        if (call.verb == "GetObject" && call.key == made.chain[0] && !std::exchange(grown, true)) {
          std::string body = made.store.find(made.chain[0])->body;
          body.resize(9 * mib, ' ');
          made.store.put(made.chain[0], body);
        }
        return std::nullopt;
      });
  BOOST_TEST(made.inventoried() != "read");
  BOOST_TEST(has(made.chosen(), "it has 9.0 MiB"), made.chosen());
}

BOOST_AUTO_TEST_CASE(verify_finds_a_difference_in_what_it_does_not_read) {
  scene made(3 * mib);
  made.allow(2 * mib);
  made.settings.subvolumes.push_back(subvolume_config{"data", "/srv/data"});
  store_tuning tuning;
  tuning.store = &made.store;
  made.with.tuning = &tuning;
  const auto status = made.loop->run(run_command(made.with, verify_command()));
  BOOST_REQUIRE_MESSAGE(status.has_value(), error_text(status));
  BOOST_TEST((*status == exit_status::verification));
}

BOOST_AUTO_TEST_SUITE_END()
