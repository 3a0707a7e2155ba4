// Backups that are sealed: whole runs over a store in memory, undisturbed and killed anywhere. What
// the store got is opened with the user's identity, which the program never sees here.
#include "engine/age/random.hh"
#include "engine/age/x25519.hh"
#include "tests/app/backup/memory_scene.hh"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

using namespace bts3;
using namespace bts3::testing;

namespace {

age::x25519_identity some_identity() {
  return std::move(*age::x25519_identity::generate(age::system_random()));
}

struct sealed_scene : memory_scene {
  sealed_scene() {
    rig.identity = &user;
    seal();
  }
  void seal() { rig.settings.encryption.recipients = {user.recipient().text()}; }

  // Bodies of parts, as the store has them.
  void collect(std::set<std::string>& bodies) const {
    for (const auto& [key, object] : objects->objects()) {
      for (std::size_t at = 0; key.ends_with(".bin") && at < object.body.size();
           at += backup_rig::part_bytes) {
        bodies.insert(object.body.substr(at, backup_rig::part_bytes));
      }
    }
    for (const auto& [id, upload] : objects->uploads()) {
      for (const auto& [number, part] : upload.parts) {
        bodies.insert(part.body);
      }
    }
  }
  // Whether anything that a store or its readers must not see is in any object or part.
  [[nodiscard]] std::string revealed() const {
    std::set<std::string> all;
    collect(all);
    for (const auto& [key, object] : objects->objects()) {
      all.insert(object.body);
    }
    for (const std::string& body : all) {
      for (const std::string& secret :
           {std::string("btrfs-stream"), rig.settings.subvolumes.front().path,
            rig.settings.snapshots.base_dir, std::string("AGE-SECRET-KEY")}) {
        if (body.find(secret) != std::string::npos) {
          return secret;
        }
      }
    }
    return "";
  }

  age::x25519_identity user = some_identity();
};

// The ephemeral share and the nonce: who has two texts under one key finds both here twice.
std::string key_of(const std::string& part) {
  return part.substr(22, 54) + part.substr(512, 16);
}

// Two different parts under one key; empty: there are none.
std::string reused(const std::set<std::string>& bodies) {
  std::map<std::string, const std::string*> known;
  for (const std::string& body : bodies) {
    const auto [there, is_new] = known.emplace(key_of(body), &body);
    if (!is_new) {
      return there->first;
    }
  }
  return "";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sealed_backup_suite)

BOOST_AUTO_TEST_CASE(a_chain_of_sealed_backups_restores_to_what_was_sent) {
  sealed_scene here;
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  here.rig.clock.time += std::chrono::days(8);
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  const auto chain = here.rig.chain_in(here.contents());
  BOOST_REQUIRE(chain.size() == 2U);
  BOOST_TEST(chain[0].encryption->backup_id != chain[1].encryption->backup_id);
  BOOST_TEST(chain[0].encryption->recipients.size() == 1U);
  BOOST_TEST(here.revealed() == "");
}

BOOST_AUTO_TEST_CASE(two_backups_of_the_same_data_share_no_part) {
  sealed_scene one;
  sealed_scene other;
  BOOST_TEST(one.rig.run_text() == "done");
  BOOST_TEST(other.rig.run_text() == "done");
  std::set<std::string> first;
  one.collect(first);
  std::set<std::string> both = first;
  other.collect(both);
  BOOST_TEST(both.size() == 2 * first.size());
}

// Killed at every request, and run again: what both attempts sent is under keys of its own.
BOOST_AUTO_TEST_CASE(a_sealed_backup_that_is_killed_anywhere_goes_on_and_uses_no_key_twice) {
  std::size_t steps = 0;
  {
    sealed_scene undisturbed;
    BOOST_TEST(undisturbed.rig.run_text() == "done");
    steps = undisturbed.objects->steps();
  }
  std::size_t resumed = 0;
  for (std::size_t step = 1; step <= steps; ++step) {
    BOOST_TEST_CONTEXT("interrupted at " << step) {
      sealed_scene here;
      std::set<std::string> bodies;
      here.interrupt_at(step);
      here.collect(bodies);
      BOOST_TEST(here.rig.run_text() == "done");
      here.collect(bodies);
      resumed += here.rig.log.contains("action=resume") ? 1 : 0;
      BOOST_TEST(here.rig.published_problem(here.contents()) == "");
      BOOST_TEST(reused(bodies) == "");
      BOOST_TEST(here.revealed() == "");
      BOOST_TEST(here.rig.left.empty());
    }
  }
  BOOST_TEST(resumed > 3U);
}

// With the test's own eyes: a reused key is seen.
BOOST_AUTO_TEST_CASE(a_key_that_is_used_twice_would_be_noticed) {
  sealed_scene here;
  BOOST_TEST(here.rig.run_text() == "done");
  std::set<std::string> bodies;
  here.collect(bodies);
  BOOST_TEST(reused(bodies) == "");
  std::string twice = *bodies.begin();
  twice.back() = static_cast<char>(twice.back() ^ 1);
  bodies.insert(twice);
  BOOST_TEST(reused(bodies) != "");
}

BOOST_AUTO_TEST_CASE(a_sealed_backup_by_way_of_the_spool_restores_to_what_was_sent) {
  sealed_scene here;
  here.rig.settings.s3.spool_enabled = true;
  here.rig.settings.global.spool_dir = here.rig.place / "spool";
  here.rig.settings.global.spool_size_bytes = 8 * backup_rig::part_bytes;
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  BOOST_TEST(here.revealed() == "");
}

BOOST_AUTO_TEST_CASE(a_chain_may_be_sealed_in_part) {
  sealed_scene here;
  here.rig.settings.encryption.recipients.clear();
  BOOST_TEST(here.rig.run_text() == "done");
  here.seal();
  here.rig.clock.time += std::chrono::days(8);
  BOOST_TEST(here.rig.run_text() == "done");
  here.rig.settings.encryption.recipients.clear();
  here.rig.clock.time += std::chrono::days(8);
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  const auto chain = here.rig.chain_in(here.contents());
  BOOST_REQUIRE(chain.size() == 3U);
  BOOST_TEST(!chain[0].encryption.has_value());
  BOOST_TEST(chain[1].encryption.has_value());
  BOOST_TEST(!chain[2].encryption.has_value());
}

// Whoever is sealed for now, is so from the first byte that is sent.
BOOST_AUTO_TEST_CASE(what_was_begun_for_others_is_begun_anew) {
  const age::x25519_identity other = some_identity();
  const std::function<void(sealed_scene&)> changes[] = {
      [&](sealed_scene& here) {
        here.rig.settings.encryption.recipients.push_back(other.recipient().text());
      },
      [](sealed_scene& here) { here.rig.settings.encryption.recipients.clear(); },
  };
  for (const auto& change : changes) {
    sealed_scene here;
    here.interrupt_at(9);
    BOOST_TEST(here.rig.journal_text() != "none");
    change(here);
    BOOST_TEST(here.rig.run_text() == "done");
    BOOST_TEST(here.rig.log.contains("action=abandon reason=settings_changed"));
    BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  }
  sealed_scene plain_first;
  plain_first.rig.settings.encryption.recipients.clear();
  plain_first.interrupt_at(9);
  plain_first.seal();
  BOOST_TEST(plain_first.rig.run_text() == "done");
  BOOST_TEST(plain_first.rig.log.contains("action=abandon reason=settings_changed"));
  BOOST_TEST(plain_first.rig.published_problem(plain_first.contents()) == "");
  BOOST_TEST(plain_first.revealed() == "");
}

// All that this host keeps of a run that is under way opens nothing.
BOOST_AUTO_TEST_CASE(what_the_host_keeps_has_no_secret) {
  sealed_scene here;
  here.interrupt_at(9);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(here.rig.place / "")) {
    if (entry.is_regular_file()) {
      ++files;
      BOOST_TEST(content_of(entry.path().string()).find("AGE-SECRET-KEY") == std::string::npos);
    }
  }
  BOOST_TEST(files > 0U);
  BOOST_TEST(here.journalled().intent.sealing.has_value());
}

// Every way in which nobody would be left to seal for ends before the first request.
BOOST_AUTO_TEST_CASE(recipients_that_cannot_be_used_end_the_run_before_anything_is_sent) {
  const std::function<void(sealed_scene&)> changes[] = {
      [](sealed_scene& here) { here.rig.settings.encryption.recipients = {"age1wrong"}; },
      [](sealed_scene& here) { here.rig.settings.encryption.recipients = {""}; },
      [](sealed_scene& here) { here.rig.settings.encryption.recipients = {"age1pq1qqqq"}; },
      [](sealed_scene& here) {
        here.rig.settings.encryption.recipients.clear();
        here.rig.settings.encryption.recipients_file = here.rig.place / "absent";
      },
      [](sealed_scene& here) {
        here.rig.settings.encryption.recipients_file = here.rig.place / "empty";
        write_file(here.rig.settings.encryption.recipients_file, "# nobody\n");
      },
  };
  for (const auto& change : changes) {
    sealed_scene here;
    change(here);
    BOOST_TEST(here.rig.run_text() != "done");
    BOOST_TEST(here.objects->steps() == 0U);
    BOOST_TEST(here.rig.journal_text() == "none");
  }
}

// A backup that fails for good leaves nothing, its keys object included.
BOOST_AUTO_TEST_CASE(what_is_undone_is_undone_with_its_keys) {
  sealed_scene here;
  here.objects->judge_by([](const memory_store::recorded_call& call) {
    const bool manifest =
        call.verb == "PutObject" && call.key.find("/manifest-") != std::string::npos;
    return manifest ? std::optional(memory_store::denied(call.key)) : std::nullopt;
  });
  BOOST_TEST(here.rig.run_text() != "done");
  const auto has_keys = [&here] {
    const auto& all = here.objects->objects();
    return std::any_of(all.begin(), all.end(),
                       [](const auto& one) { return one.first.ends_with(".age"); });
  };
  BOOST_TEST(has_keys());
  here.objects->judge_by({});
  here.rig.clock.time += std::chrono::days(30);  // too old to go on with
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("action=abandon reason=expired"));
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

BOOST_AUTO_TEST_SUITE_END()
