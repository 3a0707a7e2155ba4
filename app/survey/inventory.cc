#include "app/survey/inventory.hh"

#include "app/store/bucket_listing.hh"
#include "app/store/manifest_signature.hh"
#include "app/store/second_look.hh"
#include "engine/assert.hh"
#include "engine/for_each_at_most.hh"
#include "planner/keys.hh"

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// What a manifest may have when it is read, whatever was listed.
constexpr std::uint64_t unlisted_bytes = 1024 * 1024;

// For whoever needs to know what there is, and not what is in it.
void drop_content(planner::manifest& value) {
  for (planner::chunk_record& chunk : value.chunks) {
    chunk.drop_parts();
    chunk.sha256 = std::string();
    chunk.etag.reset();
  }
}

// A signed incremental says which manifest its parent has. Of a signed backup, what that comes to.
void judge_parent(const subvolume_inventory& all, const std::string& key, manifest_finding& found) {
  const std::optional<std::string>& named = found.value->parent_manifest_sha256;
  const auto parent =
      all.manifests.find(planner::place_in(all.objects, key, *found.value->parent_manifest));
  const bool there = parent != all.manifests.end();
  signature_finding& signature = found.signature;
  if (!named) {
    signature.is = signature_finding::what::other;
    signature.problem = "it continues a backup that nobody signed";
  } else if (there && !parent->second.digest.empty() && parent->second.digest != *named) {
    signature.is = signature_finding::what::bad;
    signature.problem = "its parent is not the one that it was made on";
  } else if (there && signature.is == signature_finding::what::trusted &&
             parent->second.signature.is != signature_finding::what::trusted) {
    signature.is = signature_finding::what::other;
    signature.problem = "it rests on a backup that is not trusted";
  }
}

// What a restore that asks for signatures would refuse is not called trusted: once more as long as
// something changes, which by the order of keys, that of time, is twice.
void judge_parents(subvolume_inventory& all) {
  for (bool changed = true; changed;) {
    changed = false;
    for (auto& [key, found] : all.manifests) {
      const auto before = found.signature.is;
      if (found.state == manifest_state::readable && found.value->parent_manifest &&
          (before == signature_finding::what::trusted ||
           before == signature_finding::what::other)) {
        judge_parent(all, key, found);
        changed = changed || found.signature.is != before;
      }
    }
  }
}

class bucket_reader {
 public:
  bucket_reader(engine::reactor& loop, s3::object_store& store, inventory_request request,
                engine::stop_token stop)
      : _loop(loop), _store(store), _request(std::move(request)), _stop(stop), _turns(loop) {}

  task<result<bucket_inventory>> run() {
    // ".../subvol/": the root of an empty name, less its own slash.
    std::string root = planner::key_layout(_request.prefix, "").root();
    root.pop_back();
    const std::string wanted = _request.subvolume.empty() ? root : root + _request.subvolume + "/";
    auto listing = list_below(_store, wanted, _stop);
    auto listed = co_await std::move(listing);
    if (!listed) {
      co_return std::move(listed.error());
    }
    if (_request.doubtful == doubt::fails && !listed->date_problem.empty()) {
      co_return document_failure("listing of " + wanted, listed->date_problem);
    }
    sort_by_subvolume(std::move(listed->objects), root);
    collect();
    auto reading = engine::for_each_at_most(
        _loop, manifest_turns::at_once, _documents.size(),
        [this](std::size_t index) { return read(_documents[index]); }, _stop);
    auto read_all = co_await std::move(reading);
    if (!read_all) {
      co_return std::move(read_all.error());
    }
    for (subvolume_inventory& one : _found.subvolumes) {
      judge_parents(one);
    }
    co_return std::move(_found);
  }

 private:
  struct document {
    subvolume_inventory* of = nullptr;
    std::string key;
    bool pointer = false;
  };

  void sort_by_subvolume(planner::object_listing objects, const std::string& root) {
    if (!_request.subvolume.empty()) {
      add_subvolume(root, _request.subvolume);
    }
    for (auto& [key, object] : objects) {
      const std::string_view rest = std::string_view(key).substr(root.size());
      if (rest.empty()) {
        continue;  // consoles make such to show a folder
      }
      const std::size_t slash = rest.find('/');
      if (slash == std::string_view::npos || slash == 0) {
        _found.beside.emplace(key, std::move(object));
        continue;
      }
      const std::string_view name = rest.substr(0, slash);
      // Keys come in their order, in which a subvolume's stand together.
      if (_found.subvolumes.empty() || _found.subvolumes.back().name != name) {
        add_subvolume(root, name);
      }
      planner::object_listing& into = _found.subvolumes.back().objects;
      into.emplace_hint(into.end(), key, std::move(object));
    }
    std::sort(_found.subvolumes.begin(), _found.subvolumes.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
  }

  void add_subvolume(const std::string& root, std::string_view name) {
    subvolume_inventory next;
    next.name = name;
    next.root = root + next.name + "/";
    _found.subvolumes.push_back(std::move(next));
  }

  // What is to be read.
  void collect() {
    for (subvolume_inventory& one : _found.subvolumes) {
      for (const auto& [key, object] : one.objects) {
        if (planner::name_of(one.root, key).is == planner::object_name::what::manifest) {
          _documents.push_back({&one, key, false});
        }
      }
      const std::string pointer = one.root + "current.json";
      if (!wants_pointer()) {
        one.pointer = std::move(*_request.pointer);
      } else if (one.objects.contains(pointer)) {
        _documents.push_back({&one, pointer, true});
      }
    }
  }

  [[nodiscard]] bool wants_pointer() const {
    return !_request.pointer || (!_request.pointer->there && _request.pointer->problem.empty());
  }

  task<result<void>> read(document& one) {
    const std::uint64_t bytes = one.pointer ? 0 : one.of->objects.at(one.key).size;
    if (bytes > _request.bound.bytes_max) {
      manifest_finding& found = one.of->manifests[one.key];
      found.state = manifest_state::too_large;
      found.problem = manifest_too_large(bytes, _request.bound);
      co_return engine::ok();
    }
    auto waiting = _turns.acquire(bytes, _stop);
    auto turn = co_await std::move(waiting);
    if (!turn) {
      co_return std::move(turn.error());
    }
    if (one.pointer) {
      auto reading = read_pointer_of(one);
      co_return co_await std::move(reading);
    }
    manifest_finding judged;
    auto reading = read_and_judge(one, bytes, judged);
    auto value = co_await std::move(reading);
    if (!value && state_of(value.error()) == manifest_state::absent) {
      auto looking = look_again(one);
      co_return co_await std::move(looking);
    }
    if (!value) {
      co_return take_failure(one, std::move(value.error()));
    }
    manifest_finding& found = one.of->manifests[one.key];
    found = std::move(judged);
    drop_content(*value);
    if (value->subvolume != one.of->name) {
      found.state = manifest_state::foreign;
      found.problem = "it belongs to subvolume " + value->subvolume;
    }
    found.value = std::move(*value);
    co_return engine::ok();
  }

  // With what signs it, where something does.
  task<result<planner::manifest>> read_and_judge(const document& one, std::uint64_t bytes,
                                                 manifest_finding& judged) {
    // Whatever the listing said of its size.
    const auto bound = manifest_bound::of_listing(std::max(bytes, unlisted_bytes));
    if (!one.of->objects.contains(planner::signature_of(one.key))) {
      judged.signature = judge_signature("", std::nullopt, _request.signers, {});
      auto reading = read_manifest(_store, one.key, bound, _stop);
      co_return co_await std::move(reading);
    }
    auto reading = read_signed(_store, one.key, bound, _stop);
    auto found = co_await std::move(reading);
    if (!found) {
      co_return std::move(found.error());
    }
    auto digest = digest_of(found->text);
    if (!digest) {
      co_return std::move(digest.error());
    }
    judged.digest = std::move(*digest);
    judged.signature = judge_signature(found->text, found->signature, _request.signers,
                                       found->value.created_at.when());
    co_return std::move(found->value);
  }

  // Whether what cannot be known of one object fails all of it.
  [[nodiscard]] bool fails_all(const error& failure) const {
    const auto state = state_of(failure);
    return !state || (_request.doubtful == doubt::fails && *state != manifest_state::damaged);
  }

  result<void> take_failure(document& one, error failure) const {
    if (fails_all(failure)) {
      return failure;
    }
    manifest_finding& found = one.of->manifests[one.key];
    found.state = *state_of(failure);
    found.problem = failure.text();
    found.failure = std::move(failure);
    return engine::ok();
  }

  // What was listed, and is not there: deleted since, or the store contradicts itself (a disk that
  // is away for a while, a damaged index). Then the backup may come back, and what it names is not
  // to be taken for left over.
  task<result<void>> look_again(document& one) {
    auto looking = is_still_listed(_store, one.key, _stop);
    auto still = co_await std::move(looking);
    if (!still) {
      co_return std::move(still.error());
    }
    if (!*still) {
      one.of->objects.erase(one.key);
    } else if (one.pointer) {
      one.of->pointer.problem = "pointer " + one.key + ": " + listed_and_absent;
    } else {
      manifest_finding& found = one.of->manifests[one.key];
      found.state = manifest_state::contradicted;
      found.problem = listed_and_absent;
    }
    co_return engine::ok();
  }

  task<result<void>> read_pointer_of(document& one) {
    auto reading = read_pointer(_store, one.key, _stop);
    auto found = co_await std::move(reading);
    if (found && !*found) {
      auto looking = look_again(one);
      co_return co_await std::move(looking);
    }
    if (found) {
      one.of->pointer.there = std::move(*found);
      co_return engine::ok();
    }
    const error& failure = found.error();
    if (fails_all(failure)) {
      co_return std::move(found.error());
    }
    one.of->pointer.problem = failure.text();
    one.of->pointer.denied = failure.why == reason::access;
    co_return engine::ok();
  }

  engine::reactor& _loop;
  s3::object_store& _store;
  inventory_request _request;
  engine::stop_token _stop;
  bucket_inventory _found;
  std::vector<document> _documents;  // into _found, which grows no more
  manifest_turns _turns;
};

}  // namespace

task<result<bucket_inventory>> read_bucket(engine::reactor& loop, s3::object_store& store,
                                           inventory_request request, engine::stop_token stop) {
  BTS3_ASSERT(!request.pointer || !request.subvolume.empty());
  bucket_reader reader(loop, store, std::move(request), stop);
  auto running = reader.run();
  co_return co_await std::move(running);
}

task<result<pointer_finding>> read_pointer_before(s3::object_store& store, std::string key,
                                                  engine::stop_token stop) {
  auto reading = read_pointer(store, std::move(key), stop);
  auto pointer = co_await std::move(reading);
  pointer_finding found;
  if (pointer) {
    found.there = std::move(*pointer);
  } else if (state_of(pointer.error()) == manifest_state::damaged) {
    found.problem = pointer.error().text();
  } else {
    co_return std::move(pointer.error());
  }
  co_return found;
}

task<result<subvolume_inventory>> read_subvolume(engine::reactor& loop, s3::object_store& store,
                                                 inventory_request request,
                                                 engine::stop_token stop) {
  BTS3_ASSERT(!request.subvolume.empty());
  auto reading = read_bucket(loop, store, std::move(request), stop);
  auto all = co_await std::move(reading);
  if (!all) {
    co_return std::move(all.error());
  }
  co_return std::move(all->subvolumes.front());
}

planner::inventory take_judged_part(subvolume_inventory& one) {
  planner::inventory made;
  made.root = one.root;
  made.objects = std::move(one.objects);
  for (auto& [key, found] : one.manifests) {
    if (found.state == manifest_state::readable) {
      made.manifests.emplace(key, std::move(*found.value));
    } else {
      made.unreadable.emplace(key, std::move(found.problem));
    }
  }
  return made;
}

}  // namespace bts3::app
