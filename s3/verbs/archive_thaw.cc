#include "s3/verbs/archive_thaw.hh"

#include "engine/assert.hh"
#include "engine/for_each_at_most.hh"
#include "engine/wording.hh"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::setting;
using engine::task;
using engine::wording;
using std::chrono::days;
using std::chrono::seconds;

error failed(reason why, std::string message, wording remedy = {}) {
  error failure;
  failure.why = why;
  failure.message = std::move(message);
  failure.remedy = std::move(remedy);
  return failure;
}

error contradiction(const object_key& key) {
  return failed(reason::protocol,
                key.str() +
                    ": it is archived, say HEAD and GET, and it is not, says RestoreObject "
                    "(InvalidObjectState)",
                "ask the store's operator how its archive class is thawed");
}

// Whether the object itself has to be asked for, not only a longer life of its copy.
bool lies_archived(archive_state state) {
  switch (state) {
    case archive_state::archived:
    case archive_state::expired:
      return true;
    case archive_state::readable:
    case archive_state::thawing:
    case archive_state::thawed:
      break;
  }
  return false;
}

}  // namespace

archive_thaw::archive_thaw(engine::reactor& loop, object_store& store, const engine::clock& clock,
                           engine::log_sink& log, std::vector<thaw_object> objects,
                           thaw_options options)
    : _loop(loop), _store(store), _clock(clock), _log(log), _options(std::move(options)) {
  BTS3_ASSERT(_options.concurrency >= 1);
  BTS3_ASSERT(_options.poll_first.count() >= 1 && _options.poll_max >= _options.poll_first);
  _items.reserve(objects.size());
  for (thaw_object& object : objects) {
    item one;
    one.key = std::move(object.key);
    one.bytes = object.bytes;
    one.known = std::move(object.known);
    _items.push_back(std::move(one));
  }
}

bool archive_thaw::ends_too_early(const item& one) const {
  return one.status.state == archive_state::thawed && one.status.until &&
         *one.status.until < _options.needed_until;
}

bool archive_thaw::needs_request(const item& one) const {
  return lies_archived(one.status.state) || ends_too_early(one);
}

bool archive_thaw::is_missing(const item& one) const {
  return lies_archived(one.status.state) || one.status.state == archive_state::thawing;
}

template <typename Predicate>
std::vector<archive_thaw::item*> archive_thaw::those(Predicate wanted) {
  std::vector<item*> found;
  for (item& one : _items) {
    if (wanted(one)) {
      found.push_back(&one);
    }
  }
  return found;
}

// Asks HEAD, unless the caller has just done so.
task<result<void>> archive_thaw::look(item& one, engine::stop_token stop) {
  if (!one.known) {
    auto asking = _store.head_object(one.key, stop);
    auto info = co_await std::move(asking);
    if (!info) {
      co_return std::move(info.error());
    }
    one.known = std::move(*info);
  }
  const object_info info = *std::exchange(one.known, std::nullopt);
  if (info.size != one.bytes) {
    co_return failed(reason::integrity, one.key.str() + ": the store has " +
                                            std::to_string(info.size) + " bytes of it, not the " +
                                            std::to_string(one.bytes) + " that were recorded");
  }
  auto status = archive_status_of(one.key, info, _clock.now());
  if (!status) {
    co_return std::move(status.error());
  }
  one.status = *status;
  co_return engine::ok();
}

// Asks for the object, or for a longer life of its copy: then nothing is retrieved, so that there
// is no reason to pay for Expedited.
task<result<void>> archive_thaw::request(item& one, engine::stop_token stop) {
  const bool archived = lies_archived(one.status.state);
  const bool hurried = _options.tier == retrieval_tier::expedited;
  const retrieval_tier tier = !archived && hurried ? retrieval_tier::standard : _options.tier;
  std::optional<unsigned> copy_days;
  if (one.status.copied) {
    copy_days = _options.days;
  }
  auto asking = _store.restore_object(one.key, copy_days, tier, stop);
  const auto outcome = co_await std::move(asking);
  const bool unsupported = !outcome && outcome.error().why == reason::unsupported;
  if (!outcome && !unsupported) {
    error failure = outcome.error();
    co_return std::move(failure).within("thawing");
  }
  if (unsupported || *outcome == restore_outcome::not_archived) {
    auto reading = can_be_read(one, stop);
    const auto readable = co_await std::move(reading);
    if (!readable) {
      error failure = readable.error();
      co_return failure;
    }
    if (!*readable) {
      error failure = unsupported ? outcome.error() : contradiction(one.key);
      co_return std::move(failure).within("thawing");
    }
    one.status = archive_status();
    co_return engine::ok();
  }
  one.refused = false;
  switch (*outcome) {
    case restore_outcome::accepted:
      one.status.state = archive_state::thawing;
      ++_report.requested;
      break;
    case restore_outcome::in_progress:
      one.status.state = archive_state::thawing;
      ++_report.in_progress;
      break;
    case restore_outcome::thawed_already:
      if (one.status.state == archive_state::archived) {
        one.look_again = true;
        break;
      }
      one.status.state = archive_state::thawed;
      // At least: S3 rounds up to the next midnight, UTC ("Restoring an archived object").
      one.status.until = _clock.now() + days(_options.days);
      ++_report.extended;
      break;
    case restore_outcome::no_expedited_capacity:
      one.refused = true;
      break;
    case restore_outcome::not_archived:
      break;  // see above
  }
  co_return engine::ok();
}

// Tries the first byte. False: the store says that the object is archived.
task<result<bool>> archive_thaw::can_be_read(const item& one, engine::stop_token stop) {
  std::array<std::byte, 1> first{};
  get_request request(one.key, first);
  if (one.bytes > 0) {  // an empty object has no range
    request.range.emplace(0, 1);
  }
  auto getting = _store.get_object(std::move(request), stop);
  const auto got = co_await std::move(getting);
  if (got) {
    co_return true;
  }
  if (got.error().why == reason::not_thawed) {
    co_return false;
  }
  error failure = got.error();
  co_return failure;
}

// Several at a time. After the first failure nothing is begun.
task<result<void>> archive_thaw::run_pass(verb what, std::vector<item*> items,
                                          engine::stop_token stop) {
  auto running = engine::for_each_at_most(
      _loop, _options.concurrency, items.size(),
      [this, what, &items, stop](std::size_t index) {
        return what == verb::look ? look(*items[index], stop) : request(*items[index], stop);
      },
      stop);
  co_return co_await std::move(running);
}

task<result<void>> archive_thaw::look_at_all(engine::stop_token stop) {
  if (_looked) {
    co_return engine::ok();
  }
  auto looking = run_pass(verb::look, those([](const item&) { return true; }), stop);
  auto looked = co_await std::move(looking);
  if (!looked) {
    co_return looked;
  }
  _looked = true;
  _report.in_progress =
      static_cast<std::size_t>(std::count_if(_items.begin(), _items.end(), [](const item& one) {
        return one.status.state == archive_state::thawing;
      }));
  co_return engine::ok();
}

// What can be known to be refused, or to be of no use, before it is asked for and paid.
result<void> archive_thaw::check_requests() const {
  for (const item& one : _items) {
    if (!needs_request(one)) {
      continue;
    }
    const bool retrieved = lies_archived(one.status.state);
    if (retrieved && !typical_thaw_time(one.status.depth, _options.tier, one.bytes)) {
      return failed(reason::configuration,
                    one.key.str() + ": " + name_of(_options.tier) +
                        " retrieval is not offered for what lies in a deep archive",
                    "set " + wording(setting::thaw_tier) +
                        " = \"Standard\" (within 12 hours) or \"Bulk\" (within 48 hours)");
    }
    if (one.status.copied && _options.days == 0) {
      return failed(reason::configuration, "a thawed copy has to live for one day or more",
                    "set " + wording(setting::thaw_days));
    }
    const auto lives_until = _clock.now() + days(_options.days);
    if (one.status.copied && lives_until < _options.needed_until) {
      const auto needed = std::chrono::ceil<days>(_options.needed_until - _clock.now());
      return failed(reason::configuration,
                    "copies thawed for " + std::to_string(_options.days) +
                        " days would expire before they have been read",
                    "set " + wording(setting::thaw_days) + " to " + std::to_string(needed.count()) +
                        " or more");
    }
  }
  return engine::ok();
}

// Requests what has to be, and looks once more at objects that are thawed against what HEAD said.
task<result<void>> archive_thaw::request_missing(engine::stop_token stop) {
  auto requesting =
      run_pass(verb::request, those([this](const item& one) { return needs_request(one); }), stop);
  auto requested = co_await std::move(requesting);
  if (!requested) {
    co_return requested;
  }
  const std::vector<item*> doubtful = those([](const item& one) { return one.look_again; });
  auto looking = run_pass(verb::look, doubtful, stop);
  auto looked = co_await std::move(looking);
  if (!looked) {
    co_return looked;
  }
  for (item* one : doubtful) {
    one->look_again = false;
    if (lies_archived(one->status.state)) {
      one->status.state = archive_state::thawing;  // it is thawed, said the store: HEAD will follow
    }
  }
  const bool refused =
      std::any_of(_items.begin(), _items.end(), [](const item& one) { return one.refused; });
  if (refused && !std::exchange(_refusal_logged, true)) {
    _log.write(engine::log_level::warning, "s3", "thaw_refused",
               {{"reason", "there is no capacity for Expedited retrievals now"},
                {"consequence", "each poll asks again"},
                {"remedy", std::string(name_of(setting::thaw_tier)) +
                               " = \"Standard\" does not depend on it"}});
  }
  co_return engine::ok();
}

// Looks at what is missing, and requests what is found to need it. A failure that may pass leaves
// everything to the next poll.
task<result<void>> archive_thaw::poll(engine::stop_token stop) {
  auto looking =
      run_pass(verb::look, those([this](const item& one) { return is_missing(one); }), stop);
  auto done = co_await std::move(looking);
  if (done) {
    auto requesting = request_missing(stop);
    done = co_await std::move(requesting);
  }
  if (!done && done.error().what_now == disposition::retry) {
    _log.write(engine::log_level::warning, "s3", "thaw_poll_failed",
               {{"error", done.error().message}, {"consequence", "the next poll tries again"}});
    co_return engine::ok();
  }
  co_return done;
}

task<result<void>> archive_thaw::wait(std::chrono::nanoseconds duration, engine::stop_token stop) {
  if (_options.sleep) {
    return _options.sleep(duration, stop);
  }
  return _loop.sleep_for(duration, stop);
}

// Copies may end while others are waited for.
void archive_thaw::expire_copies() {
  const wall_time now = _clock.now();
  for (item& one : _items) {
    if (one.status.state == archive_state::thawed && one.status.until && *one.status.until <= now) {
      one.status.state = archive_state::expired;
    }
  }
}

void archive_thaw::count(thaw_report& report) const {
  report.objects = _items.size();
  for (const item& one : _items) {
    report.bytes += one.bytes;
    if (is_missing(one)) {
      ++(one.refused ? report.refused : report.thawing);
      report.bytes_missing += one.bytes;
      thaw_missing missing;
      missing.key = one.key;
      missing.bytes = one.bytes;
      missing.state = one.status.state;
      report.missing.push_back(std::move(missing));
    } else if (one.status.state == archive_state::readable) {
      ++report.readable;
    } else {
      ++report.ready;
      if (one.status.until) {
        report.first_expiry =
            std::min(report.first_expiry.value_or(wall_time::max()), *one.status.until);
      }
    }
  }
}

void archive_thaw::log_progress(std::string_view event) {
  thaw_report now = _report;
  count(now);
  _log.write(engine::log_level::info, "s3", event,
             {{"objects", std::to_string(now.objects)},
              {"readable", std::to_string(now.readable)},
              {"ready", std::to_string(now.ready)},
              {"thawing", std::to_string(now.thawing)},
              {"refused", std::to_string(now.refused)},
              {"requested", std::to_string(now.requested)},
              {"extended", std::to_string(now.extended)},
              {"in_progress", std::to_string(now.in_progress)},
              {"bytes_missing", std::to_string(now.bytes_missing)},
              {"waited_seconds",
               std::to_string(std::chrono::floor<seconds>(_clock.now() - _began).count())}});
  if (_options.on_progress) {
    _options.on_progress(now);
  }
}

task<result<thaw_survey>> archive_thaw::survey(engine::stop_token stop) {
  auto looking = look_at_all(stop);
  auto looked = co_await std::move(looking);
  if (!looked) {
    co_return std::move(looked.error());
  }
  thaw_survey found;
  found.objects = _items.size();
  for (const item& one : _items) {
    found.bytes += one.bytes;
    if (one.status.state == archive_state::readable) {
      ++found.readable;
    } else if (ends_too_early(one)) {
      ++found.to_extend;
      found.bytes_to_extend += one.bytes;
    } else if (one.status.state == archive_state::thawed) {
      ++found.thawed;
    } else {
      const bool under_way = one.status.state == archive_state::thawing;
      ++(under_way ? found.thawing : found.to_request);
      found.bytes_to_request += under_way ? 0 : one.bytes;
      auto typical = typical_thaw_time(one.status.depth, _options.tier, one.bytes);
      if (!typical) {  // nobody can have asked for that tier
        typical = typical_thaw_time(one.status.depth, retrieval_tier::standard, one.bytes);
      }
      found.typical.least = std::max(found.typical.least, typical->least);
      found.typical.most = std::max(found.typical.most, typical->most);
    }
  }
  co_return found;
}

task<result<thaw_report>> archive_thaw::run(engine::stop_token stop) {
  auto looking = look_at_all(stop);
  auto done = co_await std::move(looking);
  if (done) {
    done = check_requests();
  }
  if (done) {
    auto requesting = request_missing(stop);
    done = co_await std::move(requesting);
  }
  if (!done) {
    co_return std::move(done.error());
  }
  _began = _clock.now();
  log_progress("thaw_requested");
  seconds interval = _options.poll_first;
  for (;;) {
    expire_copies();
    const bool all_there = std::none_of(_items.begin(), _items.end(),
                                        [this](const item& one) { return is_missing(one); });
    const wall_time now = _clock.now();
    if (all_there || now >= _options.deadline) {
      thaw_report report = _report;
      report.outcome = all_there ? thaw_outcome::ready : thaw_outcome::deadline;
      count(report);
      co_return report;
    }
    auto waiting =
        wait(std::min<std::chrono::nanoseconds>(interval, _options.deadline - now), stop);
    done = co_await std::move(waiting);
    if (done) {
      auto polling = poll(stop);
      done = co_await std::move(polling);
    }
    if (!done) {
      co_return std::move(done.error());
    }
    ++_report.polls;
    log_progress("thaw_poll");
    interval = std::min(interval * 2, _options.poll_max);
  }
}

}  // namespace bts3::s3
