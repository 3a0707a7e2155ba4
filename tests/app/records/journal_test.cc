#include "app/records/journal_codec.hh"
#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "app/records/state_store.hh"
#include "app/records/verify_record.hh"
#include "tests/app/support.hh"
#include "tests/support/as_nobody.hh"
#include "tests/support/outcome.hh"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

using namespace bts3::app;
using namespace bts3::engine;
using bts3::planner::backup_kind;
using bts3::planner::timestamp;
using bts3::testing::content_of;
using bts3::testing::error_text;
using bts3::testing::event_log;
using bts3::testing::scratch_directory;
using bts3::testing::write_file;

namespace {

backup_intent intent() {
  backup_intent made;
  made.subvolume = "data";
  made.source = "/srv/data";
  made.kind = backup_kind::incremental;
  made.when = timestamp::parse("20260121T020003Z").value();
  made.snapshot_name = "data__20260121T020003Z__inc";
  made.snapshot_path = "/srv/snapshots/" + made.snapshot_name;
  made.manifest_key = "p/subvol/data/incremental/manifest-20260121T020003Z.json";
  made.keys_root = "p/subvol/data/";
  made.chunk_tag = "0badcafe";
  made.parent_manifest = "p/subvol/data/full/manifest-20260101T020003Z.json";
  made.parent_snapshot = "/srv/snapshots/data__20260101T020003Z__full";
  made.pointer_before = "{\"manifest_key\": \"\xc3\xa9\"}\n";
  made.endpoint_url = "https://s3.example";
  made.region = "r";
  made.bucket = "b";
  made.protocol = 2;
  made.compressed_data = true;
  made.part_size = 1 << 20;
  made.chunk_size = 3 << 20;
  return made;
}

sha256_state some_state(std::uint32_t seed) {
  sha256_state state;
  for (std::size_t i = 0; i < state.words.size(); ++i) {
    state.words[i] = seed * 0x9E3779B1U + static_cast<std::uint32_t>(i);
  }
  return state;
}

journalled_part part(std::uint32_t seed, bool whole_blocks = true) {
  journalled_part made;
  made.size = seed;
  made.etag = "e" + std::to_string(seed);
  made.crc32 = 0xFFFFFFFFU - seed;
  if (whole_blocks) {
    made.state = some_state(seed);
  }
  made.digest = some_state(seed + 1);
  return made;
}

const std::string fingerprint(96, 'a');

backup_intent sealed_intent() {
  backup_intent made = intent();
  const auto to = bts3::age::x25519_recipient::parse(
      "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p");
  made.sealing.emplace(bts3::age::backup_id::parse(std::string(32, '7')).value(), to.value(),
                       "p/subvol/data/incremental/keys-20260121T020003Z.age",
                       std::vector<std::byte>(50, std::byte{3}),
                       std::vector<std::string>{"SHA256:a"});
  return made;
}

// As put_index() notes it; where it belongs, its reader finds out.
bts3::planner::index_record some_index(bool sealed) {
  bts3::planner::index_record made;
  made.key = std::string("p/subvol/data/incremental/index-20260121T020003Z-0badcafe.zst") +
             (sealed ? ".age" : "");
  made.size = 900;
  made.sha256 = std::string(64, 'd');
  if (sealed) {
    made.plain_size = 500;
    made.plain_sha256 = std::string(64, 'e');
  }
  return made;
}

// Everything that can be noted, once.
task<void> note_all(journal_file& record) {
  snapshot_identity identity;
  identity.uuid = "u";
  identity.ctransid = 7;
  co_await record.append(snapshot_line(identity));
  co_await record.append(upload_line(0, "id-0", true, ""));
  co_await record.append(part_line(0, 2, part(2)));
  co_await record.append(part_line(0, 1, part(1)));
  co_await record.append(upload_line(1, "id-1", false, ""));
  co_await record.append(part_line(1, 1, part(3, false)));
  co_await record.append(discard_line(1));
  co_await record.append(upload_line(1, "id-2", false, ""));
  co_await record.append(whole_line(0, 3, "ab", ""));
  co_await record.append(stored_line(0, "tag"));
  co_await record.append(index_line(some_index(false)));
}

struct fixture {
  fixture() {
    auto made = reactor::create();
    BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
    loop = std::move(*made);
  }
  std::unique_ptr<journal_file> begin(const std::string& path, const backup_intent& of = intent()) {
    auto record = journal_file::begin(*loop, log, path, of);
    BOOST_REQUIRE_MESSAGE(record.has_value(), error_text(record));
    return std::move(*record);
  }
  // All that lies at global.state_path and beside it.
  void writing_has_a_remedy(const std::string& state) {
    const system_clock_source clock;
    const auto begun =
        journal_file::begin(*loop, log, journal_path(state, "data", false), intent());
    const std::string all[] = {error_text(state_store(state, clock, log).save(run_state())),
                               begun ? "begun" : begun.error().text(),
                               error_text(write_verify_record(state, verify_record()))};
    for (const std::string& said : all) {
      BOOST_TEST(
          said.ends_with("; set global.state_path to a file that can be written; the systemd "
                         "unit may write to /var/lib/btrfs_to_s3"),
          said);
    }
  }
  scratch_directory directory;
  event_log log;
  std::unique_ptr<reactor> loop;
};

journal_record read(const std::string& path) {
  auto record = read_journal(path);
  BOOST_REQUIRE_MESSAGE(record.has_value(), error_text(record));
  BOOST_REQUIRE(record->has_value());
  return std::move(**record);
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(journal_suite, fixture)

BOOST_AUTO_TEST_CASE(what_was_noted_is_read) {
  const std::string path = directory / "new/state.data.journal";
  loop->run(note_all(*begin(path)));
  const journal_record seen = read(path);
  const backup_intent meant = intent();
  BOOST_TEST(seen.intent.subvolume == meant.subvolume);
  BOOST_TEST(seen.intent.source == meant.source);
  BOOST_TEST((seen.intent.kind == meant.kind));
  BOOST_TEST((seen.intent.when == meant.when));
  BOOST_TEST(seen.intent.snapshot_path == meant.snapshot_path);
  BOOST_TEST(seen.intent.snapshot_name == meant.snapshot_name);
  BOOST_TEST(seen.intent.manifest_key == meant.manifest_key);
  BOOST_TEST(seen.intent.keys_root == meant.keys_root);
  BOOST_TEST((seen.intent.parent_manifest == meant.parent_manifest));
  BOOST_TEST(seen.intent.parent_snapshot == meant.parent_snapshot);
  BOOST_TEST((seen.intent.pointer_before == meant.pointer_before));
  BOOST_TEST(seen.intent.endpoint_url == meant.endpoint_url);
  BOOST_TEST(seen.intent.region == meant.region);
  BOOST_TEST(seen.intent.bucket == meant.bucket);
  BOOST_TEST(seen.intent.protocol == meant.protocol);
  BOOST_TEST(seen.intent.compressed_data == meant.compressed_data);
  BOOST_TEST(seen.intent.part_size == meant.part_size);
  BOOST_TEST(seen.intent.chunk_size == meant.chunk_size);
  BOOST_TEST(!seen.intent.local_only);
  BOOST_REQUIRE(seen.snapshot.has_value());
  BOOST_TEST(seen.snapshot->uuid == "u");
  BOOST_TEST(seen.snapshot->ctransid == 7U);
  BOOST_REQUIRE(seen.chunks.size() == 2U);
  const journalled_chunk& first = seen.chunks.at(0);
  BOOST_TEST(first.upload_id == "id-0");
  BOOST_TEST(first.checksums);
  BOOST_REQUIRE(first.parts.size() == 2U);
  BOOST_TEST(first.parts.at(1).size == 1U);
  BOOST_TEST(first.parts.at(2).etag == "e2");
  BOOST_TEST(first.parts.at(2).crc32 == 0xFFFFFFFDU);
  BOOST_TEST((first.parts.at(2).state == some_state(2)));
  BOOST_TEST((first.parts.at(2).digest == some_state(3)));
  BOOST_TEST((first.size == std::uint64_t{3}));
  BOOST_TEST(first.sha256 == "ab");
  BOOST_TEST(first.stored);
  BOOST_TEST(first.etag == "tag");
  BOOST_TEST((seen.index == some_index(false)));
  // What was discarded counts no more.
  BOOST_TEST(seen.chunks.at(1).upload_id == "id-2");
  BOOST_TEST(seen.chunks.at(1).parts.empty());
}

BOOST_AUTO_TEST_CASE(what_was_noted_of_a_sealed_backup_is_read) {
  const std::string path = directory / "state.data.journal";
  journalled_part noted = part(1);
  noted.fingerprint = fingerprint;
  loop->run(begin(path, sealed_intent())->append(part_line(0, 1, noted)));
  const journal_record seen = read(path);
  BOOST_TEST((seen.intent.sealing == sealed_intent().sealing));
  BOOST_TEST(seen.chunks.at(0).parts.at(1).fingerprint == fingerprint);
}

// An older version must not go on with one: it would go on without seals.
BOOST_AUTO_TEST_CASE(a_sealed_backups_journal_is_of_a_version_of_its_own) {
  BOOST_TEST(intent_line(intent()).starts_with("{\"version\":1,"));
  BOOST_TEST(intent_line(intent()).find("sealing") == std::string::npos);
  BOOST_TEST(part_line(0, 1, part(1)).find("fingerprint") == std::string::npos);
  BOOST_TEST(intent_line(sealed_intent()).starts_with("{\"version\":2,"));
}

BOOST_AUTO_TEST_CASE(a_sealed_backups_journal_that_is_damaged_is_not_gone_on_with) {
  journalled_part noted = part(1);
  noted.fingerprint = fingerprint;
  const std::string sound = intent_line(sealed_intent()) + part_line(0, 1, noted);
  BOOST_REQUIRE(parse_journal(sound, "j").has_value());
  const std::pair<std::string, std::string> changes[] = {
      {"\"version\":2", "\"version\":1"},
      {"\"sealing\"", "\"other\""},
      {"age1ql3", "age1ql4"},
      {"7777\"", "777g\""},
      {"\"keys_key\":\"p", "\"keys_key\":\"\\n"},
      {"\"keys_object\":\"A", "\"keys_object\":\"!"},
      {"\"fingerprint\":\"aa", "\"fingerprint\":\"a"},
      {"\"fingerprint\"", "\"other\""},
  };
  for (const auto& [from, to] : changes) {
    std::string text = sound;
    const std::size_t at = text.find(from);
    BOOST_REQUIRE_MESSAGE(at != std::string::npos, from);
    BOOST_TEST(!parse_journal(text.replace(at, from.size(), to), "j").has_value(), to);
  }
}

BOOST_AUTO_TEST_CASE(an_index_that_is_noted_lies_where_the_intent_says) {
  const std::string sound = intent_line(sealed_intent()) + index_line(some_index(true));
  const auto seen = parse_journal(sound, "j");
  BOOST_REQUIRE((seen.has_value() && seen->has_value()));
  BOOST_TEST(((*seen)->index == some_index(true)));
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"\"size\":900", "\"size\":0"},
                                 {"\"size\":900", "\"size\":-1"},
                                 {"\"size\":900", "\"size\":18446744073709551615"},
                                 {std::string(64, 'd'), std::string(63, 'd')},
                                 {std::string(64, 'e'), std::string(64, 'g')},
                                 {"\"plain_size\"", "\"plain\""},
                                 {"\"chunk_tag\":\"0badcafe\"", "\"chunk_tag\":\"\""}}) {
    std::string text = sound;
    const std::size_t at = text.find(from);
    BOOST_REQUIRE_MESSAGE(at != std::string::npos, from);
    BOOST_TEST(!parse_journal(text.replace(at, from.size(), to), "j").has_value(), to);
  }
}

BOOST_AUTO_TEST_CASE(a_journal_torn_anywhere_tells_what_its_whole_lines_tell) {
  const std::string path = directory / "state.data.journal";
  loop->run(note_all(*begin(path)));
  const std::string all = content_of(path);
  for (std::size_t size = 0; size < all.size(); ++size) {
    write_file(path, all.substr(0, size));
    auto seen = read_journal(path);
    BOOST_REQUIRE_MESSAGE(seen.has_value(), error_text(seen));
    const auto lines =
        std::count(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(size), '\n');
    BOOST_REQUIRE(seen->has_value() == (lines > 0));
    if (lines > 0) {
      BOOST_REQUIRE((*seen)->snapshot.has_value() == (lines > 1));
      BOOST_REQUIRE(((*seen)->chunks.size() > 1) == (lines > 5 && lines != 8));
      // Going on drops the torn line first.
      auto record = journal_file::reopen(*loop, log, path);
      BOOST_REQUIRE(record.has_value());
      loop->run((*record)->append(stored_line(9, "t")));
      BOOST_REQUIRE(read(path).chunks.at(9).stored);
    }
  }
}

BOOST_AUTO_TEST_CASE(no_file_is_no_journal_and_a_second_one_is_refused) {
  const std::string path = directory / "state.data.journal";
  auto none = read_journal(path);
  BOOST_REQUIRE(none.has_value());
  BOOST_TEST(!none->has_value());
  auto record = begin(path);
  auto second = journal_file::begin(*loop, log, path, intent());
  BOOST_REQUIRE(!second.has_value());
  BOOST_TEST(second.error().text().find(path) != std::string::npos);
  BOOST_REQUIRE(record->remove().has_value());
  BOOST_TEST(!std::filesystem::exists(path));
  BOOST_TEST(record->remove().has_value());
}

// Taken for an empty one it would be removed, with all that it knows.
BOOST_AUTO_TEST_CASE(what_cannot_be_read_is_an_error_and_no_empty_journal) {
  const std::string path = directory / "state.data.journal";
  std::filesystem::create_directory(path);
  auto seen = read_journal(path);
  BOOST_REQUIRE(!seen.has_value());
  BOOST_TEST((seen.error().why == reason::system));
  BOOST_TEST(seen.error().text().find(path) != std::string::npos);
  BOOST_TEST(!journal_file::reopen(*loop, log, path).has_value());
  BOOST_TEST(list_journals(directory / "state.json").value().size() == 1U);
}

BOOST_AUTO_TEST_CASE(lines_tell_without_a_file_what_they_were_made_of) {
  const std::string begin = intent_line(intent());
  const std::string text = begin + upload_line(0, "id", true, "STANDARD") +
                           part_line(0, 1, part(7)) + whole_line(0, 7, "ab", "STANDARD");
  BOOST_TEST(!parse_journal("", "it").value().has_value());
  BOOST_TEST(!parse_journal(begin.substr(0, begin.size() - 1), "it").value().has_value());
  const auto record = parse_journal(text + stored_line(0, "t"), "it").value().value();
  const journalled_chunk& chunk = record.chunks.at(0);
  BOOST_TEST((chunk.upload_id == "id" && chunk.written_as == "STANDARD" && chunk.stored));
  BOOST_TEST((chunk.parts.at(1).digest == some_state(8)));
  BOOST_TEST(parse_journal(text + discard_line(0), "it").value().value().chunks.empty());
  BOOST_TEST(error_text(parse_journal(text + "{}\n", "it")).find("journal it: line 5") == 0U);
  BOOST_TEST((subject_of_journal(text + "damage\n").value().subvolume == "data"));
  BOOST_TEST(!subject_of_journal("damage\n" + text).has_value());
}

BOOST_AUTO_TEST_CASE(a_damaged_journal_is_named_with_its_line) {
  const std::string path = directory / "state.data.journal";
  loop->run(note_all(*begin(path)));
  const std::string all = content_of(path);
  const std::pair<std::string, std::string> damages[] = {
      {"not json\n" + all, "line 1"},
      {all + "{\"event\":\"dance\",\"chunk\":1}\n", "unknown event"},
      {all + "{}\n", "line 13"},
      {all + "{\"event\":\"part\",\"chunk\":0,\"part\":1,\"size\":1,\"etag\":\"\",\"crc32\":1,"
             "\"digest\":\"zz\"}\n",
       "line 13"},
  };
  for (const auto& [text, expected] : damages) {
    write_file(path, text);
    auto seen = read_journal(path);
    BOOST_REQUIRE(!seen.has_value());
    BOOST_TEST((seen.error().why == reason::protocol));
    BOOST_TEST(seen.error().text().find(expected) != std::string::npos, seen.error().text());
    BOOST_TEST(seen.error().text().find(path) != std::string::npos);
  }
  std::string newer = all;
  newer.replace(newer.find("\"version\":1"), 11, "\"version\":3");
  write_file(path, newer);
  auto seen = read_journal(path);
  BOOST_REQUIRE(!seen.has_value());
  BOOST_TEST(seen.error().text().find("newer version") != std::string::npos);
  BOOST_TEST(!seen.error().remedy.empty());
}

// Cut to the size that they should have they would be other numbers, and true ones to look at.
BOOST_AUTO_TEST_CASE(a_number_that_cannot_be_is_damage_and_not_another_number) {
  const std::string path = directory / "state.data.journal";
  loop->run(note_all(*begin(path)));
  const std::string all = content_of(path);
  for (const char* field : {"\"version\":", "\"protocol\":", "\"part_size\":", "\"ctransid\":",
                            "\"chunk\":", "\"part\":", "\"crc32\":", "\"size\":"}) {
    for (const char* number : {"-1", "4294967297.5", "1e30", "18446744073709551616",
                               "-9223372036854775809", "true", "\"1\"", "null"}) {
      const std::size_t from = all.rfind(field) + std::string(field).size();
      const std::size_t to = all.find_first_of(",}", from);
      write_file(path, all.substr(0, from) + number + all.substr(to));
      const auto seen = read_journal(path);
      BOOST_TEST(!seen.has_value(), field << number);
      BOOST_TEST((seen || seen.error().why == reason::protocol), field << number);
    }
  }
  // Within 32 bits, and still none: an object has 10,000 parts, and chunks come one after another.
  const std::string note =
      ",\"size\":1,\"etag\":\"\",\"crc32\":1,\"digest\":\"" + some_state(1).hex() + "\"}\n";
  for (const char* numbers : {"\"chunk\":0,\"part\":10001", "\"chunk\":9999999,\"part\":1",
                              "\"chunk\":4294967296,\"part\":1"}) {
    write_file(path, all + "{\"event\":\"part\"," + numbers + note);
    BOOST_TEST(!read_journal(path).has_value(), numbers);
  }
  write_file(path, all + "{\"event\":\"part\",\"chunk\":5,\"part\":10000" + note);
  BOOST_TEST(read_journal(path).has_value(), error_text(read_journal(path)));
  // Sizes that no part, no chunk and no configuration has.
  for (const char* field : {"\"part_size\":", "\"chunk_size\":", "\"size\":"}) {
    for (const char* number : {"0", "18446744073709551615", "9223372036854775808"}) {
      const std::size_t from = all.rfind(field) + std::string(field).size();
      write_file(path, all.substr(0, from) + number + all.substr(all.find_first_of(",}", from)));
      BOOST_TEST(!read_journal(path).has_value(), field << number);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_full_disk_ends_the_journal_and_not_the_backup) {
  const std::string path = directory / "state.data.journal";
  auto record = begin(path);
  loop->run(record->append(upload_line(0, "id", true, "")));
  const std::string before = content_of(path);
  // A file that may not grow by a whole line stands for a full disk.
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  BOOST_REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  rlimit small = old;
  small.rlim_cur = before.size() + 20;
  BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  loop->run(record->append(part_line(0, 1, part(1))));
  BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &old) == 0);
  BOOST_TEST(content_of(path) == before);
  const std::vector<std::string> said = {"journal_not_written"};
  BOOST_TEST(log.events == said, boost::test_tools::per_element());
  // What follows would be a lie without what is missing.
  loop->run(record->append(part_line(0, 2, part(2))));
  BOOST_TEST(content_of(path) == before);
  BOOST_TEST(log.events.size() == 1U);
}

BOOST_AUTO_TEST_CASE(journals_are_found_by_their_state_file) {
  const std::string state = directory / "state.json";
  const std::string data = journal_path(state, "data", false);
  const std::string local = journal_path(state, "data", true);
  BOOST_TEST(data == directory / "state.data.journal");
  BOOST_TEST(local != data);
  BOOST_TEST(list_journals(state).value().empty());
  begin(data);
  backup_intent nowhere = intent();
  nowhere.local_only = true;
  begin(local, nowhere);
  write_file(directory / "state.json", "{}");
  write_file(directory / "other.data.journal", "");
  write_file(directory / "state.data.journal.damaged-20260101T000000Z", "");
  std::vector<std::string> expected = {data, local};
  std::sort(expected.begin(), expected.end());
  BOOST_TEST(list_journals(state).value() == expected, boost::test_tools::per_element());
  const auto when = timestamp::parse("20260122T020003Z").value();
  const std::string aside = set_journal_aside(data, when).value();
  BOOST_TEST(is_set_aside(aside));
  BOOST_TEST(!is_set_aside(data));
  BOOST_TEST(list_journals(state).value().size() == 2U);
  BOOST_TEST(set_damaged_journal_aside(local, when).has_value());
  BOOST_TEST(list_journals(state).value().size() == 1U);
  BOOST_TEST(!set_journal_aside(data, when).has_value());
  BOOST_TEST(list_journals(directory / "nowhere/state.json").value().empty());
}

BOOST_AUTO_TEST_CASE(journals_of_state_files_that_begin_alike_are_told_apart) {
  const std::string state = directory / "state.json";
  const std::string media = directory / "state.media.json";
  const std::string path = journal_path(media, "data", false);
  BOOST_TEST(path == directory / "state.media.data.journal");
  begin(path);
  BOOST_TEST(list_journals(state).value().empty());
  BOOST_TEST(list_journals(media).value().size() == 1U);
  const auto when = timestamp::parse("20260122T020003Z").value();
  const std::string aside = set_journal_aside(path, when).value();
  BOOST_TEST(list_journals(state).value().empty());
  BOOST_TEST((owner_of_journal(media, aside) == journal_owner::this_state_file));
  // The other way round: the names of both begin with "state.media.".
  backup_intent named = intent();
  named.subvolume = "media";
  begin(journal_path(state, "media", false), named);
  BOOST_TEST(list_journals(state).value().size() == 1U);
  BOOST_TEST(list_journals(media).value().size() == 1U);
  // A subvolume may be called "media.data": then it is the intent that tells.
  named.subvolume = "media.data";
  begin(path, named);
  BOOST_TEST((owner_of_journal(state, path) == journal_owner::this_state_file));
  BOOST_TEST((owner_of_journal(media, path) == journal_owner::another_state_file));
  BOOST_TEST((owner_of_journal(media, path, {"data"}) == journal_owner::another_state_file));
  // Damage behind the first line, or a newer version, changes nothing.
  write_file(path, content_of(path) + "{}\n");
  BOOST_TEST((owner_of_journal(media, path) == journal_owner::another_state_file));
}

BOOST_AUTO_TEST_CASE(a_journal_without_an_intent_is_known_by_its_name_or_not_at_all) {
  const std::string state = directory / "state.json";
  const std::string media = directory / "state.media.json";
  const std::string path = directory / "state.media.data.journal";
  for (const char* content : {"", "{\"version\":1", "no intent\n"}) {
    write_file(path, content);
    BOOST_TEST((owner_of_journal(state, path) == journal_owner::unknown));
    BOOST_TEST((owner_of_journal(media, path) == journal_owner::unknown));
    BOOST_TEST((owner_of_journal(media, path, {"data"}) == journal_owner::this_state_file));
    const std::string simple = directory / "state.data.journal";
    write_file(simple, content);
    BOOST_TEST((owner_of_journal(state, simple) == journal_owner::this_state_file));
    BOOST_TEST((owner_of_journal(media, simple) == journal_owner::another_state_file));
    const std::string between = directory / "state.media.journal";
    write_file(between, content);
    BOOST_TEST((owner_of_journal(media, between) == journal_owner::another_state_file));
    BOOST_TEST(list_journals(state).value().size() == 3U);
    BOOST_TEST(list_journals(media).value().size() == 1U);
  }
}

BOOST_AUTO_TEST_CASE(what_is_set_aside_twice_in_a_second_replaces_nothing) {
  const std::string path = directory / "state.data.journal";
  const auto when = timestamp::parse("20260122T020003Z").value();
  begin(path);
  const std::string first = set_journal_aside(path, when).value();
  begin(path);
  const std::string second = set_journal_aside(path, when).value();
  BOOST_TEST(first == path + "-20260122T020003Z");
  BOOST_TEST(second == path + "-20260122T020004Z");
  BOOST_TEST(std::filesystem::exists(first));
  write_file(path, "1");
  BOOST_TEST(set_damaged_journal_aside(path, when).has_value());
  write_file(path, "2");
  BOOST_TEST(content_of(set_damaged_journal_aside(path, when).value()) == "2");
  BOOST_TEST(content_of(path + ".damaged-20260122T020003Z") == "1");
}

BOOST_AUTO_TEST_CASE(a_state_that_is_only_looked_at_stays_where_it_is) {
  const system_clock_source clock;
  const std::string path = directory / "state.json";
  state_store store(path, clock, log);
  BOOST_TEST(store.peek().value().subvolumes.empty());
  write_file(path, "{ damaged");
  BOOST_TEST(store.peek().value().subvolumes.empty());
  BOOST_TEST(content_of(path) == "{ damaged");
  BOOST_TEST(log.events.back() == "state_damaged");
  write_file(path, R"({"subvolumes": {"data": {"last_manifest": "k"}}, "last_run_at": "t"})");
  BOOST_TEST(store.peek().value().subvolumes.at("data").last_manifest == "k");
}

BOOST_AUTO_TEST_CASE(a_state_that_cannot_be_read_or_written_is_named) {
  const system_clock_source clock;
  const std::string file = directory / "file";
  write_file(file, "");
  const std::string under_a_file = file + "/state.json";
  state_store misplaced(under_a_file, clock, log);
  for (const std::string& said : {error_text(misplaced.load()), error_text(misplaced.peek()),
                                  error_text(misplaced.save(run_state()))}) {
    BOOST_TEST(said.find("global.state_path") != std::string::npos, said);
    BOOST_TEST(said.find(under_a_file) != std::string::npos, said);
  }
  writing_has_a_remedy(under_a_file);
  // The unit's file system is read-only; a full disk is another matter.
  BOOST_TEST(!state_not_writable(system_error(EROFS, "x")).remedy.empty());
  BOOST_TEST(state_not_writable(system_error(ENOSPC, "x")).remedy.empty());
  if (::geteuid() != 0) {
    return;  // the rest needs files that we may not touch
  }
  const std::string path = directory / "state.json";
  state_store store(path, clock, log);
  BOOST_REQUIRE(::chmod((directory / "").c_str(), 0755) == 0);
  write_file(path, "{ damaged");
  std::string not_moved;
  {
    const bts3::testing::as_nobody nobody;
    writing_has_a_remedy(directory / "other.json");
    not_moved = error_text(store.load());
  }
  BOOST_TEST(not_moved.find("moving the damaged state file aside") != std::string::npos, not_moved);
  BOOST_REQUIRE(::chmod(path.c_str(), 0600) == 0);
  std::string unreadable;
  {
    const bts3::testing::as_nobody nobody;
    unreadable = error_text(store.load());
  }
  BOOST_TEST(unreadable.find("reading " + path) != std::string::npos, unreadable);
  BOOST_TEST(content_of(path) == "{ damaged");
}

BOOST_AUTO_TEST_CASE(what_a_state_file_holds_of_other_things_does_not_matter) {
  const system_clock_source clock;
  const std::string path = directory / "state.json";
  write_file(path, R"({"subvolumes": 7})");
  state_store store(path, clock, log);
  run_state state;
  state.subvolumes["data"].snapshot_uuid = "u";
  BOOST_REQUIRE(store.save(state).has_value());
  BOOST_TEST((store.load().value().subvolumes.at("data").snapshot_uuid == "u"));
  write_file(path, R"({"subvolumes": {"data": [1]}})");
  BOOST_TEST(store.peek().value().subvolumes.empty());
}

BOOST_AUTO_TEST_SUITE_END()
