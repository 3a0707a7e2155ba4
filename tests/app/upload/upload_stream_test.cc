// A stream on its way into a store in memory: in which one value it ends, whatever happens, and
// what the ledger and the store have then.
#include "app/upload/upload_stream.hh"

#include "engine/age/backup_keys.hh"
#include "engine/age/part_seals.hh"
#include "engine/child_process.hh"
#include "tests/app/backup/send_stream.hh"
#include "tests/app/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"
#include "tests/support/real_btrfs.hh"

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::error_text;
using bts3::testing::memory_store;

namespace {

constexpr std::size_t part_bytes = 16 * 1024;
constexpr std::size_t chunk_parts = 3;

// Keeps what it is told, as a later run would read it.
class kept_ledger final : public upload_ledger {
 public:
  engine::task<void> note_upload(std::uint32_t chunk, std::string id, bool checksums,
                                 std::string written_as) override {
    chunks[chunk].upload_id = std::move(id);
    chunks[chunk].checksums = checksums;
    chunks[chunk].written_as = std::move(written_as);
    co_return;
  }
  engine::task<void> note_part(std::uint32_t chunk, std::uint32_t number,
                               journalled_part part) override {
    chunks[chunk].parts[number] = std::move(part);
    co_return;
  }
  engine::task<void> note_whole(std::uint32_t chunk, std::uint64_t size, std::string sha256,
                                std::string written_as) override {
    chunks[chunk].size = size;
    chunks[chunk].sha256 = std::move(sha256);
    chunks[chunk].written_as = std::move(written_as);
    co_return;
  }
  engine::task<void> note_stored(std::uint32_t chunk, std::string etag) override {
    chunks[chunk].stored = true;
    chunks[chunk].etag = std::move(etag);
    co_return;
  }
  engine::task<void> note_discarded(std::uint32_t chunk) override {
    chunks.erase(chunk);
    co_return;
  }
  std::map<std::uint32_t, journalled_chunk> chunks;
};

engine::error failure_of(engine::reason why) {
  engine::error failure;
  failure.why = why;
  failure.message = "as the test has it";
  return failure;
}

// Six parts and a half, in three chunks, of which the last is a single PUT.
struct scene {
  scene()
      : loop(std::move(*engine::reactor::create())),
        clock(testing::reference_time),
        objects(*loop),
        with{*loop,
             log,
             clock,
             settings,
             bts3::testing::real_btrfs(),
             [](std::string_view) { return std::nullopt; },
             {},
             nullptr,
             nullptr,
             {},
             &tuning},
        text(testing::stream_of(6 * part_bytes + part_bytes / 2)) {
    std::signal(SIGPIPE, SIG_IGN);
    settings.s3.bucket = "bucket";
    settings.s3.region = "us-east-1";
    settings.s3.part_size_bytes = part_bytes;
    settings.s3.chunk_size_bytes = chunk_parts * part_bytes;
    settings.s3.storage_class_chunks = s3::storage_class("STANDARD");
    settings.s3.concurrency = 2;
    tuning.store = &objects;
    connection = std::move(*store_connection::open(with));
    budget = std::move(*upload_budget::create(with));
  }

  std::string key(std::uint32_t index) const { return keys.chunk(kind, when, index, "tag"); }

  // Sends `text`, whose producer ends as `proof` says; completes what is whole where wanted.
  stream_outcome send(engine::result<void> proof = engine::ok(), bool complete = true) {
    return loop->run(send_into(this, std::move(proof), complete));
  }

  static engine::task<stream_outcome> send_into(scene* self, engine::result<void> proof,
                                                bool complete) {
    auto ends = engine::make_pipe();
    BOOST_REQUIRE(ends.has_value());
    BOOST_REQUIRE(engine::set_nonblocking(ends->read_end.get()).has_value());
    std::thread feed([text = self->text, fd = ends->write_end.release()] {
      std::size_t at = 0;
      for (ssize_t count = 1; at < text.size() && count > 0;
           at += static_cast<std::size_t>(count)) {
        count = ::write(fd, text.data() + at, text.size() - at);
      }
      ::close(fd);
    });
    self->upload = std::make_unique<upload_stream>(
        self->with, *self->budget, self->connection.get(),
        upload_stream::layout(self->keys, self->kind, self->when, "tag"), self->ledger,
        std::exchange(self->before, {}), self->seals);
    btrfs::stream_inspector inspector;
    const upload_stream::proof prove = [&proof, &inspector] {
      return prove_by(&proof, &inspector);
    };
    auto running = self->upload->run(ends->read_end.get(), inspector, prove);
    stream_outcome ended = co_await std::move(running);
    if (ended.is_whole() && complete) {
      auto completing = self->upload->complete();
      ended = co_await std::move(completing);
    }
    ends->read_end.reset();
    feed.join();
    co_return ended;
  }
  static engine::task<engine::result<void>> prove_by(engine::result<void>* proof,
                                                     btrfs::stream_inspector* inspector) {
    co_return *proof ? inspector->finish() : *proof;
  }

  std::unique_ptr<engine::reactor> loop;
  testing::line_log log;
  testing::fixed_clock clock;
  config settings;
  store_tuning tuning;
  memory_store objects;
  services with;
  std::string text;
  planner::key_layout keys = planner::key_layout("p/", "data");
  planner::backup_kind kind = planner::backup_kind::full;
  planner::timestamp when = planner::timestamp::parse("20260121T020003Z").value();
  std::unique_ptr<store_connection> connection;
  std::unique_ptr<upload_budget> budget;
  kept_ledger ledger;
  upload_stream::earlier_chunks before;
  engine::seal_factory* seals = nullptr;
  std::unique_ptr<upload_stream> upload;
};

// The same with a backup's key. 15,840 bytes of the stream are in a whole part.
struct sealed_scene : scene {
  sealed_scene() { seals = &by; }

  // What the stored parts of `chunk` say when they are opened with the backup's key, from byte
  // `offset` of the stream on.
  std::string opened(const planner::chunk_record& chunk, std::uint32_t index,
                     std::uint64_t offset) {
    std::string body = objects.find(chunk.key)->body;
    std::string plain;
    std::uint32_t number = 1;
    for (std::size_t at = 0; at < body.size(); at += *chunk.part_size, ++number) {
      std::vector<std::byte> part(std::min<std::size_t>(*chunk.part_size, body.size() - at));
      std::memcpy(part.data(), body.data() + at, part.size());
      const age::part_place place{keys_of_backup.id, index, number, offset + plain.size()};
      auto opening = age::part_in_slot::begin(opener, part, place);
      BOOST_REQUIRE_MESSAGE(opening.has_value(), error_text(opening));
      for (;;) {
        const auto piece = opening->next();
        BOOST_REQUIRE_MESSAGE(piece.has_value(), error_text(piece));
        if (piece->empty()) {
          break;
        }
        plain.append(reinterpret_cast<const char*>(piece->data()), piece->size());
      }
    }
    BOOST_TEST(plain.size() == chunk.plain_size);
    BOOST_TEST(chunk.sha256 == testing::digest_of(body));
    return plain;
  }
  // All of the stream, from what is stored.
  std::string opened(const stream_outcome& ended) {
    BOOST_REQUIRE(ended.is_whole());
    std::string plain;
    const auto& chunks = ended.as<stream_outcome::whole>()->chunks;
    for (std::uint32_t index = 0; index < chunks.size(); ++index) {
      plain += opened(chunks[index], index, plain.size());
    }
    return plain;
  }
  // Aligned pieces of 16 bytes of everything that is stored: what two texts under one key, or a
  // text that was left as it was, would have in common.
  std::set<std::string> blocks() const {
    std::set<std::string> found;
    for (const auto& [name, object] : objects.objects()) {
      for (std::size_t at = 0; at + 16 <= object.body.size(); at += 16) {
        found.insert(object.body.substr(at, 16));
      }
    }
    return found;
  }

  age::random_source random = age::system_random();
  age::x25519_identity user = std::move(*age::x25519_identity::generate(random));
  age::new_backup keys_of_backup =
      std::move(*age::make_backup_keys(std::array{user.recipient()}, random));
  age::part_opener opener = age::part_opener(std::move(
      *age::open_backup_keys(keys_of_backup.keys_object, std::span(&user, 1), keys_of_backup.id)));
  age::part_seals by = age::part_seals(keys_of_backup.sealer(random), random, true);
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(upload_stream_suite, scene)

BOOST_AUTO_TEST_CASE(a_whole_stream_ends_with_its_chunks_for_the_manifest) {
  const stream_outcome ended = send();
  BOOST_REQUIRE(ended.is_whole());
  const auto& chunks = ended.as<stream_outcome::whole>()->chunks;
  BOOST_REQUIRE(chunks.size() == 3U);
  std::string stored;
  for (std::uint32_t index = 0; index < chunks.size(); ++index) {
    BOOST_TEST(chunks[index].key == key(index));
    BOOST_REQUIRE((objects.find(key(index)) != nullptr));
    BOOST_TEST(chunks[index].sha256 == testing::digest_of(objects.find(key(index))->body));
    BOOST_TEST(ledger.chunks.at(index).stored);
    stored += objects.find(key(index))->body;
  }
  BOOST_TEST(stored == text);
  BOOST_TEST(upload->acknowledged_bytes() == 6 * part_bytes);
}

BOOST_AUTO_TEST_CASE(until_it_is_completed_there_is_no_object) {
  BOOST_TEST(send(engine::ok(), false).is_whole());
  BOOST_TEST(objects.objects().empty());
  BOOST_TEST(objects.uploads().size() == 2U);
}

BOOST_AUTO_TEST_CASE(the_same_stream_again_sends_nothing_that_is_there) {
  BOOST_TEST(send(engine::ok(), false).is_whole());
  before = ledger.chunks;
  objects.forget_calls();
  BOOST_TEST(send().is_whole());
  BOOST_TEST(objects.count("UploadPart") == 0U);
  BOOST_TEST(objects.count("ListParts") == 2U);
  BOOST_TEST(upload->resumed_bytes() == 6 * part_bytes);
}

BOOST_AUTO_TEST_CASE(a_producer_that_failed_is_told_from_one_whose_stream_is_broken) {
  const stream_outcome failed = send(failure_of(engine::reason::child_process));
  BOOST_TEST((failed.as<stream_outcome::producer_failed>() != nullptr));
  before = ledger.chunks;
  const stream_outcome doubted = send(failure_of(engine::reason::integrity));
  BOOST_TEST((doubted.as<stream_outcome::broken>() != nullptr));
  before = ledger.chunks;
  text[text.size() / 2] ^= 1;
  const stream_outcome flipped = send();
  BOOST_TEST((flipped.as<stream_outcome::broken>() != nullptr));
  BOOST_TEST(objects.objects().empty());
}

BOOST_AUTO_TEST_CASE(a_stream_that_differs_from_an_object_says_so) {
  BOOST_TEST(send().is_whole());
  before = ledger.chunks;
  before.at(1).sha256[0] = before.at(1).sha256[0] == '0' ? '1' : '0';
  const stream_outcome ended = send();
  BOOST_REQUIRE((ended.as<stream_outcome::differs>() != nullptr));
  BOOST_TEST((ended.chunk() == 1U));
  BOOST_TEST(ended.as<stream_outcome::differs>()->in_object);
}

BOOST_AUTO_TEST_CASE(an_upload_that_the_stream_has_no_place_for_is_a_difference_that_can_go) {
  BOOST_TEST(send(engine::ok(), false).is_whole());
  before = ledger.chunks;
  text = testing::stream_of(2 * part_bytes);
  const stream_outcome ended = send();
  BOOST_REQUIRE((ended.as<stream_outcome::differs>() != nullptr));
  BOOST_TEST((ended.chunk() == 0U));  // its third part
  BOOST_TEST(!ended.as<stream_outcome::differs>()->in_object);
  BOOST_TEST(loop->run(upload->discard_from(0)).has_value());
  BOOST_TEST(objects.uploads().empty());
  BOOST_TEST(ledger.chunks.empty());
}

BOOST_AUTO_TEST_CASE(an_upload_that_the_store_drops_is_gone_and_the_stream_the_same) {
  objects.judge_by([this](const memory_store::recorded_call& call) {
    const bool second = call.verb == "UploadPart" && call.key == key(1);
    return second ? std::optional(memory_store::absent(call.key)) : std::nullopt;
  });
  const stream_outcome ended = send();
  BOOST_REQUIRE((ended.as<stream_outcome::upload_gone>() != nullptr));
  BOOST_TEST((ended.chunk() == 1U));
}

BOOST_AUTO_TEST_CASE(any_other_failure_is_told_and_what_was_acknowledged_stays) {
  objects.judge_by([this](const memory_store::recorded_call& call) {
    const bool second = call.verb == "UploadPart" && call.key == key(1);
    return second ? std::optional(memory_store::denied(call.key)) : std::nullopt;
  });
  const stream_outcome ended = send();
  BOOST_REQUIRE((ended.as<stream_outcome::failed>() != nullptr));
  BOOST_TEST((ended.failure()->why == engine::reason::access));
  BOOST_TEST(ledger.chunks.at(0).parts.size() > 0U);
  BOOST_TEST(objects.uploads().size() == 2U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(sealed_upload_suite, sealed_scene)

BOOST_AUTO_TEST_CASE(a_sealed_stream_is_stored_in_parts_that_its_key_opens) {
  const stream_outcome ended = send();
  BOOST_TEST(opened(ended) == text);
  const auto& chunks = ended.as<stream_outcome::whole>()->chunks;
  BOOST_REQUIRE(chunks.size() == 3U);
  std::uint64_t bytes = 0;
  for (const planner::chunk_record& chunk : chunks) {
    BOOST_TEST(*chunk.part_size == part_bytes);
    bytes += chunk.size;
  }
  BOOST_TEST(chunks[0].plain_size == 3U * 15'840);
  BOOST_TEST(upload->total_bytes() == bytes);
  for (const auto& [name, object] : objects.objects()) {
    BOOST_TEST(object.body.starts_with("age-encryption.org/v1\n"));
    BOOST_TEST(object.body.find("btrfs-stream") == std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(two_backups_of_the_same_data_share_no_16_bytes_but_those_of_headers) {
  BOOST_REQUIRE(send().is_whole());
  const std::set<std::string> first = blocks();
  for (std::uint32_t index = 0; index < 3; ++index) {
    objects.erase(key(index));
  }
  BOOST_REQUIRE(send().is_whole());
  std::size_t shared = 0;
  for (const std::string& block : blocks()) {
    const bool of_header = block.find_first_not_of(
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                               "0123456789+/->._ \n") == std::string::npos;
    shared += first.contains(block) && !of_header ? 1 : 0;
  }
  BOOST_TEST(shared == 0U);
}

BOOST_AUTO_TEST_CASE(a_sealed_stream_again_sends_nothing_that_is_there) {
  BOOST_TEST(send(engine::ok(), false).is_whole());
  before = ledger.chunks;
  objects.forget_calls();
  const stream_outcome ended = send();
  BOOST_TEST(objects.count("UploadPart") == 0U);
  BOOST_TEST(upload->resumed_bytes() == 6 * part_bytes);
  BOOST_TEST(opened(ended) == text);
}

// Also the chunk that was put whole, whose only part was never acknowledged by itself.
BOOST_AUTO_TEST_CASE(what_is_stored_of_a_sealed_stream_is_known_again) {
  const stream_outcome first = send();
  BOOST_REQUIRE(first.is_whole());
  before = ledger.chunks;
  objects.forget_calls();
  const stream_outcome again = send();
  BOOST_TEST(objects.count("UploadPart") + objects.count("PutObject") +
                 objects.count("CreateMultipartUpload") ==
             0U);
  BOOST_TEST(opened(again) == text);
  for (std::size_t index = 0; index < 3; ++index) {
    BOOST_TEST(again.as<stream_outcome::whole>()->chunks.at(index).sha256 ==
               first.as<stream_outcome::whole>()->chunks.at(index).sha256);
  }
}

// Wherever it stopped: what was acknowledged stays, and what is sealed again is so under new keys.
BOOST_AUTO_TEST_CASE(a_sealed_stream_that_was_interrupted_goes_on_where_it_was) {
  for (std::size_t allowed = 1; allowed < 6; ++allowed) {
    sealed_scene at;
    std::size_t parts = 0;
    at.objects.judge_by([&](const memory_store::recorded_call& call) {
      const bool refused = call.verb == "UploadPart" && ++parts > allowed;
      return refused ? std::optional(memory_store::denied(call.key)) : std::nullopt;
    });
    BOOST_REQUIRE(!at.send().is_whole());
    at.objects.judge_by({});
    at.before = at.ledger.chunks;
    std::size_t acknowledged = 0;
    for (const auto& [index, chunk] : at.before) {
      acknowledged += chunk.parts.size();
    }
    BOOST_TEST(acknowledged > 0U);
    at.objects.forget_calls();
    const stream_outcome ended = at.send();
    BOOST_TEST(at.objects.count("UploadPart") == 6 - acknowledged);
    BOOST_TEST(at.upload->resumed_bytes() == acknowledged * part_bytes);
    BOOST_TEST(at.opened(ended) == at.text);
  }
}

BOOST_AUTO_TEST_CASE(a_sealed_stream_that_differs_is_sealed_anew_from_there_on_in_its_chunk) {
  BOOST_TEST(send(engine::ok(), false).is_whole());
  before = ledger.chunks;
  // As if the first attempt had had another text in the second part of the first chunk.
  std::string& noted = before.at(0).parts.at(2).fingerprint;
  noted.back() = noted.back() == '0' ? '1' : '0';
  objects.forget_calls();
  const stream_outcome ended = send();
  BOOST_TEST(objects.count("UploadPart") == 2U);
  BOOST_TEST(upload->resumed_bytes() == 4 * part_bytes);
  BOOST_TEST(opened(ended) == text);
}

BOOST_AUTO_TEST_CASE(by_way_of_the_spool_a_sealed_stream_is_stored_and_known_again) {
  const testing::scratch_directory place;
  settings.s3.spool_enabled = true;
  settings.global.spool_dir = place / "";
  settings.global.spool_size_bytes = 8 * part_bytes;
  auto spooled = upload_budget::create(with);
  BOOST_REQUIRE_MESSAGE(spooled.has_value(), error_text(spooled));
  budget = std::move(*spooled);
  BOOST_TEST(send(engine::ok(), false).is_whole());
  before = ledger.chunks;
  objects.forget_calls();
  const stream_outcome ended = send();
  BOOST_TEST(objects.count("UploadPart") == 0U);
  BOOST_TEST(opened(ended) == text);
  upload.reset();
  budget.reset();
}

BOOST_AUTO_TEST_CASE(without_random_bytes_nothing_is_sent) {
  age::part_seals mute(keys_of_backup.sealer([](std::span<std::byte>) { return false; }), random,
                       true);
  seals = &mute;
  const stream_outcome ended = send();
  BOOST_REQUIRE((ended.as<stream_outcome::failed>() != nullptr));
  BOOST_TEST(ended.failure()->code == "age_random");
  BOOST_TEST(objects.objects().empty());
  BOOST_TEST(objects.count("UploadPart") + objects.count("PutObject") == 0U);
}

BOOST_AUTO_TEST_SUITE_END()
