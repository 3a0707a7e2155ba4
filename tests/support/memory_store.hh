// An object store in memory, for tests of what stands on top of one.
//
// It keeps S3's rules where code depends on them: conditions, ranges, part order and ETags at
// Complete, declared CRC32 checksums, the MD5 form of ETags ("<md5>" for a whole object,
// "<md5 of md5s>-<parts>" for a multipart one), uploads that stay open until they are completed or
// aborted. Nothing is read from a request before the verb is awaited, and every verb goes through
// the run queue once before it acts, so that concurrent callers interleave as they do on a network.
//
// Failures: each awaited verb is a step, counted from 1. fail_at(n, ...) makes step n fail, before
// it was performed or after it, as when the answer is lost; fail_from(n, ...) makes every step from
// n on fail unperformed, as when the network is gone; judge_by() decides by verb and key. A stopped
// verb is `cancelled`, unperformed.
//
// Archives: with a clock in the options, objects of GLACIER, DEEP_ARCHIVE and the archive tiers of
// INTELLIGENT_TIERING cannot be read until they were restored and `thaw_takes` has passed; copies
// expire as on S3. Without a clock, classes are only remembered.
//
// One thread; the reactor must outlive it.
#pragma once

#include "engine/clock.hh"
#include "engine/reactor.hh"
#include "s3/verbs/object_store.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::testing {

struct memory_store_options {
  memory_store_options() = default;
  std::size_t part_bytes_min = 1;         // for every part but the last; S3 demands 5 MiB
  bool refuse_checksums = false;          // `unsupported`, as from a store that knows no CRC32
  bool empty_etag_from_complete = false;  // as Ceph 16 answers
  const engine::clock* clock = nullptr;   // archives follow it; must outlive the store
  std::chrono::seconds thaw_takes{12 * 3600};
  bool refuse_restores = false;      // `unsupported`, as from a store without RestoreObject
  bool tell_attributes = false;      // GetObjectAttributes; else `unsupported`
  bool list_uploads_by_key = false;  // their prefix is taken for a key, as by MinIO
  int refuse_list_uploads_status =
      0;  // 403 or 501, as from keys and stores that may not, or cannot
};

class memory_store final : public s3::object_store {
 public:
  struct stored_object {
    std::string body;
    s3::etag tag;
    s3::write_options options;
    std::string archive_status;             // x-amz-archive-status
    std::string modified;                   // as listings give it
    std::vector<std::uint32_t> part_crc32;  // of the upload that made it, where declared
    struct thaw {
      std::chrono::system_clock::time_point ready;
      std::chrono::system_clock::time_point expires;
    };
    std::optional<thaw> restored;  // under way, done or expired
  };
  struct open_upload {
    s3::object_key key;
    s3::write_options options;
    std::string initiated;  // as listings give it
    struct part {
      std::string body;
      s3::etag tag;
      std::optional<std::uint32_t> crc32;
    };
    std::map<s3::part_number, part> parts;
  };
  struct recorded_call {
    std::string verb;  // as S3 names it: "PutObject"
    std::string key;   // or the prefix
  };
  enum class performed { no, yes };

  explicit memory_store(engine::reactor& loop, memory_store_options options = {})
      : _loop(loop), _options(options) {}

  // Scripts.
  void fail_at(std::size_t step, engine::error failure, performed when = performed::no);
  void fail_from(std::size_t step, engine::error failure);
  void never_fail();
  // Is asked when a verb is about to act; an error of it is the answer. It may change the store.
  using judgement = std::function<std::optional<engine::error>(const recorded_call&)>;
  void judge_by(judgement ask) { _judgement = std::move(ask); }
  // These storage classes, as a store does that has others.
  void refuse_classes(std::set<std::string> names) { _refused_classes = std::move(names); }
  // What a lost connection looks like.
  [[nodiscard]] static engine::error lost_connection();
  // What a store answers that does not allow it, and one that has no such object.
  [[nodiscard]] static engine::error denied(const std::string& key);
  [[nodiscard]] static engine::error absent(const std::string& key);

  // State, for setting up and looking at.
  void put(const std::string& key, std::string body);
  void put(const std::string& key, std::string body, const std::string& stored_as,
           const std::string& archive_status = {});
  // What is made from here on is dated so.
  void set_date(std::string date) { _date = std::move(date); }
  void erase(const std::string& key) { _objects.erase(key); }
  // As if it had been uploaded in parts with these checksums.
  void set_part_crc32(const std::string& key, std::vector<std::uint32_t> parts) {
    _objects.at(key).part_crc32 = std::move(parts);
  }
  [[nodiscard]] const stored_object* find(const std::string& key) const;
  [[nodiscard]] const std::map<std::string, stored_object>& objects() const { return _objects; }
  [[nodiscard]] const std::map<std::string, open_upload>& uploads() const { return _uploads; }
  [[nodiscard]] const std::vector<recorded_call>& calls() const { return _calls; }
  [[nodiscard]] std::size_t steps() const { return _calls.size(); }
  [[nodiscard]] std::size_t count(std::string_view verb) const;
  void forget_calls() { _calls.clear(); }
  // Verbs begun and not yet finished: now, and at most.
  [[nodiscard]] std::size_t in_flight() const { return _in_flight; }
  [[nodiscard]] std::size_t in_flight_max() const { return _in_flight_max; }

  engine::task<engine::result<s3::etag>> put_object(s3::put_request request,
                                                    engine::stop_token stop) override;
  engine::task<engine::result<std::size_t>> get_object(s3::get_request request,
                                                       engine::stop_token stop) override;
  engine::task<engine::result<s3::text_object>> get_object_text(s3::object_key key,
                                                                std::size_t bytes_max,
                                                                engine::stop_token stop) override;
  engine::task<engine::result<s3::object_info>> head_object(s3::object_key key,
                                                            engine::stop_token stop) override;
  engine::task<engine::result<s3::listing>> list_objects(s3::list_request request,
                                                         engine::stop_token stop) override;
  engine::task<engine::result<void>> delete_object(s3::object_key key,
                                                   engine::stop_token stop) override;
  engine::task<engine::result<s3::created_upload>> create_multipart_upload(
      s3::object_key key, s3::write_options options, engine::stop_token stop) override;
  engine::task<engine::result<s3::etag>> upload_part(s3::upload_part_request request,
                                                     engine::stop_token stop) override;
  engine::task<engine::result<s3::etag>> complete_multipart_upload(
      s3::object_key key, s3::upload_id id, std::vector<s3::completed_part> parts,
      engine::stop_token stop) override;
  engine::task<engine::result<void>> abort_multipart_upload(s3::object_key key, s3::upload_id id,
                                                            engine::stop_token stop) override;
  engine::task<engine::result<std::vector<s3::listed_part>>> list_parts(
      s3::object_key key, s3::upload_id id, engine::stop_token stop) override;
  engine::task<engine::result<std::vector<s3::listed_upload>>> list_multipart_uploads(
      std::string prefix, engine::stop_token stop) override;
  engine::task<engine::result<s3::restore_outcome>> restore_object(
      s3::object_key key, std::optional<unsigned> days, std::optional<s3::retrieval_tier> tier,
      engine::stop_token stop) override;
  engine::task<engine::result<s3::object_attributes>> get_object_attributes(
      s3::object_key key, engine::stop_token stop) override;

 private:
  struct scripted_failure {
    engine::error failure;
    performed when = performed::no;
  };
  template <typename T, typename Work>
  engine::task<engine::result<T>> step(std::string verb, std::string key, Work work,
                                       engine::stop_token stop);
  [[nodiscard]] std::optional<scripted_failure> failure_of(std::size_t number) const;

  // What each verb does, at once.
  engine::result<s3::etag> do_put(const s3::put_request& request);
  engine::result<s3::restore_outcome> do_restore(const s3::object_key& key,
                                                 std::optional<unsigned> days,
                                                 std::optional<s3::retrieval_tier> tier);
  [[nodiscard]] bool archived(const stored_object& object) const;
  [[nodiscard]] bool readable(const stored_object& object) const;
  engine::result<std::size_t> do_get(const s3::get_request& request) const;
  engine::result<s3::etag> do_upload_part(const s3::upload_part_request& request);
  engine::result<s3::etag> do_complete(const s3::object_key& key, const s3::upload_id& id,
                                       const std::vector<s3::completed_part>& parts);
  s3::listing do_list(const s3::list_request& request) const;
  open_upload* find_upload(const s3::object_key& key, const s3::upload_id& id);

  engine::reactor& _loop;
  memory_store_options _options;
  std::map<std::string, stored_object> _objects;
  std::map<std::string, open_upload> _uploads;  // by upload id
  std::vector<recorded_call> _calls;
  std::map<std::size_t, scripted_failure> _failures;
  std::optional<std::pair<std::size_t, engine::error>> _fails_from;
  judgement _judgement;
  std::set<std::string> _refused_classes;
  std::string _date = "2026-01-02T03:04:05.000Z";
  std::size_t _next_upload = 1;
  std::size_t _in_flight = 0;
  std::size_t _in_flight_max = 0;
};

}  // namespace bts3::testing
