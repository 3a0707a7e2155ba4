// The connection to the bucket: what it takes from the profile, and for how long it waits.
#include "app/store/services.hh"

#include "tests/app/support.hh"
#include "tests/engine/support.hh"
#include "tests/support/outcome.hh"
#include "tests/support/real_btrfs.hh"
#include "tests/support/scripted_s3_server.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::content_of;
using bts3::testing::error_text;
using bts3::testing::request_match;
using bts3::testing::s3_verb;
using bts3::testing::scratch_directory;
using bts3::testing::scripted_action;
using bts3::testing::scripted_s3_options;
using bts3::testing::scripted_s3_server;
using bts3::testing::write_file;

namespace {

// A host that talks to `server`, with keys in its environment and files of AWS's tools.
struct host {
  explicit host(scripted_s3_options options = {})
      : server(std::move(options)), loop(engine::testing::make_reactor()) {
    std::signal(SIGPIPE, SIG_IGN);
    settings.s3.bucket = "bucket";
    settings.s3.region = "us-east-1";
    settings.s3.endpoint_url = server.url();
    settings.s3.retry_for = std::chrono::seconds(20);
    variables = {{"AWS_ACCESS_KEY_ID", "K"},
                 {"AWS_SECRET_ACCESS_KEY", "s"},
                 {"AWS_CONFIG_FILE", files / "config"},
                 {"AWS_SHARED_CREDENTIALS_FILE", files / "credentials"},
                 {"AWS_EC2_METADATA_DISABLED", "true"}};
    tuning.retries.backoff_first = tuning.retries.backoff_max = std::chrono::milliseconds(1);
  }

  template <typename Ask>
  auto ask(persistence waits, Ask what) {
    services with{*loop,
                  log,
                  clock,
                  settings,
                  bts3::testing::real_btrfs(),
                  [this](std::string_view name) {
                    const auto at = variables.find(std::string(name));
                    return at == variables.end() ? std::nullopt : std::optional(at->second);
                  },
                  {}};
    with.tuning = &tuning;
    auto opened = store_connection::open(with, waits);
    BOOST_REQUIRE_MESSAGE(opened.has_value(), error_text(opened));
    auto outcome = loop->run(what((*opened)->store()));
    loop->run((*opened)->close());
    return outcome;
  }
  engine::result<s3::listing> list(persistence waits) {
    return ask(waits, [](s3::object_store& store) {
      return store.list_objects(s3::list_request("p"), {});
    });
  }
  [[nodiscard]] std::size_t retries() const {
    return static_cast<std::size_t>(
        std::count(log.events.begin(), log.events.end(), "request_retried"));
  }

  scratch_directory files;
  scripted_s3_server server;
  std::unique_ptr<engine::reactor> loop;
  engine::testing::recording_log log;
  engine::system_clock_source clock;
  config settings;
  store_tuning tuning;
  std::map<std::string, std::string> variables;
};

// The first request of a backup goes on until what `trouble` makes is over; a question of somebody
// who waits ends with its first failure.
void check_patience(host& here, std::size_t failures, const std::string& words) {
  const auto asked = here.list(persistence::of_a_question);
  BOOST_REQUIRE(!asked.has_value());
  BOOST_TEST(asked.error().at_boot);
  BOOST_TEST(asked.error().text().find(words) != std::string::npos, asked.error().text());
  BOOST_TEST(here.retries() == 0U);
  const auto by_hand = here.list(persistence::of_an_errand);
  BOOST_TEST(!by_hand.has_value());
  BOOST_TEST(here.retries() == 0U);
  const auto listed = here.list(persistence::of_each_request);
  BOOST_REQUIRE_MESSAGE(listed.has_value(), error_text(listed));
  BOOST_TEST(here.retries() == failures);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(services_suite)

BOOST_AUTO_TEST_CASE(a_portal_is_waited_for_after_boot_and_final_where_somebody_asks) {
  host here;
  here.server.script(request_match(s3_verb::list_objects, 1, 2 + 3), scripted_action::page(302));
  check_patience(here, 3, "sign in to the network");
}

BOOST_AUTO_TEST_CASE(
    a_program_for_credentials_is_run_again_after_boot_and_once_where_somebody_asks) {
  host here;
  here.variables.erase("AWS_ACCESS_KEY_ID");
  here.variables.erase("AWS_SECRET_ACCESS_KEY");
  const std::string runs = here.files / "runs";
  const std::string program = here.files / "keys";
  write_file(program, "#!/bin/sh\necho run >>" + runs + "\nif [ $(wc -l <" + runs +
                          ") -le 5 ]; then echo 'no route to the vault' >&2; exit 1; fi\n"
                          "echo '{\"Version\": 1, \"AccessKeyId\": \"K\", \"SecretAccessKey\": "
                          "\"s\"}'\n");
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  write_file(here.files / "config", "[default]\ncredential_process = " + program + "\n");
  check_patience(here, 3, "no route to the vault");
  const std::string text = content_of(runs);
  BOOST_TEST(std::count(text.begin(), text.end(), '\n') == 6);
}

BOOST_AUTO_TEST_CASE(
    a_certificate_of_later_is_waited_for_after_boot_and_final_where_somebody_asks) {
  const auto host_of = [](std::chrono::seconds valid_from) {
    scripted_s3_options of_later;
    of_later.tls = true;
    of_later.certificate_valid_from = valid_from;
    auto made = std::make_unique<host>(of_later);
    made->settings.s3.endpoint_url = made->server.https_url();
    made->settings.s3.ca_bundle = made->server.ca_path();
    made->tuning.retries.backoff_first = made->tuning.retries.backoff_max =
        std::chrono::milliseconds(200);
    return made;
  };
  const auto asked_in_vain = host_of(std::chrono::hours(1));
  for (const persistence waits : {persistence::of_a_question, persistence::of_an_errand}) {
    const auto asked = asked_in_vain->list(waits);
    BOOST_REQUIRE(!asked.has_value());
    BOOST_TEST(asked.error().text().find("clock") != std::string::npos, asked.error().text());
    BOOST_TEST(asked_in_vain->retries() == 0U);
  }
  // Until it is valid.
  const auto patient = host_of(std::chrono::seconds(5));
  const auto listed = patient->list(persistence::of_each_request);
  BOOST_REQUIRE_MESSAGE(listed.has_value(), error_text(listed));
  BOOST_TEST(patient->retries() > 0U);
}

BOOST_AUTO_TEST_CASE(an_outage_is_waited_for_where_somebody_asks_too) {
  host here;
  here.server.script(request_match(s3_verb::list_objects, 1, 2), scripted_action::page(503));
  BOOST_TEST(here.list(persistence::of_a_question).has_value());
  BOOST_TEST(here.retries() == 2U);
}

BOOST_AUTO_TEST_CASE(the_profiles_nested_settings_decide_where_the_bucket_is_and_what_is_signed) {
  const auto put = [](host& here) {
    return here.ask(persistence::of_each_request, [](s3::object_store& store) {
      static const std::string body = "body";
      s3::put_request request(s3::object_key("key"),
                              s3::request_body(std::as_bytes(std::span(body))));
      return store.put_object(std::move(request), {});
    });
  };
  scripted_s3_options with_tls;
  with_tls.tls = true;
  for (const bool nested : {false, true}) {
    host here(with_tls);
    here.settings.s3.endpoint_url = here.server.https_url();
    here.settings.s3.ca_bundle = here.server.ca_path();
    write_file(here.files / "config", nested ? "[default]\ns3 =\n  payload_signing_enabled = true\n"
                                             : "[default]\nregion = us-east-1\n");
    const auto done = put(here);
    BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
    const auto request = here.server.requests().back();
    BOOST_TEST(request.header("x-amz-content-sha256") ==
               (nested ? request.body_sha256 : "UNSIGNED-PAYLOAD"));
    // The configuration's word counts more than the profile's.
    here.settings.s3.payload_signing = s3::payload_signing::unsigned_body;
    BOOST_TEST(put(here).has_value());
    BOOST_TEST(here.server.requests().back().header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD");
  }
  for (const bool nested : {false, true}) {
    host here;
    const std::string place = "localhost:" + std::to_string(here.server.port());
    here.settings.s3.endpoint_url = "http://" + place;
    write_file(here.files / "config",
               nested ? "[default]\ns3 =\n  addressing_style = virtual\n" : "");
    (void)here.list(persistence::of_a_question);
    BOOST_REQUIRE(!here.server.requests().empty());
    BOOST_TEST(here.server.requests().back().header("host") ==
               (nested ? "bucket." + place : place));
    here.settings.s3.addressing_style = s3::addressing::path;
    BOOST_TEST(here.list(persistence::of_a_question).has_value());
    BOOST_TEST(here.server.requests().back().header("host") == place);
  }
  host here;
  write_file(here.files / "config", "[default]\ns3 =\n  addressing_style = sideways\n");
  services with{*here.loop,
                here.log,
                here.clock,
                here.settings,
                bts3::testing::real_btrfs(),
                [&here](std::string_view name) {
                  const auto at = here.variables.find(std::string(name));
                  return at == here.variables.end() ? std::nullopt : std::optional(at->second);
                },
                {}};
  const auto refused = store_connection::open(with, persistence::of_a_question);
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST(refused.error().text().find("path, virtual or auto") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
