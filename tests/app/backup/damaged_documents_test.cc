// What a run makes of answers that are not what the bucket holds: pages of proxies, documents that
// were cut, other backups' documents, refusals. Unreadable is neither "moved" nor "absent": nothing
// is deleted for it, and nothing is sent again.
#include "app/records/journal_shelf.hh"
#include "planner/keys.hh"
#include "planner/pointer.hh"
#include "tests/app/backup/memory_scene.hh"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;

namespace {

const std::string pointer_key = "host/subvol/data/current.json";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// An answer instead of the true one.
struct false_answer {
  std::optional<engine::error> failure;  // else
  std::string body;
};

false_answer page(std::string body) {
  false_answer made;
  made.body = std::move(body);
  return made;
}

false_answer failing(int status) {
  false_answer made;
  made.failure = memory_store::lost_connection();
  made.failure->what_now = engine::disposition::fail;  // after all retries
  if (status == 403) {
    made.failure = memory_store::denied("x");
  } else if (status == 404) {
    made.failure = memory_store::absent("x");
  }
  return made;
}

// Pages that differ each time, as a proxy's with a time in them.
std::vector<false_answer> pages(std::size_t count) {
  std::vector<false_answer> made;
  for (std::size_t i = 0; i < count; ++i) {
    made.push_back(page("<html>request " + std::to_string(i) + " was not understood</html>"));
  }
  return made;
}

// A rig over a store in memory, between which somebody answers GETs in the store's place.
struct scene : memory_scene {
  explicit scene(std::size_t stream_bytes = 6 * backup_rig::part_bytes + 1000)
      : memory_scene(stream_bytes) {
    objects->judge_by([this](const memory_store::recorded_call& call) { return judge(call); });
  }

  std::optional<engine::error> judge(const memory_store::recorded_call& call) {
    put_back();
    if (call.verb == "PutObject" && call.key == pointer_key && refuses > 0) {
      --refuses;
      engine::error failure;
      failure.why = engine::reason::precondition;
      failure.status = 412;
      failure.message = "PreconditionFailed";
      return failure;
    }
    const auto waiting = answers.find(call.key);
    if (call.verb != "GetObject" || waiting == answers.end() || waiting->second.empty()) {
      return std::nullopt;
    }
    const false_answer answer = waiting->second.front();
    waiting->second.pop_front();
    if (answer.failure) {
      return answer.failure;
    }
    const auto* stored = objects->find(call.key);
    truth.emplace(call.key, stored == nullptr ? std::nullopt : std::optional(stored->body));
    objects->put(call.key, answer.body);
    return std::nullopt;
  }

  // What the store really holds.
  void put_back() {
    if (truth) {
      truth->second ? objects->put(truth->first, *truth->second) : objects->erase(truth->first);
      truth.reset();
    }
  }

  void answer(const std::string& key, const std::vector<false_answer>& with) {
    answers[key].insert(answers[key].end(), with.begin(), with.end());
  }

  bucket_contents contents() {
    put_back();
    return memory_scene::contents();
  }

  std::string manifest_key() {
    const auto pointer = planner::parse_pointer(contents().objects.at(pointer_key));
    return pointer->manifest_key;
  }

  // A run that publishes and is killed before its journal is gone.
  void publish_and_leave_the_journal() {
    const std::string path = app::journal_path(rig.settings.global.state_path, "data", false);
    std::string kept;
    objects->judge_by([&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
      if (call.verb == "PutObject" && call.key == pointer_key) {
        kept = content_of(path);
      }
      return std::nullopt;
    });
    const std::string state = content_of(rig.settings.global.state_path);
    BOOST_TEST(rig.run_text() == "done");
    BOOST_REQUIRE(!kept.empty());
    write_file(path, kept);
    if (state.empty()) {
      std::filesystem::remove(rig.settings.global.state_path);
    } else {
      write_file(rig.settings.global.state_path, state);
    }
    objects->judge_by([this](const memory_store::recorded_call& call) { return judge(call); });
    rig.log.lines.clear();
  }

  // Whether what was published is there as it was, the journal too, and nothing was deleted.
  void expect_untouched(const bucket_contents& before) {
    const bucket_contents now = contents();
    for (const auto& [key, body] : before.objects) {
      BOOST_TEST(now.objects.contains(key), key);
    }
    BOOST_TEST(objects->count("DeleteObject") == 0U);
    BOOST_TEST(objects->count("AbortMultipartUpload") == 0U);
    for (const planner::manifest& link : rig.chain_in(before)) {
      BOOST_TEST(
          std::filesystem::exists(rig.settings.snapshots.base_dir + "/" + link.snapshot.name));
    }
  }

  std::map<std::string, std::deque<false_answer>> answers;  // to GETs, by key
  std::optional<std::pair<std::string, std::optional<std::string>>> truth;
  int refuses = 0;  // writes of the pointer, as if a condition did not hold
};

// The lie is over: the next run brings everything in order.
void expect_recovery(scene& here) {
  here.answers.clear();
  here.rig.log.lines.clear();
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(damaged_documents_suite)

BOOST_AUTO_TEST_CASE(a_published_backup_stays_when_its_documents_cannot_be_read) {
  scene here;
  here.publish_and_leave_the_journal();
  const bucket_contents before = here.contents();
  here.objects->forget_calls();
  here.answer(pointer_key, pages(30));
  here.answer(here.manifest_key(), pages(30));
  BOOST_TEST(here.rig.run_text() != "done");
  here.expect_untouched(before);
  expect_recovery(here);
}

// As the pointer is understood when planning, and only the journal's questions are lied to.
BOOST_AUTO_TEST_CASE(a_published_backup_stays_when_only_settling_it_is_lied_to) {
  struct lie {
    const char* what;
    std::vector<false_answer> of_pointer, of_manifest;
  };
  const std::string html = "<html>please log in</html>";
  const std::string cut = "{\"manifest_key\":\"host/subvol/data/full/mani";
  const std::string earlier =
      "{\"manifest_key\":\"host/subvol/data/full/manifest-20200101T000000Z.json\","
      "\"kind\":\"full\",\"created_at\":\"2020-01-01T00:00:00Z\"}";
  const std::vector<lie> lies = {
      {"pages that stay the same", std::vector(30, page(html)), std::vector(30, page(html))},
      {"documents that were cut", std::vector(30, page(cut)),
       std::vector(30, page("{\"version\":"))},
      {"pages, and the manifest is refused", pages(30), std::vector(30, failing(403))},
      {"pages, and nobody answers for the manifest", pages(30), std::vector(30, failing(503))},
      {"an old pointer, and pages", std::vector(30, page(earlier)), pages(30)},
      {"an old pointer, and the same page", std::vector(30, page(earlier)),
       std::vector(30, page(html))},
      {"nothing, and a page", std::vector(30, failing(404)), std::vector(30, page(html))},
      {"an empty pointer, and one lying 404", std::vector(30, page("")), {failing(404)}},
      {"a page, and one lying 404", {page(html)}, {failing(404)}},
  };
  for (const lie& one : lies) {
    BOOST_TEST_CONTEXT(one.what) {
      scene here;
      here.publish_and_leave_the_journal();
      const bucket_contents before = here.contents();
      here.objects->forget_calls();
      // When planning.
      here.answers[pointer_key].push_back(page(before.objects.at(pointer_key)));
      here.answers[here.manifest_key()].push_back(page(before.objects.at(here.manifest_key())));
      here.answer(pointer_key, one.of_pointer);
      here.answer(here.manifest_key(), one.of_manifest);
      (void)here.rig.run_text();
      here.expect_untouched(before);
      here.answers.clear();
      here.rig.log.lines.clear();
      BOOST_TEST(here.rig.run_text() == "done");
      BOOST_TEST(here.rig.journal_text() == "none");
      const std::string key = here.manifest_key();
      here.expect_untouched(before);
    }
  }
}

// The manifest's URL answers with another manifest of this host.
BOOST_AUTO_TEST_CASE(another_backups_manifest_in_the_place_of_ours_is_no_second_writer) {
  scene here;
  BOOST_TEST(here.rig.run_text() == "done");
  const std::string first = here.contents().objects.at(here.manifest_key());
  here.rig.settings.schedule.incremental_every_days = std::chrono::days(1);
  here.rig.clock.time += 24h * 8;
  here.publish_and_leave_the_journal();
  const bucket_contents before = here.contents();
  BOOST_REQUIRE(here.rig.chain_in(before).size() == 2U);
  here.objects->forget_calls();
  const std::string key = here.manifest_key();
  here.answers[key].push_back(page(before.objects.at(key)));
  here.answer(key, std::vector(30, page(first)));
  here.answers[pointer_key].push_back(page(before.objects.at(pointer_key)));
  here.answer(pointer_key, std::vector(30, page("<html>")));
  (void)here.rig.run_text();
  here.expect_untouched(before);
}

BOOST_AUTO_TEST_CASE(a_damaged_answer_does_not_end_an_upload_that_can_be_resumed) {
  for (const char* damaged : {"<html>please log in</html>", "", "{\"manifest_key\":\"host/su"}) {
    for (const std::size_t often : {1U, 3U, 30U}) {
      BOOST_TEST_CONTEXT("\"" << damaged << "\", " << often << " times") {
        scene here;
        here.rig.settings.schedule.full_every_days = std::chrono::days(7);
        BOOST_TEST(here.rig.run_text() == "done");
        here.rig.clock.time += 24h * 8;
        const std::string pointer = here.contents().objects.at(pointer_key);
        here.interrupt_at(8);
        const std::size_t open = here.objects->uploads().size();
        BOOST_REQUIRE(open > 0U);
        here.answers[pointer_key].push_back(page(pointer));  // when planning
        for (std::size_t i = 0; i < often; ++i) {
          // Each a little different, as pages are; an empty one has nothing to differ in.
          const std::string text = damaged;
          here.answer(pointer_key, {page(text.empty() ? text : text + std::to_string(i))});
        }
        const std::string said = here.rig.run_text();
        BOOST_TEST(here.objects->count("AbortMultipartUpload") == 0U);
        if (often == 1U) {
          BOOST_TEST(said == "done");
          BOOST_TEST(here.rig.log.contains("action=resume"));
        }
        here.answers.clear();
        BOOST_TEST(here.rig.run_text() == "done");
        BOOST_TEST(here.rig.chain_in(here.contents()).size() == 1U);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(one_damaged_answer_when_planning_makes_no_full) {
  const std::vector<std::vector<false_answer>> all = {
      {page("<html>please log in</html>")},
      {page("")},
      {failing(404)},
      pages(3),
  };
  for (const bool of_manifest : {false, true}) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      BOOST_TEST_CONTEXT("answers " << i << (of_manifest ? " of the manifest" : "")) {
        scene here;
        BOOST_TEST(here.rig.run_text() == "done");
        here.rig.clock.time += 24h * 8;
        here.answer(of_manifest ? here.manifest_key() : pointer_key, all[i]);
        BOOST_TEST(here.rig.run_text() == "done");
        BOOST_TEST(here.rig.chain_in(here.contents()).size() == 2U);
        BOOST_TEST(here.rig.published_problem(here.contents()) == "");
      }
    }
  }
}

// A full takes its place, and its reason is not that nobody ever saw it.
BOOST_AUTO_TEST_CASE(a_manifest_that_is_listed_and_denied_is_not_called_missing) {
  scene here;
  BOOST_TEST(here.rig.run_text() == "done");
  here.rig.clock.time += 24h * 8;
  const std::string key = here.manifest_key();
  here.objects->judge_by(
      [key](const memory_store::recorded_call& call) -> std::optional<engine::error> {
        return call.verb == "GetObject" && call.key == key
                   ? std::optional(memory_store::absent(call.key))
                   : std::nullopt;
      });
  here.rig.log.lines.clear();
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("manifest_unusable"));
  BOOST_TEST(here.rig.log.contains("manifest " + key +
                                   ": it is listed, but the store says that it does not exist"));
}

BOOST_AUTO_TEST_CASE(a_pointer_that_reads_otherwise_each_time_fails_and_keeps_everything) {
  scene here;
  BOOST_TEST(here.rig.run_text() == "done");
  here.rig.clock.time += 24h * 8;
  const bucket_contents before = here.contents();
  here.objects->forget_calls();
  here.answer(pointer_key, pages(30));
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said, "could not be understood"), said);
  here.expect_untouched(before);
  BOOST_TEST((here.contents().objects == before.objects));
  here.answers.clear();
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.chain_in(here.contents()).size() == 2U);
}

BOOST_AUTO_TEST_CASE(a_pointer_that_is_damaged_in_the_bucket_is_replaced_by_its_etag) {
  const std::string large(100'000, 'x');
  for (const std::string& damaged :
       {large, std::string(), std::string("{\"manifest_key\":\"host/su"), std::string("no JSON")}) {
    for (const bool compares_badly : {false, true}) {
      BOOST_TEST_CONTEXT(damaged.substr(0, 30) << (compares_badly ? ", compared badly" : "")) {
        scene here;
        here.objects->put(pointer_key, damaged);
        // As Ceph does with an ETag in quotes.
        here.refuses = compares_badly ? 1 : 0;
        BOOST_TEST(here.rig.run_text() == "done");
        BOOST_TEST(here.rig.published_problem(here.contents()) == "");
        BOOST_TEST(!here.rig.log.contains("pointer_moved_unconditionally"));
      }
    }
  }
}

// Interrupted after each request: what replaces a damaged pointer goes on as any other.
BOOST_AUTO_TEST_CASE(a_backup_over_a_pointer_that_is_too_large_is_resumed) {
  const std::string large(100'000, 'x');
  for (const std::size_t step : {10U, 14U}) {
    scene here;
    here.objects->put(pointer_key, large);
    here.interrupt_at(step);
    BOOST_TEST(here.rig.run_text() == "done");
    BOOST_TEST(here.rig.log.contains("action=resume"));
    BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  }
}

// Too large for the memory that this host may use is no damage: nothing rests on what was not read.
BOOST_AUTO_TEST_CASE(a_chain_that_this_host_has_no_memory_to_read_fails_and_keeps_everything) {
  scene here;
  BOOST_TEST(here.rig.run_text() == "done");
  here.rig.clock.time += 24h * 8;
  const std::string key = here.manifest_key();
  const std::string small = here.contents().objects.at(key);
  std::string large = small;
  large.resize((20 << 20), ' ');
  here.objects->put(key, large);
  const bucket_contents before = here.contents();
  here.objects->forget_calls();
  here.rig.settings.global.memory_limit_bytes =
      app::other_memory_bytes + 3 * backup_rig::part_bytes;
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said, "manifest " + key + ": it has 20.0 MiB"), said);
  BOOST_TEST(has(said, "set global.memory_limit_bytes = \"80MiB\" or more"), said);
  here.expect_untouched(before);
  BOOST_TEST((here.contents().objects == before.objects));
  here.rig.settings.global.memory_limit_bytes = 80 << 20;
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.chain_in(here.contents()).size() == 2U);
}

namespace {

// As on a store part of which is away while a backup is planned: no request shows the pointer until
// the new manifest is written, and then it is what `comes_back` says.
void take_the_pointer_away(scene& here, const std::string& comes_back) {
  here.objects->erase(pointer_key);
  here.objects->judge_by(
      [&here, comes_back](const memory_store::recorded_call& call) -> std::optional<engine::error> {
        if (call.verb == "PutObject" && has(call.key, "/manifest-")) {
          here.objects->put(pointer_key, comes_back);
        }
        return std::nullopt;
      });
}

}  // namespace

// A full that was planned without the pointer meets the true one when it publishes: it names a
// backup that was known, so nobody else wrote here, and the full takes its place.
BOOST_AUTO_TEST_CASE(a_full_moves_the_pointer_that_was_away_when_it_was_planned) {
  for (const bool known_by_state_alone : {false, true}) {
    BOOST_TEST_CONTEXT((known_by_state_alone ? "its manifest was away too" : "")) {
      scene here;
      BOOST_TEST(here.rig.run_text() == "done");
      here.rig.clock.time += 24h * 8;
      const bucket_contents before = here.contents();
      const std::string first = here.manifest_key();
      take_the_pointer_away(here, before.objects.at(pointer_key));
      if (known_by_state_alone) {
        here.objects->erase(first);
      }
      here.objects->forget_calls();
      BOOST_TEST(here.rig.run_text() == "done");
      BOOST_TEST(here.manifest_key() != first);
      BOOST_TEST(has(here.manifest_key(), "/full/"));
      BOOST_TEST(!here.rig.log.contains("second_writer"));
      BOOST_TEST(here.objects->count("DeleteObject") == 0U);
      BOOST_TEST(here.objects->count("AbortMultipartUpload") == 0U);
      BOOST_TEST(here.rig.journal_text() == "none");
      BOOST_TEST(here.rig.chain_in(here.contents()).size() == 1U);
      // And it is built upon.
      here.objects->judge_by({});
      here.rig.clock.time += 24h * 8;
      BOOST_TEST(here.rig.run_text() == "done");
      BOOST_TEST(here.rig.chain_in(here.contents()).size() == 2U);
    }
  }
}

// One that names what nobody here has heard of is another writer's, and stays.
BOOST_AUTO_TEST_CASE(a_pointer_that_comes_back_as_anothers_is_not_moved) {
  scene here;
  BOOST_TEST(here.rig.run_text() == "done");
  here.rig.clock.time += 24h * 8;
  const bucket_contents before = here.contents();
  planner::pointer others;
  others.manifest_key = "host/subvol/data/full/manifest-20260101T000000Z.json";
  others.created_at = planner::timestamp::parse("20260101T000000Z").value();
  const std::string text = planner::write_pointer(others);
  take_the_pointer_away(here, text);
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said, "moved by somebody else"), said);
  BOOST_TEST(here.objects->find(pointer_key)->body == text);
  const bucket_contents now = here.contents();
  for (const auto& [key, body] : before.objects) {
    BOOST_TEST((now.objects.contains(key) && (key == pointer_key || now.objects.at(key) == body)),
               key);
  }
}

BOOST_AUTO_TEST_SUITE_END()
