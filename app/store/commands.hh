// What each command does: main() takes the function of the command that was given, by its type.
// Each is defined in the folder that does it, prints its results to standard output, and returns
// its exit status, or what went wrong. `with` must outlive it.
//
// A command: its options as a struct in app/cli/cli.hh, a line for each in app/cli/cli.cc, its
// function here, a file that defines it, its section in the manual page.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"

namespace bts3::app {

using command_task = engine::task<engine::result<exit_status>>;

// Around its job: the run lock, what runs before and after it, and the report.
command_task run_command(const services& with, backup_command command);

// Subvolumes that cannot be planned make it fail as a backup of them would.
command_task run_command(const services& with, plan_command command);

// One subvolume, or with --all each; one that fails does not stop the others (exit status 6 when
// some succeeded).
command_task run_command(const services& with, restore_command command);

// Holds the run lock, unless it is a dry run or there is no configuration (--from). Exit status
// `done` when everything can be read, `not_thawed` while it cannot. With --all, one that fails does
// not stop the others.
command_task run_command(const services& with, thaw_command command);

// Changes nothing and takes no lock.
command_task run_command(const services& with, list_command command);

// The health as an exit status, as of a monitoring plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
command_task run_command(const services& with, status_command command);

// With --yes it holds the run lock. Subvolumes that fail, or of which something could not be
// deleted, make the exit status `partly`, or `failed` when all do.
command_task run_command(const services& with, prune_command command);

// Exit status: `verification` when a difference was found; `failed` or `partly` when subvolumes or
// backups could not be verified; `not_thawed` when archived ones were not read; else `done`.
command_task run_command(const services& with, verify_command command);

// `failed` when a check has.
command_task run_command(const services& with, doctor_command command);

// Of `with`, the settings count for nothing: there are none yet. Status: that of doctor and plan, 0
// where both find all as it should be. Errors: an answer that cannot stand and nobody to ask again,
// a file that is there already (configuration), what the store or the disk refuses.
command_task run_command(const services& with, init_command command);

// Writes the identity to a file that must not exist, mode 0600, and prints its recipient; the
// identity itself is never printed. Needs no configuration, and asks no store.
command_task run_command(const services& with, keys_generate_command command);

// Prints nothing secret. Needs no configuration, and asks no store; a terminal for what is sealed
// with a passphrase.
command_task run_command(const services& with, keys_show_command command);

// Reads keys objects, and changes nothing. Exit status `verification` when one of the sealed
// backups does not open, `not_thawed` when that is not known of archived ones alone; an error when
// none is sealed.
command_task run_command(const services& with, keys_check_command command);

// Rewrites keys objects, and nothing else; holds the run lock, unless it is a dry run or there is
// no configuration (--from). `partly` or `failed` when not all are sealed for the wanted recipients
// at the end, `not_thawed` when archived ones alone are not.
command_task run_command(const services& with, keys_rewrap_command command);

// What is in a backup, by its index: a directory, what is as it should be, which backups changed a
// path, what differs between two. A path that is not there is an error.
command_task run_command(const services& with, ls_command command);
command_task run_command(const services& with, find_command command);
command_task run_command(const services& with, history_command command);
command_task run_command(const services& with, diff_command command);

// The content of a file in a backup; a symbolic link or a directory is an error. Archived content
// is the error `not_thawed`.
command_task run_command(const services& with, cat_command command);

// Files and directories of a backup, into a directory. Exit status `verification` where files that
// are damaged were left out (--skip-damaged).
command_task run_command(const services& with, extract_command command);

// Shows a backup at a directory until somebody unmounts it (exit status `done`), or a signal does
// (`cancelled`). Does nothing but say so where the program was built without FUSE.
command_task run_command(const services& with, mount_command command);

// Makes the indexes that a chain lacks, in the cache of this host; the bucket stays as it is.
command_task run_command(const services& with, index_build_command command);

// Whether a command's text is a report of what it did; of others it is what was asked for.
template <typename Command>
inline constexpr bool reports = false;
template <>
inline constexpr bool reports<backup_command> = true;
template <>
inline constexpr bool reports<restore_command> = true;
template <>
inline constexpr bool reports<thaw_command> = true;
template <>
inline constexpr bool reports<verify_command> = true;
template <>
inline constexpr bool reports<prune_command> = true;
template <>
inline constexpr bool reports<index_build_command> = true;
template <>
inline constexpr bool reports<keys_rewrap_command> = true;
template <>
inline constexpr bool reports<extract_command> = true;
template <>
inline constexpr bool reports<mount_command> = true;

}  // namespace bts3::app
