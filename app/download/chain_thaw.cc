#include "app/download/chain_thaw.hh"

#include "app/text/human_units.hh"
#include "app/text/progress.hh"
#include "engine/plain_text.hh"

#include <algorithm>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

using engine::counted;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// The stated rate: what a line of 100 Mbit/s brings (12.5 MB/s), less what is lost on the way.
// Too low a rate costs storage of copies for some days ($0.023 a GB and month on AWS), too high a
// one a second retrieval.
constexpr std::uint64_t assumed_bytes_per_sec = 10'000'000;
// A download shorter than this says little about its rate.
constexpr minutes measured_min{10};
constexpr unsigned days_min = 7;
constexpr unsigned days_max = 36'500;  // as thaw.days

// Of any class that the tier is offered for.
seconds thaw_most_of(s3::retrieval_tier tier, std::uint64_t bytes) {
  seconds most{0};
  for (const auto depth : {s3::archive_depth::archive, s3::archive_depth::deep}) {
    if (const auto typical = s3::typical_thaw_time(depth, tier, bytes)) {
      most = std::max(most, typical->most);
    }
  }
  return most;
}

std::uint64_t bytes_of(const std::vector<located_chunk>& chunks, std::size_t from = 0) {
  std::uint64_t sum = 0;
  for (std::size_t i = from; i < chunks.size(); ++i) {
    sum += chunks[i].info.size;
  }
  return sum;
}

std::vector<s3::thaw_object> objects_of(const std::vector<located_chunk>& chunks) {
  std::vector<s3::thaw_object> objects;
  for (const located_chunk& chunk : chunks) {
    objects.emplace_back(chunk.key, chunk.record.size, chunk.info);
  }
  return objects;
}

// From the first byte that is downloaded of any chain to the last of this one.
seconds time_until_read(const thaw_policy& policy, std::uint64_t bytes) {
  return download_time(policy, policy.bytes_before + bytes);
}

// `now` so that a caller's several surveys agree.
s3::thaw_options survey_options(const thaw_policy& policy, std::uint64_t bytes, seconds thaw_most,
                                s3::wall_time now) {
  s3::thaw_options options;
  options.tier = policy.tier;
  options.sleep = policy.sleep;
  options.days = policy.days.value_or(days_to_live(policy, bytes, thaw_most));
  // Days that somebody set are taken as they are: the rate is a guess, and copies that end too
  // early are thawed again.
  options.needed_until =
      now + std::min<seconds>(thaw_most + time_until_read(policy, bytes), days(options.days));
  options.deadline = now + policy.timeout;
  return options;
}

// What is seen at the terminal while a thaw is waited for.
class thaw_wait {
 public:
  // Without `seen` nothing is: a download in progress has the terminal's line.
  thaw_wait(const services& with, std::string subvolume, bool seen)
      : _with(with),
        _line(seen ? with.line : nullptr),
        _subvolume(std::move(subvolume)),
        _began(with.clock.now()),
        _scope(with.loop) {}

  void update(const s3::thaw_report& now) {
    _ready = now.readable + now.ready;
    _objects = now.objects;
    draw();
  }
  // Ticks where there is a terminal, until stop().
  void start() {
    if (_line != nullptr) {
      _scope.spawn(tick());
    }
  }
  task<void> stop() {
    _stop.request_stop();
    auto joining = _scope.join();
    co_await std::move(joining);
    if (_line != nullptr) {
      _line->clear();
    }
  }

 private:
  void draw() {
    if (_line != nullptr && _objects > 0) {
      const auto waited = std::chrono::floor<seconds>(_with.clock.now() - _began);
      _line->show("thawing " + _subvolume + ": " + std::to_string(_ready) + " of " +
                  counted(_objects, "object") + " can be read, waited " + format_duration(waited));
    }
  }
  task<void> tick() {
    for (;;) {
      auto sleeping = _with.loop.sleep_aside(seconds(1), _stop.token());
      auto slept = co_await std::move(sleeping);
      if (!slept) {
        co_return;
      }
      draw();
    }
  }

  const services& _with;
  live_line* _line;
  std::string _subvolume;
  s3::wall_time _began;
  std::size_t _ready = 0;
  std::size_t _objects = 0;
  engine::stop_source _stop;
  engine::async_scope _scope;
};

}  // namespace

thaw_policy thaw_policy_of(const config& settings, std::optional<s3::retrieval_tier> tier,
                           std::optional<std::uint64_t> download_rate) {
  thaw_policy policy;
  policy.tier = tier.value_or(settings.thaw.tier);
  policy.days = settings.thaw.days;
  const auto stated = download_rate ? download_rate : settings.restore.download_bytes_per_sec;
  policy.bytes_per_sec = stated.value_or(assumed_bytes_per_sec);
  policy.rate_from = stated ? rate_source::stated : rate_source::assumed;
  const std::uint64_t limit =
      settings.s3.max_bandwidth_bytes_per_sec.value_or(policy.bytes_per_sec);
  if (limit < policy.bytes_per_sec) {
    policy.bytes_per_sec = limit;
    policy.rate_from = rate_source::limited;
  }
  return policy;
}

thaw_policy thaw_policy_of(const config& settings, const thaw_options& options) {
  thaw_policy policy = thaw_policy_of(settings, options.tier, options.download_rate);
  const bool waits =
      options.wait_thaw.value_or(options.thaw_timeout.has_value() || settings.thaw.wait);
  if (waits) {
    policy.timeout = options.thaw_timeout.value_or(settings.thaw.timeout_seconds);
  }
  return policy;
}

seconds download_time(const thaw_policy& policy, std::uint64_t bytes) {
  const std::uint64_t rate = std::max<std::uint64_t>(policy.bytes_per_sec, 1);
  const std::uint64_t most = std::uint64_t{days_max} * 86'400 / 2;
  return seconds(std::min(bytes / rate, most));
}

unsigned days_to_live(const thaw_policy& policy, std::uint64_t bytes, seconds thaw_most) {
  const auto needed = std::chrono::ceil<days>(thaw_most + time_until_read(policy, bytes));
  return std::clamp(static_cast<unsigned>(needed.count()) + 1, days_min, days_max);
}

task<result<planned_thaw>> plan_thaw(const services& with, s3::object_store& store,
                                     std::vector<located_chunk> chunks, thaw_policy policy) {
  const s3::wall_time now = with.clock.now();
  const std::uint64_t bytes = bytes_of(chunks);
  s3::archive_thaw whole(with.loop, store, with.clock, with.log, objects_of(chunks),
                         survey_options(policy, bytes, seconds(0), now));
  auto surveying = whole.survey(with.stop);
  auto all = co_await std::move(surveying);
  if (!all) {
    co_return std::move(all.error());
  }
  const s3::thaw_options options = survey_options(policy, bytes, all->typical.most, now);
  planned_thaw planned;
  planned.tier = policy.tier;
  planned.days = options.days;
  planned.days_auto = !policy.days.has_value();
  planned.in_turn = policy.bytes_before > 0;
  std::map<std::string, std::vector<located_chunk>> classes;
  for (located_chunk& chunk : chunks) {
    classes[chunk.storage_class()].push_back(std::move(chunk));
  }
  for (const auto& [name, members] : classes) {
    s3::archive_thaw part(with.loop, store, with.clock, with.log, objects_of(members), options);
    auto looking = part.survey(with.stop);
    auto found = co_await std::move(looking);
    if (!found) {
      co_return std::move(found.error());
    }
    if (found->to_request + found->thawing + found->to_extend == 0) {
      continue;
    }
    planned_thaw::row row;
    row.found = *found;
    const auto status = s3::archive_status_of(members[0].key, members[0].info, now);
    row.offered = found->to_request == 0 || !status ||
                  s3::typical_thaw_time(status->depth, policy.tier, 0).has_value();
    planned.classes.emplace(name, row);
  }
  co_return planned;
}

planned_time plan_time(const planned_thaw& thaw, const thaw_policy& policy, std::uint64_t bytes) {
  planned_time time;
  time.thaw = thaw.total().typical.most;
  time.download = download_time(policy, bytes);
  time.bytes_per_sec = policy.bytes_per_sec;
  time.from = policy.rate_from;
  return time;
}

result<restore_cost> plan_cost(const services& with, const planned_thaw& thaw,
                               const std::vector<located_chunk>& chunks) {
  auto prices = load_prices(with.settings.restore.price_table);
  if (!prices) {
    return std::move(prices.error());
  }
  restore_demand demand = demand_of(chunks, thaw, with.settings.s3.part_size_bytes);
  demand.region = with.settings.s3.region;
  demand.endpoint = configured_endpoint(with);
  return estimate_cost(*prices, demand);
}

chain_thaw::chain_thaw(const services& with, s3::object_store& store, std::string subvolume,
                       std::vector<located_chunk> chunks, thaw_policy policy)
    : _with(with),
      _store(store),
      _subvolume(std::move(subvolume)),
      _chunks(std::move(chunks)),
      _policy(std::move(policy)),
      _ended(with.loop, "the end of a thaw") {}

std::vector<s3::thaw_object> chain_thaw::objects(heads from) const {
  std::vector<s3::thaw_object> wanted;
  for (std::size_t i = _done; i < _chunks.size(); ++i) {
    const located_chunk& chunk = _chunks[i];
    if (from == heads::known) {
      wanted.emplace_back(chunk.key, chunk.record.size, chunk.info);
    } else {
      wanted.emplace_back(chunk.key, chunk.record.size);
    }
  }
  return wanted;
}

s3::thaw_options chain_thaw::options_for(seconds thaw_most) const {
  return survey_options(_policy, bytes_of(_chunks, _done), thaw_most, _with.clock.now());
}

task<result<void>> chain_thaw::make_readable(engine::stop_token stop) {
  s3::archive_thaw look(_with.loop, _store, _with.clock, _with.log, objects(heads::known),
                        options_for(seconds(0)));
  auto surveying = look.survey(stop);
  auto found = co_await std::move(surveying);
  if (!found) {
    co_return std::move(found.error());
  }
  _readable_since = _with.clock.now();
  if (found->to_request + found->thawing + found->to_extend == 0) {
    co_return engine::ok();
  }
  _with.log.write(log_level::info, "restore", "thaw_needed",
                  {{"subvolume", _subvolume},
                   {"to_request", std::to_string(found->to_request)},
                   {"bytes_to_request", std::to_string(found->bytes_to_request)},
                   {"in_progress", std::to_string(found->thawing)},
                   {"tier", s3::name_of(_policy.tier)},
                   {"days", std::to_string(options_for(found->typical.most).days)},
                   {"typical", thaw_time_text(found->typical)},
                   {"waits_seconds_max", std::to_string(_policy.timeout.count())}});
  auto thawing = thaw(heads::known, found->typical.most, stop);
  co_return co_await std::move(thawing);
}

task<result<void>> chain_thaw::thaw(heads from, seconds most, engine::stop_token stop) {
  const auto began = _with.clock.now();
  s3::thaw_options options = options_for(most);
  const auto estimate = most + time_until_read(_policy, bytes_of(_chunks, _done));
  if (_policy.days && estimate > days(*_policy.days)) {
    _with.log.write(
        log_level::warning, "restore", "thaw_days_may_not_suffice",
        {{"days", std::to_string(*_policy.days)},
         {"estimated_hours", std::to_string(std::chrono::ceil<hours>(estimate).count())},
         {"consequence", "copies that expire while they are read are thawed again"}});
  }
  thaw_wait shown(_with, _subvolume, from == heads::known);
  options.on_progress = [&shown](const s3::thaw_report& now) { shown.update(now); };
  s3::archive_thaw work(_with.loop, _store, _with.clock, _with.log, objects(from), options);
  shown.start();
  auto running = work.run(stop);
  auto report = co_await std::move(running);
  auto stopping = shown.stop();
  co_await std::move(stopping);
  _waited += std::chrono::floor<seconds>(_with.clock.now() - began);
  if (!report) {
    co_return std::move(report.error());
  }
  switch (report->outcome) {
    case s3::thaw_outcome::deadline:
      co_return not_ready(*report, most);
    case s3::thaw_outcome::ready:
      break;
  }
  _with.log.write(log_level::info, "restore", "thawed",
                  {{"subvolume", _subvolume},
                   {"objects", std::to_string(report->objects)},
                   {"requested", std::to_string(report->requested)},
                   {"extended", std::to_string(report->extended)},
                   {"polls", std::to_string(report->polls)}});
  ++_age;
  _read = 0;
  _readable_since = _with.clock.now();
  co_return engine::ok();
}

error chain_thaw::not_ready(const s3::thaw_report& report, seconds thaw_most) const {
  error failure;
  failure.why = reason::not_thawed;
  failure.message = counted(report.missing.size(), "object") + " of " +
                    std::to_string(report.objects) + ", " + format_bytes(report.bytes_missing) +
                    ", cannot be read yet: " + std::to_string(report.requested) +
                    " requested now, " + std::to_string(report.in_progress) +
                    " under way from before";
  if (report.refused > 0) {
    failure.message += ", " + std::to_string(report.refused) +
                       " refused for want of capacity for Expedited retrievals";
  }
  if (_policy.timeout.count() > 0) {
    failure.message += "; waited " + std::to_string(_policy.timeout.count()) + " s";
  }
  failure.message += "; first: " + report.missing.front().key.str();
  s3::thaw_time typical;
  typical.most = thaw_most;
  failure.remedy = "run the same command again later, it continues from here (" +
                   std::string(s3::name_of(_policy.tier)) + " retrievals are typically ready " +
                   thaw_time_text(typical) + ")";
  return failure;
}

// The rate of the download so far replaces the one that was assumed.
void chain_thaw::measure() {
  const auto passed = std::chrono::floor<seconds>(_with.clock.now() - _readable_since);
  if (passed < measured_min || _read == 0) {
    return;
  }
  _policy.bytes_per_sec =
      std::max<std::uint64_t>(_read / static_cast<std::uint64_t>(passed.count()), 1);
  _policy.rate_from = rate_source::measured;
}

task<result<void>> chain_thaw::again(std::uint64_t seen, engine::stop_token stop) {
  if (_running) {
    auto waiting = _ended.wait(stop);
    auto woken = co_await std::move(waiting);
    if (!woken) {
      co_return woken;
    }
  }
  if (_failure) {
    error failure = *_failure;
    co_return failure;
  }
  if (_age != seen) {
    co_return engine::ok();
  }
  _running = true;
  _ended.reset();
  _policy.bytes_before = 0;  // it is this chain that is being read
  measure();
  _with.log.write(log_level::warning, "restore", "thawing_again",
                  {{"subvolume", _subvolume},
                   {"objects", std::to_string(_chunks.size() - _done)},
                   {"bytes_per_second", std::to_string(_policy.bytes_per_sec)},
                   {"rate", name_of(_policy.rate_from)},
                   {"reason", "a copy expired before it was read"}});
  auto thawing = thaw(heads::anew, thaw_most_of(_policy.tier, bytes_of(_chunks, _done)), stop);
  auto thawed = co_await std::move(thawing);
  if (!thawed && thawed.error().what_now != engine::disposition::cancelled) {
    _failure = thawed.error();
  }
  _running = false;
  _ended.set();
  co_return thawed;
}

}  // namespace bts3::app
