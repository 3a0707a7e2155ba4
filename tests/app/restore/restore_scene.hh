// A chain of backups in a store in memory, made by whole backup jobs, and restores of it over the
// same played disk.
#pragma once

#include "app/restore/restore_session.hh"
#include "planner/keys.hh"
#include "tests/app/backup/memory_scene.hh"
#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::testing {

struct restore_scene : memory_scene {
  // `links` backups, a week apart: a full and incrementals. Sealed for `recipients` from the link
  // `sealed_from` on.
  explicit restore_scene(std::size_t links = 3, std::vector<std::string> recipients = {},
                         std::size_t sealed_from = 0) {
    rig.disk.names_parents = true;
    for (std::size_t i = 0; i < links; ++i) {
      if (i >= sealed_from) {
        rig.settings.encryption.recipients = recipients;
      }
      rig.disk.stream =
          send_stream(3 * backup_rig::part_bytes + 1000 * i, static_cast<unsigned>(i) + 1);
      rig.clock.time += std::chrono::hours(24 * 8);
      BOOST_REQUIRE(rig.run_text() == "done");
      made.push_back(rig.chain_in(contents()).front());
    }
    request.wanted.subvolume = "data";
    request.target = rig.place / "restored";
    forget();
  }

  // All that the store and the log have seen so far.
  void forget() {
    objects->forget_calls();
    rig.log.lines.clear();
    rig.disk.decompressing.clear();
  }

  // As on another host: neither the source nor its snapshots are there.
  void lose_the_host() {
    for (const std::string& path : rig.disk.snapshot_paths()) {
      BOOST_REQUIRE(rig.disk.snapshots()
                        .remove_any(std::filesystem::path(path).parent_path().string(),
                                    std::filesystem::path(path).filename().string())
                        .has_value());
    }
  }

  [[nodiscard]] app::services with() {
    app::services here{
        *rig.shared_loop, rig.log,  rig.clock,
        rig.settings,     rig.disk, [](std::string_view) { return std::optional<std::string>(); },
        stop.token()};
    here.tuning = &rig.tuning;
    here.config_path = rig.place / "config.toml";
    return here;
  }

  // A new process each time.
  engine::result<app::exit_status> restore() {
    const app::services here = with();
    auto connection = app::store_connection::open(here);
    BOOST_REQUIRE(connection.has_value());
    totals = app::restore_totals();
    app::identity_source given(here, identities);
    app::restore_session session(here, **connection, request, given, totals);
    auto outcome = rig.shared_loop->run(session.run());
    rig.shared_loop->run((*connection)->close());
    BOOST_TEST(rig.shared_loop->operations_in_flight() == 0U);
    for (const auto& [path, place] : rig.disk.places) {
      BOOST_TEST(!place.locked, path);
    }
    return outcome;
  }
  // "done", "exit N", or the error's text.
  std::string restore_text() {
    const auto outcome = restore();
    if (!outcome) {
      return outcome.error().text();
    }
    return *outcome == app::exit_status::done
               ? "done"
               : "exit " + std::to_string(static_cast<int>(*outcome));
  }

  // Whether the target is there, and is a writable snapshot that holds what link `index` sent.
  [[nodiscard]] bool holds(std::size_t index) const {
    const planner::manifest& link = made.at(index);
    std::uint64_t bytes = link.encryption ? 0 : link.total_bytes;
    for (const planner::chunk_record& chunk : link.chunks) {
      bytes += chunk.plain_size;
    }
    const auto found = rig.disk.known.find(request.target);
    return found != rig.disk.known.end() && !found->second.read_only &&
           content_of(request.target + "/stream").size() == bytes;
  }
  [[nodiscard]] bool is_there() const { return std::filesystem::exists(request.target); }
  // What is left beside the target: recorded links, or -1 where there is no private directory.
  [[nodiscard]] int links_beside() const {
    const auto place = rig.disk.places.find(private_path());
    BOOST_TEST(std::filesystem::exists(private_path()) == (place != rig.disk.places.end()));
    return place == rig.disk.places.end() ? -1 : static_cast<int>(place->second.links.size());
  }
  [[nodiscard]] std::string private_path() const { return rig.place / ".btrfs_to_s3.restored"; }
  // Bytes of chunks were asked for so often.
  [[nodiscard]] std::size_t downloads() const {
    std::size_t count = 0;
    for (const memory_store::recorded_call& call : objects->calls()) {
      count += call.verb == "GetObject" && call.key.ends_with(".bin") ? 1U : 0U;
    }
    return count;
  }
  // And of the chunks of link `index`.
  [[nodiscard]] std::size_t downloads_of(std::size_t index) const {
    std::size_t count = 0;
    for (const memory_store::recorded_call& call : objects->calls()) {
      for (const planner::chunk_record& chunk : made.at(index).chunks) {
        count += call.verb == "GetObject" && call.key == chunk.key ? 1U : 0U;
      }
    }
    return count;
  }
  [[nodiscard]] std::string manifest_key_of(std::size_t index) const {
    const planner::key_layout layout("host/", "data");
    return layout.manifest(made.at(index).kind, made.at(index).created_at);
  }

  std::vector<planner::manifest> made;  // of the links, full first
  app::restore_request request;
  std::vector<std::string> identities;  // places of them
  app::restore_totals totals;           // of the last restore
  engine::stop_source stop;
};

inline bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace bts3::testing
