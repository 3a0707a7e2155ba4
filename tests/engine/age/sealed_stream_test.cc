// The data path with its real seal: what the streams hand out are age files.
#include "engine/age/backup_keys.hh"
#include "engine/age/key_files.hh"
#include "engine/age/part_seals.hh"
#include "engine/age/sealed_file.hh"
#include "tests/engine/age/support.hh"
#include "tests/engine/sealed_streams.hh"

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;
using bts3::engine::testing::bodies_of;
using bts3::engine::testing::check_digests;
using bts3::engine::testing::records_of;
using bts3::engine::testing::run_stream;
using bts3::engine::testing::sent_part;
using bts3::engine::testing::sent_stream;
using bts3::engine::testing::stream_setup;

static_assert(part_layout.sealed_bytes(1) == part_sealed_bytes(1));
static_assert(part_layout.sealed_bytes(65'537) == part_sealed_bytes(65'537));
static_assert(part_layout.plain_bytes_max(std::uint64_t{128} << 20U) ==
              part_plain_bytes(std::uint64_t{128} << 20U));
static_assert(part_layout.plain_bytes_max(part_segments_at + 16) == 0);

namespace {

constexpr std::size_t small_slot = 17 * 4096;  // the least that holds a segment

struct scene {
  x25519_identity of_user = value_of(x25519_identity::generate(seeded(1)));
  new_backup backup = value_of(make_backup_keys(std::array{of_user.recipient()}, seeded(2)));
  x25519_identity of_backup =
      value_of(open_backup_keys(backup.keys_object, std::span(&of_user, 1), backup.id));
  part_opener opener{value_of(x25519_identity::parse(of_backup.text().view()))};

  [[nodiscard]] part_seals seals(std::uint64_t seed, bool fingerprints = true) const {
    const random_source random = seeded(seed);
    return {backup.sealer(random), random, fingerprints};
  }
  // Where it lies, in the part's own memory.
  [[nodiscard]] bytes open(const sent_part& part, bytes body, std::uint64_t offset) const {
    auto opening =
        value_of(part_in_slot::begin(opener, body, {backup.id, part.chunk, part.number, offset}));
    BOOST_TEST(opening.plain_bytes() == part.plain_bytes);
    if (part.number % 2 == 0) {
      require(opening.open_all());
    }
    bytes plain;
    for (;;) {
      const auto text = value_of(opening.next());
      if (text.empty()) {
        return plain;
      }
      BOOST_TEST(text.data() >= body.data());
      plain.insert(plain.end(), text.begin(), text.end());
    }
  }
  void check(const sent_stream& seen, const std::vector<bytes>& bodies, const bytes& text) const {
    BOOST_REQUIRE_MESSAGE(!seen.failure, seen.failure.value_or(engine::error()).text());
    check_digests(seen, bodies, false);
    bytes plain;
    for (std::size_t index = 0; index < bodies.size(); ++index) {
      const bytes opened = open(seen.parts[index], bodies[index], plain.size());
      plain.insert(plain.end(), opened.begin(), opened.end());
    }
    BOOST_TEST((plain == text));
    BOOST_TEST(seen.plain_total == text.size());
  }
};

stream_setup setup_of(part_seals& by, std::size_t part_bytes, std::uint64_t chunk_bytes,
                      std::size_t slot_bytes, std::uint64_t seed = 1) {
  stream_setup made;
  made.by = &by;
  made.limits.part_bytes = part_bytes;
  made.limits.chunk_bytes = chunk_bytes;
  made.slot_bytes = slot_bytes;
  made.write_max = 200'000;
  made.seed = seed;
  return made;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sealed_stream)

BOOST_AUTO_TEST_CASE(random_streams_come_back_whole_part_by_part) {
  const scene here;
  std::mt19937_64 random(20'261'129);
  for (int round = 0; round < 60; ++round) {
    // Of hardly a byte, of a few segments, and with 1 to 16 bytes left over.
    const std::size_t part_bytes =
        std::array<std::size_t, 6>{576,
                                   640,
                                   65'600 + 64 * (random() % 40),
                                   (part_segments_at + 2 * segment_bytes) / 64 * 64,
                                   (part_segments_at + 2 * segment_bytes) / 64 * 64 + 64,
                                   64 * (2000 + random() % 10'000)}[random() % 6];
    const std::uint64_t chunk_bytes = part_bytes + random() % (3 * part_bytes);
    const std::size_t slot_bytes = std::array<std::size_t, 3>{0, small_slot, 131'072}[random() % 3];
    const std::size_t most = part_bytes < 1000 ? 3000 : 6 * part_bytes;
    BOOST_TEST_CONTEXT("round " << round << ", parts of " << part_bytes << ", chunks of "
                                << chunk_bytes << ", slots of " << slot_bytes) {
      part_seals by = here.seals(random());
      const bytes text = random_bytes(random() % most, random());
      const sent_stream seen =
          run_stream(setup_of(by, part_bytes, chunk_bytes, slot_bytes, random()), text);
      here.check(seen, bodies_of(seen), text);
    }
  }
}

BOOST_AUTO_TEST_CASE(ends_around_segments_and_parts_are_met) {
  const scene here;
  constexpr std::size_t part_bytes = 196'608 + 576;
  constexpr std::uint64_t full = part_layout.plain_bytes_max(part_bytes);
  for (const std::uint64_t end :
       {std::uint64_t{65'536}, std::uint64_t{131'072}, full, 2 * full, full + 65'536}) {
    for (const std::uint64_t length : {end - 1, end, end + 1}) {
      for (const std::size_t slot_bytes : {std::size_t{0}, small_slot}) {
        part_seals by = here.seals(length);
        const bytes text = random_bytes(length, 5);
        const sent_stream seen =
            run_stream(setup_of(by, part_bytes, 2 * part_bytes, slot_bytes), text);
        BOOST_TEST(seen.parts.size() == (length + full - 1) / full);
        here.check(seen, bodies_of(seen), text);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(age_opens_each_part) {
  const scene here;
  const engine::testing::scratch_directory folder;
  const auto write = [&](const std::string& name, std::string_view content) {
    std::ofstream file(folder.path() + "/" + name, std::ios::binary);
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
    file.close();
    BOOST_REQUIRE(file.good());
  };
  write("key", here.of_backup.text().view());
  for (const std::size_t slot_bytes : {std::size_t{0}, small_slot}) {
    part_seals by = here.seals(70);
    const bytes text = random_bytes(1'200'000, 6);
    const sent_stream seen = run_stream(setup_of(by, 300'032, 700'000, slot_bytes), text);
    BOOST_REQUIRE(seen.parts.size() == 5U);
    for (std::size_t index = 0; index < seen.parts.size(); ++index) {
      write("part" + std::to_string(index), age::text_of(seen.parts[index].body));
    }
    const std::string command = "cd " + folder.path() +
                                " && for one in 0 1 2 3 4; do age -d -i key part$one || exit; "
                                "done >plain 2>err";
    const int status = std::system(command.c_str());
    BOOST_REQUIRE(WIFEXITED(status));
    BOOST_REQUIRE_MESSAGE(WEXITSTATUS(status) == 0,
                          "age -d: is it installed, by tests/install_dependencies.sh test?");
    std::ifstream opened(folder.path() + "/plain", std::ios::binary);
    BOOST_TEST((of_text(std::string(std::istreambuf_iterator<char>(opened), {})) == text));
  }
}

BOOST_AUTO_TEST_CASE(equal_texts_share_no_sixteen_bytes) {
  const scene here;
  std::set<std::string> seen_blocks;
  for (const std::size_t slot_bytes : {std::size_t{0}, small_slot}) {
    part_seals by = here.seals(80 + slot_bytes);
    const bytes text(500'000, std::byte{0});
    const sent_stream seen = run_stream(setup_of(by, 200'000, 10'000'000, slot_bytes), text);
    here.check(seen, bodies_of(seen), text);
    for (const sent_part& part : seen.parts) {
      for (std::size_t at = part_header_bytes; at + 16 <= part.body.size(); at += 16) {
        BOOST_TEST_REQUIRE(
            seen_blocks.insert(std::string(age::text_of(std::span(part.body).subspan(at, 16))))
                .second);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_random_source_that_fails_ends_the_stream_before_its_part_is_shown) {
  const scene here;
  for (const std::size_t slot_bytes : {std::size_t{0}, small_slot}) {
    for (int good = 0;; ++good) {
      int left = good;
      const random_source fails_later = [&left, real = seeded(16)](std::span<std::byte> to) {
        return left-- > 0 && real(to);
      };
      part_seals by(here.backup.sealer(fails_later), fails_later, true);
      const bytes text = random_bytes(250'000, 8);
      const sent_stream seen = run_stream(setup_of(by, 131'072, 1 << 20, slot_bytes), text);
      if (!seen.failure) {
        BOOST_TEST(good == 8);  // of two parts: fingerprint, file key, nonce, ephemeral key
        here.check(seen, bodies_of(seen), text);
        break;
      }
      BOOST_TEST(fault_of(*seen.failure).value() == fault::random);
      std::size_t whole = 0;
      for (const sent_part& part : seen.parts) {
        whole += part.body.empty() ? 0 : 1;
      }
      BOOST_TEST(whole == (good < 4 ? 0U : 1U));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_repeated_stream_is_compared_by_its_fingerprints) {
  const scene here;
  constexpr std::size_t part_bytes = 131'072;
  const bytes text = random_bytes(700'000, 9);
  for (const std::size_t slot_bytes : {std::size_t{0}, small_slot}) {
    part_seals by = here.seals(90);
    const sent_stream first = run_stream(setup_of(by, part_bytes, 300'000, slot_bytes), text);
    const std::vector<bytes> before = bodies_of(first);
    here.check(first, before, text);
    for (const std::size_t differs : {std::size_t{0}, std::size_t{1}, std::size_t{4}, SIZE_MAX}) {
      bytes repeated = text;
      if (differs < first.parts.size()) {
        repeated[differs * part_layout.plain_bytes_max(part_bytes) % text.size()] ^= std::byte{1};
      }
      part_seals again = here.seals(91 + differs);
      stream_setup with = setup_of(again, part_bytes, 300'000, slot_bytes);
      with.recorded = records_of(first);
      const sent_stream seen = run_stream(with, repeated);
      std::vector<bytes> bodies = bodies_of(seen);
      std::size_t same = 0;
      for (std::size_t index = 0; index < bodies.size(); ++index) {
        if (seen.parts[index].digest.same) {
          ++same;
          BOOST_TEST(bodies[index].empty());
          bodies[index] = before[index];
        } else {
          BOOST_TEST((bodies[index] != before[index]));
        }
      }
      BOOST_TEST((differs == SIZE_MAX) == (same == bodies.size()));
      here.check(seen, bodies, repeated);
    }
    part_seals again = here.seals(95);
    stream_setup with = setup_of(again, part_bytes, 300'000, slot_bytes);
    with.recorded = records_of(first);
    with.recorded.at({0, 1}).digest.fingerprint = "00";
    const sent_stream refused = run_stream(with, text);
    BOOST_REQUIRE(refused.failure.has_value());
    BOOST_TEST(fault_of(*refused.failure).value() == fault::key);
  }
}

BOOST_AUTO_TEST_CASE(without_a_journal_there_is_no_fingerprint) {
  const scene here;
  part_seals by = here.seals(97, false);
  const bytes text = random_bytes(200'000, 9);
  const sent_stream seen = run_stream(setup_of(by, 131'072, 1 << 20, 0), text);
  here.check(seen, bodies_of(seen), text);
  for (const sent_part& part : seen.parts) {
    BOOST_TEST(part.digest.fingerprint.empty());
  }
}

namespace {

// What can be had of it before it ends or fails.
engine::result<void> opened(part_in_slot& part, bytes& into) {
  for (;;) {
    const auto piece = part.next();
    if (!piece) {
      return piece.error();
    }
    if (piece->empty()) {
      return engine::ok();
    }
    into.insert(into.end(), piece->begin(), piece->end());
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_part_is_opened_where_it_lies_and_a_damaged_one_only_up_to_the_damage) {
  const scene here;
  part_seals by = here.seals(98);
  const bytes text = random_bytes(200'000, 10);
  const sent_stream seen = run_stream(setup_of(by, 1 << 20, 1 << 20, 0), text);
  BOOST_REQUIRE(seen.parts.size() == 1U);
  const part_place place{here.backup.id, 0, 1, 0};
  for (std::size_t damaged = 0; damaged <= 4; ++damaged) {  // of four segments; 4: none
    bytes body = seen.parts[0].body;
    if (damaged < 4) {
      body[part_segments_at + damaged * segment_bytes + 7] ^= std::byte{1};
    }
    auto opening = value_of(part_in_slot::begin(here.opener, body, place));
    bytes passed;
    const auto outcome = opened(opening, passed);
    const std::size_t expected = std::min(text.size(), damaged * segment_plain_bytes);
    BOOST_TEST(
        (passed == bytes(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(
                                                          damaged < 4 ? expected : text.size()))));
    if (damaged == 4) {
      BOOST_TEST(outcome.has_value());
    } else {
      BOOST_TEST(fault_in(outcome) == fault::payload);
      bytes again = seen.parts[0].body;
      again[part_segments_at + damaged * segment_bytes + 7] ^= std::byte{1};
      auto at_once = value_of(part_in_slot::begin(here.opener, again, place));
      BOOST_TEST(fault_in(at_once.open_all()) == fault::payload);
    }
  }
  bytes elsewhere = seen.parts[0].body;
  BOOST_TEST(fault_in(part_in_slot::begin(here.opener, elsewhere, {here.backup.id, 0, 2, 0})) ==
             fault::place);
  BOOST_TEST(fault_in(part_in_slot::begin(here.opener, std::span(elsewhere).first(100), place)) ==
             fault::header);
}

BOOST_AUTO_TEST_SUITE_END()
