#include "app/proof/chain_proof.hh"

#include "app/indexes/chain_catalogue.hh"
#include "app/indexes/index_building.hh"
#include "app/indexes/index_cache.hh"
#include "app/survey/chosen_backup.hh"

#include <algorithm>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;
using kind = no_proof::kind;

no_proof because(kind is, error why) {
  no_proof made;
  made.is = is;
  made.why = std::move(why);
  return made;
}

error without_index(const chain_link& link, const chain_link& last) {
  error why;
  why.message = "it has no index";
  why.remedy = told_index_build(link.value.subvolume, last.key) + " makes it on this host";
  return why;
}

error sealed() {
  error why;
  why.message = "it is sealed, and no identity was given";
  why.remedy = "name the file with one in --identity";
  return why;
}

class chain_prover {
 public:
  chain_prover(const services& with, s3::object_store& store, proof_request wanted,
               identity_source* identities)
      : _store(store),
        _with(with),
        _wanted(std::move(wanted)),
        _none(with, {}),
        _identities(identities) {}

  task<result<chain_proof>> run() {
    auto asking = ask();
    auto asked = co_await std::move(asking);
    if (!asked && asked.error().what_now == disposition::cancelled) {
      co_return std::move(asked.error());
    }
    if (!asked) {
      _found.unproven = because(kind::failed, std::move(asked.error()));
    }
    co_return std::move(_found);
  }

 private:
  // An error is what kept all of it from being looked at.
  task<result<void>> ask() {
    auto cache = index_cache::open(_with, _wanted.cache_dir);
    if (!cache) {
      co_return std::move(cache.error());
    }
    auto finding = find(*cache);
    auto chain = co_await std::move(finding);
    if (!chain) {
      co_return std::move(chain.error());
    }
    for (const chain_link& link : *chain) {
      _found.keys.push_back(link.key);
    }
    chain_catalogue tables(_with, _store, std::move(*cache), std::move(*chain),
                           _identities == nullptr ? _none : *_identities);
    tables.watch(std::move(_wanted.received));
    if (auto opened = tables.open(); !opened) {
      co_return std::move(opened.error());
    }
    auto proving = prove(tables);
    auto proven = co_await std::move(proving);
    _found.proven = tables.reached();
    for (const std::size_t position : tables.downloaded()) {
      _found.read.push_back(_found.keys[position]);
    }
    if (tables.known() > 0) {
      tables.used();
    }
    co_return proven;
  }

  task<result<std::vector<chain_link>>> find(const index_cache& cache) {
    wanted_backup wanted;
    wanted.subvolume = _wanted.subvolume;
    wanted.manifest_key = _wanted.key;
    wanted.trusted_signers = _wanted.trusted_signers;
    kept_manifests kept(_with, cache, _wanted.subvolume);
    manifests_known known = [&kept](const std::string& key) { return kept.find(key); };
    auto finding = find_chain(_with, _store, std::move(wanted), std::move(known));
    co_return co_await std::move(finding);
  }

  // How many links, from the beginning, are known or can be asked for; why not the next one.
  task<std::size_t> askable(chain_catalogue& tables) {
    const std::vector<chain_link>& chain = tables.chain();
    std::size_t count = tables.known();
    for (; count < chain.size(); ++count) {
      if (!chain[count].value.index) {
        _found.unproven = because(kind::no_index, without_index(chain[count], chain.back()));
        break;
      }
      if (!chain[count].value.encryption) {
        continue;
      }
      if (_identities == nullptr) {
        _found.unproven = because(kind::sealed, sealed());
        break;
      }
      auto opening = tables.open_key(count);
      auto opened = co_await std::move(opening);
      if (!opened) {
        _found.unproven = because(kind::failed, std::move(opened.error()));
        break;
      }
    }
    co_return count;
  }

  task<result<void>> prove(chain_catalogue& tables) {
    auto asking = askable(tables);
    std::size_t count = co_await std::move(asking);
    for (;;) {
      auto updating = tables.update(count, missing_index::refuse);
      auto updated = co_await std::move(updating);
      if (updated) {
        co_return engine::ok();
      }
      if (updated.error().what_now == disposition::cancelled) {
        co_return updated;
      }
      if (tables.refused()) {
        _found.refused = tables.refused()->text();
        _found.unproven.reset();
        co_return engine::ok();
      }
      const std::size_t had = tables.had();
      const bool fetching = had < count && !tables.downloaded().contains(had);
      _found.unproven =
          because(fetching ? kind_of(updated.error()) : kind::failed, std::move(updated.error()));
      if (!fetching || had <= tables.known()) {
        co_return engine::ok();
      }
      count = had;  // what is there is proven all the same
    }
  }

  static kind kind_of(const error& why) {
    return why.what_now == disposition::not_found ? kind::no_index
           : why.why == reason::integrity         ? kind::differs
                                                  : kind::failed;
  }

  s3::object_store& _store;
  const services& _with;
  proof_request _wanted;
  identity_source _none;
  identity_source* _identities;
  chain_proof _found;
};

}  // namespace

task<result<chain_proof>> prove_chain(const services& with, s3::object_store& store,
                                      proof_request wanted, identity_source* identities) {
  chain_prover prover(with, store, std::move(wanted), identities);
  auto running = prover.run();
  co_return co_await std::move(running);
}

}  // namespace bts3::app
