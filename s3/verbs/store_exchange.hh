// One request to the store and its answer: signed, sent, and known to be the store's; every failure
// with what it means and what helps.
//
// Every request is signed with what the credential_provider gives at that moment. No retries, with
// two exceptions, each at most once a request:
//
//   * refused for its time, it is signed with the server's and repeated (clock_correction.hh), and
//     so are all later requests of this exchange;
//   * refused because its credentials have expired or are unknown, it is repeated when the provider
//     then gives others; when it gives the same ones again, or others that are refused too, the
//     refusal is final and says so. S3 answers a HEAD with an expired token by a bare 400, so that
//     counts when the credentials are temporary ones.
//
// What cannot be the store's answer (foreign_answer.hh) is none: reason network, to be repeated,
// and its message names what answered. An answer that is no HTTP, a redirect or a certificate that
// is not accepted is a matter of configuration before the store has answered once; afterwards
// somebody stands in between for a while, and it counts as if the network had failed, too.
//
// All references must outlive it. Requests may run concurrently.
#pragma once

#include "engine/clock.hh"
#include "engine/log_sink.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/credentials/bucket_name.hh"
#include "s3/credentials/credential_provider.hh"
#include "s3/credentials/endpoint.hh"
#include "s3/credentials/sigv4_signer.hh"
#include "s3/http/clock_correction.hh"
#include "s3/http/http_transport.hh"
#include "s3/verbs/foreign_answer.hh"
#include "s3/verbs/object_store.hh"
#include "s3/verbs/xml.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bts3::s3 {

// How request bodies enter the signature. `automatic`: unsigned over https, where TLS protects
// them; SHA-256 over plain http.
enum class payload_signing { automatic, unsigned_body, sha256 };

struct client_options {
  client_options() = default;
  bucket_name bucket;
  std::string region;
  endpoint where;
  payload_signing signing = payload_signing::automatic;
  bool request_payer = false;  // x-amz-request-payer: requester, with every request
  // No byte in either direction for this long and an exchange is cut; Complete has a time of its
  // own.
  std::chrono::milliseconds stall_timeout{60'000};
  // For the answer to a question, besides a second for each KiB of it.
  std::chrono::milliseconds question_deadline{120'000};
};

// One request, as it can be sent again with another time.
struct store_request {
  store_request(std::string verb, object_key name, answer_kind wanted)
      : method(std::move(verb)), key(std::move(name)), kind(wanted) {}
  std::string method;
  object_key key;  // empty: the bucket itself
  answer_kind kind;
  query_list query;
  header_list headers;
  request_body body;
  std::optional<engine::sha256_state> payload_sha256;
  body_form form;
  std::optional<std::span<std::byte>> into;
  std::size_t answer_bytes_max = xml_bytes_max;
  bool fresh_connection = false;
  std::optional<std::chrono::milliseconds> stall_timeout;
  bool transfer = false;  // of bytes that a slow line may take hours for
  std::optional<std::chrono::milliseconds> deadline;  // another than a question's
};

class store_exchange {
 public:
  store_exchange(http_transport& transport, credential_provider& who, const engine::clock& clock,
                 engine::log_sink& log, client_options options);

  // The answer is one of 2xx; a refusal is an error as explain() gives it.
  engine::task<engine::result<http_response>> send(store_request what, engine::stop_token stop);

  // What a refusal means. `who` signed the request; null: not to be named.
  [[nodiscard]] engine::error explain(const store_request& what, const http_response& answer,
                                      const credentials* who) const;

  // The store's clock, as its last answer told it; nullopt before the first.
  [[nodiscard]] std::optional<std::chrono::system_clock::time_point> store_time() const {
    return _time.server_time();
  }
  // Requests sent so far, repetitions included.
  [[nodiscard]] std::uint64_t requests() const { return _requests; }
  // Whether bodies are signed.
  [[nodiscard]] bool signs_payload() const;

 private:
  // "GET key" or "GET bucket name", for messages.
  [[nodiscard]] std::string subject_of(const store_request& what) const;
  http_request build(const store_request& what, const credentials& who,
                     std::chrono::seconds offset) const;
  // What a failure of the exchange itself means by now.
  engine::error in_the_middle(engine::error failure) const;
  // Nullopt when the answer can be the store's.
  std::optional<engine::error> foreign(const store_request& what,
                                       const http_response& answer) const;
  void warn_of_token(const credentials& who);
  void add_region_remedy(engine::error& failure, std::string region) const;

  http_transport& _transport;
  credential_provider& _who;
  clock_correction _time;
  engine::log_sink& _log;
  client_options _options;
  std::uint64_t _requests = 0;
  bool _understood = false;  // the store has answered once
  bool _warned_of_token = false;
};

// An answer that is not what was asked for: reason protocol, to be repeated.
[[nodiscard]] engine::error protocol_error(const std::string& culprit, std::string what);
[[nodiscard]] engine::error protocol_error(const object_key& key, std::string what);

// The ETag that an answer names, empty where it names none; nullopt for what can be none.
[[nodiscard]] std::optional<etag> tag_of(const http_response& answer);

// A number in decimal digits and nothing else.
[[nodiscard]] std::optional<std::uint64_t> decimal_in(std::string_view text);

}  // namespace bts3::s3
