// An object_store that finds out what a store refuses, and does without where that costs nothing.
//
// Stands directly over the client, below the retries: what it has to try is tried at once, and what
// it makes final is not repeated.
//
//   * A refusal of something optional (optional_features.hh) is tried without it, each thing by
//     itself and then all together; the outcome is remembered for the run. Where nothing helps, the
//     first error comes back as `unsupported`, with what was sent that a store may refuse and the
//     keys that control it.
//   * A page of a web server, or a signature that does not match, may be the network's doing. It
//     counts only when the same request fails again and another one is answered by the store.
//   * A verb that the store lacks (ListParts, ListMultipartUploads, AbortMultipartUpload,
//     GetObjectAttributes) is `unsupported`, and is not asked for again.
//   * Some stores answer 500 to each repetition of a Complete that was carried out: from the second
//     on, an object that has the ETag of so many parts is the answer.
//   * Without s3:ListBucket S3 answers 403 for a key that is absent, and Ceph RGW does so always. A
//     403 to a read is compared with a listing: a key that is not in it is absent; where the
//     listing is refused too, the error names that right.
//
// `features` is shared by all who send something optional. References must outlive it.
#pragma once

#include "engine/log_sink.hh"
#include "s3/verbs/object_store.hh"
#include "s3/verbs/optional_features.hh"

#include <map>
#include <string>
#include <type_traits>

namespace bts3::s3 {

class adaptive_store final : public object_store {
 public:
  // What the client does by itself.
  struct client_habits {
    client_habits() = default;
    bool unsigned_payload = false;
    std::size_t expect_bytes_min = 1024 * 1024;  // asks first above that
  };
  adaptive_store(object_store& inner, optional_features& features, engine::log_sink& log,
                 client_habits habits);

  engine::task<engine::result<etag>> put_object(put_request request,
                                                engine::stop_token stop) override;
  engine::task<engine::result<std::size_t>> get_object(get_request request,
                                                       engine::stop_token stop) override;
  engine::task<engine::result<text_object>> get_object_text(object_key key, std::size_t bytes_max,
                                                            engine::stop_token stop) override;
  engine::task<engine::result<object_info>> head_object(object_key key,
                                                        engine::stop_token stop) override;
  engine::task<engine::result<listing>> list_objects(list_request request,
                                                     engine::stop_token stop) override;
  engine::task<engine::result<void>> delete_object(object_key key,
                                                   engine::stop_token stop) override;
  engine::task<engine::result<created_upload>> create_multipart_upload(
      object_key key, write_options options, engine::stop_token stop) override;
  engine::task<engine::result<etag>> upload_part(upload_part_request request,
                                                 engine::stop_token stop) override;
  engine::task<engine::result<etag>> complete_multipart_upload(object_key key, upload_id id,
                                                               std::vector<completed_part> parts,
                                                               engine::stop_token stop) override;
  engine::task<engine::result<void>> abort_multipart_upload(object_key key, upload_id id,
                                                            engine::stop_token stop) override;
  engine::task<engine::result<std::vector<listed_part>>> list_parts(
      object_key key, upload_id id, engine::stop_token stop) override;
  engine::task<engine::result<std::vector<listed_upload>>> list_multipart_uploads(
      std::string prefix, engine::stop_token stop) override;
  engine::task<engine::result<restore_outcome>> restore_object(object_key key,
                                                               std::optional<unsigned> days,
                                                               std::optional<retrieval_tier> tier,
                                                               engine::stop_token stop) override;
  engine::task<engine::result<object_attributes>> get_object_attributes(
      object_key key, engine::stop_token stop) override;

 private:
  struct subject;
  template <typename T, typename Attempt>
  engine::task<engine::result<T>> adapt(subject of, Attempt attempt, engine::stop_token stop);
  template <typename T, typename Attempt>
  engine::task<engine::result<T>> do_without(subject of, feature_set sent, engine::error failure,
                                             Attempt attempt, engine::stop_token stop);
  template <typename Attempt>
  std::invoke_result_t<Attempt&> ask_for(feature verb, object_key near, Attempt attempt,
                                         engine::stop_token stop);
  template <typename Attempt>
  std::invoke_result_t<Attempt&> read(object_key key, Attempt attempt, engine::stop_token stop);
  engine::task<engine::result<void>> find_absent(object_key key, engine::error failure,
                                                 engine::stop_token stop);
  engine::task<engine::result<etag>> complete_once(object_key key, upload_id id,
                                                   std::vector<completed_part> parts,
                                                   engine::stop_token stop);
  engine::task<bool> store_answers(object_key near, engine::stop_token stop);
  engine::error explained(const subject& of, feature_set sent, engine::error failure) const;
  feature_set carried_by(const write_options& options) const;
  feature_set carried_by(const request_body& body, const body_digests& digests,
                         const body_form& form) const;

  object_store& _inner;
  optional_features& _features;
  engine::log_sink& _log;
  client_habits _habits;
  bool _signs = false;                      // some request has succeeded
  std::map<std::string, int> _failed_ends;  // answers 5xx to Complete, by upload
};

}  // namespace bts3::s3
