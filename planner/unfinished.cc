#include "planner/unfinished.hh"

namespace bts3::planner {

namespace {

unfinished_verdict verdict(unfinished_action what, std::string reason, std::string sentence) {
  return unfinished_verdict{what, std::move(reason), std::move(sentence)};
}

unfinished_verdict abandon(std::string reason, std::string sentence) {
  return verdict(unfinished_action::abandon, std::move(reason), std::move(sentence));
}

// Why nothing may be concluded from what the bucket shows; empty when everything is understood. A
// damaged pointer that was there before the backup began, to the byte, says that nobody moved it.
std::string not_understood(const unfinished_backup& seen) {
  if (!seen.manifest_problem.empty()) {
    return seen.manifest_problem;
  }
  return seen.pointer_unmoved ? "" : seen.pointer_problem;
}

}  // namespace

std::string_view to_string(unfinished_action what) {
  switch (what) {
    case unfinished_action::record:
      return "record";
    case unfinished_action::publish:
      return "publish";
    case unfinished_action::resume:
      return "resume";
    case unfinished_action::release:
      return "release";
    case unfinished_action::abandon:
      return "abandon";
    case unfinished_action::leave:
      return "leave";
  }
  return "";
}

unfinished_verdict decide_unfinished(const unfinished_backup& seen, timestamp now,
                                     std::chrono::seconds resume_for, std::string_view limit_name) {
  if (seen.local_only) {
    return abandon("local_only", "it was a --no-s3 run");
  }
  const std::string unclear = not_understood(seen);
  if (seen.set_aside) {
    if (seen.pointer_names_it || seen.manifest_is_there) {
      return verdict(unfinished_action::release, "published",
                     "its manifest is there: nothing of it is removed");
    }
    return unclear.empty() ? abandon("given_up", "an earlier run gave it up and could not undo it")
                           : verdict(unfinished_action::leave, "not_understood", unclear);
  }
  if (seen.pointer_names_it) {
    return verdict(unfinished_action::record, "published", "the pointer names it already");
  }
  if (!seen.pointer_unmoved && seen.manifest_is_there) {
    // Perhaps an old generation whose journal came back from somewhere: never deleted by guess.
    return verdict(unfinished_action::release, "superseded",
                   "it is complete, and the pointer has moved on without it");
  }
  if (!unclear.empty()) {
    return verdict(unfinished_action::leave, "not_understood", unclear);
  }
  if (!seen.pointer_unmoved) {
    return abandon("pointer_moved", "the pointer was moved since by somebody else");
  }
  if (seen.manifest_is_there) {
    return verdict(unfinished_action::publish, "manifest_written",
                   "its objects and its manifest are complete");
  }
  if (seen.manifest_is_anothers) {
    return abandon("second_writer",
                   "another backup of the same second has its keys: a second writer uses this "
                   "prefix");
  }
  if (!seen.configured) {
    return abandon("not_configured", "its subvolume is not in the configuration any more");
  }
  if (!seen.place_problem.empty()) {
    return abandon("place_changed", seen.place_problem);
  }
  if (!seen.settings_problem.empty()) {
    return abandon("settings_changed", seen.settings_problem);
  }
  // A clock that went backwards makes nothing old.
  if (now.when() - seen.last_progress.value_or(seen.began).when() > resume_for) {
    return abandon("expired",
                   (seen.last_progress ? "its last part arrived at " + seen.last_progress->rfc3339()
                                       : "it began at " + seen.began.rfc3339()) +
                       ", longer ago than " + std::string(limit_name) + " allows");
  }
  if (!seen.snapshot_problem.empty()) {
    return abandon("snapshot_unusable", seen.snapshot_problem);
  }
  if (!seen.parent_problem.empty()) {
    return abandon("parent_unusable", seen.parent_problem);
  }
  return verdict(unfinished_action::resume, "resumable",
                 "its snapshot is here and the pointer has not moved");
}

}  // namespace bts3::planner
