// A sender that is content and whose stream is none: whole backups over a store in memory.
//
// The kernel begins `btrfs send`'s ioctl anew in the middle when the sender is stopped and
// continued; the exit status is 0.
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/send_commands.hh"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

using namespace bts3;
using namespace bts3::testing;

namespace {

constexpr std::size_t part = backup_rig::part_bytes;
// Of each WRITE of send_stream().
constexpr std::size_t command_bytes = send::write_bytes + 1000;

bool has(const std::string& text, const std::string& sought) {
  return text.find(sought) != std::string::npos;
}

struct scene {
  scene() {
    rig.shared_loop = std::move(*engine::reactor::create());
    objects = std::make_unique<memory_store>(*rig.shared_loop, memory_store_options());
    rig.tuning.store = objects.get();
    rig.settings.s3.concurrency = 1;
    whole = rig.disk.stream;
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

  // The first `bytes` of the stream, and then all of it.
  [[nodiscard]] std::string begun_anew_at(std::size_t bytes) const {
    return whole.substr(0, bytes) + whole;
  }

  std::size_t times_logged(const std::string& event) const {
    std::size_t count = 0;
    for (const std::string& line : rig.log.lines) {
      count += line.starts_with(event) ? 1U : 0U;
    }
    return count;
  }

  backup_rig rig;
  std::unique_ptr<memory_store> objects;
  std::string whole;
};

// Where no command begins or ends, somewhere in a part of the second chunk.
constexpr std::size_t in_the_middle = 4 * part + 12'345;

}  // namespace

BOOST_AUTO_TEST_SUITE(broken_stream_suite)

BOOST_AUTO_TEST_CASE(a_stream_that_begins_anew_in_the_middle_is_sent_again_at_once) {
  scene here;
  here.rig.disk.instead = {here.begun_anew_at(in_the_middle)};
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.disk.sends == 2U);
  BOOST_TEST(here.times_logged("stream_broken") == 1U);
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  BOOST_TEST(here.rig.chain_in(here.contents()).size() == 1U);
}

BOOST_AUTO_TEST_CASE(what_arrived_before_the_break_is_not_sent_again) {
  scene here;
  here.rig.disk.instead = {here.begun_anew_at(in_the_middle)};
  BOOST_TEST(here.rig.run_text() == "done");
  // Six parts and one PUT would be all; those in flight at the break are repeated.
  BOOST_TEST(here.objects->count("UploadPart") <= 8U);
  BOOST_TEST(here.rig.log.contains("earlier_parts_found"));
}

// A command of which the first half is the first attempt's and the second the second's; the framing
// holds, END comes, the exit status is 0.
BOOST_AUTO_TEST_CASE(a_join_that_keeps_the_framing_is_found_and_replaced) {
  // Near the beginning, at a part's end (the command lies in two), and in the last chunk.
  for (const std::size_t about : {part / 2, 2 * part, 6 * part + part / 4}) {
    scene here;
    std::string joined = here.whole;
    const std::size_t at = (about / command_bytes) * command_bytes + command_bytes / 2;
    for (std::size_t i = 0; i < command_bytes; ++i) {
      joined[at + i] = here.whole[at + i - command_bytes];
    }
    // The header of the command is repeated as well: as long, of the same type.
    here.rig.disk.instead = {joined};
    BOOST_TEST(here.rig.run_text() == "done");
    BOOST_TEST(here.times_logged("stream_broken") == 1U);
    BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  }
}

BOOST_AUTO_TEST_CASE(a_stream_without_its_end_is_sent_again_although_the_sender_is_content) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, in_the_middle, 6 * part + 100}) {
    scene here;
    here.rig.disk.instead = {here.whole.substr(0, bytes), here.whole.substr(0, bytes / 2)};
    BOOST_TEST(here.rig.run_text() == "done");
    BOOST_TEST(here.rig.disk.sends == 3U);
    BOOST_TEST(here.rig.published_problem(here.contents()) == "");
  }
}

BOOST_AUTO_TEST_CASE(a_stream_that_breaks_each_time_is_kept_for_the_next_run) {
  scene here;
  for (int i = 0; i < 10; ++i) {
    here.rig.disk.instead.push_back(here.begun_anew_at(in_the_middle));
  }
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said, "4 times, and broke each time"), said);
  BOOST_TEST(has(said, "run the backup again"), said);
  BOOST_TEST(here.rig.disk.sends == 4U);
  BOOST_TEST(has(here.rig.journal_text(), "0: 1 2"), here.rig.journal_text());
  BOOST_TEST(here.rig.disk.snapshot_paths().size() == 1U);
  BOOST_TEST(here.rig.chain_in(here.contents()).empty());
  here.rig.disk.instead.clear();
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("action=resume"));
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

BOOST_AUTO_TEST_CASE(a_broken_stream_that_arrives_by_way_of_the_spool_is_sent_again) {
  scene here;
  here.rig.settings.s3.spool_enabled = true;
  here.rig.settings.global.spool_size_bytes = 4 * part;
  here.rig.disk.instead = {here.begun_anew_at(in_the_middle)};
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.times_logged("stream_broken") == 1U);
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

// All of it has arrived but for its last command, and then the snapshot sends other bytes.
BOOST_AUTO_TEST_CASE(a_part_that_differs_is_replaced_in_its_upload) {
  scene here;
  std::string other = here.whole;
  const std::size_t name = static_cast<unsigned char>(other[17]) - 4 - 20 - 12;
  const std::size_t first_write = 17 + send::subvol_bytes + name;
  const std::size_t changed = first_write + (4 * part + part / 2) / command_bytes * command_bytes;
  unsigned seed = 5;
  other.replace(changed, command_bytes, send::write(send::noise(1000, seed)));
  for (int i = 0; i < 4; ++i) {
    here.rig.disk.instead.push_back(other.substr(0, other.size() - 10));
  }
  BOOST_TEST(here.rig.run_text() != "done");
  BOOST_TEST(has(here.rig.journal_text(), "1: 1 2"), here.rig.journal_text());
  here.objects->forget_calls();
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.log.contains("stream_differs"));
  BOOST_TEST(here.rig.log.contains("part=2"));
  // Of six parts, those from the second chunk's second on; no upload is made anew.
  BOOST_TEST(here.objects->count("UploadPart") == 2U);
  BOOST_TEST(here.objects->count("CreateMultipartUpload") == 0U);
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

BOOST_AUTO_TEST_CASE(a_stream_of_another_subvolume_is_not_published) {
  scene here;
  here.rig.disk.instead = {send::header() + send::snapshot("other", '\x77', 3, '\x66') +
                           send::write("x") + send::end()};
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said, "is of the snapshot 77777777-7777-7777-7777-777777777777"), said);
  BOOST_TEST(here.rig.chain_in(here.contents()).empty());
  BOOST_TEST(here.contents().objects.empty());
}

BOOST_AUTO_TEST_CASE(a_path_that_no_receiver_has_room_for_is_told_and_backed_up) {
  scene here;
  const std::string deep = std::string(4'080, 'd');
  here.rig.disk.stream = send::header() + send::subvol("s") +
                         send::command(3, send::path("o1") + send::attribute(3, "12345678")) +
                         send::command(9, send::path("o1") + send::attribute(16, deep)) +
                         send::command(13, send::path("f") + send::attribute(13, "user.big") +
                                               send::attribute(14, std::string(20'000, 'x'))) +
                         send::end();
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.times_logged("cannot_be_received") == 2U);
  BOOST_TEST(here.rig.log.contains(deep));
  BOOST_TEST(here.rig.log.contains("user.big"));
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

// A path that no stream takes. The snapshots are directories here, and get theirs as the source has
// it when the sender ends.
BOOST_AUTO_TEST_CASE(a_path_that_cannot_be_sent_is_named_and_what_was_uploaded_is_kept) {
  scene here;
  const std::string source = here.rig.place / "data";
  const std::string make =
      "/usr/bin/python3 -c 'import os, sys; os.chdir(sys.argv[1]); "
      "[(os.mkdir(\"d\" * 250), os.chdir(\"d\" * 250)) for _ in range(17)]' ";
  BOOST_REQUIRE(std::system((make + source).c_str()) == 0);
  here.rig.disk.afterwards =
      make +
      "\"$(dirname \"$0\")\" 2>/dev/null; "
      "echo \"ERROR: send ioctl failed with -36: File name too long\" >&2; exit 1";
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said, "it is ddd"), said);
  BOOST_TEST(has(said, "its path has 4"), said);
  BOOST_TEST(has(said, "shorten the path in " + source), said);
  BOOST_TEST(has(here.rig.journal_text(), "0: 1 2"), here.rig.journal_text());
  // The next night uploads nothing of it again.
  here.objects->forget_calls();
  BOOST_TEST(here.rig.run_text() != "done");
  BOOST_TEST(here.objects->count("UploadPart") <= 2U);
  BOOST_TEST(here.rig.disk.snapshot_paths().size() == 1U);
  // Once the path is gone a new snapshot is made in the same run.
  std::filesystem::remove_all(source + "/" + std::string(250, 'd'));
  here.rig.disk.afterwards = "[ -e \"$(dirname \"$0\")/" + std::string(250, 'd') +
                             "\" ] || exit 0; echo \"ERROR: send ioctl failed with -36: File name "
                             "too long\" >&2; exit 1";
  BOOST_TEST(here.rig.run_text() == "done");
  BOOST_TEST(here.rig.published_problem(here.contents()) == "");
}

BOOST_AUTO_TEST_CASE(
    a_sender_that_cannot_read_and_names_nothing_leaves_nothing_if_all_can_be_read) {
  scene here;
  here.rig.disk.afterwards =
      "echo \"ERROR: send ioctl failed with -5: Input/output error\" >&2; exit 1";
  const std::string said = here.rig.run_text();
  BOOST_TEST(has(said, "failed with -5"), said);
  BOOST_TEST(here.rig.log.contains("looking_for_unsendable_files"));
  BOOST_TEST(here.rig.journal_text() == "none");
  BOOST_TEST(here.contents().uploads.empty());
}

BOOST_AUTO_TEST_SUITE_END()
