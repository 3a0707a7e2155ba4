// Where a restore shall put what it restores, before it begins.
#pragma once

#include "engine/result.hh"

#include <cstdint>
#include <string>

namespace bts3::btrfs {

struct target_report {
  std::string parent;                 // directory that will hold the target
  std::string above;                  // the same, or, where it is missing, what it is made in
  std::string name;                   // the target's own name
  std::uint64_t available_bytes = 0;  // free on its filesystem, as statfs tells
  bool exists = false;                // something has the target's name
  bool interrupted = false;           // the private directory of an earlier restore is there
  bool may_be_finished = false;       // it looks like what a restore has marked as its own
  [[nodiscard]] std::string path() const;
  // The private directory in `parent` in which a restore to it receives; its path.
  [[nodiscard]] std::string private_name() const;
  [[nodiscard]] std::string private_path() const;
};

// Refuses, with the remedy: a relative path, a missing parent, a parent that is not on Btrfs or is
// mounted read-only, and a target that exists, unless an interrupted restore to it left its private
// directory (then the caller has to ask published()) or it may be what a restore has finished (then
// find_mark()). Changes nothing.
engine::result<target_report> check_target(const std::string& target);
// What is said of a target that is there already.
engine::error target_exists(const target_report& target);

// Refuses, with the remedy, a path on a mount that is read-only; errors call it `what`.
engine::result<void> check_mounted_writable(const std::string& path, const std::string& what);

// Makes the directories that lead to the target, where check_target() has found them missing.
engine::result<void> make_parent(const target_report& target);

}  // namespace bts3::btrfs
