// The answers of `init` as a file: round trips, and what is refused.
#include "app/setup/init_answers.hh"

#include "engine/plain_text.hh"

#include "tests/app/config/config_support.hh"

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::app::testing::has;
using bts3::app::testing::home;
using bts3::app::testing::variables;

namespace {

init_answers good() {
  init_answers answers;
  answers.subvolumes = {{"data", "/srv/data"}, {"root", "/"}};
  answers.base_dir = "/srv/snapshots";
  answers.region = "eu-central-1";
  answers.bucket = "my-backups";
  answers.prefix = "hosts/alpha";
  answers.storage_class = "DEEP_ARCHIVE";
  return answers;
}

std::string refusal(const init_answers& answers,
                    const engine::environment_lookup& environment = home) {
  const auto checked = check_answers(answers, environment);
  return checked ? "accepted" : checked.error().text();
}

// What the parser makes of the file is what was answered.
void check_round_trip(const init_answers& answers) {
  const std::string text = init_toml(answers);
  const auto read = parse_config(text, "file", home);
  BOOST_REQUIRE_MESSAGE(read.has_value(), bts3::testing::error_text(read) << "\n" << text);
  BOOST_REQUIRE(read->subvolumes.size() == answers.subvolumes.size());
  for (std::size_t i = 0; i < answers.subvolumes.size(); ++i) {
    BOOST_TEST(read->subvolumes[i].name == answers.subvolumes[i].name);
    BOOST_TEST(read->subvolumes[i].path == answers.subvolumes[i].path);
  }
  BOOST_TEST(read->snapshots.base_dir == answers.base_dir);
  BOOST_TEST(read->s3.endpoint_url == answers.endpoint_url);
  BOOST_TEST(read->s3.region == answers.region);
  BOOST_TEST(read->s3.bucket == answers.bucket);
  BOOST_TEST(read->s3.prefix == answers.prefix);
  BOOST_TEST(as_written(read->s3.storage_class_chunks) == answers.storage_class);
  BOOST_TEST(read->schedule.full_every_days.count() == answers.full_every_days);
  BOOST_TEST(read->schedule.incremental_every_days.count() == answers.incremental_every_days);
  BOOST_TEST(read->global.state_path == answers.state_path);
  BOOST_TEST(configured(answers, home).has_value());
}

std::string subvolume(const std::string& answer) {
  const auto one = parse_subvolume(answer, "/root");
  return one ? one->name + " at " + one->path : one.error().text();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(init_answers_suite)

BOOST_AUTO_TEST_CASE(the_file_gives_the_answers_back) {
  check_round_trip(good());
  init_answers elsewhere = good();
  elsewhere.endpoint_url = "https://objects.example.com:9000/base";
  elsewhere.storage_class = "none";
  elsewhere.full_every_days = 30;
  elsewhere.incremental_every_days = 1;
  elsewhere.prefix = "";
  check_round_trip(elsewhere);
}

BOOST_AUTO_TEST_CASE(hostile_values_come_back_as_they_were) {
  const std::vector<std::string> hostile = {"a b",
                                            "\"",
                                            "'",
                                            "\\",
                                            "\\\"",
                                            "#",
                                            "a # b",
                                            "]",
                                            "\\u0041",
                                            "\\n",
                                            "$(x)",
                                            "`x`",
                                            "\"\"\"",
                                            "'''",
                                            "{}",
                                            "name = 1",
                                            "\xc3\xa4\xc3\xb6",
                                            "\xe6\x97\xa5\xe6\x9c\xac",
                                            "\xf0\x9f\x92\xbe",
                                            "=",
                                            "a=b",
                                            ",",
                                            " leading"};
  for (const std::string& one : hostile) {
    init_answers answers = good();
    answers.subvolumes = {{one, "/srv/" + one}, {"other " + one, "/mnt/" + one + "/x"}};
    answers.base_dir = "/srv/" + one + "/snapshots";
    answers.prefix = "hosts/" + one;
    check_round_trip(answers);
  }
}

BOOST_AUTO_TEST_CASE(what_the_file_cannot_hold_is_refused_and_never_written_otherwise) {
  for (const std::string bad : {"a\nb", "a\x1b[31m", "\x80", "\xff\xfe", "a\rb"}) {
    init_answers answers = good();
    answers.prefix = "hosts/" + bad;
    BOOST_TEST(refusal(answers) != "accepted", bts3::engine::printable(bad));
    BOOST_TEST(!configured(answers, home));
    answers = good();
    answers.subvolumes = {{"data", "/srv/" + bad}};
    BOOST_TEST(refusal(answers) != "accepted");
    answers = good();
    answers.base_dir = "/srv/" + bad;
    BOOST_TEST(refusal(answers) != "accepted");
  }
  init_answers answers = good();
  answers.base_dir = "/srv/\x80";
  BOOST_TEST(has(refusal(answers), "UTF-8"), refusal(answers));
}

BOOST_AUTO_TEST_CASE(each_answer_is_judged_as_the_configuration_judges_it) {
  init_answers none;
  BOOST_TEST(refusal(none) == "accepted");  // nothing has been asked yet
  BOOST_TEST(!configured(none, home));      // and nothing can be written
  init_answers answers = good();
  answers.prefix = "a//b";
  BOOST_TEST(has(refusal(answers), "s3.prefix"), refusal(answers));
  answers = good();
  answers.bucket = "my-backups/hosts";
  BOOST_TEST(has(refusal(answers), "s3.bucket"), refusal(answers));
  answers = good();
  answers.storage_class = "COLD";
  BOOST_TEST(has(refusal(answers), "s3.storage_class_chunks"), refusal(answers));
  answers.endpoint_url = "https://objects.example.com";
  BOOST_TEST(refusal(answers) == "accepted");
  answers.endpoint_url = "objects.example.com";
  BOOST_TEST(has(refusal(answers), "s3.endpoint_url"), refusal(answers));
  answers = good();
  answers.subvolumes = {{"data", "/srv/data"}, {"data", "/mnt/data"}};
  BOOST_TEST(has(refusal(answers), "NAME=/mnt/data"), refusal(answers));
  answers = good();
  answers.incremental_every_days = 0;
  BOOST_TEST(has(refusal(answers), "schedule.incremental_every_days"), refusal(answers));
  answers = good();
  answers.base_dir = "snapshots";
  BOOST_TEST(has(refusal(answers), "snapshots.base_dir"), refusal(answers));
  // What the environment says instead is not what was answered.
  const auto misleading = variables({{"HOME", "/root"}, {"BTRFS_TO_S3_S3_PREFIX", "a//b"}});
  BOOST_TEST(refusal(good(), misleading) == "accepted");
  const auto read = configured(good(), misleading);
  BOOST_REQUIRE(read.has_value());
  BOOST_TEST(read->s3.prefix == "hosts/alpha");
}

BOOST_AUTO_TEST_CASE(a_subvolume_is_a_path_or_a_name_and_a_path) {
  BOOST_TEST(subvolume("/srv/data") == "data at /srv/data");
  BOOST_TEST(subvolume("/srv/data//") == "data at /srv/data");
  BOOST_TEST(subvolume("/") == "root at /");
  BOOST_TEST(subvolume("home=/") == "home at /");
  BOOST_TEST(subvolume("/srv/a=b") == "a=b at /srv/a=b");
  BOOST_TEST(subvolume("/srv/a=/b") == "b at /srv/a=/b");
  BOOST_TEST(subvolume("x=/srv/a=/b") == "x at /srv/a=/b");
  BOOST_TEST(subvolume("~/mail") == "mail at /root/mail");
  BOOST_TEST(has(subvolume("srv/data"), "no absolute path"));
  BOOST_TEST(has(subvolume("=/srv/data"), "name"));
  BOOST_TEST(has(subvolume("a/b=/srv/data"), "name"), subvolume("a/b=/srv/data"));
}

BOOST_AUTO_TEST_CASE(mounted_filesystems_are_read_with_their_escapes) {
  const std::string text =
      "22 1 0:20 / /proc rw,nosuid - proc proc rw\n"
      "23 1 0:30 /@ / rw,relatime shared:1 - btrfs /dev/sda2 rw,subvolid=256,subvol=/@\n"
      "24 23 0:30 /@home /home rw - btrfs /dev/sda2 rw\n"
      "25 23 0:31 / /mnt/a\\040b\\134c rw master:2 propagate_from:3 - btrfs /dev/sdb rw\n"
      "26 23 8:1 / /boot rw - ext4 /dev/sda1 rw\n"
      "27 24 0:40 / /home rw - tmpfs tmpfs rw\n"
      "half a line";
  const std::vector<btrfs_mount> expected = {{"/", "/@"}, {"/mnt/a b\\c", "/"}};
  BOOST_TEST((btrfs_mounts(text) == expected));
  BOOST_TEST(btrfs_mounts("").empty());
}

BOOST_AUTO_TEST_CASE(proposals_fit) {
  BOOST_TEST(proposed_prefix("alpha") == "hosts/alpha");
  BOOST_TEST(proposed_prefix("alpha.example.com") == "hosts/alpha.example.com");
  BOOST_TEST(proposed_prefix("") == "hosts/localhost");
  BOOST_TEST(proposed_class("") == "DEEP_ARCHIVE");
  BOOST_TEST(proposed_class("https://x") == "STANDARD");
  for (const char* path : {"/", "/home", "/srv/data", "/var/lib/mysql"}) {
    BOOST_TEST(worth_proposing(path), path);
  }
  for (const char* path : {"/tmp", "/var/tmp", "/.snapshots", "/home/.snapshots/1/snapshot",
                           "/var/lib/docker/btrfs/subvolumes/0f", "/var/lib/machines/x"}) {
    BOOST_TEST(!worth_proposing(path), path);
  }
}

BOOST_AUTO_TEST_CASE(the_credentials_file_is_what_the_reader_of_such_files_takes) {
  const auto file = credentials_file("KEY", engine::secret_string("se cret/+="));
  BOOST_TEST(file.view() ==
             "[default]\naws_access_key_id = KEY\naws_secret_access_key = se cret/+=\n");
}

BOOST_AUTO_TEST_SUITE_END()
