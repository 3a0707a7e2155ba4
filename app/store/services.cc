#include "app/store/services.hh"

#include "app/text/progress.hh"
#include "engine/setting.hh"
#include "s3/http/percent_encoding.hh"

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

// What a person waits for without an answer; and in the middle of something.
constexpr std::chrono::milliseconds first_answer_patience{30'000};
constexpr std::chrono::milliseconds question_patience{60'000};

s3::addressing addressing_of(const std::string& name) {
  if (name == "path") {
    return s3::addressing::path;
  }
  return name == "virtual" ? s3::addressing::virtual_hosted : s3::addressing::automatic;
}

// What the configuration says by name is not left out. Without `checksums` a CRC32 goes with
// nothing that does not need one.
void set_features(const config& settings, bool checksums, s3::optional_features& features) {
  if (!checksums) {
    features.switch_off(s3::feature::checksum);
    features.switch_off(s3::feature::checksum_type);
  } else if (settings.s3.checksum == checksum_choice::crc32) {
    features.ask_for(s3::feature::checksum);
  }
  if (settings.s3.sse != object_encryption::automatic) {
    features.ask_for(s3::feature::sse);
  }
  if (settings.s3.payload_signing != s3::payload_signing::automatic) {
    features.ask_for(s3::feature::unsigned_payload);
  }
}

result<s3::endpoint> endpoint_of(const services& with, const s3::bucket_name& bucket) {
  auto variant = s3::wanted_variant(with.environment);
  if (!variant) {
    return std::move(variant.error());
  }
  s3::named_value url{with.settings.s3.endpoint_url,
                      std::string(name_of(engine::setting::endpoint))};
  if (url.value.empty()) {
    url = s3::configured_url("s3", with.environment);
  }
  auto nested = s3::nested_s3(with.environment);
  if (!nested) {
    return std::move(nested.error());
  }
  const s3::addressing wanted = with.settings.s3.addressing_style;
  const s3::addressing style =
      wanted == s3::addressing::automatic ? addressing_of(nested->addressing_style) : wanted;
  return s3::make_endpoint(url.value, with.settings.s3.region, bucket, style, *variant, url.from);
}

// Whether a CRC32 goes with what does not need one.
result<bool> sends_checksums(const services& with) {
  if (with.settings.s3.checksum != checksum_choice::automatic) {
    return with.settings.s3.checksum != checksum_choice::none;
  }
  auto when_required = s3::checksums_when_required(with.environment);
  if (!when_required) {
    return std::move(when_required.error());
  }
  return !*when_required;
}

// Where somebody waits for the answer.
void set_patience(const services& with, persistence waits, s3::retry_policy& policy) {
  const bool as_service = with.line != nullptr && with.line->mirrored();
  const bool errand = waits == persistence::of_an_errand && !as_service;
  if (waits == persistence::of_a_question) {
    policy.retry_for = std::min(policy.retry_for, question_patience);
  }
  if (waits == persistence::of_a_question || errand) {
    policy.first_answer_within = first_answer_patience;
    policy.boot_patience = std::chrono::milliseconds(0);  // whoever asks has booted
    if (with.line != nullptr) {
      policy.on_wait = [line = with.line](const std::string& text) {
        text.empty() ? line->clear() : line->show("waiting for the store: " + text);
      };
    }
  }
}

}  // namespace

std::string described_route(const services& with) {
  const auto where = endpoint_of(with, s3::bucket_name(with.settings.s3.bucket));
  const auto proxies = s3::proxy_rules::read(with.settings.s3.proxy, with.environment);
  if (!where || !proxies) {
    return {};
  }
  const s3::proxy_server* through = proxies->for_url(where->url("/", ""));
  return through == nullptr ? ""
                            : ", through the proxy " + through->url + " (" + through->from + ")";
}

std::string configured_endpoint(const services& with) {
  return with.settings.s3.endpoint_url.empty() ? s3::configured_url("s3", with.environment).value
                                               : with.settings.s3.endpoint_url;
}

namespace {

// Where requests go and how they are signed; stall_timeout is as it comes.
result<s3::client_options> client_for(const services& with) {
  s3::client_options client;
  client.bucket = s3::bucket_name(with.settings.s3.bucket);
  client.region = with.settings.s3.region;
  client.signing = with.settings.s3.payload_signing;
  client.request_payer = with.settings.s3.request_payer;
  auto where = endpoint_of(with, client.bucket);
  if (!where) {
    return std::move(where.error());
  }
  client.where = std::move(*where);
  const auto nested = s3::nested_s3(with.environment);
  if (nested && nested->payload_signing_enabled &&
      client.signing == s3::payload_signing::automatic) {
    client.signing = s3::payload_signing::sha256;
  }
  return client;
}

// Whom TLS trusts, by which way and how fast.
result<s3::curl_options> curl_for(const services& with) {
  s3::curl_options curl;
  curl.connections_max = static_cast<long>(with.settings.s3.concurrency) + 4;
  curl.ca_bundle = with.settings.s3.ca_bundle;
  if (curl.ca_bundle.empty()) {
    s3::named_value named = s3::ca_bundle_file(with.environment);
    curl.ca_bundle = std::move(named.value);
    curl.ca_bundle_from = std::move(named.from);
    auto directory = s3::ca_directory(with.environment);
    if (!directory) {
      return std::move(directory.error());
    }
    curl.ca_directory = std::move(*directory);
  }
  auto proxies = s3::proxy_rules::read(with.settings.s3.proxy, with.environment);
  if (!proxies) {
    return std::move(proxies.error());
  }
  curl.proxies = std::move(*proxies);
  curl.send_bytes_per_second = with.settings.s3.max_bandwidth_bytes_per_sec.value_or(0);
  curl.receive_bytes_per_second = curl.send_bytes_per_second;
  curl.user_agent = "btrfs_to_s3/" BTS3_VERSION;
  return curl;
}

// How long a store that does not answer is waited for; who is told of throttling comes later.
s3::retry_policy policy_for(const services& with, persistence waits) {
  s3::retry_policy policy;
  if (with.tuning != nullptr) {
    policy = with.tuning->retries;
  }
  policy.retry_for = with.settings.s3.retry_for;
  policy.patience_is_shared = policy.patience_is_shared || waits == persistence::of_the_command;
  set_patience(with, waits, policy);
  policy.random = [generator = std::mt19937_64(std::random_device()())]() mutable {
    return std::uniform_real_distribution<double>(0, 1)(generator);
  };
  return policy;
}

}  // namespace

result<std::unique_ptr<store_connection>> store_connection::open(const services& with,
                                                                 persistence waits) {
  if (with.tuning != nullptr && with.tuning->store != nullptr) {
    std::unique_ptr<store_connection> given(new store_connection());
    s3::adaptive_store::client_habits none;
    none.expect_bytes_min = SIZE_MAX;
    set_features(with.settings, with.settings.s3.checksum != checksum_choice::none,
                 given->_features);
    given->_adaptive =
        std::make_unique<s3::adaptive_store>(*with.tuning->store, given->_features, with.log, none);
    given->_store = given->_adaptive.get();
    return given;
  }
  auto client = client_for(with);
  if (!client) {
    return std::move(client.error());
  }
  auto curl = curl_for(with);
  if (!curl) {
    return std::move(curl.error());
  }
  auto checksums = sends_checksums(with);
  if (!checksums) {
    return std::move(checksums.error());
  }
  auto transport = s3::curl_transport::create(with.loop, std::move(*curl));
  if (!transport) {
    return std::move(transport.error());
  }
  s3::retry_policy policy = policy_for(with, waits);
  if (with.tuning != nullptr) {
    client->stall_timeout = with.tuning->stall_timeout;
  }
  if (waits == persistence::of_the_command) {
    client->stall_timeout = std::min(client->stall_timeout, policy.retry_for);
  }
  std::unique_ptr<store_connection> made(new store_connection());
  policy.on_throttled = [connection = made.get()] {
    if (connection->_on_throttled) {
      connection->_on_throttled();
    }
  };
  made->_transport = std::move(*transport);
  s3::source_context sources{with.loop, *made->_transport, with.clock,
                             with.log,  with.environment,  with.settings.s3.region};
  made->_chain = std::make_unique<s3::credential_chain>(std::move(sources));
  made->_credentials =
      std::make_unique<s3::refreshing_credentials>(with.loop, *made->_chain, with.clock, with.log);
  made->_client = std::make_unique<s3::s3_client>(*made->_transport, *made->_credentials,
                                                  with.clock, with.log, std::move(*client));
  set_features(with.settings, *checksums, made->_features);
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

// AWS encrypts whatever it is asked; other stores may lack the key for it, and refuse.
std::string sse_of(const services& with) {
  switch (with.settings.s3.sse) {
    case object_encryption::automatic:
      return configured_endpoint(with).empty() ? "AES256" : "";
    case object_encryption::aes256:
      return "AES256";
    case object_encryption::kms:
      return "aws:kms";
    case object_encryption::none:
      break;
  }
  return {};
}

s3::write_options common_options(const services& with) {
  s3::write_options options;
  options.sse = sse_of(with);
  options.sse_kms_key_id = with.settings.s3.sse_kms_key_id;
  if (with.settings.s3.acl != object_acl::none) {
    options.acl = word_of(acl_words, with.settings.s3.acl);
  }
  for (const auto& [key, value] : with.settings.s3.tags) {
    options.tags += (options.tags.empty() ? "" : "&") + s3::uri_encode(key, false) + "=" +
                    s3::uri_encode(value, false);
  }
  return options;
}

}  // namespace

s3::write_options chunk_options(const services& with) {
  s3::write_options options = common_options(with);
  options.stored_as = with.settings.s3.storage_class_chunks;
  options.content_type = "application/octet-stream";
  return options;
}

s3::write_options document_options(const services& with) {
  s3::write_options options = common_options(with);
  options.stored_as = with.settings.s3.storage_class_manifest;
  options.content_type = "application/json";
  options.content_md5 = true;
  options.class_from = engine::setting::manifest_class;
  return options;
}

error document_failure(const std::string& document, const std::string& text) {
  error failure;
  failure.why = engine::reason::protocol;
  failure.message = document + ": " + text;
  return failure;
}

}  // namespace bts3::app
