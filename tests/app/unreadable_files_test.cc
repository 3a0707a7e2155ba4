// A disk that does not give back what was written. A read error is an error: it is neither an empty
// file nor a damaged one, and nothing is deleted, truncated, replaced or moved aside for it.
#include "app/journal.hh"
#include "app/state_store.hh"
#include "app/verify_record.hh"
#include "tests/app/backup_rig.hh"
#include "tests/support/failing_read.hh"
#include "tests/support/memory_store.hh"

#include <cerrno>
#include <filesystem>
#include <string>

using namespace bts3;
using namespace bts3::testing;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct scene {
  scene() {
    rig.shared_loop = std::move(*engine::reactor::create());
    objects = std::make_unique<memory_store>(*rig.shared_loop);
    rig.tuning.store = objects.get();
  }

  void interrupt_at(std::size_t step) {
    engine::error gone = memory_store::lost_connection();
    gone.what_now = engine::disposition::fail;
    objects->fail_from(objects->steps() + step, gone);
    BOOST_TEST(rig.run_text() != "done");
    objects->never_fail();
    rig.log.lines.clear();
  }

  [[nodiscard]] std::string journal() const {
    return app::journal_path(rig.settings.state_path, "data", false);
  }

  bucket_contents contents() const {
    bucket_contents there;
    for (const auto& [key, object] : objects->objects()) {
      there.objects[key] = object.body;
    }
    for (const auto& [id, upload] : objects->uploads()) {
      there.uploads[upload.key.str() + " " + id];
    }
    return there;
  }

  backup_rig rig;
  std::unique_ptr<memory_store> objects;
};

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
      const auto snapshots = here.rig.disk.snapshots();
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
        BOOST_TEST((here.rig.disk.snapshots() == snapshots));
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
    const std::string text = content_of(here.rig.settings.state_path);
    {
      const failing_read broken(here.rig.settings.state_path, before);
      const std::string said = here.rig.run_text();
      BOOST_TEST(broken.happened());
      BOOST_TEST(has(said, "Input/output error"), said);
      BOOST_TEST(has(said, "global.state_path"), said);
    }
    BOOST_TEST(content_of(here.rig.settings.state_path) == text);
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
  const std::string text = content_of(here.rig.settings.state_path);
  app::state_store states(here.rig.settings.state_path, here.rig.clock, here.rig.log);
  const failing_read broken(here.rig.settings.state_path);
  BOOST_TEST(!states.save(app::run_state()).has_value());
  BOOST_TEST(!states.peek().has_value());
  BOOST_TEST(!states.is_damaged().has_value());
  BOOST_TEST(content_of(app::verify_record_path(here.rig.settings.state_path)).empty());
}

BOOST_AUTO_TEST_CASE(a_record_of_verifications_that_cannot_be_read_is_not_replaced) {
  scene here;
  const std::string state = here.rig.settings.state_path;
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

BOOST_AUTO_TEST_SUITE_END()
