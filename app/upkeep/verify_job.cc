#include "app/upkeep/verify_job.hh"

#include "app/config/selection.hh"
#include "app/host/disk_call.hh"
#include "app/records/metrics.hh"
#include "app/records/state_store.hh"
#include "app/store/chain_reader.hh"
#include "app/store/manifest_turns.hh"
#include "app/survey/chosen_backup.hh"
#include "app/survey/retired.hh"
#include "app/text/output.hh"
#include "app/transfer/download_link.hh"
#include "engine/assert.hh"
#include "engine/told_command.hh"
#include "planner/keys.hh"
#include "s3/verbs/archive_thaw.hh"
#include "s3/verbs/xml.hh"

#include <algorithm>
#include <cstdio>
#include <set>
#include <tuple>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

verification_kind kind_of(verify_depth depth) {
  switch (depth) {
    case verify_depth::quick:
      return verification_kind::quick;
    case verify_depth::deep:
      return verification_kind::deep;
    case verify_depth::sample:
      return verification_kind::sample;
  }
  return verification_kind::quick;
}

// Damage that this run has found itself.
bool is_found(const verify_finding& finding) {
  return finding.damage && !finding.known;
}

bool found_damaged(const verified_backup& one) {
  return std::any_of(one.findings.begin(), one.findings.end(), is_found);
}

std::string is_gone(const std::string& subvolume, const std::string& known) {
  return "it is gone, and prune did not delete it: " + known + " (when that was meant: `" +
         engine::told_command("verify --forget-missing", {{"--subvolume", subvolume}}) + "`)";
}

error nothing_there(const services& with, const std::string& subvolume) {
  error failure;
  failure.message = "there are no backups at s3://" + with.settings.bucket + "/" +
                    planner::key_layout(with.settings.prefix, subvolume).root() +
                    ": nothing was verified";
  failure.remedy = "`" + engine::told_command("backup") +
                   "` makes the first; where there should be some, check s3.bucket and s3.prefix";
  return failure;
}

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

// A manifest's chunks as the inventory counts parts, which leaves their states out.
std::uint64_t parts_in(const planner::manifest& made) {
  std::uint64_t sum = 0;
  for (const planner::chunk_record& chunk : made.chunks) {
    sum += parts_of(chunk);
  }
  return sum;
}

}  // namespace

subvolume_verifier::subvolume_verifier(const services& with, s3::object_store& store,
                                       store_abilities& abilities, verify_command command,
                                       std::string subvolume)
    : _with(with),
      _store(store),
      _abilities(abilities),
      _command(std::move(command)),
      _place(place_of(with, subvolume)) {
  _outcome.target = with.settings.target_base_dir + "/" + subvolume;
  _outcome.name = std::move(subvolume);
}

task<result<void>> subvolume_verifier::run() {
  auto record = read_verify_record(_with.settings.state_path);
  if (!record) {
    _with.log.write(log_level::warning, "verify", "verifications_unknown",
                    {{"error", record.error().text()}, {"consequence", "it is written anew"}});
    record = verify_record();
  }
  if (const verified_subvolume* known = record->find(_outcome.name, _place)) {
    _known = *known;
  }
  _known.place = _place;
  _saved = _known;
  auto looking = look();
  auto looked = co_await std::move(looking);
  if (!looked) {
    if (looked.error().what_now == disposition::cancelled) {
      co_return looked;
    }
    _outcome.failure = std::move(looked.error());
    co_return engine::ok();
  }
  if (_outcome.backups.empty() && !_outcome.differs()) {
    _outcome.failure = nothing_there(_with, _outcome.name);
    conclude();
    auto saving = save();
    co_return co_await std::move(saving);
  }
  for (verified_backup& one : _outcome.backups) {
    compare_listing(one);
  }
  result<void> verified = engine::ok();
  if (_command.depth == verify_depth::quick) {
    auto verifying = run_quick();
    verified = co_await std::move(verifying);
  } else if (_command.depth == verify_depth::deep) {
    auto verifying = run_deep();
    verified = co_await std::move(verifying);
  } else {
    auto verifying = run_sample();
    verified = co_await std::move(verifying);
  }
  judge();
  if (!verified) {
    co_return verified;
  }
  conclude();
  auto saving = save();
  co_return co_await std::move(saving);
}

// Reads what the bucket has, and chooses what of it is verified.
task<result<void>> subvolume_verifier::look() {
  const planner::key_layout keys(_with.settings.prefix, _outcome.name);
  auto reading = read_pointer(_store, keys.pointer(), _with.stop);
  auto pointer = co_await std::move(reading);
  if (!pointer && pointer.error().why != reason::protocol) {
    co_return std::move(pointer.error());
  }
  auto listing = read_inventory(_with.loop, _store, _with.settings.prefix, _outcome.name,
                                _with.stop, manifest_bound::of_host(_with.settings));
  auto all = co_await std::move(listing);
  if (!all) {
    co_return std::move(all.error());
  }
  _all = std::move(*all);
  find_gone();
  std::string current;
  if (!pointer) {
    _outcome.pointer_problem = pointer.error().text();
  } else if (!*pointer) {
    _outcome.pointer_problem = _all.manifests.empty() && _all.unreadable.empty()
                                   ? std::string()
                                   : "there is no " + keys.pointer();
  } else {
    current =
        planner::found_key(_all, keys.root() + "full/manifest", (*pointer)->value.manifest_key);
  }
  co_return choose(current);
}

// What was there by the record or by the state, and is there no longer without prune's doing.
void subvolume_verifier::find_gone() {
  // Read anew: whatever prune has begun to delete since, it noted there before.
  const auto record = read_verify_record(_with.settings.state_path);
  const verified_subvolume* const now = record ? record->find(_outcome.name, _place) : nullptr;
  if (now != nullptr) {
    _known.pruned = now->pruned;
    _saved.pruned = now->pruned;
  }
  for (const std::string& key : _known.missing_from(_all.objects)) {
    const verified_link& link = _known.links.at(key);
    std::string seen;
    for (const auto& [kind, found] : link.by_kind) {
      seen = "the " + std::string(to_string(kind)) + " verification of " + found.at.rfc3339();
    }
    _gone[key] = seen + " found it";
  }
  if (!_command.from.empty()) {
    return;  // the state is of this host's own backups
  }
  auto state = state_store(_with.settings.state_path, _with.clock, _with.log).peek();
  if (!state) {
    _with.log.write(log_level::warning, "verify", "state_not_read",
                    {{"error", state.error().text()}});
    return;
  }
  const std::string& last = state->subvolumes[_outcome.name].last_manifest;
  if (last.starts_with(_all.root) && !_all.objects.contains(last) &&
      !_known.pruned.contains(last)) {
    _gone.try_emplace(last, "it is the last backup by the state file");
  }
}

// Whoever asked for it says that their loss was meant.
void subvolume_verifier::forget_gone() {
  const planner::timestamp now(std::chrono::floor<std::chrono::seconds>(_with.clock.now()));
  for (const auto& [key, known] : _gone) {
    _known.pruned[key] = now;
    _outcome.forgotten.push_back(key);
    _with.log.write(log_level::warning, "verify", "missing_backup_forgotten",
                    {{"subvolume", _outcome.name}, {"manifest", key}, {"known", known}});
  }
  _gone.clear();
}

result<void> subvolume_verifier::choose(const std::string& current) {
  planner::generations found = planner::generations_of(_all);
  std::map<std::string, verified_backup> by_key;
  std::vector<std::string> order;
  for (auto generation = found.all.rbegin(); generation != found.all.rend(); ++generation) {
    for (const planner::chain_link& link : generation->links) {
      verified_backup one;
      one.key = link.key;
      one.parent = link.parent;
      one.when = link.when;
      one.kind = _all.manifests.at(link.key).kind;
      one.objects = _all.manifests.at(link.key).chunks.size();
      one.bytes = link.bytes;
      order.push_back(one.key);
      by_key.emplace(one.key, std::move(one));
    }
  }
  if (!current.empty() && !by_key.contains(current)) {
    _outcome.pointer_problem =
        "the pointer names " + current + ", which is missing or does not resolve to a full";
  }
  if (_command.manifest_key.empty()) {
    for (const std::string& key : order) {
      _outcome.backups.push_back(std::move(by_key.at(key)));
    }
    _outcome.lost = std::move(found.lost);
    if (_command.forget_missing) {
      forget_gone();
    }
    for (const auto& [key, known] : _gone) {
      _outcome.lost.push_back({key, is_gone(_outcome.name, known)});
    }
    return engine::ok();
  }
  // One chain; what is wrong elsewhere is not asked about.
  _outcome.pointer_problem.clear();
  for (std::string key = _command.manifest_key; !key.empty();) {
    const auto one = by_key.find(key);
    if (one == by_key.end()) {
      const auto lost =
          std::find_if(found.lost.begin(), found.lost.end(),
                       [&](const planner::lost_link& link) { return link.key == key; });
      if (lost != found.lost.end()) {
        _outcome.lost.push_back(*lost);
        return engine::ok();
      }
      if (const auto gone = _gone.find(key); gone != _gone.end()) {
        _outcome.lost.push_back({key, is_gone(_outcome.name, gone->second)});
        return engine::ok();
      }
      error failure;
      failure.message = "there is no manifest " + key + " of subvolume " + _outcome.name;
      failure.remedy = "correct --manifest-key or --subvolume";
      return failure;
    }
    key = one->second.parent;
    _outcome.backups.insert(_outcome.backups.begin(), std::move(one->second));
  }
  return engine::ok();
}

// Costs nothing beyond the listing that was read.
void subvolume_verifier::compare_listing(verified_backup& one) const {
  const planner::manifest& made = _all.manifests.at(one.key);
  for (const planner::chunk_place& chunk : planner::chunks_of(_all, one.key)) {
    if (!chunk.problem.empty()) {
      one.findings.push_back({chunk.key, chunk.problem, true, false, true});
      continue;
    }
    const std::string& stored_as = _all.objects.at(chunk.key).storage_class;
    if (!made.storage_class.empty() && stored_as != made.storage_class) {
      one.findings.push_back(
          {chunk.key, "is stored as " + stored_as + " instead of " + made.storage_class, false});
    }
  }
  const auto known = _known.links.find(one.key);
  const verification* before =
      known == _known.links.end() ? nullptr : known->second.problem_beyond(kind_of(_command.depth));
  if (before != nullptr) {
    one.findings.push_back(
        {one.key, "known to be damaged since " + before->at.rfc3339() + ": " + before->problem,
         true, true});
  }
}

task<result<void>> subvolume_verifier::run_quick() {
  for (verified_backup& one : _outcome.backups) {
    if (_abilities.no_attributes.empty()) {
      auto comparing = compare_checksums(one);
      auto compared = co_await std::move(comparing);
      if (!compared) {
        if (auto taken = take_failure(one, std::move(compared.error())); !taken) {
          co_return taken;
        }
        continue;
      }
    }
    remember(one, verification_kind::quick, !found_damaged(one));
  }
  _outcome.no_checksums = _abilities.no_attributes;
  co_return engine::ok();
}

task<result<void>> subvolume_verifier::compare_checksums(verified_backup& one) {
  // The inventory has no checksums, which are much of a manifest's memory.
  auto reading =
      read_manifest(_store, one.key, manifest_bound::of_host(_with.settings), _with.stop);
  auto made = co_await std::move(reading);
  if (!made) {
    co_return std::move(made.error());
  }
  for (planner::chunk_record& chunk : made->chunks) {
    chunk.key = planner::found_key(_all, one.key, chunk.key);
    const auto there = _all.objects.find(chunk.key);
    if (there == _all.objects.end() || there->second.size != chunk.size ||
        chunk.part_crc32.empty()) {
      continue;
    }
    auto comparing = compare_checksum(one, std::move(chunk));
    auto compared = co_await std::move(comparing);
    if (!compared || !_abilities.no_attributes.empty()) {
      co_return compared;
    }
  }
  co_return engine::ok();
}

task<result<void>> subvolume_verifier::compare_checksum(verified_backup& one,
                                                        planner::chunk_record chunk) {
  auto asking = _store.get_object_attributes(s3::object_key(chunk.key), _with.stop);
  auto found = co_await std::move(asking);
  if (!found) {
    const reason why = found.error().why;
    if (why == reason::unsupported || why == reason::access) {
      _abilities.no_attributes = why == reason::unsupported
                                     ? "this store does not answer GetObjectAttributes"
                                     : found.error().text();
      co_return engine::ok();
    }
    if (found.error().what_now == disposition::not_found) {
      one.findings.push_back({chunk.key, "missing"});
      co_return engine::ok();
    }
    co_return std::move(found.error());
  }
  if (found->size && *found->size != chunk.size) {
    one.findings.push_back({chunk.key, "has " + std::to_string(*found->size) +
                                           " bytes instead of " + std::to_string(chunk.size)});
  }
  // A copy in the bucket may have been made in other parts, or without: nothing to compare with.
  const bool same_parts = found->parts.value_or(1) == chunk.part_crc32.size();
  const bool whole = !found->composite && chunk.part_crc32.size() == 1;
  if (!found->crc32 || !same_parts || (!found->composite && !whole)) {
    co_return engine::ok();
  }
  ++_outcome.checksums;
  const std::uint32_t expected =
      whole ? chunk.part_crc32.front() : s3::crc32_of_parts(chunk.part_crc32);
  if (*found->crc32 != expected) {
    one.findings.push_back({chunk.key, "the store's checksum of it is not the recorded one"});
  }
  co_return engine::ok();
}

// Whether what was chosen from one reading of a manifest is there in another: a store may give
// something else each time.
bool same_outline(const planner::manifest& before, const planner::manifest& now) {
  return std::equal(before.chunks.begin(), before.chunks.end(), now.chunks.begin(),
                    now.chunks.end(),
                    [](const planner::chunk_record& a, const planner::chunk_record& b) {
                      return a.size == b.size && a.part_size == b.part_size;
                    });
}

// The chunks of a backup as the bucket has them; reason not_thawed when some are archived.
task<result<std::vector<located_chunk>>> subvolume_verifier::find_chunks(verified_backup& one) {
  auto reading =
      read_manifest(_store, one.key, manifest_bound::of_host(_with.settings), _with.stop);
  auto made = co_await std::move(reading);
  if (!made) {
    co_return std::move(made.error());
  }
  if (!same_outline(_all.manifests.at(one.key), *made)) {
    error failure;
    failure.why = reason::integrity;
    failure.message = "manifest " + one.key + " changed while it was verified";
    failure.remedy = "nothing but btrfs_to_s3 should write there: verify again";
    co_return failure;
  }
  chain_link link;
  link.key = one.key;
  link.value = std::move(*made);
  // Of a copy the copy: what its original has proves nothing here.
  for (planner::chunk_record& chunk : link.value.chunks) {
    chunk.key = planner::found_key(_all, one.key, chunk.key);
  }
  auto locating = locate_chunks(_with, _store, link);
  auto chunks = co_await std::move(locating);
  if (!chunks) {
    co_return std::move(chunks.error());
  }
  std::size_t archived = 0;
  std::string stored_as;
  for (const located_chunk& chunk : *chunks) {
    auto status = s3::archive_status_of(chunk.key, chunk.info, _with.clock.now());
    if (!status) {
      co_return std::move(status.error());
    }
    if (status->state != s3::archive_state::readable &&
        status->state != s3::archive_state::thawed) {
      ++archived;
      stored_as = chunk.storage_class();
    }
  }
  if (archived > 0) {
    error failure;
    failure.why = reason::not_thawed;
    failure.message = std::to_string(archived) + " of " + std::to_string(chunks->size()) +
                      (chunks->size() == 1 ? " object is" : " objects are") + " archived (" +
                      stored_as + ")";
    co_return failure;
  }
  co_return chunks;
}

// What kept a backup from being verified goes into its outcome; only a stop is left over.
result<void> subvolume_verifier::take_failure(verified_backup& one, error failure) const {
  if (failure.what_now == disposition::cancelled || _with.stop.stop_requested()) {
    return engine::cancelled_error();
  }
  if (failure.why == reason::integrity) {
    one.findings.push_back({one.key, failure.message});
  } else if (failure.why == reason::not_thawed) {
    one.archived = failure.message;
  } else {
    one.unknown = std::move(failure);
  }
  return engine::ok();
}

task<result<void>> subvolume_verifier::run_deep() {
  std::uint64_t bytes = 0;
  for (const verified_backup& one : _outcome.backups) {
    bytes += one.bytes;
  }
  progress shown(_with.loop, _with.log, _with.line, "verify",
                 "verifying " + _outcome.name + _which_of);
  shown.set_total(bytes);
  if (_received) {
    shown.watch(_received);
  }
  shown.start();
  result<void> done = engine::ok();
  for (verified_backup& one : _outcome.backups) {
    if (one.damaged()) {
      remember(one, verification_kind::deep, false);
      continue;
    }
    auto reading = read_deep(one, shown);
    auto read = co_await std::move(reading);
    done = read ? engine::ok() : take_failure(one, std::move(read.error()));
    if (!done) {
      break;
    }
    if (one.archived.empty() && !one.unknown) {
      remember(one, verification_kind::deep, !found_damaged(one));
    }
    auto saving = save();
    done = co_await std::move(saving);
    if (!done) {
      break;
    }
  }
  auto stopping = shown.stop();
  co_await std::move(stopping);
  co_return done;
}

task<result<void>> subvolume_verifier::read_deep(verified_backup& one, progress& shown) {
  auto finding = find_chunks(one);
  auto chunks = co_await std::move(finding);
  if (!chunks) {
    co_return std::move(chunks.error());
  }
  const std::uint64_t slot_bytes = slot_bytes_for(_with.settings, *chunks);
  auto slots = slots_for(_with.settings, slot_bytes);
  if (!slots) {
    co_return std::move(slots.error());
  }
  engine::buffer_pool pool(_with.loop, slot_bytes, *slots, _with.log);
  engine::hash_worker hashes(_with.loop, false);
  if (auto ready = hashes.ready(); !ready) {
    co_return std::move(ready.error());
  }
  const planner::manifest& manifest = _all.manifests.at(one.key);
  const auto before = _all.manifests.find(manifest.parent_manifest.value_or(""));
  const planner::manifest* parent = before == _all.manifests.end() ? nullptr : &before->second;
  const bool by_parts = std::all_of(chunks->begin(), chunks->end(), [](const located_chunk& chunk) {
    return chunk.record.has_parts();
  });
  for (int attempt = 1;; ++attempt) {
    download_link link(_with, _store, pool, hashes, *chunks, attempt == 1 ? &shown : nullptr);
    link.expect(expected_stream(manifest, parent));
    auto running = link.run(-1);
    auto ran = co_await std::move(running);
    if (ran) {
      _outcome.bytes_read += link.bytes();
      co_return ran;
    }
    // Parts have been fetched three times by now; what has no parts, once.
    if (by_parts || attempt == 2 || ran.error().why != reason::integrity) {
      co_return ran;
    }
  }
}

// Parts of one backup that are read together.
struct subvolume_verifier::sample_share {
  std::size_t backup = 0;
  std::vector<part_place> parts;
  bool from_start = false;  // they, and those that earlier runs read, begin with the first
  bool to_end = false;      // and these end with the last
  std::uint64_t done = 0;   // of all parts that are sampled from, those up to the last of these
  std::uint64_t all = 0;    // so many these are
};

// So many parts behind the cursor, and around.
std::vector<subvolume_verifier::sample_share> subvolume_verifier::choose_sample() const {
  struct unit {
    planner::timestamp when;
    std::string_view key;
    part_place where;
    std::size_t backup = 0;
    bool last = false;
    [[nodiscard]] auto order() const { return std::tuple(when, key, where.chunk, where.part); }
  };
  std::vector<unit> units;
  for (std::size_t index = 0; index < _outcome.backups.size(); ++index) {
    const verified_backup& one = _outcome.backups[index];
    const bool incomplete = found_damaged(one);
    const auto& chunks = _all.manifests.at(one.key).chunks;
    for (std::size_t chunk = 0; !incomplete && chunk < chunks.size(); ++chunk) {
      const std::uint32_t parts = parts_of(chunks[chunk]);
      for (std::uint32_t part = 0; part < parts; ++part) {
        units.push_back({planner::name_of(_all.root, one.key).when,
                         one.key,
                         {chunk, part},
                         index,
                         chunk + 1 == chunks.size() && part + 1 == parts});
      }
    }
  }
  std::sort(units.begin(), units.end(),
            [](const unit& a, const unit& b) { return a.order() < b.order(); });
  const sample_cursor& at = _known.cursor;
  const auto behind = std::tuple(planner::name_of(_all.root, at.manifest).when,
                                 std::string_view(at.manifest), std::size_t{at.chunk}, at.part);
  const auto first = std::find_if(units.begin(), units.end(), [&](const unit& one) {
    return at.manifest.empty() || one.order() > behind;
  });
  const auto start = static_cast<std::size_t>(first - units.begin());
  const std::size_t count = std::min<std::uint64_t>(_command.sample_parts, units.size());
  std::vector<sample_share> shares;
  for (std::size_t i = 0; i < count; ++i) {
    const unit& one = units[(start + i) % units.size()];
    const bool begins = one.where.chunk == 0 && one.where.part == 0;
    if (shares.empty() || shares.back().backup != one.backup || begins) {
      sample_share next;
      next.backup = one.backup;
      next.from_start = begins || (i == 0 && at.manifest == one.key && at.from_start);
      shares.push_back(std::move(next));
    }
    shares.back().parts.push_back(one.where);
    shares.back().to_end = one.last;
    shares.back().done = (start + i) % units.size() + 1;
    shares.back().all = units.size();
  }
  return shares;
}

task<result<void>> subvolume_verifier::run_sample() {
  for (const verified_backup& one : _outcome.backups) {
    _outcome.parts += parts_in(_all.manifests.at(one.key));
  }
  remember_listing();
  for (sample_share& share : choose_sample()) {
    verified_backup& one = _outcome.backups[share.backup];
    const part_place last = share.parts.back();
    const bool covers = share.from_start && share.to_end;
    bool from_start = share.from_start;
    const std::uint64_t done = share.done;
    const std::uint64_t all = share.all;
    const std::size_t findings = one.findings.size();
    auto reading = read_sample(std::move(share));
    auto read = co_await std::move(reading);
    if (!read) {
      if (auto taken = take_failure(one, std::move(read.error())); !taken) {
        co_return taken;
      }
    }
    if (one.unknown) {
      break;  // these parts come first next time
    }
    if (one.findings.size() > findings) {
      remember(one, verification_kind::sample, false);
    } else if (covers && one.archived.empty()) {
      remember(one, verification_kind::sample, true);
    }
    from_start = from_start && one.archived.empty() && one.findings.size() == findings;
    _known.cursor = {one.key, static_cast<std::uint32_t>(last.chunk), last.part, from_start, done,
                     all};
    auto saving = save();
    auto saved = co_await std::move(saving);
    if (!saved) {
      co_return saved;
    }
  }
  co_return engine::ok();
}

task<result<void>> subvolume_verifier::read_sample(sample_share share) {
  verified_backup& one = _outcome.backups[share.backup];
  auto finding = find_chunks(one);
  auto chunks = co_await std::move(finding);
  if (!chunks) {
    co_return std::move(chunks.error());
  }
  const std::uint64_t slot_bytes = slot_bytes_for(_with.settings, *chunks);
  auto slots = slots_for(_with.settings, slot_bytes);
  if (!slots) {
    co_return std::move(slots.error());
  }
  engine::buffer_pool pool(_with.loop, slot_bytes, *slots, _with.log);
  engine::hash_worker hashes(_with.loop, false);
  if (auto ready = hashes.ready(); !ready) {
    co_return std::move(ready.error());
  }
  part_verifier parts(_with, _store, pool, hashes, std::move(*chunks));
  const std::size_t count = share.parts.size();
  auto running = parts.run(std::move(share.parts));
  auto found = co_await std::move(running);
  _outcome.bytes_read += parts.bytes();
  if (!found) {
    co_return std::move(found.error());
  }
  _outcome.parts_read += count;
  for (verify_finding& finding_one : *found) {
    one.findings.push_back(std::move(finding_one));
  }
  co_return engine::ok();
}

void subvolume_verifier::remember(const verified_backup& one, verification_kind kind, bool sound) {
  verification found;
  found.at = planner::timestamp(std::chrono::floor<std::chrono::seconds>(_with.clock.now()));
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

// What is missing or cut is no matter of samples, which leave such backups out: it is what quick
// finds, and goes when a listing no longer shows it. What else quick has found stays: checksums are
// not compared here.
void subvolume_verifier::remember_listing() {
  for (const verified_backup& one : _outcome.backups) {
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

// What the whole of this run comes to.
void subvolume_verifier::conclude() {
  const planner::timestamp now(std::chrono::floor<std::chrono::seconds>(_with.clock.now()));
  _known.at = now;
  const auto there = [&](const std::string& key) { return _all.objects.contains(key); };
  std::erase_if(_known.links, [&](const auto& entry) {
    return !there(entry.first) && _known.pruned.contains(entry.first);
  });
  // What prune meant to delete long ago and is still there is missed again when it goes.
  std::erase_if(_known.pruned, [&](const auto& entry) {
    return there(entry.first) && now.when() - entry.second.when() > std::chrono::days(1);
  });
  keep_newest(_known.pruned, [](const auto&) { return true; });
  keep_newest(_known.links, [&](const std::string& key) { return !there(key); });
  if (!_command.manifest_key.empty()) {
    return;
  }
  if (_outcome.unverified() == nullptr && !_outcome.incomplete() && !_outcome.backups.empty()) {
    _known.runs[kind_of(_command.depth)] = now;
  }
  _known.elsewhere = _outcome.pointer_problem;
  if (!_outcome.lost.empty() && _known.elsewhere.empty()) {
    const planner::lost_link& first = _outcome.lost.front();
    _known.elsewhere = first.key + ": " + first.problem;
  }
}

// Another verify may have written meanwhile, also about this subvolume.
task<result<void>> subvolume_verifier::save() {
  std::function<result<void>()> call = [this] {
    return merge_into_record(_with.settings.state_path, _outcome.name, _saved, _known);
  };
  auto saving = disk_call(_with.loop, std::move(call));
  auto saved = co_await std::move(saving);
  if (saved) {
    _saved = _known;
  }
  co_return saved;
}

// What can be restored: a backup whose own objects, and those of all that it rests on, are sound.
void subvolume_verifier::judge() {
  std::map<std::string, bool> restorable;
  for (verified_backup& one : _outcome.backups) {
    const auto parent = restorable.find(one.parent);
    one.restorable = !one.damaged() && (parent == restorable.end() || parent->second);
    restorable[one.key] = one.restorable;
  }
}

exit_status status_of(const std::vector<verify_outcome>& all) {
  std::size_t failures = 0;
  const error* first = nullptr;
  bool differs = false;
  bool incomplete = false;
  for (const verify_outcome& one : all) {
    const error* failure = one.unverified();
    failures += failure != nullptr ? 1 : 0;
    first = first == nullptr ? failure : first;
    differs = differs || one.differs();
    incomplete = incomplete || one.incomplete();
  }
  if (differs) {
    return exit_status::verification;
  }
  if (failures > 0) {
    return failures < all.size() ? exit_status::partly : status_of(*first);
  }
  return incomplete ? exit_status::not_thawed : exit_status::done;
}

namespace {

task<result<void>> verify_all(const services& with, store_connection& connection,
                              const verify_command& command,
                              const std::vector<subvolume_config>& chosen,
                              std::vector<verify_outcome>& outcomes) {
  store_abilities abilities;
  for (const subvolume_config& one : chosen) {
    subvolume_verifier verifier(with, connection.store(), abilities, command, one.name);
    const std::string place = chosen.size() < 2 ? ""
                                                : " (" + std::to_string(&one - chosen.data() + 1) +
                                                      " of " + std::to_string(chosen.size()) + ")";
    verifier.shows(place, [&connection] { return connection.bytes_received(); });
    auto running = verifier.run();
    auto ran = co_await std::move(running);
    const verify_outcome& found = verifier.outcome();
    const error* failure = found.unverified();
    with.log.write(failure != nullptr || found.differs() ? log_level::error : log_level::info,
                   "verify",
                   found.differs()      ? "difference_found"
                   : failure != nullptr ? "subvolume_failed"
                                        : "subvolume_verified",
                   {{"subvolume", one.name},
                    {"backups", std::to_string(found.backups.size())},
                    {"error", failure != nullptr ? failure->text() : std::string()}});
    outcomes.push_back(std::move(verifier.outcome()));
    if (!ran) {
      co_return ran;
    }
  }
  co_return engine::ok();
}

// By the record, of every subvolume that is configured: what an earlier run found stays.
result<void> write_metrics_file(const services& with) {
  const config& settings = with.settings;
  auto record = read_verify_record(settings.state_path);
  if (!record) {
    return std::move(record.error());
  }
  std::map<std::string, std::optional<verification_summary>> all;
  for (const subvolume_config& one : settings.subvolumes) {
    const verified_subvolume* known = record->find(one.name, place_of(with, one.name));
    all[one.name] = known == nullptr ? std::nullopt : std::optional(summary_of(*known));
  }
  return write_metrics(verify_metrics_path(settings.textfile), verify_metrics_of(all));
}

}  // namespace

task<result<exit_status>> run_verify(const services& with, verify_command command) {
  auto chosen = select_also_retired(with.settings, command.subvolumes);
  if (!chosen) {
    co_return std::move(chosen.error());
  }
  if (!command.manifest_key.empty() && chosen->size() != 1) {
    error failure;
    failure.why = reason::configuration;
    failure.message = "--manifest-key is of one subvolume";
    failure.remedy = "give --subvolume once";
    co_return failure;
  }
  auto connection = store_connection::open(with, persistence::of_an_errand);
  if (!connection) {
    co_return std::move(connection.error());
  }
  std::vector<verify_outcome> outcomes;
  auto finding = chosen_in_bucket(with, (*connection)->store(), std::move(*chosen));
  chosen = co_await std::move(finding);
  if (!chosen) {
    auto closing = (*connection)->close();
    co_await std::move(closing);
    co_return std::move(chosen.error());
  }
  auto verifying = verify_all(with, **connection, command, *chosen, outcomes);
  auto verified = co_await std::move(verifying);
  const std::uint64_t requests = (*connection)->requests();
  auto closing = (*connection)->close();
  co_await std::move(closing);
  if (command.json) {
    print_json(verify_as_json(outcomes, command, requests));
  } else {
    print_text(verify_as_text(outcomes, command, requests));
  }
  if (!with.settings.textfile.empty() && command.from.empty()) {
    if (auto written = write_metrics_file(with); !written) {
      with.log.write(log_level::warning, "verify", "metrics_not_written",
                     {{"error", written.error().text()}});
    }
  }
  if (!verified) {
    co_return std::move(verified.error());
  }
  co_return status_of(outcomes);
}

}  // namespace bts3::app
