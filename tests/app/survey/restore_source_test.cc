#include "app/survey/restore_source.hh"

#include "app/store/chain_reader.hh"
#include "s3/verbs/s3_client.hh"
#include "tests/engine/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <ctime>
#include <map>
#include <string>

using namespace bts3::app;
using bts3::planner::timestamp;
using bts3::testing::error_text;
using bts3::testing::memory_store;

namespace {

environment_lookup variables(std::map<std::string, std::string, std::less<>> values) {
  return [values = std::move(values)](std::string_view name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

// Sets TZ for one case.
class zone {
 public:
  explicit zone(const char* name) {
    if (const char* old = std::getenv("TZ")) {
      _old = old;
    }
    ::setenv("TZ", name, 1);
    ::tzset();
  }
  ~zone() {
    if (_old) {
      ::setenv("TZ", _old->c_str(), 1);
    } else {
      ::unsetenv("TZ");
    }
    ::tzset();
  }
  zone(const zone&) = delete;
  zone& operator=(const zone&) = delete;

 private:
  std::optional<std::string> _old;
};

std::string meant(std::string_view text) {
  const auto when = parse_point_in_time(text);
  return when ? when->rfc3339() : "refused";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(restore_source_suite)

BOOST_AUTO_TEST_CASE(a_point_in_time_is_read_in_every_form) {
  // POSIX form, so that no time zone database is needed: one hour east, two in summer.
  const zone berlin("CET-1CEST,M3.5.0,M10.5.0/3");
  BOOST_TEST(meant("2026-01-02T03:04:05Z") == "2026-01-02T03:04:05Z");
  BOOST_TEST(meant("2026-01-02T03:04:05.999Z") == "2026-01-02T03:04:05Z");
  BOOST_TEST(meant("20260102T030405Z") == "2026-01-02T03:04:05Z");
  BOOST_TEST(meant("2026-01-02T03:04:05+05:30") == "2026-01-01T21:34:05Z");
  BOOST_TEST(meant("2026-01-02T03:04:05-0800") == "2026-01-02T11:04:05Z");
  // What is named to the minute, or to the day, is meant as a whole.
  BOOST_TEST(meant("2026-01-02 03:04") == "2026-01-02T02:04:59Z");
  BOOST_TEST(meant("2026-01-02T03:04Z") == "2026-01-02T03:04:59Z");
  BOOST_TEST(meant("2026-01-02T03:04+05:30") == "2026-01-01T21:34:59Z");
  BOOST_TEST(meant("2026-01-02") == "2026-01-02T22:59:59Z");
  BOOST_TEST(meant("2026-03-29") == "2026-03-29T21:59:59Z");
  BOOST_TEST(meant("2026-12-31") == "2026-12-31T22:59:59Z");
  // An hour that comes twice: the later.
  BOOST_TEST(meant("2026-10-25 02:30") == "2026-10-25T01:30:59Z");
  // As list prints it, which is in no doubt.
  BOOST_TEST(meant("2026-10-25 02:30+02") == "2026-10-25T00:30:59Z");
  BOOST_TEST(meant("2026-10-25 02:30:07+01") == "2026-10-25T01:30:07Z");
  BOOST_TEST(meant("2026-07-02 03:04+05:30") == "2026-07-01T21:34:59Z");
  BOOST_TEST(meant("2026-07-02 03:04Z") == "2026-07-02T03:04:59Z");
  BOOST_TEST(meant("2026-10-25 02:30:01") == "2026-10-25T01:30:01Z");
  BOOST_TEST(meant("2026-07-02 03:04:05") == "2026-07-02T01:04:05Z");
  for (const char* wrong :
       {"", "now", "2026-01", "2026-02-30", "2026-13-01", "2026-00-01", "2026-01-00", "2026-01-02 ",
        "2026-01-02 03", "2026-01-02 03:04 ", "2026-01-02T03:04",
        "2026-01-02 03:04:", "2026-01-02 03:60", "2026-02-30 01:00", "2026-01-02 24:00",
        "2026-03-29 02:30", "2026-01-02T03:04:05+25:00", "2026-01-02T03:04:05", "-2026-1-2 3:4"}) {
    BOOST_TEST(meant(wrong) == "refused", wrong);
  }
}

// Days of local time have the bounds of times in UTC: nothing calculates with the year 9999.
BOOST_AUTO_TEST_CASE(a_day_is_of_the_years_that_backups_can_be_of_however_it_is_written) {
  const zone berlin("CET-1CEST,M3.5.0,M10.5.0/3");
  BOOST_TEST(meant("1970-01-02") == "1970-01-02T22:59:59Z");
  BOOST_TEST(meant("2199-12-31") == "2199-12-31T22:59:59Z");
  for (const char* wrong :
       {"1969-12-31", "2200-01-01", "9999-12-31", "9999-12-31 23:59", "9999-12-31 23:59:59",
        "0001-01-01", "-001-01-01", "1816-03-29 05:56", "2026-+1-02", "2026- 1- 2",
        "9999-12-31T23:59:59Z", "9999-12-31T23:59:59+01:00"}) {
    BOOST_TEST(meant(wrong) == "refused", wrong);
  }
}

BOOST_AUTO_TEST_CASE(a_bucket_alone_makes_a_configuration) {
  restore_command command;
  command.from = "s3://bucket/hosts/alpha/";
  command.region = "eu-central-1";
  auto made = config_of_bucket(command, variables({}));
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_TEST(made->bucket == "bucket");
  BOOST_TEST(made->prefix == "hosts/alpha/");
  BOOST_TEST(made->region == "eu-central-1");
  BOOST_TEST(made->endpoint_url.empty());
  command.from = "s3://bucket";
  BOOST_TEST(config_of_bucket(command, variables({}))->prefix.empty());
  command.region.clear();
  BOOST_TEST(config_of_bucket(command, variables({{"AWS_REGION", "r"}}))->region == "r");
  // A server of one's own needs no region; Amazon does.
  BOOST_TEST(config_of_bucket(command, variables({{"AWS_ENDPOINT_URL", "http://h"}}))->region ==
             "us-east-1");
  command.endpoint_url = "http://flag";
  BOOST_TEST(
      config_of_bucket(command, variables({{"AWS_ENDPOINT_URL_S3", "http://h"}}))->endpoint_url ==
      "http://flag");
  command.endpoint_url.clear();
  auto without = config_of_bucket(command, variables({}));
  BOOST_REQUIRE(!without);
  BOOST_TEST(without.error().text().find("--region") != std::string::npos);
  for (const char* wrong : {"bucket/prefix", "s3://", "s3:///prefix", "https://bucket"}) {
    command.from = wrong;
    BOOST_TEST(!config_of_bucket(command, variables({{"AWS_REGION", "r"}})).has_value(), wrong);
  }
}

BOOST_AUTO_TEST_CASE(the_environment_overrides_what_options_do_not_say) {
  restore_command command;
  command.from = "s3://bucket/p";
  const auto all = variables({{"HOME", "/h"},
                              {"BTRFS_TO_S3_SNAPSHOTS_BASE_DIR", "/mnt/snapshots"},
                              {"BTRFS_TO_S3_RESTORE_PRICE_TABLE", "~/prices.toml"},
                              {"BTRFS_TO_S3_S3_CA_BUNDLE", "/ca.pem"},
                              {"BTRFS_TO_S3_RESTORE_RESTORE_TIER", "Expedited"},
                              {"BTRFS_TO_S3_S3_BUCKET", "other"},
                              {"BTRFS_TO_S3_S3_PREFIX", "elsewhere"},
                              {"BTRFS_TO_S3_SUBVOLUMES_PATHS", "[\"/srv/other\"]"},
                              {"BTRFS_TO_S3_S3_REGION", "r"},
                              {"AWS_REGION", "less particular"},
                              {"BTRFS_TO_S3_S3_ENDPOINT_URL", "https://h"},
                              {"AWS_ENDPOINT_URL", "https://less"}});
  auto made = config_of_bucket(command, all);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_TEST(made->base_dir == "/mnt/snapshots");
  BOOST_TEST(made->price_table == "/h/prices.toml");
  BOOST_TEST(made->ca_bundle == "/ca.pem");
  BOOST_TEST(made->thaw_tier == "Expedited");
  BOOST_TEST((made->bucket == "bucket" && made->prefix == "p" && made->subvolumes.empty()));
  BOOST_TEST((made->region == "r" && made->endpoint_url == "https://h"));
  BOOST_TEST(made->state_path == "/h/.local/state/btrfs_to_s3/state.json");
  command.region = "said";
  command.endpoint_url = "https://said";
  made = config_of_bucket(command, all);
  BOOST_REQUIRE_MESSAGE(made.has_value(), error_text(made));
  BOOST_TEST((made->region == "said" && made->endpoint_url == "https://said"));
  // Wrong ones are named; without a home there is still a place for the state.
  const auto wrong = config_of_bucket(command, variables({{"BTRFS_TO_S3_S3_CONCURRENCY", "many"}}));
  BOOST_TEST(error_text(wrong) ==
             "the environment: BTRFS_TO_S3_S3_CONCURRENCY = many must be a whole number from 1 to "
             "64");
  BOOST_TEST(config_of_bucket(command, variables({{"HOME", ""}}))->state_path ==
             "/root/.local/state/btrfs_to_s3/state.json");
}

BOOST_AUTO_TEST_CASE(without_a_configuration_file_a_bucket_is_offered_where_that_works) {
  command_line line;
  line.common.config_path = "/no/such/config.toml";
  const std::string offer = "--from s3://bucket/prefix --region NAME";
  restore_command restore;
  for (auto& command : std::initializer_list<decltype(line.command)>{
           restore, thaw_command(), list_command(), verify_command(), backup_command()}) {
    line.command = command;
    const std::string said = error_text(settings_for(line, variables({})));
    BOOST_TEST(said.find("/no/such/config.toml does not exist; name one with --config") !=
               std::string::npos);
    BOOST_TEST((said.find(offer) != std::string::npos) == (place_in(line) != nullptr), said);
  }
  BOOST_TEST(place_in(line) == nullptr);
  restore.from = "s3://bucket/p";
  restore.region = "r";
  line.command = restore;
  BOOST_TEST(settings_for(line, variables({}))->bucket == "bucket");
}

BOOST_AUTO_TEST_CASE(with_a_bucket_alone_remedies_name_options) {
  bts3::engine::error refused;
  refused.message = "s3.bucket stays here";
  refused.remedy = "correct s3.bucket, s3.region or s3.endpoint_url, or create the bucket";
  BOOST_TEST(in_terms_of_options(refused).remedy ==
             "correct the bucket in --from, --region or --endpoint-url, or create the bucket");
  refused.remedy = "s3.region must be that: s3.region, not s3.prefix";
  BOOST_TEST(in_terms_of_options(refused).remedy ==
             "--region must be that: --region, not the prefix in --from");
  BOOST_TEST(in_terms_of_options(refused).message == refused.message);
  refused.remedy = "as it was";
  BOOST_TEST(in_terms_of_options(refused).remedy == "as it was");
}

BOOST_AUTO_TEST_CASE(a_named_profile_beats_keys_in_the_environment) {
  const auto plain = variables({{"AWS_ACCESS_KEY_ID", "A"},
                                {"AWS_SECRET_ACCESS_KEY", "B"},
                                {"AWS_SESSION_TOKEN", "C"},
                                {"AWS_PROFILE", "other"},
                                {"HOME", "/h"}});
  const auto with = environment_with_profile(plain, "rescue");
  BOOST_TEST(*with("AWS_PROFILE") == "rescue");
  BOOST_TEST(*with("HOME") == "/h");
  for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}) {
    BOOST_TEST(!with(name).has_value());
    BOOST_TEST(environment_with_profile(plain, "")(name).has_value());
  }
}

BOOST_AUTO_TEST_CASE(the_newest_backup_not_after_a_time_is_chosen_over_both_kinds) {
  auto loop = bts3::engine::testing::make_reactor();
  memory_store store(*loop);
  const std::string root = "p/subvol/data/";
  for (const char* key :
       {"full/manifest-20260101T000000Z.json", "incremental/manifest-20260103T000000Z.json",
        "incremental/manifest-20260105T000000Z.json", "full/manifest-20260104T000000Z.json",
        "full/manifest-garbage.json", "full/manifest-20260102T000000Z.json.bak", "current.json",
        "full/chunk-20260102T000000Z-0.bin"}) {
    store.put(root + key, "x");
  }
  store.put("p/subvol/data2/full/manifest-20260103T120000Z.json", "x");
  const auto at = [&](const char* text) {
    auto found =
        loop->run(manifest_at(store, "p/", "data", *timestamp::parse(text),
                              manifest_bound::of_host(config()), bts3::engine::stop_token()));
    return found ? found->substr(root.size()) : error_text(found);
  };
  BOOST_TEST(at("2026-01-03T00:00:00Z") == "incremental/manifest-20260103T000000Z.json");
  BOOST_TEST(at("2026-01-02T23:59:59Z") == "full/manifest-20260101T000000Z.json");
  BOOST_TEST(at("2026-01-04T12:00:00Z") == "full/manifest-20260104T000000Z.json");
  BOOST_TEST(at("2030-01-01T00:00:00Z") == "incremental/manifest-20260105T000000Z.json");
  BOOST_TEST(at("2025-12-31T23:59:59Z").find("the oldest is of 2026-01-01T00:00:00Z") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_backup_of_the_earlier_tool_is_found_by_the_time_of_its_snapshot) {
  auto loop = bts3::engine::testing::make_reactor();
  memory_store store(*loop);
  const auto put = [&](const char* written, const char* snapshot) {
    bts3::planner::manifest made;
    made.subvolume = "data";
    made.created_at = *timestamp::parse(written);
    made.snapshot.name = std::string("data__") + snapshot + "__full";
    made.snapshot.path = "/s/" + made.snapshot.name;
    bts3::planner::chunk_record chunk;
    chunk.key = "p/subvol/data/full/chunk-" + std::string(written) + "-0.bin";
    chunk.size = 4;
    chunk.sha256 = std::string(64, '0');
    made.chunks.push_back(chunk);
    made.total_bytes = chunk.size;
    store.put("p/subvol/data/full/manifest-" + std::string(written) + ".json",
              bts3::planner::write_manifest(made));
  };
  put("20260101T020000Z", "20260101T020000Z");
  put("20260108T020107Z", "20260108T020058Z");  // list prints 02:00
  put("20260108T020300Z", "20260108T020200Z");
  const auto at = [&](const char* text) {
    auto found =
        loop->run(manifest_at(store, "p", "data", *timestamp::parse(text),
                              manifest_bound::of_host(config()), bts3::engine::stop_token()));
    return found ? found->substr(std::string("p/subvol/data/full/manifest-").size(), 16)
                 : error_text(found);
  };
  BOOST_TEST(at("2026-01-08T02:00:59Z") == "20260108T020107Z");
  BOOST_TEST(at("2026-01-08T02:00:57Z") == "20260101T020000Z");
  BOOST_TEST(at("2026-01-08T02:02:59Z") == "20260108T020300Z");
}

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
  const auto chain = loop->run(read_chain(store, {"p/no-such"}, manifest_bound::of_host(config()),
                                          bts3::engine::stop_token()));
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
    return loop->run(read_chain(store, {key(from)}, manifest_bound::of_host(config()),
                                bts3::engine::stop_token()));
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
  settings.bucket = "b";
  const auto hint = [&](const char* prefix) {
    settings.prefix = prefix;
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
