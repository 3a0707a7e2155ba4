// A disk that does not give back what was written. A read error is an error: it is neither an empty
// file nor a damaged one, and nothing is deleted, truncated, replaced or moved aside for it.
#include "app/records/journal_file.hh"
#include "app/records/state_store.hh"
#include "app/records/verify_record.hh"
#include "tests/app/backup/memory_scene.hh"
#include "tests/support/failing_read.hh"

#include <cerrno>
#include <filesystem>
#include <string>

using namespace bts3;
using namespace bts3::testing;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

using scene = memory_scene;

}  // namespace

BOOST_AUTO_TEST_SUITE(unreadable_files_suite)

// At each of the readings that a run makes of it: whose it is, what it says, where it ends.
BOOST_AUTO_TEST_CASE(a_journal_that_cannot_be_read_stays_with_all_that_it_names) {
  int failures = 0;
  for (int before = 0; before < 24; ++before) {
    BOOST_TEST_CONTEXT("after " << before << " readings") {
      scene here;
      here.interrupt_at(8);
      const std::string text = content_of(here.journal());
      const bucket_contents there = here.contents();
      const auto snapshots = here.rig.disk.snapshot_paths();
      BOOST_REQUIRE(there.uploads.size() == 2U);
      {
        const failing_read broken(here.journal(), before);
        const std::string said = here.rig.run_text();
        if (!broken.happened()) {
          BOOST_TEST(said == "done");
          continue;
        }
        ++failures;
        if (said != "done") {
          BOOST_TEST(has(said, "Input/output error"), said);
          BOOST_TEST((here.contents().uploads == there.uploads));
        }
      }
      if (std::filesystem::exists(here.journal())) {
        BOOST_TEST(content_of(here.journal()).starts_with(text));
        BOOST_TEST((here.rig.disk.snapshot_paths() == snapshots));
      }
      BOOST_TEST(here.rig.run_text() == "done");
      BOOST_TEST(here.rig.published_problem(here.contents()) == "");
    }
  }
  BOOST_TEST(failures >= 4);
}

// The intent is read, and what comes after it is not.
BOOST_AUTO_TEST_CASE(a_journal_that_is_read_in_part_is_an_error) {
  scene here;
  here.interrupt_at(8);
  const failing_read broken(here.journal(), 1);
  const auto record = app::read_journal(here.journal());
  BOOST_REQUIRE(!record.has_value());
  BOOST_TEST((record.error().why == engine::reason::system));
  BOOST_TEST(record.error().status == EIO);
}

BOOST_AUTO_TEST_CASE(a_state_file_that_cannot_be_read_is_not_moved_aside) {
  for (const int before : {0, 1}) {
    scene here;
    BOOST_TEST(here.rig.run_text() == "done");
    const std::string text = content_of(here.rig.settings.global.state_path);
    {
      const failing_read broken(here.rig.settings.global.state_path, before);
      const std::string said = here.rig.run_text();
      BOOST_TEST(broken.happened());
      BOOST_TEST(has(said, "Input/output error"), said);
      BOOST_TEST(has(said, "global.state_path"), said);
    }
    BOOST_TEST(content_of(here.rig.settings.global.state_path) == text);
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(here.rig.place / ""))) {
      BOOST_TEST(!has(entry.path().string(), "damaged"), entry.path().string());
    }
  }
}

// What an older version does not know is kept: a file that cannot be read is not written over.
BOOST_AUTO_TEST_CASE(a_state_file_that_cannot_be_read_is_not_replaced) {
  scene here;
  BOOST_TEST(here.rig.run_text() == "done");
  const std::string text = content_of(here.rig.settings.global.state_path);
  app::state_store states(here.rig.settings.global.state_path, here.rig.clock, here.rig.log);
  const failing_read broken(here.rig.settings.global.state_path);
  BOOST_TEST(!states.save(app::run_state()).has_value());
  BOOST_TEST(!states.peek().has_value());
  BOOST_TEST(!states.is_damaged().has_value());
  BOOST_TEST(content_of(app::verify_record_path(here.rig.settings.global.state_path)).empty());
}

BOOST_AUTO_TEST_CASE(a_record_of_verifications_that_cannot_be_read_is_not_replaced) {
  scene here;
  const std::string state = here.rig.settings.global.state_path;
  app::verified_subvolume one;
  one.place = "here";
  one.runs[app::verification_kind::deep] = planner::timestamp::parse("20260101T000000Z").value();
  BOOST_REQUIRE(app::merge_into_record(state, "data", {}, one).has_value());
  const std::string text = content_of(app::verify_record_path(state));
  BOOST_REQUIRE(!text.empty());
  for (const int before : {0, 1}) {
    const failing_read broken(app::verify_record_path(state), before);
    auto merged = app::merge_into_record(state, "more", {}, one);
    BOOST_TEST(broken.happened());
    BOOST_REQUIRE(!merged.has_value());
    BOOST_TEST((merged.error().why == engine::reason::system));
  }
  BOOST_TEST(content_of(app::verify_record_path(state)) == text);
}

namespace {

// As btrfs send ends at a file of the source that cannot be read.
void send_breaks_off(scene& here, const std::string& code) {
  here.rig.disk.printed_max = 4 * backup_rig::part_bytes + 1000;
  here.rig.disk.afterwards =
      "echo 'ERROR: send ioctl failed with " + code + ": it says' >&2; exit 1";
}

void send_is_whole(scene& here) {
  here.rig.disk.printed_max = SIZE_MAX;
  here.rig.disk.afterwards.clear();
}

}  // namespace

// A file of the source that cannot be read is named, and what was uploaded before it is kept: once
// it is gone or readable, only the rest is sent.
BOOST_AUTO_TEST_CASE(an_upload_before_a_file_that_cannot_be_read_is_kept_and_gone_on_with) {
  scene here;
  // In the snapshot and in the source: the only file that a played snapshot has.
  write_file(here.rig.place / "data/stream", std::string(5000, 'p'));
  send_breaks_off(here, "-5");
  for (int night = 0; night < 2; ++night) {
    const failing_read broken("*/stream");
    const std::string said = here.rig.run_text();
    BOOST_TEST(broken.happened());
    BOOST_TEST(has(said, ", stream: Input/output error at byte 0"), said);
    BOOST_TEST(has(said, "what is uploaded is kept until then"), said);
    BOOST_TEST(!here.objects->uploads().empty());
    BOOST_TEST(here.objects->count("AbortMultipartUpload") == 0U);
    // Of the part that was on its way when the sender ended nothing is certain.
    BOOST_TEST(has(here.rig.journal_text(), "0: 1 2 3"), here.rig.journal_text());
  }
  // The second night had nothing new of the first chunk to send.
  std::size_t first_chunks = 0;
  for (const memory_store::recorded_call& call : here.objects->calls()) {
    first_chunks += call.verb == "CreateMultipartUpload" && has(call.key, "-0.bin") ? 1U : 0U;
  }
  BOOST_TEST(first_chunks == 1U);
  const std::size_t parts = here.objects->count("UploadPart");
  send_is_whole(here);
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  BOOST_TEST(here.objects->count("UploadPart") < parts + 6U);
}

// Where the file was mended or deleted meanwhile in the source, the snapshot's is not: a new one is
// sent, in the same run where that is known.
BOOST_AUTO_TEST_CASE(a_sender_that_fails_with_minus_5_and_no_file_that_does_is_told_as_it_is) {
  scene here;
  send_breaks_off(here, "-5");
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said, "failed with -5"), said);
  BOOST_TEST(!has(said, "; it is "), said);
  send_is_whole(here);
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

// Another failure of the sender names no file and reads none.
BOOST_AUTO_TEST_CASE(a_sender_that_fails_otherwise_has_no_file_looked_for) {
  scene here;
  send_breaks_off(here, "-12");
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said, "failed with -12"), said);
  BOOST_TEST(!here.rig.log.contains("looking_for_unsendable_files"));
  send_is_whole(here);
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

BOOST_AUTO_TEST_SUITE_END()
