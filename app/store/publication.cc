#include "app/store/publication.hh"

#include "app/store/manifest_signature.hh"
#include "app/store/second_look.hh"
#include "planner/plan.hh"

#include <algorithm>
#include <optional>
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
  return engine::configuration_error(
      std::move(what) + ", and " + std::to_string(manifest_limit(with)) +
          " are the most that can be read back",
      "raise s3.part_size_bytes = " + std::to_string(with.settings.s3.part_size_bytes) +
          " (the manifest lists every part) or, where its chunks are many, "
          "s3.chunk_size_bytes = " +
          std::to_string(with.settings.s3.chunk_size_bytes));
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

namespace {

// `text` at the key, where nothing may be. False where it was there already, from an attempt of
// ours: then maybe with other ETags.
task<result<bool>> put_manifest_text(const services& with, store_connection& connection,
                                     std::string name, const planner::manifest& value,
                                     const std::string& text, publication_trace& trace) {
  const s3::object_key key(name);
  s3::put_request request(key, bytes_of(text));
  request.options = document_options(with);
  trace.manifest_may_exist = true;  // from here an answer may be lost
  constexpr int refusals_max = 3;   // of a key that is free
  s3::optional_features& features = connection.features();
  bool conditional = features.sends(s3::feature::absent_condition);
  std::optional<error> refused;  // of the condition itself
  for (int refusals = 0;;) {
    if (!conditional || refusals > 0) {
      // 412 may be the echo of our own first attempt. Where the store knows no condition, what is
      // there is not written over either.
      auto looking = is_written(with, connection, name, value, trace);
      auto written = co_await std::move(looking);
      if (!written) {
        co_return std::move(written.error());
      }
      if (*written) {
        co_return false;
      }
    }
    s3::put_request copy = request;
    copy.condition = conditional ? s3::precondition::absent() : s3::precondition();
    auto putting = connection.store().put_object(std::move(copy), with.stop);
    auto put = co_await std::move(putting);
    if (put) {
      if (refused) {
        features.note_refused(with.log, {s3::feature::absent_condition}, *refused);
      }
      co_return true;
    }
    if (conditional && put.error().why == reason::unsupported) {
      refused = std::move(put.error());
      conditional = false;
      continue;
    }
    if (put.error().why != reason::precondition || ++refusals == refusals_max) {
      co_return std::move(put.error());
    }
  }
}

// What an attempt before may have written otherwise.
void forget_attempt(planner::manifest& value) {
  value.tool_version.clear();
  for (planner::chunk_record& chunk : value.chunks) {
    chunk.etag.reset();
  }
  if (value.index && value.index->plain_size) {
    // What is sealed anew is never the same; what is in it is.
    value.index->size = planner::index_bytes_max;
    value.index->sha256.clear();
  }
}

// The bytes that lie at the key, which are to be signed: those of `value`, but for what differs
// between attempts.
task<result<std::string>> text_to_sign(const services& with, s3::object_store& store,
                                       std::string name, planner::manifest value) {
  auto getting = store.get_object_text(s3::object_key(name), manifest_limit(with), with.stop);
  auto object = co_await std::move(getting);
  if (!object) {
    co_return std::move(object.error());
  }
  auto there = planner::parse_manifest(object->body);
  // Nor has it members that this version would not read.
  bool same = there && planner::write_manifest(*there) == object->body;
  if (same) {
    forget_attempt(*there);
    forget_attempt(value);
    same = planner::write_manifest(*there) == planner::write_manifest(value);
  }
  if (!same) {
    error failure;
    failure.why = reason::integrity;
    failure.message = "what lies there is not what this backup would write, and is not signed";
    failure.remedy = "nothing was deleted; look who else writes to this prefix";
    co_return failure;
  }
  co_return std::move(object->body);
}

}  // namespace

task<result<void>> put_manifest(const services& with, store_connection& connection,
                                std::string name, planner::manifest value,
                                const manifest_signer* signer, publication_trace& trace) {
  std::string text = planner::write_manifest(value);
  if (text.size() > manifest_limit(with)) {
    co_return manifest_too_large(with,
                                 "the manifest has " + std::to_string(text.size()) + " bytes");
  }
  auto putting = put_manifest_text(with, connection, name, value, text, trace);
  const auto ours = co_await std::move(putting);
  if (!ours) {
    co_return ours.error();
  }
  if (signer == nullptr) {
    co_return engine::ok();
  }
  if (!*ours) {
    auto reading = text_to_sign(with, connection.store(), name, std::move(value));
    auto there = co_await std::move(reading);
    if (!there) {
      co_return std::move(there.error());
    }
    text = std::move(*there);
  }
  trace.signature_may_exist = true;
  auto signing = put_signature(with, *signer, connection.store(), std::move(name), std::move(text));
  co_return co_await std::move(signing);
}

namespace {

// The pointer as it is to be written, and what is to be there before.
struct pointer_move {
  s3::object_key key;
  std::string text;
  std::optional<stored_pointer> before;
};

// What is there now: nullopt, what was there before; else what becomes of the move.
task<result<std::optional<result<void>>>> compare_pointer(const services& with,
                                                          store_connection& connection,
                                                          const pointer_move& move,
                                                          publication_trace& trace) {
  auto looking = look_at_pointer(with, connection.store(), move.key.str(), absence::asked_for_twice,
                                 with.stop);
  auto sight = co_await std::move(looking);
  if (!sight) {
    co_return std::move(sight.error());
  }
  std::optional<result<void>> outcome;
  const std::optional<stored_pointer>& there = sight->there;
  if (there && there->text == move.text) {
    outcome = engine::ok();
    co_return outcome;
  }
  const bool unchanged = there.has_value() == move.before.has_value() &&
                         (!move.before || there->text == move.before->text);
  if (!unchanged) {
    outcome = pointer_moved(*sight, trace);
  }
  co_return outcome;
}

}  // namespace

// Compare and swap. Stores differ in how they compare, and answers get lost, so a refusal is
// examined: our own bytes mean success, unchanged content means a store that compares badly. A
// store that takes no condition is asked what is there right before.
task<result<void>> move_pointer(const services& with, store_connection& connection,
                                std::string name, planner::pointer value,
                                std::optional<stored_pointer> before, publication_trace& trace) {
  const pointer_move move{s3::object_key(name), planner::write_pointer(value), std::move(before)};
  s3::put_request request(move.key, bytes_of(move.text));
  request.options = document_options(with);
  s3::optional_features& features = connection.features();
  const s3::feature guard =
      move.before ? s3::feature::match_condition : s3::feature::absent_condition;
  bool conditional = features.sends(guard);
  if (conditional) {
    request.condition =
        move.before ? s3::precondition::matches(move.before->tag) : s3::precondition::absent();
  }
  std::optional<error> refused;  // of the condition itself
  std::string compares_badly;    // what the store says against a condition that holds
  bool look = !conditional;
  trace.pointer_may_have_moved = true;
  for (int conflicts = 0; conflicts < 8;) {
    if (look) {
      auto comparing = compare_pointer(with, connection, move, trace);
      auto compared = co_await std::move(comparing);
      if (!compared) {
        co_return std::move(compared.error());
      }
      if (*compared) {
        co_return std::move(**compared);
      }
    }
    if (!compares_badly.empty()) {
      with.log.write(log_level::warning, "backup", "pointer_moved_unconditionally",
                     {{"key", move.key.str()},
                      {"reason", "the store refuses a condition that holds: " +
                                     std::exchange(compares_badly, std::string())}});
    }
    s3::put_request copy = request;
    auto putting = connection.store().put_object(std::move(copy), with.stop);
    auto put = co_await std::move(putting);
    if (put) {
      if (refused) {
        features.note_refused(with.log, {guard}, *refused);
      }
      co_return engine::ok();
    }
    const error failure = std::move(put.error());
    ++conflicts;
    look = true;
    if (conditional && failure.why == reason::unsupported) {
      refused = failure;
      conditional = false;
      request.condition = s3::precondition();
      continue;
    }
    if (failure.why != reason::precondition) {
      co_return failure;
    }
    if (failure.status == 409) {
      continue;  // a concurrent request that did not win either: compare and try again
    }
    if (request.condition.must_match && !request.condition.unquoted) {
      request.condition.unquoted = true;
      continue;
    }
    if (std::exchange(conditional, false)) {
      compares_badly = failure.message;
      request.condition = s3::precondition();
    }
  }
  error failure;
  failure.message = "the store refuses to replace the pointer";
  co_return failure;
}

}  // namespace bts3::app
