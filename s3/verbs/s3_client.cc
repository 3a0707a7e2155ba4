// The client itself, and the verbs that read, ask about or delete one object.
#include "s3/verbs/s3_client.hh"

#include "engine/assert.hh"
#include "s3/verbs/xml.hh"

#include <algorithm>
#include <utility>

namespace bts3::s3 {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

namespace {

// Room for an error document in the answer to a request for a small text.
constexpr std::size_t error_bytes_max = 64 * 1024;
// The same, and for a page that somebody else sends instead: seen whole, it is known for one.
constexpr std::size_t page_bytes_max = 1024 * 1024;

// Whether the transport gave up an answer because it broke a rule, such as being longer than the
// range: a proxy on the way may have dropped the Range, and the next one need not.
bool more_than_asked_for(const error& failure) {
  return failure.why == reason::protocol && failure.status / 100 == 2;
}

}  // namespace

s3_client::s3_client(http_transport& transport, credential_provider& who,
                     const engine::clock& clock, engine::log_sink& log, client_options options)
    : _exchange(transport, who, clock, log, std::move(options)) {}

s3_client::s3_client(http_transport& transport, credentials who, const engine::clock& clock,
                     engine::log_sink& log, client_options options)
    : _own(std::make_unique<fixed_credentials>(std::move(who))),
      _exchange(transport, *_own, clock, log, std::move(options)) {}

task<result<std::size_t>> s3_client::get_object(get_request request, engine::stop_token stop) {
  store_request what("GET", request.key, answer_kind::object);
  what.transfer = true;
  const std::uint64_t wanted = request.range ? request.range->length : request.into.size();
  BTS3_ASSERT(wanted <= request.into.size());
  if (request.range) {
    const byte_range& range = *request.range;
    what.headers.emplace_back("range", "bytes=" + std::to_string(range.offset) + "-" +
                                           std::to_string(range.offset + range.length - 1));
  }
  if (request.must_match) {
    what.headers.emplace_back("if-match", request.must_match->quoted());
  }
  what.into = request.into.first(wanted);
  what.fresh_connection = request.fresh_connection;
  auto sending = _exchange.send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    if (request.range && more_than_asked_for(answer.error())) {
      const std::uint64_t first = request.range->offset;
      co_return protocol_error(
          request.key, "asked for bytes " + std::to_string(first) + "-" +
                           std::to_string(first + wanted - 1) + ", the store answered " +
                           std::to_string(answer.error().status) + ": " + answer.error().message);
    }
    co_return std::move(answer.error());
  }
  if (request.range) {
    const std::string expected = "bytes " + std::to_string(request.range->offset) + "-" +
                                 std::to_string(request.range->offset + wanted - 1) + "/";
    const auto got = answer->header("content-range");
    if (answer->status != 206 || !got || !got->starts_with(expected)) {
      co_return protocol_error(request.key, "asked for " + expected + "*, the store answered " +
                                                std::to_string(answer->status) + " " +
                                                std::string(got.value_or("without a range")));
    }
    if (answer->body_target_bytes != wanted) {
      co_return protocol_error(request.key, "the answer is shorter than the range asked for");
    }
  } else if (answer->status != 200) {
    co_return protocol_error(request.key, "asked for the whole object, the store answered " +
                                              std::to_string(answer->status));
  }
  co_return answer->body_target_bytes;
}

task<result<text_object>> s3_client::get_object_text(object_key key, std::size_t bytes_max,
                                                     engine::stop_token stop) {
  store_request what("GET", key, answer_kind::object);
  what.answer_bytes_max = std::max(bytes_max, page_bytes_max);
  auto sending = _exchange.send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  if (answer->status != 200) {
    co_return protocol_error(
        key, "asked for the whole object, the store answered " + std::to_string(answer->status));
  }
  if (answer->body.size() > bytes_max) {
    error failure;
    failure.why = reason::protocol;
    failure.message =
        key.str() + ": larger than the " + std::to_string(bytes_max) + " bytes it may have";
    co_return failure;
  }
  auto tag = tag_of(*answer);
  if (!tag) {
    co_return protocol_error(key, "the store gives an ETag that is none");
  }
  text_object object;
  object.tag = std::move(*tag);
  object.body = std::move(answer->body);
  co_return object;
}

task<result<object_info>> s3_client::head_object(object_key key, engine::stop_token stop) {
  store_request what("HEAD", key, answer_kind::object);
  auto sending = _exchange.send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  const auto text = [&](std::string_view name) {
    return std::string(answer->header(name).value_or(""));
  };
  const auto size = decimal_in(text("content-length"));
  if (!size || *size > object_bytes_max) {
    co_return protocol_error(key, "HEAD was answered without a size that an object can have");
  }
  auto tag = tag_of(*answer);
  if (!tag) {
    co_return protocol_error(key, "the store gives an ETag that is none");
  }
  object_info info;
  info.size = *size;
  info.tag = std::move(*tag);
  info.stored_as = storage_class(text("x-amz-storage-class"));
  info.restore = text("x-amz-restore");
  info.archive_status = text("x-amz-archive-status");
  info.sse = text("x-amz-server-side-encryption");
  info.last_modified = text("last-modified");
  co_return info;
}

task<result<void>> s3_client::delete_object(object_key key, engine::stop_token stop) {
  store_request what("DELETE", key, answer_kind::nothing);
  auto sending = _exchange.send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer && answer.error().what_now != disposition::not_found) {
    co_return std::move(answer.error());
  }
  co_return engine::ok();
}

task<result<object_attributes>> s3_client::get_object_attributes(object_key key,
                                                                 engine::stop_token stop) {
  // Ceph 16 sends the object instead, so that XML is not to be expected.
  store_request what("GET", key, answer_kind::nothing);
  what.query = {{"attributes", ""}};
  what.headers.emplace_back("x-amz-max-parts", "1");  // their number is told all the same
  what.headers.emplace_back("x-amz-object-attributes",
                            "Checksum,ObjectParts,ObjectSize,StorageClass");
  what.answer_bytes_max = error_bytes_max;
  auto sending = _exchange.send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  const auto unknown = [&](const std::string& why) {
    error failure;
    failure.why = reason::unsupported;
    failure.message = key.str() + ": this store does not answer GetObjectAttributes: " + why;
    return failure;
  };
  if (!answer) {
    error failure = std::move(answer.error());
    // A store that ignores the question sends the object, which is cut off after 64 KiB.
    const bool object_itself = failure.why == reason::protocol && failure.status / 100 == 2;
    if (object_itself || failure.status == 405 || failure.status == 501) {
      co_return unknown(failure.message);
    }
    co_return failure;
  }
  auto found = parse_attributes(answer->body);
  if (!found) {
    co_return unknown("it sends something else");
  }
  co_return found;
}

}  // namespace bts3::s3
