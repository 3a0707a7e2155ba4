// A host, its files and its bucket, for tests of doctor.
#pragma once

#include "app/doctor/doctor_command.hh"
#include "app/doctor/doctor_store.hh"
#include "tests/app/survey/bucket_of_backups.hh"
#include "tests/support/has.hh"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <ostream>
#include <string>
#include <vector>

namespace bts3::app {
// For Boost's messages.
inline std::ostream& operator<<(std::ostream& out, check_outcome how) {
  return out << to_string(how);
}
}  // namespace bts3::app

namespace bts3::testing {

// The check of that name; a failure of the test when it is not there once.
inline app::health_check the(const std::vector<app::health_check>& all, const std::string& check,
                             const std::string& subject = {}) {
  std::vector<app::health_check> found;
  std::copy_if(
      all.begin(), all.end(), std::back_inserter(found),
      [&](const app::health_check& one) { return one.check == check && one.subject == subject; });
  BOOST_REQUIRE_MESSAGE(found.size() == 1U,
                        check << " " << subject << " is there " << found.size() << " times");
  return found.front();
}

// A host and its files, as a configuration that is right names them; and a bucket.
struct doctor_scene : bucket_of_backups {
  explicit doctor_scene(memory_store_options options = {}) : bucket_of_backups(options) {
    settings.subvolumes = {{"data", directory / "data"}};
    settings.snapshots.base_dir = directory / "snapshots";
    settings.restore.target_base_dir = directory / "restore";
    settings.s3.storage_class_chunks = s3::storage_class("DEEP_ARCHIVE");
    std::filesystem::create_directory(settings.snapshots.base_dir);
    tuning.store = &store;
    with.tuning = &tuning;
  }

  std::vector<app::health_check> look_at_store(bool writes = true) {
    auto connection = app::store_connection::open(with);
    BOOST_REQUIRE(connection.has_value());
    app::store_doctor doctor(with, **connection, settings.subvolumes, writes);
    auto made = loop->run(doctor.run());
    loop->run((*connection)->close());
    return made;
  }

  app::store_tuning tuning;
};

inline engine::error denied() {
  engine::error failure;
  failure.why = engine::reason::access;
  failure.status = 403;
  failure.code = "AccessDenied";
  failure.message = "Access Denied";
  return failure;
}

}  // namespace bts3::testing
