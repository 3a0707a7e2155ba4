// What an interrupted link leaves for the next run.
#include "app/download/download_link.hh"

#include "app/records/kept_parts.hh"
#include "tests/app/download/link_transfer.hh"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::error_text;
using transfer = bts3::testing::link_transfer;

namespace {

constexpr std::size_t part_bytes = bts3::testing::link_part_bytes;

std::size_t count_of(const std::vector<std::string>& events, const std::string& event) {
  return static_cast<std::size_t>(std::count(events.begin(), events.end(), event));
}

struct interrupted_transfer : transfer {
  interrupted_transfer(std::size_t bytes, std::size_t chunks, bool with_parts = true)
      : transfer(bytes, chunks, with_parts) {
    settings.global.spool_dir = scratch / "";
    keep_limit = std::uint64_t{1} << 30;
  }
  // The receiver goes after so many bytes.
  void interrupt(std::size_t after) {
    released.clear();
    BOOST_TEST(!run(false, after).has_value());
  }
  // The same command once more.
  void complete() {
    released.clear();
    const auto done = run();
    BOOST_REQUIRE_MESSAGE(done.has_value(), error_text(done));
    BOOST_TEST((released == stream));
  }
  [[nodiscard]] std::uint64_t fetched() const {
    std::uint64_t bytes = 0;
    for (const s3::get_request& get : store.gets) {
      bytes += get.range->length;
    }
    return bytes;
  }
  [[nodiscard]] std::uint64_t kept_bytes() const {
    std::uint64_t bytes = 0;
    for (const std::filesystem::path& file : kept()) {
      bytes += std::filesystem::file_size(file);
    }
    return bytes;
  }
  [[nodiscard]] std::vector<std::filesystem::path> kept() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(settings.global.spool_dir)) {
      if (!entry.is_directory()) {
        files.push_back(entry.path());
      }
    }
    std::sort(files.begin(), files.end());
    return files;
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(kept_link_suite)

BOOST_AUTO_TEST_CASE(what_an_interrupted_link_had_released_is_not_downloaded_again) {
  for (const std::size_t chunks : {std::size_t{1}, std::size_t{5}}) {
    interrupted_transfer one(1'500'000, chunks);
    one.interrupt(400'000);
    // All that was handed over, and nothing that was not fetched; what was under way may be lost.
    const std::uint64_t kept = one.kept_bytes();
    BOOST_TEST(kept >= 400'000u / part_bytes * part_bytes);
    BOOST_TEST(kept <= one.fetched());
    BOOST_TEST(one.fetched() < one.stream.size());
    one.store.gets.clear();
    struct stat entry{};
    for (auto path = one.kept().front().parent_path(); path != one.settings.global.spool_dir;
         path = path.parent_path()) {
      BOOST_REQUIRE(::stat(path.c_str(), &entry) == 0);
      BOOST_TEST((entry.st_mode & 07777) == 0700u, path);
      if (path.filename() == ".btrfs_to_s3-parts") {
        break;
      }
    }
    one.complete();
    BOOST_TEST(one.fetched() == one.stream.size() - kept);
    BOOST_TEST(one.kept_before == kept);
    BOOST_TEST(one.kept_bytes() == one.stream.size());
    BOOST_TEST(count_of(one.log.events, "parts_kept_from_before") == 1u);
    BOOST_TEST(count_of(one.log.events, "parts_not_kept") == 0u);
    // The third has all of it.
    one.store.gets.clear();
    one.complete();
    BOOST_TEST(one.store.gets.empty());
    one.forget();
    BOOST_TEST(std::filesystem::is_empty(one.settings.global.spool_dir));
  }
}

BOOST_AUTO_TEST_CASE(what_was_kept_and_is_not_as_it_was_is_downloaded) {
  const std::vector<std::pair<std::string, std::function<void(const std::filesystem::path&)>>>
      damages = {
          {"a flipped bit",
           [](const std::filesystem::path& file) {
             std::fstream open(file, std::ios::in | std::ios::out | std::ios::binary);
             open.seekg(1000);
             const char was = static_cast<char>(open.get());
             open.seekp(1000);
             open.put(static_cast<char>(was ^ 1));
           }},
          {"zeros, as after a power cut",
           [](const std::filesystem::path& file) {
             std::filesystem::resize_file(file, 0);
             std::filesystem::resize_file(file, part_bytes);
           }},
          {"cut off",
           [](const std::filesystem::path& file) { std::filesystem::resize_file(file, 4096); }},
          {"too long",
           [](const std::filesystem::path& file) {
             std::filesystem::resize_file(file, part_bytes + 4096);
           }},
          {"empty",
           [](const std::filesystem::path& file) { std::filesystem::resize_file(file, 0); }},
          {"another part",
           [](const std::filesystem::path& file) {
             std::filesystem::copy_file(file.parent_path() / "0-2", file,
                                        std::filesystem::copy_options::overwrite_existing);
           }},
          {"a link",
           [](const std::filesystem::path& file) {
             std::filesystem::remove(file);
             std::filesystem::create_symlink(file.parent_path() / "0-2", file);
           }},
          {"a pipe",
           [](const std::filesystem::path& file) {
             std::filesystem::remove(file);
             BOOST_REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
           }},
          {"gone", [](const std::filesystem::path& file) { std::filesystem::remove(file); }},
      };
  for (const auto& [name, damage] : damages) {
    interrupted_transfer one(1'000'000, 1);
    one.interrupt(400'000);
    const std::uint64_t kept = one.kept_bytes();
    damage(one.kept().front().parent_path() / "0-3");
    one.store.gets.clear();
    one.complete();
    BOOST_TEST(one.fetched() == one.stream.size() - kept + part_bytes, name);
  }
  // Damaged between being found and being read.
  interrupted_transfer two(1'000'000, 1);
  two.interrupt(400'000);
  const std::uint64_t kept = two.kept_bytes();
  two.store.gets.clear();
  two.when_begun = [&] { std::filesystem::resize_file(two.kept().front(), 17); };
  two.complete();
  BOOST_TEST(count_of(two.log.events, "kept_part_damaged") == 1u);
  BOOST_TEST(two.fetched() == two.stream.size() - kept + part_bytes);
}

// A kill in the middle of a write must leave nothing that counts.
BOOST_AUTO_TEST_CASE(a_part_has_its_name_only_once_it_is_whole) {
  interrupted_transfer one(1'000'000, 1);
  const engine::unique_fd watch(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  BOOST_REQUIRE(watch.valid());
  std::filesystem::path place;
  one.when_begun = [&] {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(one.settings.global.spool_dir)) {
      place = entry.path();  // the deepest: nothing is kept yet
    }
    BOOST_REQUIRE(::inotify_add_watch(watch.get(), place.c_str(), IN_CREATE | IN_MOVED_TO) >= 0);
  };
  one.interrupt(400'000);
  one.when_begun = nullptr;
  alignas(inotify_event) std::array<char, 65'536> events{};
  const ssize_t size = ::read(watch.get(), events.data(), events.size());
  std::size_t whole = 0;
  for (ssize_t at = 0; at < size;) {
    inotify_event event{};
    std::memcpy(&event, events.data() + at, sizeof event);
    const std::string name = events.data() + at + sizeof event;
    BOOST_TEST(((event.mask & IN_CREATE) != 0) == name.ends_with(".new"), name);
    whole += (event.mask & IN_MOVED_TO) != 0 ? 1 : 0;
    at += static_cast<ssize_t>(sizeof event + event.len);
  }
  BOOST_TEST(whole == one.kept().size());
  BOOST_TEST(whole > 0u);
  // What a kill leaves is counted by nobody, and goes.
  const std::uint64_t kept = one.kept_bytes();
  std::ofstream(place / "0-99.new") << "torn";
  BOOST_TEST(kept_bytes_of(one.settings, one.target, one.manifest) == kept);
  one.complete();
  BOOST_TEST(one.kept_before == kept);
  BOOST_TEST(!std::filesystem::exists(place / "0-99.new"));
}

BOOST_AUTO_TEST_CASE(parts_of_another_backup_and_of_long_ago_are_removed) {
  interrupted_transfer one(1'000'000, 1);
  one.interrupt(400'000);
  BOOST_TEST(!one.kept().empty());
  one.manifest = "another";
  one.interrupt(1);
  BOOST_TEST(count_of(one.log.events, "kept_parts_removed") == 1u);
  // Of another target they stay, and count towards the limit, until nobody has gone on for long.
  const std::size_t left = one.kept().size();
  one.target = "/elsewhere";
  one.interrupt(1);
  BOOST_TEST(one.kept().size() > left);
  // Files have the time of the kernel.
  one.clock.time = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()) +
                   std::chrono::days(30);
  remove_stale_parts(one.with);
  BOOST_TEST(one.kept().empty());
  BOOST_TEST(count_of(one.log.events, "kept_parts_removed") == 2u);
  one.complete();
}

BOOST_AUTO_TEST_CASE(what_stands_in_the_way_of_keeping_is_told_once_and_stops_nothing) {
  const auto without = [](interrupted_transfer& one) {
    one.complete();
    BOOST_TEST(count_of(one.log.events, "parts_not_kept") == 1u);
    BOOST_TEST(one.fetched() == one.stream.size());
  };
  // No more than the limit, which the first parts have.
  interrupted_transfer limited(1'000'000, 1);
  limited.keep_limit = 3 * part_bytes;
  without(limited);
  BOOST_TEST(limited.kept().size() == 3u);
  limited.store.gets.clear();
  limited.complete();
  BOOST_TEST(limited.fetched() == limited.stream.size() - 3 * part_bytes);
  interrupted_transfer missing(1'000'000, 1);
  missing.settings.global.spool_dir += "not/mounted";
  without(missing);
  // The last directory alone is made, as for a backup.
  interrupted_transfer made(1'000'000, 1);
  made.settings.global.spool_dir += "made";
  made.complete();
  BOOST_TEST(count_of(made.log.events, "parts_not_kept") == 0u);
  BOOST_TEST(made.kept_bytes() == made.stream.size());
  // What somebody else has put there is neither used nor followed.
  interrupted_transfer planted(1'000'000, 1);
  const std::filesystem::path place = planted.scratch / ".btrfs_to_s3-parts";
  const std::filesystem::path theirs = planted.scratch / "theirs";
  std::filesystem::create_directory(theirs);
  std::filesystem::create_directory_symlink(theirs, place);
  without(planted);
  BOOST_TEST(std::filesystem::is_empty(theirs));
  std::filesystem::remove(place);
  std::filesystem::create_directory(place);
  std::filesystem::permissions(place, std::filesystem::perms::all);
  planted.log.events.clear();
  planted.store.gets.clear();
  without(planted);
  BOOST_TEST(std::filesystem::is_empty(place));
  // A disk that takes no more, in the middle of a part.
  interrupted_transfer full(1'000'000, 1);
  rlimit before{};
  BOOST_REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit small = before;
  small.rlim_cur = part_bytes / 2;
  std::signal(SIGXFSZ, SIG_IGN);
  BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  without(full);
  BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  BOOST_TEST(full.kept().empty());
}

BOOST_AUTO_TEST_CASE(chunks_that_only_the_whole_proves_are_kept_where_they_are_one_part) {
  interrupted_transfer large(1'000'000, 1, false);
  large.interrupt(400'000);
  BOOST_TEST(large.kept().empty());
  large.complete();
  interrupted_transfer small(200'000, 8, false);
  small.interrupt(60'000);
  const std::uint64_t kept = small.kept_bytes();
  BOOST_TEST(kept >= 50'000u);
  small.store.gets.clear();
  small.complete();
  BOOST_TEST(small.fetched() == small.stream.size() - kept);
}

BOOST_AUTO_TEST_SUITE_END()
