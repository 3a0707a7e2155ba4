// Streams that end on, before and behind the boundaries of parts and chunks, through whole backups:
// what is stored is what was sent, in parts of equal size, and S3's limits are kept.
#include "app/store/publication.hh"
#include "engine/async_scope.hh"
#include "engine/stop_after.hh"
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/memory_store.hh"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::testing;

namespace {

constexpr std::size_t part = backup_rig::part_bytes;

// The objects of a backup of `bytes` as "8+8+3 8+1" (a word for each, the parts of it in `unit`s,
// "?" for a part of no whole units), or what is wrong with it.
std::string cut_text(std::size_t bytes, std::size_t chunk_bytes, std::size_t unit,
                     bool spooled = false) {
  backup_rig rig;
  rig.shared_loop = std::move(*engine::reactor::create());
  memory_store store(*rig.shared_loop);
  rig.tuning.store = &store;
  rig.settings.s3.chunk_size_bytes = chunk_bytes;
  rig.settings.s3.spool_enabled = spooled;
  rig.disk.stream = send_stream(bytes);
  const std::string outcome = rig.run_text();
  if (outcome != "done") {
    return outcome;
  }
  bucket_contents there;
  for (const auto& [key, object] : store.objects()) {
    there.objects[key] = object.body;
  }
  if (std::string problem = rig.published_problem(there); !problem.empty()) {
    return problem;
  }
  const std::vector<planner::manifest> chain = rig.chain_in(there);
  std::string text;
  for (const planner::chunk_record& chunk : chain.at(0).chunks) {
    text += text.empty() ? "" : " ";
    // Objects of one part are put; of several, uploaded: their ETag tells how many there were.
    const std::string tag = store.find(chunk.key)->tag.str();
    const std::size_t parts = chunk.part_crc32.size();
    if ((tag.find('-') == std::string::npos) != (parts == 1 && chunk.size < *chunk.part_size)) {
      return "ETag " + tag + " of " + std::to_string(parts) + " parts";
    }
    for (std::size_t at = 0; at < chunk.size; at += *chunk.part_size) {
      const std::size_t size = std::min<std::size_t>(*chunk.part_size, chunk.size - at);
      text += at == 0 ? "" : "+";
      text += size % unit == 0 ? std::to_string(size / unit) : "?";
    }
  }
  return text;
}

// A budget for parts of `part_bytes`, five of them, with its reactor.
struct budget_alone {
  explicit budget_alone(std::size_t part_bytes, std::int64_t streams = 1) {
    rig.settings.s3.part_size_bytes = part_bytes;
    rig.settings.s3.concurrency = 4;
    rig.settings.global.parallel_subvolumes = streams;
    loop = std::move(*engine::reactor::create());
    services.emplace(app::services{*loop, rig.log, rig.clock, rig.settings, rig.disk, {}, {}});
    budget = std::move(*app::upload_budget::create(*services));
  }
  backup_rig rig;
  std::unique_ptr<engine::reactor> loop;
  std::optional<app::services> services;
  std::unique_ptr<app::upload_budget> budget;
};

// Takes room for `parts` and gives none of it back.
engine::task<std::size_t> take_and_keep(app::upload_budget& budget, std::size_t parts) {
  std::vector<engine::permit> kept;
  while (kept.size() < parts) {
    auto asking = budget.room({});
    auto room = co_await std::move(asking);
    BOOST_REQUIRE(room.has_value());
    kept.push_back(std::move(*room));
  }
  co_return budget.room_taken();
}

engine::task<void> keep_for(engine::reactor& loop, engine::permit room,
                            std::chrono::milliseconds duration) {
  auto sleeping = loop.sleep_for(duration);
  (void)co_await std::move(sleeping);
  room.release();
}

// Two parts at a time, each gone after `duration`.
engine::task<void> take_and_give_back(engine::reactor& loop, app::upload_budget& budget, int parts,
                                      std::chrono::milliseconds duration) {
  engine::async_scope sent(loop);
  for (int number = 0; number < parts; ++number) {
    auto asking = budget.room({});
    auto room = co_await std::move(asking);
    BOOST_REQUIRE(room.has_value());
    sent.spawn(keep_for(loop, std::move(*room), duration));
  }
  auto joining = sent.join();
  co_await std::move(joining);
}

engine::task<bool> stopped_while_waiting(engine::reactor& loop, app::upload_budget& budget) {
  engine::stop_source enough;
  std::vector<engine::permit> kept;
  for (int number = 0; number < 2; ++number) {
    auto asking = budget.room({});
    auto room = co_await std::move(asking);
    kept.push_back(std::move(*room));
  }
  engine::async_scope beside(loop);
  beside.spawn(engine::stop_after(loop, std::chrono::milliseconds(5), enough, {}));
  auto asking = budget.room(enough.token());
  auto room = co_await std::move(asking);
  auto joining = beside.join();
  co_await std::move(joining);
  co_return !room && room.error().what_now == engine::disposition::cancelled;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(stream_limits_suite)

// A part of 1 GiB may take four seconds: a store that is fast never gets more than two at a time.
BOOST_AUTO_TEST_CASE(a_fast_store_leaves_most_of_the_memory_untouched) {
  budget_alone alone(std::size_t{1} << 30);
  BOOST_TEST(alone.budget->parts_with_room() == 2U);
  alone.loop->run(take_and_give_back(*alone.loop, *alone.budget, 50, std::chrono::milliseconds(1)));
  BOOST_TEST(alone.budget->parts_with_room() == 2U);
  BOOST_TEST(held_of(*alone.budget).empty());
  BOOST_TEST(held_of(*alone.loop).empty());
}

BOOST_AUTO_TEST_CASE(a_slow_store_gets_all_parts_that_were_promised) {
  budget_alone alone(part);
  BOOST_TEST(alone.loop->run(take_and_keep(*alone.budget, 5)) == 5U);
  BOOST_TEST(alone.budget->parts_with_room() == 5U);
  BOOST_TEST(held_of(*alone.budget).empty());
}

// Each wait is shorter than the 500 ms that a part of 128 MiB may take, but they add up.
BOOST_AUTO_TEST_CASE(many_short_waits_count_as_a_long_one) {
  budget_alone alone(std::size_t{128} << 20);
  alone.loop->run(
      take_and_give_back(*alone.loop, *alone.budget, 12, std::chrono::milliseconds(450)));
  BOOST_TEST(alone.budget->parts_with_room() > 2U);
}

BOOST_AUTO_TEST_CASE(each_stream_has_room_for_a_part_from_the_start) {
  BOOST_TEST(budget_alone(part, 3).budget->parts_with_room() == 4U);
  BOOST_TEST(budget_alone(part, 16).budget->parts_with_room() == 5U);
}

BOOST_AUTO_TEST_CASE(who_waits_for_room_can_be_stopped) {
  budget_alone alone(std::size_t{1} << 30);
  BOOST_TEST(alone.loop->run(stopped_while_waiting(*alone.loop, *alone.budget)));
  BOOST_TEST(alone.budget->parts_with_room() == 2U);
  BOOST_TEST(held_of(*alone.budget).empty());
  BOOST_TEST(held_of(*alone.loop).empty());
}

BOOST_AUTO_TEST_CASE(a_chunk_ends_on_before_and_behind_a_boundary_of_parts) {
  for (const bool spooled : {false, true}) {
    // In quarters of a part; the limit on a boundary, a quarter before it and one behind.
    const std::size_t unit = part / 4;
    const std::size_t on = 2 * part;
    BOOST_TEST(cut_text(5 * part, on, unit, spooled) == "4+4 4+4 4");
    BOOST_TEST(cut_text(5 * part, on - unit, unit, spooled) == "4+3 4+3 4+2");
    BOOST_TEST(cut_text(5 * part, on + unit, unit, spooled) == "4+4+1 4+4+1 2");
    BOOST_TEST(cut_text(5 * part, part, unit, spooled) == "4 4 4 4 4");
  }
}

BOOST_AUTO_TEST_CASE(a_stream_ends_on_before_and_behind_a_boundary) {
  const std::size_t chunk = 2 * part;
  // In bytes of a block of 64: only the last part may be short.
  const std::size_t unit = 64;
  const std::string whole = std::to_string(part / unit);
  BOOST_TEST(cut_text(part - unit, chunk, unit) == std::to_string(part / unit - 1));
  BOOST_TEST(cut_text(part, chunk, unit) == whole);
  BOOST_TEST(cut_text(part + unit, chunk, unit) == whole + "+1");
  BOOST_TEST(cut_text(part + 1, chunk, unit) == whole + "+?");
  BOOST_TEST(cut_text(chunk - 1, chunk, unit) == whole + "+?");
  BOOST_TEST(cut_text(chunk, chunk, unit) == whole + "+" + whole);
  BOOST_TEST(cut_text(chunk + unit, chunk, unit) == whole + "+" + whole + " 1");
  BOOST_TEST(cut_text(2 * chunk, chunk, unit) == whole + "+" + whole + " " + whole + "+" + whole);
  // Hardly more than the shortest stream that is one.
  BOOST_TEST(cut_text(128, chunk, unit) == "2");
}

BOOST_AUTO_TEST_CASE(a_chunk_never_has_more_than_10000_parts) {
  backup_rig rig;
  rig.shared_loop = std::move(*engine::reactor::create());
  memory_store store(*rig.shared_loop);
  rig.tuning.store = &store;
  // The journal waits for the disk after each part; two thousand in flight share that.
  rig.settings.s3.part_size_bytes = 64;
  rig.settings.s3.chunk_size_bytes = std::uint64_t{200} << 30;
  rig.settings.s3.concurrency = 2000;
  rig.disk.stream = send_stream(10'001 * 64 + 1);
  BOOST_TEST(rig.run_text() == "done");
  bucket_contents there;
  for (const auto& [key, object] : store.objects()) {
    there.objects[key] = object.body;
  }
  BOOST_TEST(rig.published_problem(there) == "");
  const std::vector<planner::manifest> chain = rig.chain_in(there);
  BOOST_REQUIRE(chain.size() == 1U);
  BOOST_REQUIRE(chain[0].chunks.size() == 2U);
  BOOST_TEST(chain[0].chunks[0].part_crc32.size() == 10'000U);
  BOOST_TEST(chain[0].chunks[1].part_crc32.size() == 2U);
}

// Found out when the first part too many begins, not when a manifest that nobody can read is
// written after everything else.
BOOST_AUTO_TEST_CASE(a_stream_of_more_parts_than_a_manifest_can_list_stops_there) {
  backup_rig rig(6 * part + part / 2);
  rig.shared_loop = std::move(*engine::reactor::create());
  memory_store store(*rig.shared_loop);
  rig.tuning.store = &store;
  rig.tuning.manifest_bytes_max = planner::manifest_bytes_for(5, 2);
  const std::string outcome = rig.run_text();
  BOOST_TEST(outcome.starts_with("exit 2: subvolume_failed"), outcome);
  for (const char* said :
       {"6 parts in 2 chunks", "raise s3.part_size_bytes = 65536", "s3.chunk_size_bytes"}) {
    BOOST_TEST(outcome.find(said) != std::string::npos, outcome);
  }
  BOOST_TEST(store.objects().empty());
  BOOST_TEST(store.count("CompleteMultipartUpload") == 0U);
  BOOST_TEST(store.count("UploadPart") <= 5U);
  // Larger parts, as it advises; nothing of the attempt is left.
  rig.log.lines.clear();
  rig.settings.s3.part_size_bytes = 2 * part;
  rig.settings.s3.chunk_size_bytes = 6 * part;
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(store.uploads().empty());
  bucket_contents there;
  for (const auto& [key, object] : store.objects()) {
    there.objects[key] = object.body;
  }
  BOOST_TEST(rig.published_problem(there) == "");
}

// With so little memory that this host would not read the manifest that it is about to write: told
// once, while there is time to choose larger parts, and the backup is made.
BOOST_AUTO_TEST_CASE(a_manifest_that_this_host_would_not_read_is_told_of_while_it_grows) {
  for (const std::uint64_t readable : {5, 7}) {
    backup_rig rig(6 * part + part / 2);
    rig.shared_loop = std::move(*engine::reactor::create());
    memory_store store(*rig.shared_loop);
    rig.tuning.store = &store;
    rig.settings.s3.spool_enabled = true;  // where the limit is not one of the parts as well
    rig.settings.global.spool_size_bytes = std::uint64_t{128} << 20;
    rig.settings.global.memory_limit_bytes = 4 * planner::manifest_bytes_for(readable, 3);
    BOOST_TEST(rig.run_text() == "done");
    std::string told;
    for (const std::string& line : rig.log.lines) {
      if (line.find("manifest_large") != std::string::npos) {
        told += line + "\n";
      }
    }
    BOOST_TEST(std::count(told.begin(), told.end(), '\n') == (readable == 5 ? 1 : 0), told);
    for (const char* said : {"/subvol/data/full/manifest-", "raise s3.part_size_bytes = 65536",
                             "global.memory_limit_bytes"}) {
      BOOST_TEST((readable == 7 || told.find(said) != std::string::npos), told);
    }
  }
}

// What the stream may have, the manifest may, and what is written can be read.
BOOST_AUTO_TEST_CASE(a_stream_of_as_many_parts_as_a_manifest_can_list_is_published) {
  backup_rig rig(6 * part + part / 2);
  rig.shared_loop = std::move(*engine::reactor::create());
  memory_store store(*rig.shared_loop);
  rig.tuning.store = &store;
  rig.tuning.manifest_bytes_max = planner::manifest_bytes_for(7, 3);
  BOOST_TEST(rig.run_text() == "done");
  bucket_contents there;
  for (const auto& [key, object] : store.objects()) {
    there.objects[key] = object.body;
    BOOST_TEST(
        (!key.ends_with(".json") || object.body.size() <= planner::manifest_bytes_for(7, 3)));
  }
  BOOST_TEST(rig.published_problem(there) == "");
}

BOOST_AUTO_TEST_CASE(a_manifest_that_cannot_be_read_back_is_not_sent) {
  backup_rig rig;
  rig.shared_loop = std::move(*engine::reactor::create());
  memory_store store(*rig.shared_loop);
  rig.tuning.store = &store;
  const auto nothing_set = [](std::string_view) { return std::optional<std::string>(); };
  const app::services with{*rig.shared_loop, rig.log,     rig.clock,  rig.settings,
                           rig.disk,         nothing_set, {},         nullptr,
                           nullptr,          {},          &rig.tuning};
  auto connection = app::store_connection::open(with);
  BOOST_REQUIRE(connection.has_value());
  planner::manifest value;
  value.subvolume = "data";
  for (const bool fits : {false, true}) {
    rig.tuning.manifest_bytes_max = planner::write_manifest(value).size() - (fits ? 0 : 1);
    app::publication_trace trace;
    const auto put = rig.shared_loop->run(
        app::put_manifest(with, **connection, "host/m.json", value, nullptr, trace));
    BOOST_TEST(put.has_value() == fits);
    BOOST_TEST(trace.manifest_may_exist == fits);
    BOOST_TEST(store.count("PutObject") == (fits ? 1U : 0U));
    BOOST_TEST((fits || put.error().text().find("s3.part_size_bytes") != std::string::npos));
  }
  rig.shared_loop->run((*connection)->close());
}

// Promise 4: (concurrency + 1) parts, or 64 MiB with the spool; the rest of the program has its
// own.
BOOST_AUTO_TEST_CASE(nested_subvolumes_that_are_configured_are_no_cause_for_a_warning) {
  for (const bool third : {false, true}) {
    backup_rig rig;
    rig.shared_loop = std::move(*engine::reactor::create());
    memory_store store(*rig.shared_loop);
    rig.tuning.store = &store;
    rig.disk.stream = send_stream(part);
    rig.disk.nested_in_each = {"child"};
    if (third) {
      rig.disk.nested_in_each.emplace_back("third");
    }
    const std::string child = rig.settings.subvolumes.front().path + "/child";
    rig.disk.add_subvolume(child);
    rig.settings.subvolumes.push_back({"child", child});
    BOOST_TEST(rig.run_text() == "done");
    BOOST_TEST(rig.log.contains(
                   "nested_subvolumes_left_out subvolume=data count=1 nested=third ") == third);
    BOOST_TEST(rig.log.contains("nested_subvolumes_left_out subvolume=data") == third);
  }
}

BOOST_AUTO_TEST_CASE(many_nested_subvolumes_are_a_count_and_three_examples) {
  backup_rig rig;
  rig.shared_loop = std::move(*engine::reactor::create());
  memory_store store(*rig.shared_loop);
  rig.tuning.store = &store;
  rig.disk.nested_in_each = {"docker/a", "docker/b", "dockers", "home/x", "vm"};
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(
      rig.log.contains("nested_subvolumes_left_out subvolume=data count=5 "
                       "nested=docker/a, docker/b, dockers and 2 more "));
}

BOOST_AUTO_TEST_CASE(nested_subvolumes_that_are_ignored_are_not_told_of) {
  for (const bool all : {false, true}) {
    backup_rig rig;
    rig.shared_loop = std::move(*engine::reactor::create());
    memory_store store(*rig.shared_loop);
    rig.tuning.store = &store;
    rig.disk.nested_in_each = {"docker/a", "docker/b", "dockers", "vm"};
    rig.settings.subvolumes.front().ignore_all_nested = all;
    rig.settings.subvolumes.front().ignore_nested = {"docker", "vm"};
    BOOST_TEST(rig.run_text() == "done");
    BOOST_TEST(rig.log.contains("count=1 nested=dockers ") == !all);
    BOOST_TEST(rig.log.contains("nested_subvolumes_left_out") == !all);
  }
}

BOOST_AUTO_TEST_CASE(the_memory_for_parts_is_what_was_promised) {
  for (const std::int64_t concurrency : {1, 4, 16}) {
    for (const bool spooled : {false, true}) {
      backup_rig rig;
      rig.settings.s3.concurrency = concurrency;
      rig.settings.s3.spool_enabled = spooled;
      rig.settings.s3.part_size_bytes = std::uint64_t{128} << 20;
      rig.settings.global.spool_size_bytes = std::uint64_t{128} << 20;
      auto loop = engine::reactor::create();
      BOOST_REQUIRE(loop.has_value());
      const app::services with{**loop, rig.log, rig.clock, rig.settings, rig.disk, {}, {}};
      auto budget = app::upload_budget::create(with);
      BOOST_REQUIRE(budget.has_value());
      const engine::buffer_pool& slots = (*budget)->slots;
      const std::uint64_t parts =
          static_cast<std::uint64_t>(concurrency + 1) * rig.settings.s3.part_size_bytes;
      const std::uint64_t most = spooled ? std::uint64_t{64} << 20 : parts;
      BOOST_TEST(slots.slots() * slots.slot_bytes() <= most);
      BOOST_TEST((*budget)->in_flight.available() == static_cast<std::size_t>(concurrency));
      // Every upload and the stream itself can hold one at a time.
      BOOST_TEST(slots.slots() > static_cast<std::size_t>(concurrency));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
