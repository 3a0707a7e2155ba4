#include "app/indexes/index_check.hh"

#include "engine/sha256.hh"
#include "planner/chunk_comparison.hh"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::reason;
using engine::result;
using engine::task;

constexpr std::size_t piece_bytes = std::size_t{1} << 20;

}  // namespace

index_finding compare_index(const planner::inventory& all, const std::string& manifest_key,
                            const planner::index_record& recorded) {
  index_finding found;
  found.key = planner::place_in(all.objects, manifest_key, recorded.key);
  const auto object = all.objects.find(found.key);
  if (object == all.objects.end()) {
    found.problem = "the index is missing";
  } else if (object->second.size != recorded.size) {
    found.problem = "the index has " + std::to_string(object->second.size) +
                    " bytes, and the manifest says " + std::to_string(recorded.size);
  }
  return found;
}

task<result<index_finding>> read_index(const services& with, s3::object_store& store,
                                       const planner::inventory& all, std::string manifest_key,
                                       planner::index_record recorded) {
  index_finding found = compare_index(all, manifest_key, recorded);
  std::vector<std::byte> piece(std::min<std::uint64_t>(piece_bytes, recorded.size));
  engine::sha256_hasher digest;
  while (found.problem.empty() && digest.bytes() < recorded.size) {
    const std::uint64_t length =
        std::min<std::uint64_t>(piece.size(), recorded.size - digest.bytes());
    const std::span<std::byte> into = std::span(piece).first(length);
    s3::get_request request(s3::object_key(found.key), into);
    request.range = s3::byte_range(digest.bytes(), length);
    auto getting = store.get_object(std::move(request), with.stop);
    auto got = co_await std::move(getting);
    if (!got && got.error().why == reason::not_thawed) {
      found.problem = "the index is archived";
      co_return found;
    }
    if (!got) {
      co_return std::move(got.error()).within("index " + found.key);
    }
    digest.update(into);
    found.bytes_read += length;
  }
  if (found.problem.empty() && digest.digest().hex() != recorded.sha256) {
    found.problem = "the index is not what the manifest says";
  }
  co_return found;
}

}  // namespace bts3::app
