// A sealed link on its way from a store into a pipe. Whoever can write to the bucket can make any
// digest right; what he cannot do is make another part out of one, or an old one a new one.
#include "app/download/download_link.hh"
#include "engine/age/backup_keys.hh"
#include "engine/age/part_seals.hh"
#include "engine/child_process.hh"
#include "tests/app/backup/send_stream.hh"
#include "tests/app/download/sealed_backup.hh"
#include "tests/app/support.hh"
#include "tests/engine/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"
#include "tests/support/real_btrfs.hh"

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::digest_of;
using bts3::testing::error_text;
using bts3::testing::memory_store;
using bts3::testing::octets_of;
using bts3::testing::part_bytes;
using bts3::testing::plain_of_part;
using bts3::testing::sealed_backup;
using bts3::testing::stream_of;

namespace {

struct scene {
  scene()
      : loop(engine::testing::make_reactor()),
        clock(testing::reference_time),
        objects(*loop),
        with{*loop, log, clock, settings, testing::real_btrfs(), testing::no_environment, {}},
        stream(stream_of(7 * plain_of_part / 2)),
        chunks(backup.chunks(stream)) {
    std::signal(SIGPIPE, SIG_IGN);
  }

  // As a manifest would have them that fits what is stored.
  std::vector<located_chunk> located() {
    std::vector<located_chunk> made;
    for (const std::vector<std::string>& parts : chunks) {
      located_chunk chunk;
      chunk.key = s3::object_key("chunk-" + std::to_string(made.size()) + ".bin");
      std::string body;
      engine::sha256_hasher hasher;
      for (const std::string& part : parts) {
        body += part;
        hasher.update(octets_of(part));
        if (&part != &parts.back()) {
          chunk.record.part_states.push_back(hasher.state()->words);
        }
      }
      objects.put(chunk.key.str(), body);
      chunk.record.key = chunk.key.str();
      chunk.record.size = body.size();
      chunk.record.sha256 = digest_of(body);
      chunk.record.part_size = part_bytes;
      chunk.info.size = body.size();
      chunk.info.tag = objects.find(chunk.key.str())->tag;
      made.push_back(std::move(chunk));
    }
    return made;
  }

  engine::result<void> run(const backup_key* key) {
    auto ends = engine::make_pipe();
    BOOST_REQUIRE(ends.has_value());
    BOOST_REQUIRE(engine::set_nonblocking(ends->write_end.get()).has_value());
    engine::unique_fd reader = std::move(ends->read_end);
    released.clear();
    std::thread drain([&] {
      std::string piece(4096, '\0');
      for (ssize_t count = 1; count > 0;) {
        count = ::read(reader.get(), piece.data(), piece.size());
        released.append(piece, 0, static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
      }
    });
    engine::result<void> outcome = engine::ok();
    {
      engine::buffer_pool pool(*loop, part_bytes, 3, log);
      engine::hash_worker hashes(*loop);
      download_link link(with, objects, pool, hashes, located());
      link.is_sealed(key, expected.value_or(stream.size()));
      outcome = loop->run(link.run(key != nullptr ? ends->write_end.get() : -1));
    }
    ends->write_end.reset();
    drain.join();
    return outcome;
  }

  // What somebody with the bucket makes of it is refused, and no part from there on is released.
  void refused(std::size_t released_most, const std::string& named) {
    const auto outcome = run(&backup.key);
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_TEST((outcome.error().why == engine::reason::integrity ||
                outcome.error().why == engine::reason::access));
    BOOST_TEST(outcome.error().text().find(named) != std::string::npos, outcome.error().text());
    BOOST_TEST(released.size() <= released_most);
    BOOST_TEST(stream.starts_with(released));
  }

  std::unique_ptr<engine::reactor> loop;
  bts3::testing::fixed_clock clock;
  memory_store objects;
  engine::testing::recording_log log;
  config settings;
  services with;
  age::x25519_identity user = std::move(*age::x25519_identity::generate(age::system_random()));
  sealed_backup backup{user};
  std::string stream;
  std::vector<std::vector<std::string>> chunks;
  std::string released;
  std::optional<std::uint64_t> expected;  // bytes of the stream, where not all of it
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(sealed_link_suite, scene)

BOOST_AUTO_TEST_CASE(a_sealed_link_comes_out_as_the_stream_that_was_sent) {
  BOOST_REQUIRE(chunks.size() == 2U);
  const auto done = run(&backup.key);
  BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
  BOOST_TEST((released == stream));
}

BOOST_AUTO_TEST_CASE(without_its_key_a_sealed_link_is_verified_as_it_is_stored) {
  BOOST_TEST(run(nullptr).has_value());
  BOOST_TEST(released.empty());
}

BOOST_AUTO_TEST_CASE(another_backups_key_opens_nothing) {
  const sealed_backup other(user);
  const auto outcome = run(&other.key);
  BOOST_REQUIRE(!outcome.has_value());
  BOOST_TEST(released.empty());
}

BOOST_AUTO_TEST_CASE(parts_that_were_exchanged_are_refused) {
  std::swap(chunks[0][0], chunks[0][1]);
  refused(0, "chunk chunk-0.bin, part 1");
}

BOOST_AUTO_TEST_CASE(chunks_that_were_exchanged_are_refused) {
  std::swap(chunks[0], chunks[1]);
  chunks.resize(2);
  refused(0, "part 1");
}

BOOST_AUTO_TEST_CASE(a_part_that_was_left_out_is_missed_at_the_next) {
  chunks[0].erase(chunks[0].begin() + 1);
  refused(plain_of_part, "chunk chunk-1.bin, part 1");
}

BOOST_AUTO_TEST_CASE(an_end_that_was_cut_off_is_missed) {
  chunks.pop_back();
  refused(stream.size(), "END");
}

BOOST_AUTO_TEST_CASE(a_part_that_comes_twice_is_refused) {
  chunks[0][1] = chunks[0][0];
  refused(plain_of_part, "chunk chunk-0.bin, part 2");
}

BOOST_AUTO_TEST_CASE(a_part_of_another_backup_is_refused) {
  chunks[0][1] = sealed_backup(user).chunks(stream)[0][1];
  refused(plain_of_part, "chunk chunk-0.bin, part 2");
}

// With the right key, as only who was given it could make it: at another place of the stream.
BOOST_AUTO_TEST_CASE(a_part_from_another_offset_is_refused) {
  chunks[0][1] = backup.sealed(std::string_view(stream).substr(plain_of_part, plain_of_part), 0, 2,
                               plain_of_part - 1);
  refused(plain_of_part, "chunk chunk-0.bin, part 2");
}

BOOST_AUTO_TEST_CASE(a_part_whose_last_segment_was_cut_off_is_refused) {
  chunks[1].resize(1);
  chunks[1][0].resize(age::part_segments_at + age::segment_bytes);
  refused(2 * plain_of_part, "chunk chunk-1.bin, part 1");
}

BOOST_AUTO_TEST_CASE(a_bit_that_flips_anywhere_in_a_part_is_noticed) {
  const std::size_t places[] = {3,                           // version
                                30,                          // the stanza of its key
                                100,                         // its wrapped key
                                150,                         // what the part says of itself
                                400,                         // the rest of that
                                480,                         // MAC
                                age::part_header_bytes + 2,  // nonce
                                age::part_segments_at,       // segments
                                age::part_segments_at + age::segment_bytes - 1,
                                age::part_segments_at + age::segment_bytes,
                                part_bytes - 1};
  for (const std::size_t place : places) {
    const std::string sound = chunks[0][1];
    chunks[0][1][place] = static_cast<char>(chunks[0][1][place] ^ 1);
    refused(plain_of_part, "chunk chunk-0.bin, part 2");
    chunks[0][1] = sound;
  }
}

BOOST_AUTO_TEST_CASE(a_stream_of_another_length_than_recorded_is_refused) {
  expected = stream.size() + 1;
  refused(stream.size(), "its manifest records");
}

// What nobody sealed does not get past a key.
BOOST_AUTO_TEST_CASE(plain_parts_in_a_sealed_link_are_refused) {
  for (std::size_t at = 0, chunk = 0; chunk < chunks.size(); ++chunk) {
    for (std::string& part : chunks[chunk]) {
      part = stream.substr(at, part.size());
      at += part.size();
    }
  }
  refused(0, "chunk chunk-0.bin, part 1");
}

BOOST_AUTO_TEST_SUITE_END()
