// What networks and stores do to a backup, one row each: the whole job over real sockets, from
// looking at the bucket to the state file, against a server that misbehaves by script.
//
// Every row says exactly which requests the run makes, what the server holds afterwards, what the
// journal holds, and how the run ends; where something stayed, what the next run makes of it. After
// every run the memory's slots, the ring and the children are counted, and after every row the
// process's descriptors and threads.
#include "engine/async_scope.hh"
#include "engine/child_process.hh"
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/scripted_s3_server.hh"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <thread>
#include <tuple>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;

namespace {

using tally = std::map<std::string, int>;

const char* name_of(s3_verb verb) {
  switch (verb) {
    case s3_verb::put_object:
      return "put";
    case s3_verb::get_object:
      return "get";
    case s3_verb::head_object:
      return "head";
    case s3_verb::delete_object:
      return "delete";
    case s3_verb::list_objects:
      return "list";
    case s3_verb::create_upload:
      return "create";
    case s3_verb::upload_part:
      return "part";
    case s3_verb::complete_upload:
      return "complete";
    case s3_verb::abort_upload:
      return "abort";
    case s3_verb::list_parts:
      return "list_parts";
    case s3_verb::list_uploads:
      return "list_uploads";
    case s3_verb::any:
    case s3_verb::restore_object:
    case s3_verb::head_bucket:
    case s3_verb::other:
      break;
  }
  return "other";
}

std::string text_of(const tally& counts) {
  std::string text;
  for (const auto& [verb, count] : counts) {
    text += count == 0 ? "" : (text.empty() ? "" : ", ") + verb + " " + std::to_string(count);
  }
  return text;
}

std::string text_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) {
    text += (text.empty() ? "" : ", ") + line;
  }
  return text;
}

// A first full of six parts and a half that nothing disturbs: the pointer is looked for and the
// keys are listed; two uploads of three parts are completed, each with a HEAD for size and ETag and
// a look for uploads left by repeated Creates; last chunk, manifest and pointer are put.
const tally undisturbed = {{"get", 1},      {"list", 1}, {"create", 2},       {"part", 6},
                           {"complete", 2}, {"head", 2}, {"list_uploads", 2}, {"put", 3}};

tally with(tally counts, const tally& more) {
  for (const auto& [verb, count] : more) {
    counts[verb] += count;
  }
  return counts;
}

// A rig whose store is a scripted server; its backups are without an index (index_test.cc).
struct scene {
  explicit scene(const scripted_s3_options& options) : server(options) {
    rig.settings.s3.endpoint_url = server.url();
    rig.settings.index.enabled = false;
  }

  tally requests() const {
    tally counts;
    for (const recorded_request& one : server.requests()) {
      ++counts[name_of(one.verb)];
    }
    return counts;
  }

  bucket_contents contents() const {
    bucket_contents there;
    there.objects = server.bodies("bucket");
    int number = 0;
    for (const auto& upload : server.open_uploads()) {
      std::set<unsigned>& parts = there.uploads[upload.key + " " + std::to_string(++number)];
      for (const auto& [part, state] : upload.parts) {
        parts.insert(part);
      }
    }
    return there;
  }

  // "2 objects; open 1: 1 2": how many objects, and of each open upload the chunk and its parts.
  std::string server_text() const {
    const bucket_contents there = contents();
    std::string text = std::to_string(there.objects.size()) + " objects";
    for (const auto& [name, parts] : there.uploads) {
      text += "; open " + name.substr(name.find(".bin") - 1, 1) + ":";
      for (const unsigned part : parts) {
        text += " " + std::to_string(part);
      }
    }
    return text;
  }

  // Stops the run when that many requests are stalled.
  void stop_at_stall(std::size_t count) {
    before = [this, count](engine::reactor& loop) {
      rig.helper = std::thread([this, count, &loop] {
        BOOST_REQUIRE(server.wait_for_stalls(count));
        loop.post([this] { rig.stop->request_stop(); });
      });
    };
  }

  scripted_s3_server server;
  backup_rig rig;
  backup_rig::preparation before;  // of the first run
};

struct scenario {
  std::string title;
  std::function<void(scene&)> arrange;
  // What the first run makes.
  std::string outcome;  // "done", or a part of the error
  tally requests;
  std::string server;  // "" : published, and nothing else there
  std::string journal = "none";
  // The second run, without the script; no requests: there is none, as the first has published.
  tally again = {};
  // Requests that the first run may make in excess, where what is in flight together decides.
  tally at_most_more = {};
  std::function<void(scene&)> between = {};
  // A part of a line in the first run's log: that the trouble happened is seen there.
  std::string logged = {};
  scripted_s3_options options = [] {
    scripted_s3_options made;
    made.enforce_part_minimum = false;
    return made;
  }();
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void play(const scenario& row) {
  BOOST_TEST_CONTEXT(row.title) {
    const leak_check process;
    {
      scene here(row.options);
      row.arrange(here);
      const std::string outcome = here.rig.run_text(here.before);
      BOOST_REQUIRE(here.server.settle());
      BOOST_TEST(has(outcome, row.outcome), outcome);
      BOOST_TEST(here.rig.log.contains(row.logged));
      tally counted = here.requests();
      for (const auto& [verb, more] : row.at_most_more) {
        const int least = row.requests.contains(verb) ? row.requests.at(verb) : 0;
        if (counted[verb] >= least && counted[verb] <= least + more) {
          counted[verb] = least;
        }
      }
      BOOST_TEST(text_of(counted) == text_of(row.requests));
      BOOST_TEST(here.rig.journal_text() == row.journal);
      if (!row.server.empty()) {
        BOOST_TEST(here.server_text() == row.server);
      }
      if (!row.again.empty()) {
        here.server.clear_script();
        here.server.forget_requests();
        if (row.between) {
          row.between(here);
        }
        BOOST_TEST(here.rig.run_text() == "done");
        BOOST_REQUIRE(here.server.settle());
        BOOST_TEST(text_of(here.requests()) == text_of(row.again));
      }
      if (row.server.empty() || !row.again.empty()) {
        BOOST_TEST(here.rig.published_problem(here.contents()) == "");
      }
      BOOST_TEST(text_of(here.rig.left) == "");
    }
    BOOST_TEST(text_of(process.found()) == "");
  }
}

// Whatever is opened once and for good (libcurl's, OpenSSL's, the resolver's) is open after this.
void warm_up() {
  static const bool warm = [] {
    scripted_s3_options options;
    options.enforce_part_minimum = false;
    scene here(options);
    BOOST_REQUIRE_EQUAL(here.rig.run_text(), "done");
    here.rig.settings.s3.endpoint_url = "http://nonexistent.invalid";
    here.rig.settings.s3.retry_for = 0ms;
    (void)here.rig.run_text();
    return true;
  }();
  BOOST_TEST(warm);
}

}  // namespace

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

// A run that goes on where one stopped after three of six parts. Pointer and keys are looked at;
// pointer and manifest again for the journal's sake, twice each since neither is there; ListParts
// tells what the two uploads have. When all is published, pointer, keys and manifest are read once
// more: nothing is due.
const tally from_part_4 = {{"get", 7},      {"list", 2}, {"list_parts", 2},   {"part", 3},
                           {"complete", 2}, {"head", 2}, {"list_uploads", 2}, {"put", 3}};

// One part in flight at a time and no repetition, so that what was sent by then is certain.
std::function<void(scene&)> alone(const request_match& match, const scripted_action& action) {
  return [=](scene& here) {
    here.rig.settings.s3.concurrency = 1;
    here.rig.settings.s3.retry_for = 0ms;
    here.server.script(match, action);
  };
}

request_match key_with(s3_verb verb, const std::string& part) {
  request_match match(verb);
  match.key_contains = part;
  return match;
}

BOOST_AUTO_TEST_CASE(what_does_not_pass_keeps_everything_for_the_next_run) {
  warm_up();
  const tally until_part_4 = {{"get", 1}, {"list", 1}, {"create", 2}, {"part", 4}};
  const std::string open = "0 objects; open 0: 1 2 3; open 1:";
  const request_match part_4(s3_verb::upload_part, 4, 0);
  const scripted_action forbidden = scripted_action::answer(403, "AccessDenied");
  const scripted_action slow_down = scripted_action::answer(503, "SlowDown");
  play({"403 for one part", alone(part_4, forbidden), "AccessDenied", until_part_4, open,
        "0: 1 2 3; 1:", from_part_4});
  play({"503 until the patience ends", alone(part_4, slow_down), "SlowDown", until_part_4, open,
        "0: 1 2 3; 1:", from_part_4});
  play({"400 without end: five attempts, whatever the patience",
        [=](scene& here) {
          here.rig.settings.s3.concurrency = 1;
          here.server.script(part_4, scripted_action::answer(400, "BadDigest"));
        },
        "BadDigest", with(until_part_4, {{"part", 4}}), open, "0: 1 2 3; 1:", from_part_4});
  play({"stopped by a signal",
        [=](scene& here) {
          here.rig.settings.s3.concurrency = 1;
          here.server.script(part_4, scripted_action::stall_before_answer());
          here.stop_at_stall(1);
        },
        "cancelled", until_part_4, open, "0: 1 2 3; 1:", from_part_4});
  // The first upload is made anew, and all of its parts; the second goes on.
  scenario dropped{"uploads dropped between the runs",
                   alone(part_4, slow_down),
                   "SlowDown",
                   until_part_4,
                   open,
                   "0: 1 2 3; 1:",
                   with(from_part_4, {{"create", 1}, {"part", 3}})};
  dropped.between = [](scene& here) {
    here.server.script(s3_verb::list_parts, scripted_action::forget_upload());
  };
  play(dropped);
}

// The parts are there; what is asked of them fails.
BOOST_AUTO_TEST_CASE(a_backup_that_cannot_be_completed_is_completed_by_the_next_run) {
  warm_up();
  const scripted_action forbidden = scripted_action::answer(403, "AccessDenied");
  const tally all_parts = {{"get", 1}, {"list", 1}, {"create", 2}, {"part", 6}, {"complete", 1}};
  // Whole chunks in the journal: HEAD asks for each whether it is an object by now.
  const tally one_part = {{"get", 7},  {"list", 2},     {"list_parts", 2},   {"part", 1},
                          {"head", 5}, {"complete", 2}, {"list_uploads", 2}, {"put", 3}};
  play({"an acknowledgement with a wrong ETag",
        alone(request_match(s3_verb::upload_part, 2, 1),
              scripted_action::perform_then([](server_answer& answer) {
                answer.set("ETag", "\"00000000000000000000000000000000\"");
              })),
        "InvalidPart", all_parts, "0 objects; open 0: 1 2 3; open 1: 1 2 3",
        "0: 1 2 3 whole; 1: 1 2 3 whole; 2: whole", one_part});
  // Nothing but its own HEAD tells whether a Complete that finds no upload was done before.
  play({"an upload dropped before its Complete",
        alone(s3_verb::complete_upload, scripted_action::forget_upload()), "NoSuchUpload",
        with(all_parts, {{"head", 1}}), "0 objects; open 1: 1 2 3",
        "0: 1 2 3 whole; 1: 1 2 3 whole; 2: whole", with(one_part, {{"create", 1}, {"part", 2}})});
  play({"the second Complete refused",
        alone(request_match(s3_verb::complete_upload, 2, 1), forbidden),
        "AccessDenied",
        with(all_parts, {{"complete", 1}, {"head", 1}, {"list_uploads", 1}}),
        "1 objects; open 1: 1 2 3",
        "0: 1 2 3 whole stored; 1: 1 2 3 whole; 2: whole",
        {{"get", 7},
         {"list", 2},
         {"list_parts", 1},
         {"head", 4},
         {"complete", 1},
         {"list_uploads", 1},
         {"put", 3}}});
  const std::string stored = "0: 1 2 3 whole stored; 1: 1 2 3 whole stored; 2: whole stored";
  play({"the manifest refused",
        alone(key_with(s3_verb::put_object, "manifest-"), forbidden),
        "AccessDenied",
        with(undisturbed, {{"put", -1}}),
        "3 objects",
        stored,
        {{"get", 7}, {"list", 2}, {"head", 3}, {"put", 2}}});
  // Nothing is sent again, not even the stream.
  play({"the pointer refused",
        alone(key_with(s3_verb::put_object, "current.json"), forbidden),
        "AccessDenied",
        undisturbed,
        "4 objects",
        stored,
        {{"get", 6}, {"list", 2}, {"put", 1}}});
}

// The stream is sent a second time within the run; the first chunk's parts are found by ListParts.
BOOST_AUTO_TEST_CASE(an_upload_that_the_store_drops_in_the_middle_is_made_anew) {
  warm_up();
  play({"an upload dropped once",
        alone(request_match(s3_verb::upload_part, 4, 1), scripted_action::forget_upload()), "done",
        with(undisturbed,
             {{"create", 1}, {"part", 1}, {"list_uploads", 1}, {"list_parts", 1}, {"abort", 1}}),
        ""});
  // Given up for now: the next run begins where this one began to fail.
  play({"an upload dropped again and again",
        alone(request_match(s3_verb::upload_part, 4, 0), scripted_action::forget_upload()),
        "NoSuchUpload",
        {{"get", 1},
         {"list", 1},
         {"create", 4},
         {"part", 6},
         {"list_uploads", 2},
         {"list_parts", 2},
         {"abort", 2}},
        "0 objects; open 0: 1 2 3",
        "0: 1 2 3; 1:",
        with(from_part_4, {{"create", 1}})});
}

// Overwrites what lies in the spool of this process, whose file has no name.
void spoil_spool(const std::string& directory) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code code;
    const std::string target = std::filesystem::read_symlink(entry.path(), code).string();
    if (!target.starts_with(directory + "/")) {
      continue;
    }
    const engine::unique_fd file(::open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
    const off_t size = ::lseek(file.get(), 0, SEEK_END);
    const std::string garbage(4096, 'x');
    for (off_t at = 0; at < size; at += 4096) {
      (void)!::pwrite(file.get(), garbage.data(), garbage.size(), at);
    }
    ::fsync(file.get());
  }
}

// The second attempt of the first part finds other bytes in the spool than the first did, and
// nobody else would notice: the store knows no checksums, and payloads are not signed.
BOOST_AUTO_TEST_CASE(a_spool_that_returns_other_bytes_never_makes_a_success) {
  warm_up();
  scenario row{"a spoiled spool",
               [](scene& here) {
                 app::config& settings = here.rig.settings;
                 settings.s3.spool_enabled = true;
                 settings.s3.checksum = app::checksum_choice::none;
                 settings.s3.payload_signing = s3::payload_signing::unsigned_body;
                 settings.s3.concurrency = 1;
                 here.server.script(
                     request_match(s3_verb::upload_part, 2, 1),
                     scripted_action::perform_then(
                         [directory = settings.global.spool_dir](server_answer& answer) {
                           spoil_spool(directory);
                           answer.status = 500;
                         }));
               },
               "returns other bytes than were written",
               // The repeated part may reach the server: its head, never its last byte.
               {{"get", 1}, {"list", 1}, {"create", 1}, {"part", 2}},
               "0 objects; open 0: 1 2",
               "0: 1",
               {{"get", 7},
                {"list", 2},
                {"list_parts", 1},
                {"create", 1},
                {"part", 5},
                {"complete", 2},
                {"head", 2},
                {"list_uploads", 2},
                {"put", 3}},
               {{"part", 1}}};
  play(row);
}

// Nothing of it can be used: it is undone at once.
BOOST_AUTO_TEST_CASE(a_sender_that_fails_leaves_nothing) {
  warm_up();
  // By the end of the stream at least four parts have arrived, as there are three slots; those in
  // flight then are stopped, whether the server has them or not.
  const tally undone = {{"get", 1},  {"list", 1},  {"create", 2},
                        {"part", 4}, {"abort", 2}, {"list_uploads", 2}};
  const auto sender = [](const std::string& afterwards, std::size_t printed) {
    return [=](scene& here) {
      here.rig.disk.afterwards = afterwards;
      here.rig.disk.printed_max = printed;
    };
  };
  const std::size_t whole = SIZE_MAX;
  for (const auto& [title, arrange, outcome] :
       std::vector<std::tuple<std::string, std::function<void(scene&)>, std::string>>{
           {"exit status 1 after a whole stream", sender("echo broken >&2; exit 1", whole),
            "broken"},
           {"exit status 2 after a whole stream", sender("exit 2", whole), "status 2"}}) {
    play({title, arrange, outcome, undone, "0 objects", "none", {}, {{"part", 2}}});
  }
  for (const std::size_t bytes : {0U, 1U}) {
    // No valid stream: it has a head of 17 bytes at least, and one command.
    play({"a stream of " + std::to_string(bytes) + " bytes",
          sender("", bytes),
          "stream",
          {{"get", 1}, {"list", 1}},
          "0 objects"});
  }
}

BOOST_AUTO_TEST_SUITE_END()
