#include "app/download/part_memory.hh"

#include "app/text/human_units.hh"

#include <algorithm>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;

// "Amazon S3 multipart upload limits", Amazon S3 User Guide.
constexpr std::uint64_t part_bytes_max = std::uint64_t{5} << 30;

}  // namespace

std::uint64_t slot_bytes_for(const config& settings, const std::vector<located_chunk>& chunks) {
  std::uint64_t most = 1;
  for (const located_chunk& chunk : chunks) {
    const std::uint64_t part = chunk.record.part_size.value_or(settings.s3.part_size_bytes);
    most = std::max(most, std::min(chunk.record.size, part));
  }
  return most;
}

result<std::size_t> slots_for(const config& settings, std::uint64_t slot_bytes) {
  error failure;
  if (slot_bytes > part_bytes_max) {
    failure.why = reason::integrity;
    failure.message = "a manifest records parts of " + format_bytes(slot_bytes) +
                      ", and S3 allows " + format_bytes(part_bytes_max);
    return failure;
  }
  const std::size_t parts = settings.parts_in_flight(slot_bytes);
  if (parts == 0) {
    failure.why = reason::configuration;
    failure.message = "global.memory_limit_bytes = " +
                      std::to_string(settings.global.memory_limit_bytes.value_or(0)) +
                      " is too small: parts have " + format_bytes(slot_bytes) +
                      ", and two of them are needed";
    failure.remedy = "raise it, or set it to 0";
    return failure;
  }
  return parts + 1;
}

}  // namespace bts3::app
