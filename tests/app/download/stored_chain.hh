// A chain of two links in a store, plain or sealed, with a catalogue of what it describes.
#pragma once

#include "app/download/chain_ranges.hh"
#include "btrfs/index/catalogue.hh"
#include "engine/sha256.hh"
#include "tests/app/backup/send_stream.hh"
#include "tests/app/download/sealed_backup.hh"
#include "tests/app/support.hh"
#include "tests/btrfs/index/support.hh"
#include "tests/engine/support.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/bent_store.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/real_btrfs.hh"

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bts3::testing {

namespace made = btrfs::index::testing;

// Files in two links; the second clones from the first and changes it.
struct chain_content {
  chain_content() {
    unsigned seed = 11;
    std::string full = send::header(2) + send::subvol("home", '\x01');
    for (int i = 0; i < 40; ++i) {
      const std::string name = "small" + std::to_string(i);
      files[name] = send::noise(3000 + 100 * i, seed);
      full += made::make(btrfs::send_format::command_mkfile, name, 300 + i) +
              made::write_data(2, name, 0, files[name]);
    }
    std::string& large = files["large"];
    full += made::make(btrfs::send_format::command_mkfile, "large", 257);
    for (int i = 0; i < 20; ++i) {
      const std::string piece = send::noise(49'152, seed);
      full += made::write_data(2, "large", large.size(), piece);
      large += piece;
    }
    streams.push_back(full + send::end());
    std::string next = send::header(2) + send::snapshot("home", '\x02', 9, '\x01');
    const std::string over = send::noise(1000, seed);
    next += made::write_data(2, "large", 500'000, over);
    large.replace(500'000, 1000, over);
    next += made::make(btrfs::send_format::command_mkfile, "copy", 999) +
            made::clone_range("copy", 0, 4096 * 20, '\x01', "large", 4096);
    files["copy"] = large.substr(4096, 4096 * 20);
    streams.push_back(next + send::end());
  }
  std::vector<std::string> streams;
  std::map<std::string, std::string> files;
};

struct stored_chain {
  explicit stored_chain(chain_content content = {})
      : what(std::move(content)),
        loop(engine::testing::make_reactor()),
        clock(reference_time),
        objects(*loop),
        store(objects),
        with{*loop, log, clock, settings, real_btrfs(), no_environment, {}} {
    auto opened = btrfs::index::catalogue::open(":memory:");
    BOOST_REQUIRE(opened);
    files.emplace(std::move(*opened));
    for (const std::string& stream : what.streams) {
      auto index = made::open_text(made::index_of(stream));
      BOOST_REQUIRE(index);
      auto added = files->add(*index);
      BOOST_REQUIRE(added);
      const std::string refused = *added ? (*added)->text() : std::string();
      BOOST_REQUIRE_MESSAGE(!*added, refused);
    }
  }

  void put_chunk(app::chain_link& link, const std::string& body) {
    planner::chunk_record record;
    record.key = "home/full/chunk-" + std::to_string(objects.objects().size()) + ".bin";
    record.size = body.size();
    record.sha256 = digest_of(body);
    objects.put(record.key, body);
    link.value.chunks.push_back(std::move(record));
  }
  void put_plain() {
    for (const std::string& stream : what.streams) {
      app::chain_link link;
      link.key = "home/full/manifest.json";
      for (std::size_t at = 0; at < stream.size(); at += 300'000) {
        put_chunk(link, stream.substr(at, 300'000));
      }
      chain.push_back(std::move(link));
    }
    keys.resize(chain.size());
  }
  void put_sealed() {
    for (const std::string& stream : what.streams) {
      sealed_backup backup(user);
      app::chain_link link;
      link.key = "home/full/manifest.json";
      link.value.encryption.emplace();
      for (const std::vector<std::string>& parts : backup.chunks(stream)) {
        std::string body;
        for (const std::string& part : parts) {
          body += part;
        }
        put_chunk(link, body);
        link.value.chunks.back().part_size = part_bytes;
      }
      chain.push_back(std::move(link));
      keys.push_back(std::make_shared<const app::backup_key>(std::move(backup.key)));
    }
  }

  // As manifests have them of parts of so many bytes.
  void tell_states(std::uint64_t part_size) {
    for (app::chain_link& link : chain) {
      for (planner::chunk_record& chunk : link.value.chunks) {
        const std::string body = objects.find(chunk.key)->body;
        engine::sha256_hasher hasher;
        chunk.part_size = part_size;
        for (std::size_t at = 0; at < body.size(); at += part_size) {
          hasher.update(made::bytes_of(std::string_view(body).substr(at, part_size)));
          chunk.part_crc32.push_back(0);
          if (at + part_size < body.size()) {
            chunk.part_states.push_back(hasher.state()->words);
          }
        }
      }
    }
  }

  app::chain_ranges& ranges() {
    std::vector<app::readable_link> links;
    for (std::size_t i = 0; i < chain.size(); ++i) {
      links.push_back({&chain[i], keys[i], 2});
    }
    return all_ranges.emplace(with, store, std::move(links));
  }
  std::vector<btrfs::index::extent> extents_of(const std::string& name) {
    return *files->extents(*files->find(name, 2), 2);
  }

  std::uint64_t asked() const {
    std::uint64_t sum = 0;
    for (const s3::get_request& one : store.gets) {
      sum += one.into.size();
    }
    return sum;
  }
  // Flips a bit of the byte of link 1's stream in its chunks, for good.
  void spoil(std::size_t chunk, std::size_t at) {
    std::string body = objects.find(chain[0].value.chunks[chunk].key)->body;
    body[at] = static_cast<char>(body[at] ^ 8);
    objects.put(chain[0].value.chunks[chunk].key, body);
  }

  chain_content what;
  std::unique_ptr<engine::reactor> loop;
  fixed_clock clock;
  memory_store objects;
  bent_store store;
  engine::testing::recording_log log;
  app::config settings;
  app::services with;
  age::x25519_identity user = std::move(*age::x25519_identity::generate(age::system_random()));
  std::optional<btrfs::index::catalogue> files;
  std::vector<app::chain_link> chain;
  std::vector<std::shared_ptr<const app::backup_key>> keys;
  std::optional<app::chain_ranges> all_ranges;
};

}  // namespace bts3::testing
