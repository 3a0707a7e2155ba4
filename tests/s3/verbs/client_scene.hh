// A client over a transport whose answers are written down beforehand.
#pragma once

#include "s3/verbs/s3_client.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/outcome.hh"

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace bts3::testing {

// A client of AWS's worked examples: bucket examplebucket, their credentials and their time.
class client_scene {
 public:
  explicit client_scene(const std::string& url = "https://store.example",
                        s3::payload_signing signing = s3::payload_signing::automatic)
      : loop(engine::testing::make_reactor()), transport(*loop), clock(reference_time) {
    s3::client_options options;
    options.bucket = s3::bucket_name("bucket");
    options.region = "us-east-1";
    options.signing = signing;
    auto where = s3::make_endpoint(url, options.region, options.bucket, s3::addressing::automatic);
    BOOST_REQUIRE_MESSAGE(where.has_value(), error_text(where));
    options.where = *where;
    s3::credentials who;
    who.access_key_id = "AKIAIOSFODNN7EXAMPLE";
    who.secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    who.source = "the test";
    client.emplace(transport, who, clock, log, options);
  }

  template <typename T>
  T run(engine::task<T> work) {
    return loop->run(std::move(work));
  }

  // HEAD answered like that: the error.
  engine::error head_error(s3::http_response response) {
    transport.then(std::move(response));
    auto outcome = run(client->head_object(s3::object_key("k"), {}));
    BOOST_REQUIRE(!outcome.has_value());
    return outcome.error();
  }
  // A small GET answered like that: the error.
  engine::error get_error(s3::http_response response) {
    transport.then(std::move(response));
    auto outcome = run(client->get_object_text(s3::object_key("k"), 100, {}));
    BOOST_REQUIRE(!outcome.has_value());
    return outcome.error();
  }

  std::unique_ptr<engine::reactor> loop;
  fake_transport transport;
  fixed_clock clock;
  line_log log;
  std::optional<s3::s3_client> client;
};

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Names, in order, without what signing adds.
inline std::string header_names(const sent_request& sent) {
  std::string names;
  for (const auto& [name, value] : sent.request.headers) {
    if (name != "Authorization" && name != "x-amz-date") {
      names += (names.empty() ? "" : " ") + name;
    }
  }
  return names;
}

}  // namespace bts3::testing
