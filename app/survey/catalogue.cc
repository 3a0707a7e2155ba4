#include "app/survey/catalogue.hh"

#include "app/store/bucket_listing.hh"
#include "app/store/chain_reader.hh"
#include "app/store/manifest_turns.hh"
#include "engine/assert.hh"
#include "engine/async_scope.hh"
#include "planner/keys.hh"
#include "planner/plan.hh"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// What a manifest may have when it is read, whatever was listed.
constexpr std::uint64_t unlisted_bytes = 1024 * 1024;

void count(class_totals& into, const std::string& storage_class, std::uint64_t bytes) {
  class_total& total = into[storage_class];
  ++total.objects;
  total.bytes += bytes;
}

stray_object stray(const std::string& key, const planner::listed_object& object, std::string what) {
  stray_object made;
  made.key = key;
  made.bytes = object.size;
  made.stored_as = object.storage_class;
  made.what = std::move(what);
  return made;
}

// A subvolume's objects on their way to a catalogued_subvolume.
struct assembly {
  catalogued_subvolume made;
  planner::object_listing objects;
  std::vector<std::string> manifests;  // keys
  bool has_pointer = false;
  std::map<std::string, catalogued_backup> backups;           // by key
  std::map<std::string, std::vector<std::string>> chunks_of;  // keys where they lie, by manifest
};

// One manifest with its chunks compared to the listing.
catalogued_backup backup_of(const std::string& key, const planner::manifest& value,
                            assembly& into) {
  catalogued_backup made;
  made.key = key;
  made.kind = value.kind;
  made.when = planner::time_of(value, key);
  made.bytes = value.total_bytes;
  made.chunks = value.chunks.size();
  made.parent = value.parent_manifest.value_or("");
  made.snapshot = value.snapshot.name;
  made.host = value.host_name;
  if (value.subvolume != into.made.name) {
    made.problem = "its manifest is that of subvolume " + value.subvolume;
  }
  std::size_t missing = 0;
  for (const planner::chunk_record& chunk : value.chunks) {
    const auto compared = planner::compare_chunk(into.objects, key, chunk);
    if (made.problem.empty()) {
      made.problem = compared.sentence();
    }
    if (compared.state == planner::chunk_state::missing) {
      ++missing;
      continue;
    }
    into.chunks_of[key].push_back(compared.key);
    count(made.classes, compared.storage_class, compared.found_bytes);
    made.archived = made.archived || compared.state == planner::chunk_state::archived;
  }
  if (missing > 1) {
    made.problem += ", and so are " + std::to_string(missing - 1) + " more";
  }
  return made;
}

}  // namespace

const catalogued_backup* catalogued_subvolume::newest() const {
  const catalogued_backup* found = nullptr;
  for (const catalogued_generation& generation : generations) {
    for (const catalogued_backup& backup : generation.backups) {
      if (found == nullptr || found->when < backup.when) {
        found = &backup;
      }
    }
  }
  return found;
}

std::uint64_t catalogued_subvolume::backups() const {
  std::uint64_t count = 0;
  for (const catalogued_generation& generation : generations) {
    count += generation.backups.size();
  }
  return count;
}

namespace {

// Follows each backup's parents to its full, every link once.
class chain_resolver {
 public:
  explicit chain_resolver(assembly& all) : _all(all) {}

  void resolve_all() {
    for (auto& [key, backup] : _all.backups) {
      (void)backup;
      resolve(key);
    }
  }

 private:
  void resolve(const std::string& from) {
    std::vector<catalogued_backup*> path;  // child first
    std::set<std::string> on_path;
    std::string key = from;
    for (;;) {
      catalogued_backup& backup = _all.backups.at(key);
      if (_done.contains(key)) {
        break;
      }
      path.push_back(&backup);
      on_path.insert(key);
      if (backup.parent.empty()) {
        break;
      }
      backup.parent = place_of(backup);
      if (on_path.contains(backup.parent)) {
        blame(backup, "its chain of parents leads back to itself");
        break;
      }
      if (!_all.backups.contains(backup.parent)) {
        const bool there = _all.objects.contains(backup.parent);
        blame(backup, "its parent " + backup.parent +
                          (there ? " cannot be read" : " is missing from the bucket"));
        break;
      }
      key = backup.parent;
    }
    for (auto link = path.rbegin(); link != path.rend(); ++link) {
      settle(**link);
    }
  }

  // Where the parent lies: as recorded, or in a bucket copied under another prefix beside its
  // child.
  [[nodiscard]] std::string place_of(const catalogued_backup& backup) const {
    return planner::place_in(_all.objects, backup.key, backup.parent);
  }

  static void blame(catalogued_backup& backup, std::string problem) {
    if (backup.problem.empty()) {
      backup.problem = std::move(problem);
    }
  }

  // From the parent's standing, which is settled, to this one's.
  void settle(catalogued_backup& backup) {
    _done.insert(backup.key);
    bool archived = backup.archived;
    backup.links = 1;
    backup.chain_bytes = backup.bytes;
    backup.because = backup.problem;
    if (backup.parent.empty()) {
      backup.full = backup.key;
    } else if (const auto found = _all.backups.find(backup.parent); found != _all.backups.end() &&
                                                                    _done.contains(backup.parent) &&
                                                                    backup.parent != backup.key) {
      const catalogued_backup& parent = found->second;
      backup.links += parent.links;
      backup.chain_bytes += parent.chain_bytes;
      backup.full = parent.full;
      archived = archived || parent.state == restorable::after_thawing;
      if (backup.because.empty() && parent.state == restorable::no) {
        // The cause, not the chain of those that have it from one another.
        backup.because = parent.problem.empty() ? parent.because
                                                : "it needs the backup of " +
                                                      parent.when.rfc3339() + ": " + parent.problem;
      }
    }
    backup.state = !backup.because.empty() ? restorable::no
                   : archived              ? restorable::after_thawing
                                           : restorable::yes;
  }

  assembly& _all;
  std::set<std::string> _done;
};

// What reading one manifest or pointer gave.
struct reading {
  assembly* of = nullptr;
  std::string key;
  bool pointer = false;
  std::uint64_t bytes = 0;  // as listed, of a manifest
  std::optional<planner::pointer> pointed;
  std::string problem;           // why it cannot be used; empty: it was read
  bool denied = false;           // that is, these credentials may not
  std::optional<error> failure;  // of the store, and so of everything
};

bool of_the_store(const error& failure) {
  return failure.what_now == disposition::cancelled || failure.what_now == disposition::retry ||
         failure.why == reason::network || failure.why == reason::throttled ||
         failure.why == reason::expired_token || failure.why == reason::clock_skew;
}

void note_failure(reading& one, error failure) {
  if (of_the_store(failure)) {
    one.failure = std::move(failure);
  } else {
    one.problem = failure.text();
    one.denied = failure.why == engine::reason::access;
  }
}

task<void> read_one(s3::object_store& store, reading& one, manifest_turns& turns,
                    manifest_bound bound, engine::stop_token stop) {
  if (one.bytes > bound.bytes_max) {
    one.problem = manifest_too_large(one.bytes, bound);
    co_return;
  }
  auto acquiring = turns.acquire(one.bytes, stop);
  auto turn = co_await std::move(acquiring);
  if (!turn) {
    one.failure = std::move(turn.error());
    co_return;
  }
  if (one.pointer) {
    auto reading_pointer = read_pointer(store, one.key, stop);
    auto found = co_await std::move(reading_pointer);
    if (!found) {
      note_failure(one, std::move(found.error()));
    } else if (*found) {
      one.pointed = std::move((*found)->value);
    }
    co_return;
  }
  auto reading_manifest = read_manifest(
      store, one.key, manifest_bound::of_listing(std::max(one.bytes, unlisted_bytes)), stop);
  auto found = co_await std::move(reading_manifest);
  if (!found) {
    note_failure(one, std::move(found.error()));
    co_return;
  }
  // Only the summary is kept: a thousand manifests with their parts' states would be large.
  catalogued_backup made = backup_of(one.key, *found, *one.of);
  one.of->backups.emplace(one.key, std::move(made));
}

void take_pointer(assembly& all, const reading& one) {
  catalogued_subvolume& made = all.made;
  if (!one.problem.empty()) {
    made.pointer_problem = one.problem;
    return;
  }
  if (!one.pointed) {
    return;  // deleted since it was listed
  }
  // {root}/current.json stands for any manifest's place below the root.
  const std::string root = one.key.substr(0, one.key.rfind('/') + 1);
  const std::string key =
      planner::place_in(all.objects, root + "full/manifest", one.pointed->manifest_key);
  if (const auto named = all.backups.find(key); named != all.backups.end()) {
    named->second.current = true;
    made.current = key;
  } else {
    made.pointer_problem =
        "it names " + key +
        (all.objects.contains(key) ? ", which cannot be read" : ", which is missing");
  }
}

// Into generations by their fulls, each by time.
void group(assembly& all) {
  std::map<std::string, catalogued_generation> by_full;
  for (auto& [key, backup] : all.backups) {
    (void)key;
    catalogued_generation& generation = by_full[backup.full];
    generation.full = backup.full;
    generation.backups.push_back(std::move(backup));
  }
  for (auto& [full, generation] : by_full) {
    (void)full;
    std::sort(generation.backups.begin(), generation.backups.end(),
              [](const catalogued_backup& a, const catalogued_backup& b) {
                return std::tie(a.when, a.links, a.key) < std::tie(b.when, b.links, b.key);
              });
    all.made.generations.push_back(std::move(generation));
  }
  std::sort(all.made.generations.begin(), all.made.generations.end(),
            [](const catalogued_generation& a, const catalogued_generation& b) {
              if (a.full.empty() != b.full.empty()) {
                return b.full.empty();
              }
              return a.backups.front().when < b.backups.front().when;
            });
}

// What no backup needs.
void find_strays(assembly& all, const std::string& root,
                 const std::map<std::string, std::string>& unreadable) {
  std::set<std::string> used;
  for (const auto& [manifest, chunks] : all.chunks_of) {
    (void)manifest;
    used.insert(chunks.begin(), chunks.end());
  }
  for (const auto& [key, object] : all.objects) {
    count(all.made.classes, object.storage_class, object.size);
    const planner::object_name name = planner::name_of(root, key);
    switch (name.is) {
      case planner::object_name::what::pointer:
        break;
      case planner::object_name::what::manifest:
        if (const auto problem = unreadable.find(key); problem != unreadable.end()) {
          all.made.strays.push_back(stray(key, object, "manifest that cannot be used"));
          all.made.strays.back().detail = problem->second;
        }
        break;
      case planner::object_name::what::chunk:
        if (!used.contains(key)) {
          const std::string manifest = root + std::string(planner::to_string(name.kind)) +
                                       "/manifest-" + name.when.compact() + ".json";
          all.made.strays.push_back(
              stray(key, object,
                    unreadable.contains(manifest)
                        ? "chunk of a manifest that cannot be used"
                        : "chunk of no backup: of one in the making, or left over"));
        }
        break;
      case planner::object_name::what::other:
        if (!key.ends_with('/')) {  // consoles make such to show a folder
          all.made.strays.push_back(stray(key, object, "nothing of this program's"));
        }
        break;
    }
  }
}

// Beside "subvol/", under a prefix that is this host's own. One page in most buckets.
task<result<std::vector<stray_object>>> strays_beside(s3::object_store& store,
                                                      std::string prefix_root,
                                                      engine::stop_token stop) {
  std::vector<stray_object> strays;
  s3::list_request request(prefix_root);
  request.delimiter = "/";
  auto listing = store.list_objects(std::move(request), stop);
  auto found = co_await std::move(listing);
  if (!found) {
    co_return std::move(found.error());
  }
  for (const s3::listed_object& object : found->objects) {
    if (!object.key.str().ends_with('/')) {
      strays.push_back(stray(object.key.str(), listed_as(object), "nothing of this program's"));
    }
  }
  for (const std::string& folder : found->common_prefixes) {
    if (folder != prefix_root + "subvol/") {
      stray_object made;
      made.key = folder;
      made.folder = true;
      made.what = "not this program's";
      strays.push_back(std::move(made));
    }
  }
  co_return strays;
}

// The objects of the listing, by subvolume.
std::map<std::string, assembly> sort_by_subvolume(planner::object_listing found,
                                                  const std::string& root,
                                                  std::vector<stray_object>& strays) {
  std::map<std::string, assembly> all;
  for (auto& [key, object] : found) {
    const std::string rest = key.substr(root.size());
    const std::size_t slash = rest.find('/');
    if (slash == std::string::npos || slash == 0) {
      if (!rest.empty()) {
        strays.push_back(stray(key, object, "nothing of this program's"));
      }
      continue;
    }
    const std::string name = rest.substr(0, slash);
    assembly& one = all[name];
    one.made.name = name;
    switch (planner::name_of(root + name + "/", key).is) {
      case planner::object_name::what::pointer:
        one.has_pointer = true;
        break;
      case planner::object_name::what::manifest:
        one.manifests.push_back(key);
        break;
      case planner::object_name::what::chunk:
      case planner::object_name::what::other:
        break;
    }
    one.objects.emplace(key, std::move(object));
  }
  return all;
}

}  // namespace

task<result<catalogue>> read_catalogue(engine::reactor& loop, s3::object_store& store,
                                       catalogue_request request, engine::stop_token stop) {
  catalogue made;
  // ".../subvol/": the root of an empty name, less its own slash.
  std::string root = planner::key_layout(request.prefix, "").root();
  root.pop_back();
  const std::string prefix_root = root.substr(0, root.size() - std::string_view("subvol/").size());
  const std::string wanted = request.subvolume.empty() ? root : root + request.subvolume + "/";
  auto listing = list_below(store, wanted, stop);
  auto found = co_await std::move(listing);
  if (!found) {
    co_return std::move(found.error());
  }
  if (request.subvolume.empty() && !prefix_root.empty()) {
    auto looking = strays_beside(store, prefix_root, stop);
    auto beside = co_await std::move(looking);
    if (!beside) {
      co_return std::move(beside.error());
    }
    made.strays = std::move(*beside);
  }
  std::map<std::string, assembly> all =
      sort_by_subvolume(std::move(found->objects), root, made.strays);

  std::vector<reading> readings;
  for (auto& [name, one] : all) {
    for (const std::string& key : one.manifests) {
      reading next;
      next.of = &one;
      next.key = key;
      next.bytes = one.objects.at(key).size;
      readings.push_back(std::move(next));
    }
    if (one.has_pointer) {
      reading next;
      next.of = &one;
      next.key = root + name + "/current.json";
      next.pointer = true;
      readings.push_back(std::move(next));
    }
  }
  manifest_turns turns(loop);
  engine::async_scope scope(loop);
  for (reading& one : readings) {
    scope.spawn(read_one(store, one, turns, request.bound, stop));
  }
  auto joining = scope.join();
  co_await std::move(joining);
  std::map<std::string, std::string> unreadable;
  for (reading& one : readings) {
    if (one.failure) {
      co_return std::move(*one.failure);
    }
    one.of->made.denied = one.of->made.denied || one.denied;
    if (!one.problem.empty() && !one.pointer) {
      unreadable.emplace(one.key, one.problem);
    }
  }
  for (auto& [name, one] : all) {
    find_strays(one, root + name + "/", unreadable);
    chain_resolver(one).resolve_all();
    for (const reading& read : readings) {
      if (read.pointer && read.of == &one) {
        take_pointer(one, read);
      }
    }
    group(one);
    made.subvolumes.push_back(std::move(one.made));
  }
  co_return made;
}

}  // namespace bts3::app
