// A file of this host as an object of the bucket: one PUT, or an upload in parts where it is too
// large for that.
#pragma once

#include "app/host/headway.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/sha256.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <chrono>
#include <cstdint>
#include <utility>

namespace bts3::app {

// What tests shrink.
struct file_put_limits {
  // One PUT takes 5 GiB on AWS and a little less on R2.
  std::uint64_t put_bytes = std::uint64_t{4} << 30;
  std::uint64_t part_bytes = std::uint64_t{512} << 20;
  // Without headway.
  std::chrono::milliseconds patience{60'000};

  [[nodiscard]] bool in_parts(std::uint64_t bytes) const { return bytes > put_bytes; }
};

struct file_to_put {
  file_to_put(s3::object_key to, s3::write_options how, int from, std::uint64_t bytes)
      : key(std::move(to)), options(std::move(how)), file(from), size(bytes) {}
  s3::object_key key;
  s3::write_options options;
  int file;  // open, and not changed any more
  std::uint64_t size;
  // Of all of it.
  std::uint32_t crc32 = 0;
  engine::sha256_state sha256;
};

// `moving` notes what is sent for the first time, and ends it where it gives up. After an error, of
// what goes in parts an upload may be open. References must outlive the task.
engine::task<engine::result<void>> put_file(const services& with, s3::object_store& store,
                                            file_to_put what, file_put_limits limits,
                                            headway& moving);

}  // namespace bts3::app
