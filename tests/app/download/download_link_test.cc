// A link on its way from a store into a pipe: what is damaged, missing, changed, and in which
// order.
#include "app/download/download_link.hh"

#include "app/host/standstill.hh"
#include "engine/async_scope.hh"
#include "tests/app/download/link_transfer.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::error_text;
using bts3::testing::memory_store;
using transfer = bts3::testing::link_transfer;

namespace {

constexpr std::size_t part_bytes = bts3::testing::link_part_bytes;

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

BOOST_AUTO_TEST_SUITE_END()
