// Which local snapshots have had their day.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bts3::planner {

struct local_snapshot {
  std::string name;
  // The transaction that made it: the order of making, whatever names and clocks say.
  std::uint64_t made_in = 0;
  bool published = false;  // a manifest describes it
  bool needed = false;     // the next backup's parent, an unfinished backup's snapshot
};

struct snapshot_verdict {
  std::vector<std::string> remove;       // oldest first
  std::vector<std::string> unexplained;  // ours by name, known to no backup: never deleted by guess
};

// Keeps the newest `retain` published snapshots, and whatever is needed.
[[nodiscard]] snapshot_verdict judge_snapshots(std::vector<local_snapshot> all, std::size_t retain);

}  // namespace bts3::planner
