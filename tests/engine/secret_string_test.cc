#include "engine/secret_string.hh"

#include "tests/engine/support.hh"
#include "tests/support/memory_search.hh"
#include "tests/support/sanitizers.hh"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace bts3::engine;
using bts3::testing::sought;

namespace {

// A key, a token, one that has a mapping of its own, and one that would fit into an object.
std::vector<std::string> secrets() {
  return {"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", std::string(1500, 't') + "end",
          std::string(9000, 'l') + "end", "short"};
}

// What is at `place` of this process's memory now; empty where nothing is.
std::string memory_at(const void* place, std::size_t bytes) {
  const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  BOOST_REQUIRE(memory >= 0);
  std::string found(bytes, '\0');
  const ssize_t got = ::pread(memory, found.data(), bytes,
                              static_cast<off_t>(reinterpret_cast<std::uintptr_t>(place)));
  ::close(memory);
  found.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return found;
}

// Whether any four bytes of `text` in a row are left where it was.
bool is_left(const std::string& text, const void* place) {
  const std::string now = memory_at(place, text.size());
  for (std::size_t at = 0; at + 4 <= now.size(); ++at) {
    if (now.compare(at, 4, text, at, 4) == 0) {
      return true;
    }
  }
  return false;
}

// What the kernel says of the mapping with `place`: " rd wr mr ... ".
std::string flags_of(const void* place) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  std::string flags;
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      inside = begin <= reinterpret_cast<std::uintptr_t>(place) &&
               reinterpret_cast<std::uintptr_t>(place) < end;
    } else if (inside && line.starts_with("VmFlags:")) {
      flags = line + " ";
    }
  }
  return flags;
}

template <typename T>
std::string storage_of(const T& object) {
  return std::string(reinterpret_cast<const char*>(&object), sizeof object);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(secret_string_suite)

BOOST_AUTO_TEST_CASE(it_holds_what_it_was_given) {
  for (const std::string& text : secrets()) {
    const secret_string one(text);
    BOOST_TEST(one.view() == text);
    BOOST_TEST(one.size() == text.size());
    const secret_string copy(one);
    BOOST_TEST((copy == one));
    BOOST_TEST((copy.view().data() != one.view().data()));
  }
  BOOST_TEST((secret_string("AWS4", "key") == "AWS4key"));
  BOOST_TEST(secret_string().empty());
  BOOST_TEST((secret_string("") == ""));
}

BOOST_AUTO_TEST_CASE(nothing_is_left_where_one_has_ended) {
  for (const std::string& text : secrets()) {
    std::optional<secret_string> one(text);
    const void* const place = one->view().data();
    BOOST_TEST(memory_at(place, text.size()) == text);
    one.reset();
    BOOST_TEST(!is_left(text, place), text.substr(0, 8));
  }
}

BOOST_AUTO_TEST_CASE(nothing_is_left_where_another_was_assigned) {
  for (const std::string& text : secrets()) {
    secret_string one(text);
    const void* const place = one.view().data();
    one = secret_string("x");
    BOOST_TEST(!is_left(text, place), text.substr(0, 8));
    const secret_string other("y");
    const void* const second = one.view().data();
    one = other;
    BOOST_TEST((one == "y"));
    BOOST_TEST((second != one.view().data()));
    one = *&one;  // itself
    BOOST_TEST((one == "y"));
  }
}

BOOST_AUTO_TEST_CASE(moving_leaves_nothing_behind_and_makes_no_copy) {
  static_assert(std::is_nothrow_move_constructible_v<secret_string>);
  for (const std::string& text : secrets()) {
    secret_string one(text);
    const void* const place = one.view().data();
    secret_string other(std::move(one));
    BOOST_TEST((other.view().data() == place));
    BOOST_TEST(one.empty());  // NOLINT(bugprone-use-after-move)
    BOOST_TEST(storage_of(one).find(text.substr(0, 5)) == std::string::npos);
    BOOST_TEST(storage_of(other).find(text.substr(0, 5)) == std::string::npos);
    secret_string third("before");
    const void* const of_third = third.view().data();
    third = std::move(other);
    BOOST_TEST((third.view().data() == place));
    BOOST_TEST(!is_left("before", of_third));
  }
}

BOOST_AUTO_TEST_CASE(many_of_all_sizes_keep_apart) {
  std::vector<secret_string> all;
  for (std::size_t size = 1; size < 6000; size += 37) {
    all.emplace_back(std::string(size, static_cast<char>('a' + size % 26)));
  }
  all.erase(all.begin() + 20, all.begin() + 60);
  for (std::size_t size = 1; size < 6000; size += 53) {
    all.emplace_back(std::string(size, static_cast<char>('a' + size % 26)));
  }
  for (const secret_string& one : all) {
    const std::string whole(one.size(), static_cast<char>('a' + one.size() % 26));
    BOOST_TEST((one == whole));
  }
}

BOOST_AUTO_TEST_CASE(its_memory_is_left_out_of_dumps) {
  for (const std::string& text : secrets()) {
    const secret_string one(text);
    const std::string flags = flags_of(one.view().data());
    BOOST_TEST(flags.find(" dd ") != std::string::npos, flags);
  }
}

BOOST_AUTO_TEST_CASE(its_memory_is_locked_as_far_as_the_limit_goes) {
  rlimit limit{};
  BOOST_REQUIRE(::getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
  if (bts3::testing::address_sanitized || bts3::testing::thread_sanitized ||
      limit.rlim_cur < (1U << 20)) {
    BOOST_TEST_MESSAGE("skipped: a sanitizer's mlock does nothing, or the limit is too small");
    return;
  }
  for (const std::string& text : secrets()) {
    const secret_string one(text);
    const std::string flags = flags_of(one.view().data());
    BOOST_TEST(flags.find(" lo ") != std::string::npos, flags);
  }
}

BOOST_AUTO_TEST_CASE(one_can_be_made_where_it_is_to_stay) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{64}, std::size_t{9000}}) {
    {
      const secret_string before(std::string(size, 'x'));
    }
    secret_string made = secret_string::zeroes(size);
    BOOST_TEST((made == std::string(size, '\0')));
    const void* const place = made.view().data();
    made.writable().back() = std::byte{'k'};
    BOOST_TEST((made.view().data() == place));
    BOOST_TEST((made == std::string(size - 1, '\0') + "k"));
    BOOST_TEST((made.bytes().back() == std::byte{'k'}));
  }
  BOOST_TEST(secret_string::zeroes(0).empty());
}

BOOST_AUTO_TEST_CASE(nobody_prints_it) {
  std::ostringstream text;
  text << secret_string("key") << secret_string();
  BOOST_TEST(text.str() == "(secret)(no secret)");
  static_assert(!std::is_convertible_v<secret_string, std::string>);
  static_assert(!std::is_convertible_v<secret_string, std::string_view>);
}

BOOST_AUTO_TEST_CASE(a_string_is_wiped_with_all_that_it_reserved) {
  for (const std::string& text : secrets()) {
    std::string one = text;
    one.reserve(text.size() + 100);
    one.resize(2);  // the rest is still behind it
    const void* const place = one.data();
    wipe(one);
    BOOST_TEST(one.empty());
    BOOST_TEST(!is_left(text, place), text.substr(0, 8));
  }
  std::string guarded = "short";
  {
    const wiped afterwards(guarded);
  }
  BOOST_TEST(storage_of(guarded).find("shor") == std::string::npos);
}

// The search finds what there is to be found, or it would prove nothing.
BOOST_AUTO_TEST_CASE(a_search_of_memory_finds_a_secret_until_it_ends) {
  const sought needle(1);
  BOOST_TEST(needle.has_copies(0));
  {
    std::string text = needle.text();
    const secret_string one(text);
    BOOST_TEST(needle.has_copies(2));
    wipe(text);
    BOOST_TEST(needle.has_copies(1));
  }
  BOOST_TEST(needle.has_copies(0));
}

BOOST_AUTO_TEST_SUITE_END()
