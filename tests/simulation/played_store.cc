#include "tests/simulation/played_store.hh"

#include <algorithm>
#include <utility>

namespace bts3::simulation {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;
using std::chrono::seconds;

namespace {

class counted {
 public:
  explicit counted(std::size_t& number) : _number(number) { ++_number; }
  ~counted() { --_number; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;

 private:
  std::size_t& _number;
};

}  // namespace

played_store::played_store(engine::reactor& loop, testing::memory_store& inner, draw& random,
                           chronicle& told)
    : _loop(loop), _inner(inner), _random(random), _told(told) {}

int played_store::blamed_max() const {
  int most = 0;
  for (const auto& [which, count] : _blamed) {
    most = std::max(most, count);
  }
  return most;
}

void played_store::forget_counts() {
  _blamed.clear();
  _parts_max = 0;
  _throttled = 0;
  _denied = 0;
}

played_store::fate played_store::draw_fate(const question& about) {
  if (_gone) {
    return _random.chance(80) ? fate::refused : fate::stalled;
  }
  const std::pair<unsigned, fate> all[] = {
      {conduct.refusals_per_mille, fate::refused}, {conduct.throttles_per_mille, fate::throttled},
      {conduct.errors_per_mille, fate::failed},    {conduct.losses_per_mille, fate::lost},
      {conduct.stalls_per_mille, fate::stalled},   {conduct.slow_per_mille, fate::slow},
      {conduct.denials_per_mille, fate::denied}};
  for (const auto& [per_mille, what] : all) {
    if (_random.per_mille(per_mille)) {
      return what;
    }
  }
  if (about.transfers && (_blames_all || _random.per_mille(conduct.blames_per_mille))) {
    return fate::blamed;
  }
  return about.transfers && _random.per_mille(conduct.cuts_per_mille) ? fate::cut : fate::served;
}

error played_store::failure_of(fate what, const question& about) {
  error failure;
  failure.what_now = disposition::retry;
  failure.why = reason::network;
  failure.message = about.key + ": the connection is gone";
  switch (what) {
    case fate::throttled:
      ++_throttled;
      failure.why = reason::throttled;
      failure.status = 503;
      failure.code = "SlowDown";
      failure.retry_after = seconds(_random.chance(50) ? 0 : _random.between(1, 5));
      break;
    case fate::failed:
      failure.why = reason::unspecified;
      failure.status = 500;
      failure.code = "InternalError";
      break;
    case fate::blamed:
      ++_blamed[{std::string(about.verb) + " " + about.key, about.offset}];
      failure.why = reason::bad_request;
      failure.status = 400;
      failure.code = "BadDigest";
      break;
    case fate::denied:
      ++_denied;
      failure = testing::memory_store::denied(about.key);
      break;
    case fate::served:
    case fate::refused:
    case fate::lost:
    case fate::cut:
    case fate::stalled:
    case fate::slow:
      break;
  }
  return failure;
}

// A body that breaks off: some of it is fetched from where it lies.
task<result<void>> played_store::send_some(s3::request_body body, engine::stop_token stop) {
  engine::body_source* const source = body.source();
  const std::uint64_t until = body.size() == 0 ? 0 : _random.below(body.size());
  std::uint64_t at = 0;
  for (unsigned turn = 0; source != nullptr && at < until; ++turn) {
    auto fetching = source->fetch(turn % source->buffers(), at, stop);
    auto got = co_await std::move(fetching);
    if (!got) {
      co_return std::move(got.error());
    }
    at += got->size();
  }
  co_return engine::ok();
}

template <typename T, typename Act>
task<result<T>> played_store::answer(question& about, Act& act, engine::stop_token stop) {
  const fate what = draw_fate(about);
  auto travelling = _loop.sleep_for(_random.any_time(conduct.answer_max), stop);
  auto travelled = co_await std::move(travelling);
  if (travelled && (what == fate::stalled || what == fate::slow)) {
    const seconds most(what == fate::slow && _random.chance(30) ? 600 : 90);
    const auto lasts = seconds(60) + _random.any_time(most - seconds(60) + seconds(1));
    auto lasting = _loop.sleep_for(lasts, stop);
    travelled = co_await std::move(lasting);
  }
  if (!travelled && !_random.chance(_gone ? 0 : conduct.acts_late_percent)) {
    co_return engine::cancelled_error();
  }
  if (about.upload && _random.per_mille(conduct.drops_per_mille)) {
    _told.note("the store drops an upload");
    auto dropping = _inner.abort_multipart_upload(s3::object_key(about.key), *about.upload, {});
    (void)co_await std::move(dropping);
  }
  if (what == fate::cut) {
    auto sending = send_some(about.body, stop);
    auto sent = co_await std::move(sending);
    if (!sent) {
      co_return std::move(sent.error());
    }
  }
  const bool acts = what == fate::served || what == fate::lost || what == fate::slow;
  if (!acts) {
    co_return failure_of(what, about);
  }
  auto acting = act(engine::stop_token());
  auto outcome = co_await std::move(acting);
  if (!travelled) {
    _told.note("acts after it was cancelled");
    co_return engine::cancelled_error();
  }
  auto returning = _loop.sleep_for(_random.any_time(conduct.answer_max), stop);
  auto returned = co_await std::move(returning);
  if (!returned) {
    co_return engine::cancelled_error();
  }
  if (what == fate::lost) {
    co_return failure_of(what, about);
  }
  co_return outcome;
}

template <typename T, typename Act>
task<result<T>> played_store::ask(question about, Act act, engine::stop_token stop) {
  const counted under_way(_in_flight);
  std::size_t none = 0;
  const counted part(about.is_part ? _parts : none);
  _parts_max = std::max(_parts_max, _parts);
  const auto number = static_cast<std::int64_t>(++_requests);
  _told.note(about.verb, number, static_cast<std::int64_t>(about.offset));
  auto answering = answer<T>(about, act, stop);
  auto outcome = co_await std::move(answering);
  _told.note(outcome                        ? "answered"
             : outcome.error().code.empty() ? "no answer"
                                            : "refused",
             number, outcome ? 0 : outcome.error().status);
  co_return outcome;
}

task<result<s3::etag>> played_store::put_object(s3::put_request request, engine::stop_token stop) {
  question about("PutObject", request.key.str());
  about.transfers = true;
  about.body = request.body;
  return ask<s3::etag>(
      std::move(about),
      [this, request](engine::stop_token until) { return _inner.put_object(request, until); },
      stop);
}

// What was read may be damaged on the way, and where it breaks off some of it was overwritten.
task<result<std::size_t>> played_store::read(s3::get_request request, engine::stop_token stop) {
  const std::span<std::byte> into = request.into;
  auto reading = _inner.get_object(std::move(request), stop);
  auto got = co_await std::move(reading);
  if (got && *got > 0 && _random.per_mille(conduct.damages_per_mille)) {
    _told.note("damaged on the way");
    into[_random.below(*got)] ^= std::byte{static_cast<unsigned char>(1U << _random.below(8))};
  }
  co_return got;
}

task<result<std::size_t>> played_store::get_object(s3::get_request request,
                                                   engine::stop_token stop) {
  question about("GetObject", request.key.str());
  about.offset = request.range ? request.range->offset : 0;
  about.transfers = true;
  about.is_part = true;
  if (!request.into.empty()) {
    request.into[_random.below(request.into.size())] = std::byte{0xee};  // of an answer cut short
  }
  return ask<std::size_t>(
      std::move(about), [this, request](engine::stop_token until) { return read(request, until); },
      stop);
}

task<result<s3::text_object>> played_store::get_object_text(s3::object_key key,
                                                            std::size_t bytes_max,
                                                            engine::stop_token stop) {
  return ask<s3::text_object>(
      question("GetObject", key.str()),
      [this, key, bytes_max](engine::stop_token until) {
        return _inner.get_object_text(key, bytes_max, until);
      },
      stop);
}

task<result<s3::object_info>> played_store::head_object(s3::object_key key,
                                                        engine::stop_token stop) {
  return ask<s3::object_info>(
      question("HeadObject", key.str()),
      [this, key](engine::stop_token until) { return _inner.head_object(key, until); }, stop);
}

task<result<s3::listing>> played_store::list_objects(s3::list_request request,
                                                     engine::stop_token stop) {
  return ask<s3::listing>(
      question("ListObjectsV2", request.prefix),
      [this, request](engine::stop_token until) { return _inner.list_objects(request, until); },
      stop);
}

task<result<void>> played_store::delete_object(s3::object_key key, engine::stop_token stop) {
  return ask<void>(
      question("DeleteObject", key.str()),
      [this, key](engine::stop_token until) { return _inner.delete_object(key, until); }, stop);
}

task<result<s3::created_upload>> played_store::create_multipart_upload(s3::object_key key,
                                                                       s3::write_options options,
                                                                       engine::stop_token stop) {
  return ask<s3::created_upload>(
      question("CreateMultipartUpload", key.str()),
      [this, key, options](engine::stop_token until) {
        return _inner.create_multipart_upload(key, options, until);
      },
      stop);
}

task<result<s3::etag>> played_store::upload_part(s3::upload_part_request request,
                                                 engine::stop_token stop) {
  question about("UploadPart", request.key.str());
  about.offset = request.number;
  about.transfers = true;
  about.is_part = true;
  about.body = request.body;
  about.upload = request.id;
  return ask<s3::etag>(
      std::move(about),
      [this, request](engine::stop_token until) { return _inner.upload_part(request, until); },
      stop);
}

task<result<s3::etag>> played_store::complete_multipart_upload(
    s3::object_key key, s3::upload_id id, std::vector<s3::completed_part> parts,
    engine::stop_token stop) {
  question about("CompleteMultipartUpload", key.str());
  about.upload = id;
  return ask<s3::etag>(
      std::move(about),
      [this, key, id, parts](engine::stop_token until) {
        return _inner.complete_multipart_upload(key, id, parts, until);
      },
      stop);
}

task<result<void>> played_store::abort_multipart_upload(s3::object_key key, s3::upload_id id,
                                                        engine::stop_token stop) {
  return ask<void>(
      question("AbortMultipartUpload", key.str()),
      [this, key, id](engine::stop_token until) {
        return _inner.abort_multipart_upload(key, id, until);
      },
      stop);
}

task<result<std::vector<s3::listed_part>>> played_store::list_parts(s3::object_key key,
                                                                    s3::upload_id id,
                                                                    engine::stop_token stop) {
  return ask<std::vector<s3::listed_part>>(
      question("ListParts", key.str()),
      [this, key, id](engine::stop_token until) { return _inner.list_parts(key, id, until); },
      stop);
}

task<result<std::vector<s3::listed_upload>>> played_store::list_multipart_uploads(
    std::string prefix, engine::stop_token stop) {
  return ask<std::vector<s3::listed_upload>>(
      question("ListMultipartUploads", prefix),
      [this, prefix](engine::stop_token until) {
        return _inner.list_multipart_uploads(prefix, until);
      },
      stop);
}

task<result<s3::restore_outcome>> played_store::restore_object(
    s3::object_key key, std::optional<unsigned> days, std::optional<s3::retrieval_tier> tier,
    engine::stop_token stop) {
  return ask<s3::restore_outcome>(
      question("RestoreObject", key.str()),
      [this, key, days, tier](engine::stop_token until) {
        return _inner.restore_object(key, days, tier, until);
      },
      stop);
}

}  // namespace bts3::simulation
