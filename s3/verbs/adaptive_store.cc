#include "s3/verbs/adaptive_store.hh"

#include "engine/assert.hh"
#include "engine/told_command.hh"
#include "s3/verbs/verb_call.hh"

#include <algorithm>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// Only its first page matters.
constexpr std::size_t witness_objects_max = 1'000'000;

void take_out(write_options& options, feature_set without) {
  if (without.has(feature::sse)) {
    options.sse.clear();
  }
  if (without.has(feature::content_md5)) {
    options.content_md5 = false;
  }
  if (without.has(feature::checksum)) {
    options.checksum_crc32 = false;
  }
  if (without.has(feature::checksum_type)) {
    options.checksum_type = false;
  }
}

void take_out(body_digests& digests, body_form& form, feature_set without) {
  if (without.has(feature::checksum)) {
    digests.crc32.reset();
  }
  if (without.has(feature::expect)) {
    form.asks_first = body_form::asking::never;
  }
  form.sign_payload = form.sign_payload || without.has(feature::unsigned_payload);
}

error made_unsupported(error failure) {
  failure.what_now = disposition::fail;
  failure.why = reason::unsupported;
  return failure;
}

// Whether an answer came that only a store gives.
bool is_of_the_store(const error& failure) {
  return failure.status != 0 && failure.code != "foreign_answer" &&
         failure.what_now != disposition::cancelled && failure.why != reason::network;
}

bool is_denial(const error& failure) {
  return failure.status == 403 && failure.why == reason::access &&
         (failure.code.empty() || failure.code == "AccessDenied");
}

}  // namespace

// What a request is about.
struct adaptive_store::subject {
  subject(request_kind of, object_key at, feature_set carries)
      : kind(of), key(std::move(at)), sent(carries) {}
  request_kind kind;
  object_key key;
  feature_set sent;
  feature_set stays;  // is not left out of this one
  engine::setting class_from = engine::setting::data_class;
};

adaptive_store::adaptive_store(object_store& inner, optional_features& features,
                               engine::log_sink& log, client_habits habits)
    : _inner(inner), _features(features), _log(log), _habits(habits) {}

feature_set adaptive_store::carried_by(const write_options& options) const {
  feature_set carried;
  const auto add = [&carried](bool has, feature one) {
    if (has) {
      carried.add(one);
    }
  };
  add(!options.stored_as.empty(), feature::storage_class);
  add(!options.sse.empty(), feature::sse);
  add(!options.sse_kms_key_id.empty(), feature::sse_kms_key);
  add(!options.acl.empty(), feature::acl);
  add(!options.tags.empty(), feature::tags);
  add(options.content_md5, feature::content_md5);
  return carried;
}

feature_set adaptive_store::carried_by(const request_body& body, const body_digests& digests,
                                       const body_form& form) const {
  feature_set carried;
  if (digests.crc32) {
    carried.add(feature::checksum);
  }
  const bool large =
      body.size() >= _habits.expect_bytes_min && form.asks_first == body_form::asking::by_size;
  if (large || form.asks_first == body_form::asking::always) {
    carried.add(feature::expect);
  }
  // What comes from a disk can be signed only where it was hashed on its way there.
  const bool can_sign = body.source() == nullptr || digests.payload_sha256.has_value();
  if (_habits.unsigned_payload && !body.empty() && can_sign) {
    carried.add(feature::unsigned_payload);
  }
  return carried;
}

// Nothing helps: what was sent all the same is what the store may refuse.
error adaptive_store::explained(const subject& of, feature_set sent, error failure) const {
  const feature_set stays = _features.indispensable(sent).with(of.stays);
  if (stays.empty()) {
    return failure;
  }
  failure = made_unsupported(std::move(failure));
  std::string list;
  for (const feature one : stays.members()) {
    const feature_row& row = row_of(one);
    list += (list.empty() ? "" : ", ") + std::string(row.name);
    const bool of_class = one == feature::storage_class;
    if (const auto by = of_class ? of.class_from : row.by) {
      list += " (" + std::string(name_of(*by)) + ")";
    }
  }
  std::string& remedy = failure.remedy;
  remedy += (remedy.empty() ? "" : "; ") + ("it was sent with " + list) +
            ", any of which this store may refuse";
  if (stays.has(feature::storage_class) && !_features.classes().empty()) {
    remedy += "; the bucket has objects of class " + _features.classes();
  }
  remedy += "; `" + engine::told_command("doctor") + "` tries them one by one";
  return failure;
}

task<bool> adaptive_store::store_answers(object_key near, engine::stop_token stop) {
  list_request request(near.str());
  request.objects_max = witness_objects_max;
  auto listing = _inner.list_objects(std::move(request), stop);
  auto listed = co_await std::move(listing);
  co_return listed.has_value() || is_of_the_store(listed.error());
}

template <typename T, typename Attempt>
task<result<T>> adaptive_store::adapt(subject of, Attempt attempt, engine::stop_token stop) {
  const feature_set before = _features.left_out();
  auto attempting = attempt(before);
  auto outcome = co_await std::move(attempting);
  if (outcome) {
    _signs = true;
    _features.note_taken(of.kind, of.sent.without(before));
    co_return outcome;
  }
  _signs = _signs || outcome.error().what_now == disposition::not_found;
  const refusal how = refusal_in(outcome.error(), _signs);
  if (how == refusal::none) {
    co_return outcome;
  }
  if (how == refusal::doubtful) {
    const object_key near = of.key;
    auto asking = store_answers(near, stop);
    const bool answers = co_await std::move(asking);
    if (!answers) {
      co_return outcome;
    }
    auto again = attempt(before);
    auto second = co_await std::move(again);
    // Another answer is another stranger's, or another fault.
    if (second || refusal_in(second.error(), _signs) == refusal::none ||
        second.error().message != outcome.error().message) {
      co_return second;
    }
  }
  const feature_set sent = of.sent.without(before);
  auto trying =
      do_without<T>(std::move(of), sent, std::move(outcome.error()), std::move(attempt), stop);
  co_return co_await std::move(trying);
}

template <typename T, typename Attempt>
task<result<T>> adaptive_store::do_without(subject of, feature_set sent, error failure,
                                           Attempt attempt, engine::stop_token stop) {
  const feature_set named = named_in(failure).both(sent);
  feature_set may = _features.dispensable(of.kind, sent);
  if (!named.both(_features.indispensable(sent)).empty() && named.both(may).empty()) {
    may = {};  // it says that it is something else
  }
  std::vector<feature_set> trials;
  for (const feature one : named.both(may).members()) {
    trials.push_back({one});
  }
  for (const feature one : may.without(named).members()) {
    trials.push_back({one});
  }
  if (trials.size() > 1) {
    trials.push_back(may);
  }
  for (const feature_set trial : trials) {
    if (stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    auto attempting = attempt(_features.left_out().with(trial));
    auto outcome = co_await std::move(attempting);
    if (outcome) {
      _signs = true;
      _features.note_refused(_log, trial, failure);
      _features.note_taken(of.kind, sent.without(trial));
      co_return outcome;
    }
    if (refusal_in(outcome.error(), _signs) == refusal::none) {
      co_return outcome;  // a condition that does not hold, a network that has gone
    }
  }
  co_return explained(of, sent, std::move(failure));
}

template <typename Attempt>
std::invoke_result_t<Attempt&> adaptive_store::ask_for(feature verb, object_key near,
                                                       Attempt attempt, engine::stop_token stop) {
  if (!_features.sends(verb)) {
    error failure;
    failure.why = reason::unsupported;
    failure.message = near.str() + ": this store has no " + row_of(verb).name;
    co_return failure;
  }
  auto attempting = attempt();
  auto outcome = co_await std::move(attempting);
  if (outcome) {
    _signs = true;
    co_return outcome;
  }
  const bool strange = outcome.error().why == reason::protocol;
  const refusal how = strange ? refusal::doubtful : refusal_in(outcome.error(), _signs);
  if (how == refusal::none) {
    co_return outcome;
  }
  if (how == refusal::doubtful) {
    auto asking = store_answers(near, stop);
    const bool answers = co_await std::move(asking);
    if (!answers) {
      co_return outcome;
    }
    auto again = attempt();
    auto second = co_await std::move(again);
    const bool same = !second && second.error().code == outcome.error().code &&
                      second.error().why == outcome.error().why &&
                      second.error().status == outcome.error().status;
    if (!same) {
      co_return second;
    }
  }
  // 400 to a question for an upload or a key is about that; everything else, about the verb.
  if (outcome.error().status != 400 || verb == feature::list_uploads) {
    _features.note_refused(_log, {verb}, outcome.error());
  }
  co_return made_unsupported(std::move(outcome.error()));
}

task<result<etag>> adaptive_store::put_object(put_request request, engine::stop_token stop) {
  feature_set sent = carried_by(request.options);
  sent.add(carried_by(request.body, request.digests, request.form));
  if (request.body.source() != nullptr) {
    sent = sent.without({feature::content_md5});
  }
  if (request.condition.must_be_absent) {
    sent.add(feature::absent_condition);
  }
  if (request.condition.must_match) {
    sent.add(feature::match_condition);
  }
  subject of(request_kind::bytes, request.key, sent);
  of.class_from = request.options.class_from;
  auto adapting = adapt<etag>(
      std::move(of),
      [this, request, stop](feature_set without) {
        put_request copy = request;
        take_out(copy.options, without);
        take_out(copy.digests, copy.form, without);
        return _inner.put_object(std::move(copy), stop);
      },
      stop);
  auto outcome = co_await std::move(adapting);
  if (outcome) {
    _features.note_class(request.options.stored_as.str());
  }
  co_return outcome;
}

task<result<created_upload>> adaptive_store::create_multipart_upload(object_key key,
                                                                     write_options options,
                                                                     engine::stop_token stop) {
  feature_set sent = carried_by(options).without({feature::content_md5});
  if (options.checksum_crc32) {
    sent.add({feature::checksum, feature::checksum_type});
  }
  subject of(request_kind::create, key, sent);
  of.class_from = options.class_from;
  auto adapting = adapt<created_upload>(
      std::move(of),
      [this, key, options, stop](feature_set without) {
        write_options copy = options;
        take_out(copy, without);
        return _inner.create_multipart_upload(key, std::move(copy), stop);
      },
      stop);
  auto outcome = co_await std::move(adapting);
  if (outcome) {
    _features.note_class(options.stored_as.str());
  }
  co_return outcome;
}

task<result<etag>> adaptive_store::upload_part(upload_part_request request,
                                               engine::stop_token stop) {
  subject of(request_kind::bytes, request.key,
             carried_by(request.body, request.digests, request.form));
  if (_habits.unsigned_payload && !of.sent.has(feature::unsigned_payload)) {
    of.stays.add(feature::unsigned_payload);
  }
  return adapt<etag>(
      std::move(of),
      [this, request, stop](feature_set without) {
        upload_part_request copy = request;
        take_out(copy.digests, copy.form, without);
        return _inner.upload_part(std::move(copy), stop);
      },
      stop);
}

task<result<etag>> adaptive_store::complete_once(object_key key, upload_id id,
                                                 std::vector<completed_part> parts,
                                                 engine::stop_token stop) {
  feature_set sent;
  if (std::any_of(parts.begin(), parts.end(), [](const auto& part) { return part.crc32; })) {
    sent.add(feature::checksum);
  }
  subject of(request_kind::complete, key, sent);
  // Left out of the parts, they are left out here: what was taken with one is never left out.
  return adapt<etag>(
      std::move(of),
      [this, key, id, stop, parts = std::move(parts)](feature_set without) {
        std::vector<completed_part> copy = parts;
        if (without.has(feature::checksum)) {
          for (completed_part& part : copy) {
            part.crc32.reset();
          }
        }
        return _inner.complete_multipart_upload(key, id, std::move(copy), stop);
      },
      stop);
}

task<result<etag>> adaptive_store::complete_multipart_upload(object_key key, upload_id id,
                                                             std::vector<completed_part> parts,
                                                             engine::stop_token stop) {
  const std::string ending = "-" + std::to_string(parts.size());
  auto completing = complete_once(key, id, std::move(parts), stop);
  auto tag = co_await std::move(completing);
  const bool failed = !tag && tag.error().status >= 500 && tag.error().why != reason::throttled;
  if (!failed) {
    _failed_ends.erase(id.str());
    co_return tag;
  }
  if (++_failed_ends[id.str()] < 2) {
    co_return tag;
  }
  auto asking = _inner.head_object(key, stop);
  auto info = co_await std::move(asking);
  if (info && info->tag.str().ends_with(ending)) {
    _failed_ends.erase(id.str());
    co_return std::move(info->tag);
  }
  co_return tag;
}

task<result<restore_outcome>> adaptive_store::restore_object(object_key key,
                                                             std::optional<unsigned> days,
                                                             std::optional<retrieval_tier> tier,
                                                             engine::stop_token stop) {
  // Standard is what a store does by itself. The others have another price.
  subject of(request_kind::restore, key, {});
  if (tier) {
    (*tier == retrieval_tier::standard ? of.sent : of.stays).add(feature::tier);
  }
  return adapt<restore_outcome>(
      std::move(of),
      [this, key, days, tier, stop](feature_set without) {
        std::optional<retrieval_tier> copy = tier;
        if (without.has(feature::tier) && tier == retrieval_tier::standard) {
          copy.reset();
        }
        return _inner.restore_object(key, days, copy, stop);
      },
      stop);
}

task<result<std::vector<listed_part>>> adaptive_store::list_parts(object_key key, upload_id id,
                                                                  engine::stop_token stop) {
  return ask_for(feature::list_parts, key,
                 call_of(_inner, &object_store::list_parts, key, std::move(id), stop), stop);
}

task<result<std::vector<listed_upload>>> adaptive_store::list_multipart_uploads(
    std::string prefix, engine::stop_token stop) {
  return ask_for(feature::list_uploads, object_key(prefix),
                 call_of(_inner, &object_store::list_multipart_uploads, prefix, stop), stop);
}

task<result<void>> adaptive_store::abort_multipart_upload(object_key key, upload_id id,
                                                          engine::stop_token stop) {
  return ask_for(feature::abort, key,
                 call_of(_inner, &object_store::abort_multipart_upload, key, std::move(id), stop),
                 stop);
}

task<result<object_attributes>> adaptive_store::get_object_attributes(object_key key,
                                                                      engine::stop_token stop) {
  return ask_for(feature::attributes, key,
                 call_of(_inner, &object_store::get_object_attributes, key, stop), stop);
}

// An answer 403 to the question for a key. Ok: it is absent; else what the error is.
task<result<void>> adaptive_store::find_absent(object_key key, error failure,
                                               engine::stop_token stop) {
  auto listing = _inner.list_objects(list_request(key.str()), stop);
  auto listed = co_await std::move(listing);
  if (!listed && !is_denial(listed.error())) {
    co_return std::move(listed.error());
  }
  if (!listed) {
    failure.remedy +=
        (failure.remedy.empty() ? "" : "; ") +
        std::string(
            "without s3:ListBucket S3 answers 403 for what is absent, too: allow it for "
            "the prefix");
    co_return failure;
  }
  const bool there = std::any_of(listed->objects.begin(), listed->objects.end(),
                                 [&](const listed_object& one) { return one.key == key; });
  if (there) {
    co_return failure;
  }
  co_return engine::ok();
}

template <typename Attempt>
std::invoke_result_t<Attempt&> adaptive_store::read(object_key key, Attempt attempt,
                                                    engine::stop_token stop) {
  auto attempting = attempt();
  auto outcome = co_await std::move(attempting);
  if (outcome) {
    _signs = true;
    co_return outcome;
  }
  _signs = _signs || outcome.error().what_now == disposition::not_found;
  if (!is_denial(outcome.error())) {
    co_return outcome;
  }
  auto finding = find_absent(key, outcome.error(), stop);
  auto absent = co_await std::move(finding);
  if (!absent) {
    co_return std::move(absent.error());
  }
  error failure;
  failure.what_now = disposition::not_found;
  failure.status = 404;
  failure.code = "NoSuchKey";
  failure.message = key.str() + ": the store answered 403, and does not list it";
  co_return failure;
}

task<result<std::size_t>> adaptive_store::get_object(get_request request, engine::stop_token stop) {
  object_key key = request.key;
  return read(std::move(key), call_of(_inner, &object_store::get_object, std::move(request), stop),
              stop);
}

task<result<text_object>> adaptive_store::get_object_text(object_key key, std::size_t bytes_max,
                                                          engine::stop_token stop) {
  return read(key, call_of(_inner, &object_store::get_object_text, key, bytes_max, stop), stop);
}

task<result<object_info>> adaptive_store::head_object(object_key key, engine::stop_token stop) {
  return read(key, call_of(_inner, &object_store::head_object, key, stop), stop);
}

task<result<listing>> adaptive_store::list_objects(list_request request, engine::stop_token stop) {
  auto asking = _inner.list_objects(std::move(request), stop);
  auto listed = co_await std::move(asking);
  if (listed) {
    _signs = true;
    for (const listed_object& one : listed->objects) {
      _features.note_class(one.stored_as.str());
    }
  }
  co_return listed;
}

task<result<void>> adaptive_store::delete_object(object_key key, engine::stop_token stop) {
  return _inner.delete_object(std::move(key), stop);
}

}  // namespace bts3::s3
