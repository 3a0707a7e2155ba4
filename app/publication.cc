#include "app/publication.hh"

#include "app/second_look.hh"
#include "planner/plan.hh"

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

// Whether the manifest `other` is of the same snapshot and the same bytes: one that an earlier
// attempt wrote may differ in what it says of the program or of ETags.
bool describes_same(const planner::manifest& other, const planner::manifest& value) {
  return other.snapshot.uuid == value.snapshot.uuid &&
         other.parent_manifest == value.parent_manifest &&
         std::equal(other.chunks.begin(), other.chunks.end(), value.chunks.begin(),
                    value.chunks.end(), [](const auto& a, const auto& b) {
                      return a.key == b.key && a.size == b.size && a.sha256 == b.sha256;
                    });
}

// Whether the manifest at its key is ours, absent (then false), or what makes this a failure. Only
// one that was understood to be another's proves a second writer.
task<result<bool>> is_written(const services& with, store_connection& connection, std::string key,
                              const planner::manifest& value, publication_trace& trace) {
  manifest_place place;
  place.subvolume = value.subvolume;
  place.kind = value.kind;
  place.when = planner::time_of(value);
  auto looking = look_at_manifest(with, connection.store(), key, std::move(place), with.stop);
  auto sight = co_await std::move(looking);
  if (!sight) {
    co_return std::move(sight.error());
  }
  if (!sight->problem.empty()) {
    error unclear;
    unclear.message = "another object has that key: " + sight->problem;
    unclear.remedy = "the next run makes a backup under other keys; nothing was deleted";
    co_return unclear;
  }
  if (sight->absent() || describes_same(*sight->there, value)) {
    co_return !sight->absent();
  }
  if (sight->there->snapshot.uuid == value.snapshot.uuid) {
    error unclear;
    unclear.message = "a manifest of the same snapshot exists that names other chunks";
    unclear.remedy = "nothing was deleted; was this host's state copied to another one?";
    co_return unclear;
  }
  trace.manifest_may_exist = false;  // it is somebody else's
  trace.manifest_is_anothers = true;
  trace.second_writer = true;
  error second;
  second.message = "another manifest of that name exists: a second writer uses this prefix";
  second.remedy = "give each host an s3.prefix of its own";
  co_return second;
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

// The pointer is not what it was. A second writer moved it only where it says so: one that was
// damaged meanwhile, or went, says nothing of whose the prefix is, and everything is kept.
error pointer_moved(pointer_sight& sight, publication_trace& trace) {
  error failure;
  if (!sight.there || !sight.understood()) {
    failure.message = "the pointer changed during this backup: " +
                      (sight.there ? sight.problem : std::string("it is absent now"));
    failure.remedy = "run the backup again: it goes on where this one stopped";
    return failure;
  }
  trace.pointer_may_have_moved = false;
  trace.second_writer = true;
  trace.found = std::move(sight.there);
  failure.message = "the pointer was moved by somebody else during this backup";
  failure.remedy = "two hosts must not share a prefix: give each an s3.prefix of its own";
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
  constexpr int refusals_max = 3;   // of a key that is free
  for (int refusals = 0;;) {
    s3::put_request copy = request;
    auto putting = connection.store().put_object(std::move(copy), with.stop);
    auto put = co_await std::move(putting);
    if (put) {
      co_return engine::ok();
    }
    const error& failure = put.error();
    const bool unconditional =
        failure.why == reason::unsupported && request.condition.must_be_absent;
    if (failure.why != reason::precondition && !unconditional) {
      co_return std::move(put.error());
    }
    // 412 may be the echo of our own first attempt. Where the store knows no condition, what is
    // there is not written over either.
    auto looking = is_written(with, connection, name, value, trace);
    auto written = co_await std::move(looking);
    if (!written) {
      co_return std::move(written.error());
    }
    if (*written) {
      co_return engine::ok();
    }
    if (!unconditional && ++refusals == refusals_max) {
      co_return std::move(put.error());
    }
    if (unconditional) {
      request.condition = s3::precondition();
    }
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
    auto looking =
        look_at_pointer(with, connection.store(), key.str(), absence::asked_for_twice, with.stop);
    auto sight = co_await std::move(looking);
    if (!sight) {
      co_return std::move(sight.error());
    }
    const std::optional<stored_pointer>& there = sight->there;
    if (there && there->text == text) {
      co_return engine::ok();
    }
    const bool unchanged =
        there.has_value() == before.has_value() && (!before || there->text == before->text);
    if (!unchanged) {
      co_return pointer_moved(*sight, trace);
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
