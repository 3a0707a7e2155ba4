// What the memory store holds, and what each of its verbs does to that.
#include "tests/support/memory_store.hh"

#include "engine/assert.hh"
#include "tests/support/memory_store_refusals.hh"

#include <libdeflate.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

namespace bts3::testing {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;

namespace {

std::string md5(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int size = 0;
  const int made = ::EVP_Digest(bytes.data(), bytes.size(), out.data(), &size, EVP_md5(), nullptr);
  BTS3_ASSERT(made == 1);
  return std::string(reinterpret_cast<const char*>(out.data()), size);
}

std::string hex(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[static_cast<unsigned char>(c) & 0xf];
  }
  return out;
}

std::string text_of(std::span<const std::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

bool crc32_differs(std::span<const std::byte> body, std::optional<std::uint32_t> declared) {
  return declared && *declared != ::libdeflate_crc32(0, body.data(), body.size());
}

using time_point = std::chrono::system_clock::time_point;

// The midnight (UTC) that follows, as S3 rounds the end of a restored copy.
time_point next_midnight(time_point when) {
  return std::chrono::floor<std::chrono::days>(when) + std::chrono::days(1);
}

}  // namespace

void memory_store::fail_at(std::size_t step, error failure, performed when) {
  _failures[step] = scripted_failure{std::move(failure), when};
}

void memory_store::fail_from(std::size_t step, error failure) {
  _fails_from.emplace(step, std::move(failure));
}

void memory_store::never_fail() {
  _failures.clear();
  _fails_from.reset();
}

error memory_store::lost_connection() {
  error failure;
  failure.what_now = disposition::retry;
  failure.why = reason::network;
  failure.message = "the connection is gone";
  return failure;
}

error memory_store::denied(const std::string& key) {
  return refusal(disposition::fail, reason::access, 403, "AccessDenied", key);
}

error memory_store::absent(const std::string& key) {
  return no_such_key(key);
}

void memory_store::put(const std::string& key, std::string body) {
  stored_object object;
  object.tag = s3::etag(hex(md5(body)));
  object.body = std::move(body);
  object.modified = _date;
  _objects[key] = std::move(object);
}

void memory_store::put(const std::string& key, std::string body, const std::string& stored_as,
                       const std::string& archive_status) {
  put(key, std::move(body));
  _objects[key].options.stored_as = s3::storage_class(stored_as);
  _objects[key].archive_status = archive_status;
}

bool memory_store::archived(const stored_object& object) const {
  const std::string& stored_as = object.options.stored_as.str();
  return _options.clock != nullptr &&
         (stored_as == "GLACIER" || stored_as == "DEEP_ARCHIVE" || !object.archive_status.empty());
}

bool memory_store::readable(const stored_object& object) const {
  if (!archived(object)) {
    return true;
  }
  const auto now = _options.clock->now();
  return object.restored && object.restored->ready <= now && now < object.restored->expires;
}

const memory_store::stored_object* memory_store::find(const std::string& key) const {
  const auto found = _objects.find(key);
  return found == _objects.end() ? nullptr : &found->second;
}

std::size_t memory_store::count(std::string_view verb) const {
  return static_cast<std::size_t>(std::count_if(
      _calls.begin(), _calls.end(), [&](const recorded_call& call) { return call.verb == verb; }));
}

std::optional<memory_store::scripted_failure> memory_store::failure_of(std::size_t number) const {
  if (const auto found = _failures.find(number); found != _failures.end()) {
    return found->second;
  }
  if (_fails_from && number >= _fails_from->first) {
    return scripted_failure{_fails_from->second, performed::no};
  }
  return std::nullopt;
}

result<s3::etag> memory_store::do_put(const s3::put_request& request) {
  const std::string& key = request.key.str();
  const stored_object* present = find(key);
  if (request.condition.must_be_absent && present != nullptr) {
    return condition_failed(key);
  }
  if (request.condition.must_match) {
    if (present == nullptr) {
      return no_such_key(key);
    }
    if (present->tag != *request.condition.must_match) {
      return condition_failed(key);
    }
  }
  const bool checksum = request.options.checksum_crc32 && request.digests.crc32;
  if (checksum && _options.refuse_checksums) {
    return checksums_refused(key);
  }
  if (checksum && crc32_differs(request.body.bytes(), request.digests.crc32)) {
    return refusal(disposition::retry, reason::bad_request, 400, "BadDigest", key);
  }
  put(key, text_of(request.body.bytes()));
  _objects[key].options = request.options;
  return _objects[key].tag;
}

result<std::size_t> memory_store::do_get(const s3::get_request& request) const {
  const std::string& key = request.key.str();
  const stored_object* present = find(key);
  if (present == nullptr) {
    return no_such_key(key);
  }
  if (request.must_match && present->tag != *request.must_match) {
    return condition_failed(key);
  }
  if (!readable(*present)) {
    return still_archived(key);
  }
  std::string_view wanted = present->body;
  if (request.range) {
    if (request.range->offset + request.range->length > wanted.size()) {
      return refusal(disposition::fail, reason::unspecified, 416, "InvalidRange", key);
    }
    wanted = wanted.substr(request.range->offset, request.range->length);
  }
  if (wanted.size() > request.into.size()) {
    return refusal(disposition::fail, reason::protocol, 0, "", key);
  }
  const auto bytes = std::as_bytes(std::span(wanted.data(), wanted.size()));
  std::copy(bytes.begin(), bytes.end(), request.into.begin());
  return wanted.size();
}

s3::listing memory_store::do_list(const s3::list_request& request) const {
  s3::listing listed;
  for (const auto& [key, object] : _objects) {
    if (!key.starts_with(request.prefix) || key <= request.start_after) {
      continue;
    }
    if (!request.delimiter.empty()) {
      const std::size_t cut = key.find(request.delimiter, request.prefix.size());
      if (cut != std::string::npos) {
        const std::string prefix = key.substr(0, cut + request.delimiter.size());
        if (listed.common_prefixes.empty() || listed.common_prefixes.back() != prefix) {
          listed.common_prefixes.push_back(prefix);
        }
        continue;
      }
    }
    s3::listed_object entry;
    entry.key = s3::object_key(key);
    entry.size = object.body.size();
    entry.tag = object.tag;
    entry.stored_as = object.options.stored_as;
    entry.last_modified = object.modified;
    listed.objects.push_back(std::move(entry));
  }
  return listed;
}

memory_store::open_upload* memory_store::find_upload(const s3::object_key& key,
                                                     const s3::upload_id& id) {
  const auto found = _uploads.find(id.str());
  return found == _uploads.end() || found->second.key != key ? nullptr : &found->second;
}

result<s3::etag> memory_store::do_upload_part(const s3::upload_part_request& request) {
  const std::string& key = request.key.str();
  open_upload* upload = find_upload(request.key, request.id);
  if (upload == nullptr) {
    return no_such_upload(key);
  }
  if (request.number < 1 || request.number > s3::part_number_max) {
    return bad_argument(key, "InvalidArgument");
  }
  if (request.digests.crc32 && _options.refuse_checksums) {
    return checksums_refused(key);
  }
  if (request.digests.crc32.has_value() != upload->options.checksum_crc32) {
    return bad_argument(key, "InvalidRequest");
  }
  if (crc32_differs(request.body.bytes(), request.digests.crc32)) {
    return refusal(disposition::retry, reason::bad_request, 400, "BadDigest", key);
  }
  open_upload::part part;
  part.body = text_of(request.body.bytes());
  part.tag = s3::etag(hex(md5(part.body)));
  part.crc32 = request.digests.crc32;
  upload->parts[request.number] = part;
  return part.tag;
}

result<s3::etag> memory_store::do_complete(const s3::object_key& key, const s3::upload_id& id,
                                           const std::vector<s3::completed_part>& parts) {
  open_upload* upload = find_upload(key, id);
  if (upload == nullptr) {
    return no_such_upload(key.str());
  }
  if (parts.empty()) {
    return bad_argument(key.str(), "MalformedXML");
  }
  std::string body;
  std::string digests;
  std::vector<std::uint32_t> checksums;
  s3::part_number last = 0;
  for (const s3::completed_part& named : parts) {
    if (named.number <= last) {
      return bad_argument(key.str(), "InvalidPartOrder");
    }
    last = named.number;
    const auto found = upload->parts.find(named.number);
    if (found == upload->parts.end() || found->second.tag != named.tag ||
        found->second.crc32 != named.crc32) {
      return bad_argument(key.str(), "InvalidPart");
    }
    if (&named != &parts.back() && found->second.body.size() < _options.part_bytes_min) {
      return bad_argument(key.str(), "EntityTooSmall");
    }
    body += found->second.body;
    if (found->second.crc32) {
      checksums.push_back(*found->second.crc32);
    }
    digests += md5(found->second.body);
  }
  stored_object object;
  object.body = std::move(body);
  object.tag = s3::etag(hex(md5(digests)) + "-" + std::to_string(parts.size()));
  object.options = upload->options;
  object.modified = _date;
  object.part_crc32 = std::move(checksums);
  const s3::etag tag = object.tag;
  _objects[key.str()] = std::move(object);
  _uploads.erase(id.str());
  return _options.empty_etag_from_complete ? s3::etag() : tag;
}

result<s3::restore_outcome> memory_store::do_restore(const s3::object_key& key,
                                                     std::optional<unsigned> days,
                                                     std::optional<s3::retrieval_tier> tier) {
  const auto found = _objects.find(key.str());
  if (found == _objects.end()) {
    return no_such_key(key.str());
  }
  if (_options.refuse_restores) {
    return refusal(disposition::fail, reason::unsupported, 501, "NotImplemented", key.str());
  }
  stored_object& object = found->second;
  const bool tiered = !object.archive_status.empty();
  if (!archived(object) || (tiered && readable(object))) {
    return s3::restore_outcome::not_archived;
  }
  const bool deep = object.options.stored_as.str() == "DEEP_ARCHIVE" ||
                    object.archive_status == "DEEP_ARCHIVE_ACCESS";
  if (days.has_value() == tiered || (days && *days == 0) ||
      (deep && tier == s3::retrieval_tier::expedited)) {
    return bad_argument(key.str(), "InvalidArgument");
  }
  const auto now = _options.clock->now();
  auto& restored = object.restored;
  if (restored && now < restored->ready) {
    return s3::restore_outcome::in_progress;
  }
  const bool there = restored && now < restored->expires;
  if (!there) {
    restored.emplace();
    restored->ready = now + _options.thaw_takes;
  }
  restored->expires =
      tiered ? time_point::max()
             : next_midnight((there ? now : restored->ready) + std::chrono::days(*days));
  return there ? s3::restore_outcome::thawed_already : s3::restore_outcome::accepted;
}

}  // namespace bts3::testing
