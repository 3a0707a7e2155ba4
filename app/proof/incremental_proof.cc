#include "app/proof/incremental_proof.hh"

#include "app/proof/refused_streams.hh"
#include "engine/assert.hh"
#include "engine/log_sink.hh"

#include <utility>

namespace bts3::app {

using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

namespace {

struct pass_on_stop {
  engine::stop_source* to;
  void operator()() const { to->request_stop(); }
};

}  // namespace

std::unique_ptr<incremental_proof> incremental_proof::of(const services& with,
                                                         const backup_intent& intent) {
  if (!with.settings.index.prove || intent.local_only || !intent.parent_manifest ||
      intent.parent_snapshot.empty()) {
    return nullptr;
  }
  return std::make_unique<incremental_proof>(with, intent);
}

incremental_proof::incremental_proof(const services& with, const backup_intent& intent)
    : _with(with), _intent(intent), _model(with, intent.subvolume), _scope(with.loop) {}

void incremental_proof::begin() {
  _scope.spawn(prepare());
}

task<void> incremental_proof::prepare() {
  const engine::stop_callback on_stop(_with.stop, pass_on_stop{&_ending});
  auto preparing = _model.prepare(_intent.parent_snapshot, _ending.token());
  _prepared = co_await std::move(preparing);
}

task<result<incremental_proof::applied>> incremental_proof::apply(const index_making& described) {
  auto joining = _scope.join();
  co_await std::move(joining);
  if (!_prepared) {
    co_return _prepared.error();
  }
  BTS3_ASSERT(described.outcome().has_value());
  const result<made_index>& made = *described.outcome();
  if (!made) {
    co_return made.error();
  }
  auto applying = _model.apply(described.descriptor(), made->size, _with.stop);
  co_return co_await std::move(applying);
}

void incremental_proof::tell_unproven(const error& why) const {
  _with.log.write(log_level::warning, "backup", "not_proven",
                  {{"subvolume", _intent.subvolume},
                   {"error", why.text()},
                   {"consequence",
                    "whether `btrfs receive` takes this incremental is not known; it is published "
                    "all the same"}});
}

task<result<proof_outcome>> incremental_proof::judge(const index_making& described,
                                                     btrfs::subvolume_info snapshot,
                                                     btrfs::capabilities host) {
  proof_outcome outcome;
  auto applying = apply(described);
  auto refused = co_await std::move(applying);
  if (!refused) {
    if (refused.error().what_now == engine::disposition::cancelled) {
      co_return std::move(refused.error());
    }
    tell_unproven(refused.error());
    co_return outcome;
  }
  outcome.proven = !*refused;
  if (outcome.proven) {
    co_return outcome;
  }
  outcome.refused = (*refused)->text();
  auto keeping = keep_refused_stream(_with, host, _intent, snapshot, **refused,
                                     described.descriptor(), (*described.outcome())->size);
  const auto kept = co_await std::move(keeping);
  _with.log.write(log_level::warning, "backup", "proof_refused",
                  {{"subvolume", _intent.subvolume},
                   {"parent", _intent.parent_snapshot},
                   {"problem", outcome.refused},
                   {"consequence",
                    "the kernel made an incremental that `btrfs receive` would refuse; it is not "
                    "published, and a full backup is made instead"},
                   {kept ? "kept" : "not_kept", kept ? *kept : kept.error().text()}});
  co_return outcome;
}

task<void> incremental_proof::end() {
  _ending.request_stop();
  auto joining = _scope.join();
  co_await std::move(joining);
}

}  // namespace bts3::app
