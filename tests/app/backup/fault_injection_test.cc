// A backup whose N-th request to the store fails, for every N and in every way; and the recovery
// from that, failing at every step in turn. Whatever happened: no run claims what is not so, and
// the first undisturbed run ends with one chain, restorable to what was sent, and nothing left
// over.
#include "s3/verbs/retrying_store.hh"
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/memory_store.hh"

#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::testing;
using namespace std::chrono_literals;

namespace {

enum class kind_of_failure {
  refused,            // this one request, for good: 403
  lost_and_repeated,  // done, and the answer lost; the client repeats it
  lost_and_gone,      // done, and the answer lost; no connection from then on
  gone,               // no connection from this request on
};

constexpr kind_of_failure every_kind[] = {kind_of_failure::refused,
                                          kind_of_failure::lost_and_repeated,
                                          kind_of_failure::lost_and_gone, kind_of_failure::gone};

const char* name_of(kind_of_failure kind) {
  switch (kind) {
    case kind_of_failure::refused:
      return "refused";
    case kind_of_failure::lost_and_repeated:
      return "done, answer lost, repeated";
    case kind_of_failure::lost_and_gone:
      return "done, answer lost, and the store gone";
    case kind_of_failure::gone:
      return "the store gone";
  }
  return "";
}

engine::error refusal() {
  engine::error failure;
  failure.why = engine::reason::access;
  failure.status = 403;
  failure.code = "AccessDenied";
  failure.message = "refused by the test";
  return failure;
}

// Repeats at once, for a second.
s3::retry_policy at_once() {
  s3::retry_policy policy;
  policy.retry_for = 1s;
  policy.backoff_first = policy.backoff_max = 0ms;
  policy.random = [] { return 0.0; };
  return policy;
}

// A rig over a store in memory, with or without retries between them.
struct world {
  world() {
    rig.shared_loop = std::move(*engine::reactor::create());
    objects = std::make_unique<memory_store>(*rig.shared_loop);
    retrying = std::make_unique<s3::retrying_store>(*rig.shared_loop, *objects, rig.log, at_once());
  }

  void arm(std::size_t step, kind_of_failure kind) {
    using performed = memory_store::performed;
    disarm();
    armed = kind;
    armed_step = step;
    switch (kind) {
      case kind_of_failure::refused:
        objects->fail_at(step, refusal());
        break;
      case kind_of_failure::lost_and_repeated:
        rig.tuning.store = retrying.get();
        objects->fail_at(step, memory_store::lost_connection(), performed::yes);
        break;
      case kind_of_failure::lost_and_gone:
        objects->fail_at(step, memory_store::lost_connection(), performed::yes);
        objects->fail_from(step + 1, memory_store::lost_connection());
        break;
      case kind_of_failure::gone:
        objects->fail_from(step, memory_store::lost_connection());
        break;
    }
  }
  [[nodiscard]] bool excused() const {
    return armed == kind_of_failure::refused && armed_step <= objects->steps() &&
           needed.contains(objects->calls()[armed_step - 1].verb);
  }
  void disarm() {
    objects->never_fail();
    objects->forget_calls();
    rig.tuning.store = objects.get();
  }

  [[nodiscard]] bucket_contents contents() const {
    bucket_contents there;
    for (const auto& [key, object] : objects->objects()) {
      there.objects[key] = object.body;
    }
    for (const auto& [id, upload] : objects->uploads()) {
      std::set<unsigned>& parts = there.uploads[upload.key.str() + " " + id];
      for (const auto& [number, part] : upload.parts) {
        parts.insert(number);
      }
    }
    return there;
  }

  // A run that says it is done has published; the pointer resolves whatever it says, once there is
  // one. Another stream is due for whatever snapshot is made next.
  void run_disturbed() {
    const std::string said = rig.run_text();
    if (said == "done" && !excused()) {
      BOOST_TEST(rig.published_problem(contents()) == "");
    }
    const bool pointed = contents().objects.contains("host/subvol/data/current.json");
    BOOST_TEST(pointed == !rig.chain_in(contents()).empty());
    BOOST_TEST(objects->in_flight() == 0U);
    rig.disk.stream = send_stream(5 * backup_rig::part_bytes, ++seed);
  }
  void run_undisturbed() {
    disarm();
    BOOST_TEST(rig.run_text() == "done");
    BOOST_TEST(rig.published_problem(contents()) == "");
    BOOST_TEST(rig.left.empty());
  }
  // The next incremental is due.
  void a_week_passes() {
    rig.clock.time += std::chrono::days(8);
    rig.disk.stream = send_stream(4 * backup_rig::part_bytes + 100, ++seed);
  }

  backup_rig rig;
  std::unique_ptr<memory_store> objects;
  std::unique_ptr<s3::retrying_store> retrying;
  unsigned seed = 1;
  kind_of_failure armed = kind_of_failure::gone;
  std::size_t armed_step = 0;
  std::set<std::string> needed;
};

// Steps of an undisturbed run after `prepare`.
template <typename Prepare>
std::size_t steps_of(const Prepare& prepare) {
  world one;
  prepare(one);
  one.disarm();
  one.rig.run_text();
  BOOST_REQUIRE(one.rig.published_problem(one.contents()) == "");
  return one.objects->steps();
}

// For each step of the run that `prepare` prepares, and each kind of failure. What the verbs of
// `needed` are for cannot be done where they are refused for good.
template <typename Prepare>
void fail_each_step(const Prepare& prepare, std::size_t links,
                    const std::set<std::string>& needed = {}) {
  const std::size_t steps = steps_of(prepare);
  BOOST_TEST(steps > 5U);
  const leak_check process;
  for (const kind_of_failure kind : every_kind) {
    // Retries and undoing make a disturbed run longer than an undisturbed one.
    for (std::size_t step = 1; step <= steps + 4; ++step) {
      BOOST_TEST_CONTEXT("step " << step << " of " << steps << ": " << name_of(kind)) {
        world one;
        prepare(one);
        one.arm(step, kind);
        one.needed = needed;
        one.run_disturbed();
        if (one.excused()) {
          continue;
        }
        one.run_undisturbed();
        BOOST_TEST(one.rig.chain_in(one.contents()).size() == links);
      }
    }
  }
  BOOST_TEST(process.found().empty());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(fault_injection_suite)

BOOST_AUTO_TEST_CASE(a_full_recovers_from_a_failure_at_any_request) {
  fail_each_step([](world&) {}, 1);
}

BOOST_AUTO_TEST_CASE(an_incremental_recovers_from_a_failure_at_any_request) {
  fail_each_step(
      [](world& one) {
        one.run_undisturbed();
        one.a_week_passes();
      },
      2);
}

// The run that goes on with an upload fails in its turn.
BOOST_AUTO_TEST_CASE(a_resumed_upload_recovers_from_a_failure_at_any_request) {
  fail_each_step(
      [](world& one) {
        one.arm(8, kind_of_failure::gone);  // some parts of both chunks have arrived
        one.run_disturbed();
        BOOST_TEST(one.rig.journal_text() != "none");
      },
      1);
}

// So does the run that goes on with publishing.
BOOST_AUTO_TEST_CASE(a_resumed_publication_recovers_from_a_failure_at_any_request) {
  const std::size_t steps = steps_of([](world&) {});
  for (const std::size_t before_end : {std::size_t{0}, std::size_t{1}, std::size_t{4}}) {
    fail_each_step(
        [&](world& one) {
          one.arm(steps - before_end, kind_of_failure::lost_and_gone);
          one.run_disturbed();
          BOOST_TEST(one.rig.journal_text() != "none");
        },
        1);
  }
}

// What cannot be resumed is undone, and that fails too: the stream of the snapshot has changed
// where an object exists already.
BOOST_AUTO_TEST_CASE(an_abandoned_upload_recovers_from_a_failure_at_any_request) {
  const std::size_t steps = steps_of([](world&) {});
  fail_each_step(
      [&](world& one) {
        one.arm(steps - 2, kind_of_failure::gone);
        one.run_disturbed();
        const std::vector<std::string> snapshots = one.rig.disk.snapshot_paths();
        BOOST_REQUIRE(snapshots.size() == 1U);
        one.rig.disk.change_stream_of(snapshots[0], send_stream(5 * backup_rig::part_bytes, 77));
      },
      1);
}

// Create was answered too late and repeated, so a second upload is open, whose id nobody knows.
BOOST_AUTO_TEST_CASE(an_upload_made_twice_is_ended_whenever_the_run_fails) {
  fail_each_step(
      [&](world& one) {
        one.arm(3, kind_of_failure::lost_and_repeated);  // behind the pointer and the listing
        engine::error gone = memory_store::lost_connection();
        gone.what_now = engine::disposition::fail;  // after all retries
        one.objects->fail_from(9, gone);
        one.run_disturbed();
        BOOST_TEST(one.objects->uploads().size() == 3U);
        BOOST_TEST(one.objects->count("CreateMultipartUpload") == 3U);
      },
      1, {"ListMultipartUploads", "AbortMultipartUpload"});
}

BOOST_AUTO_TEST_SUITE_END()
