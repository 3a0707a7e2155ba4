#include "s3/verbs/store_exchange.hh"

#include "engine/assert.hh"
#include "engine/wording.hh"
#include "s3/http/one_line.hh"
#include "s3/http/percent_encoding.hh"
#include "s3/verbs/error_codes.hh"

#include <algorithm>
#include <charconv>
#include <iterator>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// Bodies above this ask first (Expect: 100-continue), so that a refusal costs no upload.
constexpr std::size_t expect_bytes_min = 1024 * 1024;
// A day is longer than anybody retries for.
constexpr std::chrono::seconds retry_after_max{86'400};
// An error code or a region.
constexpr std::size_t code_bytes_max = 128;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool has_header(const header_list& headers, std::string_view prefix) {
  return std::any_of(headers.begin(), headers.end(),
                     [&](const auto& header) { return header.first.starts_with(prefix); });
}

// Whether other credentials might be accepted instead of `who`.
bool blames_credentials(const error& failure, const std::string& method, const credentials& who) {
  const bool bare = method == "HEAD" && failure.status == 400 && failure.code.empty() &&
                    failure.why == reason::unspecified && !who.session_token.empty();
  return bare || failure.why == reason::expired_token || failure.code == "InvalidAccessKeyId" ||
         failure.code == "InvalidToken";
}

// Retry-After, as seconds or as a date (RFC 9110, section 10.2.3), which is read against the
// server's own Date.
std::chrono::seconds retry_after(const http_response& answer) {
  const auto text = answer.header("retry-after");
  if (!text) {
    return std::chrono::seconds(0);
  }
  if (const auto seconds = decimal_in(*text)) {
    return std::chrono::seconds(std::min<std::uint64_t>(*seconds, retry_after_max.count()));
  }
  const auto until = http_date(*text);
  const auto date = http_date(answer.header("date").value_or(""));
  if (!until || !date || *until <= *date) {
    return std::chrono::seconds(0);
  }
  return std::min<std::chrono::seconds>(
      std::chrono::duration_cast<std::chrono::seconds>(*until - *date), retry_after_max);
}

}  // namespace

error protocol_error(const std::string& culprit, std::string what) {
  error failure;
  failure.what_now = disposition::retry;
  failure.why = reason::protocol;
  failure.message = culprit + ": " + std::move(what);
  return failure;
}

error protocol_error(const object_key& key, std::string what) {
  return protocol_error(key.str(), std::move(what));
}

std::optional<etag> tag_of(const http_response& answer) {
  const etag tag(answer.header("etag").value_or(""));
  return tag.can_be_sent() ? std::optional(tag) : std::nullopt;
}

std::optional<std::uint64_t> decimal_in(std::string_view text) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || text.empty()) {
    return std::nullopt;
  }
  return value;
}

store_exchange::store_exchange(http_transport& transport, credential_provider& who,
                               const engine::clock& clock, engine::log_sink& log,
                               client_options options)
    : _transport(transport),
      _who(who),
      _time(clock, log),
      _log(log),
      _options(std::move(options)) {}

bool store_exchange::signs_payload() const {
  switch (_options.signing) {
    case payload_signing::unsigned_body:
      return false;
    case payload_signing::sha256:
      return true;
    case payload_signing::automatic:
      break;
  }
  return !_options.where.secure();
}

std::string store_exchange::subject_of(const store_request& what) const {
  return what.method + " " +
         (what.key.empty() ? "bucket " + _options.bucket.str() : what.key.str());
}

http_request store_exchange::build(const store_request& what, const credentials& who,
                                   std::chrono::seconds offset) const {
  signing_input input;
  input.method = what.method;
  input.path = _options.where.base_path;
  if (!what.key.empty()) {
    input.path += "/" + uri_encode(what.key.str(), true);
  } else if (input.path.empty()) {
    input.path = "/";
  }
  input.query = what.query;
  input.headers = what.headers;
  input.headers.emplace_back("Host", _options.where.host);
  // What a source holds is hashed by whoever filled it, or by nobody.
  const bool can_sign = what.payload_sha256 || what.body.source() == nullptr;
  const bool signs = signs_payload() || (what.form.sign_payload && can_sign);
  if (_options.request_payer) {
    input.headers.emplace_back("x-amz-request-payer", "requester");
  }
  if (what.body.empty()) {
    input.payload = empty_payload;
  } else if (!signs) {
    input.payload = unsigned_payload;
  } else if (what.payload_sha256) {
    input.payload = what.payload_sha256->hex();
  } else {
    BTS3_ASSERT(what.body.source() == nullptr);
    input.payload = sha256_hex(as_text(what.body.bytes()));
  }
  signing_scope scope;
  scope.region = _options.region;
  header_list signature = sign(input, who, scope, _time.now_with(offset));

  http_request request(what.method, _options.where.url(input.path, canonical_query(what.query)));
  request.headers = input.headers;
  std::move(signature.begin(), signature.end(), std::back_inserter(request.headers));
  // By itself curl asks for large bodies.
  using asking = body_form::asking;
  const bool by_size =
      what.form.asks_first == asking::by_size && what.body.size() >= expect_bytes_min;
  if (what.form.asks_first == asking::always) {
    request.headers.emplace_back("Expect", "100-continue");
  } else if (!by_size) {
    request.headers.emplace_back("Expect", "");
  }
  request.body = what.body;
  request.body_target = what.into;
  request.collected_body_bytes_max = what.answer_bytes_max;
  request.fresh_connection = what.fresh_connection;
  request.stall_timeout = what.stall_timeout.value_or(_options.stall_timeout);
  if (!what.transfer) {
    request.deadline = what.deadline.value_or(_options.question_deadline);
  }
  return request;
}

error store_exchange::in_the_middle(error failure) const {
  const bool of_the_endpoint =
      failure.what_now == disposition::fail &&
      (failure.why == reason::configuration || failure.why == reason::network);
  if (_understood && of_the_endpoint) {
    failure.what_now = disposition::retry;
    failure.why = reason::network;
  }
  failure.at_boot = failure.at_boot && !_understood;
  return failure;
}

std::optional<error> store_exchange::foreign(const store_request& what,
                                             const http_response& answer) const {
  const auto somebody = foreign_answer(answer, what.method, what.kind);
  if (!somebody) {
    return std::nullopt;
  }
  error failure =
      foreign_error(answer, _options.where.scheme + "://" + _options.where.host, *somebody);
  // Whoever has reached the store before has waited for the network already.
  failure.at_boot = failure.at_boot && !_understood;
  if (answer.status == 413) {
    // It is meant for us all the same, and stays.
    failure.what_now = disposition::fail;
    failure.why = reason::configuration;
    failure.code = "EntityTooLarge";
    failure.status = answer.status;
    failure.remedy = too_large_remedy();
  }
  return std::move(failure).within(subject_of(what));
}

// A signature proves who asks without telling the secret; a session token is sent as it is, but is
// worth nothing without the secret.
void store_exchange::warn_of_token(const credentials& who) {
  const bool readable = !_options.where.secure() && !_options.where.loopback();
  if (!readable || who.session_token.empty() || std::exchange(_warned_of_token, true)) {
    return;
  }
  _log.write(engine::log_level::warning, "s3", "session_token_over_plain_http",
             {{"host", _options.where.host},
              {"credentials", who.source},
              {"remedy", "use https in " + std::string(name_of(engine::setting::endpoint)) +
                             ": everybody on the way can read the session token, names and data"}});
}

task<result<http_response>> store_exchange::send(store_request what, engine::stop_token stop) {
  if (what.key.str().size() > object_key_bytes_max) {
    error failure;
    failure.why = reason::protocol;
    failure.message = "a key of " + std::to_string(what.key.str().size()) +
                      " bytes: " + one_line(what.key.str(), code_bytes_max) +
                      ": S3 has none above 1024";
    co_return failure;
  }
  bool corrected = false;
  std::optional<credentials> refused;  // the first attempt's, when they were what it failed for
  for (;;) {
    auto asking = _who.get(stop);
    auto who = co_await std::move(asking);
    if (!who) {
      co_return std::move(who.error());
    }
    warn_of_token(*who);
    const std::chrono::seconds offset = _time.offset();
    http_request request = build(what, *who, offset);
    ++_requests;
    auto performing = _transport.perform(std::move(request), stop);
    auto answer = co_await std::move(performing);
    if (!answer) {
      co_return in_the_middle(std::move(answer.error())).within(subject_of(what));
    }
    if (auto somebody = foreign(what, *answer)) {
      co_return std::move(*somebody);
    }
    _time.note(*answer);
    if (answer->status >= 200 && answer->status < 300) {
      _understood = true;
      co_return std::move(*answer);
    }
    error failure = explain(what, *answer, &*who);
    if (answer->status / 100 == 3) {
      failure = in_the_middle(std::move(failure));
    }
    if (!corrected && _time.learn(*answer, offset, failure.why == reason::clock_skew)) {
      corrected = true;
      continue;
    }
    if (!blames_credentials(failure, what.method, *who)) {
      co_return failure;
    }
    if (refused) {
      failure.message += failure.why == reason::expired_token ? ", like those before them" : "";
      co_return failure;
    }
    _who.invalidate(*who);
    auto asking_again = _who.get(stop);
    auto others = co_await std::move(asking_again);
    if (!others) {
      if (others.error().what_now == disposition::cancelled) {
        co_return std::move(others.error());
      }
      // Which of the two errors helps more depends: the refusal says why new ones are needed.
      co_return std::move(others.error()).within(failure.message + "; asking for new ones");
    }
    if (others->same_keys(*who)) {
      failure.message += failure.why == reason::expired_token ? ", which gives the same again" : "";
      co_return failure;
    }
    refused = std::move(*who);
  }
}

error store_exchange::explain(const store_request& what, const http_response& answer,
                              const credentials* who) const {
  error failure;
  failure.status = answer.status;
  const auto document = parse_error(answer.body);
  if (document) {
    failure.code = one_line(document->code, code_bytes_max);
  } else if (answer.status == 404 && what.method == "HEAD") {
    failure.code = "NoSuchKey";  // a HEAD's answer has no body to say so
  }
  judge(failure, right_for(what.method, what.key.empty(), what.query));
  failure.message =
      subject_of(what) + ": " + _options.where.host + " answered " + std::to_string(answer.status);
  if (!failure.code.empty()) {
    failure.message += " " + failure.code;
  }
  if (document && !document->message.empty()) {
    failure.message += " (" + one_line(document->message) + ")";
  }
  if (who != nullptr && (failure.why == reason::access || failure.why == reason::expired_token)) {
    failure.message += "; access key " + who->access_key_id + " from " + who->source;
  }
  std::string region = document ? document->region : "";
  if (const auto header = answer.header("x-amz-bucket-region"); region.empty() && header) {
    region = *header;
  }
  add_region_remedy(failure, one_line(region, code_bytes_max));
  if (answer.status == 400 && document && has_header(what.headers, "x-amz-checksum-")) {
    judge_checksum(failure, document->message, !what.body.empty());
  }
  failure.retry_after = retry_after(answer);
  return failure;
}

// A wrong region shows as a redirect, as a malformed Authorization header or, to a HEAD, as a bare
// 400; each time the answer names the right one.
void store_exchange::add_region_remedy(error& failure, std::string region) const {
  const bool suspicious = failure.why == reason::configuration || failure.status == 400;
  if (!suspicious || region.empty() || region == _options.region) {
    return;
  }
  failure.why = reason::configuration;
  failure.remedy = "the bucket is in region " + region + ": " +
                   engine::wording(engine::setting::region) + " must be that, and is \"" +
                   _options.region + "\"";
}

}  // namespace bts3::s3
