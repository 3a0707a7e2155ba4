#include "app/transfer/upload_stream.hh"

#include "app/records/kept_parts.hh"
#include "app/store/manifest_turns.hh"
#include "app/store/publication.hh"
#include "engine/assert.hh"

#include <algorithm>
#include <chrono>
#include <utility>

namespace bts3::app {

using engine::disposition;
using engine::error;
using engine::result;
using engine::task;

namespace {

bool is_refused(const error& failure) {
  return failure.why == engine::reason::access || failure.why == engine::reason::unsupported;
}

}  // namespace

// A part that will not change any more, in a slot or in the spool.
struct upload_stream::pending_part {
  pending_part(engine::permit has_room, engine::sealed_part part)
      : room(std::move(has_room)),
        bytes(part.bytes),
        chunk_index(part.chunk_index),
        number(part.part_number),
        fills_chunk(part.fills_chunk),
        in_memory(std::move(part)) {}
  explicit pending_part(engine::spooled_part part)
      : bytes(part.bytes),
        chunk_index(part.chunk_index),
        number(part.part_number),
        fills_chunk(part.fills_chunk),
        on_disk(std::move(part)) {}

  engine::permit room;  // first: its slot is free when it goes
  std::size_t bytes;
  std::uint32_t chunk_index;
  std::uint32_t number;
  bool fills_chunk;
  std::optional<engine::sealed_part> in_memory;  // exactly one of the two
  std::optional<engine::spooled_part> on_disk;

  // Suspends until every byte is hashed, and on the disk.
  task<result<engine::part_digest>> digest(engine::stop_token stop) {
    if (in_memory) {
      auto finishing = in_memory->hash.finish();
      co_return co_await std::move(finishing);
    }
    auto finishing = on_disk->finish(stop);
    co_return co_await std::move(finishing);
  }
};

// The stream in parts, by way of the spool where there is one.
class upload_stream::part_source {
 public:
  part_source(const services& with, upload_budget& budget, engine::hash_worker& hashes, int fd,
              engine::part_stream_limits limits, const engine::stream_observer& watch)
      : _budget(budget) {
    if (budget.disk) {
      _spooled.emplace(with.loop, *budget.disk, budget.slots, hashes, fd, limits, watch);
    } else {
      _direct.emplace(budget.slots, hashes, fd, limits, watch);
    }
  }

  // The next part, or nullopt after the last.
  task<result<std::optional<pending_part>>> next(engine::stop_token stop) {
    std::optional<pending_part> made;
    if (_direct) {
      // Its end is seen without room: a stream that has ended may hold its last part until it is
      // proven whole, and must not wait for others that do the same.
      if (_direct->ended()) {
        co_return std::move(made);
      }
      auto asking = _budget.room(stop);
      auto room = co_await std::move(asking);
      if (!room) {
        co_return std::move(room.error());
      }
      auto reading = _direct->next(stop);
      auto part = co_await std::move(reading);
      if (!part) {
        co_return std::move(part.error());
      }
      if (*part) {
        made.emplace(std::move(*room), std::move(**part));
      }
    } else {
      auto reading = _spooled->next(stop);
      auto part = co_await std::move(reading);
      if (!part) {
        co_return std::move(part.error());
      }
      if (*part) {
        made.emplace(std::move(**part));
      }
    }
    co_return std::move(made);
  }

  // Before it is destroyed, also after an error.
  task<void> close() {
    if (_spooled) {
      auto closing = _spooled->close();
      co_await std::move(closing);
    }
  }

  [[nodiscard]] std::uint64_t total_bytes() const {
    return _direct ? _direct->total_bytes() : _spooled->total_bytes();
  }

 private:
  upload_budget& _budget;
  std::optional<engine::part_stream> _direct;  // exactly one of the two
  std::optional<engine::spooled_part_stream> _spooled;
};

// One object in the making.
struct upload_stream::chunk {
  chunk(std::uint32_t number, s3::object_key name) : index(number), key(std::move(name)) {}
  std::uint32_t index;
  s3::object_key key;
  std::unique_ptr<s3::multipart_upload> upload;  // null: a single PUT, or nothing uploaded at all
  std::optional<pending_part> whole;             // the only part, kept until complete()
  std::map<std::uint32_t, engine::part_digest> digests;
  std::uint64_t bytes = 0;
  s3::etag tag;
  bool exists = false;    // the object, in the bucket; or perhaps, after a lost answer
  bool id_noted = false;  // the journal has the upload's id
  // Of the attempt before:
  journalled_chunk earlier;
  std::set<std::uint32_t> confirmed;  // parts that the journal and the store both have
  std::uint32_t listed_last = 0;      // the highest part that the store has
  bool believed = false;              // the store did not tell: confirmed by the journal alone
  bool stored_before = false;         // it is an object already
};

upload_budget::upload_budget(const services& with, std::size_t slot_bytes, std::size_t slot_count,
                             std::size_t uploads)
    : slots(with.loop, slot_bytes, slot_count, with.log),
      in_flight(with.loop, uploads, "a turn to upload"),
      _loop(with.loop),
      _log(with.log),
      _parts_with_room(
          std::min(slot_count, static_cast<std::size_t>(with.settings.parallel_subvolumes) + 1)),
      _room(with.loop, _parts_with_room, "room for a part"),
      _patience(slot_bytes),
      _control(uploads) {}

task<result<engine::permit>> upload_budget::room(engine::stop_token stop) {
  if (disk) {
    co_return engine::permit();
  }
  if (_room.available() > 0 || _parts_with_room == slots.slots()) {
    auto taking = _room.acquire(stop);
    co_return co_await std::move(taking);
  }
  engine::stop_source arrived;
  engine::async_scope beside(_loop);
  beside.spawn(widen(arrived.token()));
  auto taking = _room.acquire(stop);
  auto taken = co_await std::move(taking);
  arrived.request_stop();
  auto joining = beside.join();
  co_await std::move(joining);
  co_return taken;
}

// Runs while somebody waits for room, once for each who does.
task<void> upload_budget::widen(engine::stop_token arrived) {
  while (_parts_with_room < slots.slots()) {
    const auto begin = std::chrono::steady_clock::now();
    auto sleeping = _loop.sleep_for(_patience.left(begin), arrived);
    auto slept = co_await std::move(sleeping);
    if (!slept) {
      _patience.waited(begin, std::chrono::steady_clock::now());
      co_return;
    }
    _patience.begin_anew();
    const std::size_t more = std::min(_parts_with_room, slots.slots() - _parts_with_room);
    _parts_with_room += more;
    _room.put_in(more);
  }
}

void upload_budget::throttled() {
  const std::size_t fewer = _control.throttled(std::chrono::steady_clock::now());
  if (fewer > 0) {
    in_flight.take_out(fewer);
    _log.write(engine::log_level::warning, "backup", "concurrency_lowered",
               {{"parts_in_flight", std::to_string(_control.limit())},
                {"reason", "the store asks to slow down"}});
  }
}

void upload_budget::part_arrived() {
  if (_control.succeeded()) {
    in_flight.put_in(1);
  }
}

result<std::unique_ptr<upload_budget>> upload_budget::create(const services& with) {
  const config& settings = with.settings;
  if (!settings.spool_enabled) {
    const std::size_t uploads = settings.parts_in_flight(settings.part_size_bytes);
    if (uploads < static_cast<std::size_t>(settings.concurrency)) {
      with.log.write(engine::log_level::info, "backup", "memory_limits_concurrency",
                     {{"parts_in_flight", std::to_string(uploads)},
                      {"memory_limit_bytes", std::to_string(settings.memory_limit_bytes)}});
    }
    return std::unique_ptr<upload_budget>(
        new upload_budget(with, settings.part_size_bytes, uploads + 1, uploads));
  }
  const auto uploads = static_cast<std::size_t>(settings.concurrency);
  const std::size_t streams = static_cast<std::size_t>(settings.parallel_subvolumes);
  std::unique_ptr<upload_budget> made(new upload_budget(
      with, engine::spool_slot_bytes(uploads + engine::stream_slots * (streams - 1)),
      uploads + engine::stream_slots * streams, uploads));
  engine::spool_options options;
  options.directory = settings.spool_dir;
  options.budget_bytes = settings.spool_size_bytes;
  options.part_bytes = settings.part_size_bytes;
  auto disk = engine::spool::create(with.loop, std::move(options), with.log);
  if (!disk) {
    disk.error().why = engine::reason::configuration;
    return std::move(disk.error()).within("global.spool_dir");
  }
  made->disk = std::move(*disk);
  // Of restores that nobody goes on with, which would take the room for ever.
  remove_stale_parts(with);
  return made;
}

upload_stream::upload_stream(const services& with, upload_budget& budget,
                             store_connection* connection, layout where, upload_ledger& ledger,
                             std::map<std::uint32_t, journalled_chunk> before)
    : _with(with),
      _budget(budget),
      _connection(connection),
      _layout(std::move(where)),
      _ledger(ledger),
      _before(std::move(before)),
      _stop(with.stop),
      _hashes(with.loop),
      _scope(with.loop) {}

upload_stream::~upload_stream() = default;

void upload_stream::fail(error failure) {
  if (!_failure) {
    _failure = std::move(failure);
  }
  _stop.request_stop();
}

void upload_stream::diverge(const chunk& in) {
  if (!_diverged || in.index < *_diverged) {
    _diverged = in.index;
    _diverged_in_object = in.stored_before;
  }
  _dropped = false;
  error failure;
  failure.message = "the repeated stream differs from the one that was uploaded before, in chunk " +
                    std::to_string(in.index);
  fail(std::move(failure));
}

void upload_stream::tell_difference(const chunk& in, const pending_part& part) {
  if (std::exchange(_differs, true)) {
    return;
  }
  _with.log.write(engine::log_level::warning, "backup", "stream_differs",
                  {{"key", in.key.str()},
                   {"part", std::to_string(part.number)},
                   {"reason",
                    "the same snapshot sends other bytes than before, as after a defragmentation, "
                    "under another kernel, or where the stream broke"},
                   {"consequence", "from there on it is uploaded anew"}});
}

void upload_stream::drop(const chunk& of, error failure) {
  if (!_diverged) {
    _diverged = of.index;
    _dropped = true;
  }
  _diverged = std::min(*_diverged, of.index);
  fail(std::move(failure));
}

upload_stream::chunk& upload_stream::chunk_at(std::uint32_t index) {
  while (_chunks.size() <= index) {
    const auto next = static_cast<std::uint32_t>(_chunks.size());
    _chunks.push_back(std::make_unique<chunk>(
        next, s3::object_key(_layout.keys.chunk(_layout.kind, _layout.when, next, _layout.tag))));
  }
  return *_chunks[index];
}

// What a chunk's journal compares: everything that an object keeps of how it was written.
std::string upload_stream::written_as() const {
  const s3::write_options options = chunk_options(_with);
  return options.stored_as.str() + " " + options.sse + " " + options.sse_kms_key_id;
}

planner::timestamp upload_stream::store_time() const {
  const auto known = _connection != nullptr ? _connection->store_time() : std::nullopt;
  return planner::timestamp(
      std::chrono::floor<std::chrono::seconds>(known.value_or(_with.clock.now())));
}

// Its upload is of no use any more. An object that exists already is written over.
task<result<void>> upload_stream::begin_anew(chunk& one) {
  _with.log.write(engine::log_level::warning, "backup", "chunk_begun_anew",
                  {{"key", one.key.str()},
                   {"reason", "s3.storage_class_chunks, s3.sse or s3.sse_kms_key_id have changed"},
                   {"before", *one.earlier.written_as},
                   {"now", written_as()}});
  if (!one.earlier.upload_id.empty()) {
    auto aborting = s3::end_upload(_connection->store(), _with.log, one.key,
                                   s3::upload_id(one.earlier.upload_id), _stop.token());
    auto aborted = co_await std::move(aborting);
    if (!aborted) {
      co_return aborted;
    }
  }
  auto noting = _ledger.note_discarded(one.index);
  co_await std::move(noting);
  one.exists = one.earlier.stored || one.earlier.size;  // perhaps
  one.earlier = journalled_chunk();
  co_return engine::ok();
}

task<result<bool>> upload_stream::is_stored(chunk& one) {
  auto asking = _connection->store().head_object(one.key, _stop.token());
  auto info = co_await std::move(asking);
  if (!info) {
    if (info.error().what_now == disposition::not_found) {
      co_return false;
    }
    co_return std::move(info.error());
  }
  if (!one.earlier.size || info->size != *one.earlier.size) {
    co_return false;
  }
  one.stored_before = true;
  one.exists = true;
  one.tag = info->tag;
  note_class(info->stored_as);
  co_return true;
}

// What the store still has of a chunk that an earlier attempt began.
task<result<void>> upload_stream::look_at(chunk& one) {
  if (one.earlier.written_as && *one.earlier.written_as != written_as()) {
    auto beginning = begin_anew(one);
    co_return co_await std::move(beginning);
  }
  if (one.earlier.stored || one.earlier.size) {
    // Complete may have been carried out although its answer was lost.
    auto asking = is_stored(one);
    auto stored = co_await std::move(asking);
    if (!stored) {
      co_return std::move(stored.error());
    }
    if (*stored) {
      co_return engine::ok();
    }
  }
  if (one.earlier.upload_id.empty()) {
    co_return engine::ok();
  }
  const s3::upload_id id(one.earlier.upload_id);
  auto listing = _connection->store().list_parts(one.key, id, _stop.token());
  auto parts = co_await std::move(listing);
  if (!parts) {
    if (is_refused(parts.error())) {
      believe_journal(one, parts.error());
      co_return engine::ok();
    }
    if (parts.error().what_now != disposition::not_found) {
      co_return std::move(parts.error());
    }
    _with.log.write(engine::log_level::warning, "backup", "upload_gone",
                    {{"key", one.key.str()},
                     {"reason", "the store has dropped the open upload"},
                     {"consequence", "its parts are uploaded again"}});
    one.earlier = journalled_chunk();
    co_return engine::ok();
  }
  for (const s3::listed_part& part : *parts) {
    one.listed_last = std::max(one.listed_last, part.number);
    const auto noted = one.earlier.parts.find(part.number);
    if (noted != one.earlier.parts.end() && noted->second.size == part.size &&
        s3::etag(noted->second.etag) == part.tag) {
      one.confirmed.insert(part.number);
    }
  }
  go_on_with(one);
  co_return engine::ok();
}

void upload_stream::go_on_with(chunk& one) {
  one.upload = std::make_unique<s3::multipart_upload>(_with.loop, _connection->store(), _with.log,
                                                      one.key, chunk_options(_with));
  one.upload->resume(s3::upload_id(one.earlier.upload_id), one.earlier.checksums);
  one.id_noted = true;
}

// The store does not tell which parts it has.
void upload_stream::believe_journal(chunk& one, const error& refused) {
  _with.log.write(engine::log_level::warning, "backup", "parts_not_listed",
                  {{"key", one.key.str()},
                   {"error", refused.text()},
                   {"consequence",
                    "the parts that the journal has are taken to be there; if they are not, they "
                    "are uploaded again"}});
  for (const auto& [number, noted] : one.earlier.parts) {
    one.confirmed.insert(number);
    one.listed_last = std::max(one.listed_last, number);
  }
  one.believed = true;
  go_on_with(one);
}

task<result<void>> upload_stream::look_at_earlier() {
  std::size_t parts = 0;
  for (auto& [index, earlier] : std::exchange(_before, {})) {
    chunk& one = chunk_at(index);
    one.earlier = std::move(earlier);
    auto looking = look_at(one);
    auto looked = co_await std::move(looking);
    if (!looked) {
      co_return std::move(looked.error()).within("looking for what was uploaded before");
    }
    parts += one.confirmed.size();
  }
  if (!_chunks.empty()) {
    _with.log.write(engine::log_level::info, "backup", "earlier_parts_found",
                    {{"chunks", std::to_string(_chunks.size())}, {"parts", std::to_string(parts)}});
  }
  co_return engine::ok();
}

// Once, while the stream that makes it so is under way: what lists and restores on this host will
// not read the manifest.
void upload_stream::tell_large_manifest() {
  const manifest_bound bound = manifest_bound::of_host(_with.settings);
  const std::uint64_t bytes = planner::manifest_bytes_for(_parts, _chunks_seen);
  if (_large_manifest_told || bytes <= bound.bytes_max) {
    return;
  }
  _large_manifest_told = true;
  const std::string part_bytes = std::to_string(_with.settings.part_size_bytes);
  _with.log.write(
      engine::log_level::warning, "backup", "manifest_large",
      {{"manifest", _layout.keys.manifest(_layout.kind, _layout.when)},
       {"parts", std::to_string(_parts)},
       {"because", manifest_too_large(bytes, bound)},
       {"remedy", "for the next full, raise s3.part_size_bytes = " + part_bytes +
                      " (the manifest lists every part), or give global.memory_limit_bytes more"}});
}

task<result<void>> upload_stream::run(int fd, btrfs::stream_inspector& inspector, proof prove) {
  if (auto ready = _hashes.ready(); !ready) {
    co_return std::move(ready.error());
  }
  if (_connection != nullptr) {
    auto looking = look_at_earlier();
    auto looked = co_await std::move(looking);
    if (!looked) {
      co_return std::move(looked.error());
    }
  }
  engine::part_stream_limits limits;
  limits.part_bytes = _with.settings.part_size_bytes;
  limits.chunk_bytes = _with.settings.chunk_limit_bytes();
  limits.payload_sha256 = _connection != nullptr && _connection->signs_payload();
  part_source stream(_with, _budget, _hashes, fd, limits,
                     [this, &inspector](std::span<const std::byte> piece) {
                       auto accepted = inspector.feed(piece);
                       _stream_broken = _stream_broken || !accepted;
                       return accepted;
                     });
  bool ended = false;
  while (!_stop.stop_requested()) {
    auto reading = stream.next(_stop.token());
    auto next = co_await std::move(reading);
    if (!next) {
      fail(std::move(next.error()));
      break;
    }
    if (!*next) {
      ended = true;
      break;
    }
    pending_part part = std::move(**next);
    chunk& of = chunk_at(part.chunk_index);
    _chunks_seen = std::max<std::size_t>(_chunks_seen, of.index + std::size_t{1});
    of.bytes += part.bytes;
    ++_parts;
    if (auto fits = check_manifest_size(_with, _parts, _chunks_seen); !fits) {
      fail(std::move(fits.error()));  // now, and not when everything has been uploaded
      break;
    }
    tell_large_manifest();
    const bool short_part = part.bytes < limits.part_bytes && !part.fills_chunk;
    if (part.number == 1 && short_part) {
      of.whole.emplace(
          std::move(part));  // the stream has ended: one PUT will do, when it is proven whole
      continue;
    }
    if (_connection != nullptr && !of.upload && !of.stored_before) {
      of.upload = std::make_unique<s3::multipart_upload>(_with.loop, _connection->store(),
                                                         _with.log, of.key, chunk_options(_with));
    }
    _scope.spawn(upload_part(of, std::move(part)));
  }
  _total_bytes = stream.total_bytes();
  if (ended) {
    auto proving = prove();
    auto proven = co_await std::move(proving);
    if (!proven) {
      (proven.error().why == engine::reason::integrity ? _stream_broken : _producer_failed) = true;
      fail(std::move(proven.error()));
    }
  }
  auto joining = _scope.join();
  co_await std::move(joining);
  auto closing = stream.close();
  co_await std::move(closing);
  if (_failure) {
    error failure = *_failure;
    co_return failure;
  }
  if (_with.stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  auto checking = check_ends();
  co_return co_await std::move(checking);
}

// Whether the earlier attempt left anything that this stream has no place for.
task<result<void>> upload_stream::check_ends() {
  for (const auto& one : _chunks) {
    if (one->whole && one->stored_before) {
      // Compared here, while nothing has been completed.
      auto hashing = hash_whole(*one);
      auto hashed = co_await std::move(hashing);
      if (!hashed) {
        co_return hashed;
      }
    }
    const bool beyond = one->index >= _chunks_seen;
    // Ceph refuses to complete an upload that has parts it is not told of.
    const bool stale_parts = one->listed_last > one->digests.size();
    const bool stale_upload = one->whole && one->upload;
    const bool other_object =
        one->stored_before && !beyond &&
        (one->bytes != *one->earlier.size || sha256_of(*one) != one->earlier.sha256);
    if (beyond || stale_parts || stale_upload || other_object) {
      diverge(*one);
      error failure = *_failure;
      co_return failure;
    }
  }
  co_return engine::ok();
}

task<void> upload_stream::upload_part(chunk& of, pending_part part) {
  auto finishing = part.digest(_stop.token());
  auto finished = co_await std::move(finishing);
  if (!finished) {
    fail(std::move(finished.error()));
    co_return;
  }
  const engine::part_digest digest = *finished;
  of.digests[part.number] = digest;
  if (_connection == nullptr) {
    co_return;
  }
  if (of.stored_before) {
    _acknowledged_bytes += part.bytes;
    _resumed_bytes += part.bytes;  // compared as a whole when the stream has ended
    co_return;
  }
  if (of.confirmed.contains(part.number)) {
    const journalled_part& earlier = of.earlier.parts.at(part.number);
    if (earlier.size == part.bytes && earlier.digest == digest.digest_if_last &&
        earlier.crc32 == digest.crc32) {
      of.upload->adopt_part(part.number, part.bytes, s3::etag(earlier.etag), earlier.crc32);
      _acknowledged_bytes += part.bytes;
      _resumed_bytes += part.bytes;
      co_return;
    }
    tell_difference(of, part);
  }
  auto acquiring = _budget.in_flight.acquire(_stop.token());
  auto turn = co_await std::move(acquiring);
  if (!turn) {
    co_return;  // stopped, and whoever stopped has said why
  }
  ++_parts_in_flight;
  auto sending = send_part(of, part, digest);
  auto sent = co_await std::move(sending);
  --_parts_in_flight;
  if (!sent && sent.error().what_now == disposition::not_found) {
    drop(of, std::move(sent.error()));
    co_return;
  }
  if (!sent) {
    fail(std::move(sent.error()));
    co_return;
  }
  _acknowledged_bytes += part.bytes;
  _budget.part_arrived();
}

// What a request sends of a part: its slot, or a slot through which it comes from the disk.
struct upload_stream::part_body {
  std::optional<engine::spooled_body> from_disk;
  s3::request_body body;
};

task<result<void>> upload_stream::open_body(pending_part& part, part_body& into) {
  if (part.in_memory) {
    into.body = s3::request_body(part.in_memory->body());
    co_return engine::ok();
  }
  auto acquiring = _budget.slots.acquire(_stop.token());
  auto slot = co_await std::move(acquiring);
  if (!slot) {
    co_return std::move(slot.error());
  }
  into.from_disk.emplace(*_budget.disk, _budget.slots, *part.on_disk, std::move(*slot));
  into.body = s3::request_body(*into.from_disk);
  co_return engine::ok();
}

task<result<void>> upload_stream::send_part(chunk& of, pending_part& part,
                                            const engine::part_digest& digest) {
  // Its id is in the journal before the first part is on its way: whatever happens then, the next
  // run knows what to go on with, or to abort.
  auto creating = of.upload->open(_stop.token());
  auto created = co_await std::move(creating);
  if (!created) {
    co_return std::move(created.error()).within("uploading " + of.key.str());
  }
  if (!std::exchange(of.id_noted, true)) {
    auto noting = _ledger.note_upload(of.index, of.upload->id()->str(),
                                      of.upload->declared_checksums(), written_as());
    co_await std::move(noting);
  }
  part_body from;
  auto opening = open_body(part, from);
  auto opened = co_await std::move(opening);
  if (!opened) {
    co_return opened;
  }
  s3::body_digests digests;
  digests.crc32 = digest.crc32;
  digests.payload_sha256 = digest.payload_sha256;
  auto putting = of.upload->put_part(part.number, from.body, digests, _stop.token());
  auto put = co_await std::move(putting);
  if (!put) {
    co_return std::move(put.error()).within("uploading " + of.key.str());
  }
  journalled_part note;
  note.size = part.bytes;
  note.etag = of.upload->tag_of(part.number).str();
  note.crc32 = digest.crc32;
  note.state = digest.state;
  note.digest = digest.digest_if_last;
  note.at = store_time();
  auto noting = _ledger.note_part(of.index, part.number, std::move(note));
  co_await std::move(noting);
  co_return engine::ok();
}

task<result<void>> upload_stream::hash_whole(chunk& one) {
  if (one.whole && one.digests.empty()) {
    auto finishing = one.whole->digest(_with.stop);
    auto finished = co_await std::move(finishing);
    if (!finished) {
      co_return std::move(finished.error());
    }
    one.digests[1] = *finished;
  }
  co_return engine::ok();
}

std::string upload_stream::sha256_of(const chunk& one) const {
  BTS3_ASSERT(!one.digests.empty() && one.digests.rbegin()->first == one.digests.size());
  return one.digests.rbegin()->second.digest_if_last.hex();
}

// Stores map classes to others that they have; what they report is what verify will meet.
void upload_stream::note_class(const s3::storage_class& reported) {
  const std::string name = reported.empty() ? "STANDARD" : reported.str();
  const std::string asked_for = chunk_options(_with).stored_as.str();
  if (!_stored_as && !asked_for.empty() && name != asked_for) {
    _with.log.write(engine::log_level::warning, "backup", "stored_in_another_class",
                    {{"asked_for", asked_for},
                     {"stored_as", name},
                     {"consequence", "the manifest says so, and prices are that class's"}});
  }
  _stored_as = name;
}

// An object that was put whole came with no HEAD. Its siblings' class is its own.
task<result<void>> upload_stream::ask_for_class(const chunk& one) {
  if (_stored_as) {
    co_return engine::ok();
  }
  auto asking = _connection->store().head_object(one.key, _with.stop);
  auto info = co_await std::move(asking);
  if (!info) {
    co_return std::move(info.error()).within("looking at " + one.key.str());
  }
  note_class(info->stored_as);
  co_return engine::ok();
}

// Whether completing failed because what the journal was believed to have, and the store did not
// tell of, is not there. Of other uploads the next run asks, and repeats no more than it has to.
bool upload_stream::is_incomplete(const chunk& one, const error& failure) const {
  const bool refused = failure.what_now == disposition::fail &&
                       (failure.status == 400 || failure.why == engine::reason::unsupported);
  return one.believed && (failure.what_now == disposition::not_found || refused);
}

task<result<void>> upload_stream::finish_chunk(chunk& one) {
  if (_connection == nullptr) {
    co_return engine::ok();
  }
  if (one.stored_before) {
    // The attempt that completed it may have ended before it looked for uploads left open.
    if (one.earlier.stored || one.earlier.upload_id.empty()) {
      co_return engine::ok();
    }
    auto sweeping =
        s3::sweep_uploads(_connection->store(), _with.log, one.key, std::nullopt, _with.stop);
    auto swept = co_await std::move(sweeping);
    if (!swept) {
      co_return std::move(swept.error()).within("looking for uploads left open");
    }
    auto noting = _ledger.note_stored(one.index, one.tag.str());
    co_await std::move(noting);
    co_return engine::ok();
  }
  one.exists = true;  // from here an answer may be lost
  if (one.whole) {
    const engine::part_digest& digest = one.digests.at(1);
    part_body from;
    auto opening = open_body(*one.whole, from);
    auto opened = co_await std::move(opening);
    if (!opened) {
      co_return opened;
    }
    s3::put_request request(one.key, from.body);
    request.options = chunk_options(_with);
    request.digests.crc32 = digest.crc32;
    request.digests.payload_sha256 = digest.payload_sha256;
    auto putting = _connection->store().put_object(std::move(request), _with.stop);
    auto tag = co_await std::move(putting);
    if (!tag) {
      co_return std::move(tag.error()).within("uploading " + one.key.str());
    }
    one.tag = std::move(*tag);
    auto asking = ask_for_class(one);
    auto asked = co_await std::move(asking);
    if (!asked) {
      co_return asked;
    }
  } else {
    auto completing = one.upload->complete(_with.stop);
    auto stored = co_await std::move(completing);
    if (!stored && is_incomplete(one, stored.error())) {
      one.exists = false;
      drop(one, stored.error());
    }
    if (!stored) {
      co_return std::move(stored.error()).within("completing " + one.key.str());
    }
    one.tag = stored->tag;
    note_class(stored->stored_as);
  }
  auto noting = _ledger.note_stored(one.index, one.tag.str());
  co_await std::move(noting);
  co_return engine::ok();
}

task<result<std::vector<planner::chunk_record>>> upload_stream::complete() {
  BTS3_ASSERT(!_failure);
  for (const auto& one : _chunks) {
    auto hashing = hash_whole(*one);
    auto hashed = co_await std::move(hashing);
    if (!hashed) {
      co_return std::move(hashed.error());
    }
    if (!one->stored_before) {
      auto noting = _ledger.note_whole(one->index, one->bytes, sha256_of(*one), written_as());
      co_await std::move(noting);
    }
  }
  std::vector<planner::chunk_record> records;
  for (const auto& one : _chunks) {
    auto finishing = finish_chunk(*one);
    auto finished = co_await std::move(finishing);
    if (!finished) {
      co_return std::move(finished.error());
    }
    one->whole.reset();
    planner::chunk_record record;
    record.key = one->key.str();
    record.size = one->bytes;
    record.part_size = _with.settings.part_size_bytes;
    if (!one->tag.empty()) {
      record.etag = one->tag.str();
    }
    record.sha256 = sha256_of(*one);
    for (const auto& [number, digest] : one->digests) {
      record.part_crc32.push_back(digest.crc32);
      if (number < one->digests.size()) {
        BTS3_ASSERT(digest.state.has_value());
        record.part_states.push_back(digest.state->words);
      }
    }
    records.push_back(std::move(record));
  }
  co_return records;
}

task<result<void>> upload_stream::discard_from(std::uint32_t index) {
  for (const auto& one : _chunks) {
    one->whole.reset();
    if (one->index < index) {
      continue;
    }
    std::optional<s3::upload_id> known;
    if (one->upload) {
      known = one->upload->id();
    }
    auto ending =
        s3::end_uploads(_connection->store(), _with.log, one->key, std::move(known), _with.stop);
    auto ended = co_await std::move(ending);
    if (!ended) {
      co_return std::move(ended.error()).within("aborting the upload of " + one->key.str());
    }
    auto noting = _ledger.note_discarded(one->index);
    co_await std::move(noting);
  }
  co_return engine::ok();
}

task<bool> upload_stream::abandon(engine::stop_token limit) {
  bool all = true;
  for (const auto& one : _chunks) {
    one->whole.reset();
    if (one->upload) {
      auto aborting = one->upload->abort(limit);
      auto aborted = co_await std::move(aborting);
      if (!aborted) {
        // Where the store has no such verb, no later run can do better.
        all = all && aborted.error().why == engine::reason::unsupported;
        _with.log.write(engine::log_level::warning, "backup", "upload_left_open",
                        {{"key", one->key.str()}, {"error", aborted.error().text()}});
      }
    }
    if (one->exists) {
      auto deleting = _connection->store().delete_object(one->key, limit);
      auto deleted = co_await std::move(deleting);
      if (!deleted) {
        all = false;
        _with.log.write(engine::log_level::warning, "backup", "object_left",
                        {{"key", one->key.str()}, {"error", deleted.error().text()}});
      }
    }
  }
  co_return all;
}

}  // namespace bts3::app
