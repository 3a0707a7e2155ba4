#include "btrfs/processes.hh"

#include "tests/engine/scratch_directory.hh"

#include <boost/test/unit_test.hpp>

#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>

using namespace bts3::btrfs;

namespace {

std::string joined(const send_options& options) {
  std::string text;
  for (const std::string& word : send_arguments(options)) {
    text += (text.empty() ? "" : " ") + word;
  }
  return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(processes_suite)

BOOST_AUTO_TEST_CASE(versions_are_found_in_what_tools_print) {
  BOOST_TEST((parse_version("btrfs-progs v6.2") == version_number{6, 2}));
  BOOST_TEST((parse_version("6.18.44-fc-v657") == version_number{6, 18}));
  BOOST_TEST((parse_version("btrfs-progs v5.16.2 ") == version_number{5, 16}));
  BOOST_TEST(!parse_version("no number here").has_value());
  BOOST_TEST(!parse_version("7").has_value());
}

BOOST_AUTO_TEST_CASE(protocol_2_needs_kernel_and_tools) {
  BOOST_TEST((capabilities{{6, 0}, {6, 2}}).protocol_2());
  BOOST_TEST(!(capabilities{{5, 19}, {6, 2}}).protocol_2());
  BOOST_TEST(!(capabilities{{6, 1}, {6, 1}}).protocol_2());
  BOOST_TEST((capabilities{{7, 0}, {6, 10}}).protocol_2());
  BOOST_TEST((capabilities{{7, 0}, {6, 10}, 2}).sends_protocol_2());
  BOOST_TEST((capabilities{{7, 0}, {6, 10}, 3}).sends_protocol_2());
  BOOST_TEST(!(capabilities{{7, 0}, {6, 10}, 1}).sends_protocol_2());
  BOOST_TEST(!(capabilities{{5, 19}, {6, 2}, 2}).sends_protocol_2());
}

BOOST_AUTO_TEST_CASE(what_the_kernel_sends_is_read_from_its_file) {
  const bts3::engine::testing::scratch_directory scratch;
  const std::string path = scratch.path() + "/send_stream_version";
  BOOST_TEST(read_send_version(path) == 1);
  const std::initializer_list<std::pair<const char*, int>> contents = {
      {"2\n", 2}, {"3", 3}, {"", 1}, {"none\n", 1}, {"-4", 1}};
  for (const auto& [text, version] : contents) {
    std::ofstream(path) << text;
    BOOST_TEST(read_send_version(path) == version, text);
  }
}

BOOST_AUTO_TEST_CASE(the_command_line_follows_the_options) {
  send_options options;
  options.snapshot = "/s/new";
  BOOST_TEST(joined(options) == "btrfs send -q /s/new");
  options.without_data = true;
  BOOST_TEST(joined(options) == "btrfs send -q --no-data /s/new");
  options.without_data = false;
  options.parent = "/s/old";
  options.protocol = 2;
  BOOST_TEST(joined(options) == "btrfs send -q --proto 2 -p /s/old /s/new");
  options.compressed_data = true;
  BOOST_TEST(joined(options) == "btrfs send -q --proto 2 --compressed-data -p /s/old /s/new");
}

BOOST_AUTO_TEST_SUITE_END()
