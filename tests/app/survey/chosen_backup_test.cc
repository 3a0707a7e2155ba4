// Which backup is meant, and where its objects are: in an original, and in a copy of it.
#include "app/survey/chosen_backup.hh"

#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_backups;
using bts3::testing::error_text;
using bts3::testing::memory_store;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A full and an incremental, of two chunks each.
struct scene : bucket_of_backups {
  std::vector<std::string> chain = add_generation({20, 13});

  scene() { store.forget_calls(); }

  engine::result<std::vector<chain_link>> find(const std::string& manifest_key = {}) {
    wanted_backup wanted;
    wanted.subvolume = "data";
    wanted.manifest_key = manifest_key;
    return loop->run(find_chain(with, store, wanted));
  }
  engine::result<std::vector<located_chunk>> locate(const chain_link& link) {
    return loop->run(locate_chunks(with, store, link));
  }
  // Everything below another prefix, which is then the configured one.
  void use_copy() {
    copy_to("copied");
    settings.s3.prefix = "copied";
    store.forget_calls();
  }
  // As with a key that may read what is below `prefix` and nothing else.
  void allow_only(const std::string& prefix) {
    store.judge_by(
        [prefix](const memory_store::recorded_call& call) -> std::optional<engine::error> {
          return call.key.starts_with(prefix) ? std::nullopt
                                              : std::optional(memory_store::denied(call.key));
        });
  }
};

std::string in_copy(const std::string& key) {
  return "copied" + key.substr(1);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(chosen_backup_suite)

BOOST_AUTO_TEST_CASE(an_original_is_asked_for_each_object_once) {
  scene made;
  const auto chain = made.find();
  BOOST_REQUIRE_MESSAGE(chain.has_value(), error_text(chain));
  BOOST_REQUIRE(chain->size() == 2u);
  BOOST_TEST(made.store.count("GetObject") == 3u);  // and the pointer
  for (const chain_link& link : *chain) {
    BOOST_TEST(made.locate(link).has_value());
  }
  BOOST_TEST(made.store.count("HeadObject") == 4u);
  BOOST_TEST(made.store.steps() == 7u);
}

BOOST_AUTO_TEST_CASE(a_copy_is_found_beside_its_original_by_a_key_that_may_read_nothing_else) {
  for (const bool restricted : {false, true}) {
    scene made;
    made.use_copy();
    if (restricted) {
      made.allow_only("copied/");
    }
    const auto chain = made.find();
    BOOST_REQUIRE_MESSAGE(chain.has_value(), error_text(chain));
    BOOST_REQUIRE(chain->size() == 2u);
    for (std::size_t i = 0; i < chain->size(); ++i) {
      BOOST_TEST((*chain)[i].key == in_copy(made.chain[i]));
      const auto chunks = made.locate((*chain)[i]);
      BOOST_REQUIRE_MESSAGE(chunks.has_value(), error_text(chunks));
      BOOST_REQUIRE(chunks->size() == 2u);
      for (const located_chunk& chunk : *chunks) {
        BOOST_TEST(chunk.key.str().starts_with("copied/"), chunk.key.str());
      }
    }
    for (const auto& call : made.store.calls()) {
      BOOST_TEST(call.key.starts_with("copied/"), call.key);
    }
  }
}

// An older incremental by its key, and one by its key in the original.
BOOST_AUTO_TEST_CASE(a_manifest_that_is_named_is_that_one) {
  scene made;
  made.use_copy();
  const auto copied = made.find(in_copy(made.chain[1]));
  BOOST_REQUIRE_MESSAGE(copied.has_value(), error_text(copied));
  BOOST_TEST(copied->front().key == in_copy(made.chain[0]));
  const auto original = made.find(made.chain[1]);
  BOOST_REQUIRE_MESSAGE(original.has_value(), error_text(original));
  BOOST_TEST(original->back().key == made.chain[1]);
  BOOST_TEST(original->front().key == made.chain[0]);
}

BOOST_AUTO_TEST_CASE(what_a_copy_lacks_is_looked_for_where_it_was_recorded) {
  scene made;
  const std::string chunk = made.keys.chunk(
      planner::backup_kind::full, planner::timestamp(made.now.when() - std::chrono::days(20)), 1);
  made.use_copy();
  made.store.erase(in_copy(chunk));
  made.store.erase(in_copy(made.chain[0]));
  const auto chain = made.find();
  BOOST_REQUIRE_MESSAGE(chain.has_value(), error_text(chain));
  BOOST_TEST(chain->front().key == made.chain[0]);
  BOOST_TEST(chain->back().key == in_copy(made.chain[1]));

  // With a key that may not: it is missing, and why the other does not count.
  made.allow_only("copied/");
  const auto alone = made.find();
  BOOST_REQUIRE(!alone.has_value());
  BOOST_TEST((alone.error().what_now == engine::disposition::not_found));
  BOOST_TEST(has(alone.error().text(), "needs its parent " + in_copy(made.chain[0])),
             alone.error().text());
  BOOST_TEST(has(alone.error().text(), "where it was recorded: " + made.chain[0]),
             alone.error().text());
  chain_link full = chain->front();
  full.key = in_copy(full.key);
  const auto chunks = made.locate(full);
  BOOST_REQUIRE(!chunks.has_value());
  BOOST_TEST((chunks.error().why == engine::reason::integrity));
  BOOST_TEST(has(chunks.error().text(), "chunk " + in_copy(chunk)), chunks.error().text());
  BOOST_TEST(has(chunks.error().text(), "is missing from the bucket; where it was recorded"),
             chunks.error().text());
}

// By a time the manifests are listed: what is denied then is looked at again.
BOOST_AUTO_TEST_CASE(a_manifest_that_is_listed_and_denied_is_not_called_missing) {
  for (const std::size_t link : {0U, 1U}) {
    scene made;
    made.store.judge_by(
        [&](const memory_store::recorded_call& call) -> std::optional<engine::error> {
          return call.verb == "GetObject" && call.key == made.chain[link]
                     ? std::optional(memory_store::absent(call.key))
                     : std::nullopt;
        });
    wanted_backup wanted;
    wanted.subvolume = "data";
    wanted.at = made.now.rfc3339();
    const auto found = made.loop->run(find_chain(made.with, made.store, wanted));
    BOOST_REQUIRE(!found.has_value());
    BOOST_TEST(found.error().text() ==
               "manifest " + made.chain[link] +
                   ": it is listed, but the store says that it does not exist");
    BOOST_TEST(made.store.count("ListObjectsV2") == 3u);

    // Without a listing, which a key may not be allowed, nothing is listed.
    made.store.forget_calls();
    BOOST_TEST(!made.find().has_value());
    BOOST_TEST(made.store.count("ListObjectsV2") == 0u);
  }
}

BOOST_AUTO_TEST_CASE(a_refusal_of_the_credentials_or_of_the_copy_itself_is_no_absence) {
  scene made;
  made.use_copy();
  made.store.erase(in_copy(made.chain[0]));
  made.store.judge_by([](const memory_store::recorded_call& call) -> std::optional<engine::error> {
    engine::error failure = memory_store::denied(call.key);
    failure.code = "InvalidAccessKeyId";
    return call.key.starts_with("p/") ? std::optional(failure) : std::nullopt;
  });
  const auto expired = made.find();
  BOOST_REQUIRE(!expired.has_value());
  BOOST_TEST((expired.error().why == engine::reason::access));

  scene refused;
  refused.use_copy();
  refused.allow_only("p/");
  const auto denied = refused.find(in_copy(refused.chain[1]));
  BOOST_REQUIRE(!denied.has_value());
  BOOST_TEST((denied.error().why == engine::reason::access));
}

BOOST_AUTO_TEST_SUITE_END()
