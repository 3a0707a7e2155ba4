#include "app/upkeep/chain_proofs.hh"

#include "app/indexes/index_building.hh"
#include "app/indexes/index_cache.hh"
#include "app/proof/chain_proof.hh"

#include <algorithm>
#include <optional>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::result;
using engine::task;
using verdict = receivability::verdict;

receivability told(verdict is, std::string problem = {}, std::string remedy = {}) {
  receivability made;
  made.is = is;
  made.problem = std::move(problem);
  made.remedy = std::move(remedy);
  return made;
}

verdict verdict_of(no_proof::kind is) {
  switch (is) {
    case no_proof::kind::no_index:
      return verdict::no_index;
    case no_proof::kind::sealed:
      return verdict::sealed;
    case no_proof::kind::differs:
      return verdict::differs;
    case no_proof::kind::failed:
      return verdict::failed;
  }
  return verdict::failed;
}

std::string would_refuse(const std::string& problem) {
  return "`btrfs receive` would refuse " + problem;
}

// From its full to each backup that none of the others rests on, in the order of the backups.
std::vector<std::vector<std::string>> chains_of(const std::vector<verified_backup>& all) {
  std::map<std::string, const verified_backup*> by_key;
  std::set<std::string> parents;
  for (const verified_backup& one : all) {
    by_key.emplace(one.key, &one);
    parents.insert(one.parent);
  }
  std::vector<std::vector<std::string>> chains;
  for (const verified_backup& last : all) {
    if (parents.contains(last.key)) {
      continue;
    }
    std::vector<std::string> chain;
    for (auto at = by_key.find(last.key); at != by_key.end();
         at = by_key.find(at->second->parent)) {
      chain.push_back(at->first);
    }
    std::reverse(chain.begin(), chain.end());
    chains.push_back(std::move(chain));
  }
  return chains;
}

}  // namespace

chain_proofs::chain_proofs(const services& with, s3::object_store& store,
                           const planner::inventory& all, identity_source* identities)
    : _with(with), _store(store), _all(all), _identities(identities) {}

task<result<void>> chain_proofs::run(const verify_outcome& of, const verify_command& command,
                                     std::string trusted_signers,
                                     std::function<std::uint64_t()> received) {
  _subvolume = of.name;
  std::set<std::string> untrusted;
  for (const verified_backup& one : of.backups) {
    if (!trusted_signers.empty() && one.signature.is != signature_finding::what::trusted) {
      untrusted.insert(one.key);
    }
  }
  for (const std::vector<std::string>& chain : chains_of(of.backups)) {
    // As far as nothing is known yet.
    std::vector<std::string> asked;
    for (const std::string& key : chain) {
      const auto known = _found.find(key);
      if (known != _found.end() && known->second.is != verdict::received) {
        break;
      }
      if (untrusted.contains(key)) {
        _found.emplace(key, told(verdict::untrusted, "nobody who is trusted has signed it"));
        break;
      }
      asked.push_back(key);
    }
    if (!asked.empty() && !_found.contains(asked.back())) {
      auto proving = prove(std::move(asked), command, trusted_signers, received);
      auto proven = co_await std::move(proving);
      if (!proven) {
        co_return proven;
      }
    }
    for (const std::string& key : chain) {
      _found.try_emplace(key, told(verdict::rests, "it rests on one of which that is not known"));
    }
  }
  co_return engine::ok();
}

// Without an index and without a catalogue there is nothing to be proven, and nobody is asked.
bool chain_proofs::anything_to_ask(const std::vector<std::string>& chain,
                                   const std::string& cache_dir) const {
  if (_all.manifests.at(chain.front()).index) {
    return true;
  }
  const auto cache = index_cache::look(_with.environment, cache_dir);
  return cache && !cache->paths_of(_with, _subvolume).empty();
}

task<result<void>> chain_proofs::prove(std::vector<std::string> chain,
                                       const verify_command& command, std::string trusted_signers,
                                       std::function<std::uint64_t()> received) {
  if (!anything_to_ask(chain, command.cache_dir)) {
    _found.emplace(chain.front(),
                   told(verdict::no_index, "it has no index",
                        told_index_build(_subvolume, chain.back()) + " makes it on this host"));
    co_return engine::ok();
  }
  proof_request wanted(_subvolume, chain.back());
  wanted.cache_dir = command.cache_dir;
  wanted.trusted_signers = std::move(trusted_signers);
  wanted.received = std::move(received);
  auto proving = prove_chain(_with, _store, std::move(wanted), _identities);
  auto proven = co_await std::move(proving);
  if (!proven) {
    co_return std::move(proven.error());
  }
  _read.insert(proven->read.begin(), proven->read.end());
  for (std::size_t i = 0; i < proven->proven; ++i) {
    _found.insert_or_assign(proven->keys[i], told(verdict::received));
  }
  // Where the chain could not be read, of the first of which nothing is known.
  std::string next = proven->proven < proven->keys.size() ? proven->keys[proven->proven] : "";
  for (auto key = chain.begin(); next.empty() && key != chain.end(); ++key) {
    next = _found.contains(*key) ? "" : *key;
  }
  if (!proven->refused.empty()) {
    _found.insert_or_assign(next, told(verdict::refused, std::move(proven->refused)));
  } else if (proven->unproven) {
    error& why = proven->unproven->why;
    _found.insert_or_assign(next, told(verdict_of(proven->unproven->is), std::move(why.message),
                                       std::move(why.remedy)));
  }
  co_return engine::ok();
}

void chain_proofs::take_refusal(verify_outcome& outcome, verified_backup& one,
                                known_verifications& known) const {
  const std::string problem = would_refuse(one.receivable.problem);
  known.remember_proof(one.key, problem);
  one.findings.push_back({one.key, problem});
  _with.log.write(log_level::warning, "verify", "proof_refused",
                  {{"subvolume", outcome.name},
                   {"manifest", one.key},
                   {"problem", one.receivable.problem},
                   {"consequence",
                    "neither this backup nor one that rests on it can be restored; the one before "
                    "it can"}});
}

void chain_proofs::apply(verify_outcome& outcome, const verify_command& command,
                         known_verifications& known) const {
  for (verified_backup& one : outcome.backups) {
    if (const auto found = _found.find(one.key); found != _found.end()) {
      one.receivable = found->second;
    }
    if (one.receivable.is == verdict::refused) {
      take_refusal(outcome, one, known);
    } else if (one.receivable.is == verdict::received) {
      known.remember_proof(one.key, "");
    } else if (const verification* const before = known.refusal_of(one.key)) {
      one.findings.push_back(
          {one.key, "known since " + before->at.rfc3339() + ": " + before->problem, true, true});
    }
    // By reading all of it, --deep tells the same.
    if (one.receivable.is == verdict::differs && command.depth != verify_depth::deep) {
      one.findings.push_back({one.key, one.receivable.problem, false});
    }
    if (one.receivable.is != verdict::failed) {
      continue;
    }
    _with.log.write(log_level::warning, "verify", "not_proven",
                    {{"subvolume", outcome.name},
                     {"manifest", one.key},
                     {"error", one.receivable.problem},
                     {"consequence",
                      "whether `btrfs receive` takes this backup and those that rest on it is not "
                      "known"}});
    if (command.prove && !outcome.unproven) {
      outcome.unproven.emplace();
      outcome.unproven->message = one.key + " could not be proven: " + one.receivable.problem;
      outcome.unproven->remedy = one.receivable.remedy;
    }
  }
}

}  // namespace bts3::app
