#include "app/records/harness_manifest.hh"

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

using namespace bts3;

BOOST_AUTO_TEST_SUITE(harness_manifest_suite)

BOOST_AUTO_TEST_CASE(kind_and_chunks_are_told_in_their_order) {
  std::vector<planner::chunk_record> chunks(2);
  chunks[0].key = "p/subvol/data/incremental/chunk-20260102T030405Z-0.bin";
  chunks[0].sha256 = std::string(64, 'a');
  chunks[1].key = "p/subvol/data/incremental/chunk-20260102T030405Z-1.bin";
  chunks[1].sha256 = std::string(64, 'b');
  BOOST_TEST(app::harness_manifest(planner::backup_kind::incremental, chunks) ==
             "{\n"
             "  \"backup_type\": \"incremental\",\n"
             "  \"chunks\": [\n"
             "    {\n"
             "      \"index\": 0,\n"
             "      \"key\": \"p/subvol/data/incremental/chunk-20260102T030405Z-0.bin\",\n"
             "      \"sha256\": \"" +
                 std::string(64, 'a') +
                 "\"\n"
                 "    },\n"
                 "    {\n"
                 "      \"index\": 1,\n"
                 "      \"key\": \"p/subvol/data/incremental/chunk-20260102T030405Z-1.bin\",\n"
                 "      \"sha256\": \"" +
                 std::string(64, 'b') +
                 "\"\n"
                 "    }\n"
                 "  ]\n"
                 "}\n");
}

BOOST_AUTO_TEST_SUITE_END()
