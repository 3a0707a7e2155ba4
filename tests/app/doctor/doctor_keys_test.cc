// What doctor says of keys: for whom backups are sealed, who signs, and who is believed.
#include "app/doctor/doctor_keys.hh"

#include "app/doctor/doctor_store.hh"
#include "tests/app/keys/bucket_of_sealed_backups.hh"
#include "tests/app/secrets/key_place.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_sealed_backups;
using bts3::testing::fingerprint;
using bts3::testing::new_identity;

namespace {

using names = std::vector<std::string>;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

health_check only(const std::vector<health_check>& all) {
  BOOST_REQUIRE(all.size() == 1U);
  return all.front();
}

struct scene {
  health_check recipients(const std::vector<std::string>& listed, const std::string& file = {}) {
    config settings;
    settings.encryption.recipients = listed;
    settings.encryption.recipients_file = file;
    return only(check_keys_of(settings));
  }
  // As ssh-keygen makes them: "key", "key.pub"; "signers" trusts it.
  void make_signing_key(const std::string& name) const {
    here.must("ssh-keygen -q -t ed25519 -N '' -C c -f " + name + " && { printf '* '; cat " + name +
              ".pub; } >" + name + ".signers && chmod 600 " + name + ".signers");
  }

  testing::key_place here;
  const age::x25519_identity one = new_identity();
  const age::x25519_identity two = new_identity();
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(doctor_keys_suite, scene)

BOOST_AUTO_TEST_CASE(without_keys_nothing_is_said_of_them) {
  BOOST_TEST(check_keys_of(config()).empty());
  BOOST_TEST(!judge_sealing("data", {}, std::nullopt).has_value());
}

BOOST_AUTO_TEST_CASE(a_single_recipient_is_a_warning_and_two_are_named) {
  const auto single = recipients({one.recipient().text()});
  BOOST_TEST(single.check == "recipients");
  BOOST_TEST((single.how == check_outcome::warning));
  BOOST_TEST(has(single.found, fingerprint(one)));
  BOOST_TEST(has(single.remedy, "second"));
  // The same twice is one.
  const auto twice = recipients({one.recipient().text(), one.recipient().text()});
  BOOST_TEST((twice.how == check_outcome::warning));
  const auto both =
      recipients({one.recipient().text()}, here.write("list", two.recipient().text() + "\n"));
  BOOST_TEST((both.how == check_outcome::ok));
  BOOST_TEST(has(both.found, fingerprint(one)));
  BOOST_TEST(has(both.found, fingerprint(two)));
}

BOOST_AUTO_TEST_CASE(recipients_that_cannot_be_used_fail_and_are_named) {
  const auto wrong = recipients({"age1wrong"});
  BOOST_TEST((wrong.how == check_outcome::failed));
  BOOST_TEST(has(wrong.found, "encryption.recipients"));
  const auto gone = recipients({}, here / "gone");
  BOOST_TEST((gone.how == check_outcome::failed));
  BOOST_TEST(has(gone.found, here / "gone"));
  const auto open = recipients({}, here.write("open", two.recipient().text() + "\n", 0666));
  BOOST_TEST((open.how == check_outcome::failed));
  BOOST_TEST(has(open.found, "others can write to"));
  std::vector<std::string> many;
  while (many.size() <= planner::sealed_recipients_max) {
    many.push_back(new_identity().recipient().text());
  }
  const auto too_many = recipients(many);
  BOOST_TEST((too_many.how == check_outcome::failed));
  BOOST_TEST(has(too_many.found, "101"));
}

BOOST_AUTO_TEST_CASE(the_signing_key_is_told_and_whether_a_restore_here_would_believe_it) {
  make_signing_key("key");
  make_signing_key("other");
  config settings;
  settings.encryption.signing_key_file = here / "key";
  const auto alone = only(check_keys_of(settings));
  BOOST_TEST(alone.check == "signing_key");
  BOOST_TEST((alone.how == check_outcome::ok));
  BOOST_TEST(has(alone.found, "SHA256:"));
  settings.restore.trusted_signers_file = here / "key.signers";
  const auto believed = check_keys_of(settings);
  BOOST_REQUIRE(believed.size() == 2U);
  BOOST_TEST((believed[0].how == check_outcome::ok));
  BOOST_TEST(believed[1].check == "trusted_signers");
  BOOST_TEST((believed[1].how == check_outcome::ok));
  BOOST_TEST(has(believed[1].found, "1 key"));
  settings.restore.trusted_signers_file = here / "other.signers";
  const auto disbelieved = check_keys_of(settings);
  BOOST_REQUIRE(disbelieved.size() == 2U);
  BOOST_TEST((disbelieved[0].how == check_outcome::warning));
  BOOST_TEST(has(disbelieved[0].found, "restore would refuse"));
}

BOOST_AUTO_TEST_CASE(files_of_signers_that_cannot_be_used_fail_and_are_named) {
  make_signing_key("key");
  config settings;
  for (const char* file : {"gone", "key.pub.open"}) {
    settings.encryption.signing_key_file = here / file;
    here.write("key.pub.open", "x", 0644);
    const auto refused = only(check_keys_of(settings));
    BOOST_TEST((refused.how == check_outcome::failed));
    BOOST_TEST(has(refused.found, here / file));
    BOOST_TEST(!refused.remedy.empty());
  }
  settings.encryption.signing_key_file.clear();
  for (const auto& [file, mode] : {std::pair("none", 0600), std::pair("signers.open", 0666)}) {
    settings.restore.trusted_signers_file = here.write(file, "# nobody\n", mode);
    const auto refused = only(check_keys_of(settings));
    BOOST_TEST(refused.check == "trusted_signers");
    BOOST_TEST((refused.how == check_outcome::failed));
    BOOST_TEST(has(refused.found, here / file));
  }
}

BOOST_AUTO_TEST_CASE(recipients_that_differ_from_the_last_backups_are_a_warning) {
  const names a = {"SHA256:a"};
  const names ab = {"SHA256:a", "SHA256:b"};
  const auto how = [](const names& wanted, const std::optional<names>& last) {
    return judge_sealing("data", wanted, last).value().how;
  };
  BOOST_TEST((how(ab, names{"SHA256:b", "SHA256:a"}) == check_outcome::ok));
  BOOST_TEST((how(a, ab) == check_outcome::warning));
  BOOST_TEST((how(ab, a) == check_outcome::warning));
  BOOST_TEST((how({}, a) == check_outcome::warning));
  BOOST_TEST((how(a, std::nullopt) == check_outcome::note));
  const auto differs = judge_sealing("data", a, ab).value();
  BOOST_TEST(differs.subject == "data");
  BOOST_TEST(has(differs.found, "SHA256:b"));
  BOOST_TEST(has(differs.remedy, "keys rewrap"));
}

namespace {

struct bucket_scene : bucket_of_sealed_backups {
  bucket_scene() {
    settings.subvolumes = {{"data", directory / "data"}};
    settings.snapshots.base_dir = directory / "snapshots";
    std::filesystem::create_directory(settings.snapshots.base_dir);
    tuning.store = &store;
    with.tuning = &tuning;
  }
  health_check sealing() {
    auto connection = store_connection::open(with);
    BOOST_REQUIRE(connection.has_value());
    store_doctor doctor(with, **connection, settings.subvolumes, false);
    const auto made = loop->run(doctor.run());
    loop->run((*connection)->close());
    const auto found = std::find_if(made.begin(), made.end(),
                                    [](const auto& check) { return check.check == "sealing"; });
    BOOST_REQUIRE(found != made.end());
    return *found;
  }

  store_tuning tuning;
  const age::x25519_identity mine = new_identity();
  const age::x25519_identity fresh = new_identity();
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(for_whom_the_last_backup_is_sealed_its_keys_object_says, bucket_scene) {
  const auto made = add_sealed(3, {&mine});
  point_at(made.manifest_key);
  settings.encryption.recipients = {mine.recipient().text()};
  BOOST_TEST((sealing().how == check_outcome::ok), sealing().found);
  settings.encryption.recipients = {fresh.recipient().text()};
  BOOST_TEST((sealing().how == check_outcome::warning));
  // After `keys rewrap`, whatever the manifest says.
  const std::vector<age::named_recipient> to = {{fresh.recipient(), fingerprint(fresh)}};
  const auto anew = age::rewrap_backup_keys(made.keys.keys_object, std::span(&mine, 1),
                                            made.keys.id, to, age::system_random());
  BOOST_REQUIRE(anew.has_value());
  store.put(made.keys_key, text_of(*anew));
  BOOST_TEST((sealing().how == check_outcome::ok), sealing().found);
  store.erase(made.keys_key);
  const auto missing = sealing();
  BOOST_TEST((missing.how == check_outcome::failed));
  BOOST_TEST(has(missing.found, made.keys_key));
}

BOOST_AUTO_TEST_SUITE_END()
