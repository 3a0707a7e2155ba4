// object_store over HTTP: builds, signs and sends one request for each verb (listings: one for each
// page), and turns the answer into a value or a typed error.
//
// Every request is signed with what the credential_provider gives at that moment. No retries, with
// two exceptions, each at most once a request:
//
//   * refused for its time, it is signed with the server's and repeated (clock_correction.hh), and
//   so
//     are all later requests of this client;
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
// Questions have a deadline each, listings a number of pages.
//
// One client serves one bucket. All references must outlive it. Verbs may run concurrently.
#pragma once

#include "engine/clock.hh"
#include "engine/log_sink.hh"
#include "s3/credentials/bucket_name.hh"
#include "s3/credentials/credential_provider.hh"
#include "s3/credentials/endpoint.hh"
#include "s3/credentials/sigv4_signer.hh"
#include "s3/http/clock_correction.hh"
#include "s3/http/http_transport.hh"
#include "s3/verbs/object_store.hh"

#include <chrono>
#include <memory>
#include <optional>
#include <string>

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

// Of one listing. S3 gives a thousand entries a page; some stores give fewer, and a few empty ones
// where much was deleted.
inline constexpr std::size_t listing_pages_max = 10'000;
inline constexpr std::size_t empty_pages_max = 100;  // in a row

class s3_client final : public object_store {
 public:
  s3_client(http_transport& transport, credential_provider& who, const engine::clock& clock,
            engine::log_sink& log, client_options options);
  // With credentials that never change.
  s3_client(http_transport& transport, credentials who, const engine::clock& clock,
            engine::log_sink& log, client_options options);

  engine::task<engine::result<etag>> put_object(put_request request,
                                                engine::stop_token stop) override;
  engine::task<engine::result<std::size_t>> get_object(get_request request,
                                                       engine::stop_token stop) override;
  engine::task<engine::result<text_object>> get_object_text(object_key key, std::size_t bytes_max,
                                                            engine::stop_token stop) override;
  engine::task<engine::result<object_info>> head_object(object_key key,
                                                        engine::stop_token stop) override;
  engine::task<engine::result<listing>> list_objects(list_request request,
                                                     engine::stop_token stop) override;
  engine::task<engine::result<void>> delete_object(object_key key,
                                                   engine::stop_token stop) override;
  engine::task<engine::result<created_upload>> create_multipart_upload(
      object_key key, write_options options, engine::stop_token stop) override;
  engine::task<engine::result<etag>> upload_part(upload_part_request request,
                                                 engine::stop_token stop) override;
  engine::task<engine::result<etag>> complete_multipart_upload(object_key key, upload_id id,
                                                               std::vector<completed_part> parts,
                                                               engine::stop_token stop) override;
  engine::task<engine::result<void>> abort_multipart_upload(object_key key, upload_id id,
                                                            engine::stop_token stop) override;
  engine::task<engine::result<std::vector<listed_part>>> list_parts(
      object_key key, upload_id id, engine::stop_token stop) override;
  engine::task<engine::result<std::vector<listed_upload>>> list_multipart_uploads(
      std::string prefix, engine::stop_token stop) override;
  engine::task<engine::result<restore_outcome>> restore_object(object_key key,
                                                               std::optional<unsigned> days,
                                                               std::optional<retrieval_tier> tier,
                                                               engine::stop_token stop) override;
  engine::task<engine::result<object_attributes>> get_object_attributes(
      object_key key, engine::stop_token stop) override;

  // The store's clock, as its last answer told it; nullopt before the first.
  [[nodiscard]] std::optional<std::chrono::system_clock::time_point> store_time() const {
    return _time.server_time();
  }
  // Requests sent so far, repetitions included.
  [[nodiscard]] std::uint64_t requests() const { return _requests; }

  // Whether bodies are signed, so that callers can hash them while they fill.
  [[nodiscard]] bool signs_payload() const;

 private:
  struct call;
  class page_turner;
  engine::task<engine::result<http_response>> send(call what, engine::stop_token stop);
  // "GET key" or "GET bucket name", for messages.
  [[nodiscard]] std::string subject_of(const call& what) const;
  http_request build(const call& what, const credentials& who, std::chrono::seconds offset) const;
  // What a failure of the exchange itself means by now.
  engine::error in_the_middle(engine::error failure) const;
  // Nullopt when the answer can be the store's.
  std::optional<engine::error> foreign(const call& what, const http_response& answer) const;
  void warn_of_token(const credentials& who);
  // `who` signed it; null: not to be named.
  engine::error explain(const call& what, const http_response& answer,
                        const credentials* who) const;
  void add_region_remedy(engine::error& failure, std::string region) const;

  http_transport& _transport;
  std::unique_ptr<credential_provider> _own;  // null when the provider is somebody else's
  credential_provider& _who;
  clock_correction _time;
  engine::log_sink& _log;
  client_options _options;
  std::uint64_t _requests = 0;
  bool _understood = false;  // the store has answered once
  bool _warned_of_token = false;
};

}  // namespace bts3::s3
