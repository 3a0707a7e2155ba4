// What RestoreObject is answered with.
#include "tests/s3/verbs/client_scene.hh"

#include <string>

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;

BOOST_AUTO_TEST_SUITE(s3_client_suite)

BOOST_AUTO_TEST_CASE(what_a_restore_is_answered_with_is_an_outcome) {
  struct expectation {
    http_response response;
    restore_outcome outcome;
  };
  const expectation table[] = {
      {answer(202), restore_outcome::accepted},
      {answer(200), restore_outcome::thawed_already},
      {refusal(409, "RestoreAlreadyInProgress"), restore_outcome::in_progress},
      {refusal(503, "GlacierExpeditedRetrievalNotAvailable"),
       restore_outcome::no_expedited_capacity},
      {refusal(403, "InvalidObjectState"), restore_outcome::not_archived},
  };
  for (const expectation& expected : table) {
    client_scene here;
    here.transport.then(expected.response);
    const auto outcome =
        here.run(here.client->restore_object(object_key("a/k"), 7, retrieval_tier::standard, {}));
    BOOST_REQUIRE_MESSAGE(outcome.has_value(), error_text(outcome));
    BOOST_TEST((*outcome == expected.outcome));
    const sent_request& sent = here.transport.sent.at(0);
    BOOST_TEST(sent.request.method == "POST");
    BOOST_TEST(sent.request.url == "https://store.example/bucket/a/k?restore=");
    BOOST_TEST(sent.header("content-type") == "application/xml");
    BOOST_TEST(sent.body == write_restore_request(7, retrieval_tier::standard));
  }
}

BOOST_AUTO_TEST_CASE(what_a_restore_fails_with_is_an_error) {
  struct expectation {
    http_response response;
    disposition what_now;
    reason why;
    const char* remedy;
  };
  const expectation table[] = {
      {refusal(405, "MethodNotAllowed"), disposition::fail, reason::unsupported,
       "this store has no RestoreObject"},
      {refusal(501, "NotImplemented"), disposition::fail, reason::unsupported,
       "this store has no RestoreObject"},
      {answer(501), disposition::fail, reason::unsupported, "this store has no RestoreObject"},
      {refusal(403, "AccessDenied"), disposition::fail, reason::access, "s3:RestoreObject"},
      {refusal(404, "NoSuchKey"), disposition::not_found, reason::unspecified, ""},
      {refusal(503, "SlowDown"), disposition::retry, reason::throttled, ""},
      {refusal(409, "OperationAborted"), disposition::retry, reason::precondition, ""},
      {answer(204), disposition::retry, reason::protocol, ""},
  };
  for (const expectation& expected : table) {
    client_scene here;
    here.transport.then(expected.response);
    const auto outcome = here.run(
        here.client->restore_object(object_key("k"), std::nullopt, retrieval_tier::bulk, {}));
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_TEST((outcome.error().what_now == expected.what_now));
    BOOST_TEST((outcome.error().why == expected.why));
    BOOST_TEST(contains(outcome.error().remedy, expected.remedy));
    BOOST_TEST(contains(outcome.error().message, "k"));
  }
}

BOOST_AUTO_TEST_SUITE_END()
