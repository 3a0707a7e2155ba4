// Pieces that several want: fetched once, kept within bounds, and failed for those who waited.
#include "app/mount/piece_cache.hh"

#include "tests/engine/support.hh"
#include "tests/s3/http/fake_transport.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using btrfs::index::extent;
using engine::result;
using engine::task;

namespace {

constexpr std::uint64_t piece_bytes = 1000;

extent piece(std::uint64_t number) {
  extent one;
  one.link = 1;
  one.command = number * 2000;
  one.data = one.command + 100;
  one.data_bytes = one.unpacked_bytes = one.bytes = piece_bytes;
  return one;
}

extent_list pieces(std::uint64_t from, std::uint64_t count) {
  extent_list all;
  for (std::uint64_t i = 0; i < count; ++i) {
    all.push_back(piece(from + i));
  }
  return all;
}

// Gives each piece its number, once `open` is set.
class played_source final : public piece_source {
 public:
  explicit played_source(engine::reactor& loop) : open(loop), _loop(loop) {}
  engine::event open;
  std::vector<std::size_t> fetches;  // how many pieces each was about
  std::size_t at_once = 0;
  std::size_t at_once_most = 0;
  std::set<std::uint64_t> damaged;
  std::optional<engine::error> failure;

  task<result<extent_outcomes>> fetch(extent_list wanted, extent_reader::taker take) override {
    fetches.push_back(wanted.size());
    at_once_most = std::max(at_once_most, ++at_once);
    auto waiting = open.wait();
    auto waited = co_await std::move(waiting);
    BOOST_REQUIRE(waited.has_value());
    --at_once;
    if (failure) {
      co_return *failure;
    }
    extent_outcomes outcomes(wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const std::uint64_t number = wanted[i].command / 2000;
      if (damaged.contains(number)) {
        outcomes[i].emplace();
        outcomes[i]->why = engine::reason::integrity;
        continue;
      }
      std::vector<std::byte> text(wanted[i].bytes);
      std::memcpy(text.data(), &number, sizeof number);
      BOOST_REQUIRE(take(i, text).has_value());
    }
    auto turn = _loop.yield();
    co_await std::move(turn);
    co_return outcomes;
  }

 private:
  engine::reactor& _loop;
};

struct scene {
  scene() {
    limits.bytes_max = 10 * piece_bytes;
    limits.ahead_bytes_max = 5 * piece_bytes;
    limits.fetches_ahead = 2;
    limits.reads_max = 3;
  }
  // The numbers in what it gives, or nothing and `last`.
  static task<void> read(piece_cache& cache, extent_list wanted, engine::stop_token stop,
                         std::vector<std::uint64_t>& into, std::optional<engine::error>& last) {
    auto getting = cache.get(std::move(wanted), stop);
    auto texts = co_await std::move(getting);
    if (!texts) {
      last = std::move(texts.error());
      co_return;
    }
    for (const piece_cache::text& one : *texts) {
      BOOST_REQUIRE(one->size() == piece_bytes);
      std::uint64_t number = 0;
      std::memcpy(&number, one->data(), sizeof number);
      into.push_back(number);
    }
  }
  std::vector<std::uint64_t> read_now(piece_cache& cache, extent_list wanted) {
    std::vector<std::uint64_t> numbers;
    failed.reset();
    loop->run(read(cache, std::move(wanted), {}, numbers, failed));
    return numbers;
  }

  std::unique_ptr<engine::reactor> loop = engine::testing::make_reactor();
  testing::fixed_clock clock{testing::reference_time};
  played_source source{*loop};
  piece_limits limits;
  std::optional<engine::error> failed;
};

task<void> open_after(engine::reactor& loop, played_source& source, int turns) {
  for (; turns > 0; --turns) {
    auto turn = loop.yield();
    co_await std::move(turn);
  }
  source.open.set();
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(piece_cache_suite, scene)

BOOST_AUTO_TEST_CASE(a_piece_that_several_want_is_fetched_once) {
  piece_cache cache(*loop, clock, source, limits);
  std::vector<std::uint64_t> first;
  std::vector<std::uint64_t> second;
  engine::async_scope scope(*loop);
  scope.spawn(read(cache, pieces(0, 3), {}, first, failed));
  scope.spawn(read(cache, pieces(1, 3), {}, second, failed));
  scope.spawn(open_after(*loop, source, 5));
  loop->run(scope.join());
  BOOST_TEST(first == (std::vector<std::uint64_t>{0, 1, 2}));
  BOOST_TEST(second == (std::vector<std::uint64_t>{1, 2, 3}));
  BOOST_TEST(source.fetches == (std::vector<std::size_t>{3, 1}));
  BOOST_TEST(read_now(cache, pieces(0, 4)).size() == 4U);
  BOOST_TEST(source.fetches.size() == 2U);
  loop->run(cache.close());
}

BOOST_AUTO_TEST_CASE(no_more_is_kept_than_its_bound_and_the_longest_unused_goes) {
  source.open.set();
  piece_cache cache(*loop, clock, source, limits);
  for (std::uint64_t i = 0; i < 30; ++i) {
    read_now(cache, pieces(0, 1));  // is used all the time
    read_now(cache, pieces(i, 2));
    BOOST_TEST(cache.bytes() <= limits.bytes_max);
  }
  BOOST_TEST(cache.bytes() == limits.bytes_max);
  const std::size_t before = source.fetches.size();
  read_now(cache, pieces(0, 1));
  BOOST_TEST(source.fetches.size() == before);
  read_now(cache, pieces(1, 1));
  BOOST_TEST(source.fetches.size() == before + 1);
  loop->run(cache.close());
}

BOOST_AUTO_TEST_CASE(what_is_begun_ahead_is_bounded_and_later_there) {
  piece_cache cache(*loop, clock, source, limits);
  BOOST_TEST(cache.begin(pieces(0, 3)) == 3U);
  BOOST_TEST(cache.begin(pieces(2, 9)) == 3U);  // one that is under way, and room for two
  BOOST_TEST(cache.begin(pieces(0, 5)) == 5U);
  engine::async_scope scope(*loop);
  std::vector<std::uint64_t> numbers;
  scope.spawn(read(cache, pieces(0, 5), {}, numbers, failed));
  scope.spawn(open_after(*loop, source, 5));
  loop->run(scope.join());
  BOOST_TEST(numbers.size() == 5U);
  BOOST_TEST(source.fetches == (std::vector<std::size_t>{3, 2}));
  BOOST_TEST(cache.begin(pieces(5, 9)) == 5U);  // there is room again
  loop->run(cache.close());
  BOOST_TEST(cache.bytes() <= limits.bytes_max);
}

BOOST_AUTO_TEST_CASE(a_piece_that_cannot_be_had_fails_its_readers_and_is_asked_for_again) {
  source.open.set();
  source.damaged = {1};
  piece_cache cache(*loop, clock, source, limits);
  BOOST_TEST(read_now(cache, pieces(0, 3)).empty());
  BOOST_REQUIRE(failed);
  BOOST_TEST((failed->why == engine::reason::integrity));
  BOOST_TEST(read_now(cache, pieces(2, 1)).size() == 1U);  // its neighbour is right
  BOOST_TEST(source.fetches.size() == 1U);
  BOOST_TEST(read_now(cache, pieces(1, 1)).empty());  // it was fetched often enough
  BOOST_TEST(cache.begin(pieces(1, 1)) == 1U);
  BOOST_TEST(source.fetches.size() == 1U);
  source.damaged.clear();
  clock.time += piece_cache::damaged_for;
  BOOST_TEST(read_now(cache, pieces(0, 3)).size() == 3U);
  source.failure = engine::error();
  source.failure->why = engine::reason::network;
  BOOST_TEST(read_now(cache, pieces(20, 2)).empty());
  BOOST_TEST((failed->why == engine::reason::network));
  BOOST_TEST(cache.bytes() == 3 * piece_bytes);
  loop->run(cache.close());
}

BOOST_AUTO_TEST_CASE(a_reader_that_gives_up_leaves_the_others_alone) {
  piece_cache cache(*loop, clock, source, limits);
  engine::stop_source stop;
  std::vector<std::uint64_t> first;
  std::vector<std::uint64_t> second;
  std::optional<engine::error> given_up;
  engine::async_scope scope(*loop);
  scope.spawn(read(cache, pieces(0, 2), stop.token(), first, given_up));
  scope.spawn(read(cache, pieces(0, 2), {}, second, failed));
  stop.request_stop();
  scope.spawn(open_after(*loop, source, 5));
  loop->run(scope.join());
  BOOST_REQUIRE(given_up);
  BOOST_TEST((given_up->what_now == engine::disposition::cancelled));
  BOOST_TEST(second.size() == 2U);
  BOOST_TEST(source.fetches.size() == 1U);
  loop->run(cache.close());
}

BOOST_AUTO_TEST_SUITE_END()
