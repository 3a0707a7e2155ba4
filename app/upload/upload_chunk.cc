#include "app/upload/upload_chunk.hh"

#include "engine/age/header.hh"
#include "engine/assert.hh"

#include <algorithm>
#include <chrono>
#include <span>
#include <string>
#include <utility>

namespace bts3::app {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

namespace {

bool is_refused(const error& failure) {
  return failure.why == engine::reason::access || failure.why == engine::reason::unsupported;
}

}  // namespace

upload_common::upload_common(const services& of, upload_budget& from, store_connection* to,
                             upload_ledger& into, engine::seal_factory* by,
                             engine::stop_token until)
    : with(of),
      budget(from),
      connection(to),
      ledger(into),
      seals(by),
      part_bytes(engine::part_cutter(limits(), by != nullptr ? by->layout() : engine::seal_layout())
                     .part_bytes_max()),
      stop(until) {}

engine::part_stream_limits upload_common::limits() const {
  engine::part_stream_limits made;
  made.part_bytes = with.settings.s3.part_size_bytes;
  made.chunk_bytes = with.settings.chunk_limit_bytes();
  made.payload_sha256 = connection != nullptr && connection->signs_payload();
  return made;
}

void upload_common::note_class(const s3::storage_class& reported) {
  const std::string name = reported.empty() ? "STANDARD" : reported.str();
  const std::string asked_for = chunk_options(with).stored_as.str();
  if (!stored_as && !asked_for.empty() && name != asked_for) {
    with.log.write(log_level::warning, "backup", "stored_in_another_class",
                   {{"asked_for", asked_for},
                    {"stored_as", name},
                    {"consequence", "the manifest says so, and prices are that class's"}});
  }
  stored_as = name;
}

std::string upload_common::written_as() const {
  const s3::write_options options = chunk_options(with);
  return options.stored_as.str() + " " + options.sse + " " + options.sse_kms_key_id;
}

planner::timestamp upload_common::now() const {
  const auto known = connection != nullptr ? connection->store_time() : std::nullopt;
  return planner::timestamp(
      std::chrono::floor<std::chrono::seconds>(known.value_or(with.clock.now())));
}

upload_chunk::upload_chunk(upload_common& common, std::uint32_t index, s3::object_key key)
    : _common(common), _index(index), _key(std::move(key)) {}

// Its upload is of no use any more. An object that exists already is written over.
task<result<void>> upload_chunk::begin_anew() {
  _common.with.log.write(
      log_level::warning, "backup", "chunk_begun_anew",
      {{"key", _key.str()},
       {"reason", "s3.storage_class_chunks, s3.sse or s3.sse_kms_key_id have changed"},
       {"before", *_earlier.written_as},
       {"now", _common.written_as()}});
  if (!_earlier.upload_id.empty()) {
    auto aborting = s3::end_upload(store(), _common.with.log, _key,
                                   s3::upload_id(_earlier.upload_id), _common.stop);
    auto aborted = co_await std::move(aborting);
    if (!aborted) {
      co_return aborted;
    }
  }
  auto noting = _common.ledger.note_discarded(_index);
  co_await std::move(noting);
  _exists = _earlier.stored || _earlier.size;  // perhaps
  _earlier = journalled_chunk();
  co_return engine::ok();
}

task<result<bool>> upload_chunk::is_stored() {
  auto asking = store().head_object(_key, _common.stop);
  auto info = co_await std::move(asking);
  if (!info) {
    if (info.error().what_now == disposition::not_found) {
      co_return false;
    }
    co_return std::move(info.error());
  }
  if (!_earlier.size || info->size != *_earlier.size) {
    co_return false;
  }
  _stored_before = true;
  _exists = true;
  _tag = info->tag;
  _common.note_class(info->stored_as);
  co_return true;
}

task<result<void>> upload_chunk::look_for(journalled_chunk earlier) {
  _earlier = std::move(earlier);
  if (_earlier.written_as && *_earlier.written_as != _common.written_as()) {
    auto beginning = begin_anew();
    co_return co_await std::move(beginning);
  }
  if (_earlier.stored || _earlier.size) {
    // Complete may have been carried out although its answer was lost.
    auto asking = is_stored();
    auto stored = co_await std::move(asking);
    if (!stored) {
      co_return std::move(stored.error());
    }
    if (*stored) {
      co_return engine::ok();
    }
  }
  if (_earlier.upload_id.empty()) {
    co_return engine::ok();
  }
  auto listing = list_parts();
  co_return co_await std::move(listing);
}

task<result<void>> upload_chunk::list_parts() {
  const s3::upload_id id(_earlier.upload_id);
  auto listing = store().list_parts(_key, id, _common.stop);
  auto parts = co_await std::move(listing);
  if (!parts) {
    if (is_refused(parts.error())) {
      believe_ledger(parts.error());
      co_return engine::ok();
    }
    if (parts.error().what_now != disposition::not_found) {
      co_return std::move(parts.error());
    }
    _common.with.log.write(log_level::warning, "backup", "upload_gone",
                           {{"key", _key.str()},
                            {"reason", "the store has dropped the open upload"},
                            {"consequence", "its parts are uploaded again"}});
    _earlier = journalled_chunk();
    co_return engine::ok();
  }
  for (const s3::listed_part& part : *parts) {
    _listed_last = std::max(_listed_last, part.number);
    const auto noted = _earlier.parts.find(part.number);
    if (noted != _earlier.parts.end() && noted->second.size == part.size &&
        s3::etag(noted->second.etag) == part.tag) {
      _confirmed.insert(part.number);
    }
  }
  go_on();
  co_return engine::ok();
}

void upload_chunk::go_on() {
  prepare();
  _upload->resume(s3::upload_id(_earlier.upload_id), _earlier.checksums);
  _begun = true;
  _id_noted = true;
}

// The store does not tell which parts it has.
void upload_chunk::believe_ledger(const error& refused) {
  _common.with.log.write(
      log_level::warning, "backup", "parts_not_listed",
      {{"key", _key.str()},
       {"error", refused.text()},
       {"consequence",
        "the parts that the journal has are taken to be there; if they are not, they "
        "are uploaded again"}});
  for (const auto& [number, noted] : _earlier.parts) {
    _confirmed.insert(number);
    _listed_last = std::max(_listed_last, number);
  }
  _believed = true;
  go_on();
}

void upload_chunk::prepare() {
  if (!_upload) {
    _upload = std::make_unique<s3::multipart_upload>(_common.with.loop, store(), _common.with.log,
                                                     _key, chunk_options(_common.with));
  }
}

void upload_chunk::note_digest(std::uint32_t number, const engine::part_digest& digest) {
  _digests[number] = digest;
}

std::optional<engine::recorded_part> upload_chunk::recorded(std::uint32_t number) const {
  const auto noted = _earlier.parts.find(number);
  if (noted == _earlier.parts.end() || (!_stored_before && !_confirmed.contains(number))) {
    return std::nullopt;
  }
  const engine::seal_layout layout = _common.seals->layout();
  engine::recorded_part made;
  made.bytes = noted->second.size;
  made.plain_bytes = layout.plain_bytes_max(made.bytes);
  if (made.plain_bytes == 0 || layout.sealed_bytes(made.plain_bytes) != made.bytes) {
    return std::nullopt;  // no part has that size
  }
  made.digest.state = noted->second.state;
  made.digest.digest_if_last = noted->second.digest;
  made.digest.crc32 = noted->second.crc32;
  made.digest.fingerprint = noted->second.fingerprint;
  return made;
}

upload_chunk::presence upload_chunk::look_for_part(const outgoing_part& part,
                                                   const engine::part_digest& digest) {
  if (_stored_before) {
    return presence::present;
  }
  if (!_confirmed.contains(part.number)) {
    return presence::absent;
  }
  const journalled_part& earlier = _earlier.parts.at(part.number);
  if (earlier.size != part.bytes || earlier.digest != digest.digest_if_last ||
      earlier.crc32 != digest.crc32) {
    return presence::different;
  }
  _upload->adopt_part(part.number, part.bytes, s3::etag(earlier.etag), earlier.crc32);
  return presence::present;
}

// What is about to be sent of a sealed stream is an age file. Everything before sees to that; this
// is for the day on which it does not. Parts in the spool are compared there with what was sealed.
result<void> upload_chunk::check_sealed(const outgoing_part& part) const {
  if (_common.seals == nullptr || !part.in_memory) {
    return engine::ok();
  }
  const std::span<const std::byte> body = part.in_memory->body();
  const auto expected = std::as_bytes(std::span(age::version_line));
  if (body.size() > expected.size() && std::equal(expected.begin(), expected.end(), body.begin())) {
    return engine::ok();
  }
  error failure;
  failure.message = "part " + std::to_string(part.number) + " of " + _key.str() +
                    " is not sealed: it is not sent";
  failure.remedy = "this is a defect of this program";
  return failure;
}

task<result<void>> upload_chunk::send(outgoing_part& part, engine::part_digest digest) {
  // Its id is in the ledger before the first part is on its way: whatever happens then, the next
  // run knows what to go on with, or to abort.
  _begun = true;
  auto creating = _upload->open(_common.stop);
  auto created = co_await std::move(creating);
  if (!created) {
    co_return std::move(created.error()).within("uploading " + _key.str());
  }
  if (!std::exchange(_id_noted, true)) {
    auto noting = _common.ledger.note_upload(_index, _upload->id()->str(),
                                             _upload->declared_checksums(), _common.written_as());
    co_await std::move(noting);
  }
  if (auto sealed = check_sealed(part); !sealed) {
    co_return sealed;
  }
  part_body from;
  auto opening = open_body(_common.budget, part, from, _common.stop);
  auto opened = co_await std::move(opening);
  if (!opened) {
    co_return opened;
  }
  s3::body_digests digests;
  digests.crc32 = digest.crc32;
  digests.payload_sha256 = digest.payload_sha256;
  auto putting = _upload->put_part(part.number, from.body, digests, _common.stop);
  auto put = co_await std::move(putting);
  if (!put) {
    co_return std::move(put.error()).within("uploading " + _key.str());
  }
  auto noting = note_part(part.number, part.bytes, _upload->tag_of(part.number).str());
  co_await std::move(noting);
  co_return engine::ok();
}

task<void> upload_chunk::note_part(std::uint32_t number, std::uint64_t bytes, std::string tag) {
  const engine::part_digest& digest = _digests.at(number);
  journalled_part note;
  note.size = bytes;
  note.etag = std::move(tag);
  note.crc32 = digest.crc32;
  note.state = digest.state;
  note.digest = digest.digest_if_last;
  note.at = _common.now();
  note.fingerprint = digest.fingerprint;
  return _common.ledger.note_part(_index, number, std::move(note));
}

task<result<void>> upload_chunk::hash() {
  if (_alone && _digests.empty()) {
    auto finishing = _alone->digest(_common.with.stop);
    auto finished = co_await std::move(finishing);
    if (!finished) {
      co_return std::move(finished.error());
    }
    _digests[1] = *finished;
  }
  co_return engine::ok();
}

bool upload_chunk::has_leftovers(bool beyond) const {
  // Ceph refuses to complete an upload that has parts it is not told of.
  const bool stale_parts = _listed_last > _digests.size();
  const bool stale_upload = _alone && _upload;
  const bool other_object =
      _stored_before && !beyond && (_bytes != *_earlier.size || sha256() != _earlier.sha256);
  return beyond || stale_parts || stale_upload || other_object;
}

std::string upload_chunk::sha256() const {
  BTS3_ASSERT(!_digests.empty() && _digests.rbegin()->first == _digests.size());
  return _digests.rbegin()->second.digest_if_last.hex();
}

task<void> upload_chunk::note_whole() {
  if (!_stored_before) {
    if (_alone && _common.seals != nullptr) {
      auto noting = note_part(1, _alone->bytes, "");
      co_await std::move(noting);
    }
    auto noting = _common.ledger.note_whole(_index, _bytes, sha256(), _common.written_as());
    co_await std::move(noting);
  }
}

// An object that was put whole came with no HEAD. Its siblings' class is its own.
task<result<void>> upload_chunk::ask_for_class() {
  if (_common.stored_as) {
    co_return engine::ok();
  }
  auto asking = store().head_object(_key, _common.with.stop);
  auto info = co_await std::move(asking);
  if (!info) {
    co_return std::move(info.error()).within("looking at " + _key.str());
  }
  _common.note_class(info->stored_as);
  co_return engine::ok();
}

// Whether completing failed because what the ledger was believed to have, and the store did not
// tell of, is not there. Of other uploads the next run asks, and repeats no more than it has to.
bool upload_chunk::is_incomplete(const error& failure) const {
  const bool refused = failure.what_now == disposition::fail &&
                       (failure.status == 400 || failure.why == engine::reason::unsupported);
  return _believed && (failure.what_now == disposition::not_found || refused);
}

// The attempt that completed it may have ended before it looked for uploads left open.
task<result<void>> upload_chunk::sweep() {
  auto sweeping =
      s3::sweep_uploads(store(), _common.with.log, _key, std::nullopt, _common.with.stop);
  auto swept = co_await std::move(sweeping);
  if (!swept) {
    co_return std::move(swept.error()).within("looking for uploads left open");
  }
  co_return engine::ok();
}

task<result<void>> upload_chunk::put_alone() {
  const engine::part_digest& digest = _digests.at(1);
  if (auto sealed = check_sealed(*_alone); !sealed) {
    co_return sealed;
  }
  part_body from;
  auto opening = open_body(_common.budget, *_alone, from, _common.stop);
  auto opened = co_await std::move(opening);
  if (!opened) {
    co_return opened;
  }
  s3::put_request request(_key, from.body);
  request.options = chunk_options(_common.with);
  request.digests.crc32 = digest.crc32;
  request.digests.payload_sha256 = digest.payload_sha256;
  auto putting = store().put_object(std::move(request), _common.with.stop);
  auto tag = co_await std::move(putting);
  if (!tag) {
    co_return std::move(tag.error()).within("uploading " + _key.str());
  }
  _tag = std::move(*tag);
  auto asking = ask_for_class();
  co_return co_await std::move(asking);
}

task<result<void>> upload_chunk::complete_upload() {
  auto completing = _upload->complete(_common.with.stop);
  auto stored = co_await std::move(completing);
  if (!stored) {
    _gone = is_incomplete(stored.error());
    _exists = !_gone;
    co_return std::move(stored.error()).within("completing " + _key.str());
  }
  _tag = stored->tag;
  _common.note_class(stored->stored_as);
  co_return engine::ok();
}

task<result<void>> upload_chunk::complete() {
  if (_common.connection == nullptr) {
    co_return engine::ok();
  }
  if (_stored_before && (_earlier.stored || _earlier.upload_id.empty())) {
    co_return engine::ok();
  }
  _exists = true;  // from here an answer may be lost
  result<void> done;
  if (_stored_before) {
    auto sweeping = sweep();
    done = co_await std::move(sweeping);
  } else if (_alone) {
    auto putting = put_alone();
    done = co_await std::move(putting);
  } else {
    auto completing = complete_upload();
    done = co_await std::move(completing);
  }
  if (!done) {
    co_return done;
  }
  auto noting = _common.ledger.note_stored(_index, _tag.str());
  co_await std::move(noting);
  co_return engine::ok();
}

planner::chunk_record upload_chunk::describe() const {
  planner::chunk_record record;
  record.key = _key.str();
  record.size = _bytes;
  record.part_size = _common.part_bytes;
  if (_common.seals != nullptr) {
    record.plain_size = planner::plain_bytes_of_chunk(_bytes, _common.part_bytes).value();
  }
  if (!_tag.empty()) {
    record.etag = _tag.str();
  }
  record.sha256 = sha256();
  for (const auto& [number, digest] : _digests) {
    record.part_crc32.push_back(digest.crc32);
    if (number < _digests.size()) {
      BTS3_ASSERT(digest.state.has_value());
      record.part_states.push_back(digest.state->words);
    }
  }
  return record;
}

task<result<void>> upload_chunk::discard() {
  std::optional<s3::upload_id> known;
  if (_upload) {
    known = _upload->id();
  }
  auto ending =
      s3::end_uploads(store(), _common.with.log, _key, std::move(known), _common.with.stop);
  auto ended = co_await std::move(ending);
  if (!ended) {
    co_return std::move(ended.error()).within("aborting the upload of " + _key.str());
  }
  auto noting = _common.ledger.note_discarded(_index);
  co_await std::move(noting);
  co_return engine::ok();
}

std::optional<journalled_chunk> upload_chunk::left() const {
  if (!_begun && !_exists) {
    return std::nullopt;
  }
  journalled_chunk may_be_there;
  may_be_there.upload_begun = _begun;
  if (_upload && _upload->id()) {
    may_be_there.upload_id = _upload->id()->str();
  }
  may_be_there.stored = _exists;
  return may_be_there;
}

}  // namespace bts3::app
