#include "s3/verbs/retrying_store.hh"

#include "engine/assert.hh"
#include "s3/verbs/verb_call.hh"

#include <algorithm>
#include <utility>

namespace bts3::s3 {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

namespace {

// Failures that may well come back for ever, so that only their number is worth limiting.
bool blames_request(reason why) {
  return why == reason::bad_request || why == reason::protocol || why == reason::precondition;
}

}  // namespace

// The history of one request.
class retrying_store::attempts {
 public:
  attempts(retrying_store& owner, const char* verb, kind what)
      : _owner(owner), _verb(verb), _what(what) {}

  // Before each attempt.
  void begin() { _began = _owner._policy.now(); }

  void succeeded() {
    _owner._last_success = _owner._policy.now();
    _owner._any_success = true;
  }

  // True after waiting: try again. False: the error is final.
  task<bool> again(const error& failure, engine::stop_token stop) {
    if (failure.what_now != disposition::retry || stop.stop_requested()) {
      co_return false;
    }
    ++_count;
    if (failure.why == reason::throttled && _owner._policy.on_throttled) {
      _owner._policy.on_throttled();
    }
    if (blames_request(failure.why) && ++_blaming >= _owner._policy.blaming_attempts_max) {
      co_return false;
    }
    const auto now = _owner._policy.now();
    note_progress(now);
    const auto progress = _owner._policy.patience_is_shared
                              ? _owner._last_success
                              : std::max(_since, _owner._last_success);
    _first_failure = _count == 1 ? now : _first_failure;
    auto left = patience() - (now - progress);
    if (failure.at_boot) {
      left = std::min<std::chrono::nanoseconds>(
          left, _owner._policy.boot_patience - (now - _first_failure));
    }
    if (left.count() <= 0) {
      co_return false;
    }
    const auto wait = std::max<std::chrono::nanoseconds>(backoff(), failure.retry_after);
    ++_owner._retries;
    const bool shown = _owner._policy.on_wait != nullptr;
    _owner._log.write(
        shown && _count > 1 ? engine::log_level::debug : engine::log_level::warning, "s3",
        "request_retried",
        {{"verb", _verb},
         {"attempt", std::to_string(_count)},
         {"wait_ms",
          std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(wait).count())},
         {"error", failure.message}});
    if (shown) {  // after the log, which may wipe out what is shown, also of an event that it drops
      // What moves comes first, and no comma behind it, where a line that is too long would be cut.
      _owner._policy.on_wait(
          "attempt " + std::to_string(_count + 1) + " (given up in " +
          std::to_string(std::chrono::duration_cast<std::chrono::seconds>(left).count()) +
          " s): " + failure.message);
    }
    auto sleeping = _owner._loop.sleep_for(std::min<std::chrono::nanoseconds>(wait, left), stop);
    auto slept = co_await std::move(sleeping);
    if (shown) {
      _owner._policy.on_wait("");
    }
    co_return slept.has_value();
  }

  [[nodiscard]] bool repeated() const { return _count > 0; }
  // Failures so far.
  [[nodiscard]] int count() const { return _count; }

 private:
  using time_point = std::chrono::steady_clock::time_point;

  [[nodiscard]] std::chrono::nanoseconds patience() const {
    const retry_policy& policy = _owner._policy;
    return policy.first_answer_within && !_owner._any_success
               ? std::min(*policy.first_answer_within, policy.retry_for)
               : policy.retry_for;
  }

  // Of the attempt that has failed now.
  void note_progress(time_point now) {
    const bool slow = _what == kind::transfer && now - _began > _owner._policy.fruitless_max;
    if (slow) {
      const bool others_succeeded = _owner._last_success > _since;
      _slow = others_succeeded ? 1 : _slow + 1;
    }
    if (_count == 1 || (slow && _slow <= _owner._policy.slow_failures_max)) {
      _since = now;
    }
  }

  // Full jitter: anywhere between nothing and the exponential bound.
  [[nodiscard]] std::chrono::nanoseconds backoff() const {
    const int doublings = std::min(_count - 1, 20);
    const auto bound = std::min<std::chrono::nanoseconds>(
        _owner._policy.backoff_max, _owner._policy.backoff_first * (std::int64_t{1} << doublings));
    return std::chrono::nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(bound.count()) * _owner._policy.random()));
  }

  retrying_store& _owner;
  const char* _verb;
  kind _what;
  time_point _began;
  time_point _first_failure;
  time_point _since;  // this request's last sign of progress, or its first failure
  int _count = 0;
  int _blaming = 0;
  int _slow = 0;  // failures in a row that were progress
};

retrying_store::retrying_store(engine::reactor& loop, object_store& inner, engine::log_sink& log,
                               retry_policy policy)
    : _loop(loop), _inner(inner), _log(log), _policy(std::move(policy)) {
  BTS3_ASSERT(_policy.random != nullptr && _policy.now != nullptr);
  _last_success = _policy.now();
}

// `request(repeated)` makes the inner store's task; it is a plain function object, not a coroutine,
// and lives in this frame as long as the tasks that it made.
template <typename Request>
std::invoke_result_t<Request&, bool> retrying_store::repeat(const char* verb, Request request,
                                                            engine::stop_token stop, kind what) {
  attempts history(*this, verb, what);
  for (;;) {
    history.begin();
    auto running = request(history.repeated());
    auto outcome = co_await std::move(running);
    if (outcome) {
      history.succeeded();
      co_return outcome;
    }
    auto deciding = history.again(outcome.error(), stop);
    const bool again = co_await std::move(deciding);
    if (again) {
      continue;
    }
    if (stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    if (history.repeated() && outcome.error().what_now == disposition::retry) {
      co_return std::move(outcome.error())
          .within("given up after " + std::to_string(history.count()) +
                  (history.count() == 1 ? " attempt" : " attempts"));
    }
    co_return outcome;
  }
}

template <typename Verb, typename... Arguments>
auto retrying_store::pass_on(kind what, const char* name, Verb verb, engine::stop_token stop,
                             Arguments... arguments) {
  return repeat(name, call_of(_inner, verb, std::move(arguments)..., stop), stop, what);
}

task<result<std::size_t>> retrying_store::get_object(get_request request, engine::stop_token stop) {
  return pass_on(kind::transfer, "GetObject", &object_store::get_object, stop, std::move(request));
}

task<result<etag>> retrying_store::put_object(put_request request, engine::stop_token stop) {
  return pass_on(kind::transfer, "PutObject", &object_store::put_object, stop, std::move(request));
}

task<result<text_object>> retrying_store::get_object_text(object_key key, std::size_t bytes_max,
                                                          engine::stop_token stop) {
  return pass_on(kind::question, "GetObject", &object_store::get_object_text, stop, std::move(key),
                 bytes_max);
}

task<result<object_info>> retrying_store::head_object(object_key key, engine::stop_token stop) {
  return pass_on(kind::question, "HeadObject", &object_store::head_object, stop, std::move(key));
}

task<result<listing>> retrying_store::list_objects(list_request request, engine::stop_token stop) {
  return pass_on(kind::question, "ListObjectsV2", &object_store::list_objects, stop,
                 std::move(request));
}

task<result<void>> retrying_store::delete_object(object_key key, engine::stop_token stop) {
  return pass_on(kind::question, "DeleteObject", &object_store::delete_object, stop,
                 std::move(key));
}

task<result<created_upload>> retrying_store::create_multipart_upload(object_key key,
                                                                     write_options options,
                                                                     engine::stop_token stop) {
  return pass_on(kind::question, "CreateMultipartUpload", &object_store::create_multipart_upload,
                 stop, std::move(key), std::move(options));
}

task<result<etag>> retrying_store::upload_part(upload_part_request request,
                                               engine::stop_token stop) {
  return pass_on(kind::transfer, "UploadPart", &object_store::upload_part, stop,
                 std::move(request));
}

task<result<etag>> retrying_store::complete_multipart_upload(object_key key, upload_id id,
                                                             std::vector<completed_part> parts,
                                                             engine::stop_token stop) {
  return pass_on(kind::question, "CompleteMultipartUpload",
                 &object_store::complete_multipart_upload, stop, std::move(key), std::move(id),
                 std::move(parts));
}

task<result<void>> retrying_store::abort_multipart_upload(object_key key, upload_id id,
                                                          engine::stop_token stop) {
  return pass_on(kind::question, "AbortMultipartUpload", &object_store::abort_multipart_upload,
                 stop, std::move(key), std::move(id));
}

task<result<std::vector<listed_part>>> retrying_store::list_parts(object_key key, upload_id id,
                                                                  engine::stop_token stop) {
  return pass_on(kind::question, "ListParts", &object_store::list_parts, stop, std::move(key),
                 std::move(id));
}

task<result<std::vector<listed_upload>>> retrying_store::list_multipart_uploads(
    std::string prefix, engine::stop_token stop) {
  return pass_on(kind::question, "ListMultipartUploads", &object_store::list_multipart_uploads,
                 stop, std::move(prefix));
}

task<result<restore_outcome>> retrying_store::restore_object(object_key key,
                                                             std::optional<unsigned> days,
                                                             std::optional<retrieval_tier> tier,
                                                             engine::stop_token stop) {
  return pass_on(kind::question, "RestoreObject", &object_store::restore_object, stop,
                 std::move(key), days, tier);
}

task<result<object_attributes>> retrying_store::get_object_attributes(object_key key,
                                                                      engine::stop_token stop) {
  return pass_on(kind::question, "GetObjectAttributes", &object_store::get_object_attributes, stop,
                 std::move(key));
}

}  // namespace bts3::s3
