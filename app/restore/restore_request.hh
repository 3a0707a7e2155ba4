// What is to be restored, and how, as a value: what the options say where they say something, and
// the configuration where they do not. Whoever restores knows no command line.
#pragma once

#include "app/cli/cli.hh"
#include "app/config/config.hh"
#include "app/download/chain_thaw.hh"
#include "app/restore/restore_verify.hh"
#include "app/survey/chosen_backup.hh"

#include <string>

namespace bts3::app {

// Of one subvolume.
struct restore_request {
  wanted_backup wanted;
  std::string target;  // its path
  verify_mode verify = verify_mode::full;
  bool verify_first = false;    // chunks that cannot be verified part by part are downloaded twice
  bool keep_received = false;   // a snapshot of what was received stays in snapshots.base_dir
  bool discard = false;         // what an interrupted restore left is removed first
  bool no_space_check = false;  // too little space is a warning
  bool one_of_all = false;      // records of a target that is there stay until all are
  thaw_policy thaw;
  bool dry_run = false;
  bool json = false;  // documents on standard output instead of lines
};

// Of command.subvolume, or with command.all of the one that is named `subvolume`. Without a target
// it is below the target base.
[[nodiscard]] restore_request request_of(const config& settings, const restore_command& command,
                                         const std::string& subvolume);

// [thaw], changed by --tier and --download-rate, without waiting.
[[nodiscard]] thaw_policy thaw_policy_of(const config& settings, const thaw_command& command);

}  // namespace bts3::app
