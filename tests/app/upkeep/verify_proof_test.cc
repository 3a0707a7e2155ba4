// verify's proof of what is in the bucket: which links of a chain `btrfs receive` would take, by
// their indexes.
#include "app/records/verify_record.hh"
#include "app/store/identity_source.hh"
#include "app/survey/receive_refusal.hh"
#include "app/upkeep/subvolume_verifier.hh"
#include "app/upkeep/verify_job.hh"
#include "tests/app/files/files_scene.hh"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::error_text;
using bts3::testing::files_scene;
using bts3::testing::memory_store;
using bts3::testing::some_full;
using bts3::testing::some_incremental;

namespace {

using namespace bts3::testing::streams;
using verdict = receivability::verdict;

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The link with that number (2 is the first incremental), which does so to its parent's.
std::string link_of(int number, const std::string& commands) {
  return send::header(1) +
         send::snapshot("s" + std::to_string(number), static_cast<char>(number), 7 + 2 * number,
                        static_cast<char>(number - 1)) +
         commands + send::end();
}
std::string adding(int number) {
  const std::string name = "new" + std::to_string(number);
  return link_of(number, make(command_mkfile, name, 300 + static_cast<unsigned>(number)));
}

struct scene : files_scene {
  scene() {
    settings.global.state_path = directory / "state.json";
    command.prove = true;
  }

  // A full and incrementals, of which the one with that number has these commands.
  void add_chain(int links, int wrong = 0, const std::string& commands = {}) {
    add(some_full());
    for (int number = 2; number <= links; ++number) {
      add(number == wrong ? link_of(number, commands) : adding(number));
    }
  }

  // As files_scene, and with a chunk of the size that its manifest says.
  void add_sealed(const std::string& stream) {
    const std::string key = add(stream);
    const auto made = planner::parse_manifest(store.find(key)->body);
    BOOST_REQUIRE(made.has_value());
    const planner::chunk_record& chunk = made->chunks.front();
    store.put(chunk.key, std::string(chunk.size, 'x'), "STANDARD");
  }

  verify_outcome verify(identity_source* identities = nullptr) {
    store_abilities abilities;
    store.forget_calls();
    subvolume_verifier verifier(with, store, abilities, command, "data", identities);
    const auto ran = loop->run(verifier.run());
    BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
    return std::move(verifier.outcome());
  }

  verify_outcome verify_by(const age::x25519_identity& one) {
    const std::string path = directory / "identity";
    std::filesystem::remove(path);
    testing::write_file(path, std::string(one.text().view()) + "\n");
    BOOST_REQUIRE(::chmod(path.c_str(), 0600) == 0);
    identity_source by(with, {path});
    BOOST_REQUIRE(loop->run(by.read_for("it")).has_value());
    return verify(&by);
  }

  [[nodiscard]] std::string text_of(const verify_outcome& found) const {
    return verify_as_text({found}, command, 1);
  }

  // What is remembered of that backup.
  [[nodiscard]] bool remembered(const std::string& key) const {
    return !remembered_refusal(with, "data", {key}).empty();
  }

  [[nodiscard]] std::size_t told(const std::string& event) const {
    return static_cast<std::size_t>(std::count(log.events.begin(), log.events.end(), event));
  }

  [[nodiscard]] std::string index_key(std::size_t number) const {
    return planner::parse_manifest(store.find(keys[number])->body)->index->key;
  }

  void fail_reads_of(const std::string& key) {
    store.judge_by([key](const memory_store::recorded_call& call) {
      return call.verb == "GetObject" && call.key == key
                 ? std::optional(memory_store::denied(call.key))
                 : std::nullopt;
    });
  }

  verify_command command;
};

std::vector<verdict> verdicts(const verify_outcome& found) {
  std::vector<verdict> all;
  for (const verified_backup& one : found.backups) {
    all.push_back(one.receivable.is);
  }
  return all;
}

std::vector<bool> restorable(const verify_outcome& found) {
  std::vector<bool> all;
  for (const verified_backup& one : found.backups) {
    all.push_back(one.restorable);
  }
  return all;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(verify_proof_suite, scene)

BOOST_AUTO_TEST_CASE(a_chain_that_would_be_received_is_proven_and_costs_its_indexes_once) {
  add_chain(5);
  const verify_outcome found = verify();
  BOOST_TEST((verdicts(found) == std::vector<verdict>(5, verdict::received)));
  BOOST_TEST((status_of({found}) == exit_status::done));
  BOOST_TEST(says(text_of(found), "`btrfs receive` would take 5 of 5 backups"), text_of(found));
  BOOST_TEST(reads_of("index-") == 5U);
  BOOST_TEST(reads_of("chunk-") == 0U);
  BOOST_TEST(store.count("HeadObject") == 0U);

  // Known, it costs one request more than the same without a proof: the manifest of its last link.
  const verify_outcome again = verify();
  BOOST_TEST((verdicts(again) == std::vector<verdict>(5, verdict::received)));
  BOOST_TEST(reads_of("index-") == 0U);
  const std::size_t steps = store.steps();
  command.prove = false;
  const verify_outcome without = verify();
  BOOST_TEST((verdicts(without) == std::vector<verdict>(5, verdict::not_asked)));
  BOOST_TEST(store.steps() + 1 == steps);
  BOOST_TEST(!says(text_of(without), "btrfs receive"), text_of(without));

  command.prove = true;
  add(adding(6));
  BOOST_TEST((verdicts(verify()) == std::vector<verdict>(6, verdict::received)));
  BOOST_TEST(reads_of("index-") == 1U);
  BOOST_TEST(!remembered(keys[5]));
}

BOOST_AUTO_TEST_CASE(a_link_that_would_be_refused_is_damage_of_it_and_of_those_on_it) {
  add_chain(5, 3, take_away(command_unlink, "etc/nothing"));
  for (const bool first : {true, false}) {
    const verify_outcome found = verify();
    BOOST_TEST((verdicts(found) == std::vector<verdict>{verdict::received, verdict::received,
                                                        verdict::refused, verdict::rests,
                                                        verdict::rests}));
    BOOST_TEST((restorable(found) == std::vector<bool>{true, true, false, false, false}));
    BOOST_TEST((status_of({found}) == exit_status::verification));
    const std::string text = text_of(found);
    BOOST_TEST(says(text, keys[2] + ": damaged"), text);
    BOOST_TEST(says(text, "would refuse command 2 (unlink etc/nothing)"), text);
    BOOST_TEST(says(text, "there is no \"etc/nothing\""), text);
    BOOST_TEST(says(text, keys[3] + ": is sound, and rests on a damaged backup"), text);
    BOOST_TEST(says(text, keys[4] + ": is sound, and rests on a damaged backup"), text);
    BOOST_TEST(says(text, "can still be restored: 2 of 5 backups"), text);
    BOOST_TEST(says(text, "--manifest-key " + keys[1]), text);
    BOOST_TEST(says(text, "backup --full --subvolume data"), text);
    BOOST_TEST(told("proof_refused") == (first ? 1U : 2U));
    BOOST_TEST(remembered(keys[2]));  // so that the next backup is a full
    BOOST_TEST(!remembered(keys[1]));
    BOOST_TEST(reads_of("chunk-") == 0U);
  }
  const auto record = read_verify_record(settings.global.state_path);
  BOOST_REQUIRE_MESSAGE(record.has_value(), error_text(record));
  const auto told = summary_of(record->subvolumes.at("data"));
  BOOST_REQUIRE(told.damaged.size() == 1U);
  BOOST_TEST(told.damaged.front().key == keys[2]);
  BOOST_TEST((told.damaged.front().kind == verification_kind::proof));

  const auto json = nlohmann::json::parse(verify_as_json({verify()}, command, 1));
  const auto& backups = json["subvolumes"][0]["backups"];
  BOOST_TEST(backups[1]["receivable"] == true);
  BOOST_TEST(backups[2]["receivable"] == false);
  BOOST_TEST(backups[2]["findings"][0]["damage"] == true);
  BOOST_TEST(backups[3]["receivable"].is_null());
  BOOST_TEST(says(backups[3]["not_proven"].get<std::string>(), "rests on"));
}

BOOST_AUTO_TEST_CASE(what_was_refused_is_told_without_a_proof_too_until_one_refutes_it) {
  add_chain(3, 3, make(command_mkdir, "etc", 400));
  BOOST_TEST((status_of({verify()}) == exit_status::verification));
  command.prove = false;
  const verify_outcome known = verify();
  BOOST_TEST((status_of({known}) == exit_status::verification));
  BOOST_TEST(says(text_of(known), "known since 2026-11-21"), text_of(known));
  BOOST_TEST(says(text_of(known), "\"etc\" is there already"), text_of(known));
  BOOST_TEST(says(text_of(known), "backup --full"), text_of(known));
  BOOST_TEST((restorable(known) == std::vector<bool>{true, true, false}));

  // The same backup, and an index that is right after all.
  keys.pop_back();
  add(adding(3));
  command.prove = true;
  const verify_outcome refuted = verify();
  BOOST_TEST((status_of({refuted}) == exit_status::done), text_of(refuted));
  BOOST_TEST(!remembered(keys[2]));
  command.prove = false;
  BOOST_TEST((status_of({verify()}) == exit_status::done));
}

BOOST_AUTO_TEST_CASE(a_full_that_would_be_refused_leaves_nothing) {
  add(send::header(1) + send::subvol("s", '\x01', 7) + take_away(command_rmdir, "none") +
      send::end());
  add(adding(2));
  const verify_outcome found = verify();
  BOOST_TEST((verdicts(found) == std::vector<verdict>{verdict::refused, verdict::rests}));
  BOOST_TEST((restorable(found) == std::vector<bool>{false, false}));
  BOOST_TEST(says(text_of(found), "can still be restored: 0 of 2 backups"), text_of(found));
}

BOOST_AUTO_TEST_CASE(without_an_index_nothing_is_known_and_nothing_fails) {
  add(some_full());
  add(adding(2));
  add(adding(3), index::none);
  add(adding(4));
  const verify_outcome found = verify();
  BOOST_TEST((verdicts(found) == std::vector<verdict>{verdict::received, verdict::received,
                                                      verdict::no_index, verdict::rests}));
  BOOST_TEST((restorable(found) == std::vector<bool>(4, true)));
  BOOST_TEST((status_of({found}) == exit_status::done));
  BOOST_TEST(says(text_of(found), "would take 2 of 4 backups"), text_of(found));
  BOOST_TEST(
      says(text_of(found), "not proven: 1 backup without an index; `btrfs_to_s3 index build"),
      text_of(found));
  BOOST_TEST(says(text_of(found), "not proven: 1 backup that rests on one"), text_of(found));
  BOOST_TEST(told("not_proven") == 0U);

  // Made on this host from its chunk, it counts.
  wanted.manifest_key = keys[3];
  BOOST_REQUIRE(open(missing_index::build).has_value());
  BOOST_TEST((verdicts(verify()) == std::vector<verdict>(4, verdict::received)));
}

BOOST_AUTO_TEST_CASE(a_bucket_without_indexes_costs_nothing) {
  add(some_full(), index::none);
  add(adding(2), index::none);
  const verify_outcome found = verify();
  BOOST_TEST((verdicts(found) == std::vector<verdict>{verdict::no_index, verdict::rests}));
  BOOST_TEST((status_of({found}) == exit_status::done));
  const std::size_t steps = store.steps();
  BOOST_TEST(!std::filesystem::exists(cache));
  command.prove = false;
  verify();
  BOOST_TEST(store.steps() == steps);
}

BOOST_AUTO_TEST_CASE(sealed_backups_need_an_identity_and_plain_ones_before_them_none) {
  add(some_full());
  sealed_for = std::move(*age::x25519_identity::generate(age::system_random()));
  add_sealed(adding(2));
  add_sealed(link_of(3, take_away(command_unlink, "nothing")));
  const verify_outcome without = verify();
  BOOST_TEST((verdicts(without) ==
              std::vector<verdict>{verdict::received, verdict::sealed, verdict::rests}));
  BOOST_TEST((status_of({without}) == exit_status::done), text_of(without));
  BOOST_TEST(says(text_of(without), "--identity"), text_of(without));
  BOOST_TEST(reads_of("index-") == 1U);
  BOOST_TEST(reads_of("keys-") == 0U);

  const verify_outcome with_another =
      verify_by(*age::x25519_identity::generate(age::system_random()));
  BOOST_TEST((verdicts(with_another) ==
              std::vector<verdict>{verdict::received, verdict::failed, verdict::rests}));
  BOOST_TEST((status_of({with_another}) == exit_status::failed));

  const verify_outcome found = verify_by(*sealed_for);
  BOOST_TEST((verdicts(found) ==
              std::vector<verdict>{verdict::received, verdict::received, verdict::refused}));
  BOOST_TEST((status_of({found}) == exit_status::verification));
  // What was opened once is known from then on.
  BOOST_TEST((verdicts(verify()) ==
              std::vector<verdict>{verdict::received, verdict::received, verdict::sealed}));
  BOOST_TEST(reads_of("index-") == 0U);
}

BOOST_AUTO_TEST_CASE(a_store_that_does_not_give_an_index_leaves_the_other_verdicts) {
  add_chain(4);
  fail_reads_of(index_key(2));
  const verify_outcome found = verify();
  BOOST_TEST((verdicts(found) == std::vector<verdict>{verdict::received, verdict::received,
                                                      verdict::failed, verdict::rests}));
  BOOST_TEST((restorable(found) == std::vector<bool>(4, true)));
  BOOST_TEST((found.unverified() == nullptr));
  BOOST_TEST((status_of({found}) == exit_status::failed));  // it was asked for by name
  BOOST_TEST(says(text_of(found), "not proven: 1 backup, " + keys[2]), text_of(found));
  BOOST_TEST(told("not_proven") == 1U);
  const auto record = read_verify_record(settings.global.state_path);
  BOOST_REQUIRE(record.has_value());
  BOOST_TEST(record->subvolumes.at("data").runs.contains(verification_kind::quick));

  store.judge_by({});
  BOOST_TEST((verdicts(verify()) == std::vector<verdict>(4, verdict::received)));
  BOOST_TEST(reads_of("index-") == 2U);
}

BOOST_AUTO_TEST_CASE(an_index_that_is_not_as_recorded_is_a_difference_and_no_damage) {
  add_chain(3);
  std::string body = store.find(index_key(1))->body;
  body[20] = static_cast<char>(body[20] ^ 1);
  store.put(index_key(1), body);
  for (const auto depth : {verify_depth::quick, verify_depth::deep}) {
    command.depth = depth;
    const verify_outcome found = verify();
    BOOST_TEST((verdicts(found) ==
                std::vector<verdict>{verdict::received, verdict::differs, verdict::rests}));
    BOOST_TEST(found.backups[1].findings.size() == 1U);
    BOOST_TEST(!found.backups[1].damaged());
    BOOST_TEST((status_of({found}) == exit_status::verification));
  }
  store.erase(index_key(1));
  command.depth = verify_depth::quick;
  const verify_outcome gone = verify();
  BOOST_TEST((verdicts(gone) ==
              std::vector<verdict>{verdict::received, verdict::no_index, verdict::rests}));
  BOOST_TEST(gone.backups[1].findings.size() == 1U);
}

BOOST_AUTO_TEST_CASE(deep_proves_by_itself_and_reads_each_index_once) {
  add_chain(3, 3, take_away(command_unlink, "nothing"));
  command.prove = false;
  command.depth = verify_depth::deep;
  const verify_outcome found = verify();
  BOOST_TEST((verdicts(found) ==
              std::vector<verdict>{verdict::received, verdict::received, verdict::refused}));
  BOOST_TEST(reads_of("index-") == 3U);
  BOOST_TEST(reads_of("chunk-") >= 3U);  // also of what would be refused
  // That is a finding of the proof; what was read is right, and stays known as that.
  const auto record = read_verify_record(settings.global.state_path);
  BOOST_REQUIRE(record.has_value());
  const auto& link = record->subvolumes.at("data").links.at(keys[2]).by_kind;
  BOOST_TEST(link.at(verification_kind::deep).sound);
  BOOST_TEST(!link.at(verification_kind::proof).sound);
  // A cache that cannot be had keeps --deep from nothing, where nobody asked for a proof by name.
  command.cache_dir = "/proc/none";
  const verify_outcome without = verify();
  BOOST_TEST(
      (verdicts(without) == std::vector<verdict>{verdict::failed, verdict::rests, verdict::rests}));
  BOOST_TEST((without.unproven == std::nullopt));
  BOOST_TEST(says(text_of(without), "--cache-dir"), text_of(without));
}

BOOST_AUTO_TEST_CASE(a_damaged_catalogue_is_made_anew) {
  add_chain(3);
  verify();
  const std::string file = the_file();
  testing::write_file(file, "no database, and long enough to be taken for one");
  BOOST_TEST((verdicts(verify()) == std::vector<verdict>(3, verdict::received)));
  BOOST_TEST(reads_of("index-") == 3U);
  // Its pages, with a beginning that is right.
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  BOOST_TEST((verdicts(verify()) == std::vector<verdict>(3, verdict::received)));
  BOOST_TEST((verdicts(verify()) == std::vector<verdict>(3, verdict::received)));
  BOOST_TEST(reads_of("index-") == 0U);
}

// SQLite and the files of indexes get no more than a few KiB, as on a full disk.
BOOST_AUTO_TEST_CASE(a_full_disk_is_told_and_leaves_the_other_verdicts) {
  add_chain(3);
  rlimit before{};
  BOOST_REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit little = before;
  little.rlim_cur = 8192;
  BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &little) == 0);
  const verify_outcome found = verify();
  BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  BOOST_TEST(!found.failure.has_value());
  BOOST_TEST((restorable(found) == std::vector<bool>(3, true)));
  BOOST_TEST((verdicts(found).back() != verdict::received));
  BOOST_TEST((status_of({found}) == exit_status::failed));
  BOOST_TEST(told("not_proven") == 1U);
  BOOST_TEST((verdicts(verify()) == std::vector<verdict>(3, verdict::received)));
}

// An index that its manifest vouches for, and that is none: of whatever lengths.
BOOST_AUTO_TEST_CASE(a_hostile_index_harms_nothing) {
  for (const std::string& body :
       {std::string(), std::string(1, '\0'), std::string(3000, '\xff'),
        index_of(adding(2)).substr(0, 40), index_of(adding(2)) + std::string(8, '\x7f')}) {
    scene other;
    other.add_chain(3);
    auto made = planner::parse_manifest(other.store.find(other.keys[1])->body);
    BOOST_REQUIRE(made.has_value());
    engine::sha256_hasher hasher;
    hasher.update(bytes_of(body));
    made->index->sha256 = hasher.digest().hex();
    made->index->size = body.size();
    other.store.put(made->index->key, body);
    other.store.put(other.keys[1], planner::write_manifest(*made));
    if (!planner::parse_manifest(planner::write_manifest(*made))) {
      continue;  // the manifest itself is refused
    }
    const verify_outcome found = other.verify();
    BOOST_TEST(found.backups.size() == 3U);
    BOOST_TEST((verdicts(found) ==
                std::vector<verdict>{verdict::received, verdict::failed, verdict::rests}),
               other.text_of(found));
    BOOST_TEST((restorable(found) == std::vector<bool>(3, true)));
  }
}

// A directory below itself; a file that is longer than any; the same link twice.
BOOST_AUTO_TEST_CASE(commands_that_make_no_sense_are_refused) {
  for (const std::string& commands :
       {move_name("etc", "etc/below"), set_size("etc/fstab", UINT64_MAX),
        clone_range("etc/fstab", UINT64_MAX - 1, UINT64_MAX, '\x01', "etc/fstab",
                    UINT64_MAX - 5)}) {
    scene other;
    other.add_chain(3, 2, commands);
    const verify_outcome found = other.verify();
    BOOST_TEST((verdicts(found) ==
                std::vector<verdict>{verdict::received, verdict::refused, verdict::rests}),
               other.text_of(found));
  }
  scene other;
  other.add_chain(2);
  other.add(adding(2));  // whose parent is not the one before it
  BOOST_TEST((verdicts(other.verify()).back() == verdict::refused));
}

// Two backups that rest on the same one.
BOOST_AUTO_TEST_CASE(each_branch_of_a_chain_is_proven) {
  add_chain(3);
  const std::string left = keys.back();
  keys = {keys[0], keys[0], keys[1]};  // the next one rests on the last of these, and is as old
  const std::string right = add(link_of(3, take_away(command_unlink, "etc/fstab")));
  BOOST_REQUIRE(left != right);
  const verify_outcome found = verify();
  BOOST_REQUIRE(found.backups.size() == 4U);
  BOOST_TEST((verdicts(found) == std::vector<verdict>(4, verdict::received)), text_of(found));
}

BOOST_AUTO_TEST_CASE(a_backup_that_nobody_trusted_has_signed_is_not_asked_for) {
  add_chain(2);
  const std::string file = directory / "signers";
  testing::write_file(file,
                      "backup ssh-ed25519 "
                      "AAAAC3NzaC1lZDI1NTE5AAAAIE3isK3cAJIjSmzS/J2j1h9+dd8DjKRdUFEOh+8qh1nx\n");
  command.trusted_signers = file;
  const verify_outcome found = verify();
  BOOST_TEST((verdicts(found) == std::vector<verdict>{verdict::untrusted, verdict::rests}));
  BOOST_TEST(reads_of("index-") == 0U);
}

BOOST_AUTO_TEST_CASE(of_one_chain_alone_only_that_is_asked_for) {
  add_chain(4);
  command.manifest_key = keys[1];
  const verify_outcome found = verify();
  BOOST_TEST((verdicts(found) == std::vector<verdict>(2, verdict::received)));
  BOOST_TEST(reads_of("index-") == 2U);
}

BOOST_AUTO_TEST_CASE(a_stop_is_no_finding) {
  add_chain(3);
  store.judge_by([this](const memory_store::recorded_call& call) {
    if (call.key.find("index-") != std::string::npos) {
      stop.request_stop();
    }
    return std::optional<engine::error>();
  });
  store_abilities abilities;
  subvolume_verifier verifier(with, store, abilities, command, "data");
  const auto ran = loop->run(verifier.run());
  BOOST_REQUIRE(!ran.has_value());
  BOOST_TEST((ran.error().what_now == engine::disposition::cancelled));
}

BOOST_AUTO_TEST_SUITE_END()
