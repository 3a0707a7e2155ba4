#include "s3/verbs/ranged_download.hh"

#include "tests/s3/verbs/store_support.hh"

#include <algorithm>

using namespace bts3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

struct download_wire : store_wire {
  explicit download_wire(std::size_t bytes) : content(random_text(bytes)) {
    server.put("bucket", "key", content);
  }

  s3::ranged_download open() {
    auto opened = run(s3::ranged_download::open(store, s3::object_key("key"), {}));
    BOOST_REQUIRE_MESSAGE(opened.has_value(), error_text(opened));
    return std::move(*opened);
  }

  engine::result<void> fetch(s3::ranged_download& from, std::uint64_t offset, std::string& into) {
    return run(from.fetch(offset, std::as_writable_bytes(std::span(into.data(), into.size())), {}));
  }

  std::string content;
};

engine::task<void> fetch_one(s3::ranged_download& from, std::uint64_t offset,
                             std::span<std::byte> into, std::vector<std::string>& failures) {
  auto fetching = from.fetch(offset, into, {});
  auto fetched = co_await std::move(fetching);
  if (!fetched) {
    failures.push_back(fetched.error().text());
  }
}

engine::task<void> fetch_all(engine::reactor& loop, s3::ranged_download& from,
                             std::span<std::byte> into, std::size_t piece,
                             std::vector<std::string>& failures) {
  engine::async_scope scope(loop);
  for (std::size_t at = 0; at < into.size(); at += piece) {
    scope.spawn(fetch_one(from, at, into.subspan(at, std::min(piece, into.size() - at)), failures));
  }
  co_await scope.join();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(ranged_download)

BOOST_AUTO_TEST_CASE(ranges_fetched_at_the_same_time_make_the_object) {
  download_wire net(3'000'001);
  auto from = net.open();
  BOOST_TEST(from.key().str() == "key");
  BOOST_TEST(from.info().size == net.content.size());
  std::string back(net.content.size(), '\0');
  std::vector<std::string> failures;
  net.run(fetch_all(*net.loop, from, std::as_writable_bytes(std::span(back.data(), back.size())),
                    400'000, failures));
  BOOST_TEST(failures.empty());
  BOOST_TEST((back == net.content));
  BOOST_TEST(net.server.count(s3_verb::get_object) == 8U);
  for (const recorded_request& request : net.server.requests()) {
    if (request.verb == s3_verb::get_object) {
      BOOST_TEST(!request.header("if-match").empty());
      BOOST_TEST(request.header("range").starts_with("bytes="));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_short_answer_is_fetched_again_on_a_new_connection) {
  download_wire net(100'000);
  auto from = net.open();
  net.server.script({s3_verb::get_object, 1, 1}, scripted_action::cut_answer(5000));
  net.server.script({s3_verb::get_object, 2, 1}, scripted_action::cut_answer(5000, true));
  // A proxy that honestly sends less than it was asked for.
  net.server.script(
      {s3_verb::get_object, 3, 1},
      scripted_action::perform_then([](server_answer& answer) { answer.body.resize(1000); }));
  std::string back(50'000, '\0');
  const auto fetched = net.fetch(from, 20'000, back);
  BOOST_REQUIRE_MESSAGE(fetched.has_value(), error_text(fetched));
  BOOST_TEST((back == net.content.substr(20'000, 50'000)));
  BOOST_TEST(net.server.count(s3_verb::get_object) == 4U);
}

// As a proxy may answer that drops the Range: with the whole object, or with as much as fits.
BOOST_AUTO_TEST_CASE(a_whole_object_instead_of_a_range_is_never_taken_for_it) {
  for (const std::size_t bytes : {std::size_t{100'000}, std::size_t{10'000}}) {
    download_wire net(100'000);
    auto from = net.open();
    net.server.script({s3_verb::get_object, 1, 2},
                      scripted_action::perform_then([&net, bytes](server_answer& answer) {
                        answer.status = 200;
                        answer.erase("Content-Range");
                        answer.body = net.content.substr(0, bytes);
                      }));
    std::string back(10'000, '\0');
    const auto fetched = net.fetch(from, 50'000, back);
    BOOST_REQUIRE_MESSAGE(fetched.has_value(), error_text(fetched));
    BOOST_TEST((back == net.content.substr(50'000, 10'000)));
    BOOST_TEST(net.server.count(s3_verb::get_object) == 3U);
  }
}

BOOST_AUTO_TEST_CASE(a_store_that_always_ignores_the_range_is_named_after_five_attempts) {
  download_wire net(100'000);
  auto from = net.open();
  net.server.script({s3_verb::get_object, 1, 0},
                    scripted_action::perform_then([&net](server_answer& answer) {
                      answer.status = 200;
                      answer.erase("Content-Range");
                      answer.body = net.content;
                    }));
  std::string back(10'000, '\0');
  const auto fetched = net.fetch(from, 50'000, back);
  BOOST_REQUIRE(!fetched.has_value());
  BOOST_TEST((fetched.error().why == reason::protocol));
  BOOST_TEST(fetched.error().message.find("asked for bytes 50000-59999, the store answered 200") !=
             std::string::npos);
  BOOST_TEST(net.server.count(s3_verb::get_object) == 5U);
}

BOOST_AUTO_TEST_CASE(an_object_that_changed_is_a_precondition_error) {
  download_wire net(100'000);
  auto from = net.open();
  net.server.put("bucket", "key", random_text(100'000, 2));
  std::string back(1000, '\0');
  const auto fetched = net.fetch(from, 0, back);
  BOOST_REQUIRE(!fetched.has_value());
  BOOST_TEST((fetched.error().why == reason::precondition));
  BOOST_TEST((fetched.error().what_now == disposition::fail));
  BOOST_TEST(fetched.error().message.find("replaced") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_store_that_compares_badly_is_read_without_the_condition) {
  download_wire net(100'000);
  auto from = net.open();
  net.server.script(s3_verb::get_object, scripted_action::answer(412, "PreconditionFailed"));
  std::string back(1000, '\0');
  for (int i = 0; i < 2; ++i) {
    const auto fetched = net.fetch(from, 7, back);
    BOOST_REQUIRE_MESSAGE(fetched.has_value(), error_text(fetched));
    BOOST_TEST((back == net.content.substr(7, 1000)));
  }
  BOOST_TEST(net.server.count(s3_verb::get_object) == 3U);
  BOOST_TEST(net.server.count(s3_verb::head_object) == 2U);
}

BOOST_AUTO_TEST_CASE(a_range_beyond_the_object_costs_no_request) {
  download_wire net(1000);
  auto from = net.open();
  net.server.forget_requests();
  std::string back(10, '\0');
  for (const std::uint64_t offset : {std::uint64_t{991}, std::uint64_t{1001}, UINT64_MAX}) {
    const auto fetched = net.fetch(from, offset, back);
    BOOST_REQUIRE(!fetched.has_value());
    BOOST_TEST((fetched.error().why == reason::integrity));
  }
  BOOST_TEST(net.server.requests().empty());
}

BOOST_AUTO_TEST_CASE(an_object_that_is_not_there_is_not_found) {
  download_wire net(10);
  const auto opened = net.run(s3::ranged_download::open(net.store, s3::object_key("other"), {}));
  BOOST_REQUIRE(!opened.has_value());
  BOOST_TEST((opened.error().what_now == disposition::not_found));
}

BOOST_AUTO_TEST_CASE(an_archived_object_is_not_thawed) {
  download_wire net(10);
  net.server.put("bucket", "key", net.content, {{"x-amz-storage-class", "DEEP_ARCHIVE"}});
  auto from = net.open();
  BOOST_TEST(from.info().stored_as.str() == "DEEP_ARCHIVE");
  std::string back(10, '\0');
  const auto fetched = net.fetch(from, 0, back);
  BOOST_REQUIRE(!fetched.has_value());
  BOOST_TEST((fetched.error().why == reason::not_thawed));
}

BOOST_AUTO_TEST_SUITE_END()
