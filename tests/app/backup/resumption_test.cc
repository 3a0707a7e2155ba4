// What makes an interrupted upload worth going on with: until when, with which settings, and what
// a failure that is none of the stream's must not cost.
#include "planner/keys.hh"
#include "tests/app/backup/memory_scene.hh"
#include "tests/support/scripted_s3_server.hh"

#include <filesystem>
#include <functional>
#include <string>
#include <tuple>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;

namespace {

using scene = memory_scene;

std::string header_of(app::object_encryption asked_for) {
  return asked_for == app::object_encryption::aes256
             ? "AES256"
             : (asked_for == app::object_encryption::kms ? "aws:kms" : "");
}

std::size_t parts_of(const app::journal_record& record) {
  std::size_t parts = 0;
  for (const auto& [index, chunk] : record.chunks) {
    parts += chunk.parts.size();
  }
  return parts;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(resumption_suite)

// A first full that takes longer than a week of nights.
BOOST_AUTO_TEST_CASE(an_upload_that_gets_on_is_never_too_old) {
  scene here;
  here.interrupt_at(8);
  const std::size_t first = parts_of(here.journalled());
  here.rig.clock.time += 24h * 6;
  here.interrupt_at(11);  // after looking at what there is, a part or two
  BOOST_TEST(parts_of(here.journalled()) > first);
  here.rig.clock.time += 24h * 6;
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("action=resume"));
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

BOOST_AUTO_TEST_CASE(an_upload_without_a_new_part_for_so_long_is_given_up) {
  for (const bool with_times : {true, false}) {
    scene here;
    here.interrupt_at(8);
    if (!with_times) {
      // As older versions wrote it.
      std::string text = content_of(here.journal());
      for (std::size_t at; (at = text.find(",\"at\":\"")) != std::string::npos;) {
        text.erase(at, text.find('"', at + 7) + 1 - at);
      }
      write_file(here.journal(), text);
    }
    here.rig.clock.time += 24h * 8;
    BOOST_TEST(here.rig.run_text() == "done");
    BOOST_TEST(here.rig.log.contains("action=abandon reason=expired"));
    BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  }
}

// This host's clock starts in 1970, and the store's Date tells better.
BOOST_AUTO_TEST_CASE(the_stores_clock_counts_where_it_is_known) {
  scripted_s3_options options;
  options.enforce_part_minimum = false;
  scripted_s3_server server(options);
  backup_rig rig;
  rig.settings.s3.endpoint_url = server.url();
  rig.settings.s3.concurrency = 1;
  rig.settings.s3.retry_for = 0ms;
  const auto now = rig.clock.time;
  rig.clock.time = std::chrono::system_clock::from_time_t(86'400);
  server.script(request_match(s3_verb::upload_part, 4, 0),
                scripted_action::answer(403, "AccessDenied"));
  BOOST_TEST(rig.run_text() != "done");
  BOOST_TEST(rig.journal_text() != "none");
  server.clear_script();
  rig.log.lines.clear();
  rig.clock.time = now;  // NTP has set it
  BOOST_TEST(rig.run_text() == "done");
  BOOST_TEST(rig.log.contains("action=resume"));
}

// Whenever the first run ended: what the manifest says of storage class holds for every chunk, and
// after a change of the encryption nothing lies there without it.
BOOST_AUTO_TEST_CASE(what_is_uploaded_is_what_the_manifest_says_after_settings_changed) {
  struct change {
    const char* what;
    std::function<void(app::config&)> make;
  };
  const change changes[] = {
      {"storage class",
       [](app::config& to) { to.s3.storage_class_chunks = s3::storage_class("GLACIER_IR"); }},
      {"encryption", [](app::config& to) { to.s3.sse = app::object_encryption::aes256; }},
      {"key",
       [](app::config& to) {
         to.s3.sse = app::object_encryption::kms;
         to.s3.sse_kms_key_id = "key-2";
       }},
  };
  std::size_t steps = 0;
  {
    scene undisturbed;
    BOOST_TEST(undisturbed.rig.run_text() == "done");
    steps = undisturbed.objects->steps();
  }
  for (const change& one : changes) {
    for (std::size_t step = 6; step <= steps; ++step) {
      BOOST_TEST_CONTEXT(one.what << ", interrupted at " << step) {
        scene here;
        here.rig.settings.s3.sse = app::object_encryption::none;
        here.interrupt_at(step);
        one.make(here.rig.settings);
        BOOST_TEST(here.rig.run_text() == "done");
        BOOST_TEST(here.rig.published_problem(here.contents()) == "");
        const bool published_before =
            here.rig.log.contains("action=publish") || here.rig.log.contains("action=record");
        for (const planner::manifest& link : here.rig.chain_in(here.contents())) {
          for (const planner::chunk_record& chunk : link.chunks) {
            const auto* object = here.objects->find(chunk.key);
            BOOST_REQUIRE(object != nullptr);
            BOOST_TEST(object->options.stored_as.str() == link.storage_class);
            if (!published_before) {
              BOOST_TEST(object->options.sse == header_of(here.rig.settings.s3.sse));
              BOOST_TEST(object->options.sse_kms_key_id == here.rig.settings.s3.sse_kms_key_id);
            }
          }
        }
      }
    }
  }
}

// The stream breaks, so that it is sent again; and then no sender can be started.
BOOST_AUTO_TEST_CASE(a_sender_that_cannot_be_started_is_no_divergence) {
  scene here;
  here.interrupt_at(8);
  const auto snapshots = here.rig.disk.snapshot_paths();
  BOOST_REQUIRE(snapshots.size() == 1U);
  const std::string whole = here.rig.disk.stream;
  here.rig.disk.instead = {whole.substr(0, 3 * backup_rig::part_bytes + 1000) + whole};
  here.rig.disk.refused_from = here.rig.disk.sends + 2;
  const std::string said = here.rig.run_text();
  BOOST_TEST(said.find("no more processes") != std::string::npos, said);
  BOOST_TEST((here.rig.disk.snapshot_paths() == snapshots));
  BOOST_TEST(here.rig.journal_text() != "none");
  BOOST_TEST(!here.rig.log.contains("begins anew"));
  here.rig.disk.refused_from = SIZE_MAX;
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("action=resume"));
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

// Nor one that starts and ends before it has said anything, or is killed: what is uploaded says
// nothing against it, and the next run goes on with it.
BOOST_AUTO_TEST_CASE(a_sender_that_ends_before_its_stream_is_no_divergence) {
  for (const std::string& end : {std::string("exit 127"), std::string("kill -9 $$")}) {
    for (const std::size_t printed : {std::size_t{0}, std::size_t{1000}}) {
      BOOST_TEST_CONTEXT(end << " after " << printed) {
        scene here;
        here.interrupt_at(8);
        here.rig.disk.printed_max = printed;
        here.rig.disk.afterwards = end;
        BOOST_TEST(here.rig.run_text() != "done");
        BOOST_TEST(!here.rig.log.contains("begins anew"));
        BOOST_TEST(!here.contents().objects.contains("host/subvol/data/current.json"));
        BOOST_TEST(here.objects->count("AbortMultipartUpload") == 0U);
        BOOST_TEST(here.rig.journal_text() != "none");
        here.rig.disk.printed_max = SIZE_MAX;
        here.rig.disk.afterwards.clear();
        here.rig.log.lines.clear();
        BOOST_TEST(here.rig.run_text() == "done");
        BOOST_TEST(here.rig.log.contains("action=resume"));
        BOOST_TEST(here.rig.published_problem(here.contents()) == "");
      }
    }
  }
}

namespace {

// What the run says of itself at its end.
std::string finished(const scene& here) {
  for (const std::string& line : here.rig.log.lines) {
    if (line.starts_with("run_finished ")) {
      return line.substr(0, line.find(" resumed_bytes"));
    }
  }
  return "nothing";
}

// Refuses these writes.
void deny(scene& here, const std::string& what) {
  here.objects->judge_by(
      [what](const memory_store::recorded_call& call) -> std::optional<engine::error> {
        const bool meant = call.verb == "PutObject" && call.key.find(what) != std::string::npos;
        return meant ? std::optional(memory_store::denied(call.key)) : std::nullopt;
      });
}

}  // namespace

// The totals count what was published, and nothing else.
BOOST_AUTO_TEST_CASE(a_backup_counts_when_its_pointer_has_moved) {
  for (const char* what : {"manifest-", "current.json"}) {
    scene here;
    deny(here, what);
    BOOST_TEST(here.rig.run_text() != "done");
    BOOST_TEST(finished(here) == "run_finished backups=0 bytes=0", what);
    here.objects->judge_by({});
    here.rig.log.lines.clear();
    BOOST_TEST(here.rig.run_text() == "done");
    BOOST_TEST(finished(here) ==
               "run_finished backups=1 bytes=" + std::to_string(here.rig.disk.stream.size()));
  }
}

BOOST_AUTO_TEST_CASE(of_two_backups_the_one_that_was_published_counts) {
  scene here;
  const std::string other = here.rig.place / "other";
  here.rig.disk.add_subvolume(other);
  here.rig.disk.streams_of_sources[other] = send_stream(5000, 3);
  here.rig.settings.subvolumes.push_back({"other", other});
  deny(here, "subvol/data/current.json");
  BOOST_TEST(here.rig.run_text() != "done");
  BOOST_TEST(finished(here) == "run_finished backups=1 bytes=5000");
}

namespace {

// How stores say that they lack a verb, or that nobody may use it.
struct lacking {
  const char* name;
  std::function<scripted_action()> answer;
};

const std::vector<lacking>& ways_to_lack() {
  static const std::vector<lacking> all = {
      {"405", [] { return scripted_action::answer(405, "MethodNotAllowed"); }},
      {"501", [] { return scripted_action::answer(501, "NotImplemented"); }},
      {"403", [] { return scripted_action::answer(403, "AccessDenied"); }},
      {"400", [] { return scripted_action::answer(400, "InvalidRequest"); }},
      {"a page", [] { return scripted_action::page(405); }},
  };
  return all;
}

scripted_action another_document() {
  return scripted_action::perform_then([](server_answer& answer) {
    answer.body = "<?xml version=\"1.0\"?><ListBucketResult></ListBucketResult>";
    answer.erase("content-length");
  });
}

// A run against a server that ends when three parts have arrived, and what comes after.
struct interrupted {
  interrupted() : server(options()) {
    rig.settings.s3.endpoint_url = server.url();
    rig.settings.s3.concurrency = 1;
    rig.settings.s3.retry_for = 0ms;
    server.script(request_match(s3_verb::upload_part, 4, 0),
                  scripted_action::answer(403, "AccessDenied"));
    BOOST_TEST(rig.run_text() != "done");
    BOOST_TEST(rig.journal_text() == "0: 1 2 3; 1:");
    server.clear_script();
    server.forget_requests();
    rig.log.lines.clear();
  }
  static scripted_s3_options options() {
    scripted_s3_options made;
    made.enforce_part_minimum = false;
    return made;
  }
  void lack(s3_verb verb, const lacking& how) {
    server.script(request_match(verb, 1, 0), how.answer());
  }
  [[nodiscard]] bucket_contents contents() const {
    bucket_contents there;
    there.objects = server.bodies("bucket");
    return there;
  }

  scripted_s3_server server;
  backup_rig rig;
};

}  // namespace

BOOST_AUTO_TEST_CASE(without_list_parts_an_upload_goes_on_by_its_journal) {
  std::vector<lacking> ways = ways_to_lack();
  ways.push_back({"another document", another_document});
  for (const lacking& how : ways) {
    BOOST_TEST_CONTEXT("refused with " << how.name) {
      interrupted here;
      here.lack(s3_verb::list_parts, how);
      BOOST_TEST(here.rig.run_text() == "done");
      BOOST_TEST(here.rig.log.contains("action=resume"));
      BOOST_TEST(here.rig.log.contains("parts_not_listed"));
      BOOST_TEST(here.server.count(s3_verb::upload_part) == 3U);
      BOOST_TEST(here.rig.published_problem(here.contents()) == "");
    }
  }
}

BOOST_AUTO_TEST_CASE(what_the_store_lost_meanwhile_is_sent_again_in_the_same_run) {
  const std::tuple<const char*, unsigned, std::function<scripted_action()>> losses[] = {
      {"the upload", 1, [] { return scripted_action::forget_upload(); }},
      {"a part", 1, [] { return scripted_action::answer(400, "InvalidPart"); }},
      // Tried again without its checksums.
      {"something", 2, [] { return scripted_action::answer(400, "InvalidRequest"); }},
  };
  for (const auto& [what, times, answer] : losses) {
    BOOST_TEST_CONTEXT(what) {
      interrupted here;
      here.lack(s3_verb::list_parts, ways_to_lack().front());
      // The first chunk's, which rests on the journal alone.
      here.server.script(request_match(s3_verb::complete_upload, 1, times), answer());
      BOOST_TEST(here.rig.run_text() == "done");
      BOOST_TEST(here.rig.log.contains("upload_gone"));
      BOOST_TEST(here.rig.published_problem(here.contents()) == "");
    }
  }
}

BOOST_AUTO_TEST_CASE(an_upload_that_cannot_be_aborted_stays_and_nothing_waits_for_it) {
  for (const lacking& how : ways_to_lack()) {
    BOOST_TEST_CONTEXT("refused with " << how.name) {
      interrupted here;
      here.lack(s3_verb::abort_upload, how);
      here.rig.settings.s3.storage_class_chunks =
          s3::storage_class("GLACIER_IR");  // so that it is begun anew
      BOOST_TEST(here.rig.run_text() == "done");
      BOOST_TEST(here.rig.log.contains("chunk_begun_anew"));
      BOOST_TEST(here.rig.log.contains("upload_left_open"));
      BOOST_TEST(here.rig.published_problem(here.contents()) == "");
      BOOST_TEST(here.server.open_uploads().size() == 2U);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_backup_that_is_too_old_is_given_up_where_nothing_can_be_aborted) {
  for (const lacking& how : ways_to_lack()) {
    BOOST_TEST_CONTEXT("refused with " << how.name) {
      interrupted here;
      here.lack(s3_verb::abort_upload, how);
      here.lack(s3_verb::list_parts, how);
      here.lack(s3_verb::list_uploads, how);
      here.rig.clock.time += 24h * 8;
      here.server.set_time(here.rig.clock.time);
      BOOST_TEST(here.rig.run_text() == "done");
      BOOST_TEST(here.rig.log.contains("action=abandon"));
      const bool may_come = std::string(how.name) == "403";  // somebody may allow it
      BOOST_TEST((here.rig.journal_text() != "none") == may_come);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
