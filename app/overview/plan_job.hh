// The plan command, and `backup --dry-run`: what a backup would do now, why, how much and where to.
// Changes nothing, here or in the bucket, and takes no lock.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/store/services.hh"
#include "app/survey/observer.hh"
#include "app/survey/unfinished.hh"
#include "btrfs/size_estimate.hh"
#include "planner/plan.hh"
#include "planner/unfinished.hh"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// One subvolume's part of the plan.
struct planned_subvolume {
  std::string name;
  std::string path;
  std::string error;  // why it cannot be planned; empty: the rest holds
  // What becomes first of a backup that an earlier run left; absent when there is none.
  std::optional<planner::unfinished_verdict> unfinished;
  planner::plan plan;
  std::optional<planner::timestamp> last_backup;
  std::optional<btrfs::size_estimate> estimate;  // of the stream; absent: unknown, or none is sent
  std::string destination;                       // s3://bucket/key prefix
  std::size_t links = 0;                         // of the present chain
  std::vector<std::string> nested_left_out;      // subvolumes below it that its backup has not
};

// For people: a table, and below each line why. `zone` is for local times; `columns` is how many a
// line may take (0: any number).
std::string plan_as_text(const std::vector<planned_subvolume>& all, const planner::time_zone& zone,
                         std::size_t columns);
// For machines: {"version": 1, "subvolumes": [...]}; times in RFC 3339, sizes in bytes.
std::string plan_as_json(const std::vector<planned_subvolume>& all);

class plan_job {
 public:
  plan_job(const services& with, plan_command command);
  // Prints to standard output. Subvolumes that cannot be planned make it fail as a backup of them
  // would.
  engine::task<engine::result<exit_status>> run();
  // The same without printing: what run() would end with.
  engine::task<engine::result<exit_status>> look();
  // What look() has found.
  [[nodiscard]] const std::vector<planned_subvolume>& planned() const { return _planned; }

 private:
  engine::task<planned_subvolume> plan_one(observed one);
  engine::task<engine::result<exit_status>> run_connected(std::vector<subvolume_config> chosen);

  const services& _with;
  plan_command _command;
  planner::policy _policy;
  system_time_zone _zone;
  stream_settings _stream;
  std::unique_ptr<store_connection> _connection;
  run_state _state;
  std::vector<planned_subvolume> _planned;
};

}  // namespace bts3::app
