// Request bodies that are read while they are sent, from a disk that is slow, stuck or broken.
#include "engine/body_source.hh"
#include "engine/child_process.hh"
#include "engine/event.hh"
#include "engine/sha256.hh"
#include "engine/spooled_part_stream.hh"
#include "s3/verbs/multipart_upload.hh"

#include "tests/engine/scratch_directory.hh"
#include "tests/s3/verbs/store_support.hh"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;
using engine::disposition;
using engine::reason;
using s3::http_request;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

// A disk whose speed and failures the test decides. Its buffers are filled anew at each fetch, so
// that bytes used too late or in the wrong order show.
class fake_source final : public engine::body_source {
 public:
  fake_source(engine::reactor& loop, std::string content, std::size_t block)
      : gate(loop), _loop(loop), _content(std::move(content)), _block(block), _memory(3) {}

  [[nodiscard]] std::uint64_t size() const override { return _content.size(); }
  [[nodiscard]] unsigned buffers() const override { return 3; }
  engine::task<engine::result<std::span<const std::byte>>> fetch(unsigned buffer,
                                                                 std::uint64_t offset,
                                                                 engine::stop_token stop) override {
    BOOST_REQUIRE(!fetching);
    BOOST_REQUIRE(buffer < 3U);
    BOOST_REQUIRE(offset < _content.size());
    offsets.push_back(offset);
    fetching = true;
    _memory[buffer].assign(_block, '?');  // what was there is gone
    if (fetch_time > 0ms) {
      auto sleeping = _loop.sleep_for(fetch_time, stop);
      static_cast<void>(co_await std::move(sleeping));
    } else if (suspends) {
      co_await _loop.yield();
    }
    if (offset >= gate_at) {
      auto waiting = gate.wait(stop);
      static_cast<void>(co_await std::move(waiting));
    }
    fetching = false;
    if (stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    if (offset >= broken_at) {
      co_return engine::system_error(EIO, "the spool in /ssd: read", "look at the disk");
    }
    _memory[buffer] = _content.substr(offset, _block);
    co_return bytes_of(_memory[buffer]);
  }

  bool suspends = true;
  std::chrono::milliseconds fetch_time{0};
  std::uint64_t gate_at = UINT64_MAX;    // fetches from here on wait for `gate`
  std::uint64_t broken_at = UINT64_MAX;  // fetches from here on fail
  engine::event gate;
  std::vector<std::uint64_t> offsets;  // of all fetches
  bool fetching = false;

  [[nodiscard]] std::size_t fetches_from_start() const {
    return static_cast<std::size_t>(std::count(offsets.begin(), offsets.end(), 0U));
  }

 private:
  engine::reactor& _loop;
  std::string _content;
  std::size_t _block;
  std::vector<std::string> _memory;
};

http_request put(const wire& net, const std::string& key, engine::body_source& source) {
  http_request made = net.request("PUT", key);
  made.body = s3::request_body(source);
  return made;
}

// The body is sent without asking first.
http_request put_at_once(const wire& net, const std::string& key, engine::body_source& source) {
  http_request made = put(net, key, source);
  made.headers.emplace_back("Expect", "");
  return made;
}

void check_stored(const wire& net, const engine::result<s3::http_response>& answer,
                  const std::string& body, const std::string& key = "key") {
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->status == 200);
  const auto object = net.server.object("bucket", key);
  BOOST_REQUIRE(object.has_value());
  BOOST_TEST((object->body == body));
}

engine::task<engine::result<s3::http_response>> perform_and_open(wire& net, http_request request,
                                                                 fake_source& source,
                                                                 std::chrono::milliseconds after) {
  struct opener {
    static engine::task<void> run(engine::reactor& loop, engine::event& gate,
                                  std::chrono::milliseconds wait) {
      auto sleeping = loop.sleep_for(wait);
      static_cast<void>(co_await std::move(sleeping));
      gate.set();
    }
  };
  engine::async_scope scope(*net.loop);
  scope.spawn(opener::run(*net.loop, source.gate, after));
  auto performing = net.transport->perform(std::move(request), {});
  auto answer = co_await std::move(performing);
  co_await scope.join();
  co_return answer;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(body_source)

BOOST_AUTO_TEST_CASE(a_body_arrives_whatever_the_block_size_and_speed) {
  wire net;
  const std::string body = random_text(3 * mebibyte + 17);
  for (const std::size_t block :
       {std::size_t{1000}, 64 * std::size_t{1024}, mebibyte, 4 * mebibyte}) {
    for (const bool suspends : {false, true}) {
      fake_source source(*net.loop, body, block);
      source.suspends = suspends;
      check_stored(net, net.perform(put(net, "key", source)), body);
      BOOST_TEST(source.offsets.size() == (body.size() + block - 1) / block);
      BOOST_TEST(!source.fetching);
    }
  }
  BOOST_TEST(net.server.connections() == 1U);
}

BOOST_AUTO_TEST_CASE(a_slow_disk_pauses_the_transfer_and_loses_nothing) {
  wire net;
  const std::string body = random_text(2 * mebibyte + 1);
  fake_source source(*net.loop, body, 128 * 1024);
  source.fetch_time = 5ms;
  check_stored(net, net.perform(put(net, "key", source)), body);
  BOOST_TEST(net.transport->counters().pauses > 0U);
  BOOST_TEST(net.transport->counters().body_bytes_sent == body.size());
  // A body in memory never pauses.
  const auto pauses = net.transport->counters().pauses;
  http_request plain = net.request("PUT", "key");
  plain.body = bytes_of(body);
  BOOST_TEST(net.perform(std::move(plain)).has_value());
  BOOST_TEST(net.transport->counters().pauses == pauses);
}

BOOST_AUTO_TEST_CASE(a_slow_disk_is_no_hindrance_over_tls) {
  const std::string body = random_text(2 * mebibyte + 1);
  scripted_s3_options with_tls;
  with_tls.tls = true;
  scripted_s3_server other(with_tls);
  s3::curl_options options;
  options.ca_bundle = other.ca_path();
  wire net({}, options);
  fake_source source(*net.loop, body, 100'000);
  source.fetch_time = 2ms;
  http_request request("PUT", other.https_url() + "/bucket/key");
  request.headers.emplace_back("Authorization", "test");
  request.body = s3::request_body(source);
  const auto answer = net.perform(std::move(request));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST((other.object("bucket", "key")->body == body));
  BOOST_TEST(net.transport->counters().pauses > 0U);
}

BOOST_AUTO_TEST_CASE(a_stuck_disk_is_no_stalled_network) {
  wire net;
  const std::string body = random_text(2 * mebibyte);
  for (const std::uint64_t stuck_at : {std::uint64_t{0}, std::uint64_t{mebibyte}}) {
    fake_source source(*net.loop, body, 256 * 1024);
    source.gate_at = stuck_at;
    http_request request = put_at_once(net, "key", source);
    request.stall_timeout = 100ms;
    const auto answer = net.loop->run(perform_and_open(net, std::move(request), source, 600ms));
    check_stored(net, answer, body);
  }
  BOOST_TEST(net.transport->counters().stalls == 0U);
  BOOST_TEST(net.transport->counters().pauses >= 2U);
}

BOOST_AUTO_TEST_CASE(a_stalled_network_is_noticed_whatever_the_disk_does) {
  const std::string body = random_text(32 * mebibyte);
  for (const auto fetch_time : {0ms, 5ms}) {
    wire net;
    net.server.script(s3_verb::put_object, scripted_action::stall_after(mebibyte));
    fake_source source(*net.loop, body, 256 * 1024);
    source.fetch_time = fetch_time;
    http_request request = put(net, "key", source);
    request.stall_timeout = 300ms;
    const auto answer = net.perform(std::move(request));
    BOOST_REQUIRE(!answer.has_value());
    BOOST_TEST(answer.error().code == "stalled");
    BOOST_TEST((answer.error().what_now == disposition::retry));
    BOOST_TEST(net.transport->counters().stalls == 1U);
    BOOST_TEST(!source.fetching);
  }
}

BOOST_AUTO_TEST_CASE(a_pooled_connection_that_died_is_replaced_and_the_body_sent_from_its_start) {
  for (const auto fetch_time : {0ms, 2ms}) {
    wire net;
    const std::string body = random_text(2 * mebibyte);
    fake_source first(*net.loop, body, 100'000);
    check_stored(net, net.perform(put(net, "key", first)), body);
    net.server.script(s3_verb::put_object, scripted_action::reset_after(300'000));
    fake_source source(*net.loop, body, 100'000);
    source.fetch_time = fetch_time;
    auto answer = net.perform(put_at_once(net, "again", source));
    if (!answer) {
      // libcurl repeats by itself what broke between two sends, and not what broke within one:
      // which it is, is the network's to say. Then the caller repeats.
      BOOST_TEST((answer.error().what_now == disposition::retry));
      answer = net.perform(put_at_once(net, "again", source));
    }
    check_stored(net, answer, body, "again");
    BOOST_TEST(source.fetches_from_start() == 2U);
    BOOST_TEST(net.server.connections() == 2U);
  }
}

BOOST_AUTO_TEST_CASE(a_broken_disk_ends_the_exchange_with_its_own_error) {
  wire net;
  const std::string body = random_text(4 * mebibyte);
  for (const std::uint64_t broken_at : {std::uint64_t{0}, std::uint64_t{2 * mebibyte}}) {
    for (const auto fetch_time : {0ms, 3ms}) {
      fake_source source(*net.loop, body, 256 * 1024);
      source.fetch_time = fetch_time;
      source.broken_at = broken_at;
      const auto answer = net.perform(put(net, "key", source));
      BOOST_REQUIRE(!answer.has_value());
      BOOST_TEST((answer.error().what_now == disposition::fail));
      BOOST_TEST((answer.error().why == reason::system));
      BOOST_TEST(answer.error().code == "EIO");
      BOOST_TEST(answer.error().message.find("the spool in /ssd") != std::string::npos);
      BOOST_TEST(answer.error().remedy == "look at the disk");
    }
  }
  BOOST_TEST(!net.server.object("bucket", "key").has_value());
}

// 7.88 waits for the end of a pause before it ends a transfer that was refused.
BOOST_AUTO_TEST_CASE(an_answer_is_taken_while_the_disk_is_stuck) {
  wire net;
  net.server.script(s3_verb::put_object, scripted_action::answer_before_body(403, "AccessDenied"));
  const std::string body = random_text(2 * mebibyte);
  fake_source source(*net.loop, body, 256 * 1024);
  source.gate_at = 512 * 1024;  // never opened
  http_request request = put_at_once(net, "key", source);
  request.stall_timeout = 100ms;
  const auto answer = net.perform(std::move(request));
  BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
  BOOST_TEST(answer->status == 403);
  BOOST_TEST(answer->body.find("AccessDenied") != std::string::npos);
  BOOST_TEST(!source.fetching);
}

BOOST_AUTO_TEST_CASE(a_stop_ends_a_paused_transfer_and_the_fetch_behind_it) {
  wire net;
  const std::string body = random_text(2 * mebibyte);
  for (const std::uint64_t stuck_at : {std::uint64_t{0}, std::uint64_t{mebibyte}}) {
    fake_source source(*net.loop, body, 256 * 1024);
    source.gate_at = stuck_at;
    engine::stop_source stop;
    std::thread stopper([&net, &stop] {
      std::this_thread::sleep_for(50ms);
      net.loop->post([&stop] { stop.request_stop(); });
    });
    const auto answer = net.perform(put_at_once(net, "key", source), stop.token());
    stopper.join();
    BOOST_REQUIRE(!answer.has_value());
    BOOST_TEST((answer.error().what_now == disposition::cancelled));
    BOOST_TEST(!source.fetching);
  }
  BOOST_TEST(!net.server.object("bucket", "key").has_value());
}

namespace {

engine::task<void> perform_one(wire& net, http_request request, std::vector<int>& statuses) {
  auto performing = net.transport->perform(std::move(request), {});
  const auto answer = co_await std::move(performing);
  statuses.push_back(answer ? answer->status : -1);
}

engine::task<std::vector<int>> perform_all(wire& net, std::vector<http_request> requests) {
  std::vector<int> statuses;
  engine::async_scope scope(*net.loop);
  for (http_request& request : requests) {
    scope.spawn(perform_one(net, std::move(request), statuses));
  }
  co_await scope.join();
  co_return statuses;
}

s3::body_digests all_digests_of(const std::string& body) {
  s3::body_digests made = digests_of(body);
  engine::sha256_hasher hasher;
  hasher.update(bytes_of(body));
  made.payload_sha256 = hasher.digest();
  return made;
}

}  // namespace

BOOST_AUTO_TEST_CASE(many_transfers_pause_and_go_on_beside_each_other) {
  wire net;
  std::vector<std::string> bodies;
  std::vector<std::unique_ptr<fake_source>> sources;
  std::vector<http_request> requests;
  for (unsigned i = 0; i < 12; ++i) {
    bodies.push_back(random_text(mebibyte + i, i));
    sources.push_back(std::make_unique<fake_source>(*net.loop, bodies.back(), 50'000 + i));
    sources.back()->fetch_time = std::chrono::milliseconds(i % 4);
    requests.push_back(put(net, "key" + std::to_string(i), *sources.back()));
  }
  const auto statuses = net.loop->run(perform_all(net, std::move(requests)));
  BOOST_TEST(statuses == std::vector<int>(12, 200), boost::test_tools::per_element());
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    BOOST_TEST((net.server.object("bucket", "key" + std::to_string(i))->body == bodies[i]));
  }
}

// Signed, with CRC32, and refused at first: before the body, in its midst, after it.
BOOST_AUTO_TEST_CASE(a_part_that_is_repeated_is_sent_from_its_start) {
  store_wire net;
  s3::multipart_upload upload(*net.loop, net.store, net.log, s3::object_key("key"),
                              s3::write_options());
  net.server.script({s3_verb::upload_part, 1, 1},
                    scripted_action::answer_before_body(503, "SlowDown"));
  net.server.script({s3_verb::upload_part, 2, 1}, scripted_action::reset_after(2 * mebibyte));
  net.server.script({s3_verb::upload_part, 3, 1}, scripted_action::answer(500, "InternalError"));
  const std::string body = random_text(6 * mebibyte + 5);
  fake_source source(*net.loop, body, 300'000);
  source.fetch_time = 1ms;
  const auto put = net.run(upload.put_part(1, s3::request_body(source), all_digests_of(body), {}));
  BOOST_REQUIRE_MESSAGE(put.has_value(), error_text(put));
  BOOST_TEST(net.server.count(s3_verb::upload_part) == 4U);
  BOOST_TEST(source.fetches_from_start() == 4U);
  BOOST_TEST(upload.bytes() == body.size());
  const auto stored = net.run(upload.complete({}));
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST((net.server.object("bucket", "key")->body == body));
}

BOOST_AUTO_TEST_CASE(a_disk_error_is_not_repeated) {
  store_wire net;
  const std::string body = random_text(2 * mebibyte);
  fake_source source(*net.loop, body, 300'000);
  source.broken_at = mebibyte;
  s3::put_request request(s3::object_key("key"), s3::request_body(source));
  request.digests = all_digests_of(body);
  const auto put = net.run(net.store.put_object(std::move(request), {}));
  BOOST_REQUIRE(!put.has_value());
  BOOST_TEST(put.error().code == "EIO");
  BOOST_TEST(source.fetches_from_start() == 1U);
}

namespace {

engine::task<void> write_all(engine::reactor& loop, engine::unique_fd pipe,
                             const std::string& text) {
  auto writing = loop.write_all(pipe.get(), bytes_of(text));
  const auto written = co_await std::move(writing);
  BOOST_TEST(written.has_value());
}

engine::task<void> upload_spooled(engine::spool& disk, engine::buffer_pool& pool,
                                  s3::multipart_upload& upload, engine::spooled_part part) {
  auto finishing = part.finish();
  const auto digest = co_await std::move(finishing);
  BOOST_REQUIRE_MESSAGE(digest.has_value(), error_text(digest));
  auto slot = co_await pool.acquire();
  BOOST_REQUIRE(slot.has_value());
  engine::spooled_body body(disk, pool, part, std::move(*slot));
  s3::body_digests digests;
  digests.crc32 = digest->crc32;
  digests.payload_sha256 = digest->payload_sha256;
  auto putting = upload.put_part(part.part_number, s3::request_body(body), digests, {});
  const auto put = co_await std::move(putting);
  BOOST_TEST(put.has_value(), error_text(put));
}

// A stream of `text` through the spool into the bucket.
engine::task<void> back_up(store_wire& net, s3::multipart_upload& upload, const std::string& where,
                           const std::string& text) {
  engine::spool_options options;
  options.directory = where;
  options.part_bytes = 5 * mebibyte;
  options.budget_bytes = 15 * mebibyte;
  auto made = engine::spool::create(*net.loop, options, net.log);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  engine::spool& disk = **made;
  engine::buffer_pool pool(*net.loop, mebibyte, engine::stream_slots + 3, net.log);
  engine::hash_worker hashes(*net.loop);
  auto ends = engine::make_pipe();
  BOOST_REQUIRE(ends.has_value());
  engine::async_scope scope(*net.loop);
  scope.spawn(write_all(*net.loop, std::move(ends->write_end), text));
  engine::part_stream_limits limits;
  limits.part_bytes = 5 * mebibyte;
  limits.chunk_bytes = 1000 * mebibyte;
  limits.payload_sha256 = true;
  engine::spooled_part_stream stream(
      *net.loop, disk, pool, hashes, ends->read_end.get(), limits,
      [](std::span<const std::byte>) -> engine::result<void> { return engine::ok(); });
  for (;;) {
    auto next = co_await stream.next();
    BOOST_REQUIRE_MESSAGE(next.has_value(), error_text(next));
    if (!*next) {
      break;
    }
    scope.spawn(upload_spooled(disk, pool, upload, std::move(**next)));
  }
  co_await scope.join();
  co_await stream.close();
  BOOST_TEST(disk.free_parts() == 3U);
  BOOST_TEST(pool.free_slots() == pool.slots());
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_stream_goes_through_the_spool_into_the_bucket) {
  store_wire net;
  const engine::testing::scratch_directory here;
  s3::multipart_upload upload(*net.loop, net.store, net.log, s3::object_key("key"),
                              s3::write_options());
  request_match third(s3_verb::upload_part, 3, 1);
  net.server.script(third, scripted_action::reset_after(2 * mebibyte));
  const std::string text = random_text(42 * mebibyte + 4321);
  net.run(back_up(net, upload, here.path(), text));
  const auto stored = net.run(upload.complete({}));
  BOOST_REQUIRE_MESSAGE(stored.has_value(), error_text(stored));
  BOOST_TEST(stored->size == text.size());
  BOOST_TEST((net.server.object("bucket", "key")->body == text));
  BOOST_TEST(net.server.count(s3_verb::upload_part) == 10U);
  BOOST_TEST(here.files() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()
