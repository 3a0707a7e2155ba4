#include "app/survey/catalogue.hh"

#include "app/store/bucket_listing.hh"
#include "planner/keys.hh"
#include "planner/plan.hh"

#include <algorithm>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;

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

// A subvolume's inventory on its way to a catalogued_subvolume.
struct assembly {
  explicit assembly(subvolume_inventory& one) : from(one) { made.name = one.name; }
  subvolume_inventory& from;
  catalogued_subvolume made;
  std::map<std::string, catalogued_backup> backups;  // by key
  std::set<std::string> used;                        // of chunks and keys objects, where they lie
};

void note_keys_object(const std::string& manifest_key, const std::string& recorded, assembly& into,
                      catalogued_backup& made) {
  std::string key = planner::place_in(into.from.objects, manifest_key, recorded);
  const auto listed = into.from.objects.find(key);
  made.keys_object_bytes = listed == into.from.objects.end() ? 0 : listed->second.size;
  if (made.keys_object_bytes == 0 && made.problem.empty()) {
    made.problem = "keys object " + key + " is missing from the bucket";
  }
  into.used.insert(std::move(key));
}

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
    const auto compared = planner::compare_chunk(into.from.objects, key, chunk);
    if (made.problem.empty()) {
      made.problem = compared.sentence();
    }
    if (compared.state == planner::chunk_state::missing) {
      ++missing;
      continue;
    }
    into.used.insert(compared.key);
    count(made.classes, compared.storage_class, compared.found_bytes);
    made.archived = made.archived || compared.state == planner::chunk_state::archived;
  }
  if (missing > 1) {
    made.problem += ", and so are " + std::to_string(missing - 1) + " more";
  }
  if (made.sealed = value.encryption; made.sealed) {
    note_keys_object(key, made.sealed->keys_key, into, made);
  }
  if (value.index) {
    // Nobody needs it to restore: where it is missing, verify says so.
    into.used.insert(planner::place_in(into.from.objects, key, value.index->key));
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
        const bool there = _all.from.objects.contains(backup.parent);
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
    return planner::place_in(_all.from.objects, backup.key, backup.parent);
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

// Those that can be understood become backups; another subvolume's, too, with that as its problem.
void take_manifests(assembly& all) {
  for (const auto& [key, found] : all.from.manifests) {
    if (found.value) {
      catalogued_backup made = backup_of(key, *found.value, all);
      made.signature = found.signature;
      all.backups.emplace(key, std::move(made));
    }
    all.made.denied =
        all.made.denied || (found.failure && found.failure->why == engine::reason::access);
  }
}

void take_pointer(assembly& all) {
  catalogued_subvolume& made = all.made;
  const pointer_finding& found = all.from.pointer;
  made.denied = made.denied || found.denied;
  made.pointer_problem = found.problem;
  if (!found.there) {
    return;
  }
  // {root}/current.json stands for any manifest's place below the root.
  const planner::object_listing& objects = all.from.objects;
  const std::string key =
      planner::place_in(objects, all.from.root + "full/manifest", found.there->value.manifest_key);
  if (const auto named = all.backups.find(key); named != all.backups.end()) {
    named->second.current = true;
    made.current = key;
  } else {
    made.pointer_problem =
        "it names " + key +
        (objects.contains(key) ? ", which cannot be read" : ", which is missing");
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

// Whether a manifest is there, and nobody knows what it says.
bool is_unusable(const assembly& all, const std::string& manifest_key) {
  const auto found = all.from.manifests.find(manifest_key);
  return found != all.from.manifests.end() && !found->second.value;
}

// What no backup needs.
void find_strays(assembly& all) {
  const std::string& root = all.from.root;
  for (const auto& [key, object] : all.from.objects) {
    count(all.made.classes, object.storage_class, object.size);
    const planner::object_name name = planner::name_of(root, key);
    switch (name.is) {
      case planner::object_name::what::pointer:
        break;
      case planner::object_name::what::manifest:
        if (is_unusable(all, key)) {
          all.made.strays.push_back(stray(key, object, "manifest that cannot be used"));
          all.made.strays.back().detail = all.from.manifests.at(key).problem;
        }
        break;
      case planner::object_name::what::signature:
        if (!all.from.objects.contains(key.substr(0, key.rfind('.')))) {
          all.made.strays.push_back(stray(key, object, "signature of no manifest"));
        }
        break;
      case planner::object_name::what::chunk:
        if (!all.used.contains(key)) {
          const std::string manifest = root + std::string(planner::to_string(name.kind)) +
                                       "/manifest-" + name.when.compact() + ".json";
          all.made.strays.push_back(
              stray(key, object,
                    is_unusable(all, manifest)
                        ? "chunk of a manifest that cannot be used"
                        : "chunk of no backup: of one in the making, or left over"));
        }
        break;
      case planner::object_name::what::keys:
        if (!all.used.contains(key)) {
          all.made.strays.push_back(
              stray(key, object, "keys of no backup: of one in the making, or left over"));
        }
        break;
      case planner::object_name::what::index:
        if (!all.used.contains(key)) {
          all.made.strays.push_back(
              stray(key, object, "index of no backup: of one in the making, or left over"));
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

}  // namespace

catalogue catalogue_of(bucket_inventory all, std::vector<stray_object> beside) {
  catalogue made;
  made.strays = std::move(beside);
  for (const auto& [key, object] : all.beside) {
    made.strays.push_back(stray(key, object, "nothing of this program's"));
  }
  for (subvolume_inventory& one : all.subvolumes) {
    if (one.objects.empty()) {
      continue;
    }
    assembly parts(one);
    take_manifests(parts);
    find_strays(parts);
    chain_resolver(parts).resolve_all();
    take_pointer(parts);
    group(parts);
    made.subvolumes.push_back(std::move(parts.made));
  }
  return made;
}

task<result<catalogue>> read_catalogue(engine::reactor& loop, s3::object_store& store,
                                       catalogue_request request, engine::stop_token stop) {
  std::vector<stray_object> strays;
  std::string root = planner::key_layout(request.prefix, "").root();
  const std::string prefix_root = root.substr(0, root.size() - std::string_view("subvol//").size());
  if (request.subvolume.empty() && !prefix_root.empty()) {
    auto looking = strays_beside(store, prefix_root, stop);
    auto beside = co_await std::move(looking);
    if (!beside) {
      co_return std::move(beside.error());
    }
    strays = std::move(*beside);
  }
  inventory_request wanted(std::move(request.prefix), std::move(request.subvolume), request.bound,
                           doubt::is_told);
  wanted.signers = std::move(request.signers);
  auto reading = read_bucket(loop, store, std::move(wanted), stop);
  auto all = co_await std::move(reading);
  if (!all) {
    co_return std::move(all.error());
  }
  co_return catalogue_of(std::move(*all), std::move(strays));
}

}  // namespace bts3::app
