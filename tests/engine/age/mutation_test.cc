// Texts that are nearly right, to everything here that reads what others wrote: nothing may be read
// beyond its end (the sanitizers see to that), and what is accepted is what would be written.
#include "engine/age/allowed_signers.hh"
#include "engine/age/armor.hh"
#include "engine/age/base64.hh"
#include "engine/age/bech32.hh"
#include "engine/age/header.hh"
#include "engine/age/key_files.hh"
#include "engine/age/part_stanza.hh"
#include "engine/age/passphrase.hh"
#include "engine/age/plain_fingerprint.hh"
#include "engine/age/sealed_file.hh"
#include "engine/age/ssh_key.hh"
#include "engine/age/ssh_signature.hh"
#include "tests/engine/age/ssh_key_file.hh"
#include "tests/engine/age/support.hh"

#include <algorithm>
#include <array>
#include <functional>
#include <iterator>

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;

namespace {

constexpr int rounds = 4000;

// Makes texts of a corpus by small changes, the same in every run.
class mutator {
 public:
  mutator(std::vector<std::string> corpus, std::uint64_t seed)
      : _corpus(std::move(corpus)), _random(seed) {}

  std::string next() {
    std::string made = _corpus[below(_corpus.size())];
    for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
      change(made);
    }
    return made;
  }

 private:
  std::size_t below(std::size_t limit) { return limit == 0 ? 0 : _random() % limit; }

  void change(std::string& text) {
    static constexpr std::string_view telling = "=\n\r -/+1,\"*!#AZaz";
    const std::size_t at = below(text.size() + 1);
    const std::size_t some = below(1 + below(40));
    switch (below(7)) {
      case 0:
        if (at < text.size()) {
          text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        }
        break;
      case 1:
        text.erase(at, some);
        break;
      case 2:
        text.insert(at, text.substr(below(text.size() + 1), some));
        break;
      case 3:
        text.insert(at, 1, telling[below(telling.size())]);
        break;
      case 4:
        text.insert(at, 1, static_cast<char>(_random() & 0xff));
        break;
      case 5:
        if (at < text.size()) {
          text[at] = telling[below(telling.size())];
        }
        break;
      default:
        text.resize(at);
        break;
    }
  }

  std::vector<std::string> _corpus;
  std::mt19937_64 _random;
};

// `accepts` says whether it took the text, and checks what it took.
void mutate(const std::vector<std::string>& corpus, std::uint64_t seed,
            const std::function<bool(const std::string&)>& accepts) {
  for (const std::string& text : corpus) {
    BOOST_TEST(accepts(text));
  }
  mutator from(corpus, seed);
  int accepted = 0;
  for (int round = 0; round < rounds; ++round) {
    const std::string text = from.next();
    BOOST_TEST_CONTEXT("seed " << seed << ", round " << round) {
      accepted += accepts(text) ? 1 : 0;
    }
  }
  // Otherwise the changes were not small ones, or nothing is ever refused.
  BOOST_TEST(accepted < rounds);
}

x25519_identity identity() {
  return value_of(x25519_identity::generate(seeded(1)));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(mutation)

BOOST_AUTO_TEST_CASE(headers) {
  const auto by = identity();
  file_key key;
  require(fill_random(seeded(2), key.writable()));
  const stanza wrapped = value_of(by.recipient().wrap(key, seeded(3)));
  const stanza ours = part_stanza({value_of(backup_id::make(seeded(4))), 1, 2, 3});
  stanza grease;
  grease.arguments = {"grease", "!"};
  grease.body = random_bytes(100, 1);
  const stanza secret = value_of(wrap_with_passphrase(key, "secret", seeded(5), 1));
  const std::vector<std::string> corpus{value_of(write_header({wrapped, ours}, key)),
                                        value_of(write_header({grease, wrapped}, key)),
                                        value_of(write_header({secret}, key))};
  mutate(corpus, 1, [&](const std::string& text) {
    const auto read = read_header(bytes_of(text));
    if (!read) {
      BOOST_TEST(fault_in(read) == fault::header);
      return false;
    }
    std::string again(version_line);
    for (const stanza& one : read->stanzas) {
      again += one.text();
      (void)read_part_stanza(one);
      (void)by.unwrap(one);
      (void)unwrap_with_passphrase(one, "secret", 2);
    }
    again += "--- " + base64_encode(read->tag, padding::none) + "\n";
    BOOST_TEST(again == text.substr(0, read->bytes));
    // The MAC holds for what was written alone.
    if (check_header(*read, bytes_of(text), key)) {
      BOOST_TEST(std::count(corpus.begin(), corpus.end(), text.substr(0, read->bytes)) == 1);
    }
    return true;
  });
}

BOOST_AUTO_TEST_CASE(whole_files) {
  const auto by = identity();
  const bytes file = value_of(seal_file(bytes_of("a text"), std::array{by.recipient()}, seeded(6)));
  mutate({std::string(text_of(file)), armor(file)}, 2, [&](const std::string& text) {
    const auto opened = open_file(bytes_of(text), std::span(&by, 1));
    if (opened) {
      BOOST_TEST((*opened == "a text"));
    }
    return opened.has_value();
  });
}

BOOST_AUTO_TEST_CASE(armored_files) {
  mutate({armor(random_bytes(100, 1)), armor(random_bytes(96, 2)), armor(random_bytes(1, 3))}, 3,
         [](const std::string& text) {
           const auto read = unarmor(text);
           if (!read) {
             BOOST_TEST(fault_in(read) == fault::armor);
             return false;
           }
           // White space around it and CRs before line feeds aside, it is what would be written.
           std::string bare;
           std::copy_if(text.begin(), text.end(), std::back_inserter(bare),
                        [](char one) { return one != '\r'; });
           bare = bare.substr(bare.find('-'), bare.rfind('-') + 1 - bare.find('-')) + "\n";
           BOOST_TEST(bare == armor(*read));
           return true;
         });
}

BOOST_AUTO_TEST_CASE(keys_and_recipients) {
  const auto one = identity();
  const std::string secret(one.text().view());
  mutate({secret, one.recipient().text(), "A12UEL5L"}, 4, [](const std::string& text) {
    (void)x25519_identity::parse(text);
    (void)x25519_recipient::parse(text);
    const auto read = bech32_decode(text);
    if (read) {
      BOOST_TEST((bech32_encode(read->prefix, read->data.bytes()).view() == text));
    }
    return read.has_value();
  });
  mutate({"# of us\n" + secret + "\n\n" + secret + "\n"}, 5, [&](const std::string& text) {
    const auto read = parse_identities(text);
    if (read) {
      for (const x25519_identity& found : *read) {
        BOOST_TEST((found.recipient() == one.recipient()));
      }
    }
    return read.has_value();
  });
  mutate({one.recipient().text() + "\n# them\n" + one.recipient().text()}, 6,
         [](const std::string& text) { return parse_recipients(text).has_value(); });
  mutate({std::string(96, '0'), std::string(96, 'f')}, 7, [](const std::string& text) {
    const auto read = recorded_fingerprint::parse(text);
    if (read) {
      BOOST_TEST(read->text() == text);
    }
    return read.has_value();
  });
}

BOOST_AUTO_TEST_CASE(signatures_and_their_keys) {
  const std::string file = ssh_key_file(8);
  const auto key = value_of(ssh_private_key::parse(file));
  const bytes its = key.public_key().blob();
  mutate({file}, 8, [&](const std::string& text) {
    const auto read = ssh_private_key::parse(text);
    if (read) {
      BOOST_TEST((read->public_key().blob() == its));
    }
    return read.has_value();
  });
  const std::string line = "* " + key.public_key().text() + "\n";
  const auto signers = value_of(parse_allowed_signers(line, {}));
  const bytes message = of_text("text");
  const std::string right = value_of(sign_message(key, message, signature_namespace));
  mutate({right}, 9, [&](const std::string& text) {
    const auto by = verify_message(text, message, signature_namespace, signers, {});
    if (by) {
      // But for line ends it is the one signature that the key makes.
      const auto bare = [](std::string of) {
        std::erase_if(of, [](char one) { return one == '\n' || one == '\r' || one == ' '; });
        return of;
      };
      BOOST_TEST(bare(text) == bare(right));
    }
    return by.has_value();
  });
  mutate({line, "a,b namespaces=\"x,!y\",valid-after=\"20260101Z\" " + line.substr(2),
          "# none\n" + line},
         10, [](const std::string& text) { return parse_allowed_signers(text, {}).has_value(); });
}

BOOST_AUTO_TEST_SUITE_END()
