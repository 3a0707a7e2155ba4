#include "engine/age/backup_keys.hh"
#include "engine/age/base64.hh"
#include "engine/age/key_files.hh"
#include "engine/age/part_stanza.hh"
#include "engine/age/plain_fingerprint.hh"
#include "engine/age/sealed_file.hh"
#include "engine/age/sealed_part.hh"
#include "tests/engine/age/support.hh"

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <type_traits>

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;

// 128 MiB: 2,047 whole segments and one of 32,240 plain bytes.
static_assert(part_plain_bytes(std::uint64_t{128} << 20U) == 2047 * 65536 + 32240);
static_assert(segments_of(2047 * 65536 + 32240) == 2048);
static_assert(part_sealed_bytes(2047 * 65536 + 32240) == std::uint64_t{128} << 20U);
static_assert(part_size_is_exact(std::uint64_t{128} << 20U));
static_assert(part_size_is_exact(std::uint64_t{5} << 20U));
static_assert(part_size_is_exact(std::uint64_t{5} << 30U));
static_assert(!part_plain_bytes(part_segments_at + 16) && part_plain_bytes(part_segments_at + 17));
static_assert(!part_size_is_exact(part_segments_at + segment_bytes + 1));
static_assert(!part_size_is_exact(part_segments_at + segment_bytes + 16));
static_assert(part_size_is_exact(part_segments_at + segment_bytes + 17));
// A key is never copied.
static_assert(!std::is_copy_constructible_v<part_in_sealing>);
static_assert(!std::is_copy_assignable_v<part_in_sealing>);
static_assert(!std::is_copy_constructible_v<stream_sealer>);
static_assert(!std::is_copy_constructible_v<file_key>);
static_assert(!std::is_copy_constructible_v<x25519_identity>);

namespace {

constexpr std::uint64_t part_bytes = part_segments_at + 2 * segment_bytes + 100;

x25519_identity identity_of(std::uint64_t seed) {
  return value_of(x25519_identity::generate(seeded(seed)));
}

backup_id id_of(std::uint64_t seed) {
  return value_of(backup_id::make(seeded(seed)));
}

const std::string other_fingerprint = "SHA256:" + std::string(42, 'x') + "8";

named_recipient named(const x25519_identity& one) {
  return {one.recipient(),
          "SHA256:" + base64_encode(one.recipient().public_point(), padding::none)};
}

// As the data path does it: plain bytes at their stride, sealed there, the header at the end.
bytes seal_part(const part_sealer& with, const part_place& place, const bytes& plain) {
  auto part = value_of(with.begin(place.chunk, place.part, place.offset));
  bytes slot(part_sealed_bytes(plain.size()));
  const std::uint64_t segments = segments_of(plain.size());
  for (std::uint64_t index = 0; index < segments; ++index) {
    const auto room = std::span(slot).subspan(part_segments_at + index * segment_bytes);
    const std::size_t from = index * segment_plain_bytes;
    const std::size_t here = std::min(segment_plain_bytes, plain.size() - from);
    std::copy_n(plain.begin() + static_cast<std::ptrdiff_t>(from), here, room.begin());
    require(part.seal(room, here, index + 1 == segments));
  }
  BOOST_TEST(!part.done());
  require(part.write_header(std::span(slot).first<part_segments_at>()));
  BOOST_TEST(part.done());
  return slot;
}

engine::result<bytes> open_part(const part_opener& with, bytes part, const part_place& expected) {
  auto opening = with.begin(std::span(part).first(std::min(part.size(), part_segments_at)),
                            part.size(), expected);
  if (!opening) {
    return std::move(opening.error());
  }
  bytes plain;
  for (std::uint64_t index = 0; index < opening->segments(); ++index) {
    const auto [from, size] = opening->range_of(index);
    auto text = opening->open(std::span(part).subspan(from, size), index);
    if (!text) {
      return std::move(text.error());
    }
    plain.insert(plain.end(), text->begin(), text->end());
  }
  BOOST_TEST(plain.size() == opening->plain_bytes());
  return plain;
}

// A backup with its keys, and one part of it.
struct scene {
  x25519_identity of_user = identity_of(1);
  new_backup backup = value_of(make_backup_keys(std::array{of_user.recipient()}, seeded(2)));
  part_sealer sealer = backup.sealer(seeded(3));
  part_opener opener{
      value_of(open_backup_keys(backup.keys_object, std::span(&of_user, 1), backup.id))};
  part_place place{backup.id, 2, 17, 123'456'789'012};
  bytes plain = random_bytes(*part_plain_bytes(part_bytes), 4);
  bytes part = seal_part(sealer, place, plain);
};

}  // namespace

BOOST_AUTO_TEST_SUITE(part)

// Around each edge: headers, tags, segments.
BOOST_AUTO_TEST_CASE(a_part_holds_the_most_plain_bytes_that_fit_and_not_one_more) {
  for (std::uint64_t bytes = 0; bytes < part_segments_at + 17; ++bytes) {
    BOOST_TEST(!part_plain_bytes(bytes).has_value());
    BOOST_TEST(!part_size_is_exact(bytes));
  }
  for (std::uint64_t segments = 1; segments < 4; ++segments) {
    for (std::uint64_t rest = 0; rest < 64; ++rest) {
      const std::uint64_t bytes = part_segments_at + segments * segment_bytes + rest;
      const auto plain = part_plain_bytes(bytes);
      BOOST_REQUIRE(plain.has_value());
      BOOST_TEST(part_sealed_bytes(*plain) <= bytes);
      BOOST_TEST(part_sealed_bytes(*plain + 1) > bytes);
      // A tag alone, or less, is no segment: there a full part is shorter.
      BOOST_TEST(part_size_is_exact(bytes) == (rest == 0 || rest > 16));
    }
  }
}

BOOST_AUTO_TEST_CASE(headers_have_512_bytes_whatever_they_say) {
  const scene here;
  constexpr auto most_small = std::numeric_limits<std::uint32_t>::max();
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  for (const part_place& place : {part_place{here.backup.id, 0, 0, 0},
                                  part_place{here.backup.id, most_small, most_small, most},
                                  part_place{here.backup.id, 1, 10000, 1U << 30U}}) {
    const bytes part = seal_part(here.sealer, place, of_text("x"));
    const header read = value_of(read_header(part));
    BOOST_TEST(read.bytes == part_header_bytes);
    BOOST_TEST((value_of(find_part_stanza(read)) == place));
    BOOST_TEST((value_of(open_part(here.opener, part, place)) == of_text("x")));
  }
}

BOOST_AUTO_TEST_CASE(a_part_comes_back_and_is_an_age_file_of_its_own) {
  const scene here;
  BOOST_TEST(here.part.size() == part_bytes);
  BOOST_TEST((value_of(open_part(here.opener, here.part, here.place)) == here.plain));
  const auto by = value_of(
      open_backup_keys(here.backup.keys_object, std::span(&here.of_user, 1), here.backup.id));
  const auto whole = value_of(open_file(here.part, std::span(&by, 1)));
  BOOST_TEST((whole.view() == text_of(here.plain)));
  // Of nothing there is a part, too.
  const part_place end{here.backup.id, 3, 1, 5};
  BOOST_TEST(value_of(open_part(here.opener, seal_part(here.sealer, end, {}), end)).empty());
}

BOOST_AUTO_TEST_CASE(no_two_parts_share_sixteen_bytes_of_cipher_text) {
  const scene here;
  const bytes again = seal_part(here.sealer, here.place, here.plain);
  std::set<std::string> seen;
  for (const bytes* part : {&here.part, &again}) {
    for (std::size_t at = part_header_bytes; at + 16 <= part->size(); at += 16) {
      BOOST_TEST_REQUIRE(
          seen.insert(std::string(text_of(std::span(*part).subspan(at, 16)))).second);
    }
  }
  // Of the headers what differs is the ephemeral key, the wrapped key and the MAC.
  BOOST_TEST(text_of(std::span(here.part).subspan(120, 344)) ==
             text_of(std::span(again).subspan(120, 344)));
  BOOST_TEST(text_of(std::span(here.part).first(120)) != text_of(std::span(again).first(120)));
}

BOOST_AUTO_TEST_CASE(each_thing_that_is_not_as_expected_is_named) {
  const scene here;
  struct row {
    part_place expected;
    const char* word;
  };
  part_place other_backup = here.place;
  other_backup.backup = id_of(99);
  part_place other_chunk = here.place;
  other_chunk.chunk = 3;
  part_place other_part = here.place;
  other_part.part = 18;
  part_place other_offset = here.place;
  other_offset.offset -= 1;
  for (const row& one : {row{other_backup, "backup"}, row{other_chunk, "chunk"},
                         row{other_part, "part 17 of its chunk"},
                         row{other_offset, "byte 123456789012 of the stream"}}) {
    const auto refused = open_part(here.opener, here.part, one.expected);
    BOOST_TEST(fault_in(refused) == fault::place);
    BOOST_TEST(refused.error().message.find(one.word) != std::string::npos, refused.error().text());
  }
}

BOOST_AUTO_TEST_CASE(a_foreign_part_is_refused_although_it_says_the_right_place) {
  const scene here;
  // Of another backup of the same user, whose sealer claims the id of this one.
  const new_backup other =
      value_of(make_backup_keys(std::array{here.of_user.recipient()}, seeded(50)));
  const part_sealer claims(other.recipient, here.backup.id, seeded(51));
  const bytes foreign = seal_part(claims, here.place, here.plain);
  BOOST_TEST(fault_in(open_part(here.opener, foreign, here.place)) == fault::no_match);
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_anywhere_in_a_part_is_refused) {
  const scene here;
  for (std::size_t bit = 0; bit < 8 * here.part.size();
       bit += bit < 8 * part_segments_at ? 1 : 9973) {
    bytes changed = here.part;
    changed[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    const auto refused = open_part(here.opener, std::move(changed), here.place);
    const fault what = fault_in(refused);
    BOOST_TEST((what == fault::header || what == fault::mac || what == fault::no_match ||
                what == fault::payload),
               "bit " << bit << ": " << refused.error().text());
  }
}

BOOST_AUTO_TEST_CASE(parts_that_are_cut_or_prolonged_are_refused) {
  const scene here;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, part_header_bytes - 1, part_header_bytes,
        part_segments_at - 1, part_segments_at, part_segments_at + 15, part_segments_at + 16,
        part_segments_at + segment_bytes, part_segments_at + segment_bytes + 8,
        part_segments_at + 2 * segment_bytes, here.part.size() - 1}) {
    const bytes cut(here.part.begin(), here.part.begin() + static_cast<std::ptrdiff_t>(size));
    const fault what = fault_in(open_part(here.opener, cut, here.place));
    BOOST_TEST((what == fault::header || what == fault::payload), size);
  }
  for (const std::size_t more : {std::size_t{1}, std::size_t{16}, segment_bytes}) {
    bytes longer = here.part;
    longer.resize(longer.size() + more, std::byte{7});
    BOOST_TEST(fault_in(open_part(here.opener, longer, here.place)) == fault::payload);
  }
}

BOOST_AUTO_TEST_CASE(segments_of_another_part_are_refused_under_its_header) {
  const scene here;
  const bytes other = seal_part(here.sealer, here.place, here.plain);
  bytes mixed = here.part;
  std::copy(other.begin() + part_segments_at, other.end(), mixed.begin() + part_segments_at);
  BOOST_TEST(fault_in(open_part(here.opener, mixed, here.place)) == fault::payload);
  bytes swapped = here.part;
  std::swap_ranges(swapped.begin() + part_segments_at,
                   swapped.begin() + part_segments_at + segment_bytes,
                   swapped.begin() + part_segments_at + segment_bytes);
  BOOST_TEST(fault_in(open_part(here.opener, swapped, here.place)) == fault::payload);
}

BOOST_AUTO_TEST_CASE(stanzas_of_another_form_are_refused) {
  const stanza right = part_stanza({id_of(5), 1, 2, 3});
  const part_place read = value_of(read_part_stanza(right));
  BOOST_TEST((read == part_place{id_of(5), 1, 2, 3}));
  BOOST_TEST(right.text().size() == 344U);
  const auto is_refused = [](const stanza& one) {
    return fault_in(read_part_stanza(one)) == fault::header;
  };
  for (std::size_t index = 1; index < right.arguments.size(); ++index) {
    for (const char* const text : {"1", "-000000001", "+000000001", "0x00000001", "99999999999",
                                   "4294967296", "99999999999999999999", "LAST", "0000000001 "}) {
      stanza changed = right;
      changed.arguments[index] = text;
      BOOST_TEST(is_refused(changed), text);
    }
  }
  stanza more = right;
  more.arguments.emplace_back("1");
  BOOST_TEST(is_refused(more));
  stanza fewer = right;
  fewer.arguments.pop_back();
  BOOST_TEST(is_refused(fewer));
  stanza body = right;
  body.body.back() = std::byte{1};
  BOOST_TEST(is_refused(body));
  body.body.pop_back();
  BOOST_TEST(is_refused(body));
  stanza capitals = right;
  capitals.arguments[1] = std::string(32, 'A');
  BOOST_TEST(is_refused(capitals));
  header both;
  both.stanzas = {right, right};
  BOOST_TEST(fault_in(find_part_stanza(both)) == fault::header);
  both.stanzas.clear();
  BOOST_TEST(fault_in(find_part_stanza(both)) == fault::header);
}

BOOST_AUTO_TEST_CASE(no_part_begins_without_random_bytes) {
  const scene here;
  int asked = 0;
  for (int good = 0; good < 10 && asked == 0; ++good) {
    int left = good;
    const random_source fails_later = [&, real = seeded(16)](std::span<std::byte> to) {
      return left-- > 0 && real(to);
    };
    const auto begun = here.backup.sealer(fails_later).begin(1, 1, 0);
    if (begun) {
      asked = good;
    } else {
      BOOST_TEST(fault_in(begun) == fault::random);
    }
  }
  BOOST_TEST(asked == 3);  // part key, nonce, ephemeral key
  const random_source none = [](std::span<std::byte>) { return false; };
  BOOST_TEST(fault_in(make_backup_keys(std::array{here.of_user.recipient()}, none)) ==
             fault::random);
}

BOOST_AUTO_TEST_CASE(keys_of_a_backup_are_for_its_recipients_and_can_be_given_to_others) {
  const auto one = identity_of(21);
  const auto two = identity_of(22);
  const auto new_one = identity_of(23);
  const new_backup backup =
      value_of(make_backup_keys(std::array{one.recipient(), two.recipient()}, seeded(24)));
  for (const x25519_identity* by : {&one, &two}) {
    const auto found = value_of(open_backup_keys(backup.keys_object, std::span(by, 1), backup.id));
    BOOST_TEST((found.recipient() == backup.recipient));
  }
  BOOST_TEST(fault_in(open_backup_keys(backup.keys_object, std::span(&new_one, 1), backup.id)) ==
             fault::no_match);
  BOOST_TEST(fault_in(open_backup_keys(backup.keys_object, std::span(&one, 1), id_of(9))) ==
             fault::key);
  const bytes rewrapped = value_of(rewrap_backup_keys(
      backup.keys_object, std::span(&one, 1), backup.id, std::array{named(new_one)}, seeded(25)));
  const auto found = value_of(open_backup_keys(rewrapped, std::span(&new_one, 1), backup.id));
  BOOST_TEST((found.recipient() == backup.recipient));
  BOOST_TEST(fault_in(open_backup_keys(rewrapped, std::span(&one, 1), backup.id)) ==
             fault::no_match);
  // By hand it is an identity file.
  const auto text = value_of(open_file(rewrapped, std::span(&new_one, 1)));
  const auto by_hand = value_of(parse_identities(text.view()));
  BOOST_REQUIRE(by_hand.size() == 1U);
  BOOST_TEST((by_hand.front().recipient() == backup.recipient));
}

BOOST_AUTO_TEST_CASE(keys_that_were_given_to_others_name_them_and_new_ones_name_nobody) {
  const auto one = identity_of(51);
  const auto two = identity_of(52);
  const new_backup backup =
      value_of(make_backup_keys(std::array{one.recipient(), two.recipient()}, seeded(53)));
  BOOST_TEST(value_of(recipients_named_in(backup.keys_object)).empty());
  const std::vector<named_recipient> to = {named(two), {one.recipient(), other_fingerprint}};
  const bytes anew = value_of(
      rewrap_backup_keys(backup.keys_object, std::span(&one, 1), backup.id, to, seeded(54)));
  const auto names = value_of(recipients_named_in(anew));
  BOOST_TEST(names == (std::vector<std::string>{named(two).fingerprint, other_fingerprint}),
             boost::test_tools::per_element());
  // The names are covered by the MAC: another one is noticed by whoever can open it.
  bytes forged = anew;
  const std::string_view text = text_of(forged);
  forged[text.find(other_fingerprint) + 10] ^= std::byte{1};
  BOOST_TEST(value_of(recipients_named_in(forged)) != names);
  BOOST_TEST(fault_in(open_backup_keys(forged, std::span(&one, 1), backup.id)) == fault::mac);
}

BOOST_AUTO_TEST_CASE(names_in_keys_objects_are_one_a_recipient_and_fingerprints) {
  const auto user = identity_of(61);
  const auto object = [&](const std::vector<stanza>& beside) {
    return value_of(seal_file(bytes_of("x"), std::array{user.recipient()}, seeded(62), beside));
  };
  const std::string type(recipient_type);
  BOOST_TEST(value_of(recipients_named_in(object({{{type, other_fingerprint}, {}}}))).size() == 1U);
  BOOST_TEST(value_of(recipients_named_in(object({{{"grease", "x"}, {}}}))).empty());
  const stanza good{{type, other_fingerprint}, {}};
  for (const std::vector<stanza>& bad :
       std::vector<std::vector<stanza>>{{good, good},
                                        {{{type}, {}}},
                                        {{{type, other_fingerprint, "x"}, {}}},
                                        {{{type, other_fingerprint}, std::vector<std::byte>(1)}},
                                        {{{type, other_fingerprint.substr(1)}, {}}},
                                        {{{type, other_fingerprint + "A"}, {}}},
                                        {{{type, "SHA256:"}, {}}}}) {
    BOOST_TEST(fault_in(recipients_named_in(object(bad))) == fault::header);
  }
  BOOST_TEST(fault_in(recipients_named_in({})) == fault::header);
}

BOOST_AUTO_TEST_CASE(the_size_of_a_new_keys_object_is_known_before) {
  std::vector<x25519_recipient> to;
  for (unsigned count = 1; count <= 5; ++count) {
    to.push_back(identity_of(70 + count).recipient());
    const auto made = value_of(make_backup_keys(to, seeded(80 + count)));
    BOOST_TEST(made.keys_object.size() == new_keys_object_bytes(to.size()));
  }
  const auto by = identity_of(71);
  const auto made = value_of(make_backup_keys(std::array{by.recipient()}, seeded(90)));
  for (const std::size_t named_ones : {1U, 2U, 14U, 97U}) {
    const std::vector<named_recipient> all(named_ones, named(by));
    const bytes anew =
        value_of(rewrap_backup_keys(made.keys_object, std::span(&by, 1), made.id, all, seeded(91)));
    for (std::size_t count = 1; count <= 100; ++count) {
      BOOST_TEST(anew.size() != new_keys_object_bytes(count));
    }
  }
}

BOOST_AUTO_TEST_CASE(keys_objects_that_hold_something_else_are_refused) {
  const auto user = identity_of(31);
  const auto of_backup = identity_of(32);
  const backup_id id = id_of(33);
  const std::string name = "# btrfs_to_s3 backup " + id.text() + "\n";
  const std::string key(of_backup.text().view());
  const auto opened = [&](const std::string& plain) {
    const bytes object =
        value_of(seal_file(bytes_of(plain), std::array{user.recipient()}, seeded(34)));
    return open_backup_keys(object, std::span(&user, 1), id);
  };
  BOOST_TEST(opened(name + key).has_value());
  for (const std::string& plain :
       {std::string(), name, key, name + key + "\n" + key + "\n", name + key.substr(1)}) {
    BOOST_TEST(fault_in(opened(plain)) == fault::key);
  }
  bytes damaged =
      value_of(seal_file(bytes_of(name + key), std::array{user.recipient()}, seeded(35)));
  damaged.back() ^= std::byte{1};
  BOOST_TEST(fault_in(open_backup_keys(damaged, std::span(&user, 1), id)) == fault::payload);
  BOOST_TEST(fault_in(rewrap_backup_keys(damaged, std::span(&user, 1), id, std::array{named(user)},
                                         seeded(36))) == fault::payload);
  BOOST_TEST(fault_in(make_backup_keys({}, seeded(37))) == fault::key);
}

BOOST_AUTO_TEST_CASE(age_files_that_are_no_parts_are_refused) {
  const auto of_backup = identity_of(41);
  const backup_id id = id_of(42);
  const part_opener opener(value_of(x25519_identity::parse(of_backup.text().view())));
  const auto refused = [&](const bytes& file) {
    const auto begun = opener.begin(file, file.size(), part_place{id, 1, 1, 0});
    return fault_in(begun) == fault::header;
  };
  const std::array to{of_backup.recipient()};
  BOOST_TEST(refused(value_of(seal_file(bytes_of("x"), to, seeded(43)))));
  // With our stanza, and another beside it: of another length than all headers have.
  file_key key;
  require(fill_random(seeded(44), key.writable()));
  stanza more;
  more.arguments = {"more"};
  const std::string longer = value_of(write_header(
      {value_of(of_backup.recipient().wrap(key, seeded(45))), part_stanza({id, 1, 1, 0}), more},
      key));
  BOOST_TEST(refused(of_text(longer + std::string(32, 'x'))));
}

BOOST_AUTO_TEST_CASE(fingerprints_tell_texts_apart_and_are_kept_as_text) {
  const bytes plain = random_bytes(100000, 1);
  auto first = value_of(plain_fingerprint::fresh(seeded(30)));
  require(first.update(plain));
  const recorded_fingerprint known = value_of(first.finish());
  const auto kept = recorded_fingerprint::parse(known.text());
  BOOST_REQUIRE(kept.has_value());
  BOOST_TEST((*kept == known));
  BOOST_TEST(known.text().size() == 96U);
  // However it comes in pieces.
  for (const std::size_t piece : {std::size_t{1}, std::size_t{17}, std::size_t{65536}}) {
    auto again = value_of(plain_fingerprint::like(*kept));
    for (std::size_t at = 0; at < plain.size(); at += piece) {
      require(again.update(std::span(plain).subspan(at, std::min(piece, plain.size() - at))));
    }
    BOOST_TEST((value_of(again.finish()) == known));
  }
  for (const std::size_t at : {std::size_t{0}, plain.size() / 2, plain.size() - 1}) {
    bytes other = plain;
    other[at] ^= std::byte{1};
    auto again = value_of(plain_fingerprint::like(known));
    require(again.update(other));
    BOOST_TEST(!(value_of(again.finish()) == known));
  }
  auto shorter = value_of(plain_fingerprint::like(known));
  require(shorter.update(std::span(plain).first(plain.size() - 1)));
  BOOST_TEST(!(value_of(shorter.finish()) == known));
  // Each has a key of its own, so equal texts do not show.
  const auto random = seeded(31);
  auto one = value_of(plain_fingerprint::fresh(random));
  auto two = value_of(plain_fingerprint::fresh(random));
  const std::string of_one = value_of(one.finish()).text();
  const std::string of_two = value_of(two.finish()).text();
  BOOST_TEST(of_one.substr(0, 64) != of_two.substr(0, 64));
  BOOST_TEST(of_one.substr(64) != of_two.substr(64));
  for (const char* const text : {"", "00", "zz"}) {
    BOOST_TEST(!recorded_fingerprint::parse(text).has_value());
  }
  BOOST_TEST(!recorded_fingerprint::parse(std::string(95, '0')).has_value());
  BOOST_TEST(!recorded_fingerprint::parse(std::string(97, '0')).has_value());
  BOOST_TEST(!recorded_fingerprint::parse(std::string(96, 'A')).has_value());
  BOOST_TEST(fault_in(plain_fingerprint::fresh([](std::span<std::byte>) { return false; })) ==
             fault::random);
}

BOOST_AUTO_TEST_SUITE_END()
