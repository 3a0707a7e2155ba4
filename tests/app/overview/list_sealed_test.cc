// Whom `list` says that backups are sealed for: the truth, by as few requests as it takes.
#include "app/overview/list_command.hh"

#include "app/overview/sealed_for.hh"
#include "tests/app/keys/bucket_of_sealed_backups.hh"
#include "tests/planner/zones.hh"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>
#include <vector>

using namespace bts3;
using namespace bts3::app;
using bts3::testing::bucket_of_sealed_backups;
using bts3::testing::error_text;
using bts3::testing::fingerprint;
using bts3::testing::memory_store;
using bts3::testing::new_identity;

namespace {

struct scene : bucket_of_sealed_backups {
  catalogue read() {
    store.forget_calls();
    catalogue_request request("p", "", manifest_bound::of_host(settings));
    auto all = loop->run(read_catalogue(*loop, store, std::move(request), {}));
    BOOST_REQUIRE_MESSAGE(all.has_value(), error_text(all));
    auto found = loop->run(find_recipients(*loop, store, *all, {}));
    BOOST_REQUIRE_MESSAGE(found.has_value(), error_text(found));
    known = std::move(*found);
    return std::move(*all);
  }
  [[nodiscard]] std::string text(const catalogue& all) const {
    list_context about;
    about.place = "s3://b/p";
    about.now = now;
    about.recipients = known;
    return list_as_text(all, about, testing::fixed_zone());
  }
  [[nodiscard]] nlohmann::json json(const catalogue& all) const {
    list_context about;
    about.now = now;
    about.recipients = known;
    return nlohmann::json::parse(list_as_json(all, about));
  }
  [[nodiscard]] std::size_t keys_objects_read() const {
    return static_cast<std::size_t>(
        std::count_if(store.calls().begin(), store.calls().end(), [](const auto& call) {
          return call.verb == "GetObject" && call.key.find("/keys-") != std::string::npos;
        }));
  }
  void rewrap(const made_backup& one, const age::x25519_identity& by,
              const age::x25519_identity& to) {
    const std::vector<age::named_recipient> wanted = {{to.recipient(), fingerprint(to)}};
    const auto anew = age::rewrap_backup_keys(one.keys.keys_object, std::span(&by, 1), one.keys.id,
                                              wanted, age::system_random());
    BOOST_REQUIRE(anew.has_value());
    store.put(one.keys_key, text_of(*anew));
  }

  known_recipients known;
  const age::x25519_identity mine = new_identity();
  const age::x25519_identity fresh = new_identity();
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(list_sealed_suite, scene)

BOOST_AUTO_TEST_CASE(recipients_are_counted_and_cost_no_request_as_they_were_made) {
  const auto full = add_sealed(5, {&mine});
  add_sealed(4, {&mine}, full.manifest_key);
  add(planner::backup_kind::full, 9);
  const auto all = read();
  BOOST_TEST(
      text(all).find("sealed for " + fingerprint(mine) + ": 2; not sealed: 1") != std::string::npos,
      text(all));
  BOOST_TEST(keys_objects_read() == 0U);
  const auto generations = json(all)["subvolumes"][0]["generations"];
  BOOST_TEST(generations[0]["backups"][0]["recipients"].is_null());
  BOOST_TEST(generations[1]["backups"][0]["recipients"] ==
             nlohmann::json(std::vector<std::string>{fingerprint(mine)}));
}

BOOST_AUTO_TEST_CASE(after_a_rewrap_the_new_ones_are_told) {
  const auto full = add_sealed(5, {&mine});
  const auto next = add_sealed(4, {&mine}, full.manifest_key);
  rewrap(next, mine, fresh);
  const auto all = read();
  BOOST_TEST(keys_objects_read() == 1U);
  const std::string said = text(all);
  BOOST_TEST(said.find(fingerprint(mine) + ": 1") != std::string::npos, said);
  BOOST_TEST(said.find(fingerprint(fresh) + ": 1") != std::string::npos, said);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_read_is_not_known_and_the_rest_is_told) {
  const auto full = add_sealed(5, {&mine});
  const auto next = add_sealed(4, {&mine}, full.manifest_key);
  rewrap(next, mine, fresh);
  store.judge_by([&](const memory_store::recorded_call& call) {
    return call.key == next.keys_key ? std::optional(memory_store::denied(call.key)) : std::nullopt;
  });
  const std::string said = text(read());
  BOOST_TEST(said.find("nobody knows whom: 1") != std::string::npos, said);
  BOOST_TEST(said.find(fingerprint(mine) + ": 1") != std::string::npos, said);
}

BOOST_AUTO_TEST_CASE(of_backups_that_are_not_sealed_nothing_is_said) {
  add_generation({5, 2});
  const auto all = read();
  BOOST_TEST(text(all).find("sealed") == std::string::npos);
  BOOST_TEST(!json(all)["subvolumes"][0]["generations"][0]["backups"][0].contains("recipients"));
}

BOOST_AUTO_TEST_SUITE_END()
