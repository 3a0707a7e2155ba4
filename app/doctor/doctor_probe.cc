#include "app/doctor/doctor_probe.hh"

#include "app/text/human_units.hh"
#include "engine/async_scope.hh"
#include "engine/body_source.hh"
#include "engine/crc32.hh"
#include "engine/sha256.hh"
#include "engine/stop_after.hh"
#include "engine/wording.hh"

#include <algorithm>
#include <chrono>
#include <functional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// For the probe's own end after a stop, as backup_job has for its uploads.
constexpr std::chrono::seconds clean_up_limit{10};
constexpr std::string_view probe_text =
    "btrfs_to_s3 doctor: whether a chunk could be written here. Never part of a backup.\n";
// How much of a part is sent to see whether it is taken: beyond what proxies allow by themselves
// (nginx 1 MiB, others 10 and 16), in seconds on most lines.
constexpr std::uint64_t trial_bytes_max = std::uint64_t{32} << 20;
constexpr std::chrono::seconds trial_time_max{10};
constexpr const char* smaller_parts_remedy =
    "a proxy before the store may limit bodies, or the time that they take: lower "
    "s3.part_size_bytes, or raise that limit";
// What stores that take fewer parts than S3 take (Scaleway).
constexpr s3::part_number few_parts = 1000;
// What is tried where a class is refused: AWS's, of which other stores have some.
constexpr const char* classes_tried[] = {"",           "STANDARD", "STANDARD_IA", "ONEZONE_IA",
                                         "GLACIER_IR", "GLACIER",  "DEEP_ARCHIVE"};

std::span<const std::byte> probe_bytes() {
  return std::as_bytes(std::span(probe_text.data(), probe_text.size()));
}

std::string class_text(const s3::write_options& options) {
  return (options.stored_as.empty() ? "the bucket's storage class" : options.stored_as.str()) +
         (options.sse.empty() ? "" : ", sse " + options.sse);
}

bool is_refused(const error& failure) {
  return failure.why == reason::access || failure.why == reason::unsupported;
}

// One thing that the configuration asks for, and how to do without.
struct asked_thing {
  const char* name;
  engine::setting by;
  std::function<bool(s3::write_options&)> take_out;  // false: it was not asked for
};

bool cleared(std::string& text) {
  const bool there = !text.empty();
  text.clear();
  return there;
}

std::vector<asked_thing> things_in(const s3::write_options& options) {
  return {
      {"x-amz-storage-class", options.class_from,
       [](s3::write_options& of) {
         return !std::exchange(of.stored_as, s3::storage_class()).empty();
       }},
      {"x-amz-server-side-encryption-aws-kms-key-id", engine::setting::encryption_key,
       [](s3::write_options& of) { return cleared(of.sse_kms_key_id); }},
      {"x-amz-server-side-encryption", engine::setting::encryption,
       [](s3::write_options& of) {
         const bool key = cleared(of.sse_kms_key_id);
         return cleared(of.sse) || key;
       }},
      {"x-amz-acl", engine::setting::acl, [](s3::write_options& of) { return cleared(of.acl); }},
      {"x-amz-tagging", engine::setting::tags,
       [](s3::write_options& of) { return cleared(of.tags); }},
  };
}

}  // namespace

write_probe::write_probe(const services& with, store_connection& connection, std::string key)
    : _with(with), _connection(connection), _key(std::move(key)) {}

task<std::vector<health_check>> write_probe::run() {
  auto deleting = _connection.store().delete_object(_key, _with.stop);
  auto deleted = co_await std::move(deleting);
  _deletes = deleted.has_value();
  auto uploading = upload();
  co_await std::move(uploading);
  const bool writes = _made.back().how != check_outcome::failed;
  if (writes) {
    auto trying = try_limits();
    co_await std::move(trying);
  } else {
    _made.push_back(skipped("limits", "", "because no part can be written"));
  }
  if (!writes) {
    _made.push_back(skipped("documents", "", "because no part can be written"));
  } else if (!_deletes) {
    _made.push_back(skipped("documents", "",
                            "because this key may not delete, and what is written would stay"));
  } else {
    auto writing = write_documents();
    co_await std::move(writing);
  }
  co_return std::move(_made);
}

// Whatever became of it, and also after a stop. Of the two ends, one has nothing to do.
task<result<void>> write_probe::end(const s3::upload_id* id, s3::multipart_upload* upload) {
  engine::stop_source limit;
  engine::stop_source finished;
  engine::async_scope timer(_with.loop);
  timer.spawn(engine::stop_after(_with.loop, clean_up_limit, limit, finished.token()));
  result<void> ended = engine::ok();
  if (id != nullptr) {
    auto aborting = _connection.store().abort_multipart_upload(_key, *id, limit.token());
    ended = co_await std::move(aborting);
  } else if (upload != nullptr && !_completed) {
    auto aborting = upload->abort(limit.token());
    ended = co_await std::move(aborting);
  }
  if (_object_may_exist) {
    auto deleting = _connection.store().delete_object(_key, limit.token());
    auto deleted = co_await std::move(deleting);
    if (ended) {
      ended = std::move(deleted);
    }
  }
  finished.request_stop();
  auto joining = timer.join();
  co_await std::move(joining);
  if (!ended && ended.error().what_now == disposition::cancelled) {
    ended.error().message = "no answer in time";
  }
  if (!ended && _with.stop.stop_requested()) {
    // Nobody will see the check.
    _with.log.write(engine::log_level::warning, "doctor", "probe_left",
                    {{"key", _key.str()}, {"error", ended.error().text()}});
  }
  co_return ended;
}

task<result<void>> write_probe::upload_and_complete(s3::multipart_upload& upload) {
  const auto bytes = probe_bytes();
  s3::body_digests digests;
  digests.crc32 = engine::crc32(0, bytes);
  s3::body_form form;
  form.asks_first = s3::body_form::asking::always;  // as large parts do
  upload.send_as(form);
  auto putting = upload.put_part(1, s3::request_body(bytes), digests, _with.stop);
  auto put = co_await std::move(putting);
  if (!put) {
    co_return put;
  }
  auto listing = _connection.store().list_parts(_key, *upload.id(), _with.stop);
  auto listed = co_await std::move(listing);
  if (!listed && !is_refused(listed.error())) {
    co_return std::move(listed.error()).within("its parts");
  }
  _parts_listed = listed.has_value();
  if (!_deletes) {
    co_return engine::ok();
  }
  _object_may_exist = true;
  auto completing = upload.complete(_with.stop);
  auto completed = co_await std::move(completing);
  if (!completed) {
    co_return std::move(completed.error()).within("completing it");
  }
  _completed = std::move(*completed);
  co_return engine::ok();
}

health_check write_probe::of_refused_abort(const char* check, error failure) const {
  const std::string what =
      "the upload that was begun as " + _key.str() + " cannot be aborted: " + failure.message;
  if (is_refused(failure)) {
    // A backup can do without.
    return warned(check, "", what,
                  "allow s3:AbortMultipartUpload, or let a lifecycle rule end incomplete uploads: "
                  "until then their parts are paid for");
  }
  return failed_check(check, "", what,
                      "check s3:AbortMultipartUpload; the next doctor, or prune, tries again");
}

task<void> write_probe::upload() {
  const s3::write_options options = chunk_options(_with);
  s3::multipart_upload upload(_with.loop, _connection.store(), _with.log, _key, options);
  auto uploading = upload_and_complete(upload);
  auto done = co_await std::move(uploading);
  auto ending = end(nullptr, &upload);
  auto ended = co_await std::move(ending);
  _object_may_exist = false;
  if (!done) {
    auto examining = examined(std::move(done.error()), options);
    error failure = co_await std::move(examining);
    _made.push_back(
        failed_check("write", "", std::move(failure).within(_key.str()), backup_rights_remedy));
  } else if (!ended && _completed) {
    _made.push_back(failed_check(
        "write", "",
        "the object " + _key.str() + " cannot be deleted again: " + ended.error().message,
        "delete it; it is no part of a backup"));
  } else if (!ended && upload.id()) {
    _made.push_back(of_refused_abort("write", std::move(ended.error())));
  } else {
    const std::string how =
        class_text(options) + (upload.declared_checksums() ? ", with CRC32" : ", without CRC32");
    std::string found =
        _completed ? "an object of one part was uploaded (" + how + ") and deleted again, as "
                   : "a part was uploaded (" + how + ") and aborted again, as ";
    found += _key.str();
    if (!_parts_listed) {
      found += "; parts are not listed: an interrupted backup goes on by its journal alone";
    }
    _made.push_back(ok_check("write", "", std::move(found)));
  }
}

// A part's worth of zeros, of which a beginning is sent.
class write_probe::trial_body final : public engine::body_source {
 public:
  // `enough` is requested when no more shall be sent.
  trial_body(std::uint64_t bytes, engine::stop_source& enough) : _bytes(bytes), _enough(enough) {}
  [[nodiscard]] std::uint64_t size() const override { return _bytes; }
  [[nodiscard]] unsigned buffers() const override { return 2; }
  task<result<std::span<const std::byte>>> fetch(unsigned, std::uint64_t offset,
                                                 engine::stop_token) override {
    _transfers += offset == 0 ? 1 : 0;
    _sent = std::max(_sent, offset);
    // What is repeated has failed before; that it was slow, too, is no reason to end it well.
    if (offset >= trial_bytes_max || (_late && _transfers == 1)) {
      _enough.request_stop();
      co_return engine::cancelled_error();
    }
    co_return std::span<const std::byte>(_zeros).first(
        std::min<std::uint64_t>(_zeros.size(), _bytes - offset));
  }
  void end_soon() { _late = true; }
  // The most of it that was asked for, but for what is fetched ahead.
  [[nodiscard]] std::uint64_t sent() const { return _sent; }
  // Of the whole, where all of it is sent.
  [[nodiscard]] engine::sha256_state digest() const {
    engine::sha256_hasher hash;
    for (std::uint64_t at = 0; at < _bytes && _bytes <= trial_bytes_max; at += _zeros.size()) {
      hash.update(std::span<const std::byte>(_zeros).first(
          std::min<std::uint64_t>(_zeros.size(), _bytes - at)));
    }
    return hash.digest();
  }

 private:
  std::uint64_t _bytes;
  engine::stop_source& _enough;
  bool _late = false;
  unsigned _transfers = 0;
  std::uint64_t _sent = 0;
  std::vector<std::byte> _zeros = std::vector<std::byte>(64 * 1024);
};

task<void> write_probe::end_later(engine::reactor& loop, trial_body& body,
                                  engine::stop_token finished) {
  auto sleeping = loop.sleep_for(trial_time_max, finished);
  auto slept = co_await std::move(sleeping);
  if (slept) {
    body.end_soon();
  }
}

// Bytes of a part that the store has taken: all, or as many as were sent of it. An error has them
// in its message.
task<result<std::uint64_t>> write_probe::try_part(s3::upload_id id) {
  engine::linked_stop_source enough(_with.stop);
  engine::stop_source finished;
  trial_body body(_with.settings.s3.part_size_bytes, enough);
  engine::async_scope timer(_with.loop);
  timer.spawn(end_later(_with.loop, body, finished.token()));
  s3::upload_part_request request(_key, std::move(id), 1, s3::request_body(body));
  request.digests.payload_sha256 = body.digest();
  request.form.asks_first = s3::body_form::asking::always;
  auto uploading = _connection.store().upload_part(std::move(request), enough.token());
  auto uploaded = co_await std::move(uploading);
  finished.request_stop();
  auto joining = timer.join();
  co_await std::move(joining);
  if (uploaded) {
    co_return body.size();
  }
  if (uploaded.error().what_now == disposition::cancelled) {
    co_return body.sent();
  }
  uploaded.error().message +=
      ", after " + format_bytes(body.sent()) + " of a part of " + format_bytes(body.size());
  co_return std::move(uploaded.error());
}

task<result<void>> write_probe::put_part(s3::upload_id id, s3::part_number number) {
  s3::upload_part_request request(_key, std::move(id), number, s3::request_body(probe_bytes()));
  auto uploading = _connection.store().upload_part(std::move(request), _with.stop);
  auto uploaded = co_await std::move(uploading);
  if (!uploaded) {
    co_return std::move(uploaded.error());
  }
  co_return engine::ok();
}

// Of one upload without checksums; it stays for the caller to end.
task<health_check> write_probe::limits_of(s3::upload_id id) {
  const config& settings = _with.settings;
  auto sending = try_part(id);
  const auto taken = co_await std::move(sending);
  if (!taken) {
    co_return failed_check("limits", "", taken.error(), smaller_parts_remedy);
  }
  const std::uint64_t parts = (settings.chunk_limit_bytes() + settings.s3.part_size_bytes - 1) /
                              settings.s3.part_size_bytes;
  const auto last = static_cast<s3::part_number>(std::max<std::uint64_t>(parts, 1));
  auto putting = put_part(id, last);
  auto put = co_await std::move(putting);
  std::string found = "parts of " + format_bytes(settings.s3.part_size_bytes);
  if (put) {
    found += " and part number " + std::to_string(last) + " are taken";
    if (*taken < settings.s3.part_size_bytes) {
      found += ", as far as " + format_bytes(*taken) +
               " of a part tell: a limit that shows only after that would end a backup";
    }
    co_return ok_check("limits", "", std::move(found));
  }
  std::string fewer = "what the store takes";
  if (last > few_parts) {
    auto trying = put_part(id, few_parts);
    auto tried = co_await std::move(trying);
    fewer = tried ? std::to_string(few_parts) : fewer;
  }
  co_return warned("limits", "",
                   "a chunk may have " + std::to_string(last) +
                       " parts, and the store refuses that number: " + put.error().message,
                   "set s3.parts_max = " + fewer);
}

task<void> write_probe::try_limits() {
  s3::write_options options = chunk_options(_with);
  options.checksum_crc32 = false;
  auto creating = _connection.store().create_multipart_upload(_key, std::move(options), _with.stop);
  auto created = co_await std::move(creating);
  if (!created) {
    _made.push_back(failed_check("limits", "", std::move(created.error()).within(_key.str()),
                                 backup_rights_remedy));
    co_return;
  }
  auto looking = limits_of(created->id);
  health_check found = co_await std::move(looking);
  auto ending = end(&created->id, nullptr);
  auto ended = co_await std::move(ending);
  if (!ended && found.how == check_outcome::ok) {
    found = of_refused_abort("limits", std::move(ended.error()));
  }
  _made.push_back(std::move(found));
}

task<result<s3::etag>> write_probe::put_document(s3::precondition condition) {
  s3::put_request request(_key, s3::request_body(probe_bytes()));
  request.options = document_options(_with);
  request.condition = std::move(condition);
  _object_may_exist = true;
  auto putting = _connection.store().put_object(std::move(request), _with.stop);
  co_return co_await std::move(putting);
}

task<void> write_probe::write_documents() {
  const auto unmet = [](const error& failure) {
    return failure.why == reason::unsupported || failure.why == reason::precondition;
  };
  std::string without;
  auto putting = put_document(s3::precondition::absent());
  auto put = co_await std::move(putting);
  if (!put && unmet(put.error())) {
    const error refused = std::move(put.error());
    auto again = put_document(s3::precondition());
    put = co_await std::move(again);
    if (put) {
      without = refused.message;
      _connection.features().note_refused(_with.log, {s3::feature::absent_condition}, refused);
    }
  }
  if (put) {
    const s3::etag tag = *put;
    auto replacing = put_document(s3::precondition::matches(tag));
    put = co_await std::move(replacing);
    if (!put && unmet(put.error())) {
      const error refused = std::move(put.error());
      s3::precondition unquoted = s3::precondition::matches(tag);
      unquoted.unquoted = true;
      const bool compares = refused.why == reason::precondition;
      auto again = put_document(compares ? unquoted : s3::precondition());
      put = co_await std::move(again);
      if (put && !compares) {
        without = refused.message;
        _connection.features().note_refused(_with.log, {s3::feature::match_condition}, refused);
      }
    }
  }
  auto ending = end(nullptr, nullptr);
  auto ended = co_await std::move(ending);
  if (!put) {
    auto examining = examined(std::move(put.error()), document_options(_with));
    error failure = co_await std::move(examining);
    _made.push_back(
        failed_check("documents", "", std::move(failure).within(_key.str()), backup_rights_remedy));
  } else if (!ended) {
    _made.push_back(failed_check(
        "documents", "",
        "the object " + _key.str() + " cannot be deleted again: " + ended.error().message,
        "delete it; it is no part of a backup"));
  } else if (!without.empty()) {
    _made.push_back(warned("documents", "",
                           "the store takes no conditions, so that each key is looked at before "
                           "it is written: " +
                               without,
                           "give each host an s3.prefix of its own: two that share one could "
                           "write over each other"));
  } else {
    _made.push_back(ok_check("documents", "",
                             "one was written, replaced and deleted again, each on its condition"));
  }
}

// Whether an upload with these options can be begun; it is aborted.
task<bool> write_probe::can_begin(s3::write_options options) {
  auto creating = _connection.store().create_multipart_upload(_key, std::move(options), _with.stop);
  auto made = co_await std::move(creating);
  if (!made) {
    co_return false;
  }
  auto aborting = _connection.store().abort_multipart_upload(_key, made->id, _with.stop);
  auto aborted = co_await std::move(aborting);
  co_return aborted.has_value() || is_refused(aborted.error());
}

// Says which of the things that the configuration asks for it is, where it is one of them alone.
task<error> write_probe::examined(error failure, s3::write_options options) {
  if (!is_refused(failure) && failure.why != reason::configuration) {
    co_return failure;
  }
  auto trying_again = can_begin(options);
  if (co_await std::move(trying_again)) {
    co_return failure;  // it is none of them
  }
  std::optional<engine::setting> culprit;
  for (const asked_thing& one : things_in(options)) {
    s3::write_options fewer = options;
    if (culprit || !one.take_out(fewer)) {
      continue;
    }
    auto trying = can_begin(std::move(fewer));
    if (co_await std::move(trying)) {
      culprit = one.by;
      failure.remedy = "without " + std::string(one.name) + " the store takes it: change " +
                       engine::wording(one.by);
    }
  }
  if (culprit == options.class_from) {
    std::string taken;
    for (const char* name : classes_tried) {
      s3::write_options other = options;
      other.stored_as = s3::storage_class(name);
      auto trying = can_begin(std::move(other));
      if (co_await std::move(trying)) {
        taken += (taken.empty() ? "" : ", ") + std::string(*name == '\0' ? "none" : name);
      }
    }
    failure.remedy += "; of the usual classes it takes " + taken;
  }
  co_return failure;
}

}  // namespace bts3::app
