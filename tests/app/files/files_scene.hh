// Chains of backups with indexes in a store in memory, and a cache of their own.
#pragma once

#include "app/files/opened_backup.hh"
#include "engine/age/backup_keys.hh"
#include "engine/age/sealed_file.hh"
#include "engine/sha256.hh"
#include "planner/keys.hh"
#include "planner/pointer.hh"
#include "tests/app/support.hh"
#include "tests/btrfs/index/support.hh"
#include "tests/engine/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/outcome.hh"
#include "tests/support/real_btrfs.hh"

#include <libdeflate.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::testing {

namespace streams = btrfs::index::testing;

class files_scene {
 public:
  static constexpr std::size_t part_bytes = 128;

  files_scene() : loop(engine::testing::make_reactor()), store(*loop) {
    settings.s3.bucket = "b";
    settings.s3.region = "r";
    settings.s3.prefix = "p";
    settings.s3.part_size_bytes = part_bytes;
    settings.s3.concurrency = 3;
    tuning.store = &store;
    with.tuning = &tuning;
  }

  enum class index { stored, none };

  // A backup so many hours after the first; the manifest's key. The pointer names it.
  std::string add(const std::string& stream, index how = index::stored) {
    const planner::backup_kind kind =
        keys.empty() ? planner::backup_kind::full : planner::backup_kind::incremental;
    const planner::timestamp when(first.when() + std::chrono::hours(keys.size()));
    planner::manifest made;
    made.subvolume = "data";
    made.kind = kind;
    made.created_at = when;
    made.snapshot.name = "data__" + when.compact();
    made.snapshot.path = sealed_for ? "" : "/s/" + made.snapshot.name;
    made.storage_class = "STANDARD";
    made.chunk_size = 1 << 20;
    if (!keys.empty()) {
      made.parent_manifest = keys.back();
    }
    made.chunks.push_back(put_chunk(layout.chunk(kind, when, 0), stream));
    made.total_bytes = made.chunks.back().size;
    if (sealed_for) {
      seal(kind, when, made);
    }
    if (how == index::stored) {
      made.index = put_index(kind, when, btrfs::index::testing::index_of(stream));
    }
    keys.push_back(layout.manifest(kind, when));
    store.put(keys.back(), planner::write_manifest(made));
    planner::pointer to;
    to.manifest_key = keys.back();
    to.created_at = when;
    store.put(layout.pointer(), planner::write_pointer(to));
    return keys.back();
  }

  engine::result<std::unique_ptr<app::opened_backup>> open(
      app::missing_index policy = app::missing_index::refuse) {
    connection = std::move(*app::store_connection::open(with));
    return loop->run(app::opened_backup::open(with, *connection, wanted, policy));
  }

  // Names in a directory of the backup that `wanted` says; or the error.
  std::string names(const std::string& path = "") {
    const auto backup = open();
    if (!backup) {
      return backup.error().text();
    }
    auto& catalogue = (*backup)->catalogue();
    const auto id = catalogue.find(path, (*backup)->link());
    const auto entries = catalogue.list(*id, (*backup)->link());
    std::string text;
    for (const auto& one : *entries) {
      text += (text.empty() ? "" : " ") + one.name;
    }
    return text;
  }

  // How often an index, or a chunk, was read.
  [[nodiscard]] std::size_t reads_of(std::string_view part) const {
    std::size_t count = 0;
    for (const auto& call : store.calls()) {
      count += call.verb == "GetObject" && call.key.find(part) != std::string::npos ? 1 : 0;
    }
    return count;
  }

  [[nodiscard]] std::string the_file() const {
    std::string found;
    for (const auto& one : std::filesystem::directory_iterator(directory / "cache/btrfs_to_s3")) {
      if (one.path().extension() == ".sqlite") {
        found = one.path().string();
      }
    }
    return found;
  }

  const planner::timestamp first = *planner::timestamp::parse("2026-11-21T02:00:00Z");
  const planner::key_layout layout{"p", "data"};
  scratch_directory directory;
  std::unique_ptr<engine::reactor> loop;
  memory_store store;
  fixed_clock clock{std::chrono::system_clock::to_time_t(first.when())};
  event_log log;
  app::config settings;
  app::store_tuning tuning;
  engine::stop_source stop;
  std::vector<std::string> keys;  // of manifests, in order
  std::optional<age::x25519_identity> sealed_for;
  app::files_selection wanted = [] {
    app::files_selection made;
    made.subvolume = "data";
    return made;
  }();
  std::unique_ptr<app::store_connection> connection;
  const std::string cache = directory / "cache";
  app::services with{*loop,
                     log,
                     clock,
                     settings,
                     real_btrfs(),
                     [this](std::string_view name) -> std::optional<std::string> {
                       return name == "XDG_CACHE_HOME" ? std::optional(cache) : std::nullopt;
                     },
                     stop.token()};

 private:
  planner::chunk_record put_chunk(const std::string& name, const std::string& body) {
    store.put(name, body, "STANDARD");
    planner::chunk_record chunk;
    chunk.key = name;
    chunk.size = body.size();
    engine::sha256_hasher hasher;
    for (std::size_t at = 0; at < body.size(); at += part_bytes) {
      const std::string part = body.substr(at, part_bytes);
      hasher.update(streams::bytes_of(part));
      chunk.part_crc32.push_back(::libdeflate_crc32(0, part.data(), part.size()));
      if (at + part_bytes < body.size()) {
        chunk.part_states.push_back(hasher.state()->words);
      }
    }
    chunk.sha256 = hasher.digest().hex();
    chunk.part_size = part_bytes;
    return chunk;
  }

  // As if its stream had been sealed: of its chunks nothing is read here.
  void seal(planner::backup_kind kind, planner::timestamp when, planner::manifest& made) {
    key = std::move(
        *age::make_backup_keys(std::array{sealed_for->recipient()}, age::system_random()));
    made.encryption.emplace();
    made.encryption->backup_id = key->id.text();
    made.encryption->keys_key = layout.keys_object(kind, when, "0011aabb");
    made.encryption->recipients = {"SHA256:" + std::string(43, 'A')};
    made.encryption->sealed = "AAAA";
    store.put(made.encryption->keys_key,
              std::string(reinterpret_cast<const char*>(key->keys_object.data()),
                          key->keys_object.size()));
    planner::chunk_record& chunk = made.chunks.back();
    chunk.plain_size = chunk.size;
    chunk.size += 512 + 16 + 16;
    chunk.part_size = (chunk.size + 63) / 64 * 64;
    chunk.part_crc32.resize(1);
    chunk.part_states.clear();
    made.total_bytes = chunk.size;
  }

  planner::index_record put_index(planner::backup_kind kind, planner::timestamp when,
                                  std::string body) {
    planner::index_record record;
    record.key = planner::index_key(layout.root(), kind, when, "0011aabb", sealed_for.has_value());
    if (sealed_for) {
      record.plain_size = body.size();
      record.plain_sha256 = digest_of(body);
      const auto file =
          age::seal_file(streams::bytes_of(body), std::array{key->recipient}, age::system_random());
      BOOST_REQUIRE(file.has_value());
      body.assign(reinterpret_cast<const char*>(file->data()), file->size());
    }
    record.size = body.size();
    record.sha256 = digest_of(body);
    store.put(record.key, body);
    return record;
  }

  static std::string digest_of(const std::string& body) {
    engine::sha256_hasher hasher;
    hasher.update(streams::bytes_of(body));
    return hasher.digest().hex();
  }

  std::optional<age::new_backup> key;  // of the backup that is made
};

// Two directories and three files.
inline std::string some_full() {
  using namespace streams;
  std::string made = send::header(1) + send::subvol("s", '\x01', 7);
  made += set_owner("", 0, 0) + set_mode("", 0755);
  made += make(command_mkdir, "etc", 257) + set_mode("etc", 0755);
  made += make(command_mkfile, "etc/fstab", 258) + write_data(1, "etc/fstab", 0, "/dev/sda /");
  made += set_mode("etc/fstab", 0644) + utimes("etc/fstab", 1'700'000'000, 5);
  made += make(command_mkdir, "home", 259) + set_mode("home", 0700);
  made += make(command_mkfile, "home/a b\n", 260) + set_mode("home/a b\n", 0600);
  made += make(command_symlink, "link", 261, send::attribute(attribute_path_link, "etc/fstab"));
  return made + send::end();
}

// Renames the file in home, changes fstab, adds one and takes the link away.
inline std::string some_incremental() {
  using namespace streams;
  std::string made = send::header(1) + send::snapshot("s2", '\x02', 9, '\x01');
  made += write_data(1, "etc/fstab", 0, "/dev/sdb /") + utimes("etc/fstab", 1'700'003'600, 0);
  made += move_name("home/a b\n", "home/c");
  made += make(command_mkfile, "home/new", 262) + set_mode("home/new", 0644);
  made += take_away(command_unlink, "link");
  return made + send::end();
}

}  // namespace bts3::testing
