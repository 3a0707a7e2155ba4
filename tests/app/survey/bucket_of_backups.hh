// A memory store with generations of backups in it, for tests of prune and verify.
#pragma once

#include "app/store/services.hh"
#include "app/survey/observer.hh"
#include "engine/sha256.hh"
#include "planner/keys.hh"
#include "planner/pointer.hh"
#include "tests/app/support.hh"
#include "tests/engine/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/real_btrfs.hh"
#include "tests/support/send_commands.hh"

#include <libdeflate.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::testing {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A send stream of `bytes`: SUBVOL, WRITEs, END. Another `seed` gives other bytes.
inline std::string stream_of(std::size_t bytes, unsigned seed) {
  return send::stream(bytes, seed, 40);
}

// A store whose listings and HEAD tell checksums and parts.
inline memory_store_options telling() {
  memory_store_options options;
  options.tell_attributes = true;
  return options;
}

class bucket_of_backups {
 public:
  static constexpr std::size_t part_bytes = 128;

  explicit bucket_of_backups(memory_store_options options = {})
      : loop(engine::testing::make_reactor()), store(*loop, options) {
    settings.s3.bucket = "b";
    settings.s3.region = "r";
    settings.s3.prefix = "p";
    settings.global.state_path = directory / "state.json";
    settings.global.lock_path = directory / "lock";
    settings.s3.part_size_bytes = part_bytes;
    settings.s3.concurrency = 3;
  }

  // Dated so many days ago. The manifest's key. `chunks` with two or three parts each, or, when
  // not `with_parts`, with none recorded.
  std::string add(planner::backup_kind kind, int days_ago, const std::string& parent = {},
                  std::size_t chunks = 2, bool with_parts = true) {
    const planner::timestamp when(now.when() - std::chrono::days(days_ago));
    store.set_date(when.rfc3339());
    planner::manifest made;
    made.subvolume = "data";
    made.kind = kind;
    made.created_at = when;
    made.snapshot.name = "data__" + when.compact();
    made.snapshot.path = "/s/" + made.snapshot.name;
    made.storage_class = "STANDARD";
    made.host_id = app::this_host().id;
    made.chunk_size = 1024;
    if (!parent.empty()) {
      made.parent_manifest = parent;
    }
    const std::string stream = stream_of(chunks * 300, static_cast<unsigned>(days_ago) + 1);
    const std::size_t each = (stream.size() + chunks - 1) / chunks;
    for (std::size_t index = 0; index < chunks; ++index) {
      const std::string key = keys.chunk(kind, when, static_cast<std::uint32_t>(index));
      made.chunks.push_back(put_chunk(key, stream.substr(index * each, each), with_parts));
      made.total_bytes += made.chunks.back().size;
    }
    const std::string key = keys.manifest(kind, when);
    store.put(key, planner::write_manifest(made));
    return key;
  }

  void point_at(const std::string& manifest_key) {
    planner::pointer to;
    to.manifest_key = manifest_key;
    to.created_at = now;
    store.put(keys.pointer(), planner::write_pointer(to));
  }

  // A full and incrementals at these ages; their keys.
  std::vector<std::string> add_generation(const std::vector<int>& days_ago) {
    std::vector<std::string> made;
    for (const int age : days_ago) {
      made.push_back(made.empty() ? add(planner::backup_kind::full, age)
                                  : add(planner::backup_kind::incremental, age, made.back()));
    }
    point_at(made.back());
    return made;
  }

  void flip(const std::string& key, std::size_t at) {
    const auto before = *store.find(key);
    std::string body = before.body;
    body.at(at) = static_cast<char>(body.at(at) ^ 1);
    store.put(key, body, before.options.stored_as.str());
    store.set_part_crc32(key, before.part_crc32);  // which the store does not look at again
  }

  // What `aws s3 sync` of the prefix to another one leaves.
  void copy_to(const std::string& prefix) {
    const std::string from = settings.s3.prefix;
    for (const auto& [key, object] : std::map(store.objects())) {
      if (key.starts_with(from + "/")) {
        const std::string copy = prefix + key.substr(from.size());
        store.put(copy, object.body, object.options.stored_as.str());
        store.set_part_crc32(copy, object.part_crc32);
      }
    }
  }

  [[nodiscard]] std::vector<std::string> keys_in_store() const {
    std::vector<std::string> all;
    for (const auto& [key, object] : store.objects()) {
      all.push_back(key);
    }
    return all;
  }

  const planner::timestamp now = *planner::timestamp::parse("2026-11-21T02:00:00Z");
  const planner::key_layout keys{"p", "data"};
  scratch_directory directory;
  std::unique_ptr<engine::reactor> loop;
  memory_store store;
  fixed_clock clock{std::chrono::system_clock::to_time_t(now.when())};
  event_log log;
  app::config settings;
  engine::stop_source stop;
  app::services with{*loop,
                     log,
                     clock,
                     settings,
                     real_btrfs(),
                     [this](std::string_view name) -> std::optional<std::string> {
                       return name == "XDG_CACHE_HOME"
                                  ? std::optional<std::string>(directory / "cache")
                                  : std::nullopt;
                     },
                     stop.token()};

 private:
  planner::chunk_record put_chunk(const std::string& key, const std::string& body,
                                  bool with_parts) {
    store.put(key, body, "STANDARD");
    planner::chunk_record chunk;
    chunk.key = key;
    chunk.size = body.size();
    engine::sha256_hasher hasher;
    for (std::size_t at = 0; at < body.size(); at += part_bytes) {
      const std::string part = body.substr(at, part_bytes);
      hasher.update(bytes_of(part));
      if (with_parts) {
        chunk.part_crc32.push_back(::libdeflate_crc32(0, part.data(), part.size()));
        if (at + part_bytes < body.size()) {
          chunk.part_states.push_back(hasher.state()->words);
        }
      }
    }
    chunk.sha256 = hasher.digest().hex();
    if (with_parts) {
      chunk.part_size = part_bytes;
      store.set_part_crc32(key, chunk.part_crc32);
    }
    return chunk;
  }
};

}  // namespace bts3::testing
