#include "app/survey/bucket_inventory.hh"

#include "app/store/bucket_listing.hh"
#include "app/store/chain_reader.hh"
#include "app/store/manifest_turns.hh"
#include "app/store/services.hh"
#include "engine/async_scope.hh"
#include "planner/keys.hh"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

// What a manifest may have when it is read, whatever was listed.
constexpr std::uint64_t unlisted_bytes = 1024 * 1024;

class inventory_reader {
 public:
  inventory_reader(engine::reactor& loop, s3::object_store& store, std::string subvolume,
                   manifest_bound bound, engine::stop_token stop)
      : _store(store),
        _subvolume(std::move(subvolume)),
        _bound(bound),
        _stop(stop),
        _turns(loop),
        _scope(loop) {}

  task<result<planner::inventory>> run(std::string root) {
    _found.root = std::move(root);
    auto listing = list_below(_store, _found.root, _stop);
    auto listed = co_await std::move(listing);
    if (!listed) {
      co_return std::move(listed.error());
    }
    if (!listed->date_problem.empty()) {
      co_return document_failure("listing of " + _found.root, listed->date_problem);
    }
    _found.objects = std::move(listed->objects);
    std::vector<std::string> manifests;
    for (const auto& [key, object] : _found.objects) {
      if (planner::name_of(_found.root, key).is == planner::object_name::what::manifest) {
        manifests.push_back(key);
      }
    }
    for (std::string& key : manifests) {
      _scope.spawn(read(std::move(key)));
    }
    auto joining = _scope.join();
    co_await std::move(joining);
    if (_failure) {
      co_return std::move(*_failure);
    }
    co_return std::move(_found);
  }

 private:
  task<void> read(std::string key) {
    const std::uint64_t bytes = _found.objects.at(key).size;
    if (bytes > _bound.bytes_max) {
      _found.unreadable.emplace(std::move(key), manifest_too_large(bytes, _bound));
      co_return;
    }
    auto waiting = _turns.acquire(bytes, _stop);
    auto turn = co_await std::move(waiting);
    if (_failure) {
      co_return;
    }
    if (!turn) {
      _failure = std::move(turn.error());
      co_return;
    }
    // Whatever the listing said of its size.
    auto reading = read_manifest(
        _store, key, manifest_bound::of_listing(std::max(bytes, unlisted_bytes)), _stop);
    auto value = co_await std::move(reading);
    if (value && value->subvolume == _subvolume) {
      for (planner::chunk_record& chunk : value->chunks) {
        chunk.drop_parts();
      }
      _found.manifests.emplace(std::move(key), std::move(*value));
    } else if (value) {
      _found.unreadable.emplace(std::move(key), "it belongs to subvolume " + value->subvolume);
    } else if (value.error().what_now == engine::disposition::not_found) {
      auto looking = look_again(std::move(key));
      co_await std::move(looking);
    } else if (value.error().why == engine::reason::protocol &&
               value.error().what_now != engine::disposition::retry) {
      _found.unreadable.emplace(std::move(key), value.error().text());
    } else if (!_failure) {
      _failure = std::move(value.error());
    }
  }

  // A manifest that was listed, and is not there: deleted since, or the store contradicts itself (a
  // disk that is away for a while, a damaged index). Then the backup may come back, and what it
  // names is not to be taken for left over.
  task<void> look_again(std::string key) {
    auto listing = _store.list_objects(s3::list_request(key), _stop);
    auto listed = co_await std::move(listing);
    if (!listed) {
      if (!_failure) {
        _failure = std::move(listed.error());
      }
      co_return;
    }
    const bool still =
        std::any_of(listed->objects.begin(), listed->objects.end(),
                    [&](const s3::listed_object& one) { return one.key.str() == key; });
    if (still) {
      _found.unreadable.emplace(std::move(key),
                                "it is listed, but the store says that it does not exist");
    } else {
      _found.objects.erase(key);
    }
  }

  s3::object_store& _store;
  std::string _subvolume;
  manifest_bound _bound;
  engine::stop_token _stop;
  planner::inventory _found;
  std::optional<error> _failure;
  manifest_turns _turns;
  engine::async_scope _scope;
};

}  // namespace

task<result<planner::inventory>> read_inventory(engine::reactor& loop, s3::object_store& store,
                                                std::string prefix, std::string subvolume,
                                                engine::stop_token stop, manifest_bound bound) {
  const planner::key_layout keys(prefix, subvolume);
  inventory_reader reader(loop, store, std::move(subvolume), bound, stop);
  auto running = reader.run(keys.root());
  co_return co_await std::move(running);
}

}  // namespace bts3::app
