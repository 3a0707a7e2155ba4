#include "planner/prune.hh"

#include "planner/keys.hh"

#include <algorithm>
#include <utility>

namespace bts3::planner {

namespace {

using std::chrono::days;
using std::chrono::seconds;

// The store's clock and a host's differ by less, or signatures would have been refused.
constexpr seconds clock_tolerance = std::chrono::minutes(15);

bool is_whole(const generation& one) {
  return std::all_of(one.links.begin(), one.links.end(),
                     [](const chain_link& part) { return part.restorable; });
}

bool holds(const generation& one, const std::string& key) {
  return std::any_of(one.links.begin(), one.links.end(),
                     [&](const chain_link& part) { return part.key == key; });
}

// Those chunks that a manifest names and that are its own by their names: of one tag, too, as two
// writers of one second have different ones.
std::vector<chunk_comparison> own_chunks_of(const inventory& all, const std::string& manifest_key) {
  std::vector<chunk_comparison> own;
  for (chunk_comparison& chunk : chunks_of(all, manifest_key)) {
    const auto tag = [&all](const chunk_comparison& one) { return name_of(all.root, one.key).tag; };
    if (is_chunk_of(all.root, manifest_key, chunk.key) &&
        (own.empty() || tag(own.front()) == tag(chunk))) {
      own.push_back(std::move(chunk));
    }
  }
  return own;
}

// Where a sealed backup's keys object lies, if it is its own by its name; empty: nowhere.
std::string own_keys_object_of(const inventory& all, const std::string& manifest_key) {
  const std::optional<encryption_record>& sealed = all.manifests.at(manifest_key).encryption;
  const std::string key = sealed ? place_in(all.objects, manifest_key, sealed->keys_key) : "";
  return is_keys_object_of(all.root, manifest_key, key) ? key : "";
}

// Likewise its index.
std::string own_index_of(const inventory& all, const std::string& manifest_key) {
  const std::optional<index_record>& index = all.manifests.at(manifest_key).index;
  const std::string key = index ? place_in(all.objects, manifest_key, index->key) : "";
  return is_index_of(all.root, manifest_key, key) ? key : "";
}

// Whether each of its manifests names nothing but objects of that very backup.
bool keeps_to_itself(const inventory& all, const generation& one) {
  return std::all_of(one.links.begin(), one.links.end(), [&](const chain_link& part) {
    const manifest& backup = all.manifests.at(part.key);
    return own_chunks_of(all, part.key).size() == backup.chunks.size() &&
           (!backup.encryption || !own_keys_object_of(all, part.key).empty());
  });
}

// "of host alpha", when the backup is not known to be this one's; empty: it is.
std::string whose(const manifest& backup, const std::string& own_host_id) {
  if (backup.host_id == own_host_id) {
    return {};
  }
  return backup.host_id.empty()     ? "of an unknown host"
         : backup.host_name.empty() ? "of host " + backup.host_id
                                    : "of host " + backup.host_name;
}

// Rule 1, without the policy; empty when nothing contradicts.
std::string contradiction(const prune_observation& seen, const generations& found,
                          const prune_policy& by) {
  if (seen.current.empty()) {
    return "the pointer cannot be followed (" + seen.pointer_problem +
           "): what is current is not known";
  }
  const auto current = std::find_if(found.all.begin(), found.all.end(), [&](const generation& one) {
    return holds(one, seen.current);
  });
  if (current == found.all.end()) {
    return "the current backup " + seen.current +
           " does not resolve to a full; the next backup makes one";
  }
  const auto is_current = [&](const chain_link& one) { return one.key == seen.current; };
  if (!std::find_if(current->links.begin(), current->links.end(), is_current)->restorable) {
    return "the current backup " + seen.current +
           " is not restorable: chunks are missing or have other sizes; the next backup makes a "
           "full";
  }
  const manifest& backup = seen.all.manifests.at(seen.current);
  if (!backup.host_id.empty() && backup.host_id != seen.own_host_id) {
    return "the current backup " + seen.current + " is " + whose(backup, seen.own_host_id) +
           ", which may be writing now: run prune on that host, with a key that may delete; "
           "only if that host is gone and this one replaces it, take over with `" +
           by.adopt_command + "`";
  }
  if (!seen.verified.contains(current->full().key)) {
    return "the current full " + current->full().key +
           " has not been verified, or not found sound: run `" + by.verify_command + "`";
  }
  return {};
}

// The first date that cannot be; empty: none.
std::string wrong_date(const inventory& all, const generations& found) {
  for (const generation& one : found.all) {
    std::map<std::string, timestamp> times;
    for (const chain_link& part : one.links) {
      if (part.when.when() > all.objects.at(part.key).modified.when() + clock_tolerance) {
        return part.key + " is dated after the store got it";
      }
      if (!part.parent.empty() && part.when < times.at(part.parent)) {
        return part.key + " is dated before its parent";
      }
      times[part.key] = part.when;
    }
  }
  return {};
}

const std::string superseded = "superseded";

class judge {
 public:
  judge(const prune_observation& seen, const prune_policy& by, timestamp now)
      : _seen(seen), _by(by), _now(now), _found(generations_of(seen.all)) {}

  prune_plan run() {
    _plan.held_back = _by.keep_generations == 0
                          ? _by.keep_name + " is 0: nothing in the bucket is deleted"
                          : contradiction(_seen, _found, _by);
    _plan.lost = _found.lost;
    judge_generations();
    protect();
    remove_generations();
    judge_the_rest();
    judge_uploads();
    return std::move(_plan);
  }

 private:
  void judge_generations() {
    std::vector<const generation*> order;
    for (const generation& one : _found.all) {
      order.push_back(&one);
    }
    std::map<std::string, std::string> reasons = reasons_in(order);
    _plan.wrong_clock = wrong_date(_seen.all, _found);
    if (!_plan.wrong_clock.empty()) {
      const auto came = [this](const generation* one) {
        return _seen.all.objects.at(one->full().key).modified;
      };
      // Those that came at one time stay in their order, which is that of the vector.
      std::sort(order.begin(), order.end(), [&](const generation* a, const generation* b) {
        return came(a) == came(b) ? a < b : came(a) > came(b);
      });
      for (const auto& [full, reason] : reasons_in(order)) {
        std::string& by_date = reasons.at(full);
        by_date = by_date == superseded ? reason : by_date;
      }
    }
    for (const generation& one : _found.all) {
      const std::string& reason = reasons.at(one.full().key);
      _plan.generations.push_back({one, reason != superseded, reason});
    }
  }

  // Rules 2 and 3 for generations in this order, the newest first; by their fulls' keys.
  [[nodiscard]] std::map<std::string, std::string> reasons_in(
      const std::vector<const generation*>& order) const {
    std::map<std::string, std::string> reasons;
    bool after_current = false;
    std::size_t counted = 0;
    for (const generation* one : order) {
      std::string& reason = reasons[one->full().key];
      if (holds(*one, _seen.current)) {
        reason = "current";
        after_current = true;
        counted += is_whole(*one) && keeps_to_itself(_seen.all, *one) ? 1 : 0;
      } else if (!_plan.held_back.empty()) {
        reason = "held";
      } else if (!after_current) {
        reason = "newer";
      } else if (counted == _by.keep_generations) {
        reason = superseded;
      } else if (reason = why_not_counted(*one); reason.empty()) {
        reason = "retained";
        ++counted;
      }
    }
    return reasons;
  }

  [[nodiscard]] std::string why_not_counted(const generation& one) const {
    if (!is_whole(one)) {
      return "damaged";
    }
    if (!keeps_to_itself(_seen.all, one)) {
      return "names what is not its own";
    }
    for (const chain_link& part : one.links) {
      if (std::string other = whose(_seen.all.manifests.at(part.key), _seen.own_host_id);
          !other.empty()) {
        return other;
      }
    }
    return _seen.verified.contains(one.full().key) ? "" : "not verified";
  }

  // Every key that something which stays may name.
  void protect() {
    for (const judged_generation& judged : _plan.generations) {
      for (const chain_link& one : judged.what.links) {
        if (judged.kept) {
          protect_link(one.key);
        }
      }
    }
    for (const lost_link& one : _found.lost) {
      _protected.insert(signature_of(one.key));
      if (_seen.all.manifests.contains(one.key)) {
        protect_link(one.key);
      }
    }
  }

  void protect_link(const std::string& manifest_key) {
    _protected.insert(manifest_key);
    _protected.insert(signature_of(manifest_key));
    const manifest& backup = _seen.all.manifests.at(manifest_key);
    for (const chunk_record& chunk : backup.chunks) {
      protect_named(manifest_key, chunk.key);
    }
    if (backup.encryption) {
      protect_named(manifest_key, backup.encryption->keys_key);
    }
    if (backup.index) {
      protect_named(manifest_key, backup.index->key);
    }
  }

  // Both places, as either may be read.
  void protect_named(const std::string& manifest_key, const std::string& recorded) {
    _protected.insert(recorded);
    _protected.insert(beside_manifest(manifest_key, recorded));
  }

  void remove_generations() {
    for (auto judged = _plan.generations.rbegin(); judged != _plan.generations.rend(); ++judged) {
      if (judged->kept) {
        continue;
      }
      const std::vector<chain_link>& links = judged->what.links;
      const std::string& full = judged->what.full().key;
      for (auto one = links.rbegin(); one != links.rend(); ++one) {
        remove(one->key, full);
      }
      // Behind the manifests: one without its signature would pass for unsigned.
      for (const chain_link& one : links) {
        remove(signature_of(one.key), full);
      }
      for (const chain_link& one : links) {
        for (const chunk_comparison& chunk : own_chunks_of(_seen.all, one.key)) {
          remove(chunk.key, full);
        }
        remove(own_keys_object_of(_seen.all, one.key), full);
        remove(own_index_of(_seen.all, one.key), full);
      }
    }
  }

  void remove(const std::string& key, const std::string& generation) {
    const auto object = _seen.all.objects.find(key);
    // Never outside the subvolume's root, whatever a manifest says.
    if (object == _seen.all.objects.end() || !key.starts_with(_seen.all.root) ||
        _protected.contains(key) || !_removed.insert(key).second) {
      return;
    }
    const listed_object& what = object->second;
    _plan.removals.push_back({key, what.size, what.storage_class, what.modified, generation});
    const seconds age = _now.when() - what.modified.when();
    const auto known = _by.minimum_days.find(what.storage_class);
    const days charged =
        known == _by.minimum_days.end() ? minimum_storage(what.storage_class) : known->second;
    if (const seconds left = charged - age; left > seconds(0)) {
      early_deletion& early = _plan.early[what.storage_class];
      ++early.objects;
      early.byte_days += static_cast<double>(what.size) *
                         std::chrono::duration<double, days::period>(left).count();
    }
  }

  [[nodiscard]] bool is_old(timestamp since) const {
    return _now.when() - since.when() > _by.grace;
  }

  // Chunks, keys objects and indexes that no manifest names, signatures of none, and what is not
  // ours.
  void judge_the_rest() {
    // A manifest that cannot be read may name any of them, and one that can be read may have named
    // more of its own before somebody changed it.
    std::set<std::pair<backup_kind, timestamp>> told;
    for (const auto& [key, what] : _seen.all.objects) {
      const object_name name = name_of(_seen.all.root, key);
      if (name.is == object_name::what::manifest) {
        told.emplace(name.kind, name.when);
      }
    }
    const bool may_go = _plan.held_back.empty() && _seen.all.unreadable.empty();
    for (const auto& [key, what] : _seen.all.objects) {
      const object_name name = name_of(_seen.all.root, key);
      if (name.is == object_name::what::other) {
        if (!_protected.contains(key) && !_removed.contains(key)) {
          _plan.foreign.push_back(key);
        }
        continue;
      }
      const bool may_be_left =
          name.is == object_name::what::chunk || name.is == object_name::what::keys ||
          name.is == object_name::what::index || name.is == object_name::what::signature;
      if (!may_be_left || _protected.contains(key) || _removed.contains(key)) {
        continue;
      }
      if (may_go && is_old(what.modified) && !_seen.in_the_making.contains(name.when) &&
          !told.contains({name.kind, name.when})) {
        remove(key, {});
      } else {
        ++_plan.orphans_kept;
      }
    }
  }

  void judge_uploads() {
    for (const listed_upload& one : _seen.uploads) {
      if (_plan.held_back.empty() &&
          is_forgotten(one, _seen.all.root, _seen.in_the_making, _by.grace, _now)) {
        _plan.uploads.push_back({one.key, one.upload_id});
      }
    }
  }

  const prune_observation& _seen;
  const prune_policy& _by;
  timestamp _now;
  generations _found;
  prune_plan _plan;
  std::set<std::string> _protected;
  std::set<std::string> _removed;
};

}  // namespace

bool is_forgotten(const listed_upload& one, std::string_view root,
                  const std::set<timestamp>& in_the_making, std::chrono::seconds grace,
                  timestamp now) {
  const object_name name = name_of(root, one.key);
  return name.is == object_name::what::chunk && now.when() - one.initiated.when() > grace &&
         !in_the_making.contains(name.when);
}

std::uint64_t prune_plan::bytes() const {
  std::uint64_t sum = 0;
  for (const removal& one : removals) {
    sum += one.size;
  }
  return sum;
}

prune_plan judge_bucket(const prune_observation& seen, const prune_policy& by, timestamp now) {
  return judge(seen, by, now).run();
}

days minimum_storage(std::string_view storage_class) {
  if (storage_class == "DEEP_ARCHIVE") {
    return days(180);
  }
  if (storage_class == "GLACIER" || storage_class == "GLACIER_IR") {
    return days(90);
  }
  if (storage_class == "STANDARD_IA" || storage_class == "ONEZONE_IA") {
    return days(30);
  }
  return days(0);
}

}  // namespace bts3::planner
