// mount, in a program that was built without FUSE.
#include "app/store/commands.hh"

namespace bts3::app {

command_task run_command(const services& /*with*/, mount_command /*command*/) {
  co_return engine::configuration_error(
      "this btrfs_to_s3 was built without FUSE, and cannot mount",
      "`extract` gets files and directories; a btrfs_to_s3 that was not linked statically mounts");
}

}  // namespace bts3::app
