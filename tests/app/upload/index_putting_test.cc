// The index of a backup on its way into the bucket: whole, in parts, and to a store that does not
// take it.
#include "app/upload/index_putting.hh"

#include "app/upload/removal.hh"
#include "btrfs/stream_inspector.hh"
#include "engine/age/random.hh"
#include "tests/app/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/index_of.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"
#include "tests/support/real_btrfs.hh"
#include "tests/support/scripted_s3_server.hh"
#include "tests/support/send_commands.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <span>
#include <string>

using namespace bts3;
using namespace bts3::app;
using namespace bts3::testing;

namespace {

constexpr std::uint64_t part_bytes = 300;

std::string some_stream() {
  std::string stream = send::header() + send::subvol();
  unsigned seed = 1;
  for (unsigned i = 0; i < 200; ++i) {
    std::string name = "n";
    for (const char c : send::noise(8, seed)) {
      name += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
    }
    stream += send::command(3, send::path(name) + send::attribute(3, send::number(i, 8)));
  }
  return stream + send::end();
}

// A backup whose stream has passed.
struct scene {
  scene() : loop(std::move(*engine::reactor::create())), objects(*loop) {
    std::signal(SIGPIPE, SIG_IGN);
    settings.global.state_path = place / "state.json";
    settings.s3.bucket = "bucket";
    settings.s3.region = "us-east-1";
    settings.s3.retry_for = std::chrono::hours(1);
    tuning.retries.backoff_first = tuning.retries.backoff_max = std::chrono::milliseconds(5);
    with.tuning = &tuning;
    intent.subvolume = "data";
    intent.when = planner::timestamp::parse("20260121T020003Z").value();
    intent.keys_root = "p/subvol/data/";
    intent.chunk_tag = "0badcafe";
    intent.manifest_key = intent.keys_root + "full/manifest-20260121T020003Z.json";
    limits.put_bytes = part_bytes;
    limits.part_bytes = part_bytes;
  }

  static engine::task<void> pass(engine::reactor& loop, index_making& making, std::string stream) {
    btrfs::stream_inspector inspector;
    inspector.observe(&making.observer());
    auto fed = inspector.feed(std::as_bytes(std::span(stream.data(), stream.size())));
    BOOST_REQUIRE(fed.has_value());
    auto turn = loop.yield();
    co_await std::move(turn);
    auto ending = making.end(true);
    co_await std::move(ending);
  }

  // What the manifest is told of it.
  std::optional<planner::index_record> put() {
    index_making making(*loop, place / "", std::nullopt, age::system_random());
    loop->run(pass(*loop, making, stream));
    auto journal = loop->run(backup_journal::begin(with, intent));
    BOOST_REQUIRE_MESSAGE(journal.has_value(), error_text(journal));
    auto connection = store_connection::open(with);
    BOOST_REQUIRE_MESSAGE(connection.has_value(), error_text(connection));
    index_putting putting(with, intent, std::nullopt, limits);
    auto put = loop->run(putting.put(**connection, **journal, &making));
    loop->run((*connection)->close());
    BOOST_REQUIRE_MESSAGE(put.has_value(), error_text(put));
    there = putting.there();
    BOOST_TEST(loop->run((*journal)->remove()).has_value());
    return *put;
  }
  void in_memory() { tuning.store = &objects; }

  const std::string stream = some_stream();
  const std::string index = index_of(stream);
  const std::string key = "p/subvol/data/full/index-20260121T020003Z-0badcafe.zst";
  scratch_directory place;
  std::unique_ptr<engine::reactor> loop;
  memory_store objects;
  line_log log;
  fixed_clock clock{reference_time};
  config settings;
  store_tuning tuning;
  services with{*loop,
                log,
                clock,
                settings,
                real_btrfs(),
                [](std::string_view name) -> std::optional<std::string> {
                  return name == "AWS_ACCESS_KEY_ID"           ? std::optional<std::string>("K")
                         : name == "AWS_SECRET_ACCESS_KEY"     ? std::optional<std::string>("s")
                         : name == "AWS_EC2_METADATA_DISABLED" ? std::optional<std::string>("true")
                                                               : std::nullopt;
                },
                {}};
  backup_intent intent;
  file_put_limits limits;
  std::optional<planner::index_record> there;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(index_putting_suite, scene)

BOOST_AUTO_TEST_CASE(one_that_is_too_large_for_one_request_goes_in_parts) {
  in_memory();
  BOOST_REQUIRE(index.size() > 2 * part_bytes);
  const auto told = put();
  BOOST_REQUIRE(told.has_value());
  BOOST_TEST(told->key == key);
  BOOST_REQUIRE((objects.find(key) != nullptr));
  BOOST_TEST((objects.find(key)->body == index));
  BOOST_TEST(objects.find(key)->options.content_type == "application/octet-stream");
  BOOST_TEST(objects.count("UploadPart") == (index.size() + part_bytes - 1) / part_bytes);
  BOOST_TEST(objects.count("PutObject") == 0U);
  BOOST_TEST(objects.uploads().empty());
  limits.put_bytes = index.size();
  objects.forget_calls();
  BOOST_TEST(put().has_value());
  BOOST_TEST(objects.count("PutObject") == 1U);
  BOOST_TEST(objects.count("UploadPart") == 0U);
  BOOST_TEST((objects.find(key)->body == index));
}

// Over HTTP, with bodies that are read again.
BOOST_AUTO_TEST_CASE(parts_are_repeated_from_the_file) {
  scripted_s3_options options;
  options.enforce_part_minimum = false;
  scripted_s3_server server(options);
  settings.s3.endpoint_url = server.url();
  server.script(request_match(s3_verb::upload_part, 2, 2), scripted_action::reset_after(100));
  const auto told = put();
  BOOST_REQUIRE(told.has_value());
  BOOST_TEST((server.bodies("bucket").at(key) == index));
  BOOST_TEST(server.open_uploads().empty());
}

BOOST_AUTO_TEST_CASE(of_parts_that_are_refused_nothing_stays) {
  for (const std::string verb :
       {"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}) {
    BOOST_TEST_CONTEXT(verb) {
      scene here;
      here.in_memory();
      here.objects.judge_by(
          [verb](const memory_store::recorded_call& call) -> std::optional<engine::error> {
            return call.verb == verb ? std::optional(memory_store::denied(call.key)) : std::nullopt;
          });
      BOOST_TEST(!here.put().has_value());
      BOOST_TEST(here.log.contains("index_failed"));
      BOOST_TEST(here.objects.objects().empty());
      BOOST_TEST(here.objects.uploads().empty());
    }
  }
}

// Whoever undoes the backup ends the upload that a run which died has left.
BOOST_AUTO_TEST_CASE(an_upload_that_stayed_open_goes_with_the_backup) {
  for (const removal_reach reach : {removal_reach::named, removal_reach::keys}) {
    for (const bool large : {true, false}) {
      scene here;
      auto creating = here.objects.create_multipart_upload(s3::object_key(here.key), {}, {});
      BOOST_REQUIRE(here.loop->run(std::move(creating)).has_value());
      removal_order order;
      order.record.intent = here.intent;
      order.record.index.emplace();
      order.record.index->key = here.key;
      order.record.index->size = large ? std::uint64_t{5} << 30 : 5;
      order.reach = reach;
      removal undoing(here.with, order, {});
      BOOST_TEST(here.loop->run(undoing.objects(here.objects)).has_value());
      // One that went in a request has none, and nobody asks.
      BOOST_TEST(here.objects.uploads().empty() == large);
    }
  }
}

// However patient the rest of the run is.
BOOST_AUTO_TEST_CASE(a_store_that_does_not_take_it_is_given_up_soon) {
  for (const bool in_parts : {false, true}) {
    for (const auto& action :
         {scripted_action::answer(503, "SlowDown"), scripted_action::stall_before_answer()}) {
      scene here;
      scripted_s3_options options;
      options.enforce_part_minimum = false;
      scripted_s3_server server(options);
      here.settings.s3.endpoint_url = server.url();
      here.limits.patience = std::chrono::milliseconds(300);
      here.limits.put_bytes = in_parts ? part_bytes : 1 << 20;
      request_match any_of_it(s3_verb::any, 1, 0);
      any_of_it.key_contains = "/index-";
      server.script(any_of_it, action);
      BOOST_TEST(!here.put().has_value());
      BOOST_TEST(here.log.contains("index_failed"));
      BOOST_TEST(here.log.contains("no headway"));
      BOOST_TEST(here.there.has_value());  // who undoes the backup looks for it
    }
  }
}

// What is slow and moves is waited for.
BOOST_AUTO_TEST_CASE(a_slow_store_that_takes_it_is_waited_for) {
  scripted_s3_options options;
  options.enforce_part_minimum = false;
  scripted_s3_server server(options);
  settings.s3.endpoint_url = server.url();
  limits.patience = std::chrono::milliseconds(400);
  for (unsigned part = 1; part * part_bytes < index.size(); ++part) {
    server.script(request_match(s3_verb::upload_part, part, 1),
                  scripted_action::read_slowly(part_bytes / 2, std::chrono::milliseconds(60)));
  }
  BOOST_TEST_MESSAGE("parts: " << index.size() / part_bytes);
  const auto told = put();
  BOOST_REQUIRE(told.has_value());
  BOOST_TEST((server.bodies("bucket").at(key) == index));
}

BOOST_AUTO_TEST_SUITE_END()
