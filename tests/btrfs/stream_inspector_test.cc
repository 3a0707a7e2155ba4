#include "btrfs/stream_inspector.hh"

#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

using bts3::btrfs::stream_inspector;
using bts3::testing::error_text;

namespace {

constexpr unsigned command_subvol = 1;
constexpr unsigned command_write = 15;
constexpr unsigned command_end = 21;

void append_number(std::string& text, std::uint64_t value, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    text += static_cast<char>(value >> (8 * i) & 255);
  }
}

std::string header(unsigned version) {
  std::string text("btrfs-stream\0", 13);
  append_number(text, version, 4);
  return text;
}

std::string command_header(unsigned command, std::uint64_t length) {
  std::string text;
  append_number(text, length, 4);
  append_number(text, command, 2);
  append_number(text, 0xdeadbeef, 4);
  return text;
}

std::string command(unsigned number, std::size_t length) {
  return command_header(number, length) + std::string(length, '\x15');
}

std::string small_stream(unsigned version = 1) {
  return header(version) + command(command_subvol, 30) + command(command_write, 0) +
         command(command_write, 45) + command(command_end, 0);
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

// The error text of the whole stream, fed at once.
std::string verdict(const std::string& stream) {
  stream_inspector inspector;
  auto fed = inspector.feed(bytes_of(stream));
  return fed ? error_text(inspector.finish()) : error_text(fed);
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(stream_inspector_suite)

BOOST_AUTO_TEST_CASE(a_whole_stream_is_complete_in_every_version) {
  for (unsigned version = 1; version <= 3; ++version) {
    const std::string stream = small_stream(version);
    stream_inspector inspector;
    BOOST_TEST(inspector.version() == 0u);
    BOOST_TEST(inspector.feed(bytes_of(stream)).has_value());
    BOOST_TEST(inspector.complete());
    BOOST_TEST(inspector.finish().has_value());
    BOOST_TEST(inspector.version() == version);
    BOOST_TEST(inspector.commands() == 4u);
    BOOST_TEST(inspector.bytes() == stream.size());
  }
}

BOOST_AUTO_TEST_CASE(it_does_not_matter_where_the_stream_is_cut_into_pieces) {
  const std::string stream = small_stream();
  for (std::size_t first = 0; first <= stream.size(); ++first) {
    for (std::size_t second = first; second <= stream.size(); ++second) {
      stream_inspector inspector;
      const std::string_view whole(stream);
      BOOST_REQUIRE(inspector.feed(bytes_of(whole.substr(0, first))).has_value());
      BOOST_REQUIRE(inspector.feed(bytes_of(whole.substr(first, second - first))).has_value());
      BOOST_REQUIRE(inspector.feed(bytes_of(whole.substr(second))).has_value());
      BOOST_REQUIRE(inspector.complete());
      BOOST_REQUIRE_EQUAL(inspector.commands(), 4u);
    }
  }
}

BOOST_AUTO_TEST_CASE(single_bytes_are_pieces_too) {
  const std::string stream = small_stream(2);
  stream_inspector inspector;
  for (const char& byte : stream) {
    BOOST_REQUIRE(!inspector.complete());
    BOOST_REQUIRE(inspector.feed(bytes_of(std::string_view(&byte, 1))).has_value());
  }
  BOOST_TEST(inspector.complete());
}

BOOST_AUTO_TEST_CASE(a_stream_cut_anywhere_is_refused_and_the_offset_named) {
  const std::string stream = small_stream();
  for (std::size_t length = 1; length < stream.size(); ++length) {
    stream_inspector inspector;
    BOOST_REQUIRE(inspector.feed(bytes_of(stream.substr(0, length))).has_value());
    BOOST_REQUIRE(!inspector.complete());
    auto finished = inspector.finish();
    BOOST_REQUIRE(!finished);
    BOOST_REQUIRE(finished.error().why == bts3::engine::reason::integrity);
    BOOST_REQUIRE(mentions(finished.error().message, "byte " + std::to_string(length) + " "));
  }
}

BOOST_AUTO_TEST_CASE(an_empty_stream_is_refused) {
  BOOST_TEST(mentions(verdict(""), "empty"));
}

BOOST_AUTO_TEST_CASE(every_byte_of_the_magic_counts) {
  for (std::size_t at = 0; at < 13; ++at) {
    std::string stream = small_stream();
    stream[at] ^= 1;
    BOOST_TEST(mentions(verdict(stream), "does not begin with"));
  }
}

BOOST_AUTO_TEST_CASE(unknown_versions_are_refused) {
  BOOST_TEST(mentions(verdict(small_stream(0)), "version 0"));
  BOOST_TEST(mentions(verdict(small_stream(4)), "version 4"));
}

BOOST_AUTO_TEST_CASE(commands_that_the_version_does_not_have_are_refused) {
  const auto last_known = [](unsigned version) {
    return version == 1 ? 22U : version == 2 ? 25U : 26U;
  };
  for (unsigned version = 1; version <= 3; ++version) {
    const std::string end = command(command_end, 0);
    BOOST_TEST(verdict(header(version) + command(last_known(version), 3) + end) == "no error");
    BOOST_TEST(mentions(verdict(header(version) + command(last_known(version) + 1, 3) + end),
                        "unknown command"));
    BOOST_TEST(mentions(verdict(header(version) + command(0, 3) + end), "at byte 17"));
  }
}

BOOST_AUTO_TEST_CASE(a_command_longer_than_the_kernel_makes_is_refused_at_its_header) {
  const std::size_t longest_1 = 64 * 1024 - 10;
  const std::size_t longest_2 = 256 * 1024 - 10;
  const std::string end = command(command_end, 0);
  BOOST_TEST(verdict(header(1) + command(command_write, longest_1) + end) == "no error");
  BOOST_TEST(verdict(header(2) + command(command_write, longest_2) + end) == "no error");
  for (const std::uint64_t length : {longest_1 + 1, longest_2, std::size_t{0xffffffff}}) {
    stream_inspector inspector;
    const std::string stream = header(1) + command_header(command_write, length);
    auto fed = inspector.feed(bytes_of(stream));
    BOOST_REQUIRE(!fed);
    BOOST_TEST(mentions(fed.error().message, std::to_string(length) + " bytes at byte 17"));
  }
  BOOST_TEST(
      mentions(verdict(header(2) + command_header(command_write, longest_2 + 1)), "are possible"));
}

BOOST_AUTO_TEST_CASE(bytes_after_end_are_refused) {
  BOOST_TEST(mentions(verdict(small_stream() + '\0'), "follows the END"));
  BOOST_TEST(mentions(verdict(small_stream() + small_stream()), "follows the END"));
  stream_inspector inspector;
  BOOST_TEST(inspector.feed(bytes_of(small_stream())).has_value());
  BOOST_TEST(inspector.feed({}).has_value());
  BOOST_TEST(inspector.complete());
  BOOST_TEST(!inspector.feed(bytes_of("x")).has_value());
  BOOST_TEST(!inspector.complete());
}

BOOST_AUTO_TEST_CASE(an_error_stays) {
  stream_inspector inspector;
  auto first = inspector.feed(bytes_of(std::string(17, 'x')));
  BOOST_REQUIRE(!first);
  auto second = inspector.feed(bytes_of(small_stream()));
  BOOST_REQUIRE(!second);
  BOOST_TEST(second.error().message == first.error().message);
  BOOST_TEST(error_text(inspector.finish()) == error_text(first));
}

BOOST_AUTO_TEST_SUITE_END()
