// Whose a target is that is there already: the facts, what is judged from them, and what is said.
#include "app/restore/earlier_restore.hh"

#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <string>

using namespace bts3::app;
using bts3::btrfs::mark_finding;
using bts3::testing::error_text;

namespace {

const std::string wanted_key = "p/subvol/data/full/manifest-20260102T000000Z.json";
const std::string other_key = "p/subvol/data/full/manifest-20260101T000000Z.json";

earlier_facts recorded(std::string key) {
  earlier_facts facts;
  facts.recorded = std::move(key);
  return facts;
}

earlier_facts marked(mark_finding mark) {
  earlier_facts facts;
  facts.mark = mark;
  return facts;
}

// A directory that has the target's name, on a filesystem of any kind.
struct scene : bts3::testing::bucket_of_backups {
  scene() {
    std::filesystem::create_directory(directory / "target");
    bts3::testing::write_file(directory / "target/file", "somebody's");
    target.parent = std::filesystem::path(directory / "target").parent_path().string();
    target.above = target.parent;
    target.name = "target";
    target.exists = true;
    request.wanted.subvolume = "data";
    request.target = target.path();
    wanted.key = wanted_key;
  }
  void leave_private_directory(std::filesystem::perms mode) {
    const std::string place = directory / ".btrfs_to_s3.target";
    std::filesystem::create_directory(place);
    std::filesystem::permissions(place, mode);
    target.interrupted = true;
  }
  earlier_restore earlier() { return {with, request, target, wanted}; }
  bool is_untouched() {
    return bts3::testing::content_of(directory / "target/file") == "somebody's";
  }

  bts3::btrfs::target_report target;
  restore_request request;
  chain_link wanted;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(earlier_restore_suite)

BOOST_AUTO_TEST_CASE(a_record_tells_whose_a_target_is_and_otherwise_its_mark) {
  BOOST_TEST((judge(recorded(wanted_key), wanted_key) == earlier_verdict::restored));
  BOOST_TEST((judge(recorded(other_key), wanted_key) == earlier_verdict::another));
  BOOST_TEST((judge(marked(mark_finding::none), wanted_key) == earlier_verdict::unknown));
  BOOST_TEST((judge(marked(mark_finding::as_made), wanted_key) == earlier_verdict::restored));
  BOOST_TEST((judge(marked(mark_finding::changed), wanted_key) == earlier_verdict::written_to));
  // The mark is of the wanted backup; a record of another one is newer than it.
  earlier_facts both = recorded(other_key);
  both.mark = mark_finding::as_made;
  BOOST_TEST((judge(both, wanted_key) == earlier_verdict::another));
}

BOOST_AUTO_TEST_CASE(a_target_that_does_not_count_is_refused_with_the_way_out) {
  bts3::btrfs::target_report target;
  target.parent = "/srv";
  target.name = "data";
  const auto said = [&](earlier_verdict verdict) {
    return refusal_of_target(verdict, recorded(other_key), target, "data").text();
  };
  const std::string unknown = said(earlier_verdict::unknown);
  BOOST_TEST(unknown == bts3::btrfs::target_exists(target).text());
  const std::string another = said(earlier_verdict::another);
  BOOST_TEST(another.starts_with(
      "target /srv/data exists already: it holds the backup of manifest " + other_key));
  BOOST_TEST(another.find("--subvolume data --target /srv/data --manifest-key " + other_key) !=
             std::string::npos);
  BOOST_TEST(said(earlier_verdict::written_to).find("it has been written to since") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_directory_that_no_restore_made_is_nobodys_and_stays_as_it_is) {
  scene one;
  earlier_restore earlier = one.earlier();
  const auto facts = one.loop->run(earlier.find());
  BOOST_REQUIRE_MESSAGE(facts.has_value(), error_text(facts));
  BOOST_TEST(!facts->recorded.has_value());
  BOOST_TEST((facts->mark == mark_finding::none));
  const std::string refused = bts3::btrfs::target_exists(one.target).text();
  BOOST_TEST(error_text(one.loop->run(earlier.show())) == refused);
  BOOST_TEST(error_text(one.loop->run(earlier.finish())) == refused);
  BOOST_TEST(one.is_untouched());
}

// Looked for where something looks like a mark: a directory that is no subvolume has none.
BOOST_AUTO_TEST_CASE(what_only_looks_as_if_it_had_a_mark_is_looked_at) {
  scene one;
  one.target.may_be_finished = true;
  earlier_restore earlier = one.earlier();
  const auto facts = one.loop->run(earlier.find());
  BOOST_REQUIRE_MESSAGE(facts.has_value(), error_text(facts));
  BOOST_TEST((facts->mark == mark_finding::none));
}

BOOST_AUTO_TEST_CASE(an_empty_private_directory_tells_of_nothing) {
  scene one;
  one.leave_private_directory(std::filesystem::perms::owner_all);
  earlier_restore earlier = one.earlier();
  const auto facts = one.loop->run(earlier.find());
  BOOST_REQUIRE_MESSAGE(facts.has_value(), error_text(facts));
  BOOST_TEST(!facts->recorded.has_value());
  BOOST_TEST(one.is_untouched());
}

BOOST_AUTO_TEST_CASE(a_private_directory_that_others_can_write_to_is_an_error_and_no_fact) {
  scene one;
  one.leave_private_directory(std::filesystem::perms::all);
  earlier_restore earlier = one.earlier();
  const auto facts = one.loop->run(earlier.find());
  BOOST_TEST(!facts.has_value());
  BOOST_TEST(!one.loop->run(earlier.show()).has_value());
  BOOST_TEST(!one.loop->run(earlier.finish()).has_value());
  BOOST_TEST(std::filesystem::exists(one.directory / ".btrfs_to_s3.target"));
  BOOST_TEST(one.is_untouched());
}

BOOST_AUTO_TEST_CASE(the_mark_of_a_backup_depends_on_its_key_and_on_its_chunks) {
  chain_link backup;
  backup.key = wanted_key;
  backup.value.created_at = *bts3::planner::timestamp::parse("20260102T000000Z");
  bts3::planner::chunk_record chunk;
  chunk.sha256 = std::string(64, 'a');
  backup.value.chunks.push_back(chunk);
  const std::string secret = mark_of(backup).secret;
  BOOST_TEST(mark_of(backup).made_at == 1'767'312'000);
  chain_link another = backup;
  another.key = other_key;
  BOOST_TEST(mark_of(another).secret != secret);
  another = backup;
  another.value.chunks.front().sha256 = std::string(64, 'b');
  BOOST_TEST(mark_of(another).secret != secret);
  BOOST_TEST(mark_of(backup).secret == secret);
}

BOOST_AUTO_TEST_SUITE_END()
