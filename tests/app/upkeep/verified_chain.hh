// A chain of three links in a bucket, for tests of verify.
#pragma once

#include "app/upkeep/subvolume_verifier.hh"
#include "app/upkeep/verify_job.hh"
#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/has.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bts3::testing {

// The bucket's place, as the record of verifications names it.
inline const std::string place_of_chain = "aws s3://b/p/subvol/data/";

// Each link of two chunks with three parts each.
struct verified_chain : bucket_of_backups {
  explicit verified_chain(memory_store_options options = {}) : bucket_of_backups(options) {}
  std::vector<std::string> chain = add_generation({20, 13, 6});

  [[nodiscard]] std::string chunk(int days_ago, std::uint32_t index) const {
    return keys.chunk(
        days_ago == 20 ? planner::backup_kind::full : planner::backup_kind::incremental,
        planner::timestamp(now.when() - std::chrono::days(days_ago)), index);
  }

  app::verify_outcome verify(app::verify_depth depth, std::uint64_t parts = 0,
                             const std::string& manifest_key = {}) {
    app::verify_command command;
    command.depth = depth;
    command.sample_parts = parts;
    command.manifest_key = manifest_key;
    app::store_abilities abilities;
    app::subvolume_verifier verifier(with, store, abilities, command, "data");
    const auto ran = loop->run(verifier.run());
    BOOST_REQUIRE_MESSAGE(ran.has_value(), error_text(ran));
    return std::move(verifier.outcome());
  }

  [[nodiscard]] std::optional<app::verified_link::proof> proof(const std::string& key) const {
    const auto record = app::read_verify_record(settings.global.state_path);
    BOOST_REQUIRE_MESSAGE(record.has_value(), error_text(record));
    const app::verified_subvolume* known = record->find("data", place_of_chain);
    BOOST_REQUIRE(known != nullptr);
    const auto link = known->links.find(key);
    return link == known->links.end() ? std::nullopt : link->second.proven();
  }
};

inline std::string problems(const app::verify_outcome& found) {
  std::string text;
  for (const app::verified_backup& one : found.backups) {
    for (const app::verify_finding& finding : one.findings) {
      text += finding.key + ": " + finding.problem + "\n";
    }
  }
  return text;
}

inline std::vector<bool> restorable(const app::verify_outcome& found) {
  std::vector<bool> all;
  for (const app::verified_backup& one : found.backups) {
    all.push_back(one.restorable);
  }
  return all;
}

}  // namespace bts3::testing
