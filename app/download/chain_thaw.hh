// The archived objects of a chain, made readable before and while they are downloaded: the policy
// of configuration and command line over s3::archive_thaw.
//
// Everything that is still needed is requested at once. Objects whose copies expire before they
// have been read are thawed again, for whichever of the parallel downloads notices first; the
// others wait for that. Not ready in time is an error with reason not_thawed, which tells how to
// continue; what was requested stays requested, and the next run finds it under way.
#pragma once

#include "app/cli/cli.hh"
#include "app/config/config.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "engine/event.hh"
#include "s3/verbs/archive_thaw.hh"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

struct thaw_policy {
  thaw_policy() = default;
  s3::retrieval_tier tier = s3::retrieval_tier::standard;
  std::optional<unsigned> days;     // that copies live; empty: by size and rate
  std::chrono::seconds timeout{0};  // 0: requests and does not wait
  std::uint64_t bytes_per_sec = 0;  // what the download is estimated with
  rate_source rate_from = rate_source::assumed;
  // Of other chains that are downloaded before this one, whose copies have to outlive that.
  std::uint64_t bytes_before = 0;
  // Instead of the reactor's timer, for tests.
  std::function<engine::task<engine::result<void>>(std::chrono::nanoseconds, engine::stop_token)>
      sleep;
};

// [thaw], without waiting; `tier` and `download_rate` beat it where they are there.
[[nodiscard]] thaw_policy thaw_policy_of(const config& settings,
                                         std::optional<s3::retrieval_tier> tier,
                                         std::optional<std::uint64_t> download_rate);
// [thaw], changed by --tier, --download-rate, --wait-thaw, --no-wait-thaw and --thaw-timeout.
[[nodiscard]] thaw_policy thaw_policy_of(const config& settings, const thaw_options& options);

// How long downloading takes, by the policy's rate.
[[nodiscard]] std::chrono::seconds download_time(const thaw_policy& policy, std::uint64_t bytes);
// For how long copies are asked for: until the slowest object is there and everything has been
// read, what comes before it included, and a day more; at least 7 days.
[[nodiscard]] unsigned days_to_live(const thaw_policy& policy, std::uint64_t bytes,
                                    std::chrono::seconds thaw_most);

// What stands before a thaw, by storage class; from the HEADs of the plan, asks for nothing.
engine::task<engine::result<planned_thaw>> plan_thaw(const services& with, s3::object_store& store,
                                                     std::vector<located_chunk> chunks,
                                                     thaw_policy policy);

// How long it takes to thaw and to download `bytes`.
[[nodiscard]] planned_time plan_time(const planned_thaw& thaw, const thaw_policy& policy,
                                     std::uint64_t bytes);
// What reading `chunks` costs, by restore.price_table.
engine::result<restore_cost> plan_cost(const services& with, const planned_thaw& thaw,
                                       const std::vector<located_chunk>& chunks);

class chain_thaw {
 public:
  // `chunks` in the order in which they are read. References must outlive it.
  chain_thaw(const services& with, s3::object_store& store, std::string subvolume,
             std::vector<located_chunk> chunks, thaw_policy policy);

  // Before the download; trusts the HEADs in `chunks`. Does nothing when all can be read for long
  // enough.
  engine::task<engine::result<void>> make_readable(engine::stop_token stop);

  // A GET that began when age() was `seen` was refused: thaws, by new HEADs, what has not been read
  // yet. Returns at once when that has been done since. Concurrent callers share one thaw.
  engine::task<engine::result<void>> again(std::uint64_t seen, engine::stop_token stop);
  [[nodiscard]] std::uint64_t age() const { return _age; }
  // The next chunk has been read to its end, and may expire.
  void chunk_done() { ++_done; }
  // So many that were done are read once more.
  void chunks_undone(std::size_t count) { _done -= std::min(count, _done); }
  // Of the chunks, since they could be read: what the rate is measured by.
  void has_read(std::uint64_t bytes) { _read += bytes; }
  // Spent on thawing, in all.
  [[nodiscard]] std::chrono::seconds waited() const { return _waited; }

 private:
  enum class heads { known, anew };
  engine::task<engine::result<void>> thaw(heads from, std::chrono::seconds thaw_most,
                                          engine::stop_token stop);
  [[nodiscard]] std::vector<s3::thaw_object> objects(heads from) const;
  [[nodiscard]] s3::thaw_options options_for(std::chrono::seconds thaw_most) const;
  [[nodiscard]] engine::error not_ready(const s3::thaw_report& report,
                                        std::chrono::seconds thaw_most) const;

  const services& _with;
  s3::object_store& _store;
  std::string _subvolume;
  std::vector<located_chunk> _chunks;
  thaw_policy _policy;
  void measure();

  std::size_t _done = 0;
  std::uint64_t _read = 0;
  std::chrono::seconds _waited{0};
  s3::wall_time _readable_since{};
  std::uint64_t _age = 0;  // thaws that have ended well
  bool _running = false;
  std::optional<engine::error> _failure;  // of again(), for all; final
  engine::event _ended;
};

}  // namespace bts3::app
