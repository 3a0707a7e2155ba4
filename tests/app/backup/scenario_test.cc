// What networks and stores do to a backup, one row each: what passes within the run, what is wrong
// before it begins. How a row is read: scenario.hh.
#include "tests/app/backup/scenario.hh"
#include "engine/async_scope.hh"
#include "engine/child_process.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;
using scene = bts3::testing::scripted_scene;

BOOST_AUTO_TEST_SUITE(scenario_suite)

// A check that sees nothing proves nothing.
BOOST_AUTO_TEST_CASE(what_is_left_behind_is_seen) {
  warm_up();
  {
    const leak_check process;
    BOOST_TEST(text_of(process.found()) == "");
    const engine::unique_fd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    BOOST_TEST(text_of(process.found()) == "descriptor of /dev/null");
  }
  {
    const leak_check process;
    const pid_t child = ::fork();
    if (child == 0) {
      ::_exit(0);
    }
    BOOST_REQUIRE(child > 0);
    BOOST_TEST(text_of(process.found()) == "a child");
    BOOST_REQUIRE(::waitpid(child, nullptr, 0) == child);
    BOOST_TEST(text_of(process.found()) == "");
  }
  // A timer and a slot, while they are held.
  backup_rig rig;
  auto loop = engine::reactor::create();
  BOOST_REQUIRE(loop.has_value());
  const engine::system_clock_source clock;
  const app::services with{**loop, rig.log, clock, rig.settings, rig.disk, {}, {}};
  auto budget = app::upload_budget::create(with);
  BOOST_REQUIRE(budget.has_value());
  const auto hold = [](engine::reactor* ring, app::upload_budget* of) -> engine::task<std::string> {
    engine::stop_source enough;
    engine::async_scope scope(*ring);
    scope.spawn([](engine::reactor* on, engine::stop_token stop) -> engine::task<void> {
      auto sleeping = on->sleep_for(1h, stop);
      (void)co_await std::move(sleeping);
    }(ring, enough.token()));
    auto acquiring = of->slots.acquire();
    auto slot = co_await std::move(acquiring);
    BOOST_REQUIRE(slot.has_value());
    std::string seen = text_of(held_of(*of)) + "; " + text_of(held_of(*ring));
    slot->release();
    enough.request_stop();
    auto joining = scope.join();
    co_await std::move(joining);
    co_return seen + "; " + text_of(held_of(*of)) + "; " + text_of(held_of(*ring));
  };
  BOOST_TEST((*loop)->run(hold(loop->get(), budget->get())) ==
             "1 slots; 1 operations in the ring; ; ");
}

BOOST_AUTO_TEST_CASE(an_undisturbed_backup_makes_these_requests) {
  warm_up();
  play({"undisturbed", [](scene&) {}, "done", undisturbed, "", "none"});
}

// In the list of issue order: each is healed within the run.
BOOST_AUTO_TEST_CASE(what_passes_is_repeated_and_nothing_is_left_behind) {
  warm_up();
  const request_match second_part(s3_verb::upload_part, 2, 1);
  const request_match first_complete(s3_verb::complete_upload);
  const auto scripted = [](const request_match& match, const scripted_action& action) {
    return [=](scene& here) { here.server.script(match, action); };
  };
  const tally one_part_more = with(undisturbed, {{"part", 1}});
  const std::vector<scenario> rows = {
      {"503 before the body",
       scripted(second_part, scripted_action::answer_before_body(503, "SlowDown")), "done",
       one_part_more, ""},
      {"503 after the body", scripted(second_part, scripted_action::answer(503, "SlowDown")),
       "done", one_part_more, ""},
      {"500 after the body", scripted(second_part, scripted_action::answer(500, "InternalError")),
       "done", one_part_more, ""},
      {"400 RequestTimeout", scripted(second_part, scripted_action::answer(400, "RequestTimeout")),
       "done", one_part_more, ""},
      {"a reset in the middle of a part",
       scripted(second_part, scripted_action::reset_after(10'000)), "done", one_part_more, ""},
      {"a part stored, and the answer lost",
       scripted(second_part, scripted_action::perform_then_reset()), "done", one_part_more, ""},
      {"an acknowledgement without an ETag",
       scripted(second_part,
                scripted_action::perform_then([](server_answer& answer) { answer.erase("ETag"); })),
       "done", one_part_more, ""},
      {"200 with an error inside, on Complete",
       scripted(first_complete, scripted_action::error_in_200("InternalError")), "done",
       with(undisturbed, {{"complete", 1}}), ""},
      // Repeated, it finds no upload; the HEAD that follows every Complete finds the object.
      {"Complete done, and the answer lost",
       scripted(first_complete, scripted_action::perform_then_reset()), "done",
       with(undisturbed, {{"complete", 1}}), ""},
      {"Complete done, and NoSuchUpload at once",
       scripted(first_complete, scripted_action::perform_then_no_such_upload()), "done",
       undisturbed, ""},
      {"a truncated answer to Complete", scripted(first_complete, scripted_action::cut_answer(40)),
       "done", with(undisturbed, {{"complete", 1}}), ""},
      {"a truncated answer to a listing",
       scripted(s3_verb::list_objects, scripted_action::cut_answer(60)), "done",
       with(undisturbed, {{"list", 1}}), ""},
      // The first upload stays open until the sweep after Complete finds it.
      {"a truncated answer to Create",
       scripted(s3_verb::create_upload, scripted_action::cut_answer(50)), "done",
       with(undisturbed, {{"create", 1}, {"abort", 1}}), ""},
      // 412 is examined: our own bytes.
      {"the manifest written, and the answer lost",
       [](scene& here) {
         request_match manifest(s3_verb::put_object);
         manifest.key_contains = "manifest-";
         here.server.script(manifest, scripted_action::perform_then_reset());
       },
       "done", with(undisturbed, {{"put", 1}, {"get", 1}}), ""},
      {"the pointer moved, and the answer lost",
       [](scene& here) {
         request_match pointer(s3_verb::put_object);
         pointer.key_contains = "current.json";
         here.server.script(pointer, scripted_action::perform_then_reset());
       },
       "done", with(undisturbed, {{"put", 1}, {"get", 1}}), ""},
  };
  for (scenario row : rows) {
    play(row);
    // By way of the disk: the same requests, and every place of the spool comes back.
    row.title += ", with the spool";
    row.arrange = [arrange = row.arrange](scene& here) {
      here.rig.settings.s3.spool_enabled = true;
      arrange(here);
    };
    play(row);
  }
}

// Cut after 2 s to 3 s without a byte; the seconds are the watchdog's, shortened.
BOOST_AUTO_TEST_CASE(what_is_stuck_is_cut_and_what_is_slow_is_left_alone) {
  warm_up();
  const auto stalled = [](const scripted_action& action) {
    return [=](scene& here) {
      here.rig.tuning.stall_timeout = 2000ms;
      here.server.script(request_match(s3_verb::upload_part, 2, 1), action);
    };
  };
  const tally one_part_more = with(undisturbed, {{"part", 1}});
  const std::string cut = "no byte moved for 2000 ms";
  play({"a stall in the middle of a part",
        stalled(scripted_action::stall_after(10'000)),
        "done",
        one_part_more,
        "",
        "none",
        {},
        {},
        {},
        cut});
  play({"a part taken and never answered",
        stalled(scripted_action::stall_before_answer()),
        "done",
        one_part_more,
        "",
        "none",
        {},
        {},
        {},
        cut});
  // 48 pieces with 80 ms between them: longer than the watchdog waits, and never silent.
  play({"a slow upload",
        [](scene& here) {
          here.rig.settings.s3.part_size_bytes = 3 << 20;
          here.rig.settings.s3.chunk_size_bytes = 9 << 20;
          here.rig.disk.stream = send_stream((3 << 20) + 1000);
          here.rig.tuning.stall_timeout = 2000ms;
          here.server.script(s3_verb::upload_part, scripted_action::read_slowly(64 * 1024, 80ms));
        },
        "done",
        {{"get", 1},
         {"list", 1},
         {"create", 1},
         {"part", 2},
         {"complete", 1},
         {"head", 1},
         {"list_uploads", 1},
         {"put", 2}},
        ""});
  play({"a slow answer",
        [](scene& here) {
          here.rig.tuning.stall_timeout = 2000ms;
          here.server.script(s3_verb::list_objects, scripted_action::answer_slowly(8, 50ms));
        },
        "done", undisturbed, ""});
}

// The server is gone in the middle of the upload: for 20 s, on a scale of 1 to 50, as the waits
// between attempts are (1 s to 30 s there, 1 to 20 ms here).
BOOST_AUTO_TEST_CASE(a_server_that_refuses_connections_for_a_while_is_waited_for) {
  warm_up();
  play({"connections refused for 20 s",
        [](scene& here) {
          here.rig.settings.s3.concurrency = 1;
          here.server.script(request_match(s3_verb::upload_part, 3, 1),
                             scripted_action::go_away(400ms));
        },
        "done",
        with(undisturbed, {{"part", 1}}),
        "",
        "none",
        {},
        {},
        {},
        "Connection refused"});
}

BOOST_AUTO_TEST_CASE(expired_tokens_and_skewed_clocks_are_put_right_within_the_run) {
  warm_up();
  play({"a token that expires in the middle",
        [](scene& here) {
          // The environment is looked at again only when the store has refused what it gave.
          here.rig.look_up = [asked = 0](std::string_view name) mutable {
            const bool key = name == "AWS_ACCESS_KEY_ID";
            asked += key ? 1 : 0;
            return key ? std::optional("KEY" + std::to_string(asked)) : std::nullopt;
          };
          here.server.script(request_match(s3_verb::upload_part, 2, 1),
                             scripted_action::answer(400, "ExpiredToken"));
        },
        "done", with(undisturbed, {{"part", 1}}), ""});
  // Corrected once, for all requests that follow.
  play({"a clock three hours off", [](scene& here) { here.server.set_clock(3h); }, "done",
        with(undisturbed, {{"get", 1}}), ""});
}

BOOST_AUTO_TEST_CASE(a_store_that_refuses_checksums_gets_parts_without) {
  warm_up();
  for (const int status : {400, 501}) {
    // The form of the checksums is left out first, then the checksums.
    scenario row{"checksums refused", [](scene&) {}, "done",
                 with(undisturbed, {{"create", status == 501 ? 2 : 1}}), ""};
    row.options.refuse_checksums_status = status;
    play(row);
  }
}

// Chunks, manifest and pointer.
BOOST_AUTO_TEST_CASE(a_bucket_with_object_lock_gets_a_digest_of_everything) {
  warm_up();
  scenario row{"Object Lock", [](scene&) {}, "done", undisturbed, ""};
  row.options.demand_digests = true;
  play(row);
}

// Nothing was begun: no intent, no snapshot.
BOOST_AUTO_TEST_CASE(a_store_out_of_reach_fails_the_run_before_it_begins) {
  warm_up();
  const auto at = [](const std::string& url) {
    return [url](scene& here) {
      here.rig.settings.s3.endpoint_url = url;
      here.rig.settings.s3.retry_for = 0ms;
    };
  };
  play({"an unknown name",
        at("http://nonexistent.invalid:9"),
        "name resolution failed",
        {},
        "0 objects"});
  scenario tls{"a certificate that nobody vouches for",
               [](scene& here) {
                 here.rig.settings.s3.endpoint_url = here.server.https_url();
                 here.rig.settings.s3.retry_for = 0ms;
               },
               "certificate",
               {},
               "0 objects"};
  tls.options.tls = true;
  play(tls);
  play({"403 from the first request on",
        [](scene& here) {
          here.server.script(request_match(s3_verb::any, 1, 0),
                             scripted_action::answer(403, "AccessDenied"));
        },
        "AccessDenied",
        {{"get", 1}, {"list", 1}},  // 403 may stand for absence: the listing tells
        "0 objects"});
}

BOOST_AUTO_TEST_SUITE_END()
