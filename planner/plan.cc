#include "planner/plan.hh"

namespace bts3::planner {

namespace {

plan full_because(std::string reason, std::string sentence) {
  plan decided;
  decided.reason = std::move(reason);
  decided.sentence = std::move(sentence);
  return decided;
}

}  // namespace

plan decide(const observation& seen) {
  if (!seen.pointer_exists) {
    return full_because("first_backup", "there is no backup of " + seen.subvolume + " yet");
  }
  if (!seen.last) {
    return full_because("manifest_unusable",
                        "the last backup's manifest cannot be used: " + seen.pointer_problem);
  }
  const bool foreign = !seen.last->host_id.empty() && !seen.own_host_id.empty() &&
                       seen.last->host_id != seen.own_host_id;
  if (foreign && !seen.parent_snapshot) {
    plan stop;
    stop.what = action::stop;
    stop.reason = "foreign_host";
    stop.sentence = "the last backup under this prefix was made by host " + seen.last->host_name +
                    " (" + seen.last->host_id +
                    "), and its snapshot is not here; two hosts must not share a prefix: give this "
                    "one an s3.prefix of its own";
    return stop;
  }
  if (!seen.chain_problem.empty()) {
    return full_because("chain_broken",
                        "the last backup cannot be restored: " + seen.chain_problem);
  }
  if (!seen.chunk_problem.empty()) {
    return full_because("chunk_missing",
                        "the last backup cannot be restored: " + seen.chunk_problem);
  }
  if (!seen.parent_snapshot) {
    return full_because("parent_missing",
                        "the snapshot of the last backup cannot be used: " + seen.parent_problem);
  }
  plan incremental;
  incremental.what = action::incremental;
  incremental.reason = "parent_present";
  incremental.sentence = "the snapshot of the last backup, " + *seen.parent_snapshot + ", is here";
  incremental.parent_snapshot = seen.parent_snapshot;
  incremental.parent_manifest = seen.last_key;
  return incremental;
}

}  // namespace bts3::planner
