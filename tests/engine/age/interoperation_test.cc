// Against Debian's age and OpenSSH's ssh-keygen, which know nothing of this program.
#include "engine/age/armor.hh"
#include "engine/age/backup_keys.hh"
#include "engine/age/key_files.hh"
#include "engine/age/sealed_file.hh"
#include "engine/age/sealed_part.hh"
#include "engine/age/ssh_signature.hh"
#include "tests/engine/age/support.hh"
#include "tests/engine/scratch_directory.hh"

#include <pty.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;

namespace {

class tools {
 public:
  [[nodiscard]] std::string path(const std::string& name) const {
    return _folder.path() + "/" + name;
  }
  void write(const std::string& name, std::span<const std::byte> content) const {
    std::ofstream file(path(name), std::ios::binary);
    file.write(text_of(content).data(), static_cast<std::streamsize>(content.size()));
    file.close();
    BOOST_REQUIRE(file.good());
    BOOST_REQUIRE(::chmod(path(name).c_str(), 0600) == 0);  // ssh-keygen insists
  }
  [[nodiscard]] bytes read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    BOOST_REQUIRE_MESSAGE(file.good(), name);
    return of_text(std::string(std::istreambuf_iterator<char>(file), {}));
  }
  // With the folder as the working directory. The shell's exit status; 127: not installed.
  [[nodiscard]] int run(const std::string& command) const {
    const std::string whole = "cd " + _folder.path() + " && { " + command + "; } >out 2>err";
    const int status = std::system(whole.c_str());
    BOOST_REQUIRE(WIFEXITED(status));
    BOOST_REQUIRE_MESSAGE(WEXITSTATUS(status) != 127,
                          command << ": install it by tests/install_dependencies.sh test");
    return WEXITSTATUS(status);
  }
  void must(const std::string& command) const {
    const int status = run(command);
    BOOST_REQUIRE_MESSAGE(status == 0, command << ": " << status << ": " << text_of(read("err")));
  }
  // At a terminal of its own, on which each question is answered with `answer`.
  [[nodiscard]] int run_and_answer(const std::string& command, const std::string& answer) const {
    int terminal = -1;
    const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
      const std::string whole = "cd " + _folder.path() + " && " + command;
      ::execl("/bin/sh", "sh", "-c", whole.c_str(), nullptr);
      ::_exit(127);
    }
    std::string seen;
    std::array<char, 512> piece{};
    while (true) {
      const ssize_t got = ::read(terminal, piece.data(), piece.size());
      if (got <= 0) {
        break;  // EIO when the other side is gone
      }
      seen.append(piece.data(), static_cast<std::size_t>(got));
      if (seen.find("assphrase") != std::string::npos && seen.find(": ") != std::string::npos) {
        const std::string line = answer + "\n";
        BOOST_REQUIRE(::write(terminal, line.data(), line.size()) ==
                      static_cast<ssize_t>(line.size()));
        seen.clear();
      }
    }
    ::close(terminal);
    int status = 0;
    BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
    BOOST_REQUIRE(WIFEXITED(status));
    BOOST_REQUIRE_MESSAGE(WEXITSTATUS(status) != 127, command);
    return WEXITSTATUS(status);
  }

 private:
  engine::testing::scratch_directory _folder;
};

bytes one_part(const part_sealer& with, const bytes& plain) {
  auto part = value_of(with.begin(1, 2, 300));
  bytes slot(part_sealed_bytes(plain.size()));
  const std::uint64_t segments = segments_of(plain.size());
  for (std::uint64_t index = 0; index < segments; ++index) {
    const auto room = std::span(slot).subspan(part_segments_at + index * segment_bytes);
    const std::size_t from = index * segment_plain_bytes;
    const std::size_t here = std::min(segment_plain_bytes, plain.size() - from);
    std::copy_n(plain.begin() + static_cast<std::ptrdiff_t>(from), here, room.begin());
    require(part.seal(room, here, index + 1 == segments));
  }
  require(part.write_header(std::span(slot).first<part_segments_at>()));
  return slot;
}

const std::chrono::sys_seconds now =
    std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());

}  // namespace

BOOST_AUTO_TEST_SUITE(interoperation)

BOOST_AUTO_TEST_CASE(age_opens_what_is_sealed_here_down_the_whole_hierarchy) {
  const tools here;
  here.must("age-keygen -o user.key");
  const auto user = value_of(parse_identities(text_of(here.read("user.key"))));
  BOOST_REQUIRE(user.size() == 1U);
  here.must("age-keygen -y user.key");
  BOOST_TEST(std::string(text_of(here.read("out"))) == user.front().recipient().text() + "\n");
  const new_backup backup =
      value_of(make_backup_keys(std::array{user.front().recipient()}, system_random()));
  here.write("keys.age", backup.keys_object);
  here.must("age -d -i user.key -o backup.key keys.age");
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, segment_plain_bytes,
                                 2 * segment_plain_bytes, 5 * segment_plain_bytes + 77}) {
    const bytes plain = random_bytes(size, size);
    here.write("part", one_part(backup.sealer(system_random()), plain));
    here.must("age -d -i backup.key part >plain");
    BOOST_TEST((here.read("plain") == plain));
  }
  // Damaged, age refuses it as well.
  bytes part = one_part(backup.sealer(system_random()), random_bytes(100, 1));
  part[200] ^= std::byte{1};  // within our stanza
  here.write("part", part);
  BOOST_TEST(here.run("age -d -i backup.key part >plain") != 0);
}

BOOST_AUTO_TEST_CASE(what_age_seals_is_opened_here) {
  const tools here;
  here.must("age-keygen -o one.key");
  here.must("age-keygen -o two.key");
  const auto two = value_of(parse_identities(text_of(here.read("two.key"))));
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, segment_plain_bytes, 3 * segment_plain_bytes + 1}) {
    const bytes plain = random_bytes(size, size + 9);
    here.write("plain", plain);
    for (const char* const form : {"", "-a "}) {
      here.must("age -e " + std::string(form) +
                "-r $(age-keygen -y one.key) -r $(age-keygen -y two.key) -o sealed plain");
      const bytes file = here.read("sealed");
      BOOST_TEST(is_armored(text_of(file)) == (*form != '\0'));
      const auto opened = value_of(open_file(file, two));
      BOOST_TEST((opened.view() == text_of(plain)));
    }
  }
}

BOOST_AUTO_TEST_CASE(armor_is_read_by_age) {
  const tools here;
  here.must("age-keygen -o user.key");
  const auto user = value_of(parse_identities(text_of(here.read("user.key"))));
  for (std::size_t size = 0; size < 60; size += 7) {
    const bytes plain = random_bytes(size, size);
    const std::string text =
        armor(value_of(seal_file(plain, std::array{user.front().recipient()}, system_random())));
    here.write("sealed", bytes_of(text));
    here.must("age -d -i user.key sealed >plain");
    BOOST_TEST((here.read("plain") == plain));
  }
}

BOOST_AUTO_TEST_CASE(identities_with_a_passphrase_go_both_ways) {
  const tools here;
  here.must("age-keygen -o user.key");
  const bytes plain = here.read("user.key");
  const auto user = value_of(parse_identities(text_of(plain)));
  BOOST_REQUIRE(here.run_and_answer("age -p -a -o locked.key user.key", "correct horse") == 0);
  const bytes locked = here.read("locked.key");
  BOOST_TEST(is_sealed(text_of(locked)));
  BOOST_TEST(value_of(wants_passphrase(locked)));
  const auto opened = value_of(open_identities(text_of(locked), "correct horse"));
  BOOST_REQUIRE(opened.size() == 1U);
  BOOST_TEST((opened.front().recipient() == user.front().recipient()));
  BOOST_TEST(fault_in(open_identities(text_of(locked), "correct hors")) == fault::no_match);
  // And one of ours is opened by age.
  here.write("ours.key",
             value_of(seal_file_with_passphrase(plain, "battery", system_random(), 12)));
  BOOST_REQUIRE(here.run_and_answer("age -d -o again.key ours.key", "battery") == 0);
  BOOST_TEST((here.read("again.key") == plain));
  BOOST_TEST(here.run_and_answer("age -d -o never.key ours.key", "batter") != 0);
}

BOOST_AUTO_TEST_CASE(ssh_keygen_accepts_signatures_made_here) {
  const tools here;
  here.must("ssh-keygen -q -t ed25519 -N '' -C '' -f key");
  const auto key = value_of(ssh_private_key::parse(text_of(here.read("key"))));
  const bytes message = random_bytes(5000, 1);
  here.write("message", message);
  here.write("message.sig", bytes_of(value_of(sign_message(key, message, signature_namespace))));
  here.must("echo \"host $(cat key.pub)\" >signers");
  const std::string check =
      "ssh-keygen -Y verify -f signers -I host -n btrfs_to_s3 -s message.sig <";
  here.must(check + "message");
  BOOST_TEST(here.run("ssh-keygen -Y verify -f signers -I host -n file -s message.sig <message") !=
             0);
  here.write("other", random_bytes(5000, 2));
  BOOST_TEST(here.run(check + "other") != 0);
}

BOOST_AUTO_TEST_CASE(signatures_made_by_ssh_keygen_are_accepted) {
  const tools here;
  here.must("ssh-keygen -q -t ed25519 -N '' -C 'a comment' -f key");
  const bytes message = random_bytes(70000, 3);
  here.write("message", message);
  here.must("ssh-keygen -q -Y sign -n btrfs_to_s3 -f key message");
  here.must("echo \"* namespaces=\\\"btrfs_to_s3\\\" $(cat key.pub)\" >signers");
  const auto signers = value_of(parse_allowed_signers(text_of(here.read("signers")), {}));
  const std::string signature(text_of(here.read("message.sig")));
  const auto by = value_of(verify_message(signature, message, signature_namespace, signers, now));
  here.must("ssh-keygen -lf key.pub");
  const std::string shown(text_of(here.read("out")));
  BOOST_TEST(shown.find(value_of(by.key.fingerprint())) != std::string::npos);
  // A key with a passphrase signs for ssh-keygen alone; here it is refused with a sentence.
  here.must("ssh-keygen -q -p -N secret -f key");
  const auto refused = ssh_private_key::parse(text_of(here.read("key")));
  BOOST_TEST(fault_in(refused) == fault::key);
  BOOST_TEST(refused.error().message.find("passphrase") != std::string::npos);
}

// Both read the same lines in the same way.
BOOST_AUTO_TEST_CASE(lines_of_signers_mean_the_same_to_ssh_keygen) {
  const tools here;
  here.must("ssh-keygen -q -t ed25519 -N '' -C '' -f key");
  const auto key = value_of(ssh_private_key::parse(text_of(here.read("key"))));
  const std::string public_text = key.public_key().text();
  const bytes message = of_text("text");
  here.write("message", message);
  const std::string signature = value_of(sign_message(key, message, signature_namespace));
  here.write("message.sig", bytes_of(signature));
  const std::chrono::sys_seconds noon =
      std::chrono::sys_days(std::chrono::year(2026) / 1 / 2) + std::chrono::hours(12);
  for (const std::string options :
       {"", "namespaces=\"btrfs_to_s3\" ", "namespaces=\"git,btrfs*\" ", "namespaces=\"git\" ",
        "namespaces=\"!btrfs_to_s3,*\" ", "namespaces=\"btrfs_to_s?\" ",
        "valid-after=\"20260102120000Z\" ", "valid-after=\"20260102120001Z\" ",
        "valid-before=\"20260102120000Z\" ", "valid-before=\"20260102115959Z\" ",
        "valid-after=\"20260101Z\",valid-before=\"202601030000Z\" ",
        "namespaces=\"btrfs_to_s3\",valid-before=\"20200101Z\" ", "cert-authority ",
        "unknown=\"x\" ", "NameSpaces=\"git\" ", "NAMESPACES=\"btrfs_to_s3\" ",
        "namespaces=\"git\",namespaces=\"btrfs_to_s3\" ",
        "valid-before=\"20270101Z\",valid-before=\"20280101Z\" "}) {
    const std::string line = "* " + options + public_text + "\n";
    here.write("signers", bytes_of(line));
    const bool theirs = here.run(
                            "ssh-keygen -Y verify -f signers -I anybody -n btrfs_to_s3 -O "
                            "verify-time=20260102120000Z -s message.sig <message") == 0;
    const auto signers = parse_allowed_signers(line, {});
    const bool ours =
        signers && verify_message(signature, message, signature_namespace, *signers, noon);
    BOOST_TEST(ours == theirs, options);
  }
}

BOOST_AUTO_TEST_SUITE_END()
