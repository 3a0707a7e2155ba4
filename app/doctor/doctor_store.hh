// doctor's checks of the bucket: endpoint, credentials, clock, rights, uploads left open, backups.
//
// They read, but for the write check (doctor_probe.hh), which uses a key of its own.
#pragma once

#include "app/doctor/doctor_report.hh"
#include "app/store/services.hh"
#include "app/survey/observer.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/plan.hh"
#include "planner/prune.hh"
#include "s3/credentials/credentials.hh"

#include <chrono>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace bts3::app {

// `url` as configured_endpoint() gives it, `route` as described_route() does. Bodies that go
// unencrypted over a network are a warning.
health_check judge_endpoint(const std::string& url, const std::string& region,
                            const std::string& route = "");
health_check judge_credentials(const s3::credentials& who,
                               std::chrono::system_clock::time_point now);
// `store`: absent when no answer had a Date.
health_check judge_clock(std::optional<std::chrono::system_clock::time_point> store,
                         std::chrono::system_clock::time_point here);
// What a restore and the next backup meet, by the planner's own decision.
health_check judge_backups(const std::string& name, const engine::result<subvolume_view>& view,
                           const planner::policy& by, planner::timestamp now,
                           const planner::time_zone& zone);

class store_doctor {
 public:
  // `chosen`: at least one. `writes`: with the write check, and with what an earlier one left
  // aborted. References must outlive it.
  store_doctor(const services& with, store_connection& connection,
               std::vector<subvolume_config> chosen, bool writes);

  // Everything; after a stop, what was found until then.
  engine::task<std::vector<health_check>> run();

 private:
  engine::task<bool> check_credentials();
  engine::task<bool> check_bucket();
  engine::task<void> check_uploads();
  struct open_uploads;
  engine::task<engine::result<open_uploads>> judge_uploads(
      std::vector<s3::listed_upload> open, std::set<planner::timestamp> in_the_making);
  engine::task<void> check_unfinished();
  engine::task<void> check_writing();
  engine::task<void> check_backups();
  engine::task<void> check_sealing(const observed& one);
  engine::task<void> check_pointer(const subvolume_config& one);
  void skip_the_rest(const std::string& because);
  [[nodiscard]] planner::timestamp now() const;

  const services& _with;
  store_connection& _connection;
  std::vector<subvolume_config> _chosen;
  bool _writes;
  std::vector<health_check> _made;
};

// The rest of a run without a bucket to look at: each of its checks, skipped; `with_credentials`:
// nor were credentials, bucket and clock looked at.
std::vector<health_check> skipped_store_checks(const std::vector<subvolume_config>& chosen,
                                               bool with_credentials, const std::string& because);

}  // namespace bts3::app
