#include "s3/verbs/foreign_answer.hh"

#include "tests/s3/http/fake_transport.hh"
#include "tests/support/shown_setting.hh"

#include <string>

using bts3::engine::setting;
using bts3::testing::shown;

using namespace bts3;
using namespace bts3::s3;
using namespace bts3::testing;

namespace {

std::string judged(const http_response& response, const char* method = "GET",
                   answer_kind kind = answer_kind::object) {
  return foreign_answer(response, method, kind).value_or("(the store's)");
}

constexpr const char* believed = "(the store's)";
constexpr const char* no_such_key = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>";

}  // namespace

BOOST_AUTO_TEST_SUITE(foreign_answer_suite)

BOOST_AUTO_TEST_CASE(a_page_in_html_is_no_object_whatever_else_it_brings) {
  BOOST_TEST(judged(bare_answer(200, {{"content-type", "text/html"}, {"etag", "\"1\""}},
                                "<html>sign in</html>")) ==
             "somebody unnamed with 200, text/html: \"<html>sign in</html>\"");
  BOOST_TEST(judged(bare_answer(200, {{"server", "nginx/1.22.1"}, {"etag", "\"1\""}},
                                "\n <!DOCTYPE HTML><title>x")) ==
             "nginx/1.22.1 with 200: \"<!DOCTYPE HTML><title>x\"");
  BOOST_TEST(judged(bare_answer(206, {{"content-type", "TEXT/HTML; charset=utf-8"}})) != believed);
  BOOST_TEST(judged(bare_answer(204, {{"content-type", "text/html"}}), "DELETE",
                    answer_kind::nothing) != believed);
}

BOOST_AUTO_TEST_CASE(an_object_without_an_etag_is_no_object) {
  BOOST_TEST(judged(bare_answer(200, {}, "{}")) != believed);
  BOOST_TEST(judged(bare_answer(200, {{"content-length", "0"}}), "HEAD") != believed);
  BOOST_TEST(judged(bare_answer(200), "PUT") != believed);
  BOOST_TEST(judged(bare_answer(200, {{"etag", "\"1\""}}, "{}")) == believed);
  BOOST_TEST(judged(bare_answer(204), "DELETE", answer_kind::nothing) == believed);
}

BOOST_AUTO_TEST_CASE(a_document_that_is_no_xml_is_none) {
  BOOST_TEST(judged(bare_answer(200, {}, "OK"), "GET", answer_kind::document) != believed);
  BOOST_TEST(judged(bare_answer(200, {}, ""), "POST", answer_kind::document) != believed);
  BOOST_TEST(judged(bare_answer(200, {}, "{\"login\": true}"), "GET", answer_kind::document) !=
             believed);
  BOOST_TEST(judged(bare_answer(200, {}, "\xef\xbb\xbf <ListBucketResult/>"), "GET",
                    answer_kind::document) == believed);
}

BOOST_AUTO_TEST_CASE(a_refusal_without_an_error_document_is_somebody_elses) {
  BOOST_TEST(
      judged(bare_answer(404, {{"server", "nginx"}, {"content-type", "text/html"}},
                         "<html><head><title>404 Not Found</title></head></html>")) ==
      "nginx with 404, text/html: \"<html><head><title>404 Not Found</title></head></html>\"");
  for (const int status : {400, 401, 403, 404, 405, 407, 409, 412, 451}) {
    BOOST_TEST(judged(bare_answer(status)) != believed);
    BOOST_TEST(judged(bare_answer(status, {}, "<Error/>"), "PUT") != believed);
  }
  BOOST_TEST(judged(bare_answer(404, {}, no_such_key)) == believed);
  BOOST_TEST(judged(bare_answer(403, {{"content-type", "text/html"}}, no_such_key)) == believed);
}

BOOST_AUTO_TEST_CASE(a_refused_head_is_believed_unless_it_speaks_of_html) {
  BOOST_TEST(judged(bare_answer(404), "HEAD") == believed);
  BOOST_TEST(judged(bare_answer(404, {{"content-type", "application/xml"}}), "HEAD") == believed);
  BOOST_TEST(judged(bare_answer(404, {{"content-type", "text/html"}}), "HEAD") != believed);
}

BOOST_AUTO_TEST_CASE(whoever_sends_a_stores_headers_is_the_store) {
  for (const char* name :
       {"x-amz-request-id", "x-amz-id-2", "x-amzn-requestid", "x-goog-generation",
        "x-guploader-uploadid", "x-trans-id", "x-openstack-request-id", "x-minio-deployment-id"}) {
    BOOST_TEST(judged(bare_answer(404, {{name, "1"}, {"content-type", "text/html"}}), "HEAD") ==
               believed);
    BOOST_TEST(judged(bare_answer(403, {{name, "1"}})) == believed);
    BOOST_TEST(judged(bare_answer(200, {{name, "1"}}, "{}")) == believed);
  }
}

BOOST_AUTO_TEST_CASE(each_kind_of_somebody_else_has_a_sentence_and_a_remedy_of_its_own) {
  struct expectation {
    http_response answer;
    const char* sentence;
    std::string remedy;
    engine::disposition what_now;
    bool at_boot;
  };
  const std::string page = "<html>no</html>";
  const auto retry = engine::disposition::retry;
  const auto fail = engine::disposition::fail;
  for (const expectation& one :
       {expectation{bare_answer(302, {{"location", "http://portal.example/login"}}),
                    "is sent on to http://portal.example/login", "sign in to the network", retry,
                    true},
        {bare_answer(307), "is sent on to nowhere", "sign in to the network", retry, true},
        {bare_answer(301, {{"location", "https://s3.example:9000/b/k"}}),
         "the endpoint wants https", "write https://", fail, false},
        {bare_answer(407, {}, page), "a proxy on the way wants a login", shown(setting::proxy),
         fail, false},
        {bare_answer(413, {{"server", "nginx"}}, page), "limits the size of requests",
         shown(setting::part_size), fail, false},
        {bare_answer(511, {}, page), "wants somebody to sign in", "sign in", retry, true},
        {bare_answer(403, {}, page), "a filter or a firewall on the way", "let this host reach",
         retry, true},
        {bare_answer(400, {}, "<html>The plain HTTP request was sent to HTTPS port"),
         "the port wants https", "write https://", fail, false},
        {bare_answer(502, {{"server", "nginx"}}, page), "cannot make sense of what the store says",
         "ask whoever runs what answers for http://s3.example:9000", retry, false},
        {bare_answer(503, {}, page), "it has no store that is ready behind it", "if it lasts",
         retry, false},
        {bare_answer(504, {}, page),
         "a proxy or load balancer answers instead of the store: it has "
         "waited for the store in vain",
         "if it lasts", retry, false},
        {bare_answer(429, {}, page), "there are too many requests",
         "lower " + shown(setting::concurrency), retry, false},
        {bare_answer(200, {}, page), "a web page came back", "a console has a port", retry, false},
        {bare_answer(404, {}, page), "is no object store", "check " + shown(setting::endpoint),
         retry, false}}) {
    const auto somebody = foreign_answer(one.answer, "PUT", answer_kind::object);
    BOOST_REQUIRE_MESSAGE(somebody.has_value(), one.sentence);
    const engine::error failure = foreign_error(one.answer, "http://s3.example:9000", *somebody);
    BOOST_TEST(failure.message.find(one.sentence) != std::string::npos, failure.message);
    BOOST_TEST(failure.message.find("http://s3.example:9000") != std::string::npos);
    BOOST_TEST(failure.remedy.find(one.remedy) != std::string::npos, failure.remedy);
    BOOST_TEST((failure.what_now == one.what_now), one.sentence);
    BOOST_TEST(failure.at_boot == one.at_boot, one.sentence);
  }
}

BOOST_AUTO_TEST_CASE(a_redirect_of_the_stores_is_believed) {
  BOOST_TEST(judged(bare_answer(301, {{"x-amz-bucket-region", "eu-west-1"}}), "HEAD") == believed);
  BOOST_TEST(judged(bare_answer(307, {}, "<Error><Code>TemporaryRedirect</Code></Error>")) ==
             believed);
  BOOST_TEST(judged(bare_answer(302, {{"location", "http://portal"}}), "HEAD") != believed);
}

BOOST_AUTO_TEST_CASE(what_is_repeated_anyway_is_left_alone) {
  for (const int status : {408, 500, 501, 507}) {
    BOOST_TEST(judged(bare_answer(status, {{"content-type", "text/html"}}, "<html>wait")) ==
               believed);
  }
  for (const int status : {429, 502, 503, 504}) {
    BOOST_TEST(judged(bare_answer(status)) == believed);
    BOOST_TEST(judged(bare_answer(status), "HEAD") == believed);
    BOOST_TEST(judged(bare_answer(status, {}, "<Error><Code>SlowDown</Code></Error>")) == believed);
    BOOST_TEST(judged(bare_answer(status, {{"x-amz-id-2", "1"}, {"content-type", "text/html"}})) ==
               believed);
  }
}

BOOST_AUTO_TEST_CASE(a_load_balancers_page_keeps_its_status_and_says_how_long_to_wait) {
  for (const int status : {429, 502, 503, 504}) {
    const http_response answer =
        bare_answer(status, {{"content-type", "text/html"}, {"retry-after", "7"}}, "<html>wait");
    const auto somebody = foreign_answer(answer, "POST", answer_kind::document);
    BOOST_REQUIRE(somebody.has_value());
    const engine::error failure = foreign_error(answer, "https://s3.example", *somebody);
    BOOST_TEST(failure.status == status);
    BOOST_TEST((failure.retry_after == std::chrono::seconds(7)));
    BOOST_TEST(
        (failure.why == (status == 429 ? engine::reason::throttled : engine::reason::network)));
  }
  const http_response dated =
      bare_answer(503, {{"retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"}}, "<html>wait");
  BOOST_TEST((foreign_error(dated, "https://s3.example", "x").retry_after.count() == 0));
}

BOOST_AUTO_TEST_CASE(a_status_that_is_none_is_nobodys_word) {
  BOOST_TEST(judged(bare_answer(0, {{"x-amz-request-id", "1"}})) != believed);
  BOOST_TEST(judged(bare_answer(999, {{"etag", "\"1\""}})) != believed);
}

BOOST_AUTO_TEST_CASE(what_somebody_else_says_is_quoted_shortly_and_in_plain_letters) {
  const std::string text =
      judged(bare_answer(200, {{"server", "evil\x1b[2J"}}, "<html>" + std::string(5000, 'x')));
  BOOST_TEST(text.find('\x1b') == std::string::npos);
  BOOST_TEST(text.size() < 200U);
}

BOOST_AUTO_TEST_SUITE_END()
