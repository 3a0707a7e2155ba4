// The public test vectors of age: tests/data/age/README.md.
#include "engine/age/armor.hh"
#include "engine/age/hex.hh"
#include "engine/age/sealed_file.hh"
#include "engine/age/stream.hh"
#include "tests/engine/age/support.hh"

#include <libdeflate.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

using namespace bts3;
using namespace bts3::age;
using namespace bts3::age::testing;

namespace {

struct vector_file {
  std::string name;
  std::multimap<std::string, std::string> keys;
  bytes file;

  [[nodiscard]] std::string one(const std::string& key) const {
    const auto found = keys.find(key);
    return found == keys.end() ? std::string() : found->second;
  }
  [[nodiscard]] std::vector<std::string> all(const std::string& key) const {
    std::vector<std::string> found;
    const auto [from, to] = keys.equal_range(key);
    for (auto at = from; at != to; ++at) {
      found.push_back(at->second);
    }
    return found;
  }
};

bytes inflated(std::span<const std::byte> from) {
  bytes made(std::size_t{32} << 20U);
  std::size_t size = 0;
  auto* const how = ::libdeflate_alloc_decompressor();
  const auto answer =
      ::libdeflate_zlib_decompress(how, from.data(), from.size(), made.data(), made.size(), &size);
  ::libdeflate_free_decompressor(how);
  BOOST_REQUIRE(answer == LIBDEFLATE_SUCCESS);
  made.resize(size);
  return made;
}

vector_file read_vector(const std::string& name) {
  vector_file made;
  made.name = name;
  const bytes all = read_data("testkit/" + name);
  std::string_view rest = text_of(all);
  while (true) {
    const std::size_t end = rest.find('\n');
    BOOST_REQUIRE(end != std::string_view::npos);
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (line.empty()) {
      break;
    }
    const std::size_t colon = line.find(": ");
    BOOST_REQUIRE(colon != std::string_view::npos);
    made.keys.emplace(line.substr(0, colon), line.substr(colon + 2));
  }
  made.file = made.one("compressed") == "zlib" ? inflated(bytes_of(rest)) : of_text(rest);
  return made;
}

std::vector<vector_file> all_vectors() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(BTS3_TEST_DATA) + "/age/testkit")) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  std::vector<vector_file> found;
  for (const std::string& name : names) {
    found.push_back(read_vector(name));
  }
  return found;
}

std::string outcome_name(fault what) {
  switch (what) {
    case fault::header:
      return "header failure";
    case fault::mac:
      return "HMAC failure";
    case fault::no_match:
      return "no match";
    case fault::payload:
      return "payload failure";
    case fault::armor:
      return "armor failure";
    case fault::place:
    case fault::key:
    case fault::signature:
    case fault::random:
    case fault::library:
      break;
  }
  return "another failure";
}

struct opened {
  std::string outcome;
  bytes released;
};

std::vector<x25519_identity> identities_of(const vector_file& from) {
  std::vector<x25519_identity> found;
  for (const std::string& text : from.all("identity")) {
    found.push_back(value_of(x25519_identity::parse(text)));
  }
  return found;
}

// As whoever reads a stream does: what was opened before a failure is kept.
opened open_as_stream(const vector_file& from, const bytes& file, const opened_header& head) {
  opened made;
  const auto nonce = read_payload_nonce(file, head.read);
  if (!nonce) {
    made.outcome = outcome_name(fault_in(nonce));
    return made;
  }
  auto opener = value_of(stream_opener::make(head.key, *nonce));
  bytes rest(file.begin() + static_cast<std::ptrdiff_t>(head.read.bytes + payload_nonce_bytes),
             file.end());
  std::span<std::byte> left(rest);
  for (std::uint64_t index = 0;; ++index) {
    const bool last = left.size() <= segment_bytes;
    const auto segment = left.first(std::min(left.size(), segment_bytes));
    bytes again(segment.begin(), segment.end());
    const auto text = opener.open(segment, index, last);
    if (!text) {
      made.outcome = outcome_name(fault_in(text));
      // The vectors count as released what somebody has who does not know the file's length, and
      // so tries a full segment both ways before seeing what comes behind it.
      const auto otherwise = again.size() == segment_bytes
                                 ? opener.open(again, index, !last)
                                 : engine::result<std::span<std::byte>>(std::span<std::byte>());
      if (otherwise) {
        made.released.insert(made.released.end(), otherwise->begin(), otherwise->end());
      }
      return made;
    }
    made.released.insert(made.released.end(), text->begin(), text->end());
    if (last) {
      break;
    }
    left = left.subspan(segment_bytes);
  }
  made.outcome = "success";
  BOOST_TEST(hex_of(head.key.view()) == from.one("file key"));
  return made;
}

engine::result<opened_header> open_head(const vector_file& from, const bytes& file) {
  if (from.keys.contains("identity")) {
    return open_header(file, identities_of(from));
  }
  return open_header_with_passphrase(file, from.one("passphrase"));
}

opened open_vector(const vector_file& from) {
  bytes file = from.file;
  if (from.one("armored") == "yes") {
    auto binary = unarmor(text_of(from.file));
    if (!binary) {
      return {outcome_name(fault_in(binary)), {}};
    }
    file = std::move(*binary);
  }
  const auto head = open_head(from, file);
  if (!head) {
    return {outcome_name(fault_in(head)), {}};
  }
  return open_as_stream(from, file, *head);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(testkit)

BOOST_AUTO_TEST_CASE(every_vector_has_its_outcome) {
  std::map<std::string, int> seen;
  for (const vector_file& one : all_vectors()) {
    BOOST_TEST_CONTEXT(one.name) {
      const opened found = open_vector(one);
      BOOST_TEST(found.outcome == one.one("expect"));
      if (!one.one("payload").empty()) {
        BOOST_TEST(hex_of(value_of(sha256(found.released))) == one.one("payload"));
      } else {
        BOOST_TEST(found.released.empty());
      }
      ++seen[found.outcome];
    }
  }
  // All kinds were there, and no folder that somebody emptied.
  BOOST_TEST(seen["success"] == 21);
  BOOST_TEST(seen["HMAC failure"] == 1);
  BOOST_TEST(seen["header failure"] == 53);
  BOOST_TEST(seen["no match"] == 8);
  BOOST_TEST(seen["payload failure"] == 19);
  BOOST_TEST(seen["armor failure"] == 22);
}

// What takes whole files gives all of the text or none.
BOOST_AUTO_TEST_CASE(whole_files_are_opened_or_refused_alike) {
  for (const vector_file& one : all_vectors()) {
    BOOST_TEST_CONTEXT(one.name) {
      if (one.file.size() > small_plain_bytes_max) {
        continue;  // those with 257 segments are no small files
      }
      if (one.one("armored") == "yes" && !is_armored(text_of(one.file))) {
        continue;  // taken for a binary file, and refused as one
      }
      const auto found = one.keys.contains("identity")
                             ? open_file(one.file, identities_of(one))
                             : open_file_with_passphrase(one.file, one.one("passphrase"));
      if (one.one("expect") == "success") {
        BOOST_REQUIRE_MESSAGE(found.has_value(), bts3::testing::error_text(found));
        BOOST_TEST(hex_of(value_of(sha256(found->bytes()))) == one.one("payload"));
      } else {
        BOOST_TEST(outcome_name(fault_in(found)) == one.one("expect"));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_was_read_is_written_the_same) {
  int headers = 0;
  int texts = 0;
  for (const vector_file& one : all_vectors()) {
    BOOST_TEST_CONTEXT(one.name) {
      if (one.one("armored") == "yes") {
        const auto binary = unarmor(text_of(one.file));
        if (binary && one.name != "armor_crlf" && one.name != "armor_no_eol" &&
            one.name != "armor_whitespace_outside" && one.name != "armor_header_crlf") {
          BOOST_TEST(armor(*binary) == text_of(one.file));
          ++texts;
        }
        continue;
      }
      const auto head = open_head(one, one.file);
      if (!head) {
        continue;
      }
      const std::string again = value_of(write_header(head->read.stanzas, head->key));
      BOOST_TEST(again == text_of(std::span(one.file).first(head->read.bytes)));
      ++headers;
    }
  }
  BOOST_TEST(headers >= 30);
  BOOST_TEST(texts >= 3);
}

BOOST_AUTO_TEST_SUITE_END()
