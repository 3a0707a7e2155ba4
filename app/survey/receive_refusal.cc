#include "app/survey/receive_refusal.hh"

#include "app/host/disk_call.hh"
#include "app/records/verify_record.hh"
#include "engine/told_command.hh"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::task;

// What only the stream can be to blame for, when it comes from `btrfs receive` in a directory of
// its own: strerror() of ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, ENODATA, ENAMETOOLONG, EMLINK,
// ELOOP, and what it says itself.
constexpr std::string_view words_of_refusal[] = {"No such file or directory",
                                                 "File exists",
                                                 "Not a directory",
                                                 "Is a directory",
                                                 "Directory not empty",
                                                 "No data available",
                                                 "File name too long",
                                                 "Too many links",
                                                 "Too many levels of symbolic links",
                                                 "path invalid",
                                                 "crc32 mismatch",
                                                 "invalid tlv",
                                                 "stream is truncated",
                                                 "not present",
                                                 "invalid size for attribute"};
// And what is about the host although it speaks of a missing file.
constexpr std::string_view words_of_host[] = {"cannot find parent subvolume",
                                              "No space left on device",
                                              "Input/output error",
                                              "Read-only file system",
                                              "Disk quota exceeded",
                                              "ERROR: cannot open '",
                                              "mount"};

bool says(const error& failure, std::string_view words) {
  return failure.message.find(words) != std::string::npos;
}

planner::timestamp now(const services& with) {
  return planner::timestamp(std::chrono::floor<std::chrono::seconds>(with.clock.now()));
}

task<void> write_record(const services& with, std::string subvolume, std::vector<std::string> keys,
                        verification found) {
  const std::filesystem::path state(with.settings.global.state_path);
  std::error_code code;
  if (!std::filesystem::is_directory(state.parent_path(), code)) {
    co_return;  // a recovery host, which keeps no state
  }
  verified_subvolume before;
  before.place = place_of(with, subvolume);
  verified_subvolume mine = before;
  for (const std::string& key : keys) {
    mine.links[key].by_kind[verification_kind::received] = found;
  }
  std::function<engine::result<void>()> call = [&] {
    return merge_into_record(with.settings.global.state_path, subvolume, before, mine);
  };
  auto writing = disk_call(with.loop, std::move(call));
  auto written = co_await std::move(writing);
  if (!written) {
    with.log.write(log_level::warning, "restore", "refusal_not_recorded",
                   {{"subvolume", subvolume}, {"error", written.error().text()}});
  }
}

// Of these links, those that are remembered as refused, by `btrfs receive` or by a proof.
std::vector<std::pair<std::string, std::string>> refused_of(const services& with,
                                                            const std::string& subvolume,
                                                            const std::vector<std::string>& keys) {
  std::vector<std::pair<std::string, std::string>> found;
  const auto record = read_verify_record(with.settings.global.state_path);
  const verified_subvolume* known =
      record ? record->find(subvolume, place_of(with, subvolume)) : nullptr;
  for (const std::string& key : keys) {
    if (known == nullptr || !known->links.contains(key)) {
      continue;
    }
    const verified_link& link = known->links.at(key);
    for (const auto kind : {verification_kind::received, verification_kind::proof}) {
      if (const verification* const entry = link.problem_of(kind)) {
        found.emplace_back(key, entry->problem);
        break;
      }
    }
  }
  return found;
}

}  // namespace

bool is_refusal(const error& failure) {
  const auto said = [&](std::string_view words) { return says(failure, words); };
  return failure.why == engine::reason::child_process && failure.status > 0 &&
         std::any_of(std::begin(words_of_refusal), std::end(words_of_refusal), said) &&
         std::none_of(std::begin(words_of_host), std::end(words_of_host), said);
}

error refusal_of(error failure, const chain_link& link, const btrfs::stream_command* command,
                 const chain_link* before) {
  std::string where;
  if (command != nullptr) {
    where = ": command " + std::to_string(command->number) + " (" + command->text() + ") at byte " +
            std::to_string(command->offset) + " of its stream";
  }
  failure.message = "`btrfs receive` refused " + link.key + where + ": " + failure.message;
  failure.remedy =
      "the stream is as it was sent, and neither this backup nor one that builds on it can be "
      "restored: make a full backup of the subvolume while it is there (`" +
      engine::told_command("backup --full", {{"--subvolume", link.value.subvolume}}) + "`); ";
  failure.remedy += before != nullptr
                        ? "the newest backup of this chain that can be restored is that of " +
                              before->value.created_at.rfc3339() + " (--manifest-key " +
                              engine::shell_word(before->key) + ")"
                        : "a backup of another chain may be restorable (`" +
                              engine::told_command("list") + "` shows them)";
  return failure;
}

task<void> remember_refusal(const services& with, std::string subvolume, std::string manifest_key,
                            std::string problem) {
  verification found;
  found.at = now(with);
  found.sound = false;
  found.problem = problem;
  auto writing = write_record(with, subvolume, std::vector<std::string>(1, manifest_key), found);
  co_await std::move(writing);
}

task<void> remember_received(const services& with, std::string subvolume,
                             std::vector<std::string> manifest_keys) {
  std::vector<std::string> refuted;
  for (auto& [key, problem] : refused_of(with, subvolume, manifest_keys)) {
    refuted.push_back(std::move(key));
  }
  if (refuted.empty()) {
    co_return;
  }
  verification found;
  found.at = now(with);
  found.sound = true;
  auto writing = write_record(with, subvolume, std::move(refuted), found);
  co_await std::move(writing);
}

std::string remembered_refusal(const services& with, const std::string& subvolume,
                               const std::vector<std::string>& manifest_keys) {
  const auto refused = refused_of(with, subvolume, manifest_keys);
  return refused.empty() ? "" : refused.front().first + ": " + refused.front().second;
}

}  // namespace bts3::app
