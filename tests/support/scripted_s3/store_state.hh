// What the server keeps, and what each verb makes of it, by AWS's rules.
#pragma once

#include "tests/support/scripted_s3/answer.hh"
#include "tests/support/scripted_s3/request.hh"

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace bts3::testing {

struct scripted_s3_options {
  scripted_s3_options() = default;
  bool tls = false;  // also listen with TLS, certificate self-signed for 127.0.0.1
  // From now on; for a day and an hour.
  std::chrono::seconds certificate_valid_from{-3600};
  bool enforce_part_minimum = true;  // 5 MiB for every part but the last
  // Refuse every x-amz-checksum-* header, as stores do that do not know them: with this status
  // (501 or 400); 0: honour them.
  int refuse_checksums_status = 0;
  bool demand_digests =
      false;  // as buckets with Object Lock: of every object, as a whole or a part
  bool empty_etag_from_complete = false;  // as Ceph 16 answers the first Complete
  // How long a retrieval takes; without it, AWS's typical longest time for class and tier.
  std::optional<std::chrono::seconds> thaw_takes;
  int refuse_restores_status = 0;      // 405 or 501, as from stores without RestoreObject
  bool archives_in_name_only = false;  // HEAD tells an archive class, and GET reads it
  bool list_uploads_by_key = false;    // their prefix is taken for a key, as by MinIO
  std::size_t list_page_max = 1000;
  std::string region = "us-east-1";
  std::vector<std::string> buckets = {"bucket"};
};

struct restore_state {
  std::chrono::system_clock::time_point ready;
  std::chrono::system_clock::time_point expires;  // the copy; INTELLIGENT_TIERING: never
};

struct object_state {
  std::string body;
  std::string etag;                            // without quotes
  std::map<std::string, std::string> headers;  // storage class, content type, encryption, ...
  std::optional<restore_state> restore;        // under way, done or expired
};

struct part_state {
  std::string body;
  std::string etag;
  std::string crc32;  // base64; empty: none declared
};

struct upload_state {
  std::string bucket;
  std::string key;
  std::string checksum_algorithm;  // "CRC32" or empty
  std::map<std::string, std::string> headers;
  std::map<unsigned, part_state> parts;
};

namespace scripted {

using time_point = std::chrono::system_clock::time_point;

// Whoever uses it from several threads holds a lock.
class store_state {
 public:
  store_state(scripted_s3_options options, std::function<time_point()> now);

  // What S3 refuses from the head alone.
  [[nodiscard]] std::optional<server_answer> early_refusal(const recorded_request& request);
  // Of a request whose body has arrived, and was measured.
  server_answer perform(const recorded_request& request, std::string body);

  void add_bucket(const std::string& name) { _buckets[name]; }
  void put(const std::string& bucket, const std::string& key, std::string body,
           std::map<std::string, std::string> headers);
  // Nothing where there is none.
  [[nodiscard]] const object_state* find(const std::string& bucket, const std::string& key) const;
  [[nodiscard]] std::size_t object_count() const;
  [[nodiscard]] std::map<std::string, std::string> bodies(const std::string& bucket) const;
  [[nodiscard]] std::vector<upload_state> open_uploads() const;
  // The upload that the request names, if it names one.
  bool forget_upload(const recorded_request& request);
  void finish_restores();

 private:
  [[nodiscard]] std::optional<server_answer> mismatch(const recorded_request& request,
                                                      const std::string& body) const;
  server_answer put_object(const recorded_request& request, std::string body);
  server_answer read_object(const recorded_request& request);
  server_answer delete_object(const recorded_request& request);
  server_answer restore_object(const recorded_request& request, const std::string& body);
  server_answer head_bucket() const;
  server_answer list_objects(const recorded_request& request);
  server_answer create_upload(const recorded_request& request);
  server_answer upload_part(const recorded_request& request, std::string body);
  server_answer complete_upload(const recorded_request& request, const std::string& body);
  server_answer abort_upload(const recorded_request& request);
  server_answer list_parts(const recorded_request& request);
  server_answer list_uploads(const recorded_request& request) const;

  [[nodiscard]] std::optional<server_answer> unmet_condition(const recorded_request& request,
                                                             bool write) const;
  void add_object_headers(server_answer& answer, const object_state& object) const;
  [[nodiscard]] std::chrono::seconds thaw_time(bool deep, const std::string& tier) const;
  // Nothing where the request names none that is open under its key.
  [[nodiscard]] upload_state* find_upload(const recorded_request& request);

  scripted_s3_options _options;
  std::function<time_point()> _now;
  std::map<std::string, std::map<std::string, object_state>> _buckets;
  std::map<std::string, upload_state> _uploads;
  unsigned _uploads_made = 0;
};

// The headers of a write that stay with the object.
[[nodiscard]] std::map<std::string, std::string> kept_headers(const recorded_request& request);

}  // namespace scripted

}  // namespace bts3::testing
