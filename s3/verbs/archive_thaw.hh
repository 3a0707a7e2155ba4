// Makes archived objects readable: asks for all of them at once, and waits until they are.
//
// GLACIER and DEEP_ARCHIVE are thawed into a copy that lives for some days; the archive tiers of
// INTELLIGENT_TIERING move back for good; GLACIER_IR and everything else is readable as it is
// ("Working with archived objects", Amazon S3 User Guide). What is asked for is decided from HEAD
// alone, so that running again continues where an earlier run was: an object under way is waited
// for, a copy that ends too early is extended, one that has expired is thawed again. An object that
// is under way is never asked for again, also not with a faster tier.
//
// survey() only looks and costs one HEAD for each object whose state the caller does not know;
// run() requests, then polls with HEAD those that are missing, less and less often. A missing or
// wrongly sized object, or Expedited where there is none, is an error before anything is requested.
// Stores exist that know the archive classes by name only (Ceph 16 with such a placement): what a
// store without RestoreObject, or RestoreObject against HEAD, calls archived is readable when its
// first byte can be read, and else an error.
//
// At most `concurrency` requests are open at a time. A copy that expires while others are waited
// for is thawed again; one that expires later, while it is read, shows as reason not_thawed there,
// and the caller runs a thaw again.
//
// Reaching the deadline is an outcome, not an error. Errors are the store's. While waiting,
// failures that may pass (disposition retry: a lost network that outlasted the store's own
// patience) are logged and the next poll tries again. Stopped: `cancelled`; what was requested
// stays requested.
//
// One thread; a thaw is used once, by one caller at a time. All references must outlive it.
#pragma once

#include "engine/clock.hh"
#include "engine/log_sink.hh"
#include "engine/reactor.hh"
#include "s3/verbs/archive_status.hh"
#include "s3/verbs/object_store.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::s3 {

struct thaw_object {
  thaw_object(object_key name, std::uint64_t expected_bytes)
      : key(std::move(name)), bytes(expected_bytes) {}
  thaw_object(object_key name, std::uint64_t expected_bytes, object_info head)
      : key(std::move(name)), bytes(expected_bytes), known(std::move(head)) {}
  object_key key;
  std::uint64_t bytes;               // as recorded; another size in the store is an error
  std::optional<object_info> known;  // from a HEAD of just now, which is then not repeated
};

struct thaw_options {
  thaw_options() = default;
  retrieval_tier tier = retrieval_tier::standard;
  unsigned days = 7;       // that copies live; from 1
  wall_time needed_until;  // copies that end earlier are extended; now + days must reach it
  wall_time deadline;      // waits no longer; in the past: requests and does not wait at all
  // Waits between polls double from the first to the last. 100 objects for 12 hours are 14,900
  // HEADs, which AWS bills with less than a cent ($0.0004 a thousand, us-east-1).
  std::chrono::seconds poll_first{30};
  std::chrono::seconds poll_max{300};
  std::size_t concurrency = 16;
  // Called with the counts after the requests and after each poll; may be empty.
  std::function<void(const struct thaw_report&)> on_progress;
  // Instead of the reactor's timer, for tests; `clock` moves meanwhile.
  std::function<engine::task<engine::result<void>>(std::chrono::nanoseconds, engine::stop_token)>
      sleep;
};

// What stands before a thaw.
struct thaw_survey {
  std::size_t objects = 0;
  std::size_t readable = 0;  // in no archive
  std::size_t thawed = 0;    // and for long enough
  std::size_t thawing = 0;
  std::size_t to_request = 0;  // archived or expired
  std::size_t to_extend = 0;   // thawed, and not for long enough
  std::uint64_t bytes = 0;
  std::uint64_t bytes_to_request = 0;  // what retrieval is paid for
  std::uint64_t bytes_to_extend = 0;
  // The slowest object's, of those under way or to be requested (those under way may have been
  // requested with another tier, and are on their way already).
  thaw_time typical;
};

enum class thaw_outcome { ready, deadline };

struct thaw_missing {
  object_key key;
  std::uint64_t bytes = 0;
  // archived: not even requested, for want of Expedited capacity.
  archive_state state = archive_state::thawing;
};

// objects = readable + ready + thawing + refused, at any time.
struct thaw_report {
  thaw_outcome outcome = thaw_outcome::deadline;
  std::size_t objects = 0;
  std::size_t readable = 0;  // in no archive
  std::size_t ready = 0;     // thawed
  std::size_t thawing = 0;
  std::size_t refused = 0;  // there was no capacity for Expedited when asked last
  // What this run did.
  std::size_t requested = 0;    // retrievals that began
  std::size_t extended = 0;     // copies that live longer now
  std::size_t in_progress = 0;  // found under way
  std::size_t polls = 0;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_missing = 0;
  std::vector<thaw_missing> missing;      // in the caller's order; empty when ready
  std::optional<wall_time> first_expiry;  // of the copies that are ready
};

class archive_thaw {
 public:
  archive_thaw(engine::reactor& loop, object_store& store, const engine::clock& clock,
               engine::log_sink& log, std::vector<thaw_object> objects, thaw_options options);

  // Looks, and requests nothing.
  engine::task<engine::result<thaw_survey>> survey(engine::stop_token stop);
  // Surveys unless that was done, requests and waits. Logs thaw_requested and then one thaw_poll
  // for each poll, with the counts.
  engine::task<engine::result<thaw_report>> run(engine::stop_token stop);

 private:
  struct item {
    object_key key;
    std::uint64_t bytes = 0;
    std::optional<object_info> known;
    archive_status status;
    bool refused = false;     // no capacity for Expedited
    bool look_again = false;  // the store's answer does not fit what HEAD said
  };
  enum class verb { look, request };

  [[nodiscard]] bool ends_too_early(const item& one) const;
  [[nodiscard]] bool needs_request(const item& one) const;
  [[nodiscard]] bool is_missing(const item& one) const;
  template <typename Predicate>
  std::vector<item*> those(Predicate wanted);
  [[nodiscard]] engine::result<void> check_requests() const;
  engine::task<engine::result<void>> run_pass(verb what, std::vector<item*> items,
                                              engine::stop_token stop);
  engine::task<engine::result<void>> look(item& one, engine::stop_token stop);
  engine::task<engine::result<void>> request(item& one, engine::stop_token stop);
  engine::task<engine::result<bool>> can_be_read(const item& one, engine::stop_token stop);
  engine::task<engine::result<void>> look_at_all(engine::stop_token stop);
  engine::task<engine::result<void>> request_missing(engine::stop_token stop);
  engine::task<engine::result<void>> poll(engine::stop_token stop);
  engine::task<engine::result<void>> wait(std::chrono::nanoseconds duration,
                                          engine::stop_token stop);
  void expire_copies();
  void count(thaw_report& report) const;
  void log_progress(std::string_view event);

  engine::reactor& _loop;
  object_store& _store;
  const engine::clock& _clock;
  engine::log_sink& _log;
  thaw_options _options;
  std::vector<item> _items;
  wall_time _began{};  // of waiting
  bool _looked = false;
  bool _refusal_logged = false;
  thaw_report _report;  // the actions so far; the rest is counted when asked for
};

}  // namespace bts3::s3
