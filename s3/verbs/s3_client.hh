// object_store over HTTP: builds, signs and sends one request for each verb (listings: one for each
// page), and turns the answer into a value or a typed error.
//
// How a request is signed, what is repeated and when an answer is believed: store_exchange.hh.
//
// Questions have a deadline each, listings a number of pages.
//
// One client serves one bucket. All references must outlive it. Verbs may run concurrently.
#pragma once

#include "engine/clock.hh"
#include "engine/log_sink.hh"
#include "s3/credentials/credential_provider.hh"
#include "s3/http/http_transport.hh"
#include "s3/verbs/object_store.hh"
#include "s3/verbs/store_exchange.hh"

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace bts3::s3 {

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
    return _exchange.store_time();
  }
  // Requests sent so far, repetitions included.
  [[nodiscard]] std::uint64_t requests() const { return _exchange.requests(); }

  // Whether bodies are signed, so that callers can hash them while they fill.
  [[nodiscard]] bool signs_payload() const { return _exchange.signs_payload(); }

 private:
  std::unique_ptr<credential_provider> _own;  // null when the provider is somebody else's
  store_exchange _exchange;
};

}  // namespace bts3::s3
