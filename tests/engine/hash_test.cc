#include "engine/async_scope.hh"
#include "engine/hash_worker.hh"
#include "engine/sha256.hh"

#include "tests/engine/support.hh"
#include "tests/support/no_threads.hh"

#include <algorithm>
#include <cerrno>
#include <random>
#include <string>
#include <vector>

using namespace bts3::engine;
using namespace bts3::engine::testing;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::vector<std::byte> random_bytes(std::size_t count) {
  std::mt19937_64 generator(20240229);
  std::vector<std::byte> bytes(count);
  for (auto& one : bytes) {
    one = static_cast<std::byte>(generator());
  }
  return bytes;
}

sha256_state digest_of(std::span<const std::byte> bytes) {
  sha256_hasher hasher;
  hasher.update(bytes);
  return hasher.digest();
}

task<part_digest> fill_and_finish(part_hash hash, std::size_t bytes, std::size_t step) {
  for (std::size_t filled = 0; filled < bytes;) {
    filled = std::min(bytes, filled + step);
    hash.publish(filled);
  }
  auto finishing = hash.finish();
  co_return co_await std::move(finishing);
}

task<std::vector<part_digest>> hash_in_parts(reactor& loop, std::span<const std::byte> bytes,
                                             std::size_t part_bytes, std::size_t step) {
  hash_worker worker(loop);
  std::vector<part_digest> digests;
  for (std::size_t offset = 0; offset < bytes.size(); offset += part_bytes) {
    const auto part = bytes.subspan(offset, std::min(part_bytes, bytes.size() - offset));
    part_hash hash = offset == 0 ? worker.begin(part, true) : worker.next(part, true);
    auto filling = fill_and_finish(std::move(hash), part.size(), step);
    digests.push_back(co_await std::move(filling));
  }
  co_return digests;
}

task<void> abandon_midway(reactor& loop, std::span<const std::byte> bytes) {
  hash_worker worker(loop);
  {
    part_hash half = worker.begin(bytes);
    half.publish(bytes.size() / 2);
  }
  {
    part_hash first = worker.begin(bytes);
    part_hash queued = worker.next(bytes);
    queued.publish(1);
  }
  part_hash whole = worker.begin(bytes);
  auto filling = fill_and_finish(std::move(whole), bytes.size(), bytes.size());
  const part_digest digest = co_await std::move(filling);
  BOOST_TEST(digest.digest_if_last.hex() == digest_of(bytes).hex());
}

task<part_digest> hash_from_state(reactor& loop, std::span<const std::byte> part,
                                  sha256_state before, std::uint64_t bytes_before) {
  hash_worker worker(loop);
  part_hash hash = worker.begin(part, before, bytes_before);
  auto filling = fill_and_finish(std::move(hash), part.size(), part.size());
  co_return co_await std::move(filling);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(hash_suite)

// FIPS 180-4's example "abc", and its two-block message.
BOOST_AUTO_TEST_CASE(published_digests_are_reproduced) {
  BOOST_TEST(digest_of(bytes_of("abc")).hex() ==
             "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  BOOST_TEST(
      digest_of(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")).hex() ==
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

// The state before any byte is H(0) of FIPS 180-4, section 5.3.3.
BOOST_AUTO_TEST_CASE(the_state_before_any_byte_is_the_initial_hash_value) {
  BOOST_TEST(sha256_hasher().state()->hex() ==
             "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19");
}

BOOST_AUTO_TEST_CASE(a_state_exists_at_block_boundaries_only) {
  sha256_hasher hasher;
  hasher.update(bytes_of(std::string(63, 'a')));
  BOOST_TEST(!hasher.state().has_value());
  hasher.update(bytes_of("a"));
  BOOST_TEST(hasher.state().has_value());
}

BOOST_AUTO_TEST_CASE(hashing_goes_on_from_any_recorded_state) {
  const auto bytes = random_bytes(1 << 16);
  const std::span<const std::byte> all(bytes);
  for (const std::size_t cut : {std::size_t{64}, std::size_t{4096}, std::size_t{65472}}) {
    sha256_hasher head;
    head.update(all.first(cut));
    sha256_hasher tail(*head.state(), cut);
    tail.update(all.subspan(cut));
    BOOST_TEST(tail.digest().hex() == digest_of(all).hex());
  }
}

// The length in bits passes 32 bits at 512 MiB.
BOOST_AUTO_TEST_CASE(the_length_counter_survives_512_mebibytes) {
  const std::vector<std::byte> zeros(1 << 20);
  sha256_hasher whole;
  for (int i = 0; i < 513; ++i) {
    whole.update(zeros);
  }
  sha256_hasher head;
  for (int i = 0; i < 512; ++i) {
    head.update(zeros);
  }
  sha256_hasher tail(*head.state(), head.bytes());
  tail.update(zeros);
  BOOST_TEST(tail.digest().hex() == whole.digest().hex());
}

BOOST_AUTO_TEST_CASE(hexadecimal_goes_both_ways_and_refuses_anything_else) {
  const std::string text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  BOOST_TEST(sha256_state::from_hex(text)->hex() == text);
  BOOST_TEST(!sha256_state::from_hex(text.substr(1)).has_value());
  BOOST_TEST(!sha256_state::from_hex("BA" + text.substr(2)).has_value());
}

BOOST_AUTO_TEST_CASE(parts_hashed_as_they_fill_give_states_digest_and_crc) {
  const auto bytes = random_bytes(3'000'007);
  const std::size_t part_bytes = 1 << 20;
  for (const std::size_t step : {std::size_t{80}, std::size_t{100'000}, part_bytes}) {
    auto loop = make_reactor();
    const auto digests = loop->run(hash_in_parts(*loop, bytes, part_bytes, step));
    BOOST_REQUIRE(digests.size() == 3u);
    sha256_hasher reference;
    reference.update(std::span(bytes).first(part_bytes));
    BOOST_TEST(digests[0].state->hex() == reference.state()->hex());
    BOOST_TEST(digests[0].digest_if_last.hex() == reference.digest().hex());
    BOOST_TEST(!digests[2].state.has_value());
    BOOST_TEST(digests[2].digest_if_last.hex() == digest_of(bytes).hex());
    BOOST_TEST(digests[1].payload_sha256->hex() ==
               digest_of(std::span(bytes).subspan(part_bytes, part_bytes)).hex());
  }
}

// The check value of CRC-32/ISO-HDLC.
BOOST_AUTO_TEST_CASE(the_checksum_is_crc32_of_the_part) {
  auto loop = make_reactor();
  const auto digests = loop->run(hash_in_parts(*loop, bytes_of("123456789"), 9, 1));
  BOOST_TEST(digests.at(0).crc32 == 0xcbf43926u);
}

BOOST_AUTO_TEST_CASE(a_part_is_verified_alone_from_the_state_before_it) {
  auto loop = make_reactor();
  const auto bytes = random_bytes(2 << 20);
  sha256_hasher head;
  head.update(std::span(bytes).first(1 << 20));
  const auto digest =
      loop->run(hash_from_state(*loop, std::span(bytes).subspan(1 << 20), *head.state(), 1 << 20));
  BOOST_TEST(digest.digest_if_last.hex() == digest_of(bytes).hex());
}

BOOST_AUTO_TEST_CASE(an_abandoned_part_neither_blocks_nor_disturbs_the_next) {
  auto loop = make_reactor();
  const auto bytes = random_bytes(1'500'000);
  loop->run(abandon_midway(*loop, bytes));
}

BOOST_AUTO_TEST_CASE(a_thread_that_cannot_be_started_is_an_error) {
  auto loop = make_reactor();
  {
    const bts3::testing::no_threads here;
    const hash_worker worker(*loop);
    const auto ready = worker.ready();
    BOOST_REQUIRE(!ready);
    BOOST_TEST(ready.error().status == EAGAIN);
    BOOST_TEST(ready.error().text().find("starting a thread: ") == 0u, ready.error().text());
    BOOST_TEST(ready.error().remedy.find("TasksMax=") != std::string::npos, ready.error().remedy);
  }
  BOOST_TEST(hash_worker(*loop).ready().has_value());
}

BOOST_AUTO_TEST_SUITE_END()
