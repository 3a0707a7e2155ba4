#include "app/restore/restore_reports.hh"

#include "app/restore/kept_snapshot.hh"
#include "app/text/human_units.hh"
#include "app/text/output.hh"
#include "engine/plain_text.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

namespace bts3::app {

namespace {

using engine::log_level;

// What every result begins with.
nlohmann::ordered_json result_of(const restore_request& request, const chain_link& backup) {
  nlohmann::ordered_json out;
  out["version"] = 1;
  out["subvolume"] = request.wanted.subvolume;
  out["target"] = request.target;
  out["manifest_key"] = backup.key;
  out["created_at"] = backup.value.created_at.rfc3339();
  return out;
}

void print(const nlohmann::ordered_json& value) {
  print_json(planner::json_line(value) + "\n");
}

std::string kept_path(const services& with, const restore_request& request,
                      const chain_link& backup) {
  return kept_snapshot(with, request.wanted.subvolume, backup).path();
}

}  // namespace

void report_restored_before(const services& with, const restore_request& request,
                            const btrfs::target_report& target, const chain_link& backup,
                            bool kept) {
  if (request.json) {
    nlohmann::ordered_json out = result_of(request, backup);
    out["status"] = request.one_of_all ? "restored_before" : "finished";
    if (request.keep_received) {
      out["kept_snapshot"] = kept ? nlohmann::ordered_json(kept_path(with, request, backup))
                                  : nlohmann::ordered_json();
    }
    print(out);
    return;
  }
  print_formatted("%s: the backup of %s had been restored to %s before%s%s\n",
                  request.wanted.subvolume.c_str(), backup.value.created_at.rfc3339().c_str(),
                  target.path().c_str(),
                  request.one_of_all || request.dry_run || !target.interrupted
                      ? ""
                      : "; what that restore left was removed",
                  !request.keep_received || request.dry_run ? ""
                  : kept                                    ? "; the received snapshot is kept"
                         : "; no snapshot could be kept: what was received had been removed");
}

void report_restored(const services& with, const restore_request& request, const restore_plan& plan,
                     const restore_outcome& outcome) {
  const chain_link& last = plan.links.back().link;
  if (!request.json) {
    print_formatted("%s: restored the backup of %s to %s (%s)\n", request.wanted.subvolume.c_str(),
                    last.value.created_at.rfc3339().c_str(), plan.target.c_str(),
                    engine::counted(plan.links.size(), "link").c_str());
    return;
  }
  nlohmann::ordered_json out = result_of(request, last);
  out["status"] = "restored";
  out["links"] = plan.links.size();
  out["links_kept_from_before"] = outcome.links_kept;
  out["bytes"] = outcome.did.bytes;
  out["kept_bytes"] = outcome.did.kept_bytes;
  out["parts"] = outcome.did.parts;
  out["damaged_parts"] = outcome.did.damaged_parts;
  out["transfer_seconds"] = outcome.did.transfer_seconds;
  out["thaw_wait_seconds"] = outcome.did.thaw_wait.count();
  out["verified_by"] = outcome.content_verified              ? "content"
                       : request.verify == verify_mode::none ? "parts"
                                                             : "parts and identity";
  if (request.keep_received) {
    out["kept_snapshot"] = kept_path(with, request, last);
  }
  print(out);
}

void report_failed(const services& with, bool json, const std::string& subvolume,
                   const engine::error& failure) {
  with.log.write(log_level::error, "restore", "subvolume_failed",
                 {{"subvolume", subvolume}, {"error", failure.text()}});
  if (json) {
    print({{"version", 1},
           {"subvolume", subvolume},
           {"status", "failed"},
           {"error", failure.text()}});
  }
}

void log_broken_off(const services& with, const chain_link& link, const download_link& download,
                    const kept_parts* kept) {
  if (download.bytes() == 0) {
    return;
  }
  const bool asked = with.stop.stop_requested();
  const std::uint64_t kept_bytes = kept == nullptr ? 0 : kept->bytes();
  std::string again =
      "reads " + format_bytes(kept_bytes) + " of this one from the spool and downloads the rest";
  if (kept_bytes == 0) {
    again = "downloads this one from its beginning, and the provider may charge for " +
            format_bytes(download.bytes()) + " again";
  }
  with.log.write(asked ? log_level::info : log_level::warning, "restore", "link_broken_off",
                 {{"manifest", link.key},
                  {"bytes", std::to_string(download.bytes())},
                  {"of", std::to_string(link.value.total_bytes)},
                  {"kept", std::to_string(kept_bytes)},
                  {"what_now", "links that were received whole are kept; the next run " + again}});
}

}  // namespace bts3::app
