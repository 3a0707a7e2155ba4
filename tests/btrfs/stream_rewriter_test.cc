// The parent's name in a stream: replaced where it stands, and nothing else let through.
#include "btrfs/stream_rewriter.hh"

#include "engine/crc32.hh"

#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstring>
#include <span>
#include <string>

using namespace bts3::btrfs;

namespace {

const uuid parent = uuid::parse("11111111-2222-3333-4444-555555555555").value();
const uuid stand_in = uuid::parse("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee").value();
const uuid own = uuid::parse("01234567-89ab-cdef-0123-456789abcdef").value();
const uuid foreign = uuid::parse("99999999-9999-9999-9999-999999999999").value();

std::string number(std::uint64_t value, unsigned count) {
  std::string text;
  for (unsigned i = 0; i < count; ++i) {
    text += static_cast<char>(value >> (8 * i) & 255);
  }
  return text;
}

std::string attribute(unsigned kind, const std::string& value) {
  return number(kind, 2) + number(value.size(), 2) + value;
}

std::string raw(const uuid& of) {
  std::uint8_t bytes[16];
  of.copy_to(bytes);
  return std::string(reinterpret_cast<const char*>(bytes), sizeof bytes);
}

std::string command(unsigned kind, const std::string& payload) {
  std::string text = number(payload.size(), 4) + number(kind, 2) + number(0, 4) + payload;
  const auto crc = bts3::engine::crc32c(0, std::as_bytes(std::span(text.data(), text.size())));
  return text.replace(6, 4, number(crc, 4));
}

std::string snapshot_of(const uuid& of) {
  return command(2, attribute(15, "name") + attribute(1, raw(own)) + attribute(2, number(7, 8)) +
                        attribute(20, raw(of)) + attribute(21, number(6, 8)));
}

std::string subvolume() {
  return command(1, attribute(15, "name") + attribute(1, raw(own)) + attribute(2, number(7, 8)));
}

std::string clone_from(const uuid& of) {
  return command(16, attribute(18, number(0, 8)) + attribute(24, number(4096, 8)) +
                         attribute(15, "to") + attribute(20, raw(of)) +
                         attribute(21, number(6, 8)) + attribute(22, "from") +
                         attribute(23, number(0, 8)));
}

std::string stream(const std::string& commands) {
  return std::string("btrfs-stream\0", 13) + number(1, 4) + commands + command(21, "");
}

// The whole of what comes out when `text` goes in, in pieces of `size`; or the error.
std::string rewritten(stream_rewriter rewriter, std::string text, std::size_t size) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += size) {
    const std::size_t count = std::min(size, text.size() - at);
    auto piece = rewriter.feed(std::as_writable_bytes(std::span(text.data() + at, count)));
    if (!piece) {
      return piece.error().text();
    }
    for (const auto span : *piece) {
      out.append(reinterpret_cast<const char*>(span.data()), span.size());
    }
  }
  return out;
}

std::string problem(stream_rewriter rewriter, const std::string& commands) {
  return rewritten(std::move(rewriter), stream(commands), 1 << 20);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(stream_rewriter_suite)

BOOST_AUTO_TEST_CASE(the_parent_is_replaced_wherever_the_pieces_end) {
  const std::string write = command(15, attribute(15, "to") + attribute(19, std::string(300, 'x')));
  const auto whole = [&](const uuid& of) {
    return stream(snapshot_of(of) + write + clone_from(of) + write + clone_from(own) + write);
  };
  for (std::size_t size :
       {1u, 2u, 7u, 10u, 16u, 17u, 18u, 27u, 50u, 100u, 119u, 200u, 512u, 5000u}) {
    const bool same =
        rewritten(stream_rewriter(parent, stand_in), whole(parent), size) == whole(stand_in);
    BOOST_TEST(same, "in pieces of " << size);
  }
}

BOOST_AUTO_TEST_CASE(a_full_passes_as_it_is) {
  const std::string whole = stream(subvolume() + clone_from(own));
  BOOST_TEST((rewritten(stream_rewriter(), whole, 11) == whole));
}

BOOST_AUTO_TEST_CASE(what_builds_on_anything_else_is_refused) {
  const stream_rewriter onto_parent(parent, stand_in);
  const std::string other = problem(onto_parent, snapshot_of(foreign));
  BOOST_TEST(has(other, "builds on the snapshot " + foreign.text() + " instead of on " +
                            parent.text() + ", the link before it (command at byte 17)"),
             other);
  // Nor may it know the stand-in's name.
  BOOST_TEST(has(problem(onto_parent, snapshot_of(stand_in)), "builds on the snapshot"));
  BOOST_TEST(has(problem(onto_parent, subvolume()), "of an incremental builds on nothing"));
  BOOST_TEST(has(problem(stream_rewriter(), snapshot_of(parent)), "instead of on nothing"));
  for (const uuid& source : {foreign, stand_in}) {
    BOOST_TEST(has(problem(onto_parent, snapshot_of(parent) + clone_from(source)),
                   "takes data from another subvolume, " + source.text()));
  }
  BOOST_TEST(has(problem(stream_rewriter(), subvolume() + clone_from(parent)),
                 "takes data from another subvolume"));
  BOOST_TEST(has(problem(stream_rewriter(), clone_from(uuid())), "takes data from another"));
  for (const std::string& second : {subvolume(), snapshot_of(parent)}) {
    BOOST_TEST(has(problem(onto_parent, snapshot_of(parent) + second), "makes a second subvolume"));
  }
}

BOOST_AUTO_TEST_CASE(commands_that_make_no_sense_are_refused) {
  const stream_rewriter onto_parent(parent, stand_in);
  std::string broken = snapshot_of(parent);
  broken.back() ^= 1;
  BOOST_TEST(has(problem(onto_parent, broken), "has a wrong CRC"));
  BOOST_TEST(has(problem(onto_parent, command(2, attribute(1, raw(own)))), "without its UUID"));
  BOOST_TEST(
      has(problem(onto_parent, command(2, number(1, 2) + number(900, 2))), "without its UUID"));
  BOOST_TEST(has(problem(onto_parent, command(1, attribute(1, "short"))), "without its UUID"));
  BOOST_TEST(has(problem(onto_parent, snapshot_of(parent) + command(16, "")), "without a UUID"));
  const std::string endless = number(0xffffffff, 4) + number(16, 2) + number(0, 4);
  BOOST_TEST(has(problem(onto_parent, snapshot_of(parent) + endless), "has a command of"));
}

BOOST_AUTO_TEST_SUITE_END()
