// A link on its way from a store into a pipe: what is damaged, missing, changed, and in which
// order.
#include "app/download/download_link.hh"

#include "app/host/standstill.hh"
#include "app/records/kept_parts.hh"
#include "engine/async_scope.hh"
#include "engine/sha256.hh"
#include "tests/app/backup/send_stream.hh"
#include "tests/app/support.hh"
#include "tests/engine/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/bent_store.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"
#include "tests/support/real_btrfs.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bent_store;
using bts3::testing::digest_of;
using bts3::testing::error_text;
using bts3::testing::memory_store;
using bts3::testing::stream_of;
namespace send = bts3::testing::send;

namespace {

constexpr std::size_t part_bytes = 64 * 1024;

// A stream in chunks in a store, and what comes out of the pipe.
class transfer {
 public:
  transfer(std::size_t stream_bytes, std::size_t chunks, bool with_parts,
           std::string chunks_class = "STANDARD", std::size_t part = part_bytes)
      : part_length(part),
        loop(engine::testing::make_reactor()),
        clock(bts3::testing::reference_time),
        stored_as(std::move(chunks_class)),
        objects(*loop, rules_with(clock)),
        store(objects),
        with{*loop, log, clock, settings, testing::real_btrfs(), testing::no_environment, {}},
        stream(stream_of(stream_bytes)) {
    std::signal(SIGPIPE, SIG_IGN);
    const std::size_t each = (stream.size() + chunks - 1) / chunks;
    for (std::size_t at = 0; at < stream.size(); at += each) {
      add_chunk(stream.substr(at, each), with_parts);
    }
  }

  void add_chunk(const std::string& body, bool with_parts) {
    located_chunk chunk;
    chunk.key = s3::object_key("chunk-" + std::to_string(located.size()) + ".bin");
    objects.put(chunk.key.str(), body, stored_as);
    chunk.record.key = chunk.key.str();
    chunk.record.size = body.size();
    chunk.record.sha256 = digest_of(body);
    chunk.info.size = body.size();
    chunk.info.tag = objects.find(chunk.key.str())->tag;
    chunk.info.stored_as = s3::storage_class(stored_as);
    if (with_parts) {
      chunk.record.part_size = part_length;
      engine::sha256_hasher hasher;
      for (std::size_t at = 0; at + part_length < body.size(); at += part_length) {
        hasher.update(testing::octets_of(std::string_view(body).substr(at, part_length)));
        chunk.record.part_states.push_back(hasher.state()->words);
      }
    }
    located.push_back(std::move(chunk));
  }

  // Runs it into a pipe that a thread drains, at most `limit` bytes and then closes.
  engine::result<void> run(bool verify_first = false, std::size_t limit = SIZE_MAX) {
    auto ends = engine::make_pipe();
    BOOST_REQUIRE(ends.has_value());
    BOOST_REQUIRE(engine::set_nonblocking(ends->write_end.get()).has_value());
    engine::unique_fd reader = std::move(ends->read_end);
    std::thread drain([&] {
      std::string piece(4096, '\0');
      while (released.size() < limit) {
        const ssize_t count = ::read(reader.get(), piece.data(), piece.size());
        if (count <= 0) {
          break;
        }
        released.append(piece, 0, static_cast<std::size_t>(count));
      }
      reader.reset();
    });
    engine::result<void> outcome = engine::ok();
    {
      engine::buffer_pool pool(*loop, part_length, 3, log);
      engine::hash_worker hashes(*loop);
      if (spool_parts > 0) {
        make_spool();
      }
      {
        download_link link(with, store, pool, hashes, located, nullptr, thaw.get(), spool.get());
        if (expected) {
          link.expect(*expected);
        }
        std::optional<kept_parts> kept;
        if (keep_limit > 0) {
          kept.emplace(with, target, keep_limit);
          loop->run(kept->begin(manifest));
          link.keep_in(*kept);
          if (when_begun) {
            when_begun();
          }
        }
        if (verify_first) {
          outcome = loop->run(link.verify_first());
        }
        if (outcome) {
          outcome = loop->run(link.run(ends->write_end.get()));
        }
        kept_before = link.bytes_kept_before();
      }
      BOOST_TEST(pool.free_slots() == 3u);
      BOOST_TEST((!spool || spool->free_parts() == spool->parts()));
      BOOST_TEST((thaw || objects.in_flight_max() <= 3u));
    }
    ends->write_end.reset();
    drain.join();
    return outcome;
  }

  // As when the link was received whole.
  void forget() {
    kept_parts kept(with, target, keep_limit);
    loop->run(kept.forget());
  }

  // Waiting for it moves the clock.
  void thaw_first() {
    thaw_policy policy = thaw_policy_of(settings, std::nullopt, std::nullopt);
    policy.timeout = std::chrono::days(3);
    policy.sleep = [this](std::chrono::nanoseconds duration, engine::stop_token) {
      return nap(this, duration);
    };
    thaw = std::make_unique<chain_thaw>(with, store, "data", located, policy);
    auto ready = loop->run(thaw->make_readable({}));
    BOOST_REQUIRE_MESSAGE(ready.has_value(), error_text(ready));
  }

  std::size_t part_length;
  std::unique_ptr<engine::reactor> loop;
  bts3::testing::fixed_clock clock;
  std::string stored_as;
  memory_store objects;
  bent_store store;
  engine::testing::recording_log log;
  config settings;
  services with;
  std::string stream;
  std::vector<located_chunk> located;
  std::string released;
  std::optional<app::expected_stream> expected;
  std::unique_ptr<chain_thaw> thaw;
  std::size_t spool_parts = 0;   // 0: without
  std::uint64_t keep_limit = 0;  // 0: nothing is kept
  std::string target = "/target";
  std::string manifest = "manifest";
  std::function<void()> when_begun;
  std::uint64_t kept_before = 0;  // of the last run
  bts3::testing::scratch_directory scratch;
  std::unique_ptr<engine::spool> spool;

 private:
  void make_spool() {
    engine::spool_options options;
    options.directory = scratch / "";
    options.budget_bytes = spool_parts * part_bytes;
    options.part_bytes = part_bytes;
    auto made = engine::spool::create(*loop, std::move(options), log);
    BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
    spool = std::move(*made);
  }

  static bts3::testing::memory_store_options rules_with(const engine::clock& clock) {
    bts3::testing::memory_store_options rules;
    rules.clock = &clock;
    return rules;
  }
  static engine::task<engine::result<void>> nap(transfer* self, std::chrono::nanoseconds duration) {
    self->clock.time += std::chrono::duration_cast<std::chrono::seconds>(duration);
    auto yielding = self->loop->yield();
    co_await std::move(yielding);
    co_return engine::ok();
  }
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::size_t count_of(const std::vector<std::string>& events, const std::string& event) {
  return static_cast<std::size_t>(std::count(events.begin(), events.end(), event));
}

void spoil(const s3::get_request& request) {
  request.into[request.range->length / 2] ^= std::byte{1};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(download_link_suite)

BOOST_AUTO_TEST_CASE(streams_of_1_and_12_chunks_come_out_whole_with_parts_and_without) {
  for (const bool with_parts : {true, false}) {
    for (const std::size_t chunks : {std::size_t{1}, std::size_t{12}}) {
      transfer one(1'500'000, chunks, with_parts);
      auto done = one.run();
      BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
      BOOST_TEST((one.released == one.stream));
      // Each byte once, and each GET with the ETag of this run's own HEAD.
      std::uint64_t fetched = 0;
      for (const s3::get_request& get : one.store.gets) {
        fetched += get.range->length;
        BOOST_TEST((get.must_match && !get.must_match->empty()));
        BOOST_TEST(!get.fresh_connection);
      }
      BOOST_TEST(fetched == one.stream.size());
      BOOST_TEST(count_of(one.log.events, "chunk_verified_while_streaming") ==
                 (with_parts ? 0u : chunks));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_first_part_comes_in_ranges_and_before_all_others) {
  constexpr std::size_t large = std::size_t{9} << 20;
  transfer one(22'000'000, 1, true, "STANDARD", large);
  bool others_too_early = false;
  std::size_t first_done = 0;
  std::uint64_t fetched = 0;
  one.store.before = [&](const s3::get_request& get, std::size_t) {
    others_too_early = others_too_early || (get.range->offset >= large && first_done < 2);
    fetched += get.range->length;
  };
  one.store.after = [&](const s3::get_request& get, std::size_t) {
    first_done += get.range->offset < large ? 1 : 0;
  };
  auto done = one.run();
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((one.released == one.stream));
  BOOST_TEST(one.store.gets.size() == 2 + 2u);  // 9 MiB in two ranges, and two parts
  BOOST_TEST(fetched == one.stream.size());
  BOOST_TEST(!others_too_early);
  // Damaged, it comes again in one piece; a request that fails is named.
  transfer two(22'000'000, 1, true, "STANDARD", large);
  two.store.after = [](const s3::get_request& get, std::size_t number) {
    if (number == 2) {
      spoil(get);
    }
  };
  done = two.run();
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST(two.store.gets.size() == 2 + 1 + 2u);
  BOOST_TEST(two.store.gets[2].fresh_connection);
  BOOST_TEST(two.store.gets[2].range->length == large);
  for (const std::size_t step : {std::size_t{1}, std::size_t{2}}) {
    transfer three(22'000'000, 1, true, "STANDARD", large);
    engine::error failure = memory_store::lost_connection();
    failure.what_now = engine::disposition::fail;
    three.objects.fail_at(step, failure);
    done = three.run();
    BOOST_REQUIRE(!done);
    BOOST_TEST(done.error().message == failure.message);
    BOOST_TEST(three.released.empty());
  }
}

BOOST_AUTO_TEST_CASE(a_part_damaged_on_the_way_is_fetched_again_on_a_new_connection) {
  transfer one(400'000, 1, true);
  int spoiled = 0;
  one.store.after = [&](const s3::get_request& get, std::size_t) {
    if (get.range->offset == 2 * part_bytes && ++spoiled <= 2) {
      spoil(get);
    }
  };
  auto done = one.run();
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((one.released == one.stream));
  std::vector<bool> fresh;
  for (const s3::get_request& get : one.store.gets) {
    if (get.range->offset == 2 * part_bytes) {
      fresh.push_back(get.fresh_connection);
    }
  }
  BOOST_TEST((fresh == std::vector<bool>{false, true, true}));
  BOOST_TEST(count_of(one.log.events, "part_damaged") == 2u);
}

BOOST_AUTO_TEST_CASE(a_part_that_stays_damaged_fails_after_three_downloads_and_is_not_released) {
  transfer one(400'000, 2, true);
  std::string body = one.objects.find("chunk-1.bin")->body;
  const s3::etag tag = one.objects.find("chunk-1.bin")->tag;
  body[part_bytes + 5] = static_cast<char>(body[part_bytes + 5] ^ 1);
  one.objects.put("chunk-1.bin", body);
  one.located[1].info.tag = one.objects.find("chunk-1.bin")->tag;
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error().why == engine::reason::integrity));
  BOOST_TEST(has(done.error().message, "chunk-1.bin, part 2 (bytes 65536 to 131071)"));
  const auto tries =
      std::count_if(one.store.gets.begin(), one.store.gets.end(), [](const s3::get_request& get) {
        return get.key.str() == "chunk-1.bin" && get.range->offset == part_bytes;
      });
  BOOST_TEST(tries == 3);
  // What was released is a prefix, and ends before the damage.
  BOOST_TEST(one.released.size() <= one.located[0].record.size + part_bytes);
  BOOST_TEST((one.stream.compare(0, one.released.size(), one.released) == 0));
}

BOOST_AUTO_TEST_CASE(a_chunk_verified_while_streaming_is_named_whoever_stumbles_first) {
  // Damaged at its beginning, in its middle, in its last part; the stream's framing breaks, or the
  // receiver goes after 100 bytes, or neither.
  for (const std::size_t at : {std::size_t{20}, std::size_t{150'000}, std::size_t{399'000}}) {
    for (const std::size_t limit : {std::size_t{SIZE_MAX}, std::size_t{100}}) {
      transfer one(400'000, 1, false);
      std::string body = one.stream;
      body[at] = static_cast<char>(body[at] ^ 0x55);
      one.objects.put("chunk-0.bin", body);
      one.located[0].info.tag = one.objects.find("chunk-0.bin")->tag;
      auto done = one.run(false, limit);
      BOOST_REQUIRE(!done);
      BOOST_TEST((done.error().why == engine::reason::integrity), error_text(done));
      BOOST_TEST(has(done.error().message, "chunk-0.bin: its SHA-256"), error_text(done));
      // Its last part was held back.
      BOOST_TEST(one.released.size() < one.stream.size());
    }
  }
}

BOOST_AUTO_TEST_CASE(a_receiver_that_goes_over_sound_bytes_is_an_epipe) {
  for (const bool with_parts : {true, false}) {
    transfer one(2'000'000, 1, with_parts);
    auto done = one.run(false, 100);
    BOOST_REQUIRE(!done);
    BOOST_TEST(done.error().code == "EPIPE", error_text(done));
  }
}

BOOST_AUTO_TEST_CASE(verify_first_releases_nothing_of_a_damaged_chunk) {
  transfer one(400'000, 2, false);
  std::string body = one.objects.find("chunk-1.bin")->body;
  body[7] = static_cast<char>(body[7] ^ 1);
  one.objects.put("chunk-1.bin", body);
  one.located[1].info.tag = one.objects.find("chunk-1.bin")->tag;
  auto done = one.run(true);
  BOOST_REQUIRE(!done);
  BOOST_TEST(has(done.error().message, "chunk-1.bin: its SHA-256"), error_text(done));
  BOOST_TEST(one.released.empty());
  BOOST_TEST(count_of(one.log.events, "chunk_damaged") == 2u);
}

BOOST_AUTO_TEST_CASE(verify_first_recovers_from_damage_on_the_way_and_downloads_twice) {
  transfer one(400'000, 1, false);
  one.store.after = [](const s3::get_request& get, std::size_t number) {
    if (number == 2) {
      spoil(get);
    }
  };
  auto done = one.run(true);
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((one.released == one.stream));
  const std::size_t parts = (one.stream.size() + part_bytes - 1) / part_bytes;
  BOOST_TEST(one.store.gets.size() == 3 * parts);  // damaged, sound, released
  for (std::size_t i = 0; i < one.store.gets.size(); ++i) {
    BOOST_TEST(one.store.gets[i].fresh_connection == (i >= parts && i < 2 * parts));
  }
  BOOST_TEST(count_of(one.log.events, "chunk_verified_while_streaming") == 0u);
}

BOOST_AUTO_TEST_CASE(the_second_download_after_verify_first_is_verified_part_by_part) {
  transfer one(400'000, 1, false);
  const std::size_t parts = (one.stream.size() + part_bytes - 1) / part_bytes;
  one.store.after = [parts](const s3::get_request& get, std::size_t number) {
    if (number == parts + 3) {
      spoil(get);
    }
  };
  auto done = one.run(true);
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((one.released == one.stream));
  BOOST_TEST(one.store.gets.size() == 2 * parts + 1);
  BOOST_TEST(count_of(one.log.events, "part_damaged") == 1u);
}

BOOST_AUTO_TEST_CASE(chunks_without_states_are_verified_in_the_spool_before_release) {
  // The spool holds one of the three chunks at a time, or all of them.
  for (const std::size_t spool_parts : {std::size_t{8}, std::size_t{100}}) {
    transfer one(1'500'000, 3, false);
    one.spool_parts = spool_parts;
    auto done = one.run();
    BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
    BOOST_TEST((one.released == one.stream));
    std::uint64_t fetched = 0;
    for (const s3::get_request& get : one.store.gets) {
      fetched += get.range->length;
    }
    BOOST_TEST(fetched == one.stream.size());
    BOOST_TEST(count_of(one.log.events, "chunk_verified_in_spool") == 3u);
    BOOST_TEST(count_of(one.log.events, "chunk_verified_while_streaming") == 0u);
  }
}

BOOST_AUTO_TEST_CASE(nothing_is_released_of_a_chunk_that_is_damaged_anywhere) {
  for (const std::size_t at : {std::size_t{3}, std::size_t{150'000}, std::size_t{199'999}}) {
    transfer one(400'000, 2, false);
    one.spool_parts = 4;
    std::string body = one.objects.find("chunk-1.bin")->body;
    body[at] = static_cast<char>(body[at] ^ 1);
    one.objects.put("chunk-1.bin", body);
    one.located[1].info.tag = one.objects.find("chunk-1.bin")->tag;
    auto done = one.run();
    BOOST_REQUIRE(!done);
    BOOST_TEST((done.error().why == engine::reason::integrity), error_text(done));
    BOOST_TEST(has(done.error().message, "chunk-1.bin: its SHA-256"), error_text(done));
    BOOST_TEST(one.released.size() <= one.located[0].record.size);
    BOOST_TEST((one.stream.compare(0, one.released.size(), one.released) == 0));
    BOOST_TEST(count_of(one.log.events, "chunk_damaged") == 2u);
    BOOST_TEST(one.store.gets.size() == 4 + 3 * 4u);
  }
}

BOOST_AUTO_TEST_CASE(damage_on_the_way_to_the_spool_is_fetched_again_on_new_connections) {
  transfer one(400'000, 1, false);
  one.spool_parts = 10;
  one.store.after = [](const s3::get_request& get, std::size_t number) {
    if (number == 2) {
      spoil(get);
    }
  };
  auto done = one.run();
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((one.released == one.stream));
  const std::size_t parts = (one.stream.size() + part_bytes - 1) / part_bytes;
  BOOST_TEST(one.store.gets.size() == 2 * parts);
  BOOST_TEST(one.store.gets.back().fresh_connection);
}

BOOST_AUTO_TEST_CASE(a_spool_that_returns_other_bytes_is_noticed_and_the_store_asked_again) {
  transfer one(400'000, 1, false);
  one.spool_parts = 7;
  const std::size_t parts = (one.stream.size() + part_bytes - 1) / part_bytes;
  BOOST_REQUIRE(parts == 7u);
  one.store.before = [&](const s3::get_request&, std::size_t number) {
    // With three slots, four pieces are on the disk by now; the rest is overwritten later.
    if (number != parts) {
      return;
    }
    const std::size_t block = one.spool->block_bytes();
    void* memory = nullptr;
    BOOST_REQUIRE(::posix_memalign(&memory, block, block) == 0);
    std::memset(memory, 'x', block);
    for (std::size_t i = 0; i < parts; ++i) {
      const auto at = static_cast<off_t>(i * part_bytes);
      BOOST_TEST(::pwrite(one.spool->descriptor(), memory, block, at) ==
                 static_cast<ssize_t>(block));
    }
    std::free(memory);
  };
  auto done = one.run();
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((one.released == one.stream));
  const std::size_t spoiled = count_of(one.log.events, "part_damaged");
  BOOST_TEST(spoiled >= 4u);
  BOOST_TEST(one.store.gets.size() == parts + spoiled);
}

BOOST_AUTO_TEST_CASE(a_chunk_that_does_not_fit_the_spool_is_verified_while_streaming) {
  transfer one(800'000, 2, false);
  one.spool_parts = 3;
  auto done = one.run();
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((one.released == one.stream));
  BOOST_TEST(count_of(one.log.events, "chunk_verified_while_streaming") == 2u);
  BOOST_TEST(count_of(one.log.events, "chunk_verified_in_spool") == 0u);
  // Unless it is downloaded twice.
  transfer two(800'000, 2, false);
  two.spool_parts = 3;
  done = two.run(true);
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST(count_of(two.log.events, "chunk_verified_first") == 2u);
  BOOST_TEST(count_of(two.log.events, "chunk_verified_while_streaming") == 0u);
}

BOOST_AUTO_TEST_CASE(every_request_may_fail_with_a_spool_too) {
  const std::size_t gets = 2 * 4;
  for (std::size_t step = 1; step <= gets; ++step) {
    transfer one(400'000, 2, false);
    one.spool_parts = 4;
    engine::error failure = memory_store::lost_connection();
    failure.what_now = engine::disposition::fail;
    one.objects.fail_at(step, failure);
    auto done = one.run();
    BOOST_REQUIRE(!done);
    BOOST_TEST(done.error().message == failure.message);
    BOOST_TEST(one.objects.in_flight() == 0u);
    BOOST_TEST(one.released.size() <= one.located[0].record.size);
  }
}

BOOST_AUTO_TEST_CASE(a_receiver_that_goes_while_the_spool_fills_is_an_epipe) {
  transfer one(2'000'000, 2, false);
  one.spool_parts = 40;
  auto done = one.run(false, 100);
  BOOST_REQUIRE(!done);
  BOOST_TEST(done.error().code == "EPIPE", error_text(done));
}

BOOST_AUTO_TEST_CASE(an_object_replaced_during_the_restore_is_an_error_that_says_so) {
  transfer one(400'000, 1, true);
  one.store.before = [&](const s3::get_request&, std::size_t number) {
    if (number == 3) {
      one.objects.put("chunk-0.bin", one.stream.substr(0, one.stream.size() - 1) + "x");
    }
  };
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST(has(done.error().text(), "was replaced while it was being restored"));
  BOOST_TEST(has(done.error().text(), "run the restore again"));
}

BOOST_AUTO_TEST_CASE(a_chunk_that_vanishes_is_an_error) {
  transfer one(400'000, 2, true);
  one.store.before = [&](const s3::get_request&, std::size_t number) {
    if (number == 2) {
      one.objects.erase("chunk-1.bin");
    }
  };
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error().what_now == engine::disposition::not_found), error_text(done));
  BOOST_TEST(has(done.error().text(), "chunk-1.bin was there and has been deleted since"));
  BOOST_TEST(has(done.error().text(), "`prune`"));
}

BOOST_AUTO_TEST_CASE(a_chunk_that_is_replaced_and_then_vanishes_is_an_error_that_says_so) {
  transfer one(400'000, 1, true);
  one.store.before = [&](const s3::get_request& request, std::size_t number) {
    if (number == 3 && request.must_match) {
      one.objects.put("chunk-0.bin", "another");
    }
  };
  one.store.before_head = [&] { one.objects.erase("chunk-0.bin"); };
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST(has(done.error().text(), "chunk-0.bin was there and has been deleted since"));
}

// Between its two downloads, and where it waits in a spool for the link before it.
BOOST_AUTO_TEST_CASE(a_chunk_that_vanishes_once_it_was_verified_is_an_error_that_says_so) {
  transfer one(400'000, 1, false);
  std::size_t verified = 0;
  {
    transfer undisturbed(400'000, 1, false);
    BOOST_REQUIRE(undisturbed.run(true).has_value());
    verified = undisturbed.store.gets.size() / 2;
  }
  one.store.before = [&](const s3::get_request&, std::size_t number) {
    if (number == verified + 1) {
      one.objects.erase("chunk-0.bin");
    }
  };
  auto done = one.run(true);
  BOOST_REQUIRE(!done);
  BOOST_TEST(has(done.error().text(), "chunk-0.bin was there and has been deleted since"),
             error_text(done));
}

BOOST_AUTO_TEST_CASE(a_chunk_that_vanishes_on_its_way_into_the_spool_is_an_error_that_says_so) {
  transfer one(400'000, 1, false);
  one.spool_parts = 10;
  one.store.before = [&](const s3::get_request&, std::size_t number) {
    if (number == 3) {
      one.objects.erase("chunk-0.bin");
    }
  };
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST(has(done.error().text(), "chunk-0.bin was there and has been deleted since"),
             error_text(done));
  BOOST_TEST(one.released.empty());
}

BOOST_AUTO_TEST_CASE(every_request_may_be_the_one_that_fails) {
  std::size_t gets = 0;
  {
    transfer one(500'000, 3, true);
    BOOST_REQUIRE(one.run().has_value());
    gets = one.store.gets.size();
  }
  for (std::size_t step = 1; step <= gets; ++step) {
    transfer one(500'000, 3, true);
    engine::error failure = memory_store::lost_connection();
    failure.what_now = engine::disposition::fail;
    one.objects.fail_at(step, failure);
    auto done = one.run();
    BOOST_REQUIRE(!done);
    BOOST_TEST(done.error().message == failure.message);
    BOOST_TEST(one.objects.in_flight() == 0u);
    BOOST_TEST((one.stream.compare(0, one.released.size(), one.released) == 0));
    BOOST_TEST(one.released.size() < one.stream.size());
  }
}

BOOST_AUTO_TEST_CASE(a_stream_without_its_end_is_refused) {
  transfer one(100'000, 1, true);
  one.stream.resize(one.stream.size() - 10);
  one.located.clear();
  one.add_chunk(one.stream, true);
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST(has(done.error().message, "without an END command"));
}

BOOST_AUTO_TEST_CASE(a_thawed_copy_that_expires_in_the_middle_is_thawed_again_and_read_on) {
  for (const bool with_parts : {true, false}) {
    transfer one(1'500'000, 3, with_parts, "GLACIER");
    one.thaw_first();
    BOOST_TEST(one.objects.count("RestoreObject") == 3u);
    one.store.before = [&](const s3::get_request&, std::size_t number) {
      // In the second chunk of three, at 8 parts a chunk.
      one.clock.time += std::chrono::days(number == 15 ? 30 : 0);
    };
    auto done = one.run();
    BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
    BOOST_TEST((one.released == one.stream));
    BOOST_TEST(count_of(one.log.events, "thawing_again") == 1u);
    BOOST_TEST(one.objects.count("RestoreObject") == 5u);  // not for the chunk that was read
  }
}

BOOST_AUTO_TEST_CASE(an_archived_chunk_that_nobody_thaws_is_an_error) {
  transfer one(100'000, 1, true, "DEEP_ARCHIVE");
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error().why == engine::reason::not_thawed), error_text(done));
  BOOST_TEST(one.objects.count("RestoreObject") == 0u);
}

BOOST_AUTO_TEST_CASE(a_store_that_says_thawed_and_refuses_to_read_is_given_up) {
  transfer one(60'000, 1, true, "GLACIER");
  one.thaw_first();
  one.store.before = [&](const s3::get_request&, std::size_t) {
    one.clock.time += std::chrono::days(30);
  };
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error().why == engine::reason::not_thawed), error_text(done));
  BOOST_TEST(one.store.gets.size() == 4u);
}

namespace {

// A transfer of this stream, in one chunk of parts.
std::unique_ptr<transfer> transfer_of(const std::string& stream) {
  auto made = std::make_unique<transfer>(400, 1, true);
  made->located.clear();
  made->add_chunk(stream, true);
  return made;
}

std::string sent_as(char id, std::uint64_t ctransid, char parent) {
  return send::header() +
         (parent == 0 ? send::subvol("s", id, ctransid)
                      : send::snapshot("s", id, ctransid, parent)) +
         send::write("content") + send::end();
}

planner::manifest manifest_of(char digit, std::uint64_t ctransid, planner::backup_kind kind) {
  planner::manifest made;
  const std::string d(1, digit);
  const auto times = [&](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) {
      text += d;
    }
    return text;
  };
  made.snapshot.uuid =
      times(8) + "-" + times(4) + "-" + times(4) + "-" + times(4) + "-" + times(12);
  made.snapshot.ctransid = ctransid;
  made.kind = kind;
  return made;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_command_that_leads_out_of_the_target_is_not_released_whole) {
  for (const char* const path : {"../../etc/cron.d/x", "/etc/passwd", "a/../../b"}) {
    const std::string head = send::header() + send::subvol("s");
    const std::string hostile = head + send::command(3, send::path(path)) + send::end();
    const auto moved = transfer_of(hostile);
    const auto outcome = moved->run();
    BOOST_REQUIRE(!outcome);
    BOOST_TEST((outcome.error().why == engine::reason::integrity));
    BOOST_TEST(outcome.error().message.find("command 2 (mkfile ") != std::string::npos);
    // `btrfs receive` carries out nothing of which a byte is missing.
    BOOST_TEST(moved->released.size() < hostile.size() - send::end().size());
  }
}

BOOST_AUTO_TEST_CASE(a_stream_of_another_snapshot_is_not_released) {
  using planner::backup_kind;
  const planner::manifest full = manifest_of('1', 7, backup_kind::full);
  const planner::manifest incremental = manifest_of('3', 9, backup_kind::incremental);
  const auto outcome_of = [&](const std::string& stream, const planner::manifest& link,
                              const planner::manifest* parent) {
    const auto moved = transfer_of(stream);
    moved->expected.emplace(link, parent);
    const auto outcome = moved->run();
    BOOST_TEST((outcome || outcome.error().why == engine::reason::integrity));
    BOOST_TEST(moved->released == (outcome ? stream : ""));
    return outcome ? std::string("released") : outcome.error().message;
  };
  BOOST_TEST(outcome_of(sent_as('\x11', 7, 0), full, nullptr) == "released");
  BOOST_TEST(outcome_of(sent_as('\x33', 9, '\x11'), incremental, &full) == "released");
  BOOST_TEST(outcome_of(sent_as('\x22', 7, 0), full, nullptr).find("is of the snapshot 2222") !=
             std::string::npos);
  BOOST_TEST(outcome_of(sent_as('\x11', 8, 0), full, nullptr).find("transaction 8") !=
             std::string::npos);
  BOOST_TEST(outcome_of(sent_as('\x33', 9, '\x22'), incremental, &full).find("builds on") !=
             std::string::npos);
  BOOST_TEST(outcome_of(sent_as('\x33', 9, 0), incremental, &full).find("is full") !=
             std::string::npos);
  BOOST_TEST(outcome_of(sent_as('\x11', 7, '\x22'), full, nullptr).find("is an incremental") !=
             std::string::npos);
  // What had itself been received is sent under that UUID.
  planner::manifest received = full;
  received.snapshot.received_uuid = "44444444-4444-4444-4444-444444444444";
  BOOST_TEST(outcome_of(sent_as('\x44', 7, 0), received, nullptr) == "released");
  // The earlier tool's manifests say nothing of it.
  planner::manifest old = full;
  old.snapshot.uuid.reset();
  old.snapshot.ctransid.reset();
  BOOST_TEST(outcome_of(sent_as('\x22', 8, 0), old, nullptr) == "released");
}

namespace {

engine::task<void> watched(app::standstill_watch& watch, engine::stop_source& stop,
                           engine::reactor& loop, download_link& link, int to,
                           engine::result<void>& outcome) {
  engine::stop_source end;
  engine::async_scope scope(loop);
  scope.spawn(watch.run(stop, end.token()));
  auto running = link.run(to);
  outcome = co_await std::move(running);
  end.request_stop();
  auto joining = scope.join();
  co_await std::move(joining);
}

engine::task<void> keep_one(engine::buffer_pool& pool, std::vector<engine::slot_lease>& kept) {
  auto taking = pool.acquire();
  auto lease = co_await std::move(taking);
  kept.push_back(std::move(lease.value()));
}

}  // namespace

// Slots that somebody keeps for ever: a restore's circle.
BOOST_AUTO_TEST_CASE(a_restore_that_waits_for_itself_ends_and_says_for_what) {
  transfer one(4 * part_bytes, 1, true);
  auto ends = engine::make_pipe();
  BOOST_REQUIRE(ends.has_value());
  engine::buffer_pool pool(*one.loop, part_bytes, 2, one.log);
  engine::hash_worker hashes(*one.loop);
  std::vector<engine::slot_lease> kept;
  one.loop->run(keep_one(pool, kept));
  one.loop->run(keep_one(pool, kept));
  engine::stop_source stop;
  services with = one.with;
  with.stop = stop.token();
  app::standstill_watch watch(*one.loop, one.log, {std::chrono::milliseconds(100), 5});
  engine::result<void> outcome = engine::ok();
  {
    download_link link(with, one.store, pool, hashes, one.located, nullptr, nullptr, nullptr);
    one.loop->run(watched(watch, stop, *one.loop, link, ends->write_end.get(), outcome));
  }
  outcome = app::ended_by(&watch, std::move(outcome));
  BOOST_REQUIRE(!outcome.has_value());
  const std::string text = outcome.error().text();
  BOOST_TEST(text.find("for a slot of memory") != std::string::npos, text);
  BOOST_TEST(text.find("for the next part in order") != std::string::npos, text);
  BOOST_TEST((outcome.error().what_now == engine::disposition::fail));
  kept.clear();
}

// What an interrupted link leaves for the next run.
namespace {

struct interrupted_transfer : transfer {
  interrupted_transfer(std::size_t bytes, std::size_t chunks, bool with_parts = true)
      : transfer(bytes, chunks, with_parts) {
    settings.global.spool_dir = scratch / "";
    keep_limit = std::uint64_t{1} << 30;
  }
  // The receiver goes after so many bytes.
  void interrupt(std::size_t after) {
    released.clear();
    BOOST_TEST(!run(false, after).has_value());
  }
  // The same command once more.
  void complete() {
    released.clear();
    const auto done = run();
    BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
    BOOST_TEST((released == stream));
  }
  [[nodiscard]] std::uint64_t fetched() const {
    std::uint64_t bytes = 0;
    for (const s3::get_request& get : store.gets) {
      bytes += get.range->length;
    }
    return bytes;
  }
  [[nodiscard]] std::uint64_t kept_bytes() const {
    std::uint64_t bytes = 0;
    for (const std::filesystem::path& file : kept()) {
      bytes += std::filesystem::file_size(file);
    }
    return bytes;
  }
  [[nodiscard]] std::vector<std::filesystem::path> kept() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(settings.global.spool_dir)) {
      if (!entry.is_directory()) {
        files.push_back(entry.path());
      }
    }
    std::sort(files.begin(), files.end());
    return files;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_an_interrupted_link_had_released_is_not_downloaded_again) {
  for (const std::size_t chunks : {std::size_t{1}, std::size_t{5}}) {
    interrupted_transfer one(1'500'000, chunks);
    one.interrupt(400'000);
    // All that was handed over, and nothing that was not fetched; what was under way may be lost.
    const std::uint64_t kept = one.kept_bytes();
    BOOST_TEST(kept >= 400'000u / part_bytes * part_bytes);
    BOOST_TEST(kept <= one.fetched());
    BOOST_TEST(one.fetched() < one.stream.size());
    one.store.gets.clear();
    struct stat entry{};
    for (auto path = one.kept().front().parent_path(); path != one.settings.global.spool_dir;
         path = path.parent_path()) {
      BOOST_REQUIRE(::stat(path.c_str(), &entry) == 0);
      BOOST_TEST((entry.st_mode & 07777) == 0700u, path);
      if (path.filename() == ".btrfs_to_s3-parts") {
        break;
      }
    }
    one.complete();
    BOOST_TEST(one.fetched() == one.stream.size() - kept);
    BOOST_TEST(one.kept_before == kept);
    BOOST_TEST(one.kept_bytes() == one.stream.size());
    BOOST_TEST(count_of(one.log.events, "parts_kept_from_before") == 1u);
    BOOST_TEST(count_of(one.log.events, "parts_not_kept") == 0u);
    // The third has all of it.
    one.store.gets.clear();
    one.complete();
    BOOST_TEST(one.store.gets.empty());
    one.forget();
    BOOST_TEST(std::filesystem::is_empty(one.settings.global.spool_dir));
  }
}

BOOST_AUTO_TEST_CASE(what_was_kept_and_is_not_as_it_was_is_downloaded) {
  const std::vector<std::pair<std::string, std::function<void(const std::filesystem::path&)>>>
      damages = {
          {"a flipped bit",
           [](const std::filesystem::path& file) {
             std::fstream open(file, std::ios::in | std::ios::out | std::ios::binary);
             open.seekg(1000);
             const char was = static_cast<char>(open.get());
             open.seekp(1000);
             open.put(static_cast<char>(was ^ 1));
           }},
          {"zeros, as after a power cut",
           [](const std::filesystem::path& file) {
             std::filesystem::resize_file(file, 0);
             std::filesystem::resize_file(file, part_bytes);
           }},
          {"cut off",
           [](const std::filesystem::path& file) { std::filesystem::resize_file(file, 4096); }},
          {"too long",
           [](const std::filesystem::path& file) {
             std::filesystem::resize_file(file, part_bytes + 4096);
           }},
          {"empty",
           [](const std::filesystem::path& file) { std::filesystem::resize_file(file, 0); }},
          {"another part",
           [](const std::filesystem::path& file) {
             std::filesystem::copy_file(file.parent_path() / "0-2", file,
                                        std::filesystem::copy_options::overwrite_existing);
           }},
          {"a link",
           [](const std::filesystem::path& file) {
             std::filesystem::remove(file);
             std::filesystem::create_symlink(file.parent_path() / "0-2", file);
           }},
          {"a pipe",
           [](const std::filesystem::path& file) {
             std::filesystem::remove(file);
             BOOST_REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
           }},
          {"gone", [](const std::filesystem::path& file) { std::filesystem::remove(file); }},
      };
  for (const auto& [name, damage] : damages) {
    interrupted_transfer one(1'000'000, 1);
    one.interrupt(400'000);
    const std::uint64_t kept = one.kept_bytes();
    damage(one.kept().front().parent_path() / "0-3");
    one.store.gets.clear();
    one.complete();
    BOOST_TEST(one.fetched() == one.stream.size() - kept + part_bytes, name);
  }
  // Damaged between being found and being read.
  interrupted_transfer two(1'000'000, 1);
  two.interrupt(400'000);
  const std::uint64_t kept = two.kept_bytes();
  two.store.gets.clear();
  two.when_begun = [&] { std::filesystem::resize_file(two.kept().front(), 17); };
  two.complete();
  BOOST_TEST(count_of(two.log.events, "kept_part_damaged") == 1u);
  BOOST_TEST(two.fetched() == two.stream.size() - kept + part_bytes);
}

// A kill in the middle of a write must leave nothing that counts.
BOOST_AUTO_TEST_CASE(a_part_has_its_name_only_once_it_is_whole) {
  interrupted_transfer one(1'000'000, 1);
  const engine::unique_fd watch(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  BOOST_REQUIRE(watch.valid());
  std::filesystem::path place;
  one.when_begun = [&] {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(one.settings.global.spool_dir)) {
      place = entry.path();  // the deepest: nothing is kept yet
    }
    BOOST_REQUIRE(::inotify_add_watch(watch.get(), place.c_str(), IN_CREATE | IN_MOVED_TO) >= 0);
  };
  one.interrupt(400'000);
  one.when_begun = nullptr;
  alignas(inotify_event) std::array<char, 65'536> events{};
  const ssize_t size = ::read(watch.get(), events.data(), events.size());
  std::size_t whole = 0;
  for (ssize_t at = 0; at < size;) {
    inotify_event event{};
    std::memcpy(&event, events.data() + at, sizeof event);
    const std::string name = events.data() + at + sizeof event;
    BOOST_TEST(((event.mask & IN_CREATE) != 0) == name.ends_with(".new"), name);
    whole += (event.mask & IN_MOVED_TO) != 0 ? 1 : 0;
    at += static_cast<ssize_t>(sizeof event + event.len);
  }
  BOOST_TEST(whole == one.kept().size());
  BOOST_TEST(whole > 0u);
  // What a kill leaves is counted by nobody, and goes.
  const std::uint64_t kept = one.kept_bytes();
  std::ofstream(place / "0-99.new") << "torn";
  BOOST_TEST(kept_bytes_of(one.settings, one.target, one.manifest) == kept);
  one.complete();
  BOOST_TEST(one.kept_before == kept);
  BOOST_TEST(!std::filesystem::exists(place / "0-99.new"));
}

BOOST_AUTO_TEST_CASE(parts_of_another_backup_and_of_long_ago_are_removed) {
  interrupted_transfer one(1'000'000, 1);
  one.interrupt(400'000);
  BOOST_TEST(!one.kept().empty());
  one.manifest = "another";
  one.interrupt(1);
  BOOST_TEST(count_of(one.log.events, "kept_parts_removed") == 1u);
  // Of another target they stay, and count towards the limit, until nobody has gone on for long.
  const std::size_t left = one.kept().size();
  one.target = "/elsewhere";
  one.interrupt(1);
  BOOST_TEST(one.kept().size() > left);
  // Files have the time of the kernel.
  one.clock.time = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()) +
                   std::chrono::days(30);
  remove_stale_parts(one.with);
  BOOST_TEST(one.kept().empty());
  BOOST_TEST(count_of(one.log.events, "kept_parts_removed") == 2u);
  one.complete();
}

BOOST_AUTO_TEST_CASE(what_stands_in_the_way_of_keeping_is_told_once_and_stops_nothing) {
  const auto without = [](interrupted_transfer& one) {
    one.complete();
    BOOST_TEST(count_of(one.log.events, "parts_not_kept") == 1u);
    BOOST_TEST(one.fetched() == one.stream.size());
  };
  // No more than the limit, which the first parts have.
  interrupted_transfer limited(1'000'000, 1);
  limited.keep_limit = 3 * part_bytes;
  without(limited);
  BOOST_TEST(limited.kept().size() == 3u);
  limited.store.gets.clear();
  limited.complete();
  BOOST_TEST(limited.fetched() == limited.stream.size() - 3 * part_bytes);
  interrupted_transfer missing(1'000'000, 1);
  missing.settings.global.spool_dir += "not/mounted";
  without(missing);
  // The last directory alone is made, as for a backup.
  interrupted_transfer made(1'000'000, 1);
  made.settings.global.spool_dir += "made";
  made.complete();
  BOOST_TEST(count_of(made.log.events, "parts_not_kept") == 0u);
  BOOST_TEST(made.kept_bytes() == made.stream.size());
  // What somebody else has put there is neither used nor followed.
  interrupted_transfer planted(1'000'000, 1);
  const std::filesystem::path place = planted.scratch / ".btrfs_to_s3-parts";
  const std::filesystem::path theirs = planted.scratch / "theirs";
  std::filesystem::create_directory(theirs);
  std::filesystem::create_directory_symlink(theirs, place);
  without(planted);
  BOOST_TEST(std::filesystem::is_empty(theirs));
  std::filesystem::remove(place);
  std::filesystem::create_directory(place);
  std::filesystem::permissions(place, std::filesystem::perms::all);
  planted.log.events.clear();
  planted.store.gets.clear();
  without(planted);
  BOOST_TEST(std::filesystem::is_empty(place));
  // A disk that takes no more, in the middle of a part.
  interrupted_transfer full(1'000'000, 1);
  rlimit before{};
  BOOST_REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit small = before;
  small.rlim_cur = part_bytes / 2;
  std::signal(SIGXFSZ, SIG_IGN);
  BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  without(full);
  BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  BOOST_TEST(full.kept().empty());
}

BOOST_AUTO_TEST_CASE(chunks_that_only_the_whole_proves_are_kept_where_they_are_one_part) {
  interrupted_transfer large(1'000'000, 1, false);
  large.interrupt(400'000);
  BOOST_TEST(large.kept().empty());
  large.complete();
  interrupted_transfer small(200'000, 8, false);
  small.interrupt(60'000);
  const std::uint64_t kept = small.kept_bytes();
  BOOST_TEST(kept >= 50'000u);
  small.store.gets.clear();
  small.complete();
  BOOST_TEST(small.fetched() == small.stream.size() - kept);
}

BOOST_AUTO_TEST_SUITE_END()
