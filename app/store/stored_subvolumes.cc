#include "app/store/stored_subvolumes.hh"

#include "app/text/subvolume_name.hh"
#include "app/text/text_table.hh"
#include "engine/told_command.hh"
#include "planner/keys.hh"

#include <algorithm>
#include <string_view>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

// "x" of "root/x/"; empty where there is nothing between.
std::string name_below(const std::string& root, const std::string& folder) {
  if (folder.size() <= root.size() + 1 || !folder.starts_with(root) || !folder.ends_with('/')) {
    return {};
  }
  return folder.substr(root.size(), folder.size() - root.size() - 1);
}

}  // namespace

task<result<std::vector<std::string>>> subvolumes_in_bucket(s3::object_store& store,
                                                            std::string prefix,
                                                            engine::stop_token stop,
                                                            engine::log_sink* log) {
  std::string root = planner::key_layout(prefix, "").root();
  root.pop_back();  // the slash behind the empty name
  s3::list_request request(root);
  request.delimiter = "/";
  auto listing = store.list_objects(std::move(request), stop);
  auto found = co_await std::move(listing);
  if (!found) {
    co_return std::move(found.error());
  }
  std::vector<std::string> names;
  for (const std::string& folder : found->common_prefixes) {
    // Names become directories below the target base, and others might lead out of it.
    std::string name = name_below(root, folder);
    if (is_subvolume_name(name)) {
      names.push_back(std::move(name));
    } else if (log != nullptr) {
      log->write(engine::log_level::warning, "restore", "folder_passed_over",
                 {{"folder", folder},
                  {"reason", "no subvolume can be called so: it is not of this program"}});
    }
  }
  std::sort(names.begin(), names.end());
  co_return names;
}

namespace {

// Of what else is there, people are told some.
constexpr std::size_t folders_told = 8;

// "a/b" for "/a/b/"; empty for the bucket itself.
std::string without_slashes(const std::string& prefix) {
  const std::size_t first = prefix.find_first_not_of('/');
  return first == std::string::npos
             ? std::string()
             : prefix.substr(first, prefix.find_last_not_of('/') - first + 1);
}

// Names of the folders right below `prefix`. None where they cannot be listed, too: keys often
// reach one prefix alone, and the caller has nothing but a hint to lose.
task<std::vector<std::string>> folders_below(s3::object_store& store, std::string prefix,
                                             engine::stop_token stop) {
  const std::string root = prefix.empty() ? prefix : prefix + "/";
  s3::list_request request(root);
  request.delimiter = "/";
  auto listing = store.list_objects(std::move(request), stop);
  auto found = co_await std::move(listing);
  std::vector<std::string> names;
  if (found) {
    for (const std::string& folder : found->common_prefixes) {
      names.push_back(name_below(root, folder));
    }
  }
  co_return names;
}

bool has_backups(const std::vector<std::string>& folders) {
  return std::find(folders.begin(), folders.end(), "subvol") != folders.end();
}

std::string some_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), folders_told); ++i) {
    text += (i == 0 ? "" : ", ") + printable(names[i]);
  }
  return names.size() <= folders_told
             ? text
             : text + " and " + std::to_string(names.size() - folders_told) + " more";
}

}  // namespace

task<std::string> where_to_look(s3::object_store& store, const config& settings,
                                engine::stop_token stop) {
  const std::string prefix = without_slashes(settings.s3.prefix);
  const auto attempt = [&settings](const std::string& other) {
    return settings.subvolumes.empty()
               ? "try --from " + engine::shell_word("s3://" + settings.s3.bucket + "/" + other)
               : "try s3.prefix = \"" + printable(other) + "\"";
  };
  const std::size_t too_long = ("/" + prefix + "/").find("/subvol/");
  if (too_long != std::string::npos) {
    co_return "the prefix is what stands before /subvol/: " +
        attempt(without_slashes(prefix.substr(0, too_long)));
  }
  auto looking = folders_below(store, prefix, stop);
  const std::vector<std::string> folders = co_await std::move(looking);
  const std::string below = prefix.empty() ? prefix : prefix + "/";
  if (has_backups(folders)) {
    auto naming = folders_below(store, below + "subvol", stop);
    const std::vector<std::string> names = co_await std::move(naming);
    co_return "check the name: there are " + some_of(names);
  }
  if (!folders.empty()) {
    // One with backups of its own rather than just the first.
    std::string best = folders.front();
    for (std::size_t i = 0; i < std::min(folders.size(), folders_told); ++i) {
      auto entering = folders_below(store, below + folders[i], stop);
      const std::vector<std::string> inner = co_await std::move(entering);
      if (has_backups(inner)) {
        best = folders[i];
        break;
      }
    }
    co_return "backups would lie below " + printable(below) + "subvol/, but " +
        (prefix.empty() ? "the bucket" : printable(below)) + " has " +
        (folders.size() == 1 ? "the folder " : "the folders ") + some_of(folders) + ": " +
        attempt(below + best);
  }
  const std::size_t slash = prefix.rfind('/');
  const std::string parent = slash == std::string::npos ? "" : prefix.substr(0, slash);
  auto leaving = folders_below(store, parent, stop);
  const std::vector<std::string> beside = co_await std::move(leaving);
  if (!prefix.empty() && has_backups(beside)) {
    co_return attempt(parent);
  }
  co_return "check bucket, prefix and name: backups would lie below " + printable(below) +
      "subvol/";
}

task<result<std::vector<std::string>>> all_subvolumes(s3::object_store& store,
                                                      const config& settings,
                                                      engine::stop_token stop,
                                                      engine::log_sink* log) {
  auto listing = subvolumes_in_bucket(store, settings.s3.prefix, stop, log);
  auto names = co_await std::move(listing);
  if (!names) {
    co_return std::move(names.error());
  }
  for (const subvolume_config& configured : settings.subvolumes) {
    if (std::find(names->begin(), names->end(), configured.name) == names->end()) {
      names->push_back(configured.name);
    }
  }
  std::sort(names->begin(), names->end());
  if (names->empty()) {
    error failure;
    failure.message =
        "there are no backups at s3://" + settings.s3.bucket + "/" + settings.s3.prefix;
    auto looking = where_to_look(store, settings, stop);
    failure.remedy = co_await std::move(looking);
    co_return failure;
  }
  co_return names;
}

}  // namespace bts3::app
