#include "btrfs/encoded_writes.hh"

#include "btrfs/snapshot_manager.hh"
#include "btrfs/stream_inspector.hh"

#include "tests/btrfs/loop_filesystem.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <iostream>
#include <random>
#include <string>

using namespace bts3::btrfs;
namespace fs = std::filesystem;

namespace {

// Compresses to about three quarters.
std::string text_of(std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(bytes, '\0');
  for (char& one : text) {
    one = static_cast<char>('A' + (random() & 63));
  }
  return text;
}

// Compresses to less than fits beside an inode.
std::string line_of(std::size_t bytes, unsigned seed) {
  const std::string line = text_of(100, seed);
  std::string text;
  while (text.size() < bytes) {
    text += line;
  }
  text.resize(bytes);
  return text;
}

void run(const std::vector<std::string>& argv) {
  BOOST_REQUIRE_MESSAGE(testing::run_quietly(argv), argv[0] << ' ' << argv[1]);
}

// A subvolume of compressed files, its snapshots, and their streams with compressed data.
struct prepared {
  explicit prepared(const testing::loop_filesystem& loop)
      : top(loop.directory()), base(loop.base()), source(testing::make_subvolume(top / "data")) {
    run({"btrfs", "property", "set", source, "compression", "zstd"});
    for (const char* name : {"snapshots", "received"}) {
      fs::create_directory(top / name);
    }
    testing::write_file(source / "large", text_of(3'000'000, 1));
    testing::write_file(source / "same1", text_of(300'000, 2));
    testing::write_file(source / "same2", text_of(300'000, 2));
    run({"cp", "--reflink=always", source / "same2", source / "same3"});
    testing::write_file(source / "short", std::string(1500, 'x'));
    fs::create_directory(source / "folder");
    testing::write_file(source / "folder" / "file", text_of(200'001, 3));
    run({"sync", "-f", top});
    // Part of an extent only.
    run({"dd", "if=/dev/urandom", "of=" + (source / "large").string(), "bs=4096", "count=5",
         "seek=40", "conv=notrunc"});
    snapshot("one");
  }
  void snapshot(const std::string& name) const {
    auto made = create_snapshot(source, top / "snapshots", name, true);
    BOOST_REQUIRE_MESSAGE(made.has_value(), bts3::testing::error_text(made));
    run({"sync", "-f", top});
  }
  // What is left of the stream is a list of its encoded writes.
  encoded_writes sent(const std::string& name, const std::string& parent = {},
                      std::size_t piece = 1 << 20) const {
    std::vector<std::string> argv = {"btrfs", "send",     "-q", "--proto", "2", "--compressed-data",
                                     "-f",    base / name};
    if (!parent.empty()) {
      argv.insert(argv.end(), {"-p", top / "snapshots" / parent});
    }
    argv.push_back(top / "snapshots" / name);
    run(argv);
    auto checks = data_checks_of(top);
    BOOST_REQUIRE_MESSAGE(checks.has_value(), bts3::testing::error_text(checks));
    encoded_writes seen(top, *checks);
    const std::string stream = testing::read_file(base / name);
    const auto bytes = std::as_bytes(std::span<const char>(stream));
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      auto fed = seen.feed(bytes.subspan(at, std::min(piece, bytes.size() - at)));
      BOOST_REQUIRE_MESSAGE(fed.has_value(), bts3::testing::error_text(fed));
    }
    return seen;
  }
  fs::path receive(const std::string& name, bool decompressed = false) const {
    std::vector<std::string> argv = {"btrfs", "receive", "-q", "-f", base / name, top / "received"};
    if (decompressed) {
      argv.insert(argv.begin() + 2, "--force-decompress");
    }
    run(argv);
    run({"sync", "-f", top});
    return top / "received" / name;
  }

  fs::path top;
  fs::path base;
  fs::path source;
};

std::uint64_t missing(encoded_writes& seen, const fs::path& subvolume) {
  auto found = seen.missing_in(subvolume);
  BOOST_REQUIRE_MESSAGE(found.has_value(), bts3::testing::error_text(found));
  return *found;
}

void change(const fs::path& received, const fs::path& file, const std::vector<std::string>& how) {
  run({"btrfs", "property", "set", "-f", received, "ro", "false"});
  std::vector<std::string> argv = how;
  argv.push_back(received / file);
  run(argv);
  run({"sync", "-f", received});
}

}  // namespace

BOOST_AUTO_TEST_SUITE(encoded_writes_suite)

BOOST_AUTO_TEST_CASE(every_encoded_write_of_a_received_stream_is_found) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared made(loop);
  encoded_writes full = made.sent("one");
  BOOST_TEST(full.count() > 25u);
  BOOST_TEST(missing(full, made.receive("one")) == 0u);
  // In pieces of any size the stream says the same.
  encoded_writes again = made.sent("one", {}, 7);
  BOOST_TEST(again.count() == full.count());
  BOOST_TEST(missing(again, made.top / "received" / "one") == 0u);
  // An incremental one: moved, changed, made of others.
  fs::rename(made.source / "folder", made.source / "moved");
  testing::write_file(made.source / "moved" / "file", text_of(250'000, 4));
  testing::write_file(made.source / "new", text_of(400'000, 5));
  run({"cp", "--reflink=always", made.source / "new", made.source / "newer"});
  run({"sync", "-f", made.top});
  made.snapshot("two");
  encoded_writes changes = made.sent("two", "one");
  BOOST_TEST(changes.count() > 4u);
  BOOST_TEST(missing(changes, made.receive("two")) == 0u);
}

// The kernel refuses the encoded write that is to become the end of a file while the file is
// longer.
BOOST_AUTO_TEST_CASE(the_end_of_a_file_that_became_shorter_is_written_plainly_and_not_missing) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared made(loop);
  const std::string short_text = line_of(3000, 11);
  for (const char* name : {"tiny", "small"}) {
    testing::write_file(made.source / name, line_of(9000, 10));
  }
  run({"sync", "-f", made.top});
  made.snapshot("before");
  testing::write_file(made.source / "tiny", short_text);
  testing::write_file(made.source / "small", line_of(5000, 12));
  testing::write_file(made.source / "large", text_of(700'001, 13));  // of 3,000,000 bytes
  testing::write_file(made.source / "short", line_of(2999, 14));     // longer than before
  testing::write_file(made.source / "exact", line_of(8192, 15));
  run({"sync", "-f", made.top});
  made.snapshot("after");
  encoded_writes full = made.sent("before");
  BOOST_TEST(missing(full, made.receive("before")) == 0u);
  for (const std::size_t piece : {std::size_t{1} << 20, std::size_t{5}}) {
    encoded_writes changes = made.sent("after", "before", piece);
    BOOST_TEST(changes.count() == 7u);  // five of the large file, the longer one, the exact one
    if (!fs::exists(made.top / "received" / "after")) {
      made.receive("after");
    }
    BOOST_TEST(missing(changes, made.top / "received" / "after") == 0u);
  }
  // What else was written has still to be there.
  encoded_writes changes = made.sent("after", "before");
  change(made.top / "received" / "after", "large", {"fallocate", "-p", "-o", "0", "-l", "131072"});
  BOOST_TEST(missing(changes, made.top / "received" / "after") == 1u);
}

// The target packs what was written plainly to the same bytes: it answers for itself alone.
BOOST_AUTO_TEST_CASE(a_plain_end_does_not_answer_for_an_encoded_write_that_looks_the_same) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared made(loop);
  testing::write_file(made.source / "shrinks", line_of(9000, 10));
  run({"sync", "-f", made.top});
  made.snapshot("before");
  for (const char* name : {"shrinks", "begins"}) {
    testing::write_file(made.source / name, line_of(3000, 11));
  }
  run({"sync", "-f", made.top});
  made.snapshot("after");
  encoded_writes full = made.sent("before");
  made.receive("before");
  encoded_writes changes = made.sent("after", "before");
  BOOST_TEST(changes.count() == 1u);
  made.receive("after");
  const fs::path received = made.top / "received" / "after";
  const std::uint64_t sound = missing(changes, received);
  BOOST_TEST(sound <= 1u);  // one where the target did not pack it, and nobody can tell
  encoded_writes again = made.sent("after", "before");
  change(received, "begins", {"truncate", "-s", "0"});
  BOOST_TEST(missing(again, received) == 1u);
}

BOOST_AUTO_TEST_CASE(an_encoded_write_that_has_become_a_hole_is_missing) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared made(loop);
  encoded_writes full = made.sent("one");
  const fs::path received = made.receive("one");
  // The last file of all, and one of two that have the same bytes at the same place, while a clone
  // of the other is there.
  change(received, "folder/file", {"fallocate", "--punch-hole", "-o", "131072", "-l", "131072"});
  BOOST_TEST(missing(full, received) == 1u);
  change(received, "same1", {"fallocate", "--punch-hole", "-o", "0", "-l", "131072"});
  BOOST_TEST(missing(full, received) == 2u);
  change(received, "short", {"truncate", "-s", "0"});
  BOOST_TEST(missing(full, received) == 3u);
}

BOOST_AUTO_TEST_CASE(what_the_parent_had_does_not_count_as_written) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared made(loop);
  (void)made.sent("one");
  const fs::path first = made.receive("one");
  testing::write_file(made.source / "large", text_of(3'000'000, 9));
  run({"sync", "-f", made.top});
  made.snapshot("two");
  encoded_writes changes = made.sent("two", "one");
  // As if the disk had refused all of it: the parent's data is in its place.
  auto stale = create_snapshot(first, made.top / "received", "stale", true);
  BOOST_REQUIRE_MESSAGE(stale.has_value(), bts3::testing::error_text(stale));
  BOOST_TEST(missing(changes, made.top / "received" / "stale") == changes.count());
  BOOST_TEST(missing(changes, made.receive("two")) == 0u);
}

BOOST_AUTO_TEST_CASE(other_bytes_in_the_same_place_do_not_count_as_written) {
  BTS3_LOOP_FILESYSTEM(loop);
  const prepared made(loop);
  encoded_writes full = made.sent("one");
  const fs::path received = made.receive("one");
  // The same length, as compressible, and as new; and received as ordinary writes.
  const fs::path other = loop.base() / "other";
  testing::write_file(other, text_of(200'001, 33));
  run({"btrfs", "property", "set", "-f", received, "ro", "false"});
  run({"dd", "if=" + other.string(), "of=" + (received / "folder" / "file").string(), "bs=1M",
       "conv=notrunc"});
  run({"sync", "-f", received});
  BOOST_TEST(missing(full, received) == 2u);
  run({"btrfs", "subvolume", "delete", received});
  BOOST_TEST(missing(full, made.receive("one", true)) > 0u);
}

BOOST_AUTO_TEST_CASE(a_list_that_memory_does_not_hold_is_kept_whole) {
  BTS3_LOOP_FILESYSTEM(loop);
  record_list list(loop.directory(), 2);
  constexpr std::uint64_t count = 300'000;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t record[] = {i, i * i};
    BOOST_REQUIRE(list.add(record).has_value());
  }
  BOOST_TEST(list.size() == count);
  BOOST_TEST(fs::is_empty(loop.directory()));
  record_list nowhere("/nowhere/at/all", 2);
  bool failed = false;
  for (std::uint64_t i = 0; i < count && !failed; ++i) {
    const std::uint64_t record[] = {i, i};
    failed = !nowhere.add(record).has_value();
  }
  BOOST_TEST(failed);
}

BOOST_AUTO_TEST_SUITE_END()
