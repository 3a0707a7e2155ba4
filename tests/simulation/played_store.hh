// A store over played time: answers late, refuses, asks to slow down, breaks off in the middle,
// stalls until the transport cuts, acts and loses the answer, acts after the request was cancelled,
// drops open uploads, damages what is read, and at last perhaps is gone for good.
//
// What it stores is kept by a memory_store, with S3's rules. It counts how often each request is
// made and in what way it failed, for who wants to know whether that is bounded.
#pragma once

#include "s3/verbs/object_store.hh"
#include "tests/simulation/chronicle.hh"
#include "tests/simulation/draw.hh"
#include "tests/support/memory_store.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bts3::simulation {

struct store_conduct {
  std::chrono::nanoseconds answer_max = std::chrono::milliseconds(200);
  unsigned refusals_per_mille = 0;   // no connection
  unsigned throttles_per_mille = 0;  // 503
  unsigned errors_per_mille = 0;     // 500
  unsigned blames_per_mille = 0;     // 400: the body was not what was declared
  unsigned losses_per_mille = 0;     // it has acted, and the answer is lost
  unsigned cuts_per_mille = 0;       // in the middle of a body
  unsigned stalls_per_mille = 0;     // until the transport cuts, after 60 to 90 s
  unsigned slow_per_mille = 0;       // as long, and longer, and then an answer
  unsigned denials_per_mille = 0;    // 403, which is final
  unsigned drops_per_mille = 0;      // the upload is not there any more
  unsigned damages_per_mille = 0;    // of what is read
  unsigned acts_late_percent = 30;   // of requests that were cancelled
};

class played_store final : public s3::object_store {
 public:
  played_store(engine::reactor& loop, testing::memory_store& inner, draw& random, chronicle& told);

  store_conduct conduct;
  // While it is gone every request fails.
  void be_gone(bool gone) { _gone = gone; }
  // While it does, it blames each body that is sent, in either direction.
  void blame_all(bool all) { _blames_all = all; }

  // Requests under way.
  [[nodiscard]] std::size_t in_flight() const { return _in_flight; }
  // Of these, parts of uploads and GETs, at most.
  [[nodiscard]] std::size_t parts_max() const { return _parts_max; }
  [[nodiscard]] std::size_t throttled() const { return _throttled; }
  [[nodiscard]] std::size_t denied() const { return _denied; }
  // Of one request, since forget_counts(): the most that were blamed for what they sent.
  [[nodiscard]] int blamed_max() const;
  void forget_counts();

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

 private:
  enum class fate { served, refused, throttled, failed, blamed, lost, cut, stalled, slow, denied };
  // One request; `body` is what it sends where it sends one, `upload` where it may be dropped.
  struct question {
    question(const char* of, std::string about) : verb(of), key(std::move(about)) {}
    const char* verb;  // a constant
    std::string key;
    std::uint64_t offset = 0;  // or the part's number
    bool transfers = false;    // a body, in either direction
    bool is_part = false;
    s3::request_body body;
    std::optional<s3::upload_id> upload;
  };
  template <typename T, typename Act>
  engine::task<engine::result<T>> ask(question about, Act act, engine::stop_token stop);
  template <typename T, typename Act>
  engine::task<engine::result<T>> answer(question& about, Act& act, engine::stop_token stop);
  engine::task<engine::result<std::size_t>> read(s3::get_request request, engine::stop_token stop);
  engine::task<engine::result<void>> send_some(s3::request_body body, engine::stop_token stop);
  [[nodiscard]] fate draw_fate(const question& about);
  [[nodiscard]] engine::error failure_of(fate what, const question& about);

  engine::reactor& _loop;
  testing::memory_store& _inner;
  draw& _random;
  chronicle& _told;
  bool _gone = false;
  bool _blames_all = false;
  std::size_t _in_flight = 0;
  std::size_t _parts = 0;
  std::size_t _parts_max = 0;
  std::size_t _throttled = 0;
  std::size_t _denied = 0;
  std::uint64_t _requests = 0;
  std::map<std::pair<std::string, std::uint64_t>, int> _blamed;
};

}  // namespace bts3::simulation
