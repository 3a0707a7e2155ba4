// Where journals lie, whose they are, and those that were set aside.
#pragma once

#include "engine/result.hh"
#include "planner/timestamp.hh"

#include <set>
#include <string>
#include <vector>

namespace bts3::app {

// Where the journal of `subvolume` is kept; a --no-s3 run has one of its own.
std::string journal_path(const std::string& state_path, const std::string& subvolume,
                         bool local_only);
// The paths of all journals of this state file, of subvolumes that are configured or not, those
// that were set aside included. Left out are those of another state file in the same directory;
// those of which nobody can say whose they are, are there.
engine::result<std::vector<std::string>> list_journals(const std::string& state_path);
enum class journal_owner { this_state_file, another_state_file, unknown };
// Whose journal the file at `path` is, which need not exist. Journals of state.json and of
// state.media.json begin alike, and names of subvolumes may hold dots: what counts is the subvolume
// that the intent names. Without a readable intent the name has to do: it is certain where it can
// be read in one way only, or is that of a subvolume among `subvolumes`, whose journals can be
// nowhere else.
journal_owner owner_of_journal(const std::string& state_path, const std::string& path,
                               const std::set<std::string>& subvolumes = {});
// A journal set aside is of a backup that nobody goes on with, and of which something could not be
// removed yet: its place did not answer (so that it may be published there), deleting was denied, a
// dead run's sender still held the snapshot. Later runs try again.
bool is_set_aside(const std::string& path);
// Renames it so, with `when` in its name, or the next second that is free; returns the new path.
engine::result<std::string> set_journal_aside(const std::string& path, planner::timestamp when);
// The same for one that makes no sense; nobody looks at it again.
engine::result<std::string> set_damaged_journal_aside(const std::string& path,
                                                      planner::timestamp when);

}  // namespace bts3::app
