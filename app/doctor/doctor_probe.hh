// What doctor writes to find out whether a backup could: in the same forms, with everything that a
// store may refuse, and under a key of its own (planner::key_layout::probe).
//
//   write      a multipart upload as of a chunk, with one small part that asks first, and
//   ListParts.
//              Where objects can be deleted it is completed, looked at and deleted; else aborted.
//   limits     another upload, which is aborted: a part of the configured size is announced, and
//              sent as far as 32 MiB and ten seconds allow, since not every store or proxy refuses
//              at the announcement; and a small part gets the highest number that a chunk may need.
//   documents  where objects can be deleted: a small object as a manifest and a pointer are
//   written,
//              on the condition that there is none, then on the condition that it is the same.
//
// Whether objects can be deleted is asked by deleting the key before there is anything. What was
// begun is ended also after a stop. It needs no right that a backup does not need. Where something
// is refused for good it is tried without each thing that the configuration names, so that the
// remedy says which key it is.
#pragma once

#include "app/doctor/doctor_report.hh"
#include "app/store/services.hh"
#include "engine/task.hh"
#include "s3/verbs/multipart_upload.hh"

#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

inline constexpr const char* backup_rights_remedy =
    "give its key the rights that a backup needs (\"Rights\" in docs/security.md)";

class write_probe {
 public:
  // References must outlive it.
  write_probe(const services& with, store_connection& connection, std::string key);

  // "write", "limits" and "documents"; after a stop, what was found until then.
  engine::task<std::vector<health_check>> run();

 private:
  class trial_body;
  engine::task<void> upload();
  engine::task<engine::result<void>> upload_and_complete(s3::multipart_upload& upload);
  engine::task<void> try_limits();
  engine::task<health_check> limits_of(s3::upload_id id);
  engine::task<engine::result<std::uint64_t>> try_part(s3::upload_id id);
  static engine::task<void> end_later(engine::reactor& loop, trial_body& body,
                                      engine::stop_token finished);
  engine::task<engine::result<void>> put_part(s3::upload_id id, s3::part_number number);
  engine::task<void> write_documents();
  engine::task<engine::result<s3::etag>> put_document(s3::precondition condition);
  // What was begun; null: nothing of the kind.
  engine::task<engine::result<void>> end(const s3::upload_id* id, s3::multipart_upload* upload);
  engine::task<engine::error> examined(engine::error failure, s3::write_options options);
  engine::task<bool> can_begin(s3::write_options options);
  health_check of_refused_abort(const char* check, engine::error failure) const;

  const services& _with;
  store_connection& _connection;
  s3::object_key _key;
  bool _deletes = false;
  bool _object_may_exist = false;
  bool _parts_listed = true;
  std::optional<s3::stored_object> _completed;
  std::vector<health_check> _made;
};

}  // namespace bts3::app
