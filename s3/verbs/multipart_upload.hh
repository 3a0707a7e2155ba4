// One object, uploaded in parts that are in flight at the same time.
//
// The upload is created by open(), or with the first part. Parts may be put concurrently and in any
// order; each caller keeps its bytes until its put_part() has returned. complete() asks the store
// to join them and then HEADs the object: the store's answer may have been lost, or carry no ETag,
// and a size that is not ours must not pass for success. Neither complete() nor abort() leaves an
// open upload behind under this key: creating one again after an answer was lost makes a second.
// (Where the store does not let us look for such, they are left to the bucket's own rules.)
//
// CRC32 of each part is declared and sent as AWS's multipart rules want, unless the store turns out
// to have created the upload without (adaptive_store.hh).
#pragma once

#include "engine/event.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "s3/verbs/object_store.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <span>

namespace bts3::s3 {

struct stored_object {
  etag tag;
  std::uint64_t size = 0;
  storage_class stored_as;  // as HEAD reports it; empty: it does not
};

class multipart_upload {
 public:
  // References must outlive the upload.
  multipart_upload(engine::reactor& loop, object_store& store, engine::log_sink& log,
                   object_key key, write_options options);

  // Goes on with an upload that an earlier run left open, before anything else is called.
  // `checksums`: it was created with CRC32 declared.
  void resume(upload_id id, bool checksums);
  // A part that this upload has already, by list_parts().
  void adopt_part(part_number number, std::uint64_t size, etag tag, std::uint32_t crc32);

  // How the bodies of parts are sent.
  void send_as(body_form form) { _form = form; }

  // Creates it; id() is set when this has succeeded. Once for all callers.
  engine::task<engine::result<void>> open(engine::stop_token stop);
  // Every part but the last has the same size, at least 5 MiB (S3's rule; the store enforces it).
  engine::task<engine::result<void>> put_part(part_number number, request_body body,
                                              body_digests digests, engine::stop_token stop);
  // After every put_part() has returned; at least one succeeded. When this fails the object may be
  // whole nevertheless.
  engine::task<engine::result<stored_object>> complete(engine::stop_token stop);
  // After every put_part() has returned. Ends every open upload under this key, also one whose
  // creation was never answered.
  engine::task<engine::result<void>> abort(engine::stop_token stop);

  [[nodiscard]] const object_key& key() const { return _key; }
  [[nodiscard]] std::uint64_t bytes() const { return _bytes; }
  // Set by open(), or with the first part that was put.
  [[nodiscard]] const std::optional<upload_id>& id() const { return _id; }
  [[nodiscard]] bool declared_checksums() const { return _declared_crc32; }
  // Of a part that was put or adopted; not after complete() has succeeded.
  [[nodiscard]] const etag& tag_of(part_number number) const { return _parts.at(number).tag; }

 private:
  struct finished_part {
    etag tag;
    std::optional<std::uint32_t> crc32;
  };
  object_store& _store;
  engine::log_sink& _log;
  object_key _key;
  write_options _options;
  body_form _form;
  bool _creating = false;
  bool _declared_crc32 = false;
  engine::event _created;
  std::optional<upload_id> _id;
  std::optional<engine::error> _create_failure;
  std::map<part_number, finished_part> _parts;
  std::uint64_t _bytes = 0;
};

// Aborts every open upload under exactly `key`, but for `except`.
engine::task<engine::result<void>> abort_uploads(object_store& store, object_key key,
                                                 std::optional<upload_id> except,
                                                 engine::stop_token stop);

// Ends an upload that is given up. Where aborting is refused it stays, and a warning names it: its
// parts are paid for until a lifecycle rule ends it, and nothing else depends on that.
engine::task<engine::result<void>> end_upload(object_store& store, engine::log_sink& log,
                                              object_key key, upload_id id,
                                              engine::stop_token stop);

// `known`, and every open upload under exactly `key` that the store tells of, ended in that way.
engine::task<engine::result<void>> end_uploads(object_store& store, engine::log_sink& log,
                                               object_key key, std::optional<upload_id> known,
                                               engine::stop_token stop);

// The same where it is a precaution: a store that answers, but does not let us look or does not
// know how, is no failure and a line in the log. One that does not answer is a failure.
engine::task<engine::result<void>> sweep_uploads(object_store& store, engine::log_sink& log,
                                                 object_key key, std::optional<upload_id> except,
                                                 engine::stop_token stop);

}  // namespace bts3::s3
