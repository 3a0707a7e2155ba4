// What every command stands on: the reactor, the log, the clock, the configuration, Btrfs and the
// store.
#pragma once

#include "app/config/config.hh"
#include "engine/clock.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "planner/manifest.hh"
#include "s3/credentials/aws_settings.hh"
#include "s3/credentials/credential_chain.hh"
#include "s3/credentials/credential_provider.hh"
#include "s3/http/curl_transport.hh"
#include "s3/verbs/adaptive_store.hh"
#include "s3/verbs/multipart_upload.hh"
#include "s3/verbs/retrying_store.hh"
#include "s3/verbs/s3_client.hh"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace bts3::btrfs {
class host;
}

namespace bts3::app {

class live_line;
class signal_watch;
class standstill_watch;

// What a test of a whole job changes about the store and its limits; the program itself never does.
struct store_tuning {
  store_tuning() = default;
  s3::object_store* store = nullptr;  // used instead of HTTP, without retries
  s3::retry_policy retries;           // for its backoff alone
  std::chrono::milliseconds stall_timeout{60'000};
  std::uint64_t manifest_bytes_max = planner::manifest_bytes_max;
};

// References that outlive every job.
struct services {
  engine::reactor& loop;
  engine::log_sink& log;
  const engine::clock& clock;
  const config& settings;
  btrfs::host& host;
  engine::environment_lookup environment;
  engine::stop_token stop;    // SIGINT and SIGTERM
  live_line* line = nullptr;  // for progress; null where nobody would see it
  const signal_watch* signals = nullptr;
  std::string config_path = {};                  // empty: there was none
  const store_tuning* tuning = nullptr;          // null: as the configuration says
  const standstill_watch* standstill = nullptr;  // null: nobody looks
};

// How long a store that does not answer is waited for.
enum class persistence {
  of_each_request,  // s3.retry_for without success, each request
  of_the_command,   // s3.retry_for, all requests together
  // Somebody waits at a terminal: half a minute until the store has answered once, a minute after
  // that, and s3.retry_for where that is shorter; none for what only the time after boot excuses
  // (error::at_boot). Waits show as the live line, where there is one.
  of_a_question,
  // The same until it has answered once, then s3.retry_for. Under a service manager nobody waits,
  // and the network may be as late as for a backup: s3.retry_for from the beginning.
  of_an_errand,
};

// The store of the configured bucket: transport, client and retries. close() before destroying.
class store_connection {
 public:
  // Finds the endpoint; sends nothing. Credentials are looked for when the first request is made.
  static engine::result<std::unique_ptr<store_connection>> open(
      const services& with, persistence waits = persistence::of_each_request);

  [[nodiscard]] s3::object_store& store() { return *_store; }
  // What the store was found to refuse.
  [[nodiscard]] s3::optional_features& features() { return _features; }
  [[nodiscard]] bool signs_payload() const {
    return _client && (_client->signs_payload() || !_features.sends(s3::feature::unsigned_payload));
  }
  // Of bodies, repeated ones included.
  [[nodiscard]] std::uint64_t bytes_sent() const {
    return _transport ? _transport->counters().body_bytes_sent : 0;
  }
  // The same of what came; grows while an answer is on its way.
  [[nodiscard]] std::uint64_t bytes_received() const {
    return _transport ? _transport->counters().body_bytes_received : 0;
  }
  [[nodiscard]] std::uint64_t retries() const { return _retrying ? _retrying->retries() : 0; }
  [[nodiscard]] std::uint64_t requests() const { return _client ? _client->requests() : 0; }
  // The store's clock, as its last answer told it.
  [[nodiscard]] std::optional<std::chrono::system_clock::time_point> store_time() const {
    return _client ? _client->store_time() : std::nullopt;
  }
  // Who signs; null where a test has a store.
  [[nodiscard]] s3::credential_provider* credentials() { return _credentials.get(); }
  // Is called for each answer that asks to slow down; empty: nobody is.
  void on_throttled(std::function<void()> call) { _on_throttled = std::move(call); }
  engine::task<void> close();

 private:
  store_connection() = default;
  std::function<void()> _on_throttled;
  std::unique_ptr<s3::curl_transport> _transport;  // null, with all below, where a test has a store
  std::unique_ptr<s3::credential_chain> _chain;
  std::unique_ptr<s3::credential_provider> _credentials;
  std::unique_ptr<s3::s3_client> _client;
  std::unique_ptr<s3::adaptive_store> _adaptive;
  std::unique_ptr<s3::retrying_store> _retrying;
  s3::object_store* _store = nullptr;
  s3::optional_features _features;
};

// The endpoint's URL, from the configuration or else the environment; empty: AWS's own.
std::string configured_endpoint(const services& with);
// ", through the proxy http://host:port (https_proxy)"; empty where there is none in between.
std::string described_route(const services& with);

// How chunks are stored, as configured; and manifests and pointers.
s3::write_options chunk_options(const services& with);
s3::write_options document_options(const services& with);

// A planner's document error as the program's.
engine::error document_failure(const std::string& document, const std::string& text);

}  // namespace bts3::app
