// verify over sealed backups: as they are stored, and with an identity as the streams that they
// are.
#include "app/store/identity_source.hh"
#include "app/upkeep/subvolume_verifier.hh"
#include "app/upkeep/verify_job.hh"
#include "engine/age/key_files.hh"
#include "tests/app/keys/bucket_of_sealed_backups.hh"

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_sealed_backups;
using bts3::testing::error_text;
using bts3::testing::new_identity;

namespace {

struct scene : bucket_of_sealed_backups {
  verify_outcome verify(identity_source* by) {
    verify_command command;
    command.depth = verify_depth::deep;
    store_abilities abilities;
    subvolume_verifier verifier(with, store, abilities, command, "data", by);
    const auto ran = loop->run(verifier.run());
    BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
    return std::move(verifier.outcome());
  }
  verify_outcome verify_without() { return verify(nullptr); }
  verify_outcome verify_by(const age::x25519_identity& one) {
    const std::string path = directory / "identity";
    testing::write_file(path, age::identity_file(one, {}).view());
    BOOST_REQUIRE(::chmod(path.c_str(), 0600) == 0);
    identity_source by(with, {path});
    BOOST_REQUIRE(loop->run(by.read_for("it")).has_value());
    return verify(&by);
  }
  // The one backup that there is, and which the pointer names.
  void add_one(const std::string& stream) {
    made = add_sealed(3, {&mine}, {}, "data", stream).manifest_key;
    point_at(made);
  }
  static std::string problem(const verify_outcome& found) {
    BOOST_REQUIRE(found.backups.size() == 1U);
    return found.backups[0].findings.empty() ? "" : found.backups[0].findings[0].problem;
  }

  age::x25519_identity mine = new_identity();
  std::string made;
  const std::string sound = testing::stream_of(400, 7);
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(verify_sealed_suite, scene)

BOOST_AUTO_TEST_CASE(a_sound_one_is_sound_with_and_without_an_identity) {
  add_one(sound);
  for (const auto& found : {verify_without(), verify_by(mine)}) {
    BOOST_TEST(problem(found) == "");
    BOOST_TEST((status_of({found}) == exit_status::done));
    BOOST_TEST(found.bytes_read > sound.size());
  }
}

BOOST_AUTO_TEST_CASE(a_stream_without_its_end_is_found_with_an_identity_alone) {
  const std::size_t end_bytes = 10;  // of an END command: its header
  add_one(sound.substr(0, sound.size() - end_bytes));
  BOOST_TEST(problem(verify_without()) == "");
  const auto found = verify_by(mine);
  BOOST_TEST(problem(found).find("END") != std::string::npos, problem(found));
  BOOST_TEST((status_of({found}) == exit_status::verification));
  BOOST_TEST(!found.backups[0].restorable);
}

BOOST_AUTO_TEST_CASE(damage_that_was_sealed_is_found_with_an_identity_alone) {
  std::string damaged = sound;
  damaged[sound.size() / 2] = static_cast<char>(damaged[sound.size() / 2] ^ 1);
  add_one(damaged);
  BOOST_TEST(problem(verify_without()) == "");
  BOOST_TEST(problem(verify_by(mine)) != "");
}

BOOST_AUTO_TEST_CASE(an_identity_that_does_not_open_it_is_no_damage_and_no_proof) {
  add_one(sound);
  const auto found = verify_by(new_identity());
  BOOST_TEST(problem(found) == "");
  BOOST_REQUIRE(found.unverified() != nullptr);
  BOOST_TEST(found.unverified()->message.find(made) != std::string::npos,
             found.unverified()->message);
  BOOST_TEST((status_of({found}) == exit_status::failed));
  BOOST_TEST(found.bytes_read == 0U);
}

BOOST_AUTO_TEST_CASE(plain_backups_need_no_identity) {
  add_generation({5, 2});
  const auto found = verify_by(mine);
  BOOST_TEST(found.backups.size() == 2U);
  BOOST_TEST((status_of({found}) == exit_status::done));
}

BOOST_AUTO_TEST_SUITE_END()
