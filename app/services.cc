#include "app/services.hh"

#include "s3/sigv4_signer.hh"

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

// What the configuration says by name is not left out.
void set_features(const config& settings, s3::optional_features& features) {
  if (settings.checksum == "none") {
    features.switch_off(s3::feature::checksum);
    features.switch_off(s3::feature::checksum_type);
  } else if (settings.checksum == "crc32") {
    features.ask_for(s3::feature::checksum);
  }
  if (settings.sse != "auto") {
    features.ask_for(s3::feature::sse);
  }
  if (settings.payload_signing != "auto") {
    features.ask_for(s3::feature::unsigned_payload);
  }
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
    s3::adaptive_store::client_habits none;
    none.expect_bytes_min = SIZE_MAX;
    set_features(with.settings, given->_features);
    given->_adaptive =
        std::make_unique<s3::adaptive_store>(*with.tuning->store, given->_features, with.log, none);
    given->_store = given->_adaptive.get();
    return given;
  }
  s3::client_options client;
  client.bucket = s3::bucket_name(with.settings.bucket);
  client.region = with.settings.region;
  client.signing = signing_of(with.settings.payload_signing);
  client.request_payer = with.settings.request_payer;
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
  set_features(with.settings, made->_features);
  s3::adaptive_store::client_habits habits;
  habits.unsigned_payload = !made->_client->signs_payload();
  made->_adaptive =
      std::make_unique<s3::adaptive_store>(*made->_client, made->_features, with.log, habits);
  made->_retrying = std::make_unique<s3::retrying_store>(with.loop, *made->_adaptive, with.log,
                                                         std::move(policy));
  made->_store = made->_retrying.get();
  return made;
}

task<void> store_connection::close() {
  if (_transport) {
    auto closing = _transport->close();
    co_await std::move(closing);
  }
}

namespace {

// What the configuration says without naming a header.
std::string named(const std::string& value) {
  return value == "none" ? "" : value;
}

// AWS encrypts whatever it is asked; other stores may lack the key for it, and refuse.
std::string sse_of(const services& with) {
  if (with.settings.sse != "auto") {
    return named(with.settings.sse);
  }
  return configured_endpoint(with).empty() ? "AES256" : "";
}

s3::write_options common_options(const services& with) {
  s3::write_options options;
  options.sse = sse_of(with);
  options.sse_kms_key_id = with.settings.sse_kms_key_id;
  options.acl = named(with.settings.acl);
  for (const auto& [key, value] : with.settings.tags) {
    options.tags += (options.tags.empty() ? "" : "&") + s3::uri_encode(key, false) + "=" +
                    s3::uri_encode(value, false);
  }
  return options;
}

}  // namespace

s3::write_options chunk_options(const services& with) {
  s3::write_options options = common_options(with);
  options.stored_as = s3::storage_class(named(with.settings.storage_class_chunks));
  options.content_type = "application/octet-stream";
  return options;
}

s3::write_options document_options(const services& with) {
  s3::write_options options = common_options(with);
  options.stored_as = s3::storage_class(named(with.settings.storage_class_manifest));
  options.content_type = "application/json";
  options.content_md5 = true;
  options.class_key = "s3.storage_class_manifest";
  return options;
}

error document_failure(const std::string& document, const std::string& text) {
  error failure;
  failure.why = engine::reason::protocol;
  failure.message = document + ": " + text;
  return failure;
}

}  // namespace bts3::app
