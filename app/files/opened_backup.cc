#include "app/files/opened_backup.hh"

#include "app/indexes/index_building.hh"
#include "app/prices/restore_prices.hh"
#include "app/survey/chosen_backup.hh"
#include "app/text/human_units.hh"
#include "engine/plain_text.hh"

#include <cstdint>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

// That are asked for one by one, to tell what a refused command would cost.
constexpr std::size_t chunks_asked_max = 100;

error without_index(const std::vector<chain_link>& missing, const chain_link& chosen,
                    const result<building_plan>& plan) {
  std::uint64_t bytes = 0;
  for (const chain_link& link : missing) {
    bytes += link.value.total_bytes;
  }
  error failure;
  failure.message = "backup " + missing.front().key + " has no index";
  if (missing.size() > 1) {
    failure.message += ", nor have " + std::to_string(missing.size() - 1) + " others of its chain";
  }
  failure.remedy = told_index_build(chosen.value.subvolume, chosen.key) + " reads " +
                   format_bytes(bytes) + " of chunks to make " +
                   (missing.size() > 1 ? "them" : "it") + " on this host";
  if (plan && plan->cost && plan->cost->has_sum) {
    failure.remedy += ", for about " + money_text(plan->cost->total(), plan->cost->currency);
  }
  if (plan && plan->archived > 0) {
    failure.remedy += "; " + engine::counted(plan->archived, "object") +
                      (plan->archived == 1 ? " has" : " have") + " to be thawed before";
  }
  return failure;
}

// The only one that is configured, where none is named.
result<void> choose_subvolume(const config& settings, files_selection& wanted) {
  if (wanted.subvolume.empty() && settings.subvolumes.size() == 1) {
    wanted.subvolume = settings.subvolumes.front().name;
  }
  if (wanted.subvolume.empty()) {
    return engine::configuration_error("it is not said whose files are meant",
                                       "name the subvolume with --subvolume");
  }
  return engine::ok();
}

}  // namespace

opened_backup::opened_backup(const services& with, store_connection& connection,
                             files_selection wanted)
    : _with(with),
      _connection(connection),
      _wanted(std::move(wanted)),
      _identities(with, identity_places(with.settings, _wanted.identities)) {}

// Its chain is known, and nothing of the catalogue.
task<result<std::unique_ptr<opened_backup>>> opened_backup::find(const services& with,
                                                                 store_connection& connection,
                                                                 files_selection wanted) {
  if (auto chosen = choose_subvolume(with.settings, wanted); !chosen) {
    co_return std::move(chosen.error());
  }
  auto cache = index_cache::open(with, wanted.cache_dir);
  if (!cache) {
    co_return std::move(cache.error());
  }
  std::unique_ptr<opened_backup> made(new opened_backup(with, connection, std::move(wanted)));
  kept_manifests kept(with, *cache, made->_wanted.subvolume);
  manifests_known known = [&kept](const std::string& key) { return kept.find(key); };
  auto finding = find_chain(with, connection.store(), wanted_by(with.settings, made->_wanted),
                            std::move(known));
  auto chain = co_await std::move(finding);
  if (!chain) {
    co_return std::move(chain.error());
  }
  made->_catalogue.emplace(with, connection.store(), std::move(*cache), std::move(*chain),
                           made->_identities);
  made->_catalogue->watch([&connection] { return connection.bytes_received(); });
  co_return made;
}

task<result<std::vector<chain_link>>> opened_backup::lacking(const services& with,
                                                             store_connection& connection,
                                                             files_selection wanted) {
  auto finding = find(with, connection, std::move(wanted));
  auto found = co_await std::move(finding);
  if (!found) {
    co_return std::move(found.error());
  }
  opened_backup& backup = **found;
  const auto known = backup._catalogue->open();
  if (!known) {
    co_return known.error();
  }
  co_return backup.without_any(*known);
}

task<result<std::unique_ptr<opened_backup>>> opened_backup::open(const services& with,
                                                                 store_connection& connection,
                                                                 files_selection wanted,
                                                                 missing_index policy) {
  auto finding = find(with, connection, std::move(wanted));
  auto found = co_await std::move(finding);
  if (!found) {
    co_return std::move(found.error());
  }
  std::unique_ptr<opened_backup> made = std::move(*found);
  const auto known = made->_catalogue->open();
  if (!known) {
    co_return known.error();
  }
  if (policy == missing_index::refuse) {
    auto checking = made->check_indexes(*known);
    auto checked = co_await std::move(checking);
    if (!checked) {
      co_return std::move(checked.error());
    }
  }
  auto updating = made->_catalogue->update(made->chain().size(), policy);
  auto updated = co_await std::move(updating);
  if (!updated) {
    co_return std::move(updated.error());
  }
  made->_catalogue->used();
  co_return made;
}

// Of what comes after the first `known` links.
std::vector<chain_link> opened_backup::without_any(std::size_t known) const {
  std::vector<chain_link> missing;
  for (std::size_t i = known; i < chain().size(); ++i) {
    if (!chain()[i].value.index) {
      missing.push_back(chain()[i]);
    }
  }
  return missing;
}

// Before anything is downloaded: that all of them can be had.
task<result<void>> opened_backup::check_indexes(std::size_t known) {
  const std::vector<chain_link> missing = without_any(known);
  if (missing.empty()) {
    co_return engine::ok();
  }
  std::size_t chunks = 0;
  for (const chain_link& link : missing) {
    chunks += link.value.chunks.size();
  }
  result<building_plan> plan;
  if (chunks <= chunks_asked_max) {
    auto planning = plan_building(_with, _connection.store(), missing);
    plan = co_await std::move(planning);
  }
  co_return without_index(missing, chosen(), plan);
}

task<result<void>> opened_backup::open_keys() {
  for (std::size_t i = 0; i < chain().size(); ++i) {
    auto opening = _catalogue->open_key(i);
    auto opened = co_await std::move(opening);
    if (!opened) {
      co_return opened;
    }
  }
  co_return engine::ok();
}

}  // namespace bts3::app
