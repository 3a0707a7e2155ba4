// A link on its way from the bucket into a receiver: whatever the store, the line and the receiver
// do, what the receiver gets is the beginning of the stream, and all of it where the link is called
// received.
#include "app/download/download_link.hh"
#include "engine/async_scope.hh"
#include "engine/sha256.hh"
#include "engine/standstill.hh"
#include "s3/verbs/retrying_store.hh"
#include "tests/simulation/played_children.hh"
#include "tests/simulation/scratch.hh"
#include "tests/simulation/world.hh"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bts3::simulation {

namespace {

using engine::result;
using engine::task;
using std::chrono::seconds;

constexpr seconds stop_max{60};
constexpr std::chrono::hours link_max{24 * 60};
constexpr std::chrono::hours calm_link_max{24};
constexpr int requests_in_a_row = 4;
// Each of three downloads of a part is as many attempts, in up to four ranges.
constexpr int blamed_max = 3 * 5;

// What is to be restored, and how its parts are told.
struct stored_link {
  std::string text;
  std::vector<app::located_chunk> chunks;
  std::size_t slot_bytes = 0;
  std::size_t slots = 0;
  bool with_states = true;
  std::size_t spool_parts = 0;  // 0: without
  bool verify_first = false;
};

app::located_chunk put_chunk(world& in, const std::string& body, std::size_t part,
                             std::size_t number) {
  app::located_chunk chunk;
  chunk.key = s3::object_key("chunk-" + std::to_string(number) + ".bin");
  in.objects.put(chunk.key.str(), body, "STANDARD");
  chunk.record.key = chunk.key.str();
  chunk.record.size = body.size();
  chunk.record.sha256 = sha256_of(body);
  chunk.info.size = body.size();
  chunk.info.tag = in.objects.find(chunk.key.str())->tag;
  chunk.info.stored_as = s3::storage_class("STANDARD");
  if (part > 0) {
    chunk.record.part_size = part;
    engine::sha256_hasher hasher;
    for (std::size_t at = 0; at + part < body.size(); at += part) {
      hasher.update(std::as_bytes(std::span(body)).subspan(at, part));
      chunk.record.part_states.push_back(hasher.state()->words);
    }
  }
  return chunk;
}

stored_link draw_link(world& in) {
  stored_link made;
  const std::size_t part = in.settings.s3.part_size_bytes;
  made.text = stream_of(200 + in.random.below(8) * part + in.random.below(part), in.random.next());
  made.with_states = in.random.chance(75);
  made.slot_bytes = part;
  made.slots = in.settings.s3.concurrency + 1;
  made.verify_first = !made.with_states && in.random.chance(30);
  made.spool_parts = !made.with_states && in.random.chance(40) ? in.random.between(1, 10) : 0;
  const auto each = static_cast<std::size_t>(in.settings.s3.chunk_size_bytes);
  for (std::size_t at = 0; at < made.text.size(); at += each) {
    made.chunks.push_back(
        put_chunk(in, made.text.substr(at, each), made.with_states ? part : 0, made.chunks.size()));
  }
  return made;
}

struct restoring {
  restoring(world& given, bool disturbed)
      : in(given),
        is_disturbed(disturbed),
        retrying(*given.loop, given.store, given.log, given.retries()),
        with(given.services_with(stop.token())) {}
  ~restoring() { *under_way = false; }
  restoring(const restoring&) = delete;
  restoring& operator=(const restoring&) = delete;

  world& in;
  bool is_disturbed;
  engine::stop_source stop;
  engine::stop_source over;
  s3::retrying_store retrying;
  app::services with;
  std::unique_ptr<engine::spool> disk;
  std::shared_ptr<bool> under_way = std::make_shared<bool>(true);
};

task<void> note_standstill(restoring& of) {
  auto looking = engine::until_it_stands_still(*of.in.loop, {}, of.over.token());
  const bool stands = co_await std::move(looking);
  of.in.told.require(!stands, "it stands still");
}

child_conduct draw_receiver(restoring& of, const stored_link& link) {
  world& in = of.in;
  child_conduct how;
  how.piece_max = in.random.any_size(std::size_t{256} * 1024);
  how.piece_max = std::max<std::size_t>(how.piece_max, link.text.size() / 200 + 1);
  how.pause_max = in.random.any_time(seconds(1));
  if (of.is_disturbed) {
    how.long_pause_per_mille = in.random.chance(80) ? 0 : 5;
    if (in.random.chance(in.trouble / 4)) {
      how.bytes_max = in.random.below(link.text.size() + 1);
      how.dies = in.random.chance(60);
    }
  }
  return how;
}

void draw_end(restoring& of) {
  world& in = of.in;
  const auto when = in.random.any_time(std::chrono::minutes(in.random.chance(50) ? 1 : 60));
  if (in.random.chance(30)) {
    in.in_program_after(when, [&of, &in, going = of.under_way] {
      if (*going) {
        in.told.note("the user stops it");
        in.kernel.must_end_by(in.kernel.now() + stop_max, "it was stopped, and does not end");
        of.stop.request_stop();
      }
    });
  } else if (in.random.chance(in.trouble / 4)) {
    in.kernel.after(when, [&in, going = of.under_way] {
      if (*going) {
        in.told.note("the store is gone for good");
        in.store.be_gone(true);
        in.kernel.must_end_by(in.kernel.now() + requests_in_a_row * in.patience(),
                              "it tries for ever");
      }
    });
  }
}

// Ends the receiver as a restore does, whose user stops it.
struct terminate_receiver {
  played_receiver* receiver;
  void operator()() const { receiver->terminate(); }
};

struct restored {
  result<void> outcome = engine::ok();
  bool receiver_well = false;
  std::string bytes;
};

task<void> restore(restoring& of, const stored_link& link, restored& into) {
  world& in = of.in;
  engine::async_scope beside(*in.loop);
  beside.spawn(note_standstill(of));
  {
    engine::buffer_pool pool(*in.loop, link.slot_bytes, link.slots, in.log);
    engine::hash_worker hashes(*in.loop);
    std::optional<app::download_link> download;
    download.emplace(of.with, of.retrying, pool, hashes, link.chunks, nullptr, nullptr,
                     of.disk.get());
    if (link.verify_first) {
      auto verifying = download->verify_first();
      into.outcome = co_await std::move(verifying);
    }
    const std::size_t pipe = in.kernel.make_pipe(in.random.chance(50) ? 4096 : 65536);
    auto receiver = std::make_shared<played_receiver>(in.kernel, in.told, in.random, *in.loop, pipe,
                                                      draw_receiver(of, link));
    receiver->start();
    const engine::stop_callback<terminate_receiver> on_stop(of.stop.token(),
                                                            terminate_receiver{receiver.get()});
    if (into.outcome) {
      auto running = download->run(played_kernel::write_end(pipe));
      into.outcome = co_await std::move(running);
    }
    if (!into.outcome) {
      receiver->terminate();
    }
    in.kernel.close_write_end(pipe);
    auto waiting = receiver->wait();
    const auto ended = co_await std::move(waiting);
    into.receiver_well = ended.has_value();
    into.bytes = receiver->received();
    download.reset();
    in.told.require(pool.free_slots() == pool.slots(), "a slot is not given back");
  }
  of.over.request_stop();
  auto joining = beside.join();
  co_await std::move(joining);
}

void make_spool(restoring& of, const stored_link& link) {
  if (link.spool_parts == 0) {
    return;
  }
  engine::spool_options options;
  options.directory = scratch_directory();
  options.budget_bytes = link.spool_parts * link.slot_bytes;
  options.part_bytes = link.slot_bytes;
  auto made = engine::spool::create(*of.in.loop, std::move(options), of.in.log);
  of.in.told.require(made.has_value(), "there is no spool");
  of.disk = std::move(*made);
}

// Whether it was received whole.
bool one_restore(world& in, const stored_link& link, bool disturbed) {
  in.begin_run(disturbed, disturbed ? link_max : calm_link_max);
  restoring one(in, disturbed);
  make_spool(one, link);
  if (disturbed) {
    draw_end(one);
  }
  restored ended;
  in.loop->run(restore(one, link, ended));
  const chronicle& told = in.told;
  // Chunks that are verified while they stream may show damage, but never all of it, nor the end.
  const bool right = link.text.starts_with(ended.bytes);
  const bool streams = !link.with_states && !link.verify_first;
  told.require(right || (streams && !ended.outcome && ended.bytes.size() < link.text.size()),
               "the receiver got other bytes than the stream has, or in another order");
  // A receiver that ends early and well is no failure of the pipe; what it has not got, btrfs
  // receive's END tells.
  const bool all = ended.bytes.size() == link.text.size();
  told.require(!ended.outcome || all || !ended.receiver_well || disturbed,
               "it was called received, and bytes are missing");
  told.require(in.store.blamed_max() <= blamed_max, "a request that is refused is made for ever");
  told.require(!one.disk || one.disk->free_parts() == one.disk->parts(),
               "a place in the spool is not given back");
  in.require_rest("after a restore");
  return ended.outcome && ended.receiver_well && all;
}

}  // namespace

void play_download(world& in) {
  in.draw_settings();
  in.draw_troubles();
  const stored_link link = draw_link(in);
  in.told.plan = "a restore of " + std::to_string(link.text.size()) + " bytes in " +
                 std::to_string(link.chunks.size()) + " chunks, parts of " +
                 std::to_string(link.slot_bytes) + (link.with_states ? "" : ", without states") +
                 (link.verify_first ? ", verified first" : "") +
                 (link.spool_parts > 0 ? ", over the spool" : "") + ", trouble " +
                 std::to_string(in.trouble) + " %";
  const auto disturbed = static_cast<int>(in.random.below(3));
  for (int count = 0; count < disturbed; ++count) {
    (void)one_restore(in, link, true);
  }
  in.calm_down();
  in.told.require(one_restore(in, link, false), "a restore that nothing disturbs does not succeed");
}

}  // namespace bts3::simulation
