#include "engine/age/allowed_signers.hh"
#include "engine/age/ssh_key.hh"
#include "engine/age/ssh_signature.hh"
#include "tests/engine/age/support.hh"

#include <chrono>
#include <functional>
#include <string>

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;

namespace {

using std::chrono::sys_days;
using std::chrono::sys_seconds;

// Made with `ssh-keygen -t ed25519 -N '' -C test`, for these tests alone.
const std::string private_file =
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"
    "QyNTUxOQAAACBuz01Ubhl+C6Icy2WrLxaca+fLJiHhLjA9v93DTTmUmQAAAIhVxt/FVcbf\n"
    "xQAAAAtzc2gtZWQyNTUxOQAAACBuz01Ubhl+C6Icy2WrLxaca+fLJiHhLjA9v93DTTmUmQ\n"
    "AAAED3JTykDPEDFvOKI0nHAFHdETwYV/45qPqZCjhhZb9Dd27PTVRuGX4LohzLZasvFpxr\n"
    "58smIeEuMD2/3cNNOZSZAAAABHRlc3QB\n"
    "-----END OPENSSH PRIVATE KEY-----\n";
const std::string public_line =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG7PTVRuGX4LohzLZasvFpxr58smIeEuMD2/3cNNOZSZ test";
// The same key after `ssh-keygen -p -N secret`.
const std::string protected_file =
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABB75r+nEp\n"
    "opDlTP/n+mQzeAAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIG7PTVRuGX4LohzL\n"
    "ZasvFpxr58smIeEuMD2/3cNNOZSZAAAAkOvFGJGQtpG8WC4ZQDiM3enRQCG81bgVtHbPqT\n"
    "Uy2+0lSjxvzySJ8iTu32KiM7AG/pgCFJpIeJx2YTTCualZmOkzGlH0a1ybnvtWALzXf7qx\n"
    "dS6dlZxkTsWBs1BQoz6n/7sCJhmr0FMMo6GmzHtrhPJR8/SLAfxRL7PHxZau3a29DjoNVM\n"
    "sOh+h1vGSOzgev2Q==\n"
    "-----END OPENSSH PRIVATE KEY-----\n";
// `ssh-keygen -t ecdsa -N ''`.
const std::string other_type_file =
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS\n"
    "1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQSrB0hNpT4AK6gNSqxR8VNDl4V3Mzo8\n"
    "HdkSQjZc2hP4nio4i+OHpe6yATdiiF3YrGcYql+uk8M7z2xvG/6s6KxGAAAAoIoQVtaKEF\n"
    "bWAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBKsHSE2lPgArqA1K\n"
    "rFHxU0OXhXczOjwd2RJCNlzaE/ieKjiL44el7rIBN2KIXdisZxiqX66TwzvPbG8b/qzorE\n"
    "YAAAAgDf4mweWcctapGLlqPVcgzFYC2NG2zySQGMLyugrLagMAAAAEdGVzdAECAwQ=\n"
    "-----END OPENSSH PRIVATE KEY-----\n";
const std::string other_type_line =
    "ecdsa-sha2-nistp256 "
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBKsHSE2lPgArqA1KrFHxU0OXhXczOjwd2RJCNlzaE/"
    "ieKjiL44el7rIBN2KIXdisZxiqX66TwzvPbG8b/qzorEY= test";
// `printf 'a manifest\n' | ssh-keygen -Y sign -n btrfs_to_s3 -f FILE`, and with -O hashalg=sha256.
const std::string signature_of_ssh_keygen =
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgbs9NVG4ZfguiHMtlqy8WnGvnyy\n"
    "Yh4S4wPb/dw005lJkAAAALYnRyZnNfdG9fczMAAAAAAAAABnNoYTUxMgAAAFMAAAALc3No\n"
    "LWVkMjU1MTkAAABANzMbnuul2pk85vWCSeoqJmJxABwvvGw2cVHoGy6A32rCUl3xBZvqdJ\n"
    "riSU0dlSGVd4JxdiyDdaGw23a+H1DAAw==\n"
    "-----END SSH SIGNATURE-----\n";
const std::string signature_with_sha256 =
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgbs9NVG4ZfguiHMtlqy8WnGvnyy\n"
    "Yh4S4wPb/dw005lJkAAAALYnRyZnNfdG9fczMAAAAAAAAABnNoYTI1NgAAAFMAAAALc3No\n"
    "LWVkMjU1MTkAAABA/BqyOvWLIQTdlUDSxPaSwNCql9cKDWmDJyzzzRxKr3Mb4eJEmDSp5O\n"
    "PGlntBW6uPAZbggU6hc3wrHhfYxw1uDA==\n"
    "-----END SSH SIGNATURE-----\n";
constexpr std::string_view message = "a manifest\n";

constexpr sys_seconds noon = sys_days(std::chrono::year(2026) / 1 / 2) + std::chrono::hours(12);

ssh_private_key key() {
  return value_of(ssh_private_key::parse(private_file));
}

std::vector<allowed_signer> signers(const std::string& text) {
  return value_of(parse_allowed_signers(text, {}));
}

engine::result<allowed_signer> verify(const std::string& signature,
                                      const std::string& by = "* " + public_line,
                                      sys_seconds when = noon) {
  return verify_message(signature, bytes_of(message), signature_namespace, signers(by), when);
}

// Base64 with its lines joined, changed, and as a file again.
std::string with_body(const std::string& file,
                      const std::function<std::string(std::string)>& change) {
  const std::size_t begin = file.find('\n') + 1;
  const std::size_t end = file.find("-----END");
  std::string body;
  for (const char one : file.substr(begin, end - begin)) {
    if (one != '\n') {
      body += one;
    }
  }
  return file.substr(0, begin) + change(body) + "\n" + file.substr(end);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(signature)

BOOST_AUTO_TEST_CASE(keys_of_ssh_keygen_are_read) {
  const auto mine = key();
  BOOST_TEST(mine.public_key().text() == public_line.substr(0, public_line.rfind(' ')));
  const auto its = value_of(ssh_public_key::parse(public_line));
  BOOST_TEST((its == mine.public_key()));
  BOOST_TEST(value_of(its.fingerprint()) == "SHA256:l7FRZnxXlnMPKSnRJq1xD4X8hT8CxMTvhaoTwMeFsdI");
  BOOST_TEST((value_of(ssh_private_key::parse("\r\n" + private_file + "\n")).public_key() == its));
}

BOOST_AUTO_TEST_CASE(other_keys_are_refused_with_a_sentence_and_never_quoted) {
  const auto refused = [](const std::string& file, std::string_view word) {
    const auto read = ssh_private_key::parse(file);
    BOOST_TEST(fault_in(read) == fault::key);
    BOOST_TEST(read.error().message.find(word) != std::string::npos, read.error().text());
    BOOST_TEST(!read.error().remedy.empty());
    BOOST_TEST(read.error().text().find(file.substr(60, 20)) == std::string::npos);
  };
  refused(protected_file, "passphrase");
  refused(other_type_file, "ssh-ed25519");
  refused("-----BEGIN PRIVATE KEY-----\n" + std::string(200, 'A') + "\n", "form");
  refused(std::string(100, ' '), "form");
  refused(private_file + std::string(70000, '\n') + "x", "form");
  BOOST_TEST(fault_in(ssh_public_key::parse(other_type_line)) == fault::key);
  BOOST_TEST(fault_in(ssh_public_key::parse("ssh-ed25519")) == fault::key);
  BOOST_TEST(fault_in(ssh_public_key::parse("ssh-ed25519 AAAA")) == fault::key);
  BOOST_TEST(fault_in(ssh_public_key::parse("")) == fault::key);
}

BOOST_AUTO_TEST_CASE(a_key_file_that_is_cut_or_changed_is_refused_or_the_same_key) {
  const auto its = key().public_key();
  const auto outcome = [&](const std::string& file) {
    const auto read = ssh_private_key::parse(file);
    if (read) {
      BOOST_TEST((read->public_key() == its));
      return false;
    }
    BOOST_TEST(fault_in(read) == fault::key);
    return true;
  };
  int refused = 0;
  int changes = 0;
  const std::size_t body = private_file.find("-----END") - private_file.find('\n') - 1;
  for (std::size_t at = 0; at < body; ++at) {
    for (const char other : {'A', '/', '!'}) {
      refused += outcome(with_body(private_file,
                                   [&](std::string text) {
                                     text[std::min(at, text.size() - 1)] = other;
                                     return text;
                                   }))
                     ? 1
                     : 0;
      ++changes;
    }
    outcome(with_body(private_file, [&](const std::string& text) { return text.substr(0, at); }));
  }
  BOOST_TEST(refused > changes / 2);  // the comment may be another
  for (std::size_t size = 0; size + 2 < private_file.size(); ++size) {
    BOOST_TEST(outcome(private_file.substr(0, size)));
  }
}

BOOST_AUTO_TEST_CASE(signatures_of_ssh_keygen_are_accepted) {
  BOOST_TEST(value_of(verify(signature_of_ssh_keygen)).principals == "*");
  BOOST_TEST((value_of(verify(signature_with_sha256)).key == key().public_key()));
  BOOST_TEST((value_of(claimed_signer(signature_of_ssh_keygen)) == key().public_key()));
}

// Ed25519 leaves no choice: the same key makes the same signature of the same bytes.
BOOST_AUTO_TEST_CASE(ours_are_those_of_ssh_keygen) {
  BOOST_TEST(value_of(sign_message(key(), bytes_of(message), signature_namespace)) ==
             signature_of_ssh_keygen);
}

BOOST_AUTO_TEST_CASE(a_signature_that_was_changed_is_refused) {
  const std::string& text = signature_of_ssh_keygen;
  int refused = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (const char other : {'A', '/', '='}) {
      std::string changed = text;
      if (changed[at] == other || changed[at] == '\n') {
        continue;
      }
      changed[at] = other;
      const fault what = fault_in(verify(changed));
      BOOST_TEST((what == fault::armor || what == fault::signature));
      ++refused;
    }
    if (at + 1 < text.size()) {
      BOOST_TEST(fault_in(verify(text.substr(0, at))) == fault::armor);
    }
  }
  BOOST_TEST(refused > 500);
  BOOST_TEST(fault_in(verify(text + "x")) == fault::armor);
  BOOST_TEST(fault_in(verify(std::string(20000, 'A'))) == fault::armor);
}

BOOST_AUTO_TEST_CASE(other_bytes_namespaces_and_keys_are_named) {
  const auto trusted = signers("* " + public_line);
  const auto word_in = [](const engine::result<allowed_signer>& refused, std::string_view word) {
    BOOST_TEST(fault_in(refused) == fault::signature);
    BOOST_TEST(refused.error().message.find(word) != std::string::npos, refused.error().text());
  };
  word_in(verify_message(signature_of_ssh_keygen, bytes_of("a manifest"), signature_namespace,
                         trusted, noon),
          "these bytes");
  word_in(verify_message(signature_of_ssh_keygen, bytes_of(message), "file", trusted, noon),
          "is for \"btrfs_to_s3\"");
  word_in(verify_message(signature_of_ssh_keygen, bytes_of(message), signature_namespace, {}, noon),
          "not among the trusted");
  // That somebody else is trusted does not help.
  const std::string other = ssh_public_key(value_of(ed25519_point(fixed<32>(bytes(32))))).text();
  word_in(verify(signature_of_ssh_keygen, "* " + other), "not among the trusted");
  BOOST_TEST(fault_in(claimed_signer("x")) == fault::armor);
  const std::string elsewhere = value_of(sign_message(key(), bytes_of(message), "file"));
  word_in(verify(elsewhere), "is for \"file\"");
}

BOOST_AUTO_TEST_CASE(lines_of_signers_are_read_with_their_options) {
  const std::string key_text = key().public_key().text();
  const auto found = signers("# who may\n\nroot@alpha,\"a b\" " + key_text + " a comment\r\n" +
                             "* namespaces=\"file,btrfs_*\",valid-after=\"20260101Z\"," +
                             "valid-before=\"202601030000Z\" " + key_text + "\n" + key_text + "\n" +
                             "* cert-authority " + key_text + "\n* " + other_type_line + "\n");
  BOOST_REQUIRE(found.size() == 3U);
  BOOST_TEST(found[0].principals == "root@alpha,\"a b\"");
  BOOST_TEST(found[0].is_for("anything"));
  BOOST_TEST(found[0].is_valid_at(noon));
  BOOST_TEST(found[1].is_for("btrfs_to_s3"));
  BOOST_TEST(found[1].is_for("file"));
  BOOST_TEST(!found[1].is_for("git"));
  const sys_seconds after = sys_days(std::chrono::year(2026) / 1 / 1);
  const sys_seconds before = sys_days(std::chrono::year(2026) / 1 / 3);
  BOOST_TEST((found[1].valid_after == after));
  BOOST_TEST((found[1].valid_before == before));
  BOOST_TEST(found[1].is_valid_at(after));
  BOOST_TEST(found[1].is_valid_at(before));
  BOOST_TEST(!found[1].is_valid_at(after - std::chrono::seconds(1)));
  BOOST_TEST(!found[1].is_valid_at(before + std::chrono::seconds(1)));
  BOOST_TEST(found[2].principals.empty());
}

BOOST_AUTO_TEST_CASE(options_decide_whether_a_signature_counts) {
  const std::string key_text = key().public_key().text();
  const auto accepted = [&](const std::string& options, sys_seconds when = noon) {
    return verify(signature_of_ssh_keygen, "* " + options + " " + key_text, when).has_value();
  };
  BOOST_TEST(accepted("namespaces=\"btrfs_to_s3\""));
  BOOST_TEST(accepted("namespaces=\"b?rfs*3\""));
  BOOST_TEST(!accepted("namespaces=\"git,file\""));
  BOOST_TEST(!accepted("namespaces=\"*,!btrfs_to_s3\""));
  BOOST_TEST(!accepted("namespaces=\"btrfs_to_s\""));
  BOOST_TEST(accepted("valid-after=\"20260102120000Z\""));
  BOOST_TEST(!accepted("valid-after=\"20260102120001Z\""));
  BOOST_TEST(accepted("valid-before=\"20260102120000Z\""));
  BOOST_TEST(!accepted("valid-before=\"20260102115959Z\""));
  // One line of several is enough.
  BOOST_TEST(verify(signature_of_ssh_keygen, "* namespaces=\"git\" " + key_text + "\n* " + key_text)
                 .has_value());
  const auto late = verify(signature_of_ssh_keygen, "* valid-before=\"20200101Z\" " + key_text);
  BOOST_TEST(late.error().message.find("not valid") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(dates_without_a_zone_are_the_hosts) {
  const std::string line = "* valid-after=\"202601021200\" " + key().public_key().text();
  BOOST_TEST(fault_in(parse_allowed_signers(line, {})) == fault::key);
  const auto found = value_of(parse_allowed_signers(line, [](std::chrono::local_seconds local) {
    return sys_seconds(local.time_since_epoch()) - std::chrono::hours(2);
  }));
  BOOST_TEST((found.front().valid_after == noon - std::chrono::hours(2)));
}

BOOST_AUTO_TEST_CASE(lines_that_cannot_be_read_are_named) {
  const std::string key_text = key().public_key().text();
  for (const std::string& line :
       {std::string("*"), "* " + key_text.substr(0, 40), "* unknown " + key_text,
        "* unknown=\"x\" " + key_text, "* namespaces=x " + key_text,
        "* namespaces=\"\" " + key_text, "* valid-after=\"2026\" " + key_text,
        "* valid-after=\"20261302Z\" " + key_text, "* valid-after=\"20260230Z\" " + key_text,
        "* valid-after=\"202601022460Z\" " + key_text, "* \"namespaces " + key_text,
        std::string("* namespaces=\"a\""), std::string("\"")}) {
    const auto refused = parse_allowed_signers("# one\n" + line + "\n", {});
    BOOST_TEST(fault_in(refused) == fault::key);
    BOOST_TEST(refused.error().message.find("line 2") == 0U, refused.error().text());
  }
  BOOST_TEST(fault_in(parse_allowed_signers("", {})) == fault::key);
  BOOST_TEST(fault_in(parse_allowed_signers("* " + other_type_line, {})) == fault::key);
}

BOOST_AUTO_TEST_SUITE_END()
