#include "app/secrets/identities.hh"

#include "app/host/signals.hh"
#include "engine/age/armor.hh"
#include "engine/age/key_files.hh"
#include "engine/age/sealed_file.hh"
#include "tests/app/secrets/key_place.hh"

#include <pty.h>
#include <sys/wait.h>
#include <termios.h>

#include <array>
#include <csignal>

using namespace bts3;
using namespace bts3::app;
using age::testing::value_of;
using bts3::testing::key_place;
using bts3::testing::played_environment;
using engine::result;
using engine::task;

namespace {

using identities = std::vector<age::x25519_identity>;

age::x25519_identity identity(std::uint64_t seed) {
  return value_of(age::x25519_identity::generate(age::testing::seeded(seed)));
}

std::string file_of(std::uint64_t seed) {
  return std::string(age::identity_file(identity(seed), {}).view());
}

std::string sealed_file_of(std::uint64_t seed, std::string_view passphrase) {
  const std::string plain = file_of(seed);
  const auto sealed = value_of(age::seal_file_with_passphrase(age::bytes_of(plain), passphrase,
                                                              age::testing::seeded(seed + 100), 8));
  return std::string(age::text_of(sealed));
}

result<identities> read(const std::vector<std::string>& places,
                        const played_environment& environment = {}) {
  const auto loop = value_of(engine::reactor::create());
  return loop->run(read_identities(secret_access(*loop, {}, environment), places));
}

std::string refusal(const result<identities>& outcome) {
  BOOST_REQUIRE_MESSAGE(!outcome.has_value(), "it was not refused");
  return outcome.error().text();
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

played_environment with(std::string name, std::string value) {
  played_environment made;
  made.variables.emplace(std::move(name), std::move(value));
  return made;
}

// Reads one while signals are heard, as the program does. 0: it is `seed`'s; 3: stopped.
task<int> read_while_stoppable(engine::reactor& loop, signal_watch& signals, std::string place,
                               std::uint64_t seed) {
  bts3::testing::event_log log;
  engine::stop_source stop;
  engine::stop_source watch_end;
  engine::async_scope scope(loop);
  scope.spawn(signals.run(loop, stop, log, watch_end.token()));
  const secret_access access(loop, stop.token(), played_environment());
  std::vector<std::string> places{std::move(place)};
  auto reading = read_identities(access, std::move(places));
  const auto found = co_await std::move(reading);
  watch_end.request_stop();
  auto joining = scope.join();
  co_await std::move(joining);
  if (!found) {
    co_return found.error().what_now == engine::disposition::cancelled ? 3 : 4;
  }
  co_return found->size() == 1 && found->front().recipient() == identity(seed).recipient() ? 0 : 5;
}

// A process at a terminal of its own that reads one.
class at_terminal {
 public:
  at_terminal(const std::string& place, std::uint64_t seed) {
    _child = ::forkpty(&_terminal, nullptr, nullptr, nullptr);
    BOOST_REQUIRE(_child >= 0);
    if (_child == 0) {
      auto signals = signal_watch::create();
      auto loop = engine::reactor::create();
      const int code =
          signals && loop ? (*loop)->run(read_while_stoppable(**loop, *signals, place, seed)) : 6;
      ::_exit(code);
    }
  }
  ~at_terminal() {
    if (_child > 0) {
      ::kill(_child, SIGKILL);
      ::waitpid(_child, nullptr, 0);
    }
    ::close(_terminal);
  }
  at_terminal(const at_terminal&) = delete;
  at_terminal& operator=(const at_terminal&) = delete;

  // Until `text` is shown again, or nothing more is.
  void see(std::string_view text) {
    while (_seen.find(text, _read_to) == std::string::npos && read_more()) {
    }
    const std::size_t at = _seen.find(text, _read_to);
    BOOST_REQUIRE_MESSAGE(at != std::string::npos, "\"" << text << "\" is not in: " << _seen);
    _read_to = at + text.size();
  }
  void type(const std::string& text) const {
    BOOST_REQUIRE(::write(_terminal, text.data(), text.size()) ==
                  static_cast<ssize_t>(text.size()));
  }
  void send(int signal) const { ::kill(_child, signal); }
  [[nodiscard]] bool echoes() const {
    termios modes{};
    BOOST_REQUIRE(::tcgetattr(_terminal, &modes) == 0);
    return (modes.c_lflag & ECHO) != 0;
  }
  // Its exit status; what it showed is in shown() then. The modes are looked at while the terminal
  // is still open.
  int end() {
    int status = 0;
    BOOST_REQUIRE(::waitpid(_child, &status, 0) == _child);
    _child = -1;
    while (read_more()) {
    }
    BOOST_REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status);
  }
  [[nodiscard]] const std::string& shown() const { return _seen; }

 private:
  bool read_more() {
    std::array<char, 512> piece{};
    const ssize_t got = ::read(_terminal, piece.data(), piece.size());
    if (got > 0) {
      _seen.append(piece.data(), static_cast<std::size_t>(got));
    }
    return got > 0;
  }

  int _terminal = -1;
  pid_t _child = -1;
  std::string _seen;
  std::size_t _read_to = 0;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(identities_of_people)

BOOST_AUTO_TEST_CASE(files_are_read_in_the_order_given) {
  const key_place here;
  const auto found =
      read({here.write("one", file_of(1) + file_of(2)), here.write("two", file_of(3))});
  BOOST_REQUIRE(found.has_value());
  BOOST_REQUIRE(found->size() == 3U);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    BOOST_TEST(((*found)[seed - 1].recipient() == identity(seed).recipient()));
  }
}

BOOST_AUTO_TEST_CASE(what_age_keygen_and_age_write_is_read) {
  const key_place here;
  here.must("age-keygen -o user.key && age-keygen -y user.key");
  const auto found = read({here / "user.key"});
  BOOST_REQUIRE(found.has_value());
  BOOST_TEST(found->front().recipient().text() + "\n" == bts3::testing::content_of(here / "out"));
}

BOOST_AUTO_TEST_CASE(a_sealed_one_is_opened_with_a_passphrase_from_a_file_or_a_credential) {
  const key_place here;
  const std::string sealed = sealed_file_of(1, " two  words ");
  const std::string binary = here.write("binary", sealed, 0644);  // which may lie anywhere
  const std::string armored = here.write("armored", age::armor(age::bytes_of(sealed)));
  here.write("passphrase", " two  words \nand a second line\n");
  here.write("identity_passphrase", " two  words \r\n", 0440);  // as systemd shows it
  const auto variable = with(std::string(passphrase_file_variable), here / "passphrase");
  const auto credential = with(std::string(credentials_variable), here / ".");
  for (const std::string& file : {binary, armored}) {
    for (const played_environment& environment : {variable, credential}) {
      const auto found = read({file}, environment);
      BOOST_REQUIRE_MESSAGE(found.has_value(), bts3::testing::error_text(found));
      BOOST_TEST((found->front().recipient() == identity(1).recipient()));
    }
  }
  here.write("passphrase", "another");
  const std::string said = refusal(read({binary}, variable));
  BOOST_TEST(has(said, binary + ": "));
  BOOST_TEST(has(said, "passphrase"));
  BOOST_TEST(!has(said, "another"));
  here.write("passphrase", " two  words ", 0644);
  BOOST_TEST(has(refusal(read({binary}, variable)), "others can read"));
}

BOOST_AUTO_TEST_CASE(without_a_place_the_credential_is_taken) {
  const key_place here;
  const auto credential = with(std::string(credentials_variable), here / ".");
  BOOST_TEST(!identity_is_at_hand(credential));
  BOOST_TEST(has(refusal(read({}, credential)), "--identity"));
  BOOST_TEST(has(refusal(read({})), "--identity"));
  here.write("identity", file_of(4), 0440);
  BOOST_TEST(identity_is_at_hand(credential));
  const auto found = read({}, credential);
  BOOST_REQUIRE(found.has_value());
  BOOST_TEST((found->front().recipient() == identity(4).recipient()));
}

BOOST_AUTO_TEST_CASE(what_is_none_is_named_and_never_quoted) {
  const key_place here;
  const std::string open = here.write("open", file_of(1), 0644);
  BOOST_TEST(has(refusal(read({open})), "others can read " + open));
  const std::string cut = file_of(1).substr(0, file_of(1).size() - 5);
  const std::string said = refusal(read({here.write("cut", "# mine\n" + cut)}));
  BOOST_TEST(has(said, (here / "cut") + ": line 3: "));
  BOOST_TEST(!has(said, cut.substr(cut.size() - 20)));
  const auto to = identity(2).recipient();
  const std::string plain = file_of(1);
  const auto for_somebody =
      value_of(age::seal_file(age::bytes_of(plain), std::span(&to, 1), age::testing::seeded(7)));
  BOOST_TEST(has(refusal(read({here.write("sealed", age::text_of(for_somebody))})),
                 "is sealed for a recipient"));
  BOOST_TEST(has(refusal(read({here.write("pq", "AGE-SECRET-KEY-PQ-1QQQ\n")})), "OpenSSL 3.5"));
}

BOOST_AUTO_TEST_CASE(an_identity_is_typed_unseen) {
  at_terminal person("-", 1);
  person.see("Identity (AGE-SECRET-KEY-1...): ");
  BOOST_TEST(!person.echoes());
  const std::string secret(identity(1).text().view());
  person.type(secret + "\n");
  person.see("\n");
  BOOST_TEST(person.end() == 0);
  BOOST_TEST(!has(person.shown(), secret.substr(20, 8)));
}

BOOST_AUTO_TEST_CASE(a_passphrase_is_typed_unseen_and_may_be_wrong_twice) {
  const key_place here;
  const std::string file = here.write("key", sealed_file_of(1, "correct horse"));
  at_terminal person(file, 1);
  for (const char* const word : {"wrong", "correct hors", "correct horse"}) {
    person.see("Passphrase of " + file + ": ");
    BOOST_TEST(!person.echoes());
    person.type(std::string(word) + "\n");
  }
  BOOST_TEST(person.end() == 0);
  BOOST_TEST(!has(person.shown(), "hors"));
  at_terminal other(file, 1);
  for (int attempt = 0; attempt < 3; ++attempt) {
    other.see("Passphrase of ");
    other.type("no\n");
  }
  BOOST_TEST(other.end() == 4);
}

BOOST_AUTO_TEST_CASE(the_terminal_shows_what_is_typed_again_after_a_signal) {
  const key_place here;
  const std::string file = here.write("key", sealed_file_of(1, "x"));
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    at_terminal person(file, 1);
    person.see("Passphrase of ");
    BOOST_TEST(!person.echoes());
    person.send(signal);
    BOOST_TEST(person.end() == 3);
    BOOST_TEST(person.echoes());
  }
  at_terminal person(file, 1);
  person.see("Passphrase of ");
  person.type("\x1c\x1a\x03");  // Ctrl-\ and Ctrl-Z do nothing, Ctrl-C stops
  BOOST_TEST(person.end() == 3);
  BOOST_TEST(person.echoes());
}

BOOST_AUTO_TEST_SUITE_END()
