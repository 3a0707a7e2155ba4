#include "app/store/stored_subvolumes.hh"

#include "app/store/chain_reader.hh"
#include "s3/verbs/s3_client.hh"
#include "tests/engine/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace bts3::app;
using bts3::planner::timestamp;
using bts3::testing::error_text;
using bts3::testing::memory_store;

BOOST_AUTO_TEST_SUITE(stored_subvolumes_suite)

BOOST_AUTO_TEST_CASE(subvolumes_are_found_by_their_folders) {
  auto loop = bts3::engine::testing::make_reactor();
  memory_store store(*loop);
  for (const char* key : {"p/subvol/b/current.json", "p/subvol/a/full/chunk", "p/subvol/../x",
                          "p/subvol/file", "q/subvol/c/current.json", "p/subvol//y"}) {
    store.put(key, "x");
  }
  auto names = loop->run(subvolumes_in_bucket(store, "p", bts3::engine::stop_token()));
  BOOST_REQUIRE_MESSAGE(names.has_value(), error_text(names));
  const std::vector<std::string> expected = {"a", "b"};
  BOOST_TEST(*names == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(folders_that_no_subvolume_can_be_called_like_are_passed_over) {
  auto loop = bts3::engine::testing::make_reactor();
  bts3::testing::fake_transport transport(*loop);
  bts3::testing::fixed_clock clock(bts3::testing::reference_time);
  bts3::testing::line_log log;
  bts3::s3::client_options options;
  options.bucket = bts3::s3::bucket_name("b");
  options.region = "us-east-1";
  options.where.scheme = "https";
  options.where.host = "store.example";
  bts3::s3::credentials who;
  who.access_key_id = "A";
  who.secret_access_key = "S";
  bts3::s3::s3_client store(transport, who, clock, log, options);
  const std::vector<std::string> bad = {"..",
                                        ".",
                                        "",
                                        "a/../../etc",
                                        "../x",
                                        "/",
                                        "a&#10;b",
                                        "a&#27;[m",
                                        "caf\xe9",
                                        ".btrfs_to_s3.good",
                                        std::string(300, 'n')};
  const std::vector<std::string> good = {
      "B\xc3\xbc"
      "cher",
      "__", "good", "x__y"};
  std::string text;
  for (const auto* names : {&bad, &good}) {
    for (const std::string& name : *names) {
      text += "<CommonPrefixes><Prefix>p/subvol/" + name + "/</Prefix></CommonPrefixes>";
    }
  }
  transport.then(
      bts3::testing::answer(200, {}, "<ListBucketResult>" + text + "</ListBucketResult>"));
  auto names = loop->run(subvolumes_in_bucket(store, "p", bts3::engine::stop_token(), &log));
  BOOST_REQUIRE_MESSAGE(names.has_value(), error_text(names));
  BOOST_TEST(*names == good, boost::test_tools::per_element());
  BOOST_TEST(log.lines.size() == bad.size());
  BOOST_TEST(log.contains("folder_passed_over folder=p/subvol/../"));
}

BOOST_AUTO_TEST_CASE(a_manifest_that_is_not_there_can_be_found_with_list) {
  auto loop = bts3::engine::testing::make_reactor();
  memory_store store(*loop);
  const auto chain = loop->run(
      read_chain(plain_reader(store, manifest_bound::of_host(config()), {}), {"p/no-such"}));
  BOOST_TEST(error_text(chain) ==
             "there is no manifest at p/no-such; `btrfs_to_s3 list` shows the keys");
}

// Seventeen of the largest streams that a manifest may tell of make nothing in 64 bits.
BOOST_AUTO_TEST_CASE(a_chain_that_is_larger_than_anything_is_not_taken_for_a_small_one) {
  auto loop = bts3::engine::testing::make_reactor();
  memory_store store(*loop);
  const auto key = [](int at) {
    const std::string folder = at == 0 ? "full" : "incremental";
    return "p/subvol/data/" + folder + "/manifest-202601" + (at < 9 ? "0" : "") +
           std::to_string(at + 1) + "T000000Z.json";
  };
  constexpr int links = 17;
  for (int at = 0; at < links; ++at) {
    bts3::planner::manifest made;
    made.subvolume = "data";
    made.kind =
        at == 0 ? bts3::planner::backup_kind::full : bts3::planner::backup_kind::incremental;
    made.created_at = *timestamp::parse(key(at).substr(key(at).size() - 21, 16));
    made.snapshot.name = "data__" + made.created_at.compact() + "__full";
    made.snapshot.path = "/s/" + made.snapshot.name;
    if (at > 0) {
      made.parent_manifest = key(at - 1);
    }
    for (int index = 0; index < 1024; ++index) {
      bts3::planner::chunk_record chunk;
      chunk.key = "p/subvol/data/full/chunk-" + std::to_string(index) + ".bin";
      chunk.size = bts3::planner::chunk_bytes_max;
      chunk.sha256 = std::string(64, '0');
      made.chunks.push_back(chunk);
      made.total_bytes += chunk.size;
    }
    BOOST_REQUIRE(made.total_bytes == bts3::planner::stream_bytes_max);
    store.put(key(at), bts3::planner::write_manifest(made));
  }
  const auto read = [&](int from) {
    return loop->run(
        read_chain(plain_reader(store, manifest_bound::of_host(config()), {}), {key(from)}));
  };
  BOOST_TEST(read(0).has_value(), error_text(read(0)));
  const auto chain = read(links - 1);
  BOOST_TEST(!chain.has_value());
  BOOST_TEST(error_text(chain).find("larger together than") != std::string::npos,
             error_text(chain));
}

BOOST_AUTO_TEST_CASE(where_there_is_no_backup_the_folders_tell_where_to_look) {
  auto loop = bts3::engine::testing::make_reactor();
  memory_store store(*loop);
  for (const char* key : {"hosts/about/readme", "hosts/alpha/subvol/data/current.json",
                          "hosts/beta/subvol/x/y", "hosts/alpha/subvol/home/full/chunk"}) {
    store.put(key, "x");
  }
  config settings;
  settings.s3.bucket = "b";
  const auto hint = [&](const char* prefix) {
    settings.s3.prefix = prefix;
    return loop->run(where_to_look(store, settings, bts3::engine::stop_token()));
  };
  BOOST_TEST(hint("hosts/") ==
             "backups would lie below hosts/subvol/, but hosts/ has the folders about, alpha, "
             "beta: try --from s3://b/hosts/alpha");
  BOOST_TEST(hint("") ==
             "backups would lie below subvol/, but the bucket has the folder hosts: try --from "
             "s3://b/hosts");
  for (const char* too_long :
       {"hosts/alpha/subvol/data", "hosts/alpha/subvol/data/full/", "hosts/alpha/subvol"}) {
    BOOST_TEST(hint(too_long) ==
               "the prefix is what stands before /subvol/: try --from s3://b/hosts/alpha");
  }
  BOOST_TEST(hint("hosts/alpha/data") == "try --from s3://b/hosts/alpha");
  BOOST_TEST(hint("hosts/alpha") == "check the name: there are data, home");
  BOOST_TEST(hint("hosts/gamma") ==
             "check bucket, prefix and name: backups would lie below hosts/gamma/subvol/");
  auto none = loop->run(all_subvolumes(store, settings, bts3::engine::stop_token()));
  BOOST_TEST(error_text(none) ==
             "there are no backups at s3://b/hosts/gamma; check bucket, prefix and name: backups "
             "would lie below hosts/gamma/subvol/");
  // With a configuration it is the key that has to be set.
  settings.subvolumes.emplace_back();
  BOOST_TEST(hint("hosts").ends_with("try s3.prefix = \"hosts/alpha\""));
  // Many are not all told, and a store that refuses has nothing to tell.
  for (char c = 'c'; c < 'l'; ++c) {
    store.put(std::string("hosts/") + c + "/x", "x");
  }
  BOOST_TEST(hint("hosts").find("about, alpha, beta, c, d, e, f, g and 4 more:") !=
             std::string::npos);
  bts3::engine::error refused;
  refused.why = bts3::engine::reason::access;
  store.fail_from(store.steps() + 1, refused);
  BOOST_TEST(hint("hosts").starts_with("check bucket, prefix and name"));
}

BOOST_AUTO_TEST_SUITE_END()
