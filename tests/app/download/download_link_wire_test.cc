// A link on its way from a server into a pipe, over the wire: what each misbehaviour costs in
// requests, and what becomes of the stream.
#include "app/download/download_link.hh"

#include "tests/app/backup/send_stream.hh"
#include "tests/s3/verbs/store_support.hh"
#include "tests/support/outcome.hh"
#include "tests/support/real_btrfs.hh"

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <utility>

using namespace bts3;
using namespace bts3::app;
using namespace bts3::testing;

namespace {

constexpr std::size_t part_size = 64 * 1024;

// One chunk of seven parts on a scripted server, and what comes out of the pipe.
class wired_transfer {
 public:
  wired_transfer() : stream(stream_of(400'000)) {
    net.server.put("bucket", "chunk", stream);
    located_chunk chunk;
    chunk.key = s3::object_key("chunk");
    chunk.record.key = "chunk";
    chunk.record.size = stream.size();
    chunk.record.sha256 = digest_of(stream);
    chunk.record.part_size = part_size;
    engine::sha256_hasher hasher;
    for (std::size_t at = 0; at + part_size < stream.size(); at += part_size) {
      hasher.update(octets_of(std::string_view(stream).substr(at, part_size)));
      chunk.record.part_states.push_back(hasher.state()->words);
    }
    auto head = net.run(net.store.head_object(chunk.key, {}));
    BOOST_REQUIRE_MESSAGE(head.has_value(), error_text(head));
    chunk.info = *head;
    chunks.push_back(std::move(chunk));
    net.server.forget_requests();
  }

  engine::result<void> run() {
    auto ends = engine::make_pipe();
    BOOST_REQUIRE(ends.has_value());
    BOOST_REQUIRE(engine::set_nonblocking(ends->write_end.get()).has_value());
    std::thread drain([this, fd = ends->read_end.get()] {
      before_reading();
      std::string piece(4096, '\0');
      for (ssize_t count = 0; (count = ::read(fd, piece.data(), piece.size())) > 0;) {
        released.append(piece, 0, static_cast<std::size_t>(count));
      }
    });
    engine::result<void> outcome = engine::ok();
    {
      const config settings;
      const services with{*net.loop,
                          net.log,
                          net.clock,
                          settings,
                          bts3::testing::real_btrfs(),
                          [](std::string_view) { return std::nullopt; },
                          {}};
      engine::buffer_pool pool(*net.loop, part_size, slots, net.log);
      engine::hash_worker hashes(*net.loop);
      {
        download_link link(with, net.store, pool, hashes, chunks, shown);
        outcome = net.loop->run(link.run(ends->write_end.get()));
      }
      BOOST_TEST(pool.free_slots() == slots);
    }
    ends->write_end.reset();
    drain.join();
    return outcome;
  }

  // Whether so many GETs arrive, given half a minute.
  [[nodiscard]] bool sees_gets(std::size_t wanted) const {
    for (int turns = 0; turns < 3'000 && gets() < wanted; ++turns) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return gets() >= wanted;
  }
  [[nodiscard]] std::size_t gets() const { return net.server.count(s3_verb::get_object); }
  [[nodiscard]] std::size_t heads() const { return net.server.count(s3_verb::head_object); }
  void check_whole(std::size_t gets_expected) {
    auto done = run();
    BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
    BOOST_TEST((released == stream));
    BOOST_TEST(gets() == gets_expected);
    for (const recorded_request& request : net.server.requests()) {
      BOOST_TEST((request.verb != s3_verb::get_object || !request.header("if-match").empty()));
    }
  }
  // What came out is the beginning, and not all.
  void check_prefix() const {
    BOOST_TEST(released.size() < stream.size());
    BOOST_TEST((stream.compare(0, released.size(), released) == 0));
  }

  store_wire net;
  std::string stream;
  std::vector<located_chunk> chunks;
  std::string released;
  std::size_t slots = 3;
  progress* shown = nullptr;
  std::function<void()> before_reading = [] {};  // in the thread that empties the pipe
};

void flip(server_answer& answer) {
  answer.body[answer.body.size() / 2] = static_cast<char>(answer.body[answer.body.size() / 2] ^ 1);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(download_link_wire_suite)

BOOST_AUTO_TEST_CASE(a_sound_server_is_asked_once_for_each_part) {
  wired_transfer one;
  one.check_whole(7);
  BOOST_TEST(one.heads() == 0U);
}

// Slots that a fast server does not need stay untouched: memory costs time at its first use.
BOOST_AUTO_TEST_CASE(a_receiver_that_is_the_slower_one_is_not_run_ahead_of) {
  wired_transfer one;
  one.slots = 5;
  std::size_t before_first_read = 0;
  one.before_reading = [&] {
    (void)one.sees_gets(3);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // for a fourth, if one came
    before_first_read = one.gets();
  };
  one.check_whole(7);
  BOOST_TEST(before_first_read == 3U);  // the pipe holds the first part
}

BOOST_AUTO_TEST_CASE(a_receiver_that_waits_for_a_slow_server_gets_more_parts_at_a_time) {
  wired_transfer one;
  one.slots = 5;
  // Two answers, and none for the four requests that come next: two parts at a time would make two
  // of these. A part whose answer came out of order keeps its slot, so five are needed for four.
  one.net.server.script(request_match(s3_verb::get_object, 3, 4),
                        scripted_action::stall_before_answer());
  bool all_asked_for = false;
  std::thread watch([&] {
    all_asked_for = one.net.server.wait_for_stalls(4);
    one.net.server.release_stalls();
  });
  one.check_whole(7 + 4);  // a stalled request is asked again
  watch.join();
  BOOST_TEST(all_asked_for);
}

BOOST_AUTO_TEST_CASE(a_part_damaged_once_costs_one_request_more_on_a_new_connection) {
  wired_transfer one;
  one.net.server.script(request_match(s3_verb::get_object, 3, 1),
                        scripted_action::perform_then(flip));
  one.check_whole(8);
  const auto requests = one.net.server.requests();
  std::vector<const recorded_request*> same;
  for (const recorded_request& request : requests) {
    const auto twice = std::count_if(requests.begin(), requests.end(), [&](const auto& other) {
      return other.header("range") == request.header("range");
    });
    if (twice == 2) {
      same.push_back(&request);
    }
  }
  BOOST_REQUIRE(same.size() == 2U);
  BOOST_TEST(std::none_of(requests.begin(), requests.end(), [&](const recorded_request& other) {
    return &other < same[1] && other.connection == same[1]->connection;
  }));
}

BOOST_AUTO_TEST_CASE(a_part_that_is_always_damaged_is_fetched_three_times_and_named) {
  wired_transfer one;
  std::string body = one.stream;
  body[5 * part_size + 7] = static_cast<char>(body[5 * part_size + 7] ^ 1);
  one.net.server.put("bucket", "chunk", body);
  auto head = one.net.run(one.net.store.head_object(s3::object_key("chunk"), {}));
  BOOST_REQUIRE(head.has_value());
  one.chunks[0].info = *head;
  one.net.server.forget_requests();
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error().why == engine::reason::integrity));
  BOOST_TEST(has(done.error().message, "chunk chunk, part 6"), error_text(done));
  one.check_prefix();
  const auto requests = one.net.server.requests();
  BOOST_TEST(std::count_if(requests.begin(), requests.end(), [](const recorded_request& request) {
               return request.header("range").starts_with("bytes=" + std::to_string(5 * part_size));
             }) == 3);
}

BOOST_AUTO_TEST_CASE(a_short_body_and_a_lost_connection_are_fetched_again) {
  for (const bool reset : {false, true}) {
    wired_transfer one;
    one.net.server.script(request_match(s3_verb::get_object, 2, 1),
                          scripted_action::cut_answer(1000, reset));
    one.check_whole(8);
  }
  wired_transfer busy;
  busy.net.server.script(request_match(s3_verb::get_object, 2, 2),
                         scripted_action::answer(503, "SlowDown"));
  busy.check_whole(9);
}

BOOST_AUTO_TEST_CASE(a_whole_object_instead_of_a_range_is_not_taken_for_it) {
  wired_transfer one;
  one.net.server.script(request_match(s3_verb::get_object, 2, 1),
                        scripted_action::perform_then([](server_answer& answer) {
                          answer.status = 200;
                          answer.erase("Content-Range");
                        }));
  one.check_whole(8);
}

BOOST_AUTO_TEST_CASE(an_object_that_changes_is_412_and_ends_it) {
  wired_transfer one;
  one.net.server.script(
      request_match(s3_verb::get_object, 4, 1), scripted_action::perform_then([&](server_answer&) {
        one.net.server.put("bucket", "chunk", std::string(one.stream.size(), 'x'));
      }));
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST(has(done.error().text(), "was replaced while it was being restored"));
  one.check_prefix();
  BOOST_TEST(one.heads() >= 1U);
}

BOOST_AUTO_TEST_CASE(a_store_that_compares_badly_is_read_without_the_condition) {
  wired_transfer one;
  one.net.server.script(request_match(s3_verb::get_object, 1, 1),
                        scripted_action::answer(412, "PreconditionFailed"));
  auto done = one.run();
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((one.released == one.stream));
  BOOST_TEST(one.gets() == 8U);
  BOOST_TEST(one.heads() == 1U);
}

BOOST_AUTO_TEST_CASE(a_chunk_that_is_gone_ends_it_at_once) {
  wired_transfer one;
  one.net.server.script(request_match(s3_verb::get_object, 1, 0),
                        scripted_action::answer(404, "NoSuchKey"));
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error().what_now == engine::disposition::not_found), error_text(done));
  BOOST_TEST(one.released.empty());
  BOOST_TEST(one.gets() <= 3U);  // those in flight
}

BOOST_AUTO_TEST_CASE(an_archived_chunk_is_invalid_object_state_and_no_retry) {
  wired_transfer one;
  one.net.server.script(request_match(s3_verb::get_object, 1, 0),
                        scripted_action::answer(403, "InvalidObjectState"));
  auto done = one.run();
  BOOST_REQUIRE(!done);
  BOOST_TEST((done.error().why == engine::reason::not_thawed), error_text(done));
  BOOST_TEST(one.gets() <= 3U);
}

// Without it, a line that takes a minute for a part shows nothing for a minute.
BOOST_AUTO_TEST_CASE(on_a_slow_line_what_is_shown_grows_within_a_part) {
  wired_transfer transfer;
  transfer.slots = 2;
  // Seven parts, each of which takes a third of a second.
  request_match every(s3_verb::get_object, 1, 0);
  transfer.net.server.script(every,
                             scripted_action::answer_slowly(2'048, std::chrono::milliseconds(10)));
  std::set<std::string> figures;
  std::uint64_t last = 0;
  live_line line(-1, [&](const std::string& text) {
    figures.insert(text.substr(0, text.find(" of ", text.find(':'))));
  });
  progress_cadence often;
  often.tick = std::chrono::milliseconds(4);
  often.ticks_per_log_line = 0;
  progress shown(*transfer.net.loop, transfer.net.log, &line, "restore", "restoring data (2 of 5)",
                 {}, often);
  shown.set_total(transfer.stream.size());
  shown.watch([&] {
    const std::uint64_t received = transfer.net.transport->counters().body_bytes_received;
    BOOST_TEST(received >= last);
    last = received;
    return received;
  });
  shown.start();
  transfer.shown = &shown;
  transfer.check_whole(transfer.chunks.front().record.part_states.size() + 1);
  BOOST_TEST(shown.bytes() == transfer.stream.size());
  transfer.net.loop->run(shown.stop());
  BOOST_TEST(figures.size() > 16U);  // by whole parts there are eight
  for (const std::string& one : figures) {
    BOOST_TEST(one.starts_with("restoring data (2 of 5): "), one);
  }
}

BOOST_AUTO_TEST_SUITE_END()
