#include "app/publication.hh"

#include <algorithm>
#include <span>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Whether the manifest `text` is of the same snapshot and the same bytes: one that an earlier
// attempt wrote may differ in what it says of the program or of ETags.
bool describes_same(const std::string& text, const planner::manifest& value) {
  const auto other = planner::parse_manifest(text);
  return other && other->snapshot.uuid == value.snapshot.uuid &&
         other->parent_manifest == value.parent_manifest &&
         std::equal(other->chunks.begin(), other->chunks.end(), value.chunks.begin(),
                    value.chunks.end(), [](const auto& a, const auto& b) {
                      return a.key == b.key && a.size == b.size && a.sha256 == b.sha256;
                    });
}

std::uint64_t manifest_limit(const services& with) {
  return with.tuning != nullptr ? with.tuning->manifest_bytes_max : planner::manifest_bytes_max;
}

error manifest_too_large(const services& with, std::string what) {
  error failure;
  failure.why = reason::configuration;
  failure.message = std::move(what) + ", and " + std::to_string(manifest_limit(with)) +
                    " are the most that can be read back";
  failure.remedy = "raise s3.part_size_bytes = " + std::to_string(with.settings.part_size_bytes) +
                   " (the manifest lists every part) or, where its chunks are many, "
                   "s3.chunk_size_bytes = " +
                   std::to_string(with.settings.chunk_size_bytes);
  return failure;
}

}  // namespace

result<void> check_manifest_size(const services& with, std::uint64_t parts, std::uint64_t chunks) {
  const std::uint64_t bytes = planner::manifest_bytes_for(parts, chunks);
  if (bytes <= manifest_limit(with)) {
    return engine::ok();
  }
  return manifest_too_large(with, "the stream is too long for its parts: with " +
                                      std::to_string(parts) + " parts in " +
                                      std::to_string(chunks) + " chunks its manifest has " +
                                      std::to_string(bytes) + " bytes");
}

task<result<void>> put_manifest(const services& with, store_connection& connection,
                                std::string name, planner::manifest value,
                                publication_trace& trace) {
  const s3::object_key key(name);
  const std::string text = planner::write_manifest(value);
  if (text.size() > manifest_limit(with)) {
    co_return manifest_too_large(with,
                                 "the manifest has " + std::to_string(text.size()) + " bytes");
  }
  s3::put_request request(key, bytes_of(text));
  request.options =
      write_options_for(with.settings, with.settings.storage_class_manifest, "application/json");
  request.options.content_md5 = true;
  request.condition = s3::precondition::absent();
  trace.manifest_may_exist = true;  // from here an answer may be lost
  for (;;) {
    s3::put_request copy = request;
    auto putting = connection.store().put_object(std::move(copy), with.stop);
    auto put = co_await std::move(putting);
    if (put) {
      co_return engine::ok();
    }
    const error& failure = put.error();
    if (failure.why == reason::unsupported && request.condition.must_be_absent) {
      request.condition = s3::precondition();
      continue;
    }
    if (failure.why != reason::precondition) {
      co_return std::move(put.error());
    }
    // 412 may be the echo of our own first attempt.
    auto getting = connection.store().get_object_text(key, planner::manifest_bytes_max, with.stop);
    auto there = co_await std::move(getting);
    if (!there) {
      co_return std::move(there.error());
    }
    if (there->body == text || describes_same(there->body, value)) {
      co_return engine::ok();
    }
    trace.manifest_may_exist = false;  // it is somebody else's
    trace.second_writer = true;
    error second;
    second.message = "another manifest of that name exists: a second writer uses this prefix";
    second.remedy = "give each host an s3.prefix of its own";
    co_return second;
  }
}

// Compare and swap. Stores differ in how they compare, and answers get lost, so a refusal is
// examined: our own bytes mean success, unchanged content means a store that compares badly.
task<result<void>> move_pointer(const services& with, store_connection& connection,
                                std::string name, planner::pointer value,
                                std::optional<stored_pointer> before, publication_trace& trace) {
  const s3::object_key key(name);
  const std::string text = planner::write_pointer(value);
  s3::put_request request(key, bytes_of(text));
  request.options =
      write_options_for(with.settings, with.settings.storage_class_manifest, "application/json");
  request.options.content_md5 = true;
  request.condition = before ? s3::precondition::matches(before->tag) : s3::precondition::absent();
  trace.pointer_may_have_moved = true;
  for (int conflicts = 0; conflicts < 8;) {
    s3::put_request copy = request;
    auto putting = connection.store().put_object(std::move(copy), with.stop);
    auto put = co_await std::move(putting);
    if (put) {
      co_return engine::ok();
    }
    const error failure = std::move(put.error());
    if (failure.why == reason::unsupported) {
      request.condition = s3::precondition();
      ++conflicts;
      continue;
    }
    if (failure.why != reason::precondition) {
      co_return failure;
    }
    auto reading = read_pointer(connection.store(), key.str(), with.stop);
    auto there = co_await std::move(reading);
    if (!there) {
      co_return std::move(there.error());
    }
    if (*there && (*there)->text == text) {
      co_return engine::ok();
    }
    const bool unchanged =
        there->has_value() == before.has_value() && (!before || (*there)->text == before->text);
    if (!unchanged) {
      trace.pointer_may_have_moved = false;
      trace.second_writer = true;
      error second;
      second.message = "the pointer was moved by somebody else during this backup";
      second.remedy = "two hosts must not share a prefix: give each an s3.prefix of its own";
      co_return second;
    }
    ++conflicts;
    if (failure.status == 409) {
      continue;  // a concurrent request that did not win either: compare and try again
    }
    if (request.condition.must_match && !request.condition.unquoted) {
      request.condition.unquoted = true;
      continue;
    }
    with.log.write(log_level::warning, "backup", "pointer_moved_unconditionally",
                   {{"key", key.str()},
                    {"reason", "the store refuses a condition that holds: " + failure.message}});
    request.condition = s3::precondition();
  }
  error failure;
  failure.message = "the store refuses to replace the pointer";
  co_return failure;
}

}  // namespace bts3::app
