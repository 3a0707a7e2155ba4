// Stores that answer otherwise than AWS does: 403 for what is absent, classes of their own, limits
// of parts and bodies. The whole backup, doctor and list against a server that does.
#include "app/doctor/doctor_store.hh"
#include "app/overview/list_command.hh"
#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "app/store/commands.hh"
#include "planner/keys.hh"
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/scripted_s3_server.hh"

#include <boost/test/unit_test.hpp>

#include <filesystem>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;

namespace bts3::app {
// For Boost's messages.
std::ostream& operator<<(std::ostream& out, check_outcome how) {
  return out << to_string(how);
}
}  // namespace bts3::app

namespace {

struct scene {
  scene() : server(options()) {
    rig.settings.s3.endpoint_url = server.url();
    rig.settings.s3.concurrency = 1;
    rig.settings.s3.retry_for = 0ms;
  }
  static scripted_s3_options options() {
    scripted_s3_options made;
    made.enforce_part_minimum = false;
    return made;
  }

  // As Ceph RGW does under a policy, and S3 without s3:ListBucket.
  void deny_what_is_absent() {
    for (const s3_verb verb : {s3_verb::get_object, s3_verb::head_object}) {
      server.script(request_match(verb, 1, 0),
                    scripted_action::perform_then([](server_answer& answer) {
                      if (answer.status == 404) {
                        answer.status = 403;
                        answer.body = "<Error><Code>AccessDenied</Code></Error>";
                        answer.erase("content-length");
                      }
                    }));
    }
  }
  void deny(s3_verb verb, const std::string& key = {}) {
    request_match match(verb, 1, 0);
    match.key_contains = key;
    server.script(match, scripted_action::answer(403, "AccessDenied"));
  }
  [[nodiscard]] bucket_contents contents() const {
    bucket_contents there;
    there.objects = server.bodies("bucket");
    return there;
  }

  template <typename Work>
  auto with_services(Work work) {
    auto loop = engine::reactor::create();
    BOOST_REQUIRE(loop.has_value());
    const engine::environment_lookup lookup = [this](std::string_view name) {
      const auto found = rig.environment.find(std::string(name));
      return found == rig.environment.end() ? std::nullopt : std::optional(found->second);
    };
    const app::services with{**loop, rig.log, rig.clock, rig.settings, rig.disk,   lookup,
                             {},     nullptr, nullptr,   {},           &rig.tuning};
    return work(with);
  }
  std::vector<app::health_check> doctor() {
    return with_services([&](const app::services& with) {
      auto connection = app::store_connection::open(with);
      BOOST_REQUIRE(connection.has_value());
      app::store_doctor looking(with, **connection, rig.settings.subvolumes, true);
      auto made = with.loop.run(looking.run());
      with.loop.run((*connection)->close());
      return made;
    });
  }
  engine::result<app::exit_status> list() {
    return with_services([&](const app::services& with) {
      return with.loop.run(app::run_command(with, app::list_command()));
    });
  }

  scripted_s3_server server;
  backup_rig rig;
};

app::health_check the(const std::vector<app::health_check>& all, const std::string& check) {
  for (const app::health_check& one : all) {
    if (one.check == check) {
      return one;
    }
  }
  BOOST_FAIL("no check " << check);
  return {};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(unusual_stores)

BOOST_AUTO_TEST_CASE(where_403_stands_for_absence_backups_begin_go_on_and_resume) {
  scene here;
  here.deny_what_is_absent();
  BOOST_TEST(here.rig.run_text() == "done");  // the first: there is no pointer
  here.rig.clock.time += 24h * 8;
  here.server.set_time(here.rig.clock.time);
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.chain_in(here.contents()).size() == 2U);

  // Another subvolume later, whose first run ends in the middle.
  const std::string other = here.rig.place / "other";
  here.rig.disk.add_subvolume(other);
  here.rig.settings.subvolumes.push_back({"other", other});
  here.server.script(request_match(s3_verb::complete_upload, 1, 1),
                     scripted_action::answer(403, "AccessDenied"));
  BOOST_TEST(here.rig.run_text() != "done");
  BOOST_TEST(the(here.doctor(), "unfinished").how == app::check_outcome::note);
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("action=resume"));
  BOOST_TEST(here.rig.journal_text() == "none");
}

BOOST_AUTO_TEST_CASE(without_the_right_to_list_an_absent_key_is_an_error_that_names_it) {
  scene here;
  here.deny_what_is_absent();
  here.deny(s3_verb::list_objects);
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said, "s3:ListBucket"), said);
  BOOST_TEST(here.server.object_count() == 0U);
}

BOOST_AUTO_TEST_CASE(doctor_reads_what_the_next_run_asks_of_an_interrupted_backup) {
  scene here;
  here.server.script(request_match(s3_verb::complete_upload, 1, 1),
                     scripted_action::answer(403, "AccessDenied"));
  BOOST_TEST(here.rig.run_text() != "done");
  BOOST_TEST(the(here.doctor(), "unfinished").how == app::check_outcome::note);
  const auto record =
      app::read_journal(app::journal_path(here.rig.settings.global.state_path, "data", false));
  BOOST_REQUIRE((record.has_value() && record->has_value()));
  const app::backup_intent& intent = (*record)->intent;
  const planner::key_layout keys("host/", "data");
  here.server.put("bucket", keys.chunk(intent.kind, intent.when, 0, intent.chunk_tag), "");
  request_match chunks(s3_verb::head_object, 1, 0);
  chunks.key_contains = "-0.bin";
  here.server.script(chunks, scripted_action::answer(403, "AccessDenied"));
  BOOST_TEST(the(here.doctor(), "unfinished").how == app::check_outcome::failed);
}

BOOST_AUTO_TEST_CASE(a_list_over_what_may_not_be_read_fails) {
  for (const char* key : {"current.json", "manifest-"}) {
    scene here;
    BOOST_TEST(here.rig.run_text() == "done");
    BOOST_TEST(here.list().has_value());
    here.deny(s3_verb::get_object, key);
    const auto listed = here.list();
    BOOST_REQUIRE_MESSAGE(!listed.has_value(), key);
    BOOST_TEST(has(listed.error().message, "cannot all be read"), key);
    BOOST_TEST((listed.error().why == engine::reason::access));
  }
}

BOOST_AUTO_TEST_CASE(the_manifest_records_the_class_that_the_store_reports) {
  for (const std::size_t parts : {std::size_t{1}, std::size_t{7}}) {
    scene here;
    here.rig.disk.stream = send_stream(parts * backup_rig::part_bytes / 2);
    here.rig.settings.s3.storage_class_chunks = s3::storage_class("GLACIER_IR");
    request_match chunks(s3_verb::head_object, 1, 0);
    chunks.key_contains = "/chunk-";
    here.server.script(chunks, scripted_action::perform_then([](server_answer& answer) {
                         answer.set("x-amz-storage-class", "COLD");
                       }));
    BOOST_TEST(here.rig.run_text() == "done");
    const auto chain = here.rig.chain_in(here.contents());
    BOOST_REQUIRE(chain.size() == 1U);
    BOOST_TEST(chain[0].storage_class == "COLD");
    BOOST_TEST(here.rig.log.contains("stored_in_another_class asked_for=GLACIER_IR"));
  }
}

BOOST_AUTO_TEST_CASE(where_nothing_is_asked_for_no_class_and_no_encryption_are_sent) {
  scene here;
  here.rig.settings.s3.storage_class_chunks = s3::storage_class();
  here.rig.settings.s3.storage_class_manifest = s3::storage_class();
  BOOST_TEST(here.rig.run_text() == "done");
  for (const recorded_request& request : here.server.requests()) {
    BOOST_TEST(request.header("x-amz-storage-class") == "");
    BOOST_TEST(request.header("x-amz-server-side-encryption") == "");
  }
  BOOST_TEST(!here.rig.log.contains("stored_in_another_class"));
}

BOOST_AUTO_TEST_CASE(a_store_of_fewer_parts_is_told_with_the_key) {
  scene here;
  here.rig.settings.s3.chunk_size_bytes = 4000 * backup_rig::part_bytes;
  request_match beyond(s3_verb::upload_part, 1, 0);
  beyond.query_key = "partNumber";
  beyond.query_value = "4000";
  here.server.script(beyond, scripted_action::answer(400, "InvalidArgument"));
  const app::health_check told = the(here.doctor(), "limits");
  BOOST_TEST(told.how == app::check_outcome::warning);
  BOOST_TEST(told.remedy == "set s3.parts_max = 1000");
  here.rig.settings.s3.parts_max = 1000;
  BOOST_TEST(the(here.doctor(), "limits").how == app::check_outcome::ok);
  here.rig.settings.s3.parts_max = 2;
  BOOST_TEST(here.rig.run_text() == "done");  // six parts and a half
  BOOST_TEST(here.rig.chain_in(here.contents()).at(0).chunks.size() == 4U);
}

BOOST_AUTO_TEST_CASE(a_body_that_is_too_large_for_the_store_or_a_proxy_is_told_at_once) {
  for (const bool page : {false, true}) {
    scene here;
    here.rig.settings.s3.retry_for = 10s;
    request_match large(s3_verb::upload_part, 1, 0);
    large.header = "content-length";
    large.header_contains = std::to_string(backup_rig::part_bytes);
    here.server.script(large, page ? scripted_action::page(413)
                                   : scripted_action::answer_before_body(413, "EntityTooLarge"));
    const std::string said = here.rig.run_text();
    BOOST_TEST(has(said, "s3.part_size_bytes"), said);
    BOOST_TEST(!here.rig.log.contains("request_retried"));
    const app::health_check told = the(here.doctor(), "limits");
    BOOST_TEST(told.how == app::check_outcome::failed);
    BOOST_TEST(has(told.remedy, "s3.part_size_bytes"));
    BOOST_TEST(here.server.open_uploads().empty());
  }
}

BOOST_AUTO_TEST_CASE(a_limit_that_shows_only_in_the_body_is_found_as_far_as_a_trial_goes) {
  constexpr std::uint64_t mib = 1 << 20;
  const auto limits = [](std::uint64_t part_bytes, const scripted_action& how) {
    scene here;
    here.rig.settings.s3.part_size_bytes = part_bytes;
    here.rig.settings.s3.chunk_size_bytes = 10 * part_bytes;
    request_match large(s3_verb::upload_part, 1, 0);
    large.header = "content-length";
    large.header_contains = std::to_string(part_bytes);
    here.server.script(large, how);
    app::health_check told = the(here.doctor(), "limits");
    BOOST_TEST(here.server.open_uploads().empty());
    return told;
  };
  // All of a part that is small enough, and the beginning of others: each as it is refused.
  for (const std::uint64_t part : {8 * mib, 100 * mib}) {
    const app::health_check cut = limits(part, scripted_action::reset_after(5 * mib));
    BOOST_TEST(cut.how == app::check_outcome::failed, cut.found);
    BOOST_TEST(has(cut.remedy, "s3.part_size_bytes"), cut.remedy);
    BOOST_TEST(has(cut.found, " of a part of "), cut.found);
  }
  const app::health_check lost = limits(8 * mib, scripted_action::perform_then_reset());
  BOOST_TEST(lost.how == app::check_outcome::failed, lost.found);
  const app::health_check whole = limits(32 * mib, scripted_action::perform_then([](auto&) {}));
  BOOST_TEST(whole.how == app::check_outcome::ok, whole.found);
  BOOST_TEST(whole.found == "parts of 32.0 MiB and part number 10 are taken");
  // What comes after the trial's end is said to be unknown.
  for (const scripted_action& how :
       {scripted_action::page(413), scripted_action::reset_after(90 * mib)}) {
    const app::health_check unseen = limits(100 * mib, how);
    BOOST_TEST(unseen.how == app::check_outcome::ok, unseen.found);
    BOOST_TEST(has(unseen.found, "as far as 32.0 MiB of a part tell"), unseen.found);
  }
}

BOOST_AUTO_TEST_CASE(a_part_that_breaks_once_is_not_called_too_large) {
  scene here;
  here.rig.settings.s3.retry_for = 10s;
  request_match large(s3_verb::upload_part, 1, 1);
  large.header = "content-length";
  large.header_contains = std::to_string(backup_rig::part_bytes);
  here.server.script(large, scripted_action::reset_after(1000));
  BOOST_TEST(the(here.doctor(), "limits").how == app::check_outcome::ok);
}

BOOST_AUTO_TEST_CASE(tags_and_acl_go_with_every_object_and_nothing_else) {
  scene here;
  here.rig.settings.s3.tags = {{"project", "a b"}, {"host", "x=y"}};
  here.rig.settings.s3.acl = app::object_acl::bucket_owner_full_control;
  here.rig.settings.s3.request_payer = true;
  BOOST_TEST(here.rig.run_text() == "done");
  for (const recorded_request& request : here.server.requests()) {
    const bool makes =
        request.verb == s3_verb::put_object || request.verb == s3_verb::create_upload;
    BOOST_TEST(request.header("x-amz-tagging") == (makes ? "project=a%20b&host=x%3Dy" : ""));
    BOOST_TEST(request.header("x-amz-acl") == (makes ? "bucket-owner-full-control" : ""));
    BOOST_TEST(request.header("x-amz-request-payer") == "requester");
  }
}

BOOST_AUTO_TEST_SUITE_END()
