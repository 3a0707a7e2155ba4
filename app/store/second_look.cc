#include "app/store/second_look.hh"

#include "app/store/bucket_listing.hh"
#include "planner/plan.hh"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

constexpr int readings_max = 4;
// Before the second reading; each later one waits twice as long, 3.5 s in all.
constexpr std::chrono::milliseconds pause_first{500};

constexpr const char* remedy_of_other_answers =
    "nothing was changed; run the command again, and if it stays, look for a proxy or a cache "
    "between this host and the store";

// What one answer showed.
struct reading {
  bool absent = false;
  bool too_large = false;
  std::uint64_t bytes = 0;
  std::string body;  // of one that is too large: what stands for it
  s3::etag tag;
  std::string problem;  // why it cannot be understood; empty: it was, or it is absent
};

// Whether `second` bears out what `first` showed.
bool bears_out(const reading& first, const reading& second) {
  if (first.absent || second.absent) {
    return first.absent && second.absent;
  }
  return !first.tag.empty() && first.tag == second.tag && first.body == second.body;
}

// Why a body cannot be understood; empty when it can. Never called across a suspension.
using judgement = std::function<std::string(const std::string& body)>;

task<void> pause_before(const services& with, int attempt, engine::stop_token stop) {
  const auto first = with.tuning != nullptr ? std::chrono::duration_cast<std::chrono::milliseconds>(
                                                  with.tuning->retries.backoff_first)
                                            : pause_first;
  auto waiting = with.loop.sleep_for(first * (1 << (attempt - 1)), stop);
  (void)co_await std::move(waiting);  // stopped: the next request says so
}

// The object is there, and no document of its kind has so many bytes.
task<result<reading>> look_at_size(s3::object_store& store, s3::object_key key,
                                   std::size_t bytes_max, error failure, engine::stop_token stop) {
  auto asking = store.head_object(key, stop);
  auto info = co_await std::move(asking);
  if (!info || info->size <= bytes_max) {
    co_return failure;
  }
  reading seen;
  seen.too_large = true;
  seen.bytes = info->size;
  seen.problem = failure.message;
  seen.body = "(" + std::to_string(info->size) + " bytes, ETag " + info->tag.str() + ")";
  seen.tag = std::move(info->tag);
  co_return seen;
}

task<result<reading>> read_once(s3::object_store& store, s3::object_key key, std::size_t bytes_max,
                                engine::stop_token stop) {
  auto getting = store.get_object_text(key, bytes_max, stop);
  auto object = co_await std::move(getting);
  reading seen;
  if (object) {
    seen.body = std::move(object->body);
    seen.bytes = seen.body.size();
    seen.tag = std::move(object->tag);
    co_return seen;
  }
  if (object.error().what_now == disposition::not_found) {
    seen.absent = true;
    co_return seen;
  }
  if (object.error().why != reason::protocol) {
    co_return std::move(object.error());
  }
  auto sizing = look_at_size(store, std::move(key), bytes_max, std::move(object.error()), stop);
  co_return co_await std::move(sizing);
}

error not_believed(const std::string& what, const std::string& problem) {
  error failure;
  failure.why = reason::network;
  failure.message = what + " was read " + std::to_string(readings_max) +
                    " times and could not be understood, each time otherwise: " + problem;
  failure.remedy = remedy_of_other_answers;
  return failure;
}

// `what` names it in errors: "pointer a/current.json". The judgement is asked once for each body.
task<result<reading>> read_until_believed(const services& with, s3::object_store& store,
                                          std::string what, s3::object_key key,
                                          std::size_t bytes_max, judgement judge,
                                          absence when_absent, engine::stop_token stop) {
  std::optional<reading> before;
  std::string problem;
  for (int attempt = 0; attempt < readings_max; ++attempt) {
    if (attempt > 0) {
      auto pausing = pause_before(with, attempt, stop);
      co_await std::move(pausing);
    }
    auto asking = read_once(store, key, bytes_max, stop);
    auto seen = co_await std::move(asking);
    if (!seen && seen.error().why != reason::protocol) {
      co_return std::move(seen.error());
    }
    if (!seen) {
      problem = seen.error().message;
      before.reset();
      continue;
    }
    if (!seen->absent && !seen->too_large) {
      seen->problem = judge(seen->body);
    }
    const bool certain =
        seen->absent ? when_absent == absence::believed_at_once : seen->problem.empty();
    if (certain || (before && bears_out(*before, *seen))) {
      co_return std::move(*seen);
    }
    problem = seen->absent ? "it is absent" : seen->problem;
    // A first backup's pointer is absent, as it should be.
    with.log.write(seen->absent ? engine::log_level::info : engine::log_level::warning, "s3",
                   "read_again", {{"document", what}, {"reason", problem}});
    before = std::move(*seen);
  }
  co_return not_believed(what, problem);
}

// The same of a manifest, whose absence is asked for twice. One that this host has too little
// memory to read says nothing of itself: that is an error.
task<result<reading>> read_manifest_until_believed(const services& with, s3::object_store& store,
                                                   std::string key, judgement judge,
                                                   engine::stop_token stop) {
  const manifest_bound bound = manifest_bound::of_host(with.settings);
  auto reading_it =
      read_until_believed(with, store, "manifest " + key, s3::object_key(key), bound.bytes_max,
                          std::move(judge), absence::asked_for_twice, stop);
  auto seen = co_await std::move(reading_it);
  if (seen && seen->too_large && seen->bytes <= planner::manifest_bytes_max) {
    co_return manifest_too_large(key, seen->bytes, bound);
  }
  co_return seen;
}

std::string problem_of(const planner::manifest& value, const manifest_place& of) {
  if (value.subvolume == of.subvolume && value.kind == of.kind &&
      planner::time_of(value) == of.when) {
    return "";
  }
  return "it is the manifest of another backup: " + value.subvolume + ", " +
         std::string(planner::to_string(value.kind)) + ", " + value.created_at.rfc3339();
}

}  // namespace

task<result<pointer_sight>> look_at_pointer(const services& with, s3::object_store& store,
                                            std::string key, absence when_absent,
                                            engine::stop_token stop) {
  std::optional<planner::pointer> value;
  judgement judge = [&value](const std::string& body) -> std::string {
    auto parsed = planner::parse_pointer(body);
    value = parsed ? std::optional(std::move(*parsed)) : std::nullopt;
    return value ? "" : parsed.error().text();
  };
  const std::string what = "pointer " + key;
  auto reading_it = read_until_believed(with, store, what, s3::object_key(key), pointer_bytes_max,
                                        std::move(judge), when_absent, stop);
  auto seen = co_await std::move(reading_it);
  if (!seen) {
    co_return std::move(seen.error());
  }
  pointer_sight sight;
  if (seen->absent) {
    co_return std::move(sight);
  }
  sight.bytes = seen->bytes;
  stored_pointer there;
  there.text = std::move(seen->body);
  there.tag = std::move(seen->tag);
  if (seen->problem.empty()) {
    there.value = std::move(*value);
  } else {
    sight.problem = what + ": " + seen->problem;
  }
  sight.there = std::move(there);
  co_return std::move(sight);
}

task<result<manifest_sight>> look_at_manifest(const services& with, s3::object_store& store,
                                              std::string key, manifest_place of,
                                              engine::stop_token stop) {
  std::optional<planner::manifest> value;
  judgement judge = [&value, &of](const std::string& body) -> std::string {
    value.reset();
    auto parsed = planner::parse_manifest(body);
    if (!parsed) {
      return parsed.error().text();
    }
    std::string problem = problem_of(*parsed, of);
    if (problem.empty()) {
      value = std::move(*parsed);
    }
    return problem;
  };
  const std::string what = "manifest " + key;
  auto reading_it = read_manifest_until_believed(with, store, key, std::move(judge), stop);
  auto seen = co_await std::move(reading_it);
  if (!seen) {
    co_return std::move(seen.error());
  }
  manifest_sight sight;
  if (!seen->absent) {
    sight.bytes = seen->bytes;
    sight.there = seen->problem.empty() ? std::move(value) : std::nullopt;
    sight.problem = seen->problem.empty() ? "" : what + ": " + seen->problem;
  }
  co_return std::move(sight);
}

result<void> check_by_listing(const planner::object_listing& objects, const std::string& key,
                              std::optional<std::uint64_t> bytes) {
  const auto listed = objects.find(key);
  if (listed == objects.end() || (bytes && *bytes == listed->second.size)) {
    return engine::ok();
  }
  error failure;
  failure.why = reason::network;
  failure.message = key + ": the listing has it with " + std::to_string(listed->second.size) +
                    " bytes, and reading it gives " +
                    (bytes ? std::to_string(*bytes) + " that make no sense" : std::string("none"));
  failure.remedy = remedy_of_other_answers;
  return failure;
}

task<result<bool>> is_still_listed(s3::object_store& store, std::string key,
                                   engine::stop_token stop) {
  auto listing = list_below(store, key, stop);
  const auto listed = co_await std::move(listing);
  if (!listed) {
    co_return listed.error();
  }
  co_return listed->objects.contains(key);
}

task<result<planner::chunk_comparison>> look_for_chunk(s3::object_store& store,
                                                       const planner::object_listing& objects,
                                                       std::string key, std::uint64_t bytes,
                                                       engine::stop_token stop) {
  planner::chunk_comparison found = planner::compare_chunk(key, bytes, std::nullopt);
  if (!objects.contains(key)) {
    co_return found;
  }
  auto looking = is_still_listed(store, std::move(key), stop);
  const auto still = co_await std::move(looking);
  if (!still) {
    co_return still.error();
  }
  if (*still) {
    found.state = planner::chunk_state::contradicted;
  }
  co_return found;
}

namespace {

task<result<planner::manifest>> read_listed(manifest_reader reader,
                                            const planner::object_listing& objects,
                                            s3::object_store& store, std::string key,
                                            engine::stop_token stop) {
  auto reading = reader(key);
  auto value = co_await std::move(reading);
  if (value || value.error().what_now != disposition::not_found || !objects.contains(key)) {
    co_return value;
  }
  auto looking = is_still_listed(store, key, stop);
  const auto still = co_await std::move(looking);
  if (!still) {
    co_return still.error();
  }
  if (*still) {
    co_return document_failure("manifest " + key, listed_and_absent);
  }
  co_return value;
}

}  // namespace

manifest_reader listed_reader(manifest_reader reader, const planner::object_listing& objects,
                              s3::object_store& store, engine::stop_token stop) {
  return [reader = std::move(reader), &objects, &store, stop](std::string key) {
    return read_listed(reader, objects, store, std::move(key), stop);
  };
}

namespace {

task<result<planner::manifest>> read_carefully(const services& with, s3::object_store& store,
                                               std::string key, engine::stop_token stop) {
  std::optional<planner::manifest> value;
  judgement judge = [&value](const std::string& body) -> std::string {
    auto parsed = planner::parse_manifest(body);
    value = parsed ? std::optional(std::move(*parsed)) : std::nullopt;
    return value ? "" : parsed.error().text();
  };
  const std::string what = "manifest " + key;
  auto reading_it = read_manifest_until_believed(with, store, key, std::move(judge), stop);
  auto seen = co_await std::move(reading_it);
  if (!seen) {
    co_return std::move(seen.error());
  }
  if (seen->absent) {
    error failure;
    failure.what_now = disposition::not_found;
    failure.status = 404;
    failure.message = key + ": there is no such object";
    co_return failure;
  }
  if (!seen->problem.empty()) {
    co_return document_failure(what, seen->problem);
  }
  co_return std::move(*value);
}

}  // namespace

manifest_reader careful_reader(const services& with, s3::object_store& store,
                               engine::stop_token stop) {
  return [&with, &store, stop](std::string key) {
    return read_carefully(with, store, std::move(key), stop);
  };
}

}  // namespace bts3::app
