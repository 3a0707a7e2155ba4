// The memory store's verbs: each recorded, passed through the run queue, failed where a script says
// so, and performed at once.
#include "tests/support/memory_store.hh"

#include "s3/verbs/xml.hh"
#include "tests/support/gather.hh"
#include "tests/support/memory_store_refusals.hh"

#include <algorithm>
#include <array>
#include <ctime>

namespace bts3::testing {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

namespace {

using time_point = std::chrono::system_clock::time_point;

std::string http_date(time_point when) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(when);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text.data();
}

// What HEAD tells of an archived object.
void add_archive_headers(s3::object_info& info, const memory_store::stored_object& object,
                         time_point now) {
  const auto& restored = object.restored;
  const bool tiered = !object.archive_status.empty();
  if (tiered && (!restored || now < restored->ready)) {
    info.archive_status = object.archive_status;
  }
  if (!restored || now >= restored->expires) {
    return;
  }
  if (now < restored->ready) {
    info.restore = "ongoing-request=\"true\"";
  } else if (!tiered) {
    info.restore =
        "ongoing-request=\"false\", expiry-date=\"" + http_date(restored->expires) + "\"";
  }
}

}  // namespace

// Records the call, lets others run, and then performs `work`, a plain function, or fails.
template <typename T, typename Work>
task<result<T>> memory_store::step(std::string verb, std::string key, Work work,
                                   engine::stop_token stop) {
  recorded_call call;
  call.verb = std::move(verb);
  call.key = std::move(key);
  _calls.push_back(call);
  const std::optional<scripted_failure> script = failure_of(_calls.size());
  _in_flight_max = std::max(_in_flight_max, ++_in_flight);
  auto yielding = _loop.yield();
  co_await std::move(yielding);
  --_in_flight;
  if (stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  if (script && script->when == performed::no) {
    error failure = script->failure;
    co_return failure;
  }
  if (_judgement) {
    std::optional<error> failure = _judgement(call);
    if (failure) {
      co_return std::move(*failure);
    }
  }
  result<T> outcome = work();
  if (script) {
    error failure = script->failure;
    co_return failure;
  }
  co_return outcome;
}

task<result<s3::etag>> memory_store::put_object(s3::put_request request, engine::stop_token stop) {
  const std::string key = request.key.str();
  std::string gathered;
  if (engine::body_source* source = request.body.source()) {
    auto gathering = gather(*source, stop);
    auto body = co_await std::move(gathering);
    if (!body) {
      co_return std::move(body.error());
    }
    gathered = std::move(*body);
    request.body = std::as_bytes(std::span(gathered.data(), gathered.size()));
  }
  const auto work = [this, request] { return do_put(request); };
  auto stepping = step<s3::etag>("PutObject", key, work, stop);
  co_return co_await std::move(stepping);
}

task<result<std::size_t>> memory_store::get_object(s3::get_request request,
                                                   engine::stop_token stop) {
  const std::string key = request.key.str();
  return step<std::size_t>("GetObject", key, [this, request] { return do_get(request); }, stop);
}

task<result<s3::text_object>> memory_store::get_object_text(s3::object_key key,
                                                            std::size_t bytes_max,
                                                            engine::stop_token stop) {
  return step<s3::text_object>(
      "GetObject", key.str(),
      [this, key, bytes_max]() -> result<s3::text_object> {
        const stored_object* present = find(key.str());
        if (present == nullptr) {
          return no_such_key(key.str());
        }
        if (!readable(*present)) {
          return still_archived(key.str());
        }
        if (present->body.size() > bytes_max) {
          return refusal(disposition::fail, reason::protocol, 0, "", key.str());
        }
        s3::text_object text;
        text.body = present->body;
        text.tag = present->tag;
        return text;
      },
      stop);
}

task<result<s3::object_info>> memory_store::head_object(s3::object_key key,
                                                        engine::stop_token stop) {
  return step<s3::object_info>(
      "HeadObject", key.str(),
      [this, key]() -> result<s3::object_info> {
        const stored_object* present = find(key.str());
        if (present == nullptr) {
          return no_such_key(key.str());
        }
        s3::object_info info;
        info.size = present->body.size();
        info.tag = present->tag;
        info.stored_as = present->options.stored_as;
        info.sse = present->options.sse;
        if (archived(*present)) {
          add_archive_headers(info, *present, _options.clock->now());
        }
        return info;
      },
      stop);
}

task<result<s3::listing>> memory_store::list_objects(s3::list_request request,
                                                     engine::stop_token stop) {
  const std::string prefix = request.prefix;
  return step<s3::listing>(
      "ListObjectsV2", prefix,
      [this, request]() -> result<s3::listing> {
        s3::listing listed = do_list(request);
        if (listed.objects.size() + listed.common_prefixes.size() > request.objects_max) {
          return refusal(disposition::fail, reason::unspecified, 0, "", request.prefix);
        }
        return listed;
      },
      stop);
}

task<result<void>> memory_store::delete_object(s3::object_key key, engine::stop_token stop) {
  return step<void>(
      "DeleteObject", key.str(),
      [this, key] {
        _objects.erase(key.str());
        return engine::ok();
      },
      stop);
}

task<result<s3::created_upload>> memory_store::create_multipart_upload(s3::object_key key,
                                                                       s3::write_options options,
                                                                       engine::stop_token stop) {
  return step<s3::created_upload>(
      "CreateMultipartUpload", key.str(),
      [this, key, options]() -> result<s3::created_upload> {
        if (options.checksum_crc32 && _options.refuse_checksums) {
          return checksums_refused(key.str());
        }
        if (_refused_classes.contains(options.stored_as.str())) {
          return refusal(disposition::fail, reason::configuration, 400, "InvalidStorageClass",
                         key.str());
        }
        s3::upload_id id("upload-" + std::to_string(_next_upload++));
        open_upload upload;
        upload.key = key;
        upload.options = options;
        upload.initiated = _date;
        _uploads[id.str()] = std::move(upload);
        return s3::created_upload(std::move(id), options.checksum_crc32);
      },
      stop);
}

task<result<s3::etag>> memory_store::upload_part(s3::upload_part_request request,
                                                 engine::stop_token stop) {
  const std::string key = request.key.str();
  std::string gathered;
  if (engine::body_source* source = request.body.source()) {
    auto gathering = gather(*source, stop);
    auto body = co_await std::move(gathering);
    if (!body) {
      co_return std::move(body.error());
    }
    gathered = std::move(*body);
    request.body = std::as_bytes(std::span(gathered.data(), gathered.size()));
  }
  const auto work = [this, request] { return do_upload_part(request); };
  auto stepping = step<s3::etag>("UploadPart", key, work, stop);
  co_return co_await std::move(stepping);
}

task<result<s3::etag>> memory_store::complete_multipart_upload(
    s3::object_key key, s3::upload_id id, std::vector<s3::completed_part> parts,
    engine::stop_token stop) {
  return step<s3::etag>(
      "CompleteMultipartUpload", key.str(),
      [this, key, id, parts] { return do_complete(key, id, parts); }, stop);
}

task<result<void>> memory_store::abort_multipart_upload(s3::object_key key, s3::upload_id id,
                                                        engine::stop_token stop) {
  return step<void>(
      "AbortMultipartUpload", key.str(),
      [this, key, id] {
        if (find_upload(key, id) != nullptr) {
          _uploads.erase(id.str());
        }
        return engine::ok();
      },
      stop);
}

task<result<std::vector<s3::listed_part>>> memory_store::list_parts(s3::object_key key,
                                                                    s3::upload_id id,
                                                                    engine::stop_token stop) {
  return step<std::vector<s3::listed_part>>(
      "ListParts", key.str(),
      [this, key, id]() -> result<std::vector<s3::listed_part>> {
        const open_upload* upload = find_upload(key, id);
        if (upload == nullptr) {
          return no_such_upload(key.str());
        }
        std::vector<s3::listed_part> listed;
        for (const auto& [number, part] : upload->parts) {
          s3::listed_part entry;
          entry.number = number;
          entry.size = part.body.size();
          entry.tag = part.tag;
          listed.push_back(std::move(entry));
        }
        return listed;
      },
      stop);
}

task<result<std::vector<s3::listed_upload>>> memory_store::list_multipart_uploads(
    std::string prefix, engine::stop_token stop) {
  return step<std::vector<s3::listed_upload>>(
      "ListMultipartUploads", prefix,
      [this, prefix]() -> result<std::vector<s3::listed_upload>> {
        if (_options.refuse_list_uploads_status == 403) {
          return refusal(disposition::fail, reason::access, 403, "AccessDenied", prefix);
        }
        if (_options.refuse_list_uploads_status != 0) {
          return refusal(disposition::fail, reason::unsupported, 501, "NotImplemented", prefix);
        }
        std::vector<s3::listed_upload> listed;
        for (const auto& [id, upload] : _uploads) {
          const std::string& key = upload.key.str();
          if (_options.list_uploads_by_key ? key == prefix : key.starts_with(prefix)) {
            s3::listed_upload entry;
            entry.key = upload.key;
            entry.id = s3::upload_id(id);
            entry.initiated = upload.initiated;
            listed.push_back(std::move(entry));
          }
        }
        return listed;
      },
      stop);
}

task<result<s3::restore_outcome>> memory_store::restore_object(
    s3::object_key key, std::optional<unsigned> days, std::optional<s3::retrieval_tier> tier,
    engine::stop_token stop) {
  return step<s3::restore_outcome>(
      "RestoreObject", key.str(), [this, key, days, tier] { return do_restore(key, days, tier); },
      stop);
}

task<result<s3::object_attributes>> memory_store::get_object_attributes(s3::object_key key,
                                                                        engine::stop_token stop) {
  return step<s3::object_attributes>(
      "GetObjectAttributes", key.str(),
      [this, key]() -> result<s3::object_attributes> {
        const stored_object* present = find(key.str());
        if (!_options.tell_attributes) {
          return refusal(disposition::fail, reason::unsupported, 501, "NotImplemented", key.str());
        }
        if (present == nullptr) {
          return no_such_key(key.str());
        }
        s3::object_attributes found;
        found.size = present->body.size();
        found.stored_as = present->options.stored_as;
        if (!present->part_crc32.empty()) {
          found.crc32 = s3::crc32_of_parts(present->part_crc32);
          found.composite = true;
          found.parts = static_cast<std::uint32_t>(present->part_crc32.size());
        }
        return found;
      },
      stop);
}

}  // namespace bts3::testing
