#include "app/restore/restore_request.hh"

#include <chrono>

namespace bts3::app {

restore_request request_of(const config& settings, const restore_command& command,
                           const std::string& subvolume) {
  restore_request request;
  request.wanted = wanted_by(settings, command);
  request.wanted.subvolume = subvolume;
  request.target = command.target;
  if (request.target.empty()) {
    const std::string base =
        command.target_base.empty() ? settings.restore.target_base_dir : command.target_base;
    request.target = base + (base.ends_with('/') ? "" : "/") + subvolume;
  }
  request.verify = command.verify.value_or(settings.restore.verify_mode);
  request.verify_first = command.verify_first;
  request.keep_received = command.keep_received;
  request.discard = command.discard;
  request.no_space_check = command.no_space_check;
  request.one_of_all = command.all;
  request.thaw = thaw_policy_of(settings, command);
  request.dry_run = command.dry_run;
  request.json = command.json;
  return request;
}

thaw_policy thaw_policy_of(const config& settings, const thaw_command& command) {
  return thaw_policy_of(settings, command.tier, command.download_rate);
}

}  // namespace bts3::app
