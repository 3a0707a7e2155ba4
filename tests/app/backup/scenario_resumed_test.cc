// What networks and stores do to a backup that does not pass within the run: what is kept for the
// next one, or undone at once. How a row is read: scenario.hh.
#include "tests/app/backup/scenario.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <tuple>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;
using scene = bts3::testing::scripted_scene;

namespace {

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

}  // namespace

BOOST_AUTO_TEST_SUITE(scenario_resumed_suite)

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
