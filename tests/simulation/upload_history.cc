// Streams on their way into the bucket: runs of the program over the same bucket, each with one to
// three streams beside each other, of which most are disturbed, until one is left in peace. That
// one must succeed, whatever was before.
#include "app/upload/stream_attempts.hh"
#include "app/upload/upload_stream.hh"
#include "engine/age/backup_keys.hh"
#include "engine/age/part_seals.hh"
#include "engine/async_scope.hh"
#include "engine/crc32.hh"
#include "engine/offload.hh"
#include "engine/standstill.hh"
#include "s3/verbs/retrying_store.hh"
#include "tests/simulation/played_children.hh"
#include "tests/simulation/scratch.hh"
#include "tests/simulation/world.hh"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace bts3::simulation {

namespace {

using app::journalled_chunk;
using app::journalled_part;
using app::stream_outcome;
using engine::result;
using engine::task;
using std::chrono::seconds;

constexpr int disturbed_runs_max = 4;
// A stop is heeded at once by whatever waits, but for a child that is slow to end, an answer that
// comes all the same, and what the kernel holds.
constexpr seconds stop_max{60};
// Of a stream whose store is gone; each is waited for as long as a request is, and not all of them
// fail at once.
constexpr int requests_in_a_row = 4;
constexpr std::chrono::hours run_max{24 * 60};
constexpr std::chrono::hours calm_run_max{24};
constexpr int blaming_attempts_max = 5;  // of retry_policy

// As a later run would read it; each note takes its time on a thread, as a sync does.
class slow_ledger final : public app::upload_ledger {
 public:
  explicit slow_ledger(engine::reactor& loop) : _loop(loop) {}
  std::map<std::uint32_t, journalled_chunk> chunks;
  // Of these, what was acknowledged of the upload that is open; a journal does not tell.
  std::map<std::uint32_t, std::set<std::uint32_t>> acknowledged;

  task<void> note_upload(std::uint32_t chunk, std::string id, bool checksums,
                         std::string written_as) override {
    journalled_chunk& one = chunks[chunk];
    acknowledged.erase(chunk);
    one.upload_begun = true;
    one.upload_id = std::move(id);
    one.checksums = checksums;
    one.written_as = std::move(written_as);
    return sync();
  }
  task<void> note_part(std::uint32_t chunk, std::uint32_t number,
                       app::journalled_part part) override {
    chunks[chunk].parts[number] = std::move(part);
    acknowledged[chunk].insert(number);
    return sync();
  }
  task<void> note_whole(std::uint32_t chunk, std::uint64_t size, std::string sha256,
                        std::string written_as) override {
    journalled_chunk& one = chunks[chunk];
    one.size = size;
    one.sha256 = std::move(sha256);
    one.written_as = std::move(written_as);
    return sync();
  }
  task<void> note_stored(std::uint32_t chunk, std::string etag) override {
    chunks[chunk].stored = true;
    chunks[chunk].etag = std::move(etag);
    return sync();
  }
  task<void> note_discarded(std::uint32_t chunk) override {
    chunks.erase(chunk);
    acknowledged.erase(chunk);
    return sync();
  }

 private:
  task<void> sync() {
    std::function<result<void>()> call = [] { return engine::ok(); };
    auto calling = engine::offload(_loop, std::move(call));
    (void)co_await std::move(calling);
  }
  engine::reactor& _loop;
};

// The keys of a sealed backup.
struct seals {
  explicit seals(draw& from)
      : random([&from](std::span<std::byte> into) {
          for (std::byte& one : into) {
            one = static_cast<std::byte>(from.next());
          }
          return true;
        }),
        user(std::move(*age::x25519_identity::generate(random))),
        keys(std::move(*age::make_backup_keys(std::array{user.recipient()}, random))),
        opener(std::move(*age::open_backup_keys(keys.keys_object, std::span(&user, 1), keys.id))),
        by(keys.sealer(random), random, true) {}
  age::random_source random;
  age::x25519_identity user;
  age::new_backup keys;
  age::part_opener opener;
  age::part_seals by;
};

// What becomes of one subvolume's stream over all runs.
struct backup {
  backup(world& in, std::size_t index)
      : name("v" + std::to_string(index)), keys("p/", name), ledger(*in.loop) {}
  std::string name;
  planner::key_layout keys;
  slow_ledger ledger;
  std::string text;
  std::optional<seals> sealed;
  int generation = 0;      // of the chunks' tag: grows when it begins anew
  bool completed = false;  // or begun to be, of this generation
  bool done = false;
  std::vector<planner::chunk_record> chunks;

  [[nodiscard]] std::string tag() const { return "t" + std::to_string(generation); }
  [[nodiscard]] std::string key(std::uint32_t index) const {
    return keys.chunk(planner::backup_kind::full, when, index, tag());
  }
  planner::timestamp when = planner::timestamp::parse("20260121T020003Z").value();
};

// One run of the program.
struct run {
  run(world& given, bool disturbed);
  ~run() { *under_way = false; }
  run(const run&) = delete;
  run& operator=(const run&) = delete;

  world& in;
  bool is_disturbed;
  engine::stop_source stop;
  s3::retrying_store retrying;
  app::store_tuning tuning;
  app::services with;
  std::unique_ptr<app::store_connection> connection;
  std::unique_ptr<app::upload_budget> budget;
  engine::stop_source over;  // for who looks on
  std::size_t active = 0;
  int sends_max = 0;  // of one backup
  std::shared_ptr<bool> under_way = std::make_shared<bool>(true);
};

s3::retry_policy policy_of(run& one) {
  s3::retry_policy policy = one.in.retries();
  policy.on_throttled = [&one] {
    if (one.budget) {
      one.budget->throttled();
    }
  };
  return policy;
}

run::run(world& given, bool disturbed)
    : in(given),
      is_disturbed(disturbed),
      retrying(*given.loop, given.store, given.log, policy_of(*this)),
      with(given.services_with(stop.token())) {
  tuning.store = &retrying;
  with.tuning = &tuning;
  connection = std::move(*app::store_connection::open(with));
  auto made = app::upload_budget::create(with);
  in.told.require(made.has_value(), "there is no budget for the run");
  budget = std::move(*made);
}

task<void> note_standstill(run& of) {
  auto looking = engine::until_it_stands_still(*of.in.loop, {}, of.over.token());
  const bool stands = co_await std::move(looking);
  of.in.told.require(!stands, "it stands still");
}

child_conduct draw_sender(run& of, const backup& one) {
  world& in = of.in;
  child_conduct how;
  how.piece_max = in.random.any_size(std::size_t{256} * 1024);
  how.piece_max = std::max<std::size_t>(how.piece_max, one.text.size() / 200 + 1);
  how.pause_max = in.random.any_time(seconds(1));
  if (of.is_disturbed) {
    how.long_pause_per_mille = in.random.chance(80) ? 0 : 5;
    if (in.random.chance(in.trouble / 4)) {
      how.bytes_max = in.random.below(one.text.size() + 1);
      how.dies = in.random.chance(60);
    }
  }
  return how;
}

// Sometimes the same snapshot sends other bytes than before, or what is no stream.
std::string draw_text(run& of, backup& one) {
  if (of.is_disturbed && of.in.random.chance(of.in.trouble / 10)) {
    of.in.told.note("the stream is another");
    const bool longer = of.in.random.chance(30);
    one.text =
        stream_of(longer ? one.text.size() + of.in.random.below(one.text.size()) : one.text.size(),
                  of.in.random.next());
  }
  std::string text = one.text;
  if (of.is_disturbed && of.in.random.chance(of.in.trouble / (one.sealed ? 3 : 5))) {
    of.in.told.note("the stream is broken");
    text[of.in.random.below(text.size())] ^= 1;
  }
  return text;
}

struct sending {
  std::shared_ptr<played_sender> sender;
  btrfs::stream_inspector inspector;
  bool proved = false;
};

task<result<void>> prove(sending* one) {
  one->proved = true;
  auto ending = one->sender->wait();
  auto ended = co_await std::move(ending);
  if (!ended) {
    co_return ended;
  }
  co_return one->inspector.finish();
}

struct terminate_sender {
  played_sender* sender;
  void operator()() const { sender->terminate(); }
};

task<stream_outcome> send_once(run& of, backup& one, app::upload_stream& upload) {
  world& in = of.in;
  const std::size_t pipe = in.kernel.make_pipe(in.random.chance(50) ? 4096 : 65536);
  sending under_way;
  under_way.sender = std::make_shared<played_sender>(in.kernel, in.told, in.random, *in.loop, pipe,
                                                     draw_sender(of, one), draw_text(of, one));
  under_way.sender->start();
  const app::upload_stream::proof proving = [&under_way] { return prove(&under_way); };
  const engine::stop_callback<terminate_sender> on_stop(of.stop.token(),
                                                        terminate_sender{under_way.sender.get()});
  auto running = upload.run(played_kernel::read_end(pipe), under_way.inspector, proving);
  stream_outcome ended = co_await std::move(running);
  if (!under_way.proved) {
    in.kernel.close_read_end(pipe);
    under_way.sender->terminate();
    auto waiting = under_way.sender->wait();
    (void)co_await std::move(waiting);
  }
  in.told.require(one.completed || in.objects.find(one.key(0)) == nullptr,
                  "a stream that is not proven whole is an object");
  if (ended.is_whole()) {
    one.completed = true;
    auto completing = upload.complete();
    ended = co_await std::move(completing);
  }
  co_return ended;
}

// What the bucket has of a chunk that is an object, as bytes of the stream.
std::string plain_of(world& in, backup& one, const std::string& body, std::uint32_t chunk,
                     std::uint64_t offset, std::size_t part_bytes) {
  if (!one.sealed) {
    return body;
  }
  std::string plain;
  std::uint32_t number = 1;
  for (std::size_t at = 0; at < body.size(); at += part_bytes, ++number) {
    std::vector<std::byte> part(std::min(part_bytes, body.size() - at));
    std::memcpy(part.data(), body.data() + at, part.size());
    const age::part_place place{one.sealed->keys.id, chunk, number, offset + plain.size()};
    auto opening = age::part_in_slot::begin(one.sealed->opener, part, place);
    in.told.require(opening.has_value(), "a sealed part does not open");
    for (;;) {
      const auto piece = opening->next();
      in.told.require(piece.has_value(), "a sealed part is not authentic");
      if (piece->empty()) {
        break;
      }
      plain.append(reinterpret_cast<const char*>(piece->data()), piece->size());
    }
  }
  return plain;
}

// Each digest that the manifest would have.
void check_record(world& in, const planner::chunk_record& record, const std::string& body) {
  const chronicle& told = in.told;
  told.require(record.size == body.size(), "a chunk has another size than its record");
  told.require(record.sha256 == sha256_of(body), "a chunk has another SHA-256 than its record");
  const std::size_t part = *record.part_size;
  engine::sha256_hasher hasher;
  std::size_t number = 0;
  for (std::size_t at = 0; at < body.size(); at += part, ++number) {
    const auto bytes = std::as_bytes(std::span(body)).subspan(at, std::min(part, body.size() - at));
    hasher.update(bytes);
    told.require(
        number < record.part_crc32.size() && record.part_crc32[number] == engine::crc32(0, bytes),
        "a part has another CRC32 than its record");
    if (at + part < body.size()) {
      told.require(
          number < record.part_states.size() && record.part_states[number] == hasher.state()->words,
          "a part has another state than its record");
    }
  }
  told.require(record.part_crc32.size() == number && record.part_states.size() + 1 == number,
               "a record has another number of parts than its chunk");
}

// Every byte of the stream is in the bucket, in order, and nothing else of it is.
void check_stored(world& in, backup& one, const stream_outcome& ended) {
  one.chunks = ended.as<stream_outcome::whole>()->chunks;
  std::string text;
  for (std::uint32_t index = 0; index < one.chunks.size(); ++index) {
    const auto* const object = in.objects.find(one.key(index));
    in.told.require(object != nullptr, "a chunk of a whole stream is no object");
    in.told.require(one.chunks[index].key == one.key(index), "a chunk has another key");
    check_record(in, one.chunks[index], object->body);
    text += plain_of(in, one, object->body, index, text.size(), *one.chunks[index].part_size);
  }
  in.told.require(text == one.text,
                  "the bucket has other bytes than the stream, or in another order");
  for (const auto& [id, upload] : in.objects.uploads()) {
    const bool ours = upload.key.str().find("/" + one.name + "/") != std::string::npos &&
                      upload.key.str().find(one.tag()) != std::string::npos;
    // Where aborting is denied it stays, and the log says so.
    in.told.require(!ours || in.store.denied() > 0,
                    "an upload is open after its object was completed");
  }
}

// What the ledger says is acknowledged, an upload that is still open has.
void check_ledger(world& in, const backup& one) {
  for (const auto& [index, chunk] : one.ledger.chunks) {
    const auto open = in.objects.uploads().find(chunk.upload_id);
    if (chunk.stored || open == in.objects.uploads().end()) {
      continue;
    }
    const auto known = one.ledger.acknowledged.find(index);
    for (const std::uint32_t number :
         known != one.ledger.acknowledged.end() ? known->second : std::set<std::uint32_t>()) {
      const journalled_part& part = chunk.parts.at(number);
      const auto found = open->second.parts.find(number);
      in.told.require(found != open->second.parts.end(),
                      "the ledger has a part that the store has not");
      in.told.require(found->second.body.size() == part.size,
                      "the ledger has another size of a part than the store");
    }
  }
}

// What is in the bucket of it goes, as far as the bucket lets it, and what follows has other keys.
task<void> begin_anew(run& of, backup& one, app::upload_stream& upload) {
  auto discarding = upload.discard_from(0);
  auto discarded = co_await std::move(discarding);
  for (std::uint32_t index = 0; discarded && of.in.objects.find(one.key(index)) != nullptr;
       ++index) {
    auto deleting =
        of.connection->store().delete_object(s3::object_key(one.key(index)), of.stop.token());
    discarded = co_await std::move(deleting);
  }
  one.ledger.chunks.clear();
  one.ledger.acknowledged.clear();
  ++one.generation;
  one.completed = false;
}

// Whether it is to be sent again in this run.
task<bool> prepare_again(run& of, backup& one, app::upload_stream& upload, stream_outcome ended,
                         app::after_stream next) {
  switch (next) {
    case app::after_stream::go_on:
    case app::after_stream::keep:
    case app::after_stream::keep_broken:
      co_return false;
    case app::after_stream::send_again:
      co_return true;
    case app::after_stream::explain:
    case app::after_stream::begin_anew: {
      auto beginning = begin_anew(of, one, upload);
      co_await std::move(beginning);
      co_return next == app::after_stream::begin_anew;
    }
    case app::after_stream::upload_again:
      break;
  }
  auto discarding = upload.discard_from(*ended.chunk());
  const auto discarded = co_await std::move(discarding);
  co_return discarded.has_value();
}

task<void> back_up(run& of, backup& one) {
  world& in = of.in;
  app::stream_attempts attempts;
  int sends = 0;
  for (bool again = true; again;) {
    of.sends_max = std::max(of.sends_max, ++sends);
    app::upload_stream upload(
        of.with, *of.budget, of.connection.get(),
        app::upload_stream::layout(one.keys, planner::backup_kind::full, one.when, one.tag()),
        one.ledger, one.ledger.chunks, one.sealed ? &one.sealed->by : nullptr);
    auto sending = send_once(of, one, upload);
    const stream_outcome ended = co_await std::move(sending);
    const app::after_stream next = attempts.judge(ended, of.stop.stop_requested());
    in.told.note("a stream has ended", static_cast<std::int64_t>(ended.is.index()),
                 static_cast<std::int64_t>(next));
    check_ledger(in, one);
    if (next == app::after_stream::go_on) {
      one.done = true;
      check_stored(in, one, ended);
      co_return;
    }
    auto preparing = prepare_again(of, one, upload, ended, next);
    again = co_await std::move(preparing);
    again = again && !of.stop.stop_requested();
  }
}

task<void> back_up_beside(run& of, backup& one) {
  auto backing = back_up(of, one);
  co_await std::move(backing);
  if (--of.active == 0) {
    of.over.request_stop();
  }
}

// The user's stop, or the store's end, at any moment.
void draw_end(run& of) {
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

task<void> play(run& of, std::vector<std::unique_ptr<backup>>& all) {
  engine::async_scope scope(*of.in.loop);
  scope.spawn(note_standstill(of));
  for (const auto& one : all) {
    of.active += one->done ? 0 : 1;
  }
  if (of.active == 0) {
    of.over.request_stop();
  }
  for (const auto& one : all) {
    if (!one->done) {
      scope.spawn(back_up_beside(of, *one));
    }
  }
  auto joining = scope.join();
  co_await std::move(joining);
}

// What was lent is back, and nothing was lent twice.
void check_budget(const run& of) {
  world& in = of.in;
  const chronicle& told = in.told;
  const app::upload_budget& budget = *of.budget;
  told.require(budget.slots.free_slots() == budget.slots.slots(), "a slot is not given back");
  told.require(budget.room_taken() == 0, "room for a part is not given back");
  told.require(!budget.disk || budget.disk->free_parts() == budget.disk->parts(),
               "a place in the spool is not given back");
  const std::size_t turns = budget.in_flight.available();
  const auto most = static_cast<std::size_t>(in.settings.s3.concurrency);
  told.require(turns >= 1 && turns <= most, "a turn to upload was given back twice, or is lost");
  told.require(in.store.throttled() > 0 || turns == most, "a turn to upload is not given back");
  told.require(in.store.parts_max() <= most, "more parts are sent at a time than there are turns");
  told.require(in.store.blamed_max() <= blaming_attempts_max * of.sends_max,
               "a part that the store refuses is sent again and again");
}

void one_run(world& in, std::vector<std::unique_ptr<backup>>& all, bool disturbed) {
  in.begin_run(disturbed, disturbed ? run_max : calm_run_max);
  run one(in, disturbed);
  if (disturbed) {
    draw_end(one);
  }
  in.loop->run(play(one, all));
  check_budget(one);
  in.require_rest("after a run");
}

std::unique_ptr<backup> draw_backup(world& in, std::size_t index, bool sealed) {
  auto made = std::make_unique<backup>(in, index);
  const std::size_t part = in.settings.s3.part_size_bytes;
  const std::size_t parts = in.random.chance(20) ? 0 : in.random.below(8);
  made->text = stream_of(200 + parts * part + in.random.below(part), in.random.next());
  if (sealed) {
    made->sealed.emplace(in.random);
  }
  return made;
}

void draw_spool(world& in) {
  in.settings.s3.spool_enabled = in.random.chance(40);
  in.settings.global.spool_dir = scratch_directory();
  in.settings.global.spool_size_bytes = in.random.between(1, 6) * in.settings.s3.part_size_bytes;
}

}  // namespace

void play_upload(world& in) {
  in.draw_settings();
  in.draw_troubles();
  draw_spool(in);
  in.settings.global.parallel_subvolumes = in.random.between(1, 3);
  const bool sealed = in.random.chance(30) && in.settings.s3.part_size_bytes >= 8192;
  std::vector<std::unique_ptr<backup>> all;
  std::string sizes;
  for (std::size_t index = 0; index < in.settings.global.parallel_subvolumes; ++index) {
    all.push_back(draw_backup(in, index, sealed));
    sizes += " " + std::to_string(all.back()->text.size());
  }
  in.told.plan = "an upload of" + sizes + " bytes" + (sealed ? ", sealed" : "") + ", parts of " +
                 std::to_string(in.settings.s3.part_size_bytes) + ", " +
                 std::to_string(in.settings.s3.concurrency) + " at a time" +
                 (in.settings.s3.spool_enabled ? ", over the spool" : "") + ", trouble " +
                 std::to_string(in.trouble) + " %";
  const auto disturbed = static_cast<int>(in.random.below(disturbed_runs_max + 1));
  for (int count = 0; count < disturbed; ++count) {
    one_run(in, all, true);
  }
  in.calm_down();
  one_run(in, all, false);
  for (const auto& one : all) {
    in.told.require(one->done, "a run that nothing disturbs does not succeed");
  }
}

}  // namespace bts3::simulation
