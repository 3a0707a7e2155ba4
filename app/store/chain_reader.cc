#include "app/store/chain_reader.hh"

#include "app/store/services.hh"
#include "engine/told_command.hh"
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

// `missing` is what is said when there is none.
task<result<chain_link>> read_at(const manifest_reader& reader, std::vector<std::string> places,
                                 std::string missing) {
  error last;
  for (std::size_t i = 0; i < places.size(); ++i) {
    auto reading = reader(places[i]);
    auto value = co_await std::move(reading);
    if (value) {
      chain_link link;
      link.key = std::move(places[i]);
      link.value = std::move(*value);
      co_return link;
    }
    last = std::move(value.error());
    if (!is_absent(last, i > 0)) {
      co_return last;
    }
  }
  last.message = absent_text(std::move(missing), last);
  last.what_now = engine::disposition::not_found;
  last.why = engine::reason::unspecified;
  co_return last;
}

}  // namespace

manifest_reader plain_reader(s3::object_store& store, manifest_bound bound,
                             engine::stop_token stop) {
  return [&store, bound, stop](std::string key) {
    return read_manifest(store, std::move(key), bound, stop);
  };
}

bool is_absent(const error& failure, bool elsewhere) {
  // What is wrong with the credentials themselves is no answer about an object.
  const bool about_us = failure.code == "InvalidAccessKeyId" ||
                        failure.code == "SignatureDoesNotMatch" || failure.code == "InvalidToken";
  const bool refused = failure.why == engine::reason::access && failure.status == 403 && !about_us;
  return failure.what_now == engine::disposition::not_found || (elsewhere && refused);
}

std::string absent_text(std::string sentence, const error& last) {
  return last.what_now == engine::disposition::not_found
             ? sentence
             : sentence + "; where it was recorded: " + last.message;
}

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
                                              manifest_bound bound, engine::stop_token stop) {
  auto getting = store.get_object_text(s3::object_key(key), bound.bytes_max, stop);
  auto object = co_await std::move(getting);
  if (!object && bound.of_memory && object.error().why == engine::reason::protocol) {
    auto asking = store.head_object(s3::object_key(key), stop);
    auto info = co_await std::move(asking);
    if (info && info->size > bound.bytes_max) {
      co_return manifest_too_large(key, info->size, bound);
    }
  }
  if (!object) {
    co_return std::move(object.error());
  }
  auto value = planner::parse_manifest(object->body);
  if (!value) {
    co_return document_failure("manifest " + key, value.error().text());
  }
  co_return std::move(*value);
}

task<result<chain_link>> read_link(manifest_reader reader, std::vector<std::string> places) {
  std::string missing = "there is no manifest at " + places.front();
  auto reading = read_at(reader, std::move(places), std::move(missing));
  co_return co_await std::move(reading);
}

task<result<std::vector<chain_link>>> read_chain(manifest_reader reader,
                                                 std::vector<std::string> places) {
  std::vector<chain_link> chain;
  std::set<std::string> seen;
  std::uint64_t bytes = 0;
  std::string missing = "there is no manifest at " + places.front();
  for (;;) {
    if (chain.size() == links_max) {
      co_return broken_chain(places.front(), "its chain has more than 10,000 links");
    }
    auto reading = read_at(reader, std::move(places), std::move(missing));
    auto link = co_await std::move(reading);
    if (!link) {
      if (chain.empty() && link.error().what_now == engine::disposition::not_found) {
        link.error().remedy = "`" + engine::told_command("list") + "` shows the keys";
      }
      co_return std::move(link.error());
    }
    if (!seen.insert(link->key).second) {
      co_return broken_chain(link->key, "its chain of parents leads back to itself");
    }
    if (!chain.empty() && link->value.subvolume != chain.back().value.subvolume) {
      co_return broken_chain(link->key, "it belongs to subvolume " + link->value.subvolume);
    }
    bytes += link->value.total_bytes;  // neither is more than 2^60
    if (bytes > planner::stream_bytes_max) {
      co_return broken_chain(link->key, "its chain's streams are larger together than there is");
    }
    chain.push_back(std::move(*link));
    const chain_link& child = chain.back();
    if (!child.value.parent_manifest) {
      break;
    }
    places = planner::places_of(child.key, *child.value.parent_manifest);
    missing =
        "manifest " + child.key + " needs its parent " + places.front() + ", which is missing";
  }
  std::reverse(chain.begin(), chain.end());
  co_return chain;
}

}  // namespace bts3::app
