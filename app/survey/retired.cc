#include "app/survey/retired.hh"

#include "app/config/selection.hh"
#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "app/records/state_store.hh"
#include "app/store/stored_subvolumes.hh"
#include "app/text/subvolume_name.hh"
#include "btrfs/host.hh"
#include "engine/told_command.hh"
#include "planner/keys.hh"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

namespace bts3::app {

using engine::result;
using engine::task;

namespace {

bool is_configured(const config& settings, const std::string& name) {
  return std::any_of(settings.subvolumes.begin(), settings.subvolumes.end(),
                     [&](const subvolume_config& one) { return one.name == name; });
}

}  // namespace

result<std::vector<subvolume_config>> select_also_retired(const config& settings,
                                                          const std::vector<std::string>& names) {
  std::vector<std::string> configured;
  std::vector<subvolume_config> retired;
  for (const std::string& name : names) {
    if (is_configured(settings, name)) {
      configured.push_back(name);
      continue;
    }
    if (!is_subvolume_name(name)) {
      return engine::configuration_error(
          "--subvolume \"" + name + "\" cannot be a subvolume's name",
          "`" + engine::told_command("list") + "` shows what there is");
    }
    subvolume_config one;
    one.name = name;
    retired.push_back(std::move(one));
  }
  if (configured.empty() && !retired.empty()) {
    return retired;
  }
  auto chosen = select_subvolumes(settings, configured);
  if (chosen) {
    std::move(retired.begin(), retired.end(), std::back_inserter(*chosen));
  }
  return chosen;
}

namespace {

// `chosen` outlives it: the caller's, who awaits this.
task<result<void>> check_retired(const services& with, s3::object_store& store,
                                 const std::vector<subvolume_config>& chosen) {
  for (const subvolume_config& one : chosen) {
    if (is_configured(with.settings, one.name)) {
      continue;
    }
    s3::list_request request(planner::key_layout(with.settings.s3.prefix, one.name).root());
    request.delimiter = "/";
    auto listing = store.list_objects(std::move(request), with.stop);
    auto found = co_await std::move(listing);
    if (!found) {
      co_return std::move(found.error());
    }
    if (found->objects.empty() && found->common_prefixes.empty()) {
      co_return engine::configuration_error(
          "--subvolume " + one.name +
              (with.settings.subvolumes.empty()
                   ? " is not in the bucket"
                   : " is neither in the configuration nor in the bucket"),
          "`" + engine::told_command("list") + "` shows what there is");
    }
  }
  co_return engine::ok();
}

}  // namespace

task<result<std::vector<subvolume_config>>> chosen_in_bucket(const services& with,
                                                             s3::object_store& store,
                                                             std::vector<subvolume_config> chosen) {
  if (!chosen.empty() || !with.settings.subvolumes.empty()) {
    auto checking = check_retired(with, store, chosen);
    auto checked = co_await std::move(checking);
    if (!checked) {
      co_return std::move(checked.error());
    }
    co_return chosen;
  }
  auto listing = all_subvolumes(store, with.settings, with.stop, &with.log);
  auto names = co_await std::move(listing);
  if (!names) {
    co_return std::move(names.error());
  }
  for (std::string& name : *names) {
    subvolume_config one;
    one.name = std::move(name);
    chosen.push_back(std::move(one));
  }
  co_return chosen;
}

result<std::vector<btrfs::snapshot>> retired_snapshots(const services& with) {
  auto state = state_store(with.settings.global.state_path, with.clock, with.log).peek();
  if (!state) {
    return std::move(state.error());
  }
  auto journals = list_journals(with.settings.global.state_path);
  if (!journals) {
    return std::move(journals.error());
  }
  std::set<std::string> under_way;
  for (const std::string& path : *journals) {
    auto record = read_journal(path);
    if (!record) {
      return std::move(record.error());
    }
    if (*record) {
      under_way.insert((*record)->intent.snapshot_name);
    }
  }
  std::vector<btrfs::snapshot> all;
  for (const auto& [name, known] : state->subvolumes) {
    (void)known;
    if (is_configured(with.settings, name)) {
      continue;
    }
    auto found = with.host.snapshots().list(with.settings.snapshots.base_dir, name);
    if (!found) {
      return std::move(found.error());
    }
    for (btrfs::snapshot& one : *found) {
      if (!under_way.contains(one.name)) {
        all.push_back(std::move(one));
      }
    }
  }
  return all;
}

}  // namespace bts3::app
