// The verbs of an object store, as this program needs them.
//
// Implemented by s3_client over HTTP and decorated by retrying_store; a memory store stands in for
// it in tests. Every verb is one request (listings: one for each page) and can be repeated: each
// comment says what repeating means. Spans and sources belong to the caller and stay untouched
// until the verb has returned. `stop` ends a verb at once with `cancelled`; whether the store has
// acted by then is unknown.
//
// Errors of every verb, beside what its own comment says (`code` is S3's, `status` HTTP's):
//   not_found    a missing key (NoSuchKey) or upload (NoSuchUpload)
//   retry        reason network: no answer arrived; throttled: 429, 503, with retry_after;
//                bad_request: the store blames the bytes that arrived; protocol: an answer that is
//                not what was asked; precondition: 409 ConditionalRequestConflict
//   fail         reason precondition: 412; unsupported: a feature that the store refuses; access:
//                credentials or permissions; expired_token; clock_skew; not_thawed;
//                configuration: wrong bucket, region or endpoint, with the remedy
//   cancelled    `stop` was requested
//
// Request types have constructors, because g++ 12 mishandles aggregate temporaries in co_await
// expressions.
#pragma once

#include "engine/result.hh"
#include "engine/setting.hh"
#include "engine/sha256.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/http/request_body.hh"
#include "s3/verbs/types.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bts3::s3 {

// How new objects are stored.
struct write_options {
  write_options() = default;
  storage_class stored_as;  // empty: the bucket's default
  std::string sse;          // "AES256", "aws:kms"; empty: no header
  std::string sse_kms_key_id;
  std::string acl;   // canned, "bucket-owner-full-control"; empty: no header
  std::string tags;  // "project=backup&host=alpha", percent-encoded; empty: no header
  std::string content_type = "application/octet-stream";
  bool checksum_crc32 = true;  // declare and send CRC32 of what is uploaded
  bool checksum_type = true;   // of an upload in parts: say that the object's is one of theirs
  // put_object of bytes: send their MD5. Buckets with Object Lock demand a digest of some kind, and
  // this one every store knows.
  bool content_md5 = false;
  // What says which class, for messages.
  engine::setting class_from = engine::setting::data_class;
};

// How a body is sent.
struct body_form {
  body_form() = default;
  enum class asking { by_size, always, never };
  asking asks_first = asking::by_size;  // Expect: 100-continue
  bool sign_payload = false;            // also where the client is to leave it unsigned
};

// What is known of a body before it is sent.
struct body_digests {
  body_digests() = default;
  std::optional<std::uint32_t> crc32;  // sent as x-amz-checksum-crc32
  std::optional<engine::sha256_state>
      payload_sha256;  // for signing; computed when needed and absent
};

// A condition on what is there before a write or read.
struct precondition {
  precondition() = default;
  static precondition absent() {
    precondition made;
    made.must_be_absent = true;
    return made;
  }
  static precondition matches(etag expected) {
    precondition made;
    made.must_match = std::move(expected);
    return made;
  }
  bool must_be_absent = false;     // If-None-Match: *
  std::optional<etag> must_match;  // If-Match
  bool unquoted = false;           // send the ETag without quotes (Ceph 16 wants it so)
};

struct put_request {
  put_request(object_key name, request_body what) : key(std::move(name)), body(what) {}
  object_key key;
  request_body body;  // a source needs digests.payload_sha256 where payloads are signed
  write_options options;
  body_digests digests;
  precondition condition;
  body_form form;
  bool fresh_connection = false;  // not on a connection that was used before
};

struct get_request {
  get_request(object_key name, std::span<std::byte> target) : key(std::move(name)), into(target) {}
  object_key key;
  std::span<std::byte> into;        // must hold the range, or the object when there is none
  std::optional<byte_range> range;  // answered exactly, or it is an error
  std::optional<etag> must_match;
  bool fresh_connection = false;
};

struct text_object {
  std::string body;
  etag tag;
};

struct object_info {
  std::uint64_t size = 0;
  etag tag;
  storage_class stored_as;     // empty: not reported
  std::string restore;         // the x-amz-restore header, as it came
  std::string archive_status;  // x-amz-archive-status (INTELLIGENT_TIERING)
  std::string sse;
  std::string last_modified;  // as it came
};

struct listed_object {
  object_key key;
  std::uint64_t size = 0;
  etag tag;
  storage_class stored_as;
  std::string last_modified;  // as it came: 2026-01-02T03:04:05.000Z
};

struct listing {
  std::vector<listed_object> objects;
  std::vector<std::string> common_prefixes;  // with a delimiter
};

struct list_request {
  explicit list_request(std::string key_prefix) : prefix(std::move(key_prefix)) {}
  std::string prefix;
  std::string delimiter;
  std::string start_after;              // only keys behind this one; need not exist
  std::size_t objects_max = 1'000'000;  // more entries than this is an error, not a silent cut
};

struct upload_part_request {
  upload_part_request(object_key name, upload_id upload, part_number part, request_body what)
      : key(std::move(name)), id(std::move(upload)), number(part), body(what) {}
  object_key key;
  upload_id id;
  part_number number;
  request_body body;     // as in put_request
  body_digests digests;  // crc32 only when the upload was created with it
  body_form form;
  bool fresh_connection = false;
};

struct completed_part {
  completed_part(part_number part, etag tag_of_part, std::optional<std::uint32_t> checksum)
      : number(part), tag(std::move(tag_of_part)), crc32(checksum) {}
  part_number number;
  etag tag;
  std::optional<std::uint32_t> crc32;
};

// A new multipart upload.
struct created_upload {
  created_upload() = default;
  created_upload(upload_id of, bool declared) : id(std::move(of)), checksums(declared) {}
  upload_id id;
  bool checksums = false;  // CRC32 was declared: each part brings one
};

struct listed_part {
  part_number number = 0;
  std::uint64_t size = 0;
  etag tag;
};

struct listed_upload {
  object_key key;
  upload_id id;
  std::string initiated;  // as it came: 2026-01-02T03:04:05.000Z
};

// What a store knows of an object without reading it; whatever it does not tell is empty.
struct object_attributes {
  std::optional<std::uint64_t> size;
  storage_class stored_as;
  // CRC32, of the whole object or, when `composite`, of the CRC32s of its parts (crc32_of_parts).
  std::optional<std::uint32_t> crc32;
  bool composite = false;
  std::optional<std::uint32_t> parts;  // of the upload that made it; absent for one without parts
};

// How fast an archived object is wanted back ("Archive retrieval options", Amazon S3 User Guide).
enum class retrieval_tier { standard, bulk, expedited };

// As the API spells it.
inline const char* name_of(retrieval_tier tier) {
  switch (tier) {
    case retrieval_tier::bulk:
      return "Bulk";
    case retrieval_tier::expedited:
      return "Expedited";
    case retrieval_tier::standard:
      break;
  }
  return "Standard";
}

// What a store says to being asked for an archived object.
enum class restore_outcome {
  accepted,               // 202: it will be readable later; HEAD tells when
  thawed_already,         // 200: there is a copy, which now lives for the days asked for
  in_progress,            // 409 RestoreAlreadyInProgress: somebody has asked before
  no_expedited_capacity,  // 503 GlacierExpeditedRetrievalNotAvailable: later, or Standard
  not_archived,           // 403 InvalidObjectState: in no archive, so there is nothing to restore
};

class object_store {
 public:
  virtual ~object_store() = default;

  // Creates or replaces an object; repeating replaces it by the same. Without CRC32 support:
  // `unsupported`.
  virtual engine::task<engine::result<etag>> put_object(put_request request,
                                                        engine::stop_token stop) = 0;
  // Bytes written to `into`.
  virtual engine::task<engine::result<std::size_t>> get_object(get_request request,
                                                               engine::stop_token stop) = 0;
  // A small object as text; larger than `bytes_max` is an error.
  virtual engine::task<engine::result<text_object>> get_object_text(object_key key,
                                                                    std::size_t bytes_max,
                                                                    engine::stop_token stop) = 0;
  virtual engine::task<engine::result<object_info>> head_object(object_key key,
                                                                engine::stop_token stop) = 0;
  // All pages, in key order.
  virtual engine::task<engine::result<listing>> list_objects(list_request request,
                                                             engine::stop_token stop) = 0;
  // Deleting what is not there succeeds.
  virtual engine::task<engine::result<void>> delete_object(object_key key,
                                                           engine::stop_token stop) = 0;
  // Repeating makes another upload: the caller aborts what it does not use.
  virtual engine::task<engine::result<created_upload>> create_multipart_upload(
      object_key key, write_options options, engine::stop_token stop) = 0;
  // Repeating replaces the part.
  virtual engine::task<engine::result<etag>> upload_part(upload_part_request request,
                                                         engine::stop_token stop) = 0;
  // Parts in ascending order. The ETag may be empty (Ceph 16): head_object has it. Repeating after
  // a lost answer gives not_found (NoSuchUpload): head_object tells whether it was done.
  virtual engine::task<engine::result<etag>> complete_multipart_upload(
      object_key key, upload_id id, std::vector<completed_part> parts, engine::stop_token stop) = 0;
  // Aborting what is gone succeeds.
  virtual engine::task<engine::result<void>> abort_multipart_upload(object_key key, upload_id id,
                                                                    engine::stop_token stop) = 0;
  virtual engine::task<engine::result<std::vector<listed_part>>> list_parts(
      object_key key, upload_id id, engine::stop_token stop) = 0;
  // Open uploads of all keys with this prefix.
  virtual engine::task<engine::result<std::vector<listed_upload>>> list_multipart_uploads(
      std::string prefix, engine::stop_token stop) = 0;
  // Asks for a readable copy of an archived object, for `days` (at least 1) from when it is there;
  // without `days` for the archive tiers of INTELLIGENT_TIERING, which move back for good. Without
  // `tier` the store chooses, which on S3 is Standard.
  // Repeating gives in_progress, or thawed_already with the days counted from now. A store without
  // this verb (405, 501): `unsupported`, with the remedy.
  virtual engine::task<engine::result<restore_outcome>> restore_object(
      object_key key, std::optional<unsigned> days, std::optional<retrieval_tier> tier,
      engine::stop_token stop) = 0;
  // Size, class and checksums, of archived objects too; reads nothing of the object. A store that
  // does not know the verb: `unsupported`, also when it answers with something else (Ceph 16 sends
  // the object itself, of which 64 KiB are taken at most).
  virtual engine::task<engine::result<object_attributes>> get_object_attributes(
      object_key key, engine::stop_token stop);
};

inline engine::task<engine::result<object_attributes>> object_store::get_object_attributes(
    object_key key, engine::stop_token stop) {
  (void)stop;
  engine::error failure;
  failure.why = engine::reason::unsupported;
  failure.message = key.str() + ": this store tells no attributes of objects";
  co_return failure;
}

}  // namespace bts3::s3
