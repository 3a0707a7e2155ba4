#include "app/upkeep/subvolume_verifier.hh"

#include "app/config/setting_names.hh"
#include "app/indexes/index_check.hh"
#include "app/store/chain_reader.hh"
#include "app/store/manifest_turns.hh"
#include "app/upkeep/sample_choice.hh"
#include "engine/told_command.hh"
#include "planner/keys.hh"

#include <algorithm>
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

std::string is_gone(const std::string& subvolume, const std::string& known) {
  return "it is gone, and prune did not delete it: " + known + " (when that was meant: `" +
         engine::told_command("verify --forget-missing", {{"--subvolume", subvolume}}) + "`)";
}

error nothing_there(const services& with, const std::string& subvolume) {
  error failure;
  failure.message = "there are no backups at s3://" + with.settings.s3.bucket + "/" +
                    planner::key_layout(with.settings.s3.prefix, subvolume).root() +
                    ": nothing was verified";
  failure.remedy = "`" + engine::told_command("backup") +
                   "` makes the first; where there should be some, check " +
                   std::string(shown_key("s3.bucket")) + " and " +
                   std::string(shown_key("s3.prefix"));
  return failure;
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
                                       std::string subvolume, identity_source* identities)
    : _identities(identities),
      _with(with),
      _store(store),
      _abilities(abilities),
      _command(std::move(command)),
      _known(with, subvolume),
      _proofs(with, store, _all, identities) {
  _outcome.target = with.settings.restore.target_base_dir + "/" + subvolume;
  _outcome.name = std::move(subvolume);
}

task<result<void>> subvolume_verifier::run() {
  _known.load();
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
    auto concluding = conclude();
    co_return co_await std::move(concluding);
  }
  for (verified_backup& one : _outcome.backups) {
    compare_listing(one);
  }
  result<void> verified = engine::ok();
  _outcome.proof = _command.prove || _command.depth == verify_depth::deep;
  if (_outcome.proof) {
    auto proving = _proofs.run(_outcome, _command, _signers, _received);
    verified = co_await std::move(proving);
  }
  if (!verified) {
    co_return verified;
  }
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
  _proofs.apply(_outcome, _command, _known);
  find_replacement();
  judge();
  if (!verified) {
    co_return verified;
  }
  auto concluding = conclude();
  co_return co_await std::move(concluding);
}

// Reads what the bucket has, and chooses what of it is verified.
task<result<void>> subvolume_verifier::look() {
  const planner::key_layout keys(_with.settings.s3.prefix, _outcome.name);
  auto pointing = read_pointer_before(_store, keys.pointer(), _with.stop);
  auto pointer = co_await std::move(pointing);
  if (!pointer) {
    co_return std::move(pointer.error());
  }
  inventory_request wanted(_with.settings.s3.prefix, _outcome.name,
                           manifest_bound::of_host(_with.settings), doubt::fails);
  wanted.pointer = std::move(*pointer);
  const std::string& configured = _with.settings.restore.trusted_signers_file;
  _signers = _command.trusted_signers.value_or(configured);
  if (!_signers.empty()) {
    auto read = read_trusted_signers(_signers);
    if (!read) {
      co_return std::move(read.error());
    }
    wanted.signers = std::move(*read);
  }
  auto reading = read_subvolume(_with.loop, _store, std::move(wanted), _with.stop);
  auto found = co_await std::move(reading);
  if (!found) {
    co_return std::move(found.error());
  }
  for (const auto& [key, one] : found->manifests) {
    _signatures.emplace(key, one.signature);
    _outcome.signatures = _outcome.signatures || !_signers.empty() ||
                          one.signature.is != signature_finding::what::none;
  }
  _all = take_judged_part(*found);
  _gone = _known.gone_from(_all, _command.from.empty());
  const pointer_finding& pointed = found->pointer;
  if (!pointed.problem.empty()) {
    _outcome.pointer_problem = pointed.problem;
  } else if (!pointed.there) {
    _outcome.pointer_problem = _all.manifests.empty() && _all.unreadable.empty()
                                   ? std::string()
                                   : "there is no " + keys.pointer();
  } else {
    _current = planner::place_in(_all.objects, keys.root() + "full/manifest",
                                 pointed.there->value.manifest_key);
  }
  co_return choose(_current);
}

// Whoever asked for it says that their loss was meant.
void subvolume_verifier::forget_gone() {
  for (const auto& [key, known] : _gone) {
    _known.forget(key);
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
  one.signature = _signatures.at(one.key);
  if (!_signers.empty() && one.signature.is != signature_finding::what::trusted) {
    one.findings.push_back({one.key, one.signature.problem, false});
  }
  const planner::manifest& made = _all.manifests.at(one.key);
  for (const planner::chunk_comparison& chunk : planner::chunks_of(_all, one.key)) {
    if (!chunk.as_recorded()) {
      one.findings.push_back({chunk.key, chunk.problem(), true, false, true});
      continue;
    }
    if (std::string other = chunk.class_problem(made.storage_class); !other.empty()) {
      one.findings.push_back({chunk.key, std::move(other), false});
    }
  }
  if (made.index) {
    index_finding index = compare_index(_all, one.key, *made.index);
    if (!index.problem.empty()) {
      one.findings.push_back({std::move(index.key), std::move(index.problem), false, false, true});
    }
  }
  const verification* const before = _known.problem_beyond(one.key, kind_of(_command.depth));
  if (before != nullptr) {
    one.findings.push_back(
        {one.key, "known to be damaged since " + before->at.rfc3339() + ": " + before->problem,
         true, true});
  }
}

task<result<void>> subvolume_verifier::run_quick() {
  checksum_comparison checksums(_with, _store, _abilities, _all);
  for (verified_backup& one : _outcome.backups) {
    if (checksums.works()) {
      auto comparing = checksums.compare(one);
      auto compared = co_await std::move(comparing);
      _outcome.checksums = checksums.compared();
      if (!compared) {
        if (auto taken = take_failure(one, std::move(compared.error())); !taken) {
          co_return taken;
        }
        continue;
      }
    }
    _known.remember(one, verification_kind::quick, !found_damaged(one));
  }
  _outcome.no_checksums = _abilities.no_attributes;
  co_return engine::ok();
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
  backup_reader reader(_with, _store, _all, _identities);
  result<void> done = engine::ok();
  for (verified_backup& one : _outcome.backups) {
    if (one.damaged()) {
      _known.remember(one, verification_kind::deep, false);
      continue;
    }
    auto reading = read_deep(reader, one, shown);
    auto read = co_await std::move(reading);
    done = read ? engine::ok() : take_failure(one, std::move(read.error()));
    if (!done) {
      break;
    }
    if (one.archived.empty() && !one.unknown) {
      _known.remember(one, verification_kind::deep, !found_damaged(one));
    }
    auto saving = _known.save();
    done = co_await std::move(saving);
    if (!done) {
      break;
    }
  }
  auto stopping = shown.stop();
  co_await std::move(stopping);
  co_return done;
}

task<result<void>> subvolume_verifier::read_deep(backup_reader& reader, verified_backup& one,
                                                 progress& shown) {
  auto reading = reader.read_all(one.key, shown);
  auto read = co_await std::move(reading);
  if (!read) {
    co_return std::move(read.error());
  }
  _outcome.bytes_read += *read;
  const std::optional<planner::index_record>& recorded = _all.manifests.at(one.key).index;
  if (!recorded || !compare_index(_all, one.key, *recorded).problem.empty()) {
    co_return engine::ok();
  }
  if (_proofs.has_read(one.key)) {
    _outcome.bytes_read += recorded->size;
    co_return engine::ok();
  }
  auto reading_index = read_index(_with, _store, _all, one.key, *recorded);
  auto index = co_await std::move(reading_index);
  if (!index) {
    co_return std::move(index.error());
  }
  _outcome.bytes_read += index->bytes_read;
  if (!index->problem.empty()) {
    one.findings.push_back({std::move(index->key), std::move(index->problem), false});
  }
  co_return engine::ok();
}

task<result<void>> subvolume_verifier::run_sample() {
  for (const verified_backup& one : _outcome.backups) {
    _outcome.parts += parts_in(_all.manifests.at(one.key));
  }
  _known.remember_listing(_outcome.backups);
  std::vector<sample_share> shares =
      choose_sample(_all, _outcome.backups, _known.cursor(), _command.sample_parts);
  for (sample_share& share : shares) {
    verified_backup& one = _outcome.backups[share.backup];
    const part_place last = share.parts.back();
    const bool covers = share.from_start && share.to_end;
    bool from_start = share.from_start;
    const std::size_t findings = one.findings.size();
    auto reading = read_sample(one, std::move(share.parts));
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
      _known.remember(one, verification_kind::sample, false);
    } else if (covers && one.archived.empty()) {
      _known.remember(one, verification_kind::sample, true);
    }
    from_start = from_start && one.archived.empty() && one.findings.size() == findings;
    _known.set_cursor({one.key, static_cast<std::uint32_t>(last.chunk), last.part, from_start,
                       share.done, share.all});
    auto saving = _known.save();
    auto saved = co_await std::move(saving);
    if (!saved) {
      co_return saved;
    }
  }
  co_return engine::ok();
}

task<result<void>> subvolume_verifier::read_sample(verified_backup& one,
                                                   std::vector<part_place> parts) {
  const std::size_t count = parts.size();
  backup_reader reader(_with, _store, _all);
  auto running = reader.read_parts(one.key, std::move(parts));
  auto reading = co_await std::move(running);
  if (!reading) {
    co_return std::move(reading.error());
  }
  _outcome.bytes_read += reading->bytes;
  if (reading->failure) {
    co_return std::move(*reading->failure);
  }
  _outcome.parts_read += count;
  for (verify_finding& finding : reading->findings) {
    one.findings.push_back(std::move(finding));
  }
  co_return engine::ok();
}

// What the whole of this run comes to, into the record.
task<result<void>> subvolume_verifier::conclude() {
  _known.conclude(_all, _outcome, kind_of(_command.depth), _command.manifest_key.empty());
  auto saving = _known.save();
  co_return co_await std::move(saving);
}

// Where the chain that grows has a link that would be refused: what begins another.
void subvolume_verifier::find_replacement() {
  std::map<std::string, const verified_backup*> by_key;
  for (const verified_backup& one : _outcome.backups) {
    by_key.emplace(one.key, &one);
  }
  for (auto at = by_key.find(_current); at != by_key.end(); at = by_key.find(at->second->parent)) {
    const receivability& seen = at->second->receivable;
    if (_command.from.empty() && (seen.is == receivability::verdict::refused ||
                                  (!seen.known() && _known.refusal_of(at->first) != nullptr))) {
      _outcome.make_full = engine::told_command("backup --full", {{"--subvolume", _outcome.name}});
    }
  }
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

}  // namespace bts3::app
