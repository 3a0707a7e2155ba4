// What a restore tells of one subvolume: its result on standard output, and what an interrupted one
// lost.
#include "app/records/kept_parts.hh"
#include "app/restore/restore_job.hh"
#include "app/text/human_units.hh"
#include "app/text/output.hh"

#include <nlohmann/json.hpp>

namespace bts3::app {

namespace {

using engine::log_level;

// What every result begins with.
nlohmann::ordered_json result_of(const restore_command& command, const chain_link& backup) {
  nlohmann::ordered_json out;
  out["version"] = 1;
  out["subvolume"] = command.subvolume;
  out["target"] = command.target;
  out["manifest_key"] = backup.key;
  out["created_at"] = backup.value.created_at.rfc3339();
  return out;
}

void print(const nlohmann::ordered_json& value) {
  print_json(value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace

void restore_job::report_earlier(const btrfs::target_report& target, const chain_link& wanted,
                                 bool kept) const {
  if (_command.json) {
    nlohmann::ordered_json out = result_of(_command, wanted);
    out["status"] = _command.all ? "restored_before" : "finished";
    if (_command.keep_received) {
      out["kept_snapshot"] =
          kept ? nlohmann::ordered_json(kept_path(wanted)) : nlohmann::ordered_json();
    }
    print(out);
    return;
  }
  print_formatted("%s: the backup of %s had been restored to %s before%s%s\n",
                  _command.subvolume.c_str(), wanted.value.created_at.rfc3339().c_str(),
                  target.path().c_str(),
                  _command.all || _command.dry_run || !target.interrupted
                      ? ""
                      : "; what that restore left was removed",
                  !_command.keep_received || _command.dry_run ? ""
                  : kept                                      ? "; the received snapshot is kept"
                         : "; no snapshot could be kept: what was received had been removed");
}

void restore_job::report_done(const restore_plan& plan, const restore_totals& before,
                              std::size_t links_kept) const {
  const chain_link& last = plan.links.back().link;
  if (!_command.json) {
    print_formatted("%s: restored the backup of %s to %s (%zu link%s)\n",
                    _command.subvolume.c_str(), last.value.created_at.rfc3339().c_str(),
                    plan.target.c_str(), plan.links.size(), plan.links.size() == 1 ? "" : "s");
    return;
  }
  nlohmann::ordered_json out = result_of(_command, last);
  out["status"] = "restored";
  out["links"] = plan.links.size();
  out["links_kept_from_before"] = links_kept;
  out["bytes"] = _totals.bytes - before.bytes;
  out["kept_bytes"] = _totals.kept_bytes - before.kept_bytes;
  out["parts"] = _totals.parts - before.parts;
  out["damaged_parts"] = _totals.damaged_parts - before.damaged_parts;
  out["transfer_seconds"] = _totals.transfer_seconds - before.transfer_seconds;
  out["thaw_wait_seconds"] = (_totals.thaw_wait - before.thaw_wait).count();
  out["verified_by"] = _content_verified              ? "content"
                       : _verify == verify_mode::none ? "parts"
                                                      : "parts and identity";
  if (_command.keep_received) {
    out["kept_snapshot"] = kept_path(last);
  }
  print(out);
}

// What `btrfs receive` made of it is worth nothing to the next run, and that is told, with what is
// downloaded again and what is not.
void restore_job::report_broken_off(const chain_link& link, const download_link& download,
                                    const kept_parts* kept) const {
  if (download.bytes() == 0) {
    return;
  }
  const bool asked = _with.stop.stop_requested();
  const std::uint64_t kept_bytes = kept == nullptr ? 0 : kept->bytes();
  std::string again =
      "reads " + format_bytes(kept_bytes) + " of this one from the spool and downloads the rest";
  if (kept_bytes == 0) {
    again = "downloads this one from its beginning, and the provider may charge for " +
            format_bytes(download.bytes()) + " again";
  }
  _with.log.write(asked ? log_level::info : log_level::warning, "restore", "link_broken_off",
                  {{"manifest", link.key},
                   {"bytes", std::to_string(download.bytes())},
                   {"of", std::to_string(link.value.total_bytes)},
                   {"kept", std::to_string(kept_bytes)},
                   {"what_now", "links that were received whole are kept; the next run " + again}});
}

}  // namespace bts3::app
