#include "app/store/file_putting.hh"

#include "app/host/disk_call.hh"
#include "app/host/file_body.hh"
#include "s3/verbs/multipart_upload.hh"

#include <algorithm>
#include <functional>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;

// What is sent again moves nothing on.
struct first_times {
  headway* moving;
  std::uint64_t furthest = 0;
  void operator()(std::uint64_t place) {
    if (place > furthest) {
      furthest = place;
      moving->note();
    }
  }
};

task<result<void>> put_whole(const services& with, s3::object_store& store, file_to_put what,
                             headway& moving) {
  file_body body(with.loop, what.file, what.size);
  body.on_fetched(first_times{&moving});
  s3::put_request request(std::move(what.key), s3::request_body(body));
  request.options = std::move(what.options);
  request.digests.crc32 = what.crc32;
  request.digests.payload_sha256 = what.sha256;
  auto putting = store.put_object(std::move(request), moving.token());
  auto put = co_await std::move(putting);
  if (!put) {
    co_return std::move(put.error());
  }
  co_return engine::ok();
}

task<result<void>> put_part(const services& with, s3::multipart_upload& upload, int file,
                            s3::part_number number, std::uint64_t begin, std::uint64_t bytes,
                            headway& moving) {
  std::function<result<range_digests>()> call = [file, begin, bytes] {
    return digests_of(file, begin, bytes);
  };
  auto looking = disk_call(with.loop, std::move(call));
  auto looked = co_await std::move(looking);
  if (!looked) {
    co_return std::move(looked.error());
  }
  moving.note();
  s3::body_digests digests;
  digests.crc32 = looked->crc32;
  digests.payload_sha256 = looked->sha256;
  file_body body(with.loop, file, bytes, begin);
  body.on_fetched(first_times{&moving});
  auto putting = upload.put_part(number, s3::request_body(body), digests, moving.token());
  co_return co_await std::move(putting);
}

}  // namespace

// Parts go one after the other: few files are so large, and what else is sent has been.
task<result<void>> put_file(const services& with, s3::object_store& store, file_to_put what,
                            file_put_limits limits, headway& moving) {
  if (!limits.in_parts(what.size)) {
    auto putting = put_whole(with, store, std::move(what), moving);
    co_return co_await std::move(putting);
  }
  s3::multipart_upload upload(with.loop, store, with.log, what.key, what.options);
  std::uint32_t number = 0;
  for (std::uint64_t begin = 0; begin < what.size; begin += limits.part_bytes) {
    const std::uint64_t bytes = std::min(limits.part_bytes, what.size - begin);
    auto putting =
        put_part(with, upload, what.file, s3::part_number(++number), begin, bytes, moving);
    auto put = co_await std::move(putting);
    if (!put) {
      co_return put;
    }
  }
  moving.note();
  auto completing = upload.complete(moving.token());
  auto completed = co_await std::move(completing);
  if (!completed) {
    co_return std::move(completed.error());
  }
  co_return engine::ok();
}

}  // namespace bts3::app
