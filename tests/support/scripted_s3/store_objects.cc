// Objects, and their retrieval from archives.
#include "tests/support/scripted_s3/store_state.hh"
#include "tests/support/scripted_s3/text.hh"

#include <algorithm>
#include <charconv>
#include <pugixml.hpp>
#include <utility>

namespace bts3::testing::scripted {

namespace {

// The midnight (UTC) that follows: S3 rounds the end of a restored copy up to it.
time_point next_midnight(time_point when) {
  return std::chrono::floor<std::chrono::days>(when) + std::chrono::days(1);
}

// In an archive tier of INTELLIGENT_TIERING.
bool tiered(const object_state& object) {
  return object.headers.contains("x-amz-archive-status");
}

bool in_archive(const object_state& object) {
  const auto stored = object.headers.find("x-amz-storage-class");
  const std::string name = stored != object.headers.end() ? stored->second : "";
  return name == "GLACIER" || name == "DEEP_ARCHIVE" || tiered(object);
}

bool in_deep_archive(const object_state& object) {
  return tiered(object) ? object.headers.at("x-amz-archive-status") == "DEEP_ARCHIVE_ACCESS"
                        : object.headers.at("x-amz-storage-class") == "DEEP_ARCHIVE";
}

bool can_be_read(const object_state& object, time_point now) {
  return !in_archive(object) ||
         (object.restore && object.restore->ready <= now && now < object.restore->expires);
}

}  // namespace

std::map<std::string, std::string> kept_headers(const recorded_request& request) {
  std::map<std::string, std::string> kept;
  for (const auto& [name, value] : request.headers) {
    if (name == "content-type" || name == "x-amz-storage-class" ||
        name.starts_with("x-amz-server-side-encryption") || name.starts_with("x-amz-meta-")) {
      kept[name] = value;
    }
  }
  return kept;
}

std::optional<server_answer> store_state::unmet_condition(const recorded_request& request,
                                                          bool write) const {
  const object_state* there = find(request.bucket, request.key);
  if (request.header("if-none-match") == "*" && there != nullptr) {
    return failure(412, "PreconditionFailed");
  }
  const std::string wanted = request.header("if-match");
  if (!wanted.empty()) {
    if (there == nullptr) {
      return failure(404, "NoSuchKey");
    }
    if (wanted != "*" && unquoted(wanted) != there->etag) {
      return failure(412, "PreconditionFailed");
    }
  }
  if (!write && there == nullptr) {
    return failure(404, "NoSuchKey");
  }
  return std::nullopt;
}

server_answer store_state::put_object(const recorded_request& request, std::string body) {
  if (auto refusal = unmet_condition(request, true)) {
    return *refusal;
  }
  object_state& made = _buckets[request.bucket][request.key];
  made.etag = hex_digest("MD5", body);
  made.body = std::move(body);
  made.headers = kept_headers(request);
  server_answer answer;
  answer.set("ETag", in_quotes(made.etag));
  return answer;
}

server_answer store_state::delete_object(const recorded_request& request) {
  _buckets[request.bucket].erase(request.key);
  server_answer answer;
  answer.status = 204;
  return answer;
}

server_answer store_state::read_object(const recorded_request& request) {
  if (auto refusal = unmet_condition(request, false)) {
    return *refusal;
  }
  const object_state& object = *find(request.bucket, request.key);
  if (request.verb == s3_verb::get_object && !_options.archives_in_name_only &&
      !can_be_read(object, _now())) {
    return failure(403, "InvalidObjectState", {},
                   "The operation is not valid for the object's storage class");
  }
  server_answer answer;
  add_object_headers(answer, object);
  answer.set("ETag", in_quotes(object.etag));
  answer.set("Last-Modified", http_date(std::chrono::system_clock::to_time_t(_now())));
  answer.set("Accept-Ranges", "bytes");
  const std::size_t size = object.body.size();
  std::size_t first = 0;
  std::size_t last = size == 0 ? 0 : size - 1;
  const std::string range = request.header("range");
  if (range.starts_with("bytes=")) {
    const std::size_t dash = range.find('-');
    const char* end = range.data() + range.size();
    if (dash == 6) {
      std::size_t suffix = 0;
      std::from_chars(range.data() + 7, end, suffix);
      first = size - std::min(size, suffix);
    } else {
      std::from_chars(range.data() + 6, range.data() + dash, first);
      std::from_chars(range.data() + dash + 1, end, last);
      last = std::min(last, size == 0 ? 0 : size - 1);
    }
    if (first >= size || last < first) {
      return failure(416, "InvalidRange");
    }
    answer.status = 206;
    answer.set("Content-Range", "bytes " + std::to_string(first) + '-' + std::to_string(last) +
                                    '/' + std::to_string(size));
  }
  answer.body = object.body.substr(first, size == 0 ? 0 : last - first + 1);
  return answer;
}

void store_state::add_object_headers(server_answer& answer, const object_state& object) const {
  const auto& restore = object.restore;
  for (const auto& [name, value] : object.headers) {
    const bool is_default = name == "x-amz-storage-class" && value == "STANDARD";
    const bool moved_back = name == "x-amz-archive-status" && restore && restore->ready <= _now();
    if (!is_default && !moved_back) {
      answer.set(name, value);
    }
  }
  if (!restore || restore->expires <= _now()) {
    return;
  }
  if (restore->ready > _now()) {
    answer.set("x-amz-restore", "ongoing-request=\"true\"");
  } else if (!tiered(object)) {
    answer.set("x-amz-restore",
               "ongoing-request=\"false\", expiry-date=\"" +
                   http_date(std::chrono::system_clock::to_time_t(restore->expires)) + '"');
  }
}

// The longest of "Archive retrieval options", Amazon S3 User Guide.
std::chrono::seconds store_state::thaw_time(bool deep, const std::string& tier) const {
  using std::chrono::hours;
  if (_options.thaw_takes) {
    return *_options.thaw_takes;
  }
  if (tier == "Expedited") {
    return std::chrono::minutes(5);
  }
  return tier == "Bulk" ? hours(deep ? 48 : 12) : hours(deep ? 12 : 5);
}

server_answer store_state::restore_object(const recorded_request& request,
                                          const std::string& body) {
  if (_options.refuse_restores_status != 0) {
    return _options.refuse_restores_status == 405 ? failure(405, "MethodNotAllowed")
                                                  : failure(501, "NotImplemented");
  }
  auto& objects = _buckets[request.bucket];
  const auto found = objects.find(request.key);
  if (found == objects.end()) {
    return failure(404, "NoSuchKey");
  }
  object_state& object = found->second;
  pugi::xml_document xml;
  const bool parsed = static_cast<bool>(xml.load_string(body.c_str()));
  const pugi::xml_node root = xml.child("RestoreRequest");
  const std::string named = root.child("GlacierJobParameters").child_value("Tier");
  const std::string tier = named.empty() ? "Standard" : named;
  const unsigned days = root.child("Days").text().as_uint();
  if (!parsed || !root || (root.child("Days") && days == 0) ||
      (tier != "Standard" && tier != "Bulk" && tier != "Expedited")) {
    return failure(400, "MalformedXML");
  }
  if (!in_archive(object) || _options.archives_in_name_only ||
      (tiered(object) && can_be_read(object, _now()))) {
    return failure(403, "InvalidObjectState", {},
                   "Restore is not allowed for the object's current storage class");
  }
  if (tiered(object) && days != 0) {
    return failure(400, "InvalidArgument", {},
                   "INTELLIGENT_TIERING objects are not subject to restore expiry. Do not specify "
                   "Days when restoring this object");
  }
  if (!tiered(object) && days == 0) {
    return failure(400, "MalformedXML");
  }
  const bool deep = in_deep_archive(object);
  if (deep && tier == "Expedited") {
    return failure(400, "InvalidArgument", {},
                   "Retrieval option is not supported by this storage class");
  }
  auto& restore = object.restore;
  if (restore && restore->ready > _now()) {
    return failure(409, "RestoreAlreadyInProgress", {}, "Object restore is already in progress");
  }
  server_answer answer;
  const bool there = restore && restore->expires > _now();
  if (!there) {
    answer.status = 202;
    restore.emplace();
    restore->ready = _now() + thaw_time(deep, tier);
  }
  restore->expires =
      tiered(object) ? time_point::max()
                     : next_midnight((there ? _now() : restore->ready) + std::chrono::days(days));
  return answer;
}

}  // namespace bts3::testing::scripted
