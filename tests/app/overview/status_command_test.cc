
#include "app/overview/status_report.hh"
#include "app/records/run_lock.hh"
#include "app/store/commands.hh"
#include "tests/app/support.hh"
#include "tests/engine/support.hh"
#include "tests/planner/zones.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/closed_port.hh"
#include "tests/support/real_btrfs.hh"

#include <simdjson.h>

#include <cstdlib>

using namespace bts3;
using namespace bts3::app;
using namespace bts3::planner;
using bts3::testing::central_europe;
using bts3::testing::closed_port;
using bts3::testing::content_of;
using bts3::testing::write_file;
using std::chrono::days;
using std::chrono::hours;

namespace {

timestamp at(const char* text) {
  return timestamp::parse(text).value();
}

const central_europe zone;

status_rules rules_at(const char* now) {
  status_rules rules;
  rules.max_age = days(8);
  rules.when_due.full_every_days = 30;
  rules.when_due.incremental_every_days = 7;
  rules.now = at(now);
  return rules;
}

// Backed up on 14 January at 02:00:04 local time.
status_facts sound(const std::string& name = "data") {
  status_facts facts;
  facts.name = name;
  facts.seen.subvolume = name;
  facts.seen.pointer_exists = true;
  facts.seen.last.emplace();
  facts.seen.parent = parent_state::present;
  facts.standing.last_backup = at("20260114T010004Z");
  facts.standing.last_full = at("20260107T010004Z");
  facts.standing.links = 2;
  facts.standing.last_bytes = std::uint64_t{3} << 30;
  return facts;
}

std::string first_problem(const subvolume_health& one) {
  return one.problems.empty() ? "" : one.problems.front();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(status_command_suite)

BOOST_AUTO_TEST_CASE(a_young_backup_is_ok_until_the_next_has_been_due_for_half_a_day) {
  const subvolume_health fresh = judge_health(sound(), rules_at("20260120T010004Z"), zone);
  BOOST_TEST((fresh.state == health::ok));
  BOOST_TEST(fresh.due->rfc3339() == "2026-01-21T01:00:00Z");
  BOOST_TEST((judge_health(sound(), rules_at("20260121T130000Z"), zone).state == health::ok));
  const subvolume_health late = judge_health(sound(), rules_at("20260121T130001Z"), zone);
  BOOST_TEST((late.state == health::warning));
  BOOST_TEST(first_problem(late) == "a backup has been due since 2026-01-21 02:00+01");
  status_rules running = rules_at("20260121T130001Z");
  running.running = "42";
  BOOST_TEST((judge_health(sound(), running, zone).state == health::ok));
}

BOOST_AUTO_TEST_CASE(a_backup_that_is_too_old_is_critical_also_while_a_run_is_under_way) {
  BOOST_TEST((judge_health(sound(), rules_at("20260122T010004Z"), zone).state == health::warning));
  status_rules rules = rules_at("20260122T010005Z");
  rules.running = "42";
  const subvolume_health old = judge_health(sound(), rules, zone);
  BOOST_TEST((old.state == health::critical));
  BOOST_TEST(first_problem(old) == "the last backup is 8 d old, and 8 d are allowed");
}

BOOST_AUTO_TEST_CASE(damage_that_the_last_backup_rests_on_is_critical_and_older_damage_a_warning) {
  status_facts facts = sound();
  facts.chain = {"full", "incremental"};
  facts.verified.emplace();
  facts.verified->runs[verification_kind::deep] = at("20260110T020000Z");
  const status_rules rules = rules_at("20260115T010004Z");
  BOOST_TEST((judge_health(facts, rules, zone).state == health::ok));

  facts.verified->damaged = {{"old", verification_kind::quick, at("20260110T020000Z"), "missing"},
                             {"older", verification_kind::deep, at("20260110T020000Z"), "flipped"}};
  const subvolume_health warned = judge_health(facts, rules, zone);
  BOOST_TEST((warned.state == health::warning));
  BOOST_TEST(warned.problems.size() == 1u);
  BOOST_TEST(
      first_problem(warned) ==
      "an older backup is damaged: old: missing (quick verification of 2026-01-10 03:00+01), "
      "and 1 more; `btrfs_to_s3 verify --subvolume data` looks again");

  facts.verified->damaged.push_back(
      {"full", verification_kind::deep, at("20260110T020000Z"), "chunk: part 3 differs"});
  const subvolume_health bad = judge_health(facts, rules, zone);
  BOOST_TEST((bad.state == health::critical));
  BOOST_TEST(bad.problems.size() == 2u);
  BOOST_TEST(
      first_problem(bad) ==
      "the last backup rests on a damaged one: full: chunk: part 3 differs (deep "
      "verification of 2026-01-10 03:00+01); `btrfs_to_s3 verify --deep --subvolume data` looks "
      "again");

  status_facts lost = sound();
  lost.verified.emplace();
  lost.verified->elsewhere = "x/manifest: its parent is missing";
  const subvolume_health elsewhere = judge_health(lost, rules, zone);
  BOOST_TEST((elsewhere.state == health::warning));
  BOOST_TEST(first_problem(elsewhere) == "verify found damage: x/manifest: its parent is missing");

  status_facts unreadable = sound();
  unreadable.verified_problem = "makes no sense";
  BOOST_TEST((judge_health(unreadable, rules, zone).state == health::warning));
}

// A run that is weaker and older than another tells nothing; a round of samples is not rounded up.
BOOST_AUTO_TEST_CASE(the_last_verification_is_told_and_stronger_ones_before_it) {
  const auto shown = [](std::map<verification_kind, timestamp> runs, std::size_t columns) {
    status_report report;
    report.rules = rules_at("20260121T020000Z");
    status_facts facts = sound();
    facts.verified.emplace();
    facts.verified->runs = std::move(runs);
    facts.verified->sample_done = 199;
    facts.verified->sample_parts = 200;
    report.subvolumes.push_back(judge_health(std::move(facts), report.rules, zone));
    const std::string text = status_as_text(report, zone, columns);
    const std::size_t head = text.find("VERIFIED");
    BOOST_REQUIRE(head != std::string::npos);
    const std::size_t line = text.rfind('\n', head) + 1;
    const std::size_t row = text.find('\n', head) + 1;
    return text.substr(row + (head - line), text.find('\n', row) - row - (head - line));
  };
  using kind = verification_kind;
  const timestamp early = at("20260110T020000Z");
  const timestamp late = at("20260120T020000Z");
  BOOST_TEST(shown({}, 80) == "never");
  BOOST_TEST(shown({{kind::quick, late}, {kind::deep, early}}, 80) == "24 h quick");
  BOOST_TEST(shown({{kind::quick, late}, {kind::deep, early}}, 160) ==
             "2026-01-20 quick, 2026-01-10 deep");
  BOOST_TEST(shown({{kind::quick, early}, {kind::deep, late}}, 160) == "2026-01-20 deep");
  BOOST_TEST(shown({{kind::quick, late}, {kind::sample, late}}, 160) == "2026-01-20 sample 99%");
}

BOOST_AUTO_TEST_CASE(what_could_not_be_restored_is_critical) {
  const auto judged = [](const std::function<void(status_facts&)>& spoil) {
    status_facts facts = sound();
    facts.plan.sentence = "because";
    spoil(facts);
    return judge_health(std::move(facts), rules_at("20260115T010004Z"), zone);
  };
  const std::function<void(status_facts&)> spoils[] = {
      [](status_facts& facts) { facts.seen.pointer_exists = false; },
      [](status_facts& facts) { facts.seen.last.reset(); },
      [](status_facts& facts) { facts.seen.chain_problem = "broken"; },
      [](status_facts& facts) { facts.seen.chunk_problem = "missing"; },
      [](status_facts& facts) { facts.seen.refused_problem = "refused"; },
      [](status_facts& facts) { facts.plan.what = action::stop; }};
  for (const auto& spoil : spoils) {
    const subvolume_health one = judged(spoil);
    BOOST_TEST((one.state == health::critical));
    BOOST_TEST(first_problem(one) == "because");
  }
}

BOOST_AUTO_TEST_CASE(what_a_person_should_look_at_is_a_warning) {
  const auto judged = [](const std::function<void(status_facts&)>& spoil) {
    status_facts facts = sound();
    spoil(facts);
    return judge_health(std::move(facts), rules_at("20260115T010004Z"), zone);
  };
  const std::pair<std::function<void(status_facts&)>, const char*> spoils[] = {
      {[](status_facts& facts) {
         facts.seen.parent = parent_state::changed;
         facts.seen.parent_problem = "it was written to";
       },
       "the next backup will be a full one: it was written to"},
      {[](status_facts& facts) { facts.plan.warnings = {{"clock_went_back", "it is late"}}; },
       "it is late"},
      {[](status_facts& facts) {
         facts.unfinished.emplace();
         facts.unfinished->began = at("20260115T000000Z");
         facts.unfinished->uploaded_bytes = 1 << 20;
       },
       "interrupted: full backup begun 2026-01-15 01:00+01, 1.0 MiB uploaded; the next run goes on "
       "with it"},
      {[](status_facts& facts) { facts.journal_problem = "unreadable"; }, "unreadable"},
      {[](status_facts& facts) { facts.given_up = 2; },
       "remains of 2 given up could not be removed yet; each run tries again"}};
  for (const auto& [spoil, expected] : spoils) {
    const subvolume_health one = judged(spoil);
    BOOST_TEST((one.state == health::warning));
    BOOST_TEST(first_problem(one) == expected);
    BOOST_TEST(one.problems.size() == 1u);
  }
}

BOOST_AUTO_TEST_CASE(the_worst_counts_and_what_is_not_known_is_worse_than_a_warning) {
  status_report report;
  report.rules = rules_at("20260115T010004Z");
  BOOST_TEST((report.worst() == health::ok));
  report.subvolumes.push_back(judge_health(sound("a"), report.rules, zone));
  BOOST_TEST(status_summary(report) == "OK: 1 subvolume, the oldest last backup is 24 h old");
  status_facts warned = sound("b");
  warned.given_up = 1;
  report.subvolumes.push_back(judge_health(warned, report.rules, zone));
  BOOST_TEST((report.worst() == health::warning));
  status_facts unknown;
  unknown.name = "c";
  unknown.error = "no answer\n";
  report.subvolumes.push_back(judge_health(unknown, report.rules, zone));
  BOOST_TEST((report.worst() == health::unknown));
  BOOST_TEST(status_summary(report) == "UNKNOWN: c: no answer\\x0a (and 1 more problem)");
  status_facts gone = sound("d");
  gone.seen.pointer_exists = false;
  gone.plan.sentence = "there is none";
  gone.given_up = 1;
  report.subvolumes.push_back(judge_health(gone, report.rules, zone));
  BOOST_TEST((report.worst() == health::critical));
  BOOST_TEST(status_summary(report) == "CRITICAL: d: there is none (and 3 more problems)");
}

// More than are looked at concurrently, so that one begins when the others have been given up.
BOOST_AUTO_TEST_CASE(a_store_that_does_not_answer_is_waited_for_once) {
  const auto loop = bts3::engine::testing::make_reactor();
  const bts3::testing::scratch_directory place;
  const closed_port nobody;
  config settings;
  settings.global.state_path = place / "state.json";
  settings.global.lock_path = place / "lock";
  settings.snapshots.base_dir = place / "";
  settings.s3.bucket = "b";
  settings.s3.region = "r";
  settings.s3.endpoint_url = "http://" + nobody.host();
  settings.s3.retry_for = std::chrono::milliseconds(300);
  for (int i = 1; i <= 9; ++i) {
    settings.subvolumes.push_back({"s" + std::to_string(i), "/srv/s" + std::to_string(i)});
  }
  store_tuning tuning;
  tuning.retries.backoff_first = tuning.retries.backoff_max = std::chrono::milliseconds(10);
  bts3::testing::line_log log;
  const engine::system_clock_source clock;
  const engine::environment_lookup keys = [](std::string_view name) {
    return name.starts_with("AWS_") && name.find("KEY") != std::string_view::npos
               ? std::optional<std::string>("k")
               : std::nullopt;
  };
  services with{*loop, log, clock, settings, bts3::testing::real_btrfs(), keys, {}};
  with.tuning = &tuning;
  const auto status = loop->run(run_command(with, status_command()));
  BOOST_REQUIRE(status.has_value());
  BOOST_TEST((*status == static_cast<exit_status>(health::unknown)));
  BOOST_TEST(log.contains("subvol/s1/current.json"));
  BOOST_TEST(!log.contains("subvol/s9/current.json"));
}

BOOST_AUTO_TEST_CASE(without_a_configuration_all_is_unknown) {
  engine::error failure;
  failure.message = "no file";
  const engine::system_clock_source clock;
  BOOST_TEST(status_of_nothing(failure, false, clock) == "UNKNOWN: no file\n");
  simdjson::dom::parser parser;
  const std::string text = status_of_nothing(failure, true, clock);
  BOOST_TEST(parser.parse(text)["exit_status"].get_int64().value() == 3);
}

// BTS3_UPDATE_GOLDEN=1 writes the files anew.
BOOST_AUTO_TEST_CASE(the_screens_are_the_golden_ones) {
  status_report report;
  report.rules = rules_at("20260125T120000Z");
  report.rules.running = "4711";
  report.rules.max_age = days(12);
  status_facts being_made = sound();
  being_made.unfinished.emplace();
  being_made.unfinished->kind = backup_kind::incremental;
  being_made.unfinished->began = at("20260125T010003Z");
  being_made.unfinished->uploaded_bytes = 700 << 20;
  being_made.plan.what = action::incremental;
  being_made.plan.reason = "incremental_due";
  being_made.verified.emplace();
  being_made.verified->runs = {{verification_kind::quick, at("20260121T020000Z")},
                               {verification_kind::sample, at("20260119T020000Z")}};
  being_made.verified->sample_done = 38;
  being_made.verified->sample_parts = 120;
  being_made.verified->damaged = {{"p/subvol/data/full/manifest-20250107T010004Z.json",
                                   verification_kind::quick, at("20260121T020000Z"),
                                   "chunk-20250107T010004Z-0.bin: missing"}};
  report.subvolumes.push_back(judge_health(std::move(being_made), report.rules, zone));
  status_facts none;
  none.name = "home";
  none.seen.subvolume = "home";
  none.plan.what = action::full;
  none.plan.reason = "first_backup";
  none.plan.sentence = "there is no backup of home yet";
  report.subvolumes.push_back(judge_health(none, report.rules, zone));
  status_facts unknown;
  unknown.name = "mail";
  unknown.error =
      "opening /srv/snapshots: No such file or directory; make it, or set snapshots.base_dir";
  report.subvolumes.push_back(judge_health(unknown, report.rules, zone));
  const std::string folder = BTS3_SOURCE_DIR "/tests/data/surface/";
  const std::pair<std::string, std::string> files[] = {
      {"status-80.txt", status_as_text(report, zone, 80)},
      {"status-160.txt", status_as_text(report, zone, 160)},
      {"status.json", status_as_json(report)}};
  for (const auto& [name, text] : files) {
    if (std::getenv("BTS3_UPDATE_GOLDEN") != nullptr) {
      write_file(folder + name, text);
    }
    BOOST_TEST(text == content_of(folder + name), name);
  }
}

BOOST_AUTO_TEST_CASE(the_lock_tells_who_holds_it_without_being_touched) {
  const bts3::testing::scratch_directory scratch;
  const std::string path = scratch / "lock";
  BOOST_TEST(!run_lock::holder(path).value().has_value());
  BOOST_TEST(!std::filesystem::exists(path));
  {
    auto held = run_lock::acquire(path);
    BOOST_REQUIRE(held.has_value());
    BOOST_TEST(run_lock::holder(path).value().value_or("") == std::to_string(::getpid()));
  }
  BOOST_TEST(!run_lock::holder(path).value().has_value());
}

BOOST_AUTO_TEST_SUITE_END()
