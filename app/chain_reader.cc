#include "app/chain_reader.hh"

#include "app/services.hh"
#include "planner/keys.hh"

#include <algorithm>
#include <set>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

constexpr std::size_t links_max = 10'000;

error broken_chain(const std::string& key, std::string what) {
  error failure;
  failure.why = engine::reason::integrity;
  failure.message = "manifest " + key + ": " + std::move(what);
  return failure;
}

}  // namespace

task<result<std::optional<stored_pointer>>> read_pointer(s3::object_store& store, std::string key,
                                                         engine::stop_token stop) {
  auto getting = store.get_object_text(s3::object_key(key), pointer_bytes_max, stop);
  auto object = co_await std::move(getting);
  if (!object) {
    if (object.error().what_now == engine::disposition::not_found) {
      co_return std::optional<stored_pointer>();
    }
    co_return std::move(object.error());
  }
  auto value = planner::parse_pointer(object->body);
  if (!value) {
    co_return document_failure("pointer " + key, value.error().text());
  }
  stored_pointer found;
  found.value = std::move(*value);
  found.text = std::move(object->body);
  found.tag = std::move(object->tag);
  co_return std::optional<stored_pointer>(std::move(found));
}

task<result<planner::manifest>> read_manifest(s3::object_store& store, std::string key,
                                              engine::stop_token stop) {
  auto getting = store.get_object_text(s3::object_key(key), planner::manifest_bytes_max, stop);
  auto object = co_await std::move(getting);
  if (!object) {
    co_return std::move(object.error());
  }
  auto value = planner::parse_manifest(object->body);
  if (!value) {
    co_return document_failure("manifest " + key, value.error().text());
  }
  co_return std::move(*value);
}

task<result<std::vector<chain_link>>> read_chain(s3::object_store& store, std::string key,
                                                 engine::stop_token stop) {
  std::vector<chain_link> chain;
  std::set<std::string> seen;
  for (;;) {
    if (!seen.insert(key).second) {
      co_return broken_chain(key, "its chain of parents leads back to itself");
    }
    if (seen.size() > links_max) {
      co_return broken_chain(key, "its chain has more than 10,000 links");
    }
    auto reading = read_manifest(store, key, stop);
    auto value = co_await std::move(reading);
    if (!value && value.error().what_now == engine::disposition::not_found && !chain.empty()) {
      // In a bucket copied under another prefix, the parent lies beside its child.
      const std::string beside = planner::beside_manifest(chain.back().key, key);
      if (beside != key) {
        auto again = read_manifest(store, beside, stop);
        value = co_await std::move(again);
        key = value ? beside : key;
      }
    }
    if (!value) {
      if (value.error().what_now == engine::disposition::not_found) {
        error failure = std::move(value.error());
        failure.remedy = chain.empty() ? "btrfs_to_s3 list shows the keys" : "";
        failure.message = chain.empty() ? "there is no manifest at " + key
                                        : "manifest " + chain.back().key + " needs its parent " +
                                              key + ", which is missing";
        co_return failure;
      }
      co_return std::move(value.error());
    }
    if (!chain.empty() && value->subvolume != chain.back().value.subvolume) {
      co_return broken_chain(key, "it belongs to subvolume " + value->subvolume);
    }
    chain_link link;
    link.key = key;
    link.value = std::move(*value);
    chain.push_back(std::move(link));
    if (!chain.back().value.parent_manifest) {
      break;
    }
    key = *chain.back().value.parent_manifest;
  }
  std::reverse(chain.begin(), chain.end());
  co_return chain;
}

}  // namespace bts3::app
