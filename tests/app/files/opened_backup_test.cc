// A chain's catalogue on the host that reads: brought up to date, kept, made anew, refused.
#include "app/files/opened_backup.hh"

#include "tests/app/files/files_scene.hh"

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <string>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::error_text;
using bts3::testing::files_scene;
using bts3::testing::some_full;
using bts3::testing::some_incremental;

namespace {

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(opened_backup_suite, files_scene)

BOOST_AUTO_TEST_CASE(an_index_is_read_from_the_bucket_once) {
  add(some_full());
  BOOST_TEST(names() == "etc home link");
  BOOST_TEST(names("etc") == "fstab");
  BOOST_TEST(reads_of("index-") == 1);
  BOOST_TEST(reads_of("chunk-") == 0);
}

BOOST_AUTO_TEST_CASE(a_chain_that_grows_costs_its_new_indexes_and_each_link_stays_as_it_was) {
  const std::string full = add(some_full());
  BOOST_TEST(names("home") == "a b\n");
  add(some_incremental());
  BOOST_TEST(names("home") == "c new");
  BOOST_TEST(reads_of("index-") == 2);
  wanted.manifest_key = full;
  BOOST_TEST(names("home") == "a b\n");
  BOOST_TEST(names("") == "etc home link");
  BOOST_TEST(reads_of("index-") == 2);
}

BOOST_AUTO_TEST_CASE(an_index_that_is_another_than_the_manifest_records_is_refused) {
  add(some_full());
  for (const auto& [key, object] : std::map(store.objects())) {
    if (says(key, "index-")) {
      std::string body = object.body;
      body.at(20) = static_cast<char>(body.at(20) ^ 1);
      store.put(key, body);
    }
  }
  const auto backup = open();
  BOOST_REQUIRE(!backup.has_value());
  BOOST_TEST((backup.error().why == engine::reason::integrity));
  BOOST_TEST(says(backup.error().text(), "SHA-256"));
  // From the chunks it can be made all the same.
  BOOST_TEST(open(missing_index::build).has_value());
  BOOST_TEST(names() == "etc home link");
}

BOOST_AUTO_TEST_CASE(a_backup_without_an_index_says_how_it_is_made_and_is_read_from_its_chunks) {
  add(some_full(), index::none);
  add(some_incremental());
  const auto refused = open();
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST(says(refused.error().text(), "has no index"));
  BOOST_TEST(says(refused.error().text(), "index build --subvolume data"));
  BOOST_TEST(reads_of("index-") == 0);
  BOOST_TEST(reads_of("chunk-") == 0);
  const auto built = open(missing_index::build);
  BOOST_REQUIRE_MESSAGE(built.has_value(), error_text(built));
  BOOST_TEST((*built)->built() == 1);
  BOOST_TEST((*built)->added() == 2);
  store.forget_calls();
  BOOST_TEST(names("home") == "c new");
  BOOST_TEST(reads_of("index-") == 0);
  BOOST_TEST(reads_of("chunk-") == 0);
}

BOOST_AUTO_TEST_CASE(a_cache_that_is_damaged_or_another_program_s_is_made_anew) {
  add(some_full());
  BOOST_TEST(names() == "etc home link");
  const std::string file = the_file();
  testing::write_file(file, "no database, and long enough to be taken for one");
  BOOST_TEST(names() == "etc home link");
  BOOST_TEST(reads_of("index-") == 2);
  std::filesystem::remove(file);
  BOOST_TEST(names() == "etc home link");
  BOOST_TEST(reads_of("index-") == 3);
}

BOOST_AUTO_TEST_CASE(a_link_that_receive_would_refuse_is_named_and_those_before_can_be_read) {
  using namespace bts3::testing::streams;
  const std::string full = add(some_full());
  add(send::header(1) + send::snapshot("s2", '\x02', 9, '\x01') +
      take_away(command_unlink, "etc/nothing") + send::end());
  const auto refused = open();
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST((refused.error().why == engine::reason::integrity));
  BOOST_TEST(says(refused.error().text(), "would refuse command 2"));
  BOOST_TEST(says(refused.error().text(), "--manifest-key " + full));
  wanted.manifest_key = full;
  BOOST_TEST(names() == "etc home link");
  BOOST_TEST(reads_of("/full/index-") == 1);
}

BOOST_AUTO_TEST_CASE(of_a_sealed_chain_an_identity_is_asked_for_where_an_index_is_read) {
  sealed_for = std::move(*age::x25519_identity::generate(age::system_random()));
  add(some_full());
  add(some_incremental());
  BOOST_TEST(says(names(), "is sealed, and no identity was given"));
  const std::string file = directory / "identity";
  testing::write_file(file, std::string(sealed_for->text().view()) + "\n");
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  wanted.identities = {file};
  BOOST_TEST(names("home") == "c new");
  wanted.identities.clear();
  BOOST_TEST(names("home") == "c new");
  const auto backup = open();
  BOOST_REQUIRE_MESSAGE(backup.has_value(), error_text(backup));
  BOOST_TEST(!loop->run((*backup)->open_keys()).has_value());
  wanted.identities = {file};
  const auto with_key = open();
  BOOST_REQUIRE_MESSAGE(with_key.has_value(), error_text(with_key));
  BOOST_TEST(loop->run((*with_key)->open_keys()).has_value());
  BOOST_TEST((*with_key)->key_of(2)->id.text().size() == 32);
}

BOOST_AUTO_TEST_CASE(the_cache_is_its_owner_s_alone_and_what_was_long_unused_goes) {
  add(some_full());
  BOOST_TEST(names() == "etc home link");
  struct stat facts{};
  BOOST_REQUIRE(::stat((directory / "cache/btrfs_to_s3").c_str(), &facts) == 0);
  BOOST_TEST((facts.st_mode & 0777) == 0700);
  const std::string mine = the_file();
  BOOST_REQUIRE(::stat(mine.c_str(), &facts) == 0);
  BOOST_TEST((facts.st_mode & 0777) == 0600);
  const std::string other = directory / "cache/btrfs_to_s3/chain-old.sqlite";
  testing::write_file(other, std::string(100'000, 'x'));
  std::filesystem::last_write_time(other,
                                   std::filesystem::last_write_time(other) - std::chrono::hours(1));
  const auto kept = index_cache::open(with, "");
  BOOST_REQUIRE(kept.has_value());
  kept->used(mine, 1 << 30);
  BOOST_TEST(std::filesystem::exists(other));
  kept->used(mine, 1);
  BOOST_TEST(!std::filesystem::exists(other));
  BOOST_TEST(std::filesystem::exists(mine));
}

BOOST_AUTO_TEST_CASE(a_directory_that_others_may_write_to_is_no_cache) {
  add(some_full());
  wanted.cache_dir = directory / "open";
  std::filesystem::create_directory(wanted.cache_dir);
  std::filesystem::permissions(wanted.cache_dir, std::filesystem::perms::all);
  BOOST_TEST(says(names(), "others may write"));
  std::filesystem::permissions(wanted.cache_dir, std::filesystem::perms::owner_all);
  BOOST_TEST(names() == "etc home link");
}

BOOST_AUTO_TEST_CASE(where_one_subvolume_is_configured_it_is_meant) {
  add(some_full());
  wanted.subvolume.clear();
  BOOST_TEST(says(names(), "name the subvolume with --subvolume"));
  settings.subvolumes.resize(1);
  settings.subvolumes.front().name = "data";
  BOOST_TEST(names() == "etc home link");
}

// However long the chain is: manifests are asked for again by nobody who has them.
BOOST_AUTO_TEST_CASE(of_a_chain_that_is_known_the_chosen_manifest_alone_is_read) {
  add(some_full());
  add(some_incremental());
  BOOST_TEST(names("home") == "c new");
  store.forget_calls();
  BOOST_TEST(names("home") == "c new");
  BOOST_TEST(reads_of("manifest-") == 1);
  BOOST_TEST(store.calls().size() == 2U);  // and the pointer
  const auto backup = open();
  BOOST_REQUIRE_MESSAGE(backup.has_value(), error_text(backup));
  BOOST_REQUIRE((*backup)->chain().size() == 2U);
  const auto there = planner::parse_manifest(store.objects().at(keys[0]).body);
  BOOST_REQUIRE(there.has_value());
  BOOST_TEST((*backup)->chain()[0].key == keys[0]);
  BOOST_TEST(planner::write_manifest((*backup)->chain()[0].value) ==
             planner::write_manifest(*there));
}

// What a store says of it later changes nothing; what it says of the chosen one does.
BOOST_AUTO_TEST_CASE(a_manifest_that_is_replaced_in_the_bucket_does_not_replace_one_that_is_known) {
  add(some_full());
  add(some_incremental());
  BOOST_TEST(names("home") == "c new");
  store.put(keys[0], "{}");
  BOOST_TEST(names("home") == "c new");
  store.put(keys[1], "{}");
  BOOST_TEST(says(names("home"), keys[1]));
}

BOOST_AUTO_TEST_CASE(what_an_earlier_command_left_unfinished_goes_and_logs_count) {
  add(some_full());
  const auto kept = index_cache::open(with, "");
  BOOST_REQUIRE(kept.has_value());
  const std::string left = kept->directory() + "/chain-aa-bb.sqlite.new";
  testing::write_file(left, std::string(100'000, 'x'));
  testing::write_file(kept->directory() + "/chain-aa-bb.sqlite.lock", "");
  const std::string other = kept->directory() + "/chain-old.sqlite";
  testing::write_file(other, "x");
  testing::write_file(other + "-wal", std::string(3 << 20, 'x'));
  std::filesystem::last_write_time(other,
                                   std::filesystem::last_write_time(other) - std::chrono::hours(1));
  BOOST_TEST(names() == "etc home link");
  BOOST_TEST(!std::filesystem::exists(left));
  kept->used(the_file(), 2 << 20);
  BOOST_TEST(!std::filesystem::exists(other));
  BOOST_TEST(!std::filesystem::exists(other + "-wal"));
}

// A log that another file of this name left would be taken for the new one's.
BOOST_AUTO_TEST_CASE(a_catalogue_that_is_put_in_place_meets_no_log_of_another) {
  add(some_full());
  BOOST_TEST(names() == "etc home link");
  const std::string file = the_file();
  add(some_incremental());
  BOOST_TEST(names("home") == "c new");
  std::filesystem::remove(file);
  testing::write_file(file + "-wal", std::string(100'000, 'w'));
  BOOST_TEST(names("home") == "c new");
  BOOST_TEST(names() == "etc home");
}

BOOST_AUTO_TEST_CASE(who_reads_does_not_wait_for_who_adds) {
  add(some_full());
  BOOST_TEST(names() == "etc home link");
  auto adding = btrfs::index::database::open(the_file(), false);
  BOOST_REQUIRE(adding.has_value());
  adding->run("PRAGMA cache_size = 10; BEGIN IMMEDIATE; CREATE TABLE large (a BLOB)");
  for (int i = 0; i < 200; ++i) {
    adding->run("INSERT INTO large VALUES (zeroblob(100000))");
  }
  const auto begin = std::chrono::steady_clock::now();
  BOOST_TEST(names() == "etc home link");
  BOOST_TEST((std::chrono::steady_clock::now() - begin < std::chrono::seconds(5)));
  adding->run("ROLLBACK");
  BOOST_TEST(adding->outcome().has_value());
}

BOOST_AUTO_TEST_SUITE_END()
