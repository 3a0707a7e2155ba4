#include "planner/retention.hh"

#include <algorithm>

namespace bts3::planner {

snapshot_verdict judge_snapshots(std::vector<local_snapshot> all, std::size_t retain) {
  std::sort(all.begin(), all.end(), [](const local_snapshot& a, const local_snapshot& b) {
    return a.made_in != b.made_in ? a.made_in > b.made_in : a.name > b.name;
  });
  snapshot_verdict verdict;
  std::size_t kept = 0;
  for (const local_snapshot& one : all) {
    if (!one.published && !one.needed) {
      verdict.unexplained.push_back(one.name);
    } else if (one.published && kept < retain) {
      ++kept;
    } else if (!one.needed) {
      verdict.remove.push_back(one.name);
    }
  }
  std::reverse(verdict.remove.begin(), verdict.remove.end());
  return verdict;
}

}  // namespace bts3::planner
