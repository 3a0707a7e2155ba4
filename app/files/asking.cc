#include "app/files/asking.hh"

#include "app/host/disk_call.hh"
#include "app/survey/chosen_backup.hh"
#include "app/text/nearest_word.hh"
#include "engine/plain_text.hh"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using btrfs::index::link_number;
using btrfs::index::node;
using engine::error;
using engine::result;
using engine::task;

// As many names are compared with one that is not there.
constexpr std::size_t names_compared_max = 10'000;
// Of a name that was meant so many letters are wrong at most, and one in three.
constexpr std::size_t letters_wrong_max = 2;

struct set_stopped {
  std::atomic<bool>* flag;
  void operator()() const { *flag = true; }
};

std::string in_quotes(const std::string& path) {
  return "\"" + engine::printable(path) + "\"";
}

// The name in a directory that may have been meant; empty: none.
std::string meant(opened_backup& backup, const std::string& directory, const std::string& name,
                  link_number link) {
  const auto id = backup.catalogue().find(directory, link);
  const auto entries = id ? backup.catalogue().list(*id, link)
                          : result<std::vector<btrfs::index::entry>>(id.error());
  if (!entries || entries->empty() || entries->size() > names_compared_max) {
    return {};
  }
  std::vector<std::string> names;
  for (const btrfs::index::entry& one : *entries) {
    names.push_back(one.name);
  }
  std::string found = nearest(name, names);
  const std::size_t wrong_max = std::min(letters_wrong_max, name.size() / 3);
  return edit_distance(name, found) <= wrong_max ? found : std::string();
}

error not_there(opened_backup& backup, const std::string& path, link_number link) {
  std::string above = path;
  std::string below;
  node parent;
  while (!above.empty() && parent.id == btrfs::index::no_node) {
    const std::size_t slash = above.rfind('/');
    below = slash == std::string::npos ? above : above.substr(slash + 1);
    above.resize(slash == std::string::npos ? 0 : slash);
    const auto id = backup.catalogue().find(above, link);
    const auto found = id ? backup.catalogue().stat(*id, link)
                          : result<std::optional<node>>(std::optional<node>());
    parent = found ? found->value_or(node{}) : node{};
  }
  error failure;
  failure.what_now = engine::disposition::not_found;
  failure.message = "there is no " + in_quotes(path) + " in " + chosen_text(backup.at(link));
  if (parent.id != btrfs::index::no_node && parent.type != btrfs::index::node_type::directory) {
    failure.message += ": " + in_quotes(above) + " is no directory";
    return failure;
  }
  const std::string name = meant(backup, above, below, link);
  const std::string whole = above.empty() ? name : above + "/" + name;
  failure.remedy = !name.empty()   ? "perhaps " + in_quotes(whole) + " is meant"
                   : above.empty() ? std::string("`ls` without a path shows what there is")
                                   : "the nearest directory that is there is " + in_quotes(above);
  return failure;
}

}  // namespace

task<result<exit_status>> answer_of(const services& with, opened_backup& backup, answer tell) {
  std::atomic<bool> stopped = false;
  const engine::stop_callback on_stop(with.stop, set_stopped{&stopped});
  std::function<result<exit_status>()> call = [&backup, &tell, &stopped] {
    return tell(backup, stopped);
  };
  auto calling = disk_call(with.loop, std::move(call));
  auto told = co_await std::move(calling);
  if (!told) {
    co_return backup.explained(std::move(told.error()));
  }
  co_return told;
}

namespace {

task<result<exit_status>> answer_connected(const services& with, store_connection& connection,
                                           files_selection wanted, answer tell) {
  auto opening = opened_backup::open(with, connection, std::move(wanted));
  const auto backup = co_await std::move(opening);
  if (!backup) {
    co_return backup.error();
  }
  auto telling = answer_of(with, **backup, std::move(tell));
  co_return co_await std::move(telling);
}

}  // namespace

task<result<exit_status>> answer_from(const services& with, files_selection wanted, answer tell) {
  auto connection = store_connection::open(with, persistence::of_a_question);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto running = answer_connected(with, **connection, std::move(wanted), std::move(tell));
  auto status = co_await std::move(running);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

result<std::string> path_in_backup(std::string_view text) {
  std::string path;
  while (!text.empty()) {
    const std::size_t slash = text.find('/');
    const std::string_view name = text.substr(0, slash);
    text.remove_prefix(slash == std::string_view::npos ? text.size() : slash + 1);
    if (name == "..") {
      return engine::configuration_error("a path in a backup has no \"..\"",
                                         "write it from the subvolume on, like etc/fstab");
    }
    if (!name.empty() && name != ".") {
      path += (path.empty() ? "" : "/") + std::string(name);
    }
  }
  return path;
}

result<node> existing(opened_backup& backup, const std::string& path, link_number link) {
  const auto id = backup.catalogue().find(path, link);
  if (!id) {
    return id.error();
  }
  const auto found = backup.catalogue().stat(*id, link);
  if (!found) {
    return found.error();
  }
  if (!*found) {
    return not_there(backup, path, link);
  }
  return **found;
}

nlohmann::ordered_json document_of(const chain_link& backup) {
  nlohmann::ordered_json out;
  out["version"] = 1;
  out["subvolume"] = backup.value.subvolume;
  out["manifest_key"] = backup.key;
  out["created_at"] = backup.value.created_at.rfc3339();
  return out;
}

}  // namespace bts3::app
