// s3_client and retrying_store over a real socket to the scripted server.
#pragma once

#include "engine/clock.hh"
#include "s3/verbs/adaptive_store.hh"
#include "s3/verbs/retrying_store.hh"
#include "s3/verbs/s3_client.hh"
#include "tests/s3/http/wire_support.hh"

#include <libdeflate.h>

#include <chrono>
#include <string>
#include <utility>

namespace bts3::testing {

inline s3::credentials test_credentials() {
  s3::credentials who;
  who.access_key_id = "AKIAIOSFODNN7EXAMPLE";
  who.secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
  who.source = "the test";
  return who;
}

inline s3::client_options client_for(const std::string& url) {
  s3::client_options options;
  options.bucket = s3::bucket_name("bucket");
  options.region = "us-east-1";
  auto where = s3::make_endpoint(url, options.region, options.bucket, s3::addressing::path);
  BOOST_REQUIRE_MESSAGE(where.has_value(), error_text(where));
  options.where = std::move(*where);
  return options;
}

// Repeats at once, and for ten seconds at most.
inline s3::retry_policy hasty_policy() {
  s3::retry_policy policy;
  policy.backoff_first = std::chrono::milliseconds(1);
  policy.backoff_max = std::chrono::milliseconds(1);
  policy.retry_for = std::chrono::milliseconds(10'000);
  policy.random = [] { return 0.5; };
  return policy;
}

// Parts of any size.
inline scripted_s3_options small_parts() {
  scripted_s3_options options;
  options.enforce_part_minimum = false;
  return options;
}

inline s3::retry_policy no_retries() {
  s3::retry_policy policy = hasty_policy();
  policy.retry_for = std::chrono::milliseconds(0);
  return policy;
}

inline s3::body_digests digests_of(const std::string& body) {
  s3::body_digests made;
  made.crc32 = libdeflate_crc32(0, body.data(), body.size());
  return made;
}

class store_wire : public wire {
 public:
  explicit store_wire(scripted_s3_options server_options = {},
                      s3::retry_policy policy = hasty_policy())
      : wire(std::move(server_options)),
        client(*transport, test_credentials(), clock, log, client_for(server.url())),
        adaptive(client, features, log, s3::adaptive_store::client_habits()),
        store(*loop, adaptive, log, std::move(policy)) {}

  template <typename T>
  T run(engine::task<T> work) {
    return loop->run(std::move(work));
  }

  engine::system_clock_source clock;
  engine::testing::recording_log log;
  s3::s3_client client;
  s3::optional_features features;
  s3::adaptive_store adaptive;
  s3::retrying_store store;
};

}  // namespace bts3::testing
