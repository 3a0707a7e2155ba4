// Incrementals that `btrfs receive` would refuse, found before they are published: whole runs over
// a store in memory, with streams whose names matter.
#include "app/proof/parent_model.hh"
#include "app/proof/refused_streams.hh"
#include "engine/age/random.hh"
#include "engine/age/x25519.hh"
#include "tests/app/backup/memory_scene.hh"
#include "tests/btrfs/index/support.hh"
#include "tests/support/index_of.hh"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;
using namespace bts3::btrfs::index::testing;
using namespace bts3::btrfs::send_format;

namespace {

std::string stream_with(const std::string& commands) {
  return send::header() + send::subvol(std::string(40, 'd')) + commands + send::end();
}

struct proof_scene : memory_scene {
  proof_scene() {
    rig.settings.index.prove = true;
    rig.settings.snapshots.retain = 1;
    rig.disk.names_parents = true;
    // A full has a time of its own, and this clock goes by itself no further.
    rig.log.on_line = [this](const std::string& line) {
      rig.clock.time += std::chrono::seconds(line.starts_with("proof_refused") ? 1 : 0);
    };
    rig.disk.stream = stream_with(make(command_mkdir, "d", 257) + make(command_mkfile, "d/f", 258) +
                                  write_data(1, "d/f", 0, std::string(20'000, 'x')));
  }

  void a_week_passes(const std::string& commands) {
    rig.clock.time += std::chrono::days(8);
    rig.disk.stream = stream_with(commands);
  }
  void full_backup() {
    BOOST_TEST(rig.run_text() == "done");
    rig.log.lines.clear();
  }
  [[nodiscard]] std::string model() const {
    return app::parent_model::path_of(rig.settings.global.state_path, "data");
  }
  [[nodiscard]] std::size_t links() const { return rig.chain_in(contents()).size(); }
  // What is wrong with the bucket, but for what `before` had.
  [[nodiscard]] std::string problem_beside(const bucket_contents& before) const {
    bucket_contents now = contents();
    for (const auto& [key, body] : before.objects) {
      if (!key.ends_with("current.json")) {
        now.objects.erase(key);
      }
    }
    return rig.published_problem(now);
  }
  [[nodiscard]] std::vector<std::string> kept(const std::string& ending) const {
    std::vector<std::string> found;
    const std::string directory = app::refused_streams_in(rig.settings.global.state_path);
    if (std::filesystem::exists(directory)) {
      for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        if (entry.path().extension() == ending) {
          found.push_back(entry.path().string());
        }
      }
    }
    return found;
  }
  static std::string text_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void refused_and_replaced() {
    full_backup();
    const bucket_contents before = contents();
    a_week_passes(move_name("e", "g"));
    BOOST_TEST(rig.run_text() == "done");
    BOOST_TEST(rig.log.contains("proof_refused"));
    BOOST_TEST(rig.log.contains("there is no \"e\""));
    BOOST_TEST(rig.log.contains("reason=proof_refused"));
    BOOST_TEST(links() == 1U);
    BOOST_TEST(problem_beside(before) == "");
    BOOST_TEST(rig.left.empty());
  }
};

const std::string sound = move_name("d/f", "g") + make(command_mkfile, "h", 259);

}  // namespace

BOOST_FIXTURE_TEST_SUITE(proof_suite, proof_scene)

BOOST_AUTO_TEST_CASE(what_receive_would_refuse_is_not_published_and_a_full_is_made) {
  refused_and_replaced();
  BOOST_TEST(rig.disk.described == 1U);
  BOOST_TEST(rig.disk.sends == 3U);
  BOOST_TEST(!rig.log.contains("not_proven"));
}

BOOST_AUTO_TEST_CASE(its_description_is_kept_and_only_a_few_are) {
  refused_and_replaced();
  const auto texts = kept(".txt");
  const auto records = kept(".zst");
  BOOST_REQUIRE(texts.size() == 1U);
  BOOST_REQUIRE(records.size() == 1U);
  BOOST_TEST(text_of(texts[0]).find("rename e -> g") != std::string::npos);
  BOOST_TEST(rig.log.contains(texts[0]));
  struct stat info{};
  const std::string directory = app::refused_streams_in(rig.settings.global.state_path);
  BOOST_REQUIRE(::stat(directory.c_str(), &info) == 0);
  BOOST_TEST((info.st_mode & 0777) == 0700U);
  BOOST_REQUIRE(::stat(records[0].c_str(), &info) == 0);
  BOOST_TEST((info.st_mode & 0777) == 0600U);
  BOOST_TEST(text_of(records[0]).size() > 50U);
  const std::string oldest = texts[0];
  rig.disk.description = stream_with(make(command_mkdir, "d", 257));
  for (std::size_t i = 0; i < app::refused_streams_max; ++i) {
    a_week_passes(take_away(command_unlink, "d/none"));
    BOOST_TEST(rig.run_text() == "done");
  }
  BOOST_TEST(kept(".txt").size() == app::refused_streams_max);
  BOOST_TEST(kept(".zst").size() == app::refused_streams_max);
  BOOST_TEST(!std::filesystem::exists(oldest));
}

BOOST_AUTO_TEST_CASE(what_can_be_received_is_published_and_its_model_goes_along) {
  full_backup();
  a_week_passes(sound);
  BOOST_TEST(rig.run_text() == "done");
  a_week_passes(move_name("g", "d/f") + take_away(command_unlink, "h"));
  BOOST_TEST(rig.run_text() == "done");
  a_week_passes(take_away(command_unlink, "d/f") + take_away(command_rmdir, "d"));
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(links() == 4U);
  BOOST_TEST(rig.published_problem(contents()) == "");
  BOOST_TEST(rig.disk.described == 1U);
  BOOST_TEST(!rig.log.contains("proof_refused"));
  BOOST_TEST(!rig.log.contains("not_proven"));
  struct stat info{};
  BOOST_REQUIRE(::stat(model().c_str(), &info) == 0);
  BOOST_TEST((info.st_mode & 0777) == 0600U);
  BOOST_REQUIRE(::stat(std::filesystem::path(model()).parent_path().c_str(), &info) == 0);
  BOOST_TEST((info.st_mode & 0777) == 0700U);
}

BOOST_AUTO_TEST_CASE(a_model_that_is_lost_or_damaged_is_made_anew) {
  full_backup();
  a_week_passes(sound);
  BOOST_TEST(rig.run_text() == "done");
  // As the parent has it by now.
  rig.disk.description =
      stream_with(make(command_mkdir, "d", 257) + make(command_mkfile, "g", 258) +
                  tell_extent("g", 0, 200) + make(command_mkfile, "h", 259));
  std::filesystem::remove(model());
  a_week_passes(take_away(command_unlink, "h"));
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.disk.described == 2U);
  BOOST_TEST(links() == 3U);
  std::ofstream(model(), std::ios::binary) << std::string(10'000, 'x');
  std::filesystem::remove(model() + "-wal");  // which has all of it
  a_week_passes(take_away(command_unlink, "g"));
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.disk.described == 3U);
  BOOST_TEST(links() == 4U);
  BOOST_TEST(!rig.log.contains("not_proven"));
  std::filesystem::remove(model());
  a_week_passes(take_away(command_unlink, "none"));
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.log.contains("proof_refused"));
  BOOST_TEST(links() == 1U);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_proven_is_published_and_told) {
  full_backup();
  rig.disk.description = "no stream at all";
  a_week_passes(move_name("e", "g"));
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.log.contains("not_proven"));
  BOOST_TEST(links() == 2U);
  BOOST_TEST(rig.published_problem(contents()) == "");
  BOOST_TEST(rig.left.empty());
  // The next one is looked at again.
  rig.disk.description.clear();
  rig.disk.description = stream_with(make(command_mkfile, "g", 258));
  rig.log.lines.clear();
  a_week_passes(take_away(command_unlink, "g"));
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(!rig.log.contains("not_proven"));
  BOOST_TEST(links() == 3U);
}

BOOST_AUTO_TEST_CASE(a_place_for_the_model_that_cannot_be_had_fails_no_backup) {
  full_backup();
  std::ofstream(std::filesystem::path(model()).parent_path()) << "a file";
  a_week_passes(sound);
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.log.contains("not_proven"));
  BOOST_TEST(links() == 2U);
}

BOOST_AUTO_TEST_CASE(sealed_backups_and_those_without_an_index_are_proven_too) {
  {
    proof_scene sealed;
    const age::x25519_identity user =
        std::move(*age::x25519_identity::generate(age::system_random()));
    sealed.rig.identity = &user;
    sealed.rig.settings.encryption.recipients = {user.recipient().text()};
    sealed.refused_and_replaced();
    BOOST_TEST(sealed.kept(".zst").size() == 1U);
  }
  rig.settings.index.enabled = false;
  refused_and_replaced();
  BOOST_TEST(kept(".zst").size() == 1U);
}

BOOST_AUTO_TEST_CASE(where_it_is_switched_off_nothing_is_looked_at) {
  rig.settings.index.prove = false;
  full_backup();
  a_week_passes(move_name("e", "g"));
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(links() == 2U);
  BOOST_TEST(rig.disk.described == 0U);
  BOOST_TEST(!std::filesystem::exists(model()));
}

// The store goes away at every request of the run in which a refused incremental makes room for a
// full: a later run ends with a full, and of the incremental nothing is left.
BOOST_AUTO_TEST_CASE(a_run_that_was_interrupted_ends_with_a_full_all_the_same) {
  std::size_t steps = 0;
  {
    proof_scene one;
    one.full_backup();
    one.objects->forget_calls();
    const std::size_t before = one.objects->steps();
    one.a_week_passes(move_name("e", "g"));
    BOOST_TEST(one.rig.run_text() == "done");
    steps = one.objects->steps() - before;
  }
  BOOST_TEST(steps > 8U);
  for (std::size_t step = 1; step <= steps; ++step) {
    BOOST_TEST_CONTEXT("interrupted at " << step) {
      proof_scene here;
      here.full_backup();
      const bucket_contents before = here.contents();
      here.a_week_passes(move_name("e", "g"));
      here.interrupt_at(step);
      BOOST_TEST(here.rig.run_text() == "done");
      BOOST_TEST(here.links() == 1U);
      BOOST_TEST(here.problem_beside(before) == "");
      BOOST_TEST(here.rig.left.empty());
    }
  }
}

// Also where the incremental is sound: whatever was added to the model before a run ended is taken
// away again when its snapshot is sent again.
BOOST_AUTO_TEST_CASE(a_run_that_goes_on_is_proven_again) {
  std::size_t steps = 0;
  {
    proof_scene one;
    one.full_backup();
    const std::size_t before = one.objects->steps();
    one.a_week_passes(sound);
    BOOST_TEST(one.rig.run_text() == "done");
    steps = one.objects->steps() - before;
  }
  for (std::size_t step = 1; step <= steps; ++step) {
    BOOST_TEST_CONTEXT("interrupted at " << step) {
      proof_scene here;
      here.full_backup();
      here.a_week_passes(sound);
      here.interrupt_at(step);
      BOOST_TEST(here.rig.run_text() == "done");
      here.a_week_passes(take_away(command_unlink, "h"));
      BOOST_TEST(here.rig.run_text() == "done");
      BOOST_TEST(!here.rig.log.contains("proof_refused"));
      BOOST_TEST(!here.rig.log.contains("not_proven"));
      BOOST_TEST(here.links() == 3U);
      BOOST_TEST(here.rig.published_problem(here.contents()) == "");
      BOOST_TEST(here.rig.disk.described <= 2U);  // a run that is ended stops it
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
