#include "app/upkeep/sample_choice.hh"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace bts3::app;

namespace {

const std::string older = "p/subvol/data/full/manifest-20260101T000000Z.json";
const std::string newer = "p/subvol/data/full/manifest-20260102T000000Z.json";

// Two backups of two chunks and of one, each chunk of one part; the newer is listed first.
struct scene {
  scene() {
    all.root = "p/subvol/data/";
    all.manifests[older].chunks.resize(2);
    all.manifests[newer].chunks.resize(1);
    for (const std::string& key : {newer, older}) {
      verified_backup one;
      one.key = key;
      backups.push_back(one);
    }
  }
  [[nodiscard]] std::vector<sample_share> choose(std::uint64_t parts,
                                                 const sample_cursor& at = {}) const {
    return choose_sample(all, backups, at, parts);
  }

  bts3::planner::inventory all;
  std::vector<verified_backup> backups;
};

sample_cursor behind(const std::string& key, std::uint32_t chunk, bool from_start) {
  sample_cursor at;
  at.manifest = key;
  at.chunk = chunk;
  at.from_start = from_start;
  return at;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sample_choice_suite)

BOOST_AUTO_TEST_CASE(the_oldest_backup_comes_first_and_is_covered_when_all_of_it_is_read) {
  const auto shares = scene().choose(2);
  BOOST_REQUIRE(shares.size() == 1u);
  BOOST_TEST(shares[0].backup == 1u);
  BOOST_TEST(shares[0].parts.size() == 2u);
  BOOST_TEST(shares[0].from_start);
  BOOST_TEST(shares[0].to_end);
  BOOST_TEST(shares[0].done == 2u);
  BOOST_TEST(shares[0].all == 3u);
}

BOOST_AUTO_TEST_CASE(a_run_goes_on_behind_the_one_before_it_and_around) {
  const auto shares = scene().choose(2, behind(older, 1, true));
  BOOST_REQUIRE(shares.size() == 2u);
  BOOST_TEST(shares[0].backup == 0u);
  BOOST_TEST(shares[0].done == 3u);
  BOOST_TEST(shares[1].backup == 1u);
  BOOST_TEST(shares[1].from_start);
  BOOST_TEST(!shares[1].to_end);
  BOOST_TEST(shares[1].done == 1u);
}

// Only where the parts before the cursor were sound does the rest cover the backup.
BOOST_AUTO_TEST_CASE(the_rest_of_a_backup_covers_it_only_when_its_beginning_was_sound) {
  for (const bool sound : {true, false}) {
    const auto shares = scene().choose(1, behind(older, 0, sound));
    BOOST_REQUIRE(shares.size() == 1u);
    BOOST_TEST(shares[0].parts.front().chunk == 1u);
    BOOST_TEST(shares[0].from_start == sound);
    BOOST_TEST(shares[0].to_end);
  }
}

BOOST_AUTO_TEST_CASE(no_more_is_chosen_than_there_is_and_nothing_of_what_is_damaged) {
  scene made;
  std::size_t parts = 0;
  for (const sample_share& share : made.choose(100)) {
    parts += share.parts.size();
  }
  BOOST_TEST(parts == 3u);
  made.backups[1].findings.push_back({"p/chunk", "missing"});
  const auto shares = made.choose(100);
  BOOST_REQUIRE(shares.size() == 1u);
  BOOST_TEST(shares[0].backup == 0u);
  made.backups[0].findings.push_back({"p/chunk", "missing"});
  BOOST_TEST(made.choose(1).empty());
}

BOOST_AUTO_TEST_SUITE_END()
