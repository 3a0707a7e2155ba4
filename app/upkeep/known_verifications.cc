#include "app/upkeep/known_verifications.hh"

#include "app/host/disk_call.hh"
#include "app/records/state_store.hh"
#include "planner/keys.hh"

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

namespace bts3::app {

namespace {

using engine::log_level;
using engine::result;
using engine::task;

// Of the entries whose keys are `counted`, the newest so many; keys of one kind are in the order of
// time.
template <typename Value, typename Counted>
void keep_newest(std::map<std::string, Value>& all, Counted counted) {
  std::vector<std::pair<planner::timestamp, std::string>> keys;
  for (const auto& [key, value] : all) {
    if (counted(key)) {
      const std::size_t folder = key.rfind('/', key.rfind('/') - 1);
      keys.emplace_back(planner::name_of(key.substr(0, folder + 1), key).when, key);
    }
  }
  std::sort(keys.begin(), keys.end());
  for (std::size_t i = 0; i + remembered_gone_max < keys.size(); ++i) {
    all.erase(keys[i].second);
  }
}

}  // namespace

bool is_found(const verify_finding& finding) {
  return finding.damage && !finding.known;
}

bool found_damaged(const verified_backup& one) {
  return std::any_of(one.findings.begin(), one.findings.end(), is_found);
}

known_verifications::known_verifications(const services& with, std::string subvolume)
    : _with(with), _subvolume(std::move(subvolume)), _place(place_of(with, _subvolume)) {}

planner::timestamp known_verifications::now() const {
  return planner::timestamp(std::chrono::floor<std::chrono::seconds>(_with.clock.now()));
}

void known_verifications::load() {
  auto record = read_verify_record(_with.settings.global.state_path);
  if (!record) {
    _with.log.write(log_level::warning, "verify", "verifications_unknown",
                    {{"error", record.error().text()}, {"consequence", "it is written anew"}});
    record = verify_record();
  }
  if (const verified_subvolume* known = record->find(_subvolume, _place)) {
    _known = *known;
  }
  _known.place = _place;
  _saved = _known;
}

std::map<std::string, std::string> known_verifications::gone_from(const planner::inventory& all,
                                                                  bool own) {
  // Read anew: whatever prune has begun to delete since, it noted there before.
  const auto record = read_verify_record(_with.settings.global.state_path);
  const verified_subvolume* const now = record ? record->find(_subvolume, _place) : nullptr;
  if (now != nullptr) {
    _known.pruned = now->pruned;
    _saved.pruned = now->pruned;
  }
  std::map<std::string, std::string> gone;
  for (const std::string& key : _known.missing_from(all.objects)) {
    const verified_link& link = _known.links.at(key);
    std::string seen;
    for (const auto& [kind, found] : link.by_kind) {
      seen = "the " + std::string(to_string(kind)) + " verification of " + found.at.rfc3339();
    }
    gone[key] = seen + " found it";
  }
  if (!own) {
    return gone;  // the state is of this host's own backups
  }
  auto state = state_store(_with.settings.global.state_path, _with.clock, _with.log).peek();
  if (!state) {
    _with.log.write(log_level::warning, "verify", "state_not_read",
                    {{"error", state.error().text()}});
    return gone;
  }
  const std::string& last = state->subvolumes[_subvolume].last_manifest;
  if (last.starts_with(all.root) && !all.objects.contains(last) && !_known.pruned.contains(last)) {
    gone.try_emplace(last, "it is the last backup by the state file");
  }
  return gone;
}

void known_verifications::forget(const std::string& key) {
  _known.pruned[key] = now();
}

const verification* known_verifications::problem_beyond(const std::string& key,
                                                        verification_kind kind) const {
  const auto known = _known.links.find(key);
  if (known == _known.links.end()) {
    return nullptr;
  }
  for (const auto& [other, found] : known->second.by_kind) {
    if (other > kind && other != verification_kind::proof) {
      if (const verification* const problem = known->second.problem_of(other)) {
        return problem;
      }
    }
  }
  return nullptr;
}

const verification* known_verifications::refusal_of(const std::string& key) const {
  const auto known = _known.links.find(key);
  return known == _known.links.end() ? nullptr : known->second.problem_of(verification_kind::proof);
}

void known_verifications::remember_proof(const std::string& key, const std::string& refused) {
  if (!refused.empty()) {
    verification found;
    found.at = now();
    found.problem = refused;
    _known.links[key].by_kind[verification_kind::proof] = std::move(found);
    return;
  }
  if (const auto known = _known.links.find(key); known != _known.links.end()) {
    known->second.by_kind.erase(verification_kind::proof);
  }
}

void known_verifications::remember(const verified_backup& one, verification_kind kind, bool sound) {
  verification found;
  found.at = now();
  found.sound = sound;
  found.listed = !sound;
  for (const verify_finding& finding : one.findings) {
    if (!sound && is_found(finding)) {
      found.listed = found.listed && finding.listed;
      if (found.problem.empty()) {
        found.problem = (finding.key == one.key ? "" : finding.key + ": ") + finding.problem;
      }
    }
  }
  _known.links[one.key].by_kind[kind] = std::move(found);
}

void known_verifications::remember_listing(const std::vector<verified_backup>& backups) {
  for (const verified_backup& one : backups) {
    const auto link = _known.links.find(one.key);
    const verification* before = nullptr;
    if (link != _known.links.end()) {
      const auto quick = link->second.by_kind.find(verification_kind::quick);
      before =
          quick == link->second.by_kind.end() || quick->second.sound ? nullptr : &quick->second;
    }
    const bool more = before != nullptr && !before->listed;
    if (found_damaged(one)) {
      remember(one, verification_kind::quick, false);
      if (more) {
        _known.links[one.key].by_kind[verification_kind::quick].listed = false;
      }
    } else if (before != nullptr && !more) {
      link->second.by_kind.erase(verification_kind::quick);
    }
  }
}

void known_verifications::conclude(const planner::inventory& all, const verify_outcome& outcome,
                                   verification_kind kind, bool everything) {
  const planner::timestamp now = this->now();
  _known.at = now;
  const auto there = [&](const std::string& key) { return all.objects.contains(key); };
  std::erase_if(_known.links, [&](const auto& entry) {
    return !there(entry.first) && _known.pruned.contains(entry.first);
  });
  // What prune meant to delete long ago and is still there is missed again when it goes.
  std::erase_if(_known.pruned, [&](const auto& entry) {
    return there(entry.first) && now.when() - entry.second.when() > std::chrono::days(1);
  });
  keep_newest(_known.pruned, [](const auto&) { return true; });
  keep_newest(_known.links, [&](const std::string& key) { return !there(key); });
  if (!everything) {
    return;
  }
  if (outcome.unverified() == nullptr && !outcome.incomplete() && !outcome.backups.empty()) {
    _known.runs[kind] = now;
  }
  _known.elsewhere = outcome.pointer_problem;
  if (!outcome.lost.empty() && _known.elsewhere.empty()) {
    const planner::lost_link& first = outcome.lost.front();
    _known.elsewhere = first.key + ": " + first.problem;
  }
}

task<result<void>> known_verifications::save() {
  std::function<result<void>()> call = [this] {
    return merge_into_record(_with.settings.global.state_path, _subvolume, _saved, _known);
  };
  auto saving = disk_call(_with.loop, std::move(call));
  auto saved = co_await std::move(saving);
  if (saved) {
    _saved = _known;
  }
  co_return saved;
}

}  // namespace bts3::app
