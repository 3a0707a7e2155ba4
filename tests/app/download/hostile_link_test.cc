// Streams that are not what a backup made, and of other backups.
#include "app/download/download_link.hh"

#include "tests/app/download/link_transfer.hh"

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <memory>
#include <string>

using namespace bts3;
using namespace bts3::app;
using transfer = bts3::testing::link_transfer;
namespace send = bts3::testing::send;

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

BOOST_AUTO_TEST_SUITE(hostile_link_suite)

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

BOOST_AUTO_TEST_SUITE_END()
