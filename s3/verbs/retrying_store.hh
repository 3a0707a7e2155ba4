// An object_store that repeats what may succeed when repeated.
//
// Answers that blame the request or make no sense (reasons bad_request, protocol, precondition; a
// bad digest, a broken body, another range than was asked for) get five attempts, as they may be
// there to stay. Connection-level failures, 429 and 5xx are repeated for `retry_for` without any
// progress: without any request succeeding, and without an attempt at this transfer that lasted
// longer than one can whose bytes do not move (fruitless_max), as on a slow line. The time runs
// from a request's first failure on, however long it had gone well before, so that unless retry_for
// is 0 there is at least one retry. Slow failures are progress ten times in a row: a line that
// always breaks before a part is through must not keep a run busy for ever.
//
// Waits grow exponentially from 1 s to 30 s with full jitter ("Exponential Backoff And Jitter", AWS
// Architecture Blog), and are never shorter than Retry-After asks unless retry_for ends first.
// Repeated uploads and downloads use a new connection. Errors whose disposition is not retry are
// final. A stop ends a wait at once and gives `cancelled`.
//
// What repeating can do is said at each verb of object_store: after a lost answer, Complete may
// give NoSuchUpload, a conditional put 412, and Create may leave a second upload behind. Callers
// examine that. A missing capacity for Expedited retrievals is an outcome, not a failure, and is
// not repeated here.
//
// A listing is repeated from its first page.
#pragma once

#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "s3/verbs/object_store.hh"

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>

namespace bts3::s3 {

struct retry_policy {
  retry_policy() = default;
  std::chrono::milliseconds backoff_first{1'000};
  std::chrono::milliseconds backoff_max{30'000};
  std::chrono::milliseconds retry_for{3'600'000};
  // Twice what an attempt that moves no byte can last: connecting ends after 30 s, and the
  // transport cuts after 1.5 of its stall timeout of 60 s at the latest.
  std::chrono::milliseconds fruitless_max{240'000};
  int slow_failures_max = 10;  // of one request, in a row, that are progress
  // For all requests together: one that begins when `retry_for` is over gets a single attempt. For
  // commands that somebody waits for; a store that idles for long must not begin like that.
  bool patience_is_shared = false;
  // What may pass once the network has come up after boot (error::at_boot) gets no more than this,
  // from a request's first failure on: DHCP, WiFi, VPN and NTP take seconds to minutes. 0: final.
  std::chrono::milliseconds boot_patience{600'000};
  // Until any request has succeeded, instead of retry_for where it is shorter: whoever waits at a
  // terminal is told soon that the store cannot be reached at all.
  std::optional<std::chrono::milliseconds> first_answer_within;
  int blaming_attempts_max = 5;  // attempts, the first one included
  // Called with what is to be shown of a wait, and with "" when it is over; where it is set the log
  // has the first failure of each request as a warning and the rest for debugging.
  std::function<void(const std::string&)> on_wait;
  // Called for each 429 and 503; may be empty.
  std::function<void()> on_throttled;
  // Uniform in [0, 1); injected so that tests know the waits.
  std::function<double()> random;
  // What retry_for is measured with; the waits are the reactor's.
  std::function<std::chrono::steady_clock::time_point()> now = &std::chrono::steady_clock::now;
};

class retrying_store final : public object_store {
 public:
  // All references must outlive it. `policy.random` and `policy.now` must be set.
  retrying_store(engine::reactor& loop, object_store& inner, engine::log_sink& log,
                 retry_policy policy);

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

  // Requests repeated so far.
  [[nodiscard]] std::uint64_t retries() const { return _retries; }

 private:
  class attempts;
  // A transfer that lasts has moved bytes. The other verbs move few, and Complete may be silent for
  // a quarter of an hour.
  enum class kind { transfer, question };
  template <typename Request>
  std::invoke_result_t<Request&, bool> repeat(const char* verb, Request request,
                                              engine::stop_token stop, kind what);
  // What every verb does; `arguments` are the verb's, less the stop token.
  template <typename Verb, typename... Arguments>
  auto pass_on(kind what, const char* name, Verb verb, engine::stop_token stop,
               Arguments... arguments);

  engine::reactor& _loop;
  object_store& _inner;
  engine::log_sink& _log;
  retry_policy _policy;
  std::uint64_t _retries = 0;
  // When any request last succeeded: the limit is time without progress, not time.
  std::chrono::steady_clock::time_point _last_success;
  bool _any_success = false;
};

}  // namespace bts3::s3
