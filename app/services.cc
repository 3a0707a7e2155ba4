#include "app/services.hh"

#include <algorithm>
#include <random>
#include <utility>

#ifndef BTS3_VERSION
#define BTS3_VERSION "unknown"
#endif

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

s3::addressing addressing_of(const std::string& name) {
  if (name == "path") {
    return s3::addressing::path;
  }
  return name == "virtual" ? s3::addressing::virtual_hosted : s3::addressing::automatic;
}

s3::payload_signing signing_of(const std::string& name) {
  if (name == "unsigned") {
    return s3::payload_signing::unsigned_body;
  }
  return name == "sha256" ? s3::payload_signing::sha256 : s3::payload_signing::automatic;
}

// The configuration's value, else the first of these variables that is set.
std::string or_environment(std::string value, const environment_lookup& environment,
                           std::initializer_list<const char*> variables) {
  for (const char* variable : variables) {
    if (!value.empty()) {
      break;
    }
    value = environment(variable).value_or("");
  }
  return value;
}

}  // namespace

std::string configured_endpoint(const services& with) {
  return or_environment(with.settings.endpoint_url, with.environment,
                        {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"});
}

result<std::unique_ptr<store_connection>> store_connection::open(const services& with,
                                                                 persistence waits) {
  if (with.tuning != nullptr && with.tuning->store != nullptr) {
    std::unique_ptr<store_connection> given(new store_connection());
    given->_store = with.tuning->store;
    given->_checksums.crc32 = with.settings.checksum != "none";
    return given;
  }
  s3::client_options client;
  client.bucket = s3::bucket_name(with.settings.bucket);
  client.region = with.settings.region;
  client.signing = signing_of(with.settings.payload_signing);
  auto where = s3::make_endpoint(configured_endpoint(with), client.region, client.bucket,
                                 addressing_of(with.settings.addressing_style));
  if (!where) {
    return std::move(where.error());
  }
  client.where = std::move(*where);

  s3::curl_options curl;
  curl.connections_max = static_cast<long>(with.settings.concurrency) + 4;
  curl.ca_bundle = or_environment(with.settings.ca_bundle, with.environment, {"AWS_CA_BUNDLE"});
  curl.send_bytes_per_second = with.settings.max_bandwidth_bytes_per_sec;
  curl.receive_bytes_per_second = with.settings.max_bandwidth_bytes_per_sec;
  curl.user_agent = "btrfs_to_s3/" BTS3_VERSION;
  auto transport = s3::curl_transport::create(with.loop, std::move(curl));
  if (!transport) {
    return std::move(transport.error());
  }
  s3::retry_policy policy;
  if (with.tuning != nullptr) {
    policy = with.tuning->retries;
    client.stall_timeout = with.tuning->stall_timeout;
  }
  policy.retry_for = with.settings.retry_for;
  if (waits == persistence::of_the_command) {
    policy.patience_is_shared = true;
    client.stall_timeout = std::min(client.stall_timeout, policy.retry_for);
  }
  policy.random = [generator = std::mt19937_64(std::random_device()())]() mutable {
    return std::uniform_real_distribution<double>(0, 1)(generator);
  };

  std::unique_ptr<store_connection> made(new store_connection());
  policy.on_throttled = [connection = made.get()] {
    if (connection->_on_throttled) {
      connection->_on_throttled();
    }
  };
  made->_transport = std::move(*transport);
  s3::source_context sources{with.loop, *made->_transport, with.clock,
                             with.log,  with.environment,  with.settings.region};
  made->_chain = std::make_unique<s3::credential_chain>(std::move(sources));
  made->_credentials =
      std::make_unique<s3::refreshing_credentials>(with.loop, *made->_chain, with.clock, with.log);
  made->_client = std::make_unique<s3::s3_client>(*made->_transport, *made->_credentials,
                                                  with.clock, with.log, std::move(client));
  made->_retrying =
      std::make_unique<s3::retrying_store>(with.loop, *made->_client, with.log, std::move(policy));
  made->_store = made->_retrying.get();
  made->_checksums.crc32 = with.settings.checksum != "none";
  return made;
}

task<void> store_connection::close() {
  if (_transport) {
    auto closing = _transport->close();
    co_await std::move(closing);
  }
}

s3::write_options write_options_for(const config& settings, const std::string& storage_class,
                                    const std::string& content_type) {
  s3::write_options options;
  options.stored_as = s3::storage_class(storage_class);
  options.sse = settings.sse == "none" ? "" : settings.sse;
  options.sse_kms_key_id = settings.sse_kms_key_id;
  options.content_type = content_type;
  return options;
}

error document_failure(const std::string& document, const std::string& text) {
  error failure;
  failure.why = engine::reason::protocol;
  failure.message = document + ": " + text;
  return failure;
}

}  // namespace bts3::app
