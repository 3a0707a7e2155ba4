#include "s3/credentials/credential_process.hh"

#include "tests/s3/credentials/credentials_support.hh"

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

namespace {

using words = std::vector<std::string>;

words split(const std::string& command) {
  const auto made = split_command(command);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  return *made;
}

constexpr const char* good_json =
    R"({"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"s","SessionToken":"t",)"
    R"("Expiration":"2013-05-24T01:00:00Z"})";

engine::result<credentials> run(credential_scene& here, const std::string& command,
                                engine::stop_token stop = {},
                                std::chrono::milliseconds time_max = std::chrono::minutes(1)) {
  return here.loop->run(run_credential_process(*here.loop, command, "the program", stop, time_max));
}

engine::error failure_of(credential_scene& here, const std::string& command) {
  auto outcome = run(here, command);
  BOOST_REQUIRE_MESSAGE(!outcome.has_value(), command << " was accepted");
  // Final, but for what may pass once the network has come up.
  BOOST_TEST((outcome.error().what_now ==
              (outcome.error().at_boot ? disposition::retry : disposition::fail)));
  BOOST_TEST((outcome.error().why == reason::access));
  BOOST_TEST(!outcome.error().remedy.empty());
  return outcome.error();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(credentials_process)

BOOST_AUTO_TEST_CASE(a_command_is_split_at_blanks_outside_quotes) {
  BOOST_TEST((split("/opt/bin/keys") == words{"/opt/bin/keys"}));
  BOOST_TEST((split("  keys\t--user  backup ") == words{"keys", "--user", "backup"}));
  BOOST_TEST((split(R"("/opt/my keys/run" --name "two words" "")") ==
              words{"/opt/my keys/run", "--name", "two words", ""}));
  BOOST_TEST(
      (split(R"(keys --name="a b"c 'd "e" \f')") == words{"keys", "--name=a bc", R"(d "e" \f)"}));
  BOOST_TEST(
      (split(R"(keys a\ b \"c\" "d\"e\\f\g")") == words{"keys", "a b", "\"c\"", R"(d"e\f\g)"}));
  BOOST_TEST((split(R"(keys $HOME ~ * "|" a|b)") == words{"keys", "$HOME", "~", "*", "|", "a|b"}));
}

BOOST_AUTO_TEST_CASE(a_command_that_needs_a_shell_or_is_none_is_refused) {
  for (const char* command :
       {"keys | jq .", "keys && true", "keys ; true", "keys > x", "keys & "}) {
    const auto made = split_command(command);
    BOOST_REQUIRE_MESSAGE(!made.has_value(), command << " was accepted");
    BOOST_TEST(contains(made.error().message, "would need a shell"));
  }
  for (const char* command : {"keys \"open", "keys 'open", "\"", "keys \"a\\\""}) {
    const auto made = split_command(command);
    BOOST_REQUIRE_MESSAGE(!made.has_value(), command << " was accepted");
    BOOST_TEST(contains(made.error().message, "never closed"));
  }
  for (const char* command : {"", "  \t ", "\"\" x"}) {
    const auto made = split_command(command);
    BOOST_REQUIRE_MESSAGE(!made.has_value(), command << " was accepted");
    BOOST_TEST(contains(made.error().message, "names no program"));
  }
}

BOOST_AUTO_TEST_CASE(the_program_of_a_profile_gives_credentials) {
  credential_scene here;
  const std::string program =
      here.write_script("give keys",
                        "[ \"$1\" = 'a b' ] && [ \"$2\" = '$HOME' ] && [ $# = 2 ] || exit 9\n"
                        "read nothing && exit 8\n"
                        "echo noise >&2\ncat <<'END'\n" +
                            std::string(good_json) + "\nEND\n");
  const std::string config = here.write(
      ".aws/config", "[default]\ncredential_process = \"" + program + "\" 'a b' $HOME\n");
  const auto found = here.find();
  BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
  BOOST_TEST(found->access_key_id == "AKID");
  BOOST_TEST(found->secret_access_key == "s");
  BOOST_TEST(found->session_token == "t");
  BOOST_TEST(found->source == "credential_process of profile \"default\" in " + config);
  BOOST_REQUIRE(found->expiration.has_value());
  BOOST_TEST((*found->expiration - here.clock.time == std::chrono::hours(1)));
  // Keys in the profile count first.
  here.write(".aws/credentials", "[default]\naws_access_key_id=K\naws_secret_access_key=s\n");
  BOOST_TEST(here.found() == "K/s/");
}

BOOST_AUTO_TEST_CASE(a_program_that_fails_is_quoted_from_its_standard_error_alone) {
  credential_scene here;
  const std::string program =
      here.write_script("keys",
                        "echo '{\"SecretAccessKey\": \"hunter2\"'\necho 'vault is sealed' >&2\n"
                        "echo second >&2\nexit 3\n");
  const engine::error failure = failure_of(here, program);
  BOOST_TEST(failure.message == "the program exited with status 3: vault is sealed second");
  // What it asks may come up later than this.
  BOOST_TEST((failure.what_now == disposition::retry));
  BOOST_TEST(failure.at_boot);
  const std::string killed = here.write_script("killed", "kill -9 $$\n");
  BOOST_TEST(contains(failure_of(here, killed).message, "the program was killed by signal 9"));
}

BOOST_AUTO_TEST_CASE(a_program_that_cannot_be_started_is_named) {
  credential_scene here;
  BOOST_TEST(contains(failure_of(here, here.path("none")).message, here.path("none")));
  BOOST_TEST(contains(failure_of(here, "no-such-program-here x").message,
                      "program `no-such-program-here` not found"));
  BOOST_TEST(contains(failure_of(here, "~/keys").remedy, "~ are not expanded"));
  BOOST_TEST(contains(failure_of(here, "keys | cat").message, "the program: \"|\" would need"));
}

BOOST_AUTO_TEST_CASE(what_it_prints_is_judged_and_never_quoted) {
  credential_scene here;
  const engine::error failure = failure_of(here, "echo hunter2");
  BOOST_TEST(contains(failure.message, "the program: the answer is no JSON object"));
  BOOST_TEST(!contains(failure.text(), "hunter2"));
  BOOST_TEST(contains(failure_of(here, "true").message, "no JSON object"));
  BOOST_TEST(contains(failure_of(here, R"(echo '{"Version":2}')").message, "\"Version\" is not 1"));
  BOOST_TEST(contains(failure_of(here, "cat /dev/zero").message, "prints more than 64 KiB"));
}

BOOST_AUTO_TEST_CASE(a_program_that_does_not_end_is_ended) {
  credential_scene here;
  // It has closed its output, so that only its end is missing.
  const std::string closed = here.write_script("closed", "exec >&-\nexec sleep 1000\n");
  for (const std::string& command : {std::string("sleep 1000"), closed}) {
    const auto outcome = run(here, command, {}, std::chrono::milliseconds(200));
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_TEST((outcome.error().what_now == disposition::retry));
    BOOST_TEST(outcome.error().at_boot);
    BOOST_TEST(contains(outcome.error().message, "the program did not end within 0 s"));
  }
}

BOOST_AUTO_TEST_CASE(a_stop_ends_the_program) {
  struct play {
    static engine::task<void> stop_later(engine::reactor& loop, engine::stop_source& source) {
      auto sleeping = loop.sleep_for(std::chrono::milliseconds(100));
      const auto slept = co_await std::move(sleeping);
      BOOST_REQUIRE(slept.has_value());
      source.request_stop();
    }
    static engine::task<void> both(engine::reactor& loop, engine::stop_source& source,
                                   disposition& ended_with) {
      engine::async_scope scope(loop);
      scope.spawn(stop_later(loop, source));
      auto running = run_credential_process(loop, "sleep 1000", "the program", source.token());
      const auto outcome = co_await std::move(running);
      BOOST_REQUIRE(!outcome.has_value());
      ended_with = outcome.error().what_now;
      auto joining = scope.join();
      co_await std::move(joining);
    }
  };
  credential_scene here;
  engine::stop_source source;
  disposition ended_with = disposition::fail;
  here.loop->run(play::both(*here.loop, source, ended_with));
  BOOST_TEST((ended_with == disposition::cancelled));
}

BOOST_AUTO_TEST_SUITE_END()
