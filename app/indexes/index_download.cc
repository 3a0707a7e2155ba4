#include "app/indexes/index_download.hh"

#include "app/host/disk_call.hh"
#include "app/indexes/sealed_reading.hh"
#include "planner/keys.hh"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// What is fetched with one GET and held meanwhile.
constexpr std::uint64_t piece_bytes = std::uint64_t{8} << 20;

// An index is its stream without the data, packed. What packs badly grows by less than a sixteenth;
// 64 KiB are for what is around the frames, and an age file's header.
bool is_possible(const chain_link& link) {
  return link.value.index->size <=
         link.value.total_bytes + link.value.total_bytes / 16 + std::uint64_t{64} * 1024;
}

error of_index(error failure, const chain_link& link) {
  return std::move(failure).within("the index of backup " + link.key);
}

// One of its places, in pieces, each hashed and written as it comes.
task<result<engine::sha256_state>> fetch_from(const services& with, s3::object_store& store,
                                              std::string key, std::uint64_t size, int into,
                                              progress* shown) {
  std::vector<std::byte> piece(std::min(size, piece_bytes));
  engine::sha256_hasher digest;
  for (std::uint64_t at = 0; at < size; at += piece_bytes) {
    const std::span<std::byte> room =
        std::span(piece).first(std::min<std::uint64_t>(piece_bytes, size - at));
    s3::get_request request(s3::object_key(key), room);
    request.range = s3::byte_range(at, room.size());
    auto getting = store.get_object(std::move(request), with.stop);
    auto got = co_await std::move(getting);
    if (!got) {
      co_return std::move(got.error());
    }
    std::function<result<void>()> keep = [&digest, room, into] {
      digest.update(room);
      return write_index(into, room);
    };
    auto keeping = disk_call(with.loop, std::move(keep));
    auto kept = co_await std::move(keeping);
    if (!kept) {
      co_return std::move(kept.error());
    }
    if (shown != nullptr) {
      shown->add(room.size());
    }
  }
  co_return digest.digest();
}

}  // namespace

result<void> write_index(int file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(file, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) {
      continue;
    }
    if (put < 0) {
      return engine::system_error(errno, "writing to the cache of indexes",
                                  "make room there, or name another directory in --cache-dir");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return engine::ok();
}

task<result<stored_index>> fetch_index(const services& with, s3::object_store& store,
                                       const index_cache& cache, const chain_link& link,
                                       progress* shown) {
  const planner::index_record& record = link.value.index.value();
  if (!is_possible(link)) {
    error failure;
    failure.why = reason::integrity;
    failure.message = link.key + " records an index of " + std::to_string(record.size) +
                      " bytes, which is more than its stream has";
    co_return failure;
  }
  const auto expected = engine::sha256_state::from_hex(record.sha256);
  const auto plain =
      record.plain_sha256 ? engine::sha256_state::from_hex(*record.plain_sha256) : expected;
  const std::vector<std::string> places = planner::places_of(link.key, record.key);
  error last;
  for (std::size_t i = 0; i < places.size(); ++i) {
    auto file = cache.scratch_file();
    if (!file) {
      co_return std::move(file.error());
    }
    auto fetching = fetch_from(with, store, places[i], record.size, file->get(), shown);
    auto digest = co_await std::move(fetching);
    if (digest) {
      if (!expected || !plain || *digest != *expected) {
        error failure;
        failure.why = reason::integrity;
        failure.message = places[i] + " has the SHA-256 " + digest->hex() + ", and " + link.key +
                          " records " + record.sha256;
        failure.remedy =
            "`index build` makes it anew from the backup's chunks; `verify` looks at those";
        co_return failure;
      }
      stored_index made;
      made.file = std::move(*file);
      made.bytes = record.size;
      made.sha256 = *plain;
      co_return made;
    }
    last = std::move(digest.error());
    if (!is_absent(last, i > 0)) {
      co_return of_index(std::move(last), link);
    }
  }
  last.message =
      absent_text("the index " + places.front() + " of backup " + link.key + " is missing", last);
  last.what_now = engine::disposition::not_found;
  last.why = reason::unspecified;
  co_return last;
}

result<btrfs::index::index_file> open_index(const stored_index& from,
                                            const std::atomic<bool>& stopped) {
  btrfs::index::read_at read = btrfs::index::reads_of(from.file.get());
  std::uint64_t bytes = from.bytes;
  if (from.key) {
    auto opened = sealed_reading::open(from.file.get(), from.bytes, from.key->opener.identity());
    if (!opened) {
      return std::move(opened.error());
    }
    auto reading = std::make_shared<sealed_reading>(std::move(*opened));
    bytes = reading->plain_bytes();
    read = [reading](std::uint64_t offset, std::span<std::byte> into) {
      return reading->read(offset, into);
    };
  }
  return btrfs::index::index_file::open(
      [read, &stopped](std::uint64_t offset, std::span<std::byte> into) -> result<void> {
        return stopped ? engine::cancelled_error() : read(offset, into);
      },
      bytes);
}

}  // namespace bts3::app
